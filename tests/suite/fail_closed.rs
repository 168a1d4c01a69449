//! The fail-closed table: what every kind of caller gets from every kind of provider, on every
//! guarded route. `docs/fail-closed.md` is made of these very cases.

use super::people::{gated, signed_in};
use portcullis_dashboard::web::{BUILT_IN_TOKEN_ROUTES, PEOPLE_PATHS, SERVED_PATHS};
use portcullis_tests::{Browser, DRAIN_SECRET, Home, Process, Reply, request};
use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::Path;

/// What stands in `Authorization`.
#[derive(Clone, Copy, Debug)]
enum Credential {
    Nothing,
    Header(&'static str),
    Bearer(&'static str),
    DrainSecret,
}

/// One row: providers in order, a call, and what it gets.
struct Case {
    says: &'static str,
    providers: &'static [&'static str],
    call: (&'static str, &'static str),
    credential: Credential,
    status: u16,
    body: &'static str,
}

const fn case(
    says: &'static str,
    providers: &'static [&'static str],
    call: (&'static str, &'static str),
    credential: Credential,
    status: u16,
    body: &'static str,
) -> Case {
    Case {
        says,
        providers,
        call,
        credential,
        status,
        body,
    }
}

const METRICS: (&str, &str) = ("GET", "/metrics");
const DRAIN: (&str, &str) = ("POST", "/api/gateway/drain");
const RESTART: (&str, &str) = ("POST", "/api/gateway/restart");
const WHOAMI: (&str, &str) = ("GET", "/api/auth/whoami");
const UNAUTHORIZED: &str = r#"{"error":"unauthenticated","detail":"Unauthorized"}"#;
const FORBIDDEN: &str = r#"{"error":"forbidden","detail":"Forbidden"}"#;
const GOOD: Credential = Credential::Bearer("good-token");
const WRONG: Credential = Credential::Bearer("wrong-token");

use Credential::{Bearer, DrainSecret, Header, Nothing};

