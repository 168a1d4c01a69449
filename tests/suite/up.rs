//! The whole system by one command.

use crate::turns::Gate;
use portcullis_tests::{DRAIN_SECRET, Home, Process, SOON, eventually, get, post};
use rustix::process::{Pid, Signal, kill_process};
use std::fs;
use std::os::unix::fs::PermissionsExt;

/// Starts it over a home; the ports of the dashboard and the gateway, and the greeting.
fn up(home: &Home) -> (Process, u16, u16, String) {
    up_with(home, &[])
}

/// The same with these variables.
pub(crate) fn up_with(home: &Home, variables: &[(&str, &str)]) -> (Process, u16, u16, String) {
    let mut up = Process::start(
        home,
        &["up", "--port", "0", "--listen", "127.0.0.1:0"],
        variables,
    );
    let mut ports = (None, None);
    let mut text = String::new();
    loop {
        let line = up.line();
        assert!(!line.is_empty(), "it ended: {}\n{text}", up.log());
        let port = |prefix: &str| {
            line.strip_prefix(prefix)
                .and_then(|port| port.trim().parse().ok())
        };
        ports.0 = ports.0.or(port("PORTCULLIS_READY dashboard port="));
        ports.1 = ports.1.or(port("PORTCULLIS_READY gateway port="));
        text += &line;
        if let ((Some(dashboard), Some(gateway)), true) = (ports, line.starts_with("Ctrl-C")) {
            return (up, dashboard, gateway, text);
        }
    }
}

