//! No secret gets out: a canary of each kind is looked for in all that is printed, logged, answered
//! and shown.

use portcullis_tests::{Home, get, post};
use std::fs;

const SESSION_TOKEN: &str = "canary-session-token-7d1fQz94kLx0Wm";
const DRAIN: &str = "canary9f2Kq7Lx0Zr4Tb6Vn8Mc1Wd3Ye5Ug7Ih9Oj2Pk4S";
const KEY: &str = "canary-provider-setting-55aa";

#[test]
fn canaries_are_seen_nowhere() {
    let guest = portcullis_tests::guest("known");
    let home = Home::with_config(&format!(
        "dashboard: {{providers: [{{name: known, component: {}, config: {{key: {KEY}}}}}]}}",
        guest.display()
    ));
    let dashboard = home.dashboard_with(
        &["--port", "0", "--log-format", "json"],
        &[
            ("HERMES_DASHBOARD_DRAIN_SECRET", DRAIN),
            ("HERMES_DASHBOARD_SESSION_TOKEN", SESSION_TOKEN),
            ("RUST_LOG", "trace"),
        ],
    );
    let mut answers = String::new();
    for (path, header, value) in [
        (
            "/api/gateway/drain",
            "authorization",
            format!("Bearer {DRAIN}"),
        ),
        (
            "/api/gateway/drain",
            "authorization",
            format!("Bearer {DRAIN}x"),
        ),
        (
            "/api/auth/whoami",
            "authorization",
            format!("Bearer {DRAIN}"),
        ),
        (
            "/metrics",
            "x-hermes-session-token",
            SESSION_TOKEN.to_owned(),
        ),
        (
            "/metrics",
            "authorization",
            format!("Bearer {SESSION_TOKEN}"),
        ),
        (
            "/api/auth/whoami",
            "authorization",
            "Bearer canary-wrong-token".to_owned(),
        ),
    ] {
        for reply in [
            get(&dashboard.url(path), &[(header, &value)]),
            post(&dashboard.url(path), &[(header, &value)], "{}"),
        ] {
            answers += &format!("{reply:?}");
        }
    }
    assert!(!answers.contains("canary"), "{answers}");
    let command_line = fs::read(format!("/proc/{}/cmdline", dashboard.pid())).expect("it runs");
    assert!(!String::from_utf8_lossy(&command_line).contains("canary"));
    let mut dashboard = dashboard;
    dashboard.terminate();
    let log = dashboard.log();
    assert!(
        log.lines().all(|line| line.starts_with('{')),
        "JSON lines: {log:.2000}"
    );
    assert!(
        !log.contains("canary"),
        "{}",
        log.lines()
            .find(|line| line.contains("canary"))
            .unwrap_or_default()
    );
    let audit = fs::read_to_string(home.file("logs/dashboard-auth.log")).expect("the audit log");
    assert!(
        audit.contains("token_auth_success") && !audit.contains("canary"),
        "{audit}"
    );
    assert!(
        !fs::read_to_string(home.file(".drain_request.json"))
            .expect("the marker")
            .contains("canary")
    );
}
