//! The processes of a turn: the turn is counted until none is left, also when they end each other.

use crate::turns::{in_flight, is_gone, start_turn_in_background, wait_for_turns};
use portcullis_tests::{Home, Process, Reply, SOON, eventually, get, post};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;
use tempfile::TempDir;

const TURN: &str = r#"{"session":"s","text":""}"#;

/// A gateway whose turns run this script, with a folder that the script finds in `$0`.
fn gateway_with(script: &str, more: &str) -> (Home, TempDir, Process) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let home = Home::with_config(&format!(
        "gateway: {{command: [sh, -c, '{script}', '{}']{more}}}",
        folder.path().display()
    ));
    let gateway = home.gateway();
    (home, folder, gateway)
}

fn run_turn(gateway: &Process) -> Reply {
    post(&gateway.url("/v1/turns"), &[], TURN)
}

/// Returns the process ids that the script wrote into a file, once there are `count`.
pub(crate) fn pids(file: &Path, count: usize) -> Vec<u32> {
    eventually("the turn wrote its process ids", SOON, || {
        let text = fs::read_to_string(file).ok()?;
        let pids: Vec<u32> = text
            .split_whitespace()
            .filter_map(|pid| pid.parse().ok())
            .collect();
        (pids.len() == count).then_some(pids)
    })
}

pub(crate) fn send(pid: u32, signal: Signal) {
    let pid = Pid::from_raw(pid.cast_signed()).expect("a process id");
    kill_process(pid, signal).expect("a process of this test");
}

