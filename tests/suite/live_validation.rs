//! The whole drain with real processes: a dashboard, a gateway, a command that runs.

use crate::turns::{Gate, start_turn_in_background};
use portcullis_tests::{DRAIN_SECRET, Home, Process, Reply, SOON, eventually, get, post};
use rustix::process::Signal;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

fn drain(dashboard: &Process, body: &str) -> Reply {
    let authorization = format!("Bearer {DRAIN_SECRET}");
    post(
        &dashboard.url("/api/gateway/drain"),
        &[("authorization", &authorization)],
        body,
    )
}

fn status(dashboard: &Process) -> Value {
    get(&dashboard.url("/api/status"), &[]).json()
}

fn turn(gateway: &Process, session: &str) -> Reply {
    post(
        &gateway.url("/v1/turns"),
        &[],
        &json!({"session": session, "text": "hi"}).to_string(),
    )
}

fn wait_for_state(dashboard: &Process, state: &str) -> Value {
    eventually(&format!("the state is {state}"), SOON, || {
        let status = status(dashboard);
        (status["gateway_state"] == state).then_some(status)
    })
}

#[test]
fn drain_refuses_new_turns_lets_one_finish_and_cancels() {
    let gate = Gate::new();
    let home = Home::with_config(&gate.config());
    let (dashboard, gateway) = (home.dashboard(), home.gateway());
    wait_for_state(&dashboard, "running");
    let pid = home.json("gateway_state.json")["pid"].clone();
    let in_flight = start_turn_in_background(&gateway, "long");
    eventually("the turn is counted", SOON, || {
        (status(&dashboard)["active_agents"] == 1).then_some(())
    });
    assert_eq!(status(&dashboard)["gateway_busy"], true);

    // (a) The marker is observed and the state flips.
    let begun = Instant::now();
    let reply = drain(&dashboard, r#"{"action":"drain"}"#);
    assert_eq!(
        (reply.status, &reply.json()["draining"]),
        (200, &json!(true))
    );
    let draining = wait_for_state(&dashboard, "draining");
    assert!(
        begun.elapsed() < Duration::from_secs(5),
        "file events and the floor of a second make it fast"
    );
    assert_eq!(
        (&draining["drained"], &draining["active_agents"]),
        (&json!(false), &json!(1))
    );
    assert_eq!(draining["drain"]["active"], true);

    // (b) A new turn is refused.
    let refused = turn(&gateway, "new");
    assert_eq!(
        (refused.status, refused.header("retry-after")),
        (503, Some("1"))
    );
    assert_eq!(refused.json()["code"], "gateway_draining");

    // (c) The turn in flight finishes with its whole output.
    gate.open();
    let finished = in_flight.join().expect("the turn answers");
    assert_eq!(
        (finished.status, finished.body.as_str()),
        (200, "begin\nhi\nend\n")
    );

    // (d) Nothing is in flight, and the process is the same.
    let drained = eventually("drained", SOON, || {
        let status = status(&dashboard);
        (status["drained"] == true).then_some(status)
    });
    assert_eq!(drained["active_agents"], 0);
    assert_eq!(home.json("gateway_state.json")["pid"], pid);

    // (e) A cancel lets turns in again.
    assert_eq!(
        drain(&dashboard, r#"{"action":"cancel"}"#).json()["was_draining"],
        true
    );
    wait_for_state(&dashboard, "running");
    assert_eq!(turn(&gateway, "after").status, 200);
    assert_eq!(
        drain(&dashboard, r#"{"action":"cancel"}"#).json()["was_draining"],
        false
    );
}

#[test]
fn marker_that_survives_a_restart_is_honoured_before_any_turn() {
    let home = Home::with_config("gateway: {command: [cat]}");
    let dashboard = home.dashboard();
    assert_eq!(drain(&dashboard, "").status, 200);
    for _ in 0..3 {
        let mut gateway = home.gateway();
        assert_eq!(
            turn(&gateway, "s").status,
            503,
            "the very first turn is refused"
        );
        gateway.terminate();
    }
}

#[test]
fn marker_of_another_epoch_or_past_its_time_drains_nothing() {
    for marker in [
        r#"{"action":"drain","epoch":"another-boot:1"}"#,
        r#"{"action":"drain","expires_at":"2020-01-01T00:00:00Z"}"#,
        r#"{"action":"drain","requested_at":"2020-01-01T00:00:00Z"}"#,
    ] {
        let home = Home::with_config("gateway: {command: [cat]}");
        home.write(".drain_request.json", marker);
        let gateway = home.gateway();
        assert_eq!(turn(&gateway, "s").status, 200, "{marker}");
        assert_eq!(
            gateway
                .log()
                .matches("ignoring a stale drain marker")
                .count(),
            1,
            "{marker}"
        );
    }
}

#[test]
fn damaged_marker_drains() {
    for marker in ["", "{not json", "[]", "null"] {
        let home = Home::with_config("gateway: {command: [cat]}");
        home.write(".drain_request.json", marker);
        assert_eq!(turn(&home.gateway(), "s").status, 503, "{marker}");
    }
    let home = Home::with_config("gateway: {command: [cat]}");
    std::os::unix::fs::symlink("nowhere", home.file(".drain_request.json"))
        .expect("a link in the home");
    assert_eq!(turn(&home.gateway(), "s").status, 503);
}

#[test]
fn drain_ends_by_itself_when_its_time_is_up() {
    let home = Home::with_config("gateway: {command: [cat]}");
    let (dashboard, gateway) = (home.dashboard(), home.gateway());
    assert_eq!(drain(&dashboard, r#"{"ttl_seconds":1}"#).status, 200);
    wait_for_state(&dashboard, "draining");
    wait_for_state(&dashboard, "running");
    assert_eq!(turn(&gateway, "s").status, 200);
}

#[test]
fn shutdown_wins_over_a_drain_and_its_end() {
    let gate = Gate::new();
    let home = Home::with_config(&gate.config());
    let (dashboard, mut gateway) = (home.dashboard(), home.gateway());
    let in_flight = start_turn_in_background(&gateway, "long");
    eventually("the turn is counted", SOON, || {
        (status(&dashboard)["active_agents"] == 1).then_some(())
    });
    drain(&dashboard, "");
    wait_for_state(&dashboard, "draining");
    gateway.signal(Signal::TERM);
    wait_for_state(&dashboard, "stopping");
    assert_eq!(
        drain(&dashboard, r#"{"action":"cancel"}"#).json()["was_draining"],
        true
    );
    // The cancel is seen within a second; the state must not move, and no turn may start.
    let end = Instant::now() + Duration::from_millis(1_500);
    eventually("the watcher has looked", SOON, || {
        assert_eq!(status(&dashboard)["gateway_state"], "stopping");
        assert_eq!(turn(&gateway, "s").status, 503);
        (Instant::now() > end).then_some(())
    });
    gate.open();
    assert_eq!(
        in_flight.join().expect("the turn answers").body,
        "begin\nhi\nend\n"
    );
    assert!(gateway.wait().success());
    assert_eq!(home.json("gateway_state.json")["gateway_state"], "stopped");
}

#[test]
fn killed_dashboard_leaves_a_whole_marker_or_none() {
    const ROUNDS: u32 = 20;
    const BEGINS: usize = 10;
    let home = Home::with_config("");
    let mut survived = 0;
    for round in 0..ROUNDS {
        let mut dashboard = home.dashboard();
        let url = dashboard.url("/api/gateway/drain");
        let begins: Vec<_> = (0..BEGINS)
            .map(|_| {
                std::thread::spawn({
                    let url = url.clone();
                    move || {
                        std::panic::catch_unwind(|| {
                            post(
                                &url,
                                &[("authorization", &format!("Bearer {DRAIN_SECRET}"))],
                                "",
                            )
                            .status
                        })
                    }
                })
            })
            .collect();
        // At another moment each round: from before the first write to after the last.
        let moment = Instant::now() + Duration::from_micros(u64::from(round) * 700);
        while Instant::now() < moment {
            std::hint::spin_loop();
        }
        dashboard.kill();
        let answered = begins
            .into_iter()
            .filter_map(|begin| begin.join().ok()?.ok())
            .count();
        match std::fs::read(home.file(".drain_request.json")) {
            Ok(text) => {
                let marker: Value = serde_json::from_slice(&text).expect("a whole marker");
                assert_eq!(marker["action"], "drain");
                survived += 1;
            }
            Err(_) => assert_eq!(
                answered, 0,
                "round {round}: a caller was told that it drains"
            ),
        }
        let _ = std::fs::remove_file(home.file(".drain_request.json"));
    }
    assert!(survived > 0, "some begin was in time");
    // What the killed ones left half-written is swept by the next.
    let _dashboard = home.dashboard();
    eventually("leftovers are swept", SOON, || {
        let names = std::fs::read_dir(home.path())
            .expect("the home is there")
            .flatten();
        let left = names
            .filter(|entry| {
                entry
                    .file_name()
                    .to_string_lossy()
                    .starts_with(".drain_request")
            })
            .count();
        (left == 0).then_some(())
    });
}