const CASES: &[Case] = &[
    case("no token", &["known"], METRICS, Nothing, 401, UNAUTHORIZED),
    case(
        "another scheme",
        &["known"],
        METRICS,
        Header("Basic good-token"),
        401,
        UNAUTHORIZED,
    ),
    case(
        "no scheme",
        &["known"],
        METRICS,
        Header("good-token"),
        401,
        UNAUTHORIZED,
    ),
    case(
        "an empty token",
        &["known"],
        METRICS,
        Header("Bearer "),
        401,
        UNAUTHORIZED,
    ),
    case(
        "a wrong token",
        &["known"],
        METRICS,
        WRONG,
        401,
        UNAUTHORIZED,
    ),
    case("a good token", &["known"], METRICS, GOOD, 200, "# HELP"),
    case(
        "a good token, scheme in capitals",
        &["known"],
        METRICS,
        Header("BEARER  good-token "),
        200,
        "# HELP",
    ),
    case(
        "a good token without the scope",
        &["known"],
        METRICS,
        Bearer("scopeless-token"),
        403,
        FORBIDDEN,
    ),
    case(
        "the drain secret on another route",
        &["known"],
        METRICS,
        DrainSecret,
        403,
        FORBIDDEN,
    ),
    case("no provider", &[], METRICS, GOOD, 401, UNAUTHORIZED),
    case(
        "a provider that traps",
        &["traps"],
        METRICS,
        GOOD,
        401,
        UNAUTHORIZED,
    ),
    case(
        "a caller whose name cannot be used",
        &["garbles"],
        METRICS,
        GOOD,
        401,
        UNAUTHORIZED,
    ),
    case(
        "one with an unusable name, then one that knows",
        &["garbles", "known"],
        METRICS,
        GOOD,
        200,
        "# HELP",
    ),
    case(
        "a provider that takes all memory",
        &["hoards"],
        METRICS,
        GOOD,
        401,
        UNAUTHORIZED,
    ),
    case(
        "a provider that answers 100 MiB",
        &["shouts"],
        METRICS,
        GOOD,
        401,
        UNAUTHORIZED,
    ),
    case(
        "a provider that loops",
        &["loops"],
        METRICS,
        GOOD,
        503,
        "Auth provider 'loops-0' unreachable",
    ),
    case(
        "a provider that sleeps in a host call",
        &["sleeps"],
        METRICS,
        GOOD,
        503,
        "Auth provider 'sleeps-0' unreachable",
    ),
    case(
        "a provider out of reach",
        &["unreachable"],
        METRICS,
        GOOD,
        503,
        "Auth provider 'unreachable-0' unreachable",
    ),
    case(
        "one out of reach, then one that knows",
        &["unreachable", "known"],
        METRICS,
        GOOD,
        200,
        "# HELP",
    ),
    case(
        "one out of reach, then one that does not know",
        &["unreachable", "known"],
        METRICS,
        WRONG,
        503,
        "unreachable-0",
    ),
    case(
        "one that traps, then one that knows",
        &["traps", "known"],
        METRICS,
        GOOD,
        200,
        "# HELP",
    ),
    case(
        "one that loops, then one that knows",
        &["loops", "known"],
        METRICS,
        GOOD,
        200,
        "# HELP",
    ),
    case(
        "one that knows, then one that loops",
        &["known", "loops"],
        METRICS,
        GOOD,
        200,
        "# HELP",
    ),
    case(
        "one that traps, then one out of reach",
        &["traps", "unreachable"],
        METRICS,
        GOOD,
        503,
        "unreachable-1",
    ),
    case(
        "two that do not know",
        &["known", "known"],
        METRICS,
        WRONG,
        401,
        UNAUTHORIZED,
    ),
    case(
        "one that claims more than it was granted",
        &["pretends"],
        METRICS,
        GOOD,
        200,
        "# HELP",
    ),
    case("no token", &["known"], DRAIN, Nothing, 401, UNAUTHORIZED),
    case("a wrong token", &["known"], DRAIN, WRONG, 401, UNAUTHORIZED),
    case(
        "a good token of a provider",
        &["known"],
        DRAIN,
        GOOD,
        401,
        UNAUTHORIZED,
    ),
    case(
        "a provider that claims the drain scope",
        &["pretends"],
        DRAIN,
        GOOD,
        401,
        UNAUTHORIZED,
    ),
    case(
        "a wrong token, a provider out of reach",
        &["unreachable"],
        DRAIN,
        WRONG,
        401,
        UNAUTHORIZED,
    ),
    case(
        "the drain secret",
        &["loops"],
        DRAIN,
        DrainSecret,
        200,
        r#""draining":true"#,
    ),
    case(
        "the drain secret, a look at the drain",
        &["known"],
        ("GET", "/api/gateway/drain"),
        DrainSecret,
        200,
        r#""draining":false"#,
    ),
    case(
        "the drain secret, another method",
        &["known"],
        ("PUT", "/api/gateway/drain"),
        DrainSecret,
        405,
        "Method Not Allowed",
    ),
    case(
        "no token, a look at the drain",
        &["known"],
        ("GET", "/api/gateway/drain"),
        Nothing,
        401,
        UNAUTHORIZED,
    ),
    case(
        "no token, another method",
        &["known"],
        ("PUT", "/api/gateway/drain"),
        Nothing,
        401,
        UNAUTHORIZED,
    ),
    case(
        "the drain secret, a longer path",
        &["known"],
        ("POST", "/api/gateway/drain/"),
        DrainSecret,
        401,
        UNAUTHORIZED,
    ),
    case("no token", &["known"], RESTART, Nothing, 401, UNAUTHORIZED),
    case(
        "the drain secret",
        &["known"],
        RESTART,
        DrainSecret,
        401,
        UNAUTHORIZED,
    ),
    case(
        "a good token of a provider",
        &["known"],
        RESTART,
        GOOD,
        401,
        UNAUTHORIZED,
    ),
    case("no token", &["known"], WHOAMI, Nothing, 401, UNAUTHORIZED),
    case(
        "a good token",
        &["known"],
        WHOAMI,
        GOOD,
        200,
        r#"{"principal":"good-bot","provider":"known-0","scopes":["metrics.read"],"groups":[]}"#,
    ),
    case(
        "a good token without any scope",
        &["known"],
        WHOAMI,
        Bearer("scopeless-token"),
        200,
        r#""scopes":[]"#,
    ),
    case(
        "the drain secret",
        &["loops"],
        WHOAMI,
        DrainSecret,
        200,
        r#"{"principal":"drain-control","provider":"drain-secret","scopes":["drain"],"groups":[]}"#,
    ),
    case(
        "a provider that names itself another",
        &["pretends"],
        WHOAMI,
        GOOD,
        200,
        r#""provider":"pretends-0","scopes":["metrics.read"]"#,
    ),
    case(
        "no token",
        &[],
        ("GET", "/api/status"),
        Nothing,
        200,
        "gateway_state",
    ),
    case("no token", &[], ("GET", "/healthz"), Nothing, 200, "ok"),
    case("no token", &[], ("GET", "/readyz"), Nothing, 200, "ready"),
    case(
        "no token, loopback",
        &[],
        ("GET", "/"),
        Nothing,
        200,
        "Portcullis",
    ),
    case(
        "no token, an unknown path",
        &[],
        ("GET", "/api/nothing"),
        Nothing,
        401,
        UNAUTHORIZED,
    ),
];

