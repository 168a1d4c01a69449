use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};

/// Keeps what this process knows to itself: no core dump, and neither its memory nor its
/// environment for other processes of the same user, such as the turns of an agent. Best effort.
pub(super) fn keep_secrets() {
    let _ = set_dumpable_behavior(DumpableBehavior::NotDumpable);
    let _ = setrlimit(
        Resource::Core,
        Rlimit {
            current: Some(0),
            maximum: Some(0),
        },
    );
}