#[test]
fn kill_0_reaches_the_turn_and_not_its_guard() {
    // By itself such a script ends by its own SIGTERM, with code 143; the second one takes that
    // signal.
    for (trap, status) in [("kill 0", 502), ("trap : TERM; kill 0", 200)] {
        let script = format!(r#"trap "{trap}" EXIT; sleep 50 & echo $! > $0/pids; echo done"#);
        let (_home, folder, gateway) = gateway_with(&script, "");
        let begun = Instant::now();
        let reply = run_turn(&gateway);
        assert!(begun.elapsed() < SOON, "it took {:?}", begun.elapsed());
        assert_eq!(reply.status, status, "{reply:?}");
        match status {
            200 => assert_eq!(reply.body, "done\n"),
            _ => assert_eq!(
                (&reply.json()["exit_code"], &reply.json()["output"]),
                (&json!(143), &json!("done\n"))
            ),
        }
        assert!(
            pids(&folder.path().join("pids"), 1)
                .into_iter()
                .all(is_gone),
            "{trap}: sleep is left"
        );
        assert_eq!(in_flight(&gateway), 0);
    }
}

#[test]
fn process_in_a_session_of_its_own_ends_with_a_turn_that_kills_its_group() {
    let (_home, folder, gateway) = gateway_with(
        "setsid sleep 777 & echo $! > $0/pids; sleep 0.1; kill 0; sleep 1",
        "",
    );
    let reply = run_turn(&gateway);
    assert_eq!(
        (reply.status, &reply.json()["exit_code"]),
        (502, &json!(143))
    );
    assert!(
        pids(&folder.path().join("pids"), 1)
            .into_iter()
            .all(is_gone)
    );
}

#[test]
fn turn_that_kills_its_guard_is_counted_until_it_is_gone() {
    let script = "case $HERMES_SESSION in s) setsid sleep 777 & echo $! $$ > $0/pids; kill -9 $PPID; sleep 3; \
                  touch $0/escaped;; *) echo $$ > $0/other; while [ ! -e $0/open ]; do sleep 0.02; done; echo fine;; esac";
    let (_home, folder, gateway) = gateway_with(script, "");
    let other = start_turn_in_background(&gateway, "other");
    pids(&folder.path().join("other"), 1);
    for _ in 0..5 {
        let _ = fs::remove_file(folder.path().join("pids"));
        let reply = run_turn(&gateway);
        assert_eq!(
            (reply.status, reply.json()["code"].as_str()),
            (502, Some("turn_failed")),
            "{reply:?}"
        );
        assert!(
            reply.json()["detail"]
                .as_str()
                .is_some_and(|detail| detail.contains("guards the turn"))
        );
        assert!(
            pids(&folder.path().join("pids"), 2)
                .into_iter()
                .all(is_gone),
            "a process escaped"
        );
        assert_eq!(in_flight(&gateway), 1, "the other turn is in flight");
    }
    assert!(!folder.path().join("escaped").exists());
    fs::write(folder.path().join("open"), "").expect("a file in the folder");
    let other = other.join().expect("an answer");
    assert_eq!(
        (other.status, other.body.as_str()),
        (200, "fine\n"),
        "other turns go on"
    );
}

#[test]
fn guard_that_is_killed_from_outside_takes_its_turn_along() {
    let (_home, folder, gateway) = gateway_with("sleep 600 & echo $PPID $! $$ > $0/pids; wait", "");
    let turn = start_turn_in_background(&gateway, "s");
    let processes = pids(&folder.path().join("pids"), 3);
    for signal in [
        Signal::TERM,
        Signal::INT,
        Signal::HUP,
        Signal::QUIT,
        Signal::USR2,
        Signal::ALARM,
    ] {
        send(processes[0], signal);
    }
    assert_eq!(in_flight(&gateway), 1);
    assert!(
        !processes.iter().any(|pid| is_gone(*pid)),
        "signals do not end the guard"
    );
    send(processes[0], Signal::KILL);
    assert_eq!(turn.join().expect("an answer").status, 502);
    assert!(processes.into_iter().all(is_gone));
    assert_eq!(in_flight(&gateway), 0);
}

/// Ignores SIGTERM, and answers once the file `open` is there.
const STUBBORN: &str = r#"trap "" TERM; echo $$ $PPID > $0/pids; while [ ! -e $0/open ]; do sleep 0.02; done; echo done"#;

#[test]
fn sigterm_to_the_whole_control_group_lets_a_turn_finish() {
    let (_home, folder, mut gateway) = gateway_with(STUBBORN, "");
    let turn = start_turn_in_background(&gateway, "s");
    for pid in pids(&folder.path().join("pids"), 2) {
        send(pid, Signal::TERM);
    }
    gateway.signal(Signal::TERM);
    eventually("the gateway is ending", SOON, || {
        gateway.log().contains("to=stopping").then_some(())
    });
    assert_eq!(in_flight(&gateway), 1);
    fs::write(folder.path().join("open"), "").expect("a file in the folder");
    let reply = turn.join().expect("an answer");
    assert_eq!((reply.status, reply.body.as_str()), (200, "done\n"));
    assert!(gateway.wait().success());
}

#[test]
fn gateway_below_up_takes_a_second_sigterm_for_the_first() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let home = Home::with_config(&format!(
        "gateway: {{command: [sh, -c, '{STUBBORN}', '{}']}}",
        folder.path().display()
    ));
    let mut up = Process::start(
        &home,
        &["up", "--port", "0", "--listen", "127.0.0.1:0"],
        &[],
    );
    let port: u16 = loop {
        let line = up.line();
        assert!(!line.is_empty(), "it ended: {}", up.log());
        let port = line.strip_prefix("PORTCULLIS_READY gateway port=");
        if let Some(port) = port.and_then(|port| port.trim().parse().ok()) {
            break port;
        }
    };
    let turns = format!("http://127.0.0.1:{port}/v1/turns");
    let turn = std::thread::spawn({
        let turns = turns.clone();
        move || post(&turns, &[], TURN)
    });
    pids(&folder.path().join("pids"), 2);
    let gateway = home.json("gateway_state.json")["pid"]
        .as_u64()
        .and_then(|pid| u32::try_from(pid).ok());
    let gateway = gateway.expect("the gateway wrote its process id");
    send(gateway, Signal::TERM);
    up.signal(Signal::TERM);
    eventually("the gateway is ending", SOON, || {
        up.log().contains("to=stopping").then_some(())
    });
    send(gateway, Signal::TERM);
    assert_eq!(
        get(&turns, &[]).json()["turns"].as_array().map(Vec::len),
        Some(1)
    );
    fs::write(folder.path().join("open"), "").expect("a file in the folder");
    assert_eq!(turn.join().expect("an answer").body, "done\n");
    assert!(up.wait().success());
    assert!(!up.log().contains("killing turns"), "{}", up.log());
}

#[test]
fn turns_that_outlive_the_grace_are_killed_before_the_gateway_ends() {
    let (_home, folder, mut gateway) = gateway_with(STUBBORN, ", shutdown_grace_seconds: 0");
    let turn = start_turn_in_background(&gateway, "s");
    let processes = pids(&folder.path().join("pids"), 2);
    assert!(gateway.terminate().success());
    assert!(processes.into_iter().all(is_gone));
    assert_eq!(turn.join().expect("an answer").status, 502);
}

