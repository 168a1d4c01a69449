use rustix::process::{Resource, getrlimit, setrlimit};

/// Lets this process open as many files as the system allows it: the usual soft limit of 1,024 is
/// meant for programs that use `select`. Best effort.
pub(super) fn raise_limit() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    let _ = setrlimit(Resource::Nofile, limit);
}