/// Who sends the cookies of a session that the guest `people` opened; what it does when it is asked
/// again is in the name. `no session` sends none.
struct PersonCase {
    who: &'static str,
    call: (&'static str, &'static str),
    status: u16,
    says: &'static str,
}

const fn person(
    who: &'static str,
    method: &'static str,
    path: &'static str,
    status: u16,
    says: &'static str,
) -> PersonCase {
    PersonCase {
        who,
        call: (method, path),
        status,
        says,
    }
}

const NO_COOKIE: &str = "no session";
const NO_SESSION: &str = r#""reason":"no_cookie""#;
const OVER: &str = r#""error":"session_expired""#;
const UNREACHABLE: &str = "Auth provider 'people' unreachable";

/// On a gated dashboard. `says` is in the body, or in `Location`.
const PEOPLE_CASES: &[PersonCase] = &[
    person(NO_COOKIE, "GET", "/", 302, "/login?next=%2F"),
    person("ada", "GET", "/", 200, "Sign out"),
    person("traps", "GET", "/", 503, UNREACHABLE),
    person("loops", "GET", "/", 503, UNREACHABLE),
    person("down", "GET", "/", 503, UNREACHABLE),
    person("gone", "GET", "/", 302, "/login?next=%2F"),
    person("other", "GET", "/", 302, "/login?next=%2F"),
    person("spoilt", "GET", "/", 302, "/login?next=%2F"),
    person(NO_COOKIE, "GET", "/api/auth/me", 401, NO_SESSION),
    person("ada", "GET", "/api/auth/me", 200, r#""user_id":"ada""#),
    person("traps", "GET", "/api/auth/me", 503, UNREACHABLE),
    person("gone", "GET", "/api/auth/me", 401, OVER),
    person("other", "GET", "/api/auth/me", 401, OVER),
    person("spoilt", "GET", "/api/auth/me", 401, OVER),
    person(NO_COOKIE, "POST", "/api/auth/ws-ticket", 401, NO_SESSION),
    person(
        "ada",
        "POST",
        "/api/auth/ws-ticket",
        200,
        r#""ttl_seconds":30"#,
    ),
    person("gone", "POST", "/api/auth/ws-ticket", 401, OVER),
    person(
        NO_COOKIE,
        "GET",
        "/api/ws",
        401,
        r#""error":"unauthenticated""#,
    ),
    person("ada", "GET", "/api/ws", 401, r#""error":"unauthenticated""#),
    person(
        "ada",
        "GET",
        "/api/ws?ticket=00",
        401,
        r#""error":"unauthenticated""#,
    ),
    person(NO_COOKIE, "POST", "/api/drain", 401, NO_SESSION),
    person("traps", "POST", "/api/drain", 503, UNREACHABLE),
    person("gone", "POST", "/api/drain", 401, OVER),
    person("ada", "POST", "/api/drain", 200, r#""draining":true"#),
    person(NO_COOKIE, "POST", "/api/restart", 401, NO_SESSION),
    person("traps", "POST", "/api/restart", 503, UNREACHABLE),
    person("gone", "POST", "/api/restart", 401, OVER),
    person("ada", "POST", "/api/restart", 409, "no gateway runs"),
    person(NO_COOKIE, "POST", "/api/gateway/restart", 401, NO_SESSION),
    person("gone", "POST", "/api/gateway/restart", 401, OVER),
    person(
        "ada",
        "POST",
        "/api/gateway/restart",
        409,
        "no gateway runs",
    ),
    person(NO_COOKIE, "GET", "/api/sessions", 401, NO_SESSION),
    person("gone", "GET", "/api/sessions", 401, OVER),
    person("ada", "GET", "/api/sessions", 200, r#""current":true"#),
    person(
        NO_COOKIE,
        "DELETE",
        "/api/sessions?all=true",
        401,
        NO_SESSION,
    ),
    person(
        "ada",
        "DELETE",
        "/api/sessions",
        400,
        "Say whose sessions end",
    ),
    person(
        "ada",
        "DELETE",
        "/api/sessions?user=eve",
        200,
        r#""ended":0"#,
    ),
    person(NO_COOKIE, "DELETE", "/api/sessions/0", 401, NO_SESSION),
    person("ada", "DELETE", "/api/sessions/0", 404, "No such session"),
    person(NO_COOKIE, "GET", "/auth/verify", 401, NO_SESSION),
    person("ada", "GET", "/auth/verify", 200, ""),
    person("traps", "GET", "/auth/verify", 503, UNREACHABLE),
    person("other", "GET", "/auth/verify", 401, OVER),
    person("spoilt", "GET", "/auth/verify", 401, OVER),
    person(
        NO_COOKIE,
        "GET",
        "/auth/resume?next=/x",
        302,
        "/login?next=%2Fx",
    ),
    person("ada", "GET", "/auth/resume?next=/x", 302, "/x"),
    person("ada", "GET", "/auth/resume?next=//e", 302, "/"),
    person("ada", "POST", "/api/gateway/drain", 401, UNAUTHORIZED),
    person("ada", "GET", "/metrics", 200, "# HELP"),
    person(NO_COOKIE, "GET", "/login", 200, "Sign in"),
    person(
        NO_COOKIE,
        "GET",
        "/auth/login?provider=people",
        404,
        "Not Found",
    ),
    person(
        NO_COOKIE,
        "GET",
        "/auth/callback?code=x&state=y",
        302,
        "/login?next=%2F&failed=expired",
    ),
    person(NO_COOKIE, "POST", "/auth/password-login", 400, "are needed"),
    person(NO_COOKIE, "POST", "/auth/logout", 302, "/login"),
    person(
        NO_COOKIE,
        "GET",
        "/auth/handover?ticket=x",
        302,
        "/login?next=%2F&failed=expired",
    ),
    person(
        "ada",
        "GET",
        "/auth/handover?ticket=x",
        302,
        "/login?next=%2F&failed=expired",
    ),
    person(
        NO_COOKIE,
        "POST",
        "/auth/backchannel/people",
        404,
        "Not Found",
    ),
    person(
        NO_COOKIE,
        "POST",
        "/auth/backchannel/missing",
        404,
        "Not Found",
    ),
    person(
        NO_COOKIE,
        "GET",
        "/auth/backchannel/people",
        405,
        "Method Not Allowed",
    ),
    person(
        NO_COOKIE,
        "GET",
        "/api/auth/providers",
        200,
        "supports_password",
    ),
    person(
        NO_COOKIE,
        "GET",
        "/_portcullis/openapi.json",
        302,
        "/login?next=%2F_portcullis%2Fopenapi.json",
    ),
    person(
        "gone",
        "GET",
        "/_portcullis/openapi.json",
        302,
        "/login?next=%2F_portcullis%2Fopenapi.json",
    ),
    person(
        "ada",
        "GET",
        "/_portcullis/openapi.json",
        200,
        r#""openapi":"3.1.0""#,
    ),
    person(NO_COOKIE, "GET", "/favicon.ico", 200, "svg"),
    person(NO_COOKIE, "GET", "/auth/logo", 404, "Not Found"),
    person(NO_COOKIE, "GET", "/api/nothing", 401, NO_SESSION),
    person("ada", "GET", "/api/nothing", 404, "Not Found"),
];

#[test]
fn people_get_what_their_session_is_worth() {
    for case in PEOPLE_CASES {
        let home = gated("http://agent.test", "");
        let dashboard = home.dashboard();
        let mut browser = if case.who == NO_COOKIE {
            Browser::default()
        } else {
            signed_in(&dashboard, case.who)
        };
        let body = if case.call.0 == "POST" { "{}" } else { "" };
        let json = [("content-type", "application/json")];
        let reply = browser.request(case.call.0, &dashboard.url(case.call.1), &json, body);
        let row = format!("{} {:?}: {reply:?}", case.who, case.call);
        assert_eq!(reply.status, case.status, "{row}");
        match reply.header("location") {
            Some(location) => assert_eq!(location, case.says, "{row}"),
            None => assert!(reply.body.contains(case.says), "{row}"),
        }
    }
}

fn call(dashboard: &Process, case: &Case) -> Reply {
    let (method, path) = case.call;
    let authorization = match case.credential {
        Nothing => None,
        Header(value) => Some(value.to_owned()),
        Bearer(token) => Some(format!("Bearer {token}")),
        DrainSecret => Some(format!("Bearer {DRAIN_SECRET}")),
    };
    let headers: Vec<_> = authorization
        .iter()
        .map(|value| ("authorization", value.as_str()))
        .collect();
    let body = if method == "POST" { "{}" } else { "" };
    request(method, &dashboard.url(path), &headers, body)
}

fn check(provider_sets: &BTreeSet<&[&str]>) {
    for providers in provider_sets {
        let home = Home::with_guests(providers);
        let dashboard = home.dashboard();
        for case in CASES.iter().filter(|case| case.providers == *providers) {
            let reply = call(&dashboard, case);
            let row = format!(
                "{}: {:?} of {:?}: {reply:?}",
                case.says, case.call, case.providers
            );
            assert_eq!(reply.status, case.status, "{row}");
            assert!(reply.body.contains(case.body), "{row}");
            match reply.status {
                401 => assert_eq!(reply.header("www-authenticate"), Some("Bearer"), "{row}"),
                503 => assert_eq!(reply.header("retry-after"), Some("1"), "{row}"),
                _ => {}
            }
            assert_eq!(
                reply.header("x-content-type-options"),
                Some("nosniff"),
                "{row}"
            );
        }
    }
}

/// Split so that the sets run side by side.
fn sets(keep: impl Fn(&[&str]) -> bool) -> BTreeSet<&'static [&'static str]> {
    CASES
        .iter()
        .map(|case| case.providers)
        .filter(|providers| keep(providers))
        .collect()
}

#[test]
fn well_behaved_providers_let_in_whom_they_should() {
    check(&sets(|providers| {
        providers.iter().all(|name| *name == "known")
    }));
}

#[test]
fn single_bad_providers_let_no_caller_in() {
    check(&sets(
        |providers| matches!(providers, [name] if *name != "known"),
    ));
}

#[test]
fn bad_providers_stop_no_provider_behind_them() {
    check(&sets(|providers| {
        providers.len() > 1 && providers.iter().any(|name| *name != "known")
    }));
}

#[test]
fn every_route_has_a_row() {
    let of_people = PEOPLE_CASES
        .iter()
        .map(|case| case.call.1.split('?').next().unwrap_or_default());
    let with_a_row: BTreeSet<_> = CASES
        .iter()
        .map(|case| case.call.1)
        .chain(of_people)
        .collect();
    let routes = SERVED_PATHS
        .iter()
        .chain(BUILT_IN_TOKEN_ROUTES)
        .chain(PEOPLE_PATHS);
    let has_row = |route: &str| match route.split_once('{') {
        Some((start, _)) => with_a_row
            .iter()
            .any(|path| path.len() > start.len() && path.starts_with(start)),
        None => with_a_row.contains(route),
    };
    let without: Vec<_> = routes.filter(|path| !has_row(path)).collect();
    assert!(
        without.is_empty(),
        "routes without a row in the table: {without:?}"
    );
}

#[test]
fn two_authorization_headers_and_long_ones_are_no_token() {
    let home = Home::with_guests(&["known"]);
    let dashboard = home.dashboard();
    let twice = [
        ("authorization", "Bearer good-token"),
        ("authorization", "Bearer good-token"),
    ];
    assert_eq!(
        request("GET", &dashboard.url("/metrics"), &twice, "").status,
        401
    );
    let long = format!("Bearer {}", "a".repeat(8 * 1024));
    assert_eq!(
        request(
            "GET",
            &dashboard.url("/metrics"),
            &[("authorization", &long)],
            ""
        )
        .status,
        401
    );
    assert!(
        home.audit()
            .iter()
            .all(|line| line["event"] != "provider_fault")
    );
}

#[test]
fn table_in_the_docs_is_made_of_these_cases() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/fail-closed.md");
    let table = document();
    if std::fs::read_to_string(&path).unwrap_or_default() == table {
        return;
    }
    std::fs::write(&path, table).expect("docs/ is there");
    panic!("docs/fail-closed.md was not made of these cases; it is now: commit it");
}

fn document() -> String {
    let mut text = String::from(
        "# What every caller gets\n\nMade from the cases in `tests/suite/fail_closed.rs`, which run against the real \
         binary; the suite fails when this page\ndiffers from them, or when a route has no row.\n\n\
         - [People, where they must sign in](#people-where-they-must-sign-in)\n\n\
         | route | caller and providers (in order) | status | body has |\n|---|---|---|---|\n",
    );
    for case in CASES {
        let providers = match case.providers {
            [] => String::new(),
            providers => format!(" ({})", providers.join(", ")),
        };
        let body = case.body.replace('|', "\\|");
        writeln!(
            text,
            "| `{} {}` | {}{providers} | {} | `{body}` |",
            case.call.0, case.call.1, case.says, case.status
        )
        .expect("writing to a string");
    }
    text.push_str(
        "\n## People, where they must sign in\n\nOf a session whose provider, asked again, does what its name says. `no session` is a browser \
         without one. The\nclaims of `spoilt` can no longer be used. An answer of 503 leaves the cookies, one of 401 or to the \
         sign-in page deletes\nthem.\n\n\
         | route | session | status | body or location has |\n|---|---|---|---|\n",
    );
    for PersonCase {
        who,
        call,
        status,
        says,
    } in PEOPLE_CASES
    {
        writeln!(
            text,
            "| `{} {}` | {who} | {status} | `{says}` |",
            call.0, call.1
        )
        .expect("writing to a string");
    }
    text
}