#[test]
fn empty_home_becomes_a_running_system() {
    let home = Home::new();
    let (mut up, dashboard, gateway, greeting) = up(&home);
    let read = |name: &str| {
        fs::read_to_string(home.file(name))
            .expect(name)
            .trim()
            .to_owned()
    };
    let (secret, key) = (read("drain-secret"), read("service-key"));
    for name in ["drain-secret", "service-key", "portcullis.yaml"] {
        let mode = fs::metadata(home.file(name))
            .expect("it was made")
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
        let made = format!("made {}\n", home.file(name).display());
        assert!(greeting.contains(&made), "{made}\n{greeting}");
    }
    assert!(
        greeting.contains("curl") && !greeting.contains(&secret) && !greeting.contains(&key),
        "{greeting}"
    );

    let dashboard = format!("http://127.0.0.1:{dashboard}");
    let turns = format!("http://127.0.0.1:{gateway}/v1/turns");
    let whoami = get(
        &format!("{dashboard}/api/auth/whoami"),
        &[("authorization", &format!("Bearer {key}"))],
    );
    assert_eq!(whoami.json()["provider"], "service-keys", "{whoami:?}");
    let metrics = get(
        &format!("{dashboard}/metrics"),
        &[("authorization", &format!("Bearer {key}"))],
    );
    assert_eq!(metrics.status, 200);
    assert_eq!(
        post(&turns, &[], r#"{"session":"s","text":"hello"}"#).body,
        "hello"
    );
    let drain = |body: &str| {
        post(
            &format!("{dashboard}/api/gateway/drain"),
            &[("authorization", &format!("Bearer {secret}"))],
            body,
        )
    };
    assert_eq!(drain("").status, 200);
    eventually("turns are refused", SOON, || {
        (post(&turns, &[], r#"{"session":"s","text":"x"}"#).status == 503).then_some(())
    });
    assert_eq!(drain(r#"{"action":"cancel"}"#).status, 200);
    assert!(up.terminate().success());
    assert_eq!(home.json("gateway_state.json")["gateway_state"], "stopped");
}

#[test]
fn secret_that_is_refused_is_named_in_place_of_the_calls_that_need_it() {
    let advice = "make one with `portcullis secret generate`.";
    let says = |home: &Home, variables: &[(&str, &str)], expected: &str| {
        let (_up, _, _, greeting) = up_with(home, variables);
        let is_it = |line: &&str| line.starts_with("No service can drain this agent: ");
        let line = greeting.lines().find(is_it).unwrap_or_default();
        assert!(line.contains(expected), "{greeting}");
        assert!(line.ends_with(advice), "{greeting}");
        assert!(!greeting.contains("/api/gateway/drain"), "{greeting}");
        assert!(!greeting.contains("hunter2"), "{greeting}");
    };

    let weak = [("HERMES_DASHBOARD_DRAIN_SECRET", "hunter2")];
    let expected = "HERMES_DASHBOARD_DRAIN_SECRET is refused: it is too short (7 of at least 43";
    says(&Home::new(), &weak, expected);

    let home = Home::new();
    home.write("drain-secret", "hunter2hunter2\n");
    says(
        &home,
        &[],
        "/drain-secret is refused: it is too short (14 of",
    );

    let home = Home::with_config("dashboard: {drain_auth: {min_secret_chars: 90}}");
    home.write("drain-secret", DRAIN_SECRET);
    says(&home, &[], " of at least 90 characters): ");
}

#[test]
fn secret_that_is_made_is_as_long_as_the_home_wants_it() {
    let home = Home::with_config("dashboard: {drain_auth: {min_secret_chars: 90}}");
    let (_up, _, _, greeting) = up(&home);
    assert!(greeting.contains("/api/gateway/drain"), "{greeting}");
    let secret = fs::read_to_string(home.file("drain-secret")).expect("it was made");
    assert_eq!(secret.trim().len(), 90);
}

#[test]
fn process_that_dies_is_started_again_and_nothing_is_made_twice() {
    let home = Home::new();
    let (_up, dashboard, _, _) = up(&home);
    let made = fs::read_to_string(home.file("portcullis.yaml")).expect("it was made");
    let state = || get(&format!("http://127.0.0.1:{dashboard}/api/status"), &[]).json();
    eventually("running", SOON, || {
        (state()["gateway_state"] == "running").then_some(())
    });
    let pid = || {
        home.json("gateway_state.json")["pid"]
            .as_i64()
            .and_then(|pid| i32::try_from(pid).ok())
    };
    let first = pid().expect("the gateway told its pid");
    kill_process(Pid::from_raw(first).expect("a pid"), Signal::KILL).expect("it is ours");
    eventually("another one runs", SOON, || {
        (pid().is_some_and(|now| now != first) && state()["gateway_state"] == "running")
            .then_some(())
    });
    assert_eq!(
        fs::read_to_string(home.file("portcullis.yaml")).expect("it is there"),
        made
    );
}

#[test]
fn killed_supervisor_leaves_nothing_running() {
    let home = Home::new();
    let (mut up, dashboard, ..) = up(&home);
    let url = format!("http://127.0.0.1:{dashboard}/healthz");
    assert_eq!(get(&url, &[]).status, 200);
    up.kill();
    eventually("the dashboard is gone", SOON, || {
        std::panic::catch_unwind(|| get(&url, &[]))
            .is_err()
            .then_some(())
    });
    eventually("the gateway is gone", SOON, || {
        (home.json("gateway_state.json")["gateway_state"] == "stopped").then_some(())
    });
}

#[test]
fn wrong_configuration_ends_it() {
    let home = Home::with_config("gateway: {max_turns: 0}");
    let finished = Process::run(&home, &["up", "--port", "0"], &[]);
    assert_eq!(finished.code, Some(64), "{}", finished.stderr);
    let home = Home::with_config("dashboard: {host: 0.0.0.0}");
    let finished = Process::run(
        &home,
        &["up", "--port", "0", "--listen", "127.0.0.1:0"],
        &[],
    );
    assert_eq!(finished.code, Some(64), "{}", finished.stderr);
    assert!(
        finished
            .stderr
            .contains("Add a password or redirect provider"),
        "{}",
        finished.stderr
    );
}

#[test]
fn dashboard_outlives_the_gateway_and_is_not_ready_meanwhile() {
    let gate = Gate::new();
    let home = Home::with_config(&gate.config());
    let (mut up, dashboard, gateway, _) = up(&home);
    let dashboard = format!("http://127.0.0.1:{dashboard}");
    let status = || get(&format!("{dashboard}/api/status"), &[]).json();
    let turns = format!("http://127.0.0.1:{gateway}/v1/turns");
    let turn = std::thread::spawn(move || post(&turns, &[], r#"{"session":"long","text":"hi"}"#));
    eventually("the turn is counted", SOON, || {
        (status()["active_agents"] == 1).then_some(())
    });
    assert_eq!(get(&format!("{dashboard}/readyz"), &[]).status, 200);

    up.signal(Signal::TERM);
    eventually("it is not ready", SOON, || {
        (get(&format!("{dashboard}/readyz"), &[]).status == 503).then_some(())
    });
    eventually("the gateway is stopping", SOON, || {
        (status()["gateway_state"] == "stopping").then_some(())
    });
    assert_eq!(
        (&status()["active_agents"], &status()["quiesced"]),
        (&1.into(), &false.into())
    );
    gate.open();
    assert_eq!(turn.join().expect("an answer").status, 200);
    assert!(up.wait().success());
}
