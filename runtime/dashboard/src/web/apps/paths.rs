//! Which paths are the dashboard's, and how a path is compared with that of an application.

use percent_encoding::percent_decode_str;
use std::borrow::Cow;
use std::collections::BTreeSet;

/// Everything that the dashboard serves stands below this path, which no application can own.
pub(in crate::web) const OWN_PREFIX: &str = "/_portcullis";

/// No application ever gets these paths, or one below them.
const ALWAYS_OWN: [&str; 7] = [
    "/login",
    "/auth",
    "/api/auth",
    "/api/gateway",
    "/healthz",
    "/readyz",
    OWN_PREFIX,
];

/// Returns whether a path is always the dashboard's, which no application can own.
pub fn is_always_own(path: &str) -> bool {
    ALWAYS_OWN.iter().any(|root| covers(root, path))
}

/// Returns whether a path is `root` or lies below it, on segment boundaries. An empty root covers
/// every path.
pub(super) fn covers(root: &str, path: &str) -> bool {
    path.strip_prefix(root)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Returns the same as [`covers`] without regard to case, as many frameworks compare paths.
pub(super) fn covers_in_any_case(root: &str, path: &str) -> bool {
    let (root, path) = (root.as_bytes(), path.as_bytes());
    let Some((start, rest)) = path.split_at_checked(root.len()) else {
        return false;
    };
    start.eq_ignore_ascii_case(root) && (rest.is_empty() || rest.starts_with(b"/"))
}

/// Makes tickets for the web socket of the dashboard's page.
const TICKETS: &str = "/api/auth/ws-ticket";

/// Drains the gateway and restarts it, also for a person with a session.
const GATEWAY: &str = "/api/gateway";

/// Returns whether a path is one of the dashboard's that no one needs in order to sign in and out:
/// its page, and what that asks or changes.
pub(super) fn is_of_the_page(path: &str) -> bool {
    covers(OWN_PREFIX, path) || covers(GATEWAY, path) || path == TICKETS
}

/// Returns where a path that an application can cover always stands.
pub fn below_own_prefix(path: &str) -> String {
    format!("{OWN_PREFIX}{path}")
}

/// The path of the dashboard that a path below [`OWN_PREFIX`] stands for. Other paths stay as they
/// are.
pub(in crate::web) fn without_own_prefix(path: &str) -> &str {
    path.strip_prefix(OWN_PREFIX)
        .filter(|rest| rest.starts_with('/'))
        .unwrap_or(path)
}

/// Where the dashboard's own paths stand for the reader of the page at `path`: nothing, or
/// [`OWN_PREFIX`].
pub(in crate::web) fn mount_of(path: &str) -> &'static str {
    if covers(OWN_PREFIX, path) {
        OWN_PREFIX
    } else {
        ""
    }
}

/// The path as an upstream may read it: decoded, with single slashes and without path parameters.
/// Otherwise `/%61dmin` or `//admin` would reach what stands at `/admin` by the rules of another
/// application.
pub(super) fn as_read(path: &str) -> Cow<'_, str> {
    if !is_odd(path) {
        return path.into();
    }
    let decoded = percent_decode_str(path).decode_utf8_lossy();
    // Empty segments last: one of parameters alone is empty to an upstream that takes them off.
    without_empty(&without_parameters(without_end(&decoded))).into()
}

/// Every way in which an upstream may read the path, if there is more than one: it may know
/// parameters or not, and so on.
pub(super) fn readings(path: &str) -> BTreeSet<String> {
    if !is_odd(path) {
        return BTreeSet::new();
    }
    let mut readings = BTreeSet::from([percent_decode_str(path).decode_utf8_lossy().into_owned()]);
    let end: fn(&str) -> String = |path| without_end(path).to_owned();
    for change in [end, without_parameters, end, without_empty] {
        let changed: Vec<_> = readings.iter().map(|reading| change(reading)).collect();
        readings.extend(changed);
    }
    readings
}

fn is_odd(path: &str) -> bool {
    path.contains(['%', ';']) || path.contains("//")
}

/// Returns the path up to a decoded `?` or `#`, where a program that decodes first ends it.
fn without_end(path: &str) -> &str {
    path.split(['?', '#']).next().unwrap_or_default()
}

fn without_parameters(path: &str) -> String {
    let segments = path
        .split('/')
        .map(|segment| segment.split(';').next().unwrap_or_default());
    segments.collect::<Vec<_>>().join("/")
}

fn without_empty(path: &str) -> String {
    let mut plain = String::with_capacity(path.len());
    for segment in path.split('/').filter(|segment| !segment.is_empty()) {
        plain.push('/');
        plain.push_str(segment);
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_paths_end_at_segments() {
        for path in [
            "/login",
            "/auth",
            "/auth/x",
            "/api/auth/me",
            "/api/gateway/drain",
            "/healthz",
            "/_portcullis/",
        ] {
            assert!(is_always_own(path), "{path}");
        }
        for path in [
            "/",
            "/logins",
            "/authors",
            "/api",
            "/api/status",
            "/api/authx",
            "/_portcullisx",
        ] {
            assert!(!is_always_own(path), "{path}");
        }
    }

    #[test]
    fn what_signs_people_in_is_not_of_the_page() {
        for path in [
            "/_portcullis",
            "/_portcullis/api/drain",
            "/api/gateway/restart",
            "/api/auth/ws-ticket",
        ] {
            assert!(is_of_the_page(path), "{path}");
        }
        for path in [
            "/login",
            "/auth/handover",
            "/api/auth/me",
            "/api/auth/providers",
            "/healthz",
        ] {
            assert!(!is_of_the_page(path), "{path}");
        }
    }

    #[test]
    fn own_prefix_is_taken_off_once() {
        for (path, expected) in [
            ("/_portcullis/", "/"),
            ("/_portcullis/api/status", "/api/status"),
            ("/_portcullis", "/_portcullis"),
            ("/_portcullis/_portcullis/x", "/_portcullis/x"),
            ("/api/status", "/api/status"),
        ] {
            assert_eq!(without_own_prefix(path), expected);
        }
        assert_eq!(
            (mount_of("/_portcullis/"), mount_of("/")),
            ("/_portcullis", "")
        );
    }

    #[test]
    fn path_is_compared_as_an_upstream_may_read_it() {
        for (path, expected) in [
            ("/admin/x", "/admin/x"),
            ("/%61dmin/x", "/admin/x"),
            ("//admin///x", "/admin/x"),
            ("/admin;v=1/x", "/admin/x"),
            ("/admin%3bv=1", "/admin"),
            ("/%2561dmin", "/%61dmin"),
            ("//", ""),
            ("/;v=1/admin/;/x", "/admin/x"),
            ("/%3b/admin", "/admin"),
            ("/admin%3fx/y", "/admin"),
            ("/admin%23", "/admin"),
        ] {
            assert_eq!(as_read(path), expected, "{path}");
        }
    }

    #[test]
    fn every_reading_of_a_path_is_known() {
        assert!(readings("/admin/x").is_empty());
        let expected = ["/", "/;", "/;?/admin", "//admin", "/admin"].map(str::to_owned);
        assert!(readings("/%3b%3f/admin").is_superset(&expected.into()));
        assert!(readings("/%61dmin").contains("/admin"));
    }
}
