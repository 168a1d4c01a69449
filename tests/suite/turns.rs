//! The gateway's turns: real commands, streamed, counted, refused.

use portcullis_tests::{Home, Process, Reply, SOON, eventually, get, post, request};
use rustix::process::Signal;
use serde_json::json;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::thread::JoinHandle;
use tempfile::TempDir;

/// A turn's command that says `begin`, repeats its input, and says `end` once the gate is open.
pub(crate) struct Gate {
    folder: TempDir,
}

impl Gate {
    pub(crate) fn new() -> Self {
        Self {
            folder: tempfile::tempdir().expect("a temporary folder"),
        }
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("open")
    }

    pub(crate) fn open(&self) {
        std::fs::write(self.file(), "").expect("a file in the folder");
    }

    pub(crate) fn config(&self) -> String {
        let script = format!(
            "echo begin; cat; echo; while [ ! -e {} ]; do sleep 0.02; done; echo end",
            self.file().display()
        );
        format!("gateway: {{command: [sh, -c, '{script}'], max_turns: 3}}")
    }
}

pub(crate) fn start_turn_in_background(gateway: &Process, session: &str) -> JoinHandle<Reply> {
    let url = gateway.url("/v1/turns");
    let body = json!({"session": session, "text": "hi"}).to_string();
    std::thread::spawn(move || post(&url, &[], &body))
}

/// Runs a turn to its end.
pub(crate) fn post_turn(gateway: &Process, session: &str, text: &str) -> Reply {
    let body = json!({"session": session, "text": text}).to_string();
    post(&gateway.url("/v1/turns"), &[], &body)
}