#[test]
fn turn_that_is_over_its_time_is_ended_and_says_so() {
    let script = r#"trap "" TERM; echo $$ > $0/pids; echo partly; sleep 600 & wait; wait"#;
    let (_home, folder, gateway) = gateway_with(script, ", turn_timeout_seconds: 4");
    let reply = run_turn(&gateway);
    assert_eq!(
        (reply.status, reply.json()["code"].as_str()),
        (504, Some("turn_timeout")),
        "{reply:?}"
    );
    assert_eq!(reply.json()["output"], "partly\n");
    assert!(
        pids(&folder.path().join("pids"), 1)
            .into_iter()
            .all(is_gone)
    );

    let (_home, _folder, gateway) = gateway_with("sleep 600", ", turn_timeout_seconds: 4");
    let stream = post(
        &gateway.url("/v1/turns"),
        &[("accept", "text/event-stream")],
        TURN,
    );
    assert!(
        stream.body.contains("event: end") && stream.body.contains("turn_timeout_seconds"),
        "{stream:?}"
    );
}

#[test]
fn turn_has_neither_a_secret_nor_a_descriptor_of_the_gateway() {
    let home = Home::with_config(
        "dashboard:\n  session_key: {env: MY_SESSION_KEY}\n  providers:\n    - name: basic\n      \
         component: builtin:basic\n      config: {secret: {env: BASIC_SECRET}, users: [{name: {env: NOT_SET}}]}\n\
         gateway:\n  api_key: {env: GATEWAY_KEY}\n  \
         command: [sh, -c, 'env; ls -l /proc/self/fd; echo $PLAIN']\n",
    );
    let key = "canary-gateway-key-Q7xL0zR4tB6vN8mC";
    let variables = [
        ("MY_SESSION_KEY", "canary-session-key-0123456789abcdef"),
        ("BASIC_SECRET", "canary-basic-secret"),
        ("GATEWAY_KEY", key),
        ("HERMES_DASHBOARD_DRAIN_SECRET", "canary-drain"),
        ("HERMES_DASHBOARD_BASIC_AUTH_SECRET", "canary-basic-auth"),
        ("PLAIN", "a variable of no secret"),
    ];
    let gateway =
        Process::start(&home, &["gateway", "--listen", "127.0.0.1:0"], &variables).ready("gateway");
    let authorization = format!("Bearer {key}");
    let reply = post(
        &gateway.url("/v1/turns"),
        &[("authorization", &authorization)],
        TURN,
    );
    assert_eq!(reply.status, 200, "{reply:?}");
    assert!(
        reply.body.contains("HERMES_SESSION=s") && reply.body.contains("a variable of no secret")
    );
    assert!(!reply.body.contains("canary"), "{}", reply.body);
    let home_path = home.path().display().to_string();
    // The lock of the run is inherited on purpose: it shows that a process of a turn is left.
    let run_locks = format!("{home_path}/turns/");
    let is_of_the_gateway = |line: &&str| {
        line.contains("->") && line.contains(&home_path) && !line.contains(&run_locks)
    };
    assert_eq!(reply.body.lines().find(is_of_the_gateway), None);
    assert!(!gateway.log().contains("canary"), "{}", gateway.log());
}

#[test]
fn what_a_command_writes_on_stderr_is_escaped_and_bounded_in_the_log() {
    let (_home, _folder, gateway) = gateway_with(
        r#"printf "\033[2Jcolour\n" >&2; i=0; while [ $i -lt 300 ]; do echo "line $i" >&2; i=$((i+1)); done"#,
        "",
    );
    assert_eq!(run_turn(&gateway).status, 200);
    wait_for_turns(&gateway, 0);
    let log = gateway.log();
    assert!(
        log.contains("[2Jcolour") && !log.contains('\u{1b}'),
        "{log}"
    );
    assert!(
        log.contains("line 198") && !log.contains("line 199"),
        "the first 200 lines are logged"
    );
    assert!(log.contains("left_out=101"), "{log}");
}

#[test]
fn many_turns_at_once_that_kill_their_guards_leave_nothing() {
    const TURNS: usize = 12;
    let script = "setsid sleep 777 & echo $! $$ > $0/$HERMES_SESSION; kill -9 $PPID; sleep 777";
    let (_home, folder, gateway) = gateway_with(script, "");
    let turns: Vec<_> = (0..TURNS)
        .map(|turn| start_turn_in_background(&gateway, &format!("s{turn}")))
        .collect();
    let files: Vec<PathBuf> = (0..TURNS)
        .map(|turn| folder.path().join(format!("s{turn}")))
        .collect();
    assert!(
        turns
            .into_iter()
            .all(|turn| turn.join().expect("an answer").status == 502)
    );
    assert_eq!(in_flight(&gateway), 0);
    assert!(files.iter().flat_map(|file| pids(file, 2)).all(is_gone));
}
