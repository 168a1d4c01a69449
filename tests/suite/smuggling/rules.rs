//! What must hold of each request that arrives at the application, by readings of its own.

use super::EVIL;
use super::recorder::Seen;
use percent_encoding::percent_decode_str;
use std::collections::BTreeSet;

/// Paths that are always the dashboard's.
const OWN: &[&str] = &[
    "/login",
    "/auth",
    "/api/auth",
    "/api/gateway",
    "/healthz",
    "/readyz",
    "/_portcullis",
];
/// The header that each application's entry puts on: which of them the gate decided for.
const GATE: &str = "x-gate";
/// Headers by which a program behind a gate learns who calls, or how the request came.
const OF_THE_GATE: &[&str] = &[
    "x-gate",
    "x-auth-user",
    "x-auth-email",
    "x-auth-groups",
    "x-auth-scopes",
    "x-auth-provider",
    "forwarded",
    "remote-user",
    "x-real-ip",
    "x-request-id",
    "x-original-url",
    "x-rewrite-url",
];
const BEGINNINGS: &[&str] = &["x-auth-", "x-forwarded-", "x-remote-", "x-webauth-"];

/// Returns what is wrong with a request.
pub(super) fn faults_of(seen: &Seen, authority: &str) -> Vec<String> {
    let faults = [
        of_the_path(seen),
        of_the_caller(seen),
        of_the_headers(seen, authority),
    ];
    faults
        .into_iter()
        .filter_map(Result::err)
        .map(|fault| format!("{fault}: {seen:?}"))
        .collect()
}

fn of_the_path(seen: &Seen) -> Result<(), String> {
    if seen.path().starts_with("/smuggled") {
        return Err("a smuggled request".into());
    }
    let [gate] = seen.all(GATE)[..] else {
        return Err("not one decision".into());
    };
    let readings = readings_of(seen.path());
    match readings.iter().find(|reading| owner_of(reading) != gate) {
        Some(reading) => Err(format!("decided for {gate}, and read as {reading}")),
        None => Ok(()),
    }
}

/// The path as it is written and decoded, with and without empty segments, parameters, dot
/// segments, and what follows a decoded `?` or `#`.
fn readings_of(path: &str) -> BTreeSet<String> {
    let decoded = percent_decode_str(path).decode_utf8_lossy().into_owned();
    let mut readings = BTreeSet::from([decoded]);
    for change in [without_end, without_parameters, without_empty, without_dots] {
        let changed: Vec<_> = readings.iter().map(|reading| change(reading)).collect();
        readings.extend(changed);
    }
    readings
}

fn without_end(path: &str) -> String {
    path.split(['?', '#']).next().unwrap_or_default().to_owned()
}

fn without_parameters(path: &str) -> String {
    let segments = path
        .split('/')
        .map(|segment| segment.split(';').next().unwrap_or_default());
    segments.collect::<Vec<_>>().join("/")
}

fn without_empty(path: &str) -> String {
    path.split('/')
        .filter(|segment| !segment.is_empty())
        .map(|segment| format!("/{segment}"))
        .collect()
}

fn without_dots(path: &str) -> String {
    let mut segments = Vec::new();
    for segment in path.replace('\\', "/").split('/').skip(1) {
        match segment {
            "." => {}
            ".." => drop(segments.pop()),
            _ => segments.push(format!("/{segment}")),
        }
    }
    segments.concat()
}

fn owner_of(path: &str) -> &'static str {
    let covers = |root: &str| {
        path.strip_prefix(root)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    if OWN.iter().any(|root| covers(root)) {
        "the dashboard"
    } else if covers("/admin") {
        "admin"
    } else if covers("/open") {
        "open"
    } else {
        "root"
    }
}

/// Ada is the one who is signed in. The application `open` and the path `/hook` are open to
/// everyone, and no one may use `admin`.
fn of_the_caller(seen: &Seen) -> Result<(), String> {
    let is_open = seen.all(GATE) == ["open"] || seen.path() == "/hook";
    match (&seen.all("x-auth-user")[..], is_open) {
        (["ada"], _) | ([], true) if seen.all(GATE) != ["admin"] => Ok(()),
        (callers, _) => Err(format!("the callers {callers:?}")),
    }
}

fn of_the_headers(seen: &Seen, authority: &str) -> Result<(), String> {
    if seen.all("host") != [authority] {
        return Err("the host".into());
    }
    for (spelled, value) in &seen.headers {
        let read: String = spelled
            .chars()
            .map(|c| {
                if c.is_ascii_alphanumeric() {
                    c.to_ascii_lowercase()
                } else {
                    '-'
                }
            })
            .collect();
        let is_of_the_gate = OF_THE_GATE.contains(&read.as_str())
            || BEGINNINGS.iter().any(|start| read.starts_with(start));
        if is_of_the_gate && (*spelled != read || value.contains(EVIL)) {
            return Err(format!("{spelled} from outside"));
        }
        if spelled == "cookie" && value.contains("hermes_session") {
            return Err("a cookie of the dashboard".into());
        }
        let is_framing = [
            "content-length",
            "transfer-encoding",
            "connection",
            "upgrade",
        ]
        .contains(&read.as_str());
        if is_framing && *spelled != read {
            return Err(format!("{spelled}, which frames requests"));
        }
    }
    let ids = seen.all("x-request-id");
    if ids.len() == 1 {
        Ok(())
    } else {
        Err(format!("the ids {ids:?}"))
    }
}

#[test]
fn readings_are_told_apart() {
    for (path, owners) in [
        ("/open/x", &["open"][..]),
        ("/%6fpen", &["open"]),
        ("//open", &["open", "root"]),
        ("/x/../admin", &["admin", "root"]),
        ("/admin;x/y", &["admin", "root"]),
        ("/%5c../x", &["root"]),
        ("/x/..;/login", &["root", "the dashboard"]),
    ] {
        let found: BTreeSet<_> = readings_of(path)
            .iter()
            .map(|reading| owner_of(reading))
            .collect();
        assert_eq!(found.into_iter().collect::<Vec<_>>(), owners, "{path}");
    }
}