/// Begins a turn whose output comes as events.
fn begin_streamed_turn(gateway: &Process, body: &str) -> TcpStream {
    let mut stream =
        TcpStream::connect(("127.0.0.1", gateway.port())).expect("the gateway listens");
    write!(
        stream,
        "POST /v1/turns HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nAccept: text/event-stream\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .expect("the gateway reads");
    stream
}

pub(crate) fn in_flight(gateway: &Process) -> usize {
    get(&gateway.url("/v1/turns"), &[]).json()["turns"]
        .as_array()
        .map_or(0, Vec::len)
}

pub(crate) fn wait_for_turns(gateway: &Process, count: usize) {
    eventually(&format!("{count} turns in flight"), SOON, || {
        (in_flight(gateway) == count).then_some(())
    });
}

#[test]
fn second_turn_of_a_session_and_one_too_many_are_refused() {
    let gate = Gate::new();
    let home = Home::with_config(&gate.config());
    let gateway = home.gateway();
    let running: Vec<_> = ["a", "b", "c"]
        .map(|session| start_turn_in_background(&gateway, session))
        .into();
    wait_for_turns(&gateway, 3);
    let busy = post_turn(&gateway, "a", "x");
    assert_eq!(
        (busy.status, busy.json()["code"].as_str()),
        (409, Some("session_busy"))
    );
    let full = post_turn(&gateway, "d", "x");
    assert_eq!(
        (full.status, full.json()["code"].as_str()),
        (429, Some("max_turns"))
    );
    let listed = get(&gateway.url("/v1/turns"), &[]).json();
    assert_eq!(listed["turns"][0]["internal"], false);
    assert!(listed["turns"][0]["since"].is_string());
    gate.open();
    assert!(
        running
            .into_iter()
            .all(|turn| turn.join().expect("an answer").status == 200)
    );
    wait_for_turns(&gateway, 0);
    assert_eq!(post_turn(&gateway, "a", "x").status, 200);
}

#[test]
fn output_is_streamed_as_it_comes() {
    let gate = Gate::new();
    let home = Home::with_config(&gate.config());
    let gateway = home.gateway();
    let mut stream = begin_streamed_turn(&gateway, r#"{"session":"s","text":"h\u20ac"}"#);
    let mut seen = String::new();
    let mut buffer = [0; 4096];
    while !seen.contains("begin") {
        let read = stream.read(&mut buffer).expect("the gateway answers");
        assert!(read > 0, "the stream ended: {seen}");
        seen.push_str(&String::from_utf8_lossy(&buffer[..read]));
    }
    assert!(
        !seen.contains("end\\n"),
        "the command has not ended: {seen}"
    );
    gate.open();
    stream.read_to_string(&mut seen).expect("the stream ends");
    assert!(
        seen.contains("text/event-stream") && seen.contains("h€") && seen.contains("event: end"),
        "{seen}"
    );
    assert!(seen.contains(r#""exit_code":0"#), "{seen}");
}

#[test]
fn slow_reader_gets_all_that_a_quick_command_said() {
    const BYTES: usize = 4 << 20;
    let home = Home::with_config(&format!(
        "gateway: {{command: [sh, -c, 'head -c {BYTES} /dev/zero | tr \\\\0 x']}}"
    ));
    let gateway = home.gateway();
    let mut stream = begin_streamed_turn(&gateway, r#"{"session":"s","text":""}"#);
    // Longer than the gateway reads the empty pipe of an ended turn: it must not discard what is
    // still in the pipe.
    let end = std::time::Instant::now() + std::time::Duration::from_millis(1_500);
    eventually("the reader is slow", SOON, || {
        (std::time::Instant::now() > end).then_some(())
    });
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("the stream ends");
    assert!(answer.contains("event: end"), "the stream is whole");
    let said = |line: &str| line.matches('x').count() - line.matches("text").count();
    let said: usize = answer
        .lines()
        .filter(|line| line.starts_with(r#"data: {"text"#))
        .map(said)
        .sum();
    assert_eq!(said, BYTES);
}

#[test]
fn turn_whose_client_goes_away_runs_to_its_end() {
    let gate = Gate::new();
    let home = Home::with_config(&gate.config());
    let gateway = home.gateway();
    let body = r#"{"session":"s","text":"x"}"#;
    let mut stream =
        TcpStream::connect(("127.0.0.1", gateway.port())).expect("the gateway listens");
    write!(
        stream,
        "POST /v1/turns HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .expect("the gateway reads");
    wait_for_turns(&gateway, 1);
    drop(stream);
    let busy = post(&gateway.url("/v1/turns"), &[], body);
    assert_eq!(busy.status, 409, "the turn is still in flight");
    gate.open();
    wait_for_turns(&gateway, 0);
    assert!(
        gateway.log().contains("end=exit code 0"),
        "{}",
        gateway.log()
    );
}

#[test]
fn failing_and_missing_commands_are_told() {
    let home = Home::with_config("gateway: {command: [sh, -c, 'echo partly; exit 3']}");
    let reply = post_turn(&home.gateway(), "s", "");
    assert_eq!(
        (
            reply.status,
            &reply.json()["exit_code"],
            &reply.json()["output"]
        ),
        (502, &json!(3), &json!("partly\n"))
    );
    let home = Home::with_config("gateway: {command: [/no/such/agent]}");
    let reply = post_turn(&home.gateway(), "s", "");
    assert_eq!(
        (reply.status, reply.json()["code"].as_str()),
        (502, Some("turn_failed"))
    );
    let home = Home::with_config("");
    let reply = post_turn(&home.gateway(), "s", "");
    assert_eq!(reply.status, 501);
    assert!(
        reply.json()["detail"]
            .as_str()
            .is_some_and(|detail| detail.contains("gateway.command"))
    );
}

#[test]
fn bad_turn_requests_are_told_why() {
    let home = Home::with_config("gateway: {command: [cat]}");
    let gateway = home.gateway();
    let url = gateway.url("/v1/turns");
    for (body, field) in [
        ("", "session"),
        ("{", "body"),
        ("[]", "body"),
        (r#" ["s", ""]"#, "list"),
        (r#"{"session":"s"}"#, "text"),
        (r#"{"session":7,"text":""}"#, "session"),
        (r#"{"session":"s","text":"","internal":true}"#, "internal"),
        (
            &format!(r#"{{"session":"{}","text":""}}"#, "s".repeat(300)),
            "session",
        ),
    ] {
        let reply = post(&url, &[], body);
        assert_eq!(reply.status, 400, "{body}");
        assert!(
            reply.json()["detail"]
                .as_str()
                .is_some_and(|detail| detail.contains(field)),
            "{body}: {}",
            reply.body
        );
    }
    // One byte too many, so that nothing is left unread when the refusal is sent.
    let envelope = r#"{"session":"s","text":""}"#;
    let long = envelope.replace(
        r#""""#,
        &format!(r#""{}""#, "x".repeat((1 << 20) + 1 - envelope.len())),
    );
    let too_large = post(&url, &[], &long);
    assert_eq!(too_large.status, 413);
    assert_eq!(
        too_large.json(),
        json!({"error": "body_too_large", "code": "body_too_large", "detail": "the body is larger than 1024 KiB"})
    );
    assert_eq!(request("DELETE", &url, &[], "").status, 405);
    assert_eq!(get(&gateway.url("/nowhere"), &[]).status, 404);
    let foreign = post(
        &url,
        &[("origin", "http://evil.example")],
        r#"{"session":"s","text":""}"#,
    );
    assert_eq!(foreign.status, 403);
    let rebound = post(
        &url,
        &[("host", "evil.example")],
        r#"{"session":"s","text":""}"#,
    );
    assert_eq!(rebound.status, 400);
    assert_eq!(
        post(
            &url,
            &[("host", "localhost:1")],
            r#"{"session":"s","text":""}"#
        )
        .status,
        200
    );
    assert_eq!(get(&gateway.url("/health"), &[]).json()["ok"], true);
}

#[test]
fn internal_channel_passes_a_drain_and_is_private() {
    use std::os::unix::fs::PermissionsExt;
    let home = Home::with_config("gateway: {command: [cat]}");
    home.write(".drain_request.json", "{}");
    let gateway = home.gateway();
    assert_eq!(post_turn(&gateway, "s", "x").status, 503);
    let socket = home.file("gateway.sock");
    let mode = std::fs::metadata(&socket)
        .expect("the socket is there")
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
    let body = r#"{"session":"s","text":"replayed"}"#;
    let mut stream = UnixStream::connect(&socket).expect("the gateway listens");
    write!(
        stream,
        "POST /v1/turns HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .expect("the gateway reads");
    let mut reply = String::new();
    stream
        .read_to_string(&mut reply)
        .expect("the gateway answers");
    assert!(
        reply.starts_with("HTTP/1.1 200") && reply.ends_with("replayed"),
        "{reply}"
    );
}

#[test]
fn turn_dies_whole_when_the_gateway_is_killed_or_told_twice() {
    for (signals, name) in [
        (&[Signal::KILL][..], "killed"),
        (&[Signal::TERM, Signal::TERM], "told twice"),
    ] {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let pids = folder.path().join("pids");
        // A grandchild in the background, as an agent's tools are.
        let script = format!("sleep 600 & echo $! $$ > {}; wait", pids.display());
        let home = Home::with_config(&format!("gateway: {{command: [sh, -c, '{script}']}}"));
        let mut gateway = home.gateway();
        let _turn = std::thread::spawn({
            let url = gateway.url("/v1/turns");
            move || std::panic::catch_unwind(|| post(&url, &[], r#"{"session":"s","text":""}"#))
        });
        let pids: Vec<u32> = eventually("the turn runs", SOON, || {
            let text = std::fs::read_to_string(&pids).ok()?;
            let pids: Vec<u32> = text
                .split_whitespace()
                .filter_map(|pid| pid.parse().ok())
                .collect();
            (pids.len() == 2).then_some(pids)
        });
        for signal in signals {
            gateway.signal(*signal);
            eventually("the signal was taken", SOON, || {
                (*signal == Signal::KILL || gateway.log().contains("to=stopping")).then_some(())
            });
        }
        gateway.wait();
        for pid in pids {
            eventually(&format!("{name}: process {pid} is gone"), SOON, || {
                is_gone(pid).then_some(())
            });
        }
    }
}

pub(crate) fn is_gone(pid: u32) -> bool {
    // A zombie that was not reaped yet does not run.
    std::fs::read_to_string(format!("/proc/{pid}/stat")).map_or(true, |stat| stat.contains(") Z "))
}

#[test]
fn background_work_of_a_turn_ends_with_it() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let pid = folder.path().join("pid");
    let script = format!("sleep 600 & echo $! > {}; echo done", pid.display());
    let home = Home::with_config(&format!("gateway: {{command: [sh, -c, '{script}']}}"));
    let reply = post_turn(&home.gateway(), "s", "");
    assert_eq!((reply.status, reply.body.as_str()), (200, "done\n"));
    let pid = std::fs::read_to_string(pid)
        .expect("the turn ran")
        .trim()
        .parse()
        .expect("a pid");
    eventually("the background process is gone", SOON, || {
        is_gone(pid).then_some(())
    });
}

#[test]
fn two_gateways_do_not_share_a_home() {
    let home = Home::with_config("");
    let _first = home.gateway();
    let second = Process::run(&home, &["gateway", "--listen", "127.0.0.1:0"], &[]);
    assert_eq!(second.code, Some(1));
    assert!(
        second.stderr.contains("another gateway runs over"),
        "{}",
        second.stderr
    );
    assert_eq!(home.json("gateway_state.json")["gateway_state"], "running");
}
