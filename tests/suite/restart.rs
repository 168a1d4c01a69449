//! Forced restarts of the gateway: who may, what they end, and what comes back.

use super::people::{gated, signed_in};
use super::turns::{Gate, post_turn, start_turn_in_background, wait_for_turns};
use super::up::up_with;
use jiff::{SignedDuration, Timestamp};
use portcullis_tests::{
    DRAIN_SECRET, Home, PROCESS_TOKEN, Process, Reply, SOON, eventually, get, guest, post,
};
use rustix::process::Signal;
use serde_json::{Value, json};
use std::fs;
use std::panic::catch_unwind;
use std::thread;

const REQUEST: &str = ".restart_request.json";
const TOKEN: (&str, &str) = ("x-hermes-session-token", PROCESS_TOKEN);
const VARIABLES: [(&str, &str); 2] = [
    ("HERMES_DASHBOARD_SESSION_TOKEN", PROCESS_TOKEN),
    ("HERMES_DASHBOARD_DRAIN_SECRET", DRAIN_SECRET),
];

fn dashboard(home: &Home) -> Process {
    home.dashboard_with(&["--port", "0"], &VARIABLES)
}

fn restart(dashboard: &Process, body: &str) -> Reply {
    post(&dashboard.url("/api/gateway/restart"), &[TOKEN], body)
}

fn status(home: &Home) -> Value {
    home.json("gateway_state.json")
}

fn wait_for_state(home: &Home, state: &str) -> Value {
    eventually(state, SOON, || {
        Some(status(home)).filter(|status| status["gateway_state"] == state)
    })
}

/// The status file says that the gateway has stopped, and why.
#[track_caller]
fn assert_stopped(home: &Home, restart_requested: bool, exit_reason: &str) {
    let ended = status(home);
    let found = (
        &ended["gateway_state"],
        &ended["restart_requested"],
        &ended["exit_reason"],
    );
    assert_eq!(
        found,
        (
            &json!("stopped"),
            &json!(restart_requested),
            &json!(exit_reason)
        )
    );
}

/// The audit line of the last restart.
fn audited(home: &Home) -> Value {
    eventually("the restart is audited", SOON, || {
        home.audit()
            .into_iter()
            .rfind(|line| line["event"] == "gateway_restart")
    })
}

fn request(requested_at: Timestamp, epoch: Option<&str>) -> String {
    json!({"id": "a1", "requested_at": requested_at, "principal": "ada", "reason": null, "grace_seconds": 0, "epoch": epoch})
        .to_string()
}

/// Puts a request into the home in one step, as its writers do.
fn put(home: &Home, text: &str) {
    home.write("request.new", text);
    fs::rename(home.file("request.new"), home.file(REQUEST)).expect("a file in the home");
}

/// The port of the gateway that `up` starts next.
fn next_gateway(up: &mut Process) -> u16 {
    loop {
        let line = up.line();
        assert!(!line.is_empty(), "it ended: {}", up.log());
        if let Some(port) = line.strip_prefix("PORTCULLIS_READY gateway port=") {
            return port.trim().parse().expect("a port");
        }
    }
}

#[test]
fn turn_ends_at_once_without_grace_and_the_gateway_comes_back() {
    let gate = Gate::new();
    let home = Home::with_config(&gate.config());
    let (mut up, dashboard, gateway, _) = up_with(&home, &VARIABLES);
    let dashboard = |path: &str| format!("http://127.0.0.1:{dashboard}{path}");
    let turns = |port: u16| format!("http://127.0.0.1:{port}/v1/turns");
    let url = turns(gateway);
    let turn =
        thread::spawn(move || catch_unwind(|| post(&url, &[], r#"{"session":"s","text":"x"}"#)));
    eventually("the turn is in flight", SOON, || {
        (status(&home)["active_agents"] == 1).then_some(())
    });
    let authorization = format!("Bearer {DRAIN_SECRET}");
    let drain = [("authorization", authorization.as_str())];
    for owner in ["nas", "blue"] {
        let body = json!({"owner": owner}).to_string();
        assert_eq!(
            post(&dashboard("/api/gateway/drain"), &drain, &body).status,
            200
        );
    }
    let first = wait_for_state(&home, "draining")["pid"].clone();

    let body = r#"{"grace_seconds":0,"reason":"stuck turn","note":1}"#;
    let reply = post(&dashboard("/api/gateway/restart"), &[TOKEN], body);
    assert_eq!(
        (reply.status, &reply.json()["ok"]),
        (202, &json!(true)),
        "{reply:?}"
    );
    assert_eq!(reply.json()["ignored"], json!(["note"]));
    assert!(
        !home.file(".drain_request.json").exists(),
        "the drain is over"
    );

    let port = next_gateway(&mut up);
    let second = wait_for_state(&home, "running");
    assert_ne!(second["pid"], first);
    assert_eq!(
        (&second["restart_requested"], &second["exit_reason"]),
        (&json!(false), &Value::Null)
    );
    assert!(!home.file(REQUEST).exists());
    let ended = turn.join().expect("a thread that catches its panic");
    assert!(
        ended.map_or(true, |reply| reply.status != 200),
        "the turn was ended"
    );
    gate.open();
    assert_eq!(
        post(&turns(port), &[], r#"{"session":"s","text":"x"}"#).status,
        200
    );

    let line = audited(&home);
    assert_eq!(line["restart_id"], reply.json()["restart_id"]);
    let found = (
        &line["principal"],
        &line["reason"],
        &line["grace_seconds"],
        &line["ok"],
    );
    assert_eq!(
        found,
        (
            &json!("dashboard"),
            &json!("stuck turn"),
            &json!(0),
            &json!(true)
        )
    );
    assert_eq!(line["overridden"], json!(["nas", "blue"]));
    let counted = "portcullis_gateway_restarts_total 1";
    assert!(get(&dashboard("/metrics"), &[TOKEN]).body.contains(counted));
    assert!(
        get(&format!("http://127.0.0.1:{port}/metrics"), &[])
            .body
            .contains(counted)
    );
    assert!(!up.log().contains("it died"), "{}", up.log());
    assert!(up.terminate().success());
}

#[test]
fn turn_finishes_within_its_grace() {
    let gate = Gate::new();
    let home = Home::with_config(&gate.config());
    let (dashboard, mut gateway) = (dashboard(&home), home.gateway());
    let turn = start_turn_in_background(&gateway, "s");
    wait_for_turns(&gateway, 1);
    assert_eq!(restart(&dashboard, r#"{"grace_seconds":3600}"#).status, 202);
    assert_eq!(wait_for_state(&home, "stopping")["restart_requested"], true);
    assert_eq!(post_turn(&gateway, "t", "x").status, 503);
    gate.open();
    assert_eq!(turn.join().expect("an answer").status, 200);
    assert_eq!(gateway.wait().code(), Some(75));
}

#[test]
fn gateway_exits_with_75_and_the_next_one_accepts() {
    let home = Home::with_config("gateway: {command: [cat], shutdown_grace_seconds: 7}");
    let (dashboard, mut gateway) = (dashboard(&home), home.gateway());
    let reply = restart(&dashboard, "");
    assert_eq!(reply.status, 202, "{reply:?}");
    assert_eq!(gateway.wait().code(), Some(75));
    assert_stopped(&home, true, "restart");
    assert_eq!(audited(&home)["grace_seconds"], 7, "as configured");
    assert_eq!(restart(&dashboard, "").status, 409, "no gateway runs");
    assert!(!home.file(REQUEST).exists());

    let mut next = home.gateway();
    assert_eq!(post_turn(&next, "s", "x").status, 200);
    assert!(next.terminate().success(), "it was restarted once");
}

#[test]
fn later_request_supersedes_the_grace_of_an_earlier_one() {
    let gate = Gate::new();
    let home = Home::with_config(&gate.config());
    let (dashboard, mut gateway) = (dashboard(&home), home.gateway());
    let url = gateway.url("/v1/turns");
    let turn =
        thread::spawn(move || catch_unwind(|| post(&url, &[], r#"{"session":"s","text":"x"}"#)));
    wait_for_turns(&gateway, 1);
    assert_eq!(restart(&dashboard, r#"{"grace_seconds":3600}"#).status, 202);
    wait_for_state(&home, "stopping");
    assert_eq!(restart(&dashboard, r#"{"grace_seconds":0}"#).status, 202);
    assert_eq!(gateway.wait().code(), Some(75));
    let ended = turn.join().expect("a thread that catches its panic");
    assert!(
        ended.map_or(true, |reply| reply.status != 200),
        "the turn was ended"
    );
}

#[test]
fn signal_during_the_grace_wins() {
    let gate = Gate::new();
    let home = Home::with_config(&gate.config());
    let (dashboard, mut gateway) = (dashboard(&home), home.gateway());
    let turn = start_turn_in_background(&gateway, "s");
    wait_for_turns(&gateway, 1);
    assert_eq!(restart(&dashboard, r#"{"grace_seconds":3600}"#).status, 202);
    wait_for_state(&home, "stopping");
    gateway.signal(Signal::TERM);
    eventually("the signal is acted on", SOON, || {
        (status(&home)["restart_requested"] == false).then_some(())
    });
    gate.open();
    assert_eq!(turn.join().expect("an answer").status, 200);
    assert_eq!(gateway.wait().code(), Some(0));
    assert_stopped(&home, false, "signal");
}

#[test]
fn stale_and_damaged_requests_are_removed_with_one_warning() {
    let home = Home::with_config("gateway: {command: [cat]}");
    put(&home, &request(Timestamp::now(), None));
    let mut gateway = home.gateway();
    assert!(!home.file(REQUEST).exists());
    assert!(
        gateway
            .log()
            .contains("it was made before this gateway started"),
        "{}",
        gateway.log()
    );

    let old = Timestamp::now() - SignedDuration::from_secs(600);
    for (text, complaint) in [
        ("{".to_owned(), "it cannot be read"),
        ("[]".to_owned(), "it cannot be read"),
        (request(old, None), "more than 5 minutes ago"),
        (
            request(Timestamp::now(), Some("another:1")),
            "of another epoch (another:1)",
        ),
    ] {
        let warnings = || gateway.log().matches("ignoring a restart request").count();
        let before = warnings();
        put(&home, &text);
        eventually(complaint, SOON, || (warnings() > before).then_some(()));
        assert!(
            gateway.log().contains(complaint) && !home.file(REQUEST).exists(),
            "{}",
            gateway.log()
        );
        assert_eq!(warnings(), before + 1, "{}", gateway.log());
    }
    assert_eq!(post_turn(&gateway, "s", "x").status, 200);
    assert!(gateway.terminate().success());
}

#[test]
fn request_that_cannot_be_removed_restarts_nothing() {
    let home = Home::with_config("gateway: {command: [cat]}");
    let (dashboard, mut gateway) = (dashboard(&home), home.gateway());
    // A folder that is not empty can neither be removed nor replaced, by root as well.
    fs::create_dir_all(home.file("blocked").join("full")).expect("a folder in the home");
    fs::rename(home.file("blocked"), home.file(REQUEST)).expect("a folder in the home");
    eventually("the failure is logged", SOON, || {
        gateway.log().contains("cannot be removed").then_some(())
    });
    let reply = restart(&dashboard, "{}");
    assert_eq!(
        (reply.status, &reply.json()["error"]),
        (500, &json!("restart_failed")),
        "{reply:?}"
    );
    let line = audited(&home);
    assert_eq!(
        (&line["ok"], line["error"].is_string()),
        (&json!(false), true),
        "{line}"
    );
    assert_eq!(post_turn(&gateway, "s", "x").status, 200);
    assert_eq!(
        gateway.log().matches("cannot be removed").count(),
        1,
        "it is logged once"
    );
    assert!(gateway.terminate().success());
}

#[test]
fn callers_without_permission_restart_nothing() {
    let config = |routes: &str| {
        let known = guest("known").display().to_string();
        format!(
            "dashboard:\n  token_routes: [{routes}]\n  providers:\n    - {{name: known, component: {known}, grants: {{scopes: \
             [metrics.read]}}}}\n"
        )
    };
    let bearer = |token: &str| format!("Bearer {token}");
    let home = Home::with_config(&config(""));
    let (with_process_token, mut gateway) = (dashboard(&home), home.gateway());
    let url = with_process_token.url("/api/gateway/restart");
    assert_eq!(post(&url, &[], "{}").status, 401);
    for token in [DRAIN_SECRET, "good-token", "wrong"] {
        assert_eq!(
            post(&url, &[("authorization", &bearer(token))], "{}").status,
            401,
            "{token}"
        );
    }
    assert_eq!(
        post(&url, &[TOKEN, ("origin", "http://evil.example")], "{}").status,
        403
    );
    assert_eq!(get(&url, &[TOKEN]).status, 405);
    assert!(!home.file(REQUEST).exists());
    assert!(gateway.terminate().success());

    let home = Home::with_config(&config("{path: /api/gateway/restart, scope: metrics.read}"));
    let (with_token_route, mut gateway) = (dashboard(&home), home.gateway());
    let url = with_token_route.url("/api/gateway/restart");
    for (token, status) in [
        ("scopeless-token", 403),
        (DRAIN_SECRET, 403),
        (PROCESS_TOKEN, 401),
        ("good-token", 202),
    ] {
        assert_eq!(
            post(&url, &[("authorization", &bearer(token))], "{}").status,
            status,
            "{token}"
        );
    }
    assert_eq!(gateway.wait().code(), Some(75));
    let line = audited(&home);
    assert_eq!(
        (&line["principal"], &line["provider"]),
        (&json!("good-bot"), &json!("known"))
    );
}

#[test]
fn open_gate_restarts_for_nobody() {
    let home = gated("http://agent.test", "");
    let dashboard = home.dashboard_with(&["--port", "0", "--insecure"], &VARIABLES);
    let [process_token, drain_secret] =
        [PROCESS_TOKEN, DRAIN_SECRET].map(|token| format!("Bearer {token}"));
    for path in ["/api/gateway/restart", "/api/restart"] {
        for header in [
            TOKEN,
            ("authorization", &process_token),
            ("authorization", &drain_secret),
        ] {
            assert_eq!(
                post(&dashboard.url(path), &[header], "{}").status,
                401,
                "{path} {header:?}"
            );
        }
    }
    assert!(
        !get(&dashboard.url("/"), &[])
            .body
            .contains("id=\"restart-form\"")
    );
    assert!(!home.file(REQUEST).exists());
}

#[test]
fn bad_bodies_are_refused_and_nothing_is_requested() {
    let home = Home::with_config("gateway: {command: [cat]}");
    let (dashboard, mut gateway) = (dashboard(&home), home.gateway());
    home.write(".drain_request.json", "{}");
    for (body, detail) in [
        ("[]", "object"),
        ("now", "JSON"),
        (r#"{"grace_seconds":3601}"#, "'grace_seconds'"),
        (r#"{"grace_seconds":-1}"#, "'grace_seconds'"),
        (r#"{"grace_seconds":"5"}"#, "'grace_seconds'"),
        (r#"{"reason":"a\nb"}"#, "'reason'"),
        (r#"{"reason":1}"#, "'reason'"),
    ] {
        let reply = restart(&dashboard, body);
        assert_eq!(reply.status, 400, "{body}");
        let found = reply.json()["detail"]
            .as_str()
            .is_some_and(|found| found.contains(detail));
        assert!(found, "{body}: {}", reply.body);
    }
    assert!(
        home.file(".drain_request.json").exists(),
        "no drain is ended"
    );
    assert!(gateway.terminate().success());
}

#[test]
fn person_restarts_from_the_page_without_its_script() {
    let home = gated("http://agent.test", "");
    let (dashboard, mut gateway) = (home.dashboard(), home.gateway());
    let mut browser = signed_in(&dashboard, "ada");
    let page = browser.get(&dashboard.url("/")).body;
    assert!(
        page.contains("id=\"restart-dialog\"") && page.contains("Restart the gateway?"),
        "{page}"
    );
    assert!(page.contains(r#"action="/api/restart""#), "{page}");
    let bad = browser.form(&dashboard.url("/api/restart"), "grace_seconds=soon&reason=");
    assert_eq!(bad.status, 400, "{bad:?}");
    let done = browser.form(
        &dashboard.url("/api/restart"),
        "grace_seconds=0&reason=stuck+turn",
    );
    assert_eq!(
        (done.status, done.header("location")),
        (303, Some("/")),
        "{done:?}"
    );
    assert_eq!(gateway.wait().code(), Some(75));
    let line = audited(&home);
    let found = (&line["principal"], &line["provider"], &line["reason"]);
    assert_eq!(
        found,
        (&json!("ada"), &json!("people"), &json!("stuck turn"))
    );
}

#[test]
fn command_line_restarts_the_gateway() {
    let home = Home::with_config("gateway: {command: [cat]}");
    let run = |arguments: &[&str]| {
        let arguments: Vec<_> = ["gateway-restart"]
            .iter()
            .chain(arguments)
            .copied()
            .collect();
        Process::run(&home, &arguments, &[])
    };
    let without = run(&[]);
    assert_eq!(without.code, Some(1), "{without:?}");
    assert!(
        without.stderr.contains("no gateway runs over"),
        "{without:?}"
    );
    assert_eq!(run(&["--grace", "3601"]).code, Some(64));
    assert_eq!(run(&["--reason", "a\nb"]).code, Some(64));
    let failed: Value = serde_json::from_str(&run(&["--json"]).stdout).expect("JSON");
    assert_eq!(
        (&failed["ok"], &failed["error"]),
        (&json!(false), &json!("failed"))
    );
    let mistake: Value =
        serde_json::from_str(&run(&["--reason", " x", "--json"]).stdout).expect("JSON");
    assert_eq!(mistake["error"], "usage");

    let mut gateway = home.gateway();
    home.write(".drain_request.json", r#"{"principal":"nas"}"#);
    wait_for_state(&home, "draining");
    let done = run(&["--grace", "0", "--reason", "by hand", "--json"]);
    assert_eq!(done.code, Some(0), "{done:?}");
    let answer: Value = serde_json::from_str(&done.stdout).expect("JSON");
    assert_eq!(answer["ok"], true);
    assert_eq!(gateway.wait().code(), Some(75));
    assert!(!home.file(".drain_request.json").exists() && !home.file(REQUEST).exists());
    let line = audited(&home);
    assert_eq!(
        (&line["restart_id"], &line["reason"]),
        (&answer["restart_id"], &json!("by hand"))
    );
    assert_eq!(
        (&line["principal"], &line["overridden"]),
        (&json!("command-line"), &json!(["nas"]))
    );

    // It is unknown whether a gateway runs.
    home.write("gateway_state.json", "{");
    let unknown = run(&[]);
    assert_eq!(unknown.code, Some(0), "{unknown:?}");
    assert!(
        unknown
            .stderr
            .contains("it is not known whether a gateway runs"),
        "{unknown:?}"
    );
    assert_eq!(home.json(REQUEST)["id"], unknown.stdout.trim());
}
