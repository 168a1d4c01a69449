//! Looking at one turn, ending it, the key of the HTTP listener, and the gateway's metrics.

use crate::turns::{Gate, is_gone, start_turn_in_background, wait_for_turns};
use portcullis_tests::{Home, Process, SOON, eventually, get, post, request};
use serde_json::{Value, json};
use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;

const TURN: &str = r#"{"session":"s","text":"x"}"#;
const KEY: &str = "9f3c1b7e2d8a4650c1e7b93f60d2a548";

fn wait_for_end(gateway: &Process, id: u64) -> Value {
    let url = gateway.url(&format!("/v1/turns/{id}"));
    eventually("the turn ended", SOON, || {
        let turn = get(&url, &[]).json();
        (turn["state"] == "ended").then_some(turn)
    })
}

#[test]
fn output_of_a_turn_can_be_read_after_its_client_left() {
    let gate = Gate::new();
    let home = Home::with_config(&gate.config());
    let gateway = home.gateway();
    let mut stream =
        TcpStream::connect(("127.0.0.1", gateway.port())).expect("the gateway listens");
    write!(
        stream,
        "POST /v1/turns HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n{TURN}",
        TURN.len()
    )
    .expect("the gateway reads");
    wait_for_turns(&gateway, 1);
    drop(stream);
    let running = get(&gateway.url("/v1/turns/1"), &[]).json();
    assert_eq!(
        (&running["state"], &running["session"]),
        (&json!("running"), &json!("s"))
    );
    assert!(
        running["seconds"].is_u64() && running["since"].is_string(),
        "{running}"
    );
    assert_eq!(running.get("output"), None);
    gate.open();
    let turn = wait_for_end(&gateway, 1);
    assert_eq!(
        (&turn["output"], &turn["output_truncated"]),
        (&json!("begin\nx\nend\n"), &json!(false))
    );
    assert_eq!(
        (&turn["exit_code"], &turn["error"]),
        (&json!(0), &Value::Null)
    );
}

#[test]
fn request_ends_one_turn_and_no_other() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let script = format!(
        "echo begun; echo $$ > {0}/$HERMES_SESSION; while [ ! -e {0}/open ]; do sleep 0.02; done; echo done",
        folder.path().display()
    );
    let home = Home::with_config(&format!("gateway: {{command: [sh, -c, '{script}']}}"));
    let gateway = home.gateway();
    let turns = ["a", "b"].map(|session| {
        let turn = start_turn_in_background(&gateway, session);
        let pid: u32 = eventually("the turn runs", SOON, || {
            fs::read_to_string(folder.path().join(session))
                .ok()?
                .trim()
                .parse()
                .ok()
        });
        (turn, pid)
    });
    let url = |id: &str| gateway.url(&format!("/v1/turns/{id}"));
    let ended = request("DELETE", &url("1"), &[], "");
    assert_eq!(
        (ended.status, ended.json()),
        (202, json!({"ok": true, "id": 1}))
    );
    let [(first, pid), (second, _)] = turns;
    let reply = first.join().expect("an answer");
    assert_eq!((reply.status, reply.header("x-turn-id")), (502, Some("1")));
    assert_eq!(
        (
            &reply.json()["code"],
            &reply.json()["detail"],
            &reply.json()["output"]
        ),
        (
            &json!("turn_failed"),
            &json!("the turn was ended by a request"),
            &json!("begun\n")
        )
    );
    assert!(is_gone(pid));
    let turn = wait_for_end(&gateway, 1);
    assert_eq!(
        (&turn["error"], &turn["exit_code"]),
        (&reply.json()["detail"], &Value::Null)
    );
    for (method, id) in [
        ("DELETE", "1"),
        ("DELETE", "77"),
        ("DELETE", "x"),
        ("GET", "77"),
        ("GET", "x"),
    ] {
        let unknown = request(method, &url(id), &[], "");
        assert_eq!(
            (unknown.status, unknown.json()["code"].as_str()),
            (404, Some("not_found")),
            "{method} {id}"
        );
    }
    fs::write(folder.path().join("open"), "").expect("a file in the folder");
    let reply = second.join().expect("an answer");
    assert_eq!(
        (reply.status, reply.header("x-turn-id"), reply.body.as_str()),
        (200, Some("2"), "begun\ndone\n")
    );
}

#[test]
fn long_output_is_kept_in_part() {
    let home = Home::with_config("gateway: {command: [head, -c, '3000000', /dev/zero]}");
    let gateway = home.gateway();
    assert_eq!(
        post(&gateway.url("/v1/turns"), &[], TURN).body.len(),
        3_000_000
    );
    let turn = get(&gateway.url("/v1/turns/1"), &[]).json();
    assert_eq!(turn["output"].as_str().map(str::len), Some(1 << 20));
    assert_eq!(turn["output_truncated"], true);
}

#[test]
fn key_is_asked_for_on_every_path_but_the_health() {
    let home = Home::with_config("gateway: {command: [cat], api_key: {env: GATEWAY_KEY}}");
    let gateway = Process::start(
        &home,
        &["gateway", "--listen", "127.0.0.1:0"],
        &[("GATEWAY_KEY", KEY)],
    )
    .ready("gateway");
    let with_key = format!("Bearer {KEY}");
    for (method, path) in [
        ("GET", "/v1/turns"),
        ("POST", "/v1/turns"),
        ("DELETE", "/v1/turns/1"),
        ("GET", "/metrics"),
        ("GET", "/x"),
    ] {
        for headers in [
            &[][..],
            &[("authorization", "Bearer 0123456789abcdeg")],
            &[("authorization", KEY)],
            &[
                ("authorization", with_key.as_str()),
                ("authorization", "Bearer x"),
            ],
        ] {
            let refused = request(method, &gateway.url(path), headers, "");
            assert_eq!(
                (refused.status, refused.header("www-authenticate")),
                (401, Some("Bearer")),
                "{path}"
            );
            assert_eq!(refused.json()["code"], "unauthenticated");
        }
    }
    assert_eq!(get(&gateway.url("/health"), &[]).status, 200);
    let headers = [("authorization", with_key.as_str())];
    assert_eq!(post(&gateway.url("/v1/turns"), &headers, TURN).body, "x");
    assert_eq!(get(&gateway.url("/x"), &headers).status, 404);

    let mut stream = UnixStream::connect(home.file("gateway.sock")).expect("the gateway listens");
    write!(
        stream,
        "GET /v1/turns HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    )
    .expect("the gateway reads");
    let mut reply = String::new();
    stream
        .read_to_string(&mut reply)
        .expect("the gateway answers");
    assert!(
        reply.starts_with("HTTP/1.1 200"),
        "the internal channel needs no key: {reply}"
    );
}

#[test]
fn network_address_needs_a_key() {
    let listen = ["gateway", "--listen", "0.0.0.0:0"];
    let refused = Process::run(
        &Home::with_config("gateway: {command: [cat]}"),
        &listen,
        &[],
    );
    assert_eq!(refused.code, Some(64), "{}", refused.stderr);
    assert!(
        refused.stderr.contains("gateway.api_key"),
        "{}",
        refused.stderr
    );
    let short = Process::run(
        &Home::with_config("gateway: {api_key: '0123456789abcde'}"),
        &listen,
        &[],
    );
    assert_eq!(short.code, Some(64), "{}", short.stderr);
    assert!(
        short.stderr.contains("at least 16 characters"),
        "{}",
        short.stderr
    );
    let home = Home::with_config(&format!("gateway: {{command: [cat], api_key: '{KEY}'}}"));
    let gateway = Process::start(&home, &listen, &[]).ready("gateway");
    let authorization = format!("Bearer {KEY}");
    let reply = post(
        &gateway.url("/v1/turns"),
        &[("authorization", &authorization)],
        TURN,
    );
    assert_eq!((reply.status, reply.body.as_str()), (200, "x"));
}

#[test]
fn metrics_follow_turns_refusals_and_a_drain() {
    let gate = Gate::new();
    let home = Home::with_config(&gate.config());
    let gateway = home.gateway();
    let metrics = || get(&gateway.url("/metrics"), &[]);
    let has = |line: &str| metrics().body.lines().any(|found| found == line);
    assert_eq!(
        metrics().header("content-type"),
        Some("text/plain; version=0.0.4; charset=utf-8")
    );
    for line in [
        r#"portcullis_gateway_state{state="running"} 1"#,
        r#"portcullis_gateway_state{state="draining"} 0"#,
        "portcullis_turns_in_flight 0",
        "portcullis_oldest_turn_seconds 0",
        "portcullis_drain_active 0",
        r#"portcullis_turns_refused_total{reason="draining"} 0"#,
        "# TYPE portcullis_turns_refused_total counter",
    ] {
        assert!(has(line), "{line} is not in:\n{}", metrics().body);
    }
    let turn = start_turn_in_background(&gateway, "s");
    wait_for_turns(&gateway, 1);
    assert_eq!(post(&gateway.url("/v1/turns"), &[], TURN).status, 409);
    assert!(has("portcullis_turns_in_flight 1"));
    assert!(has(
        r#"portcullis_turns_refused_total{reason="session_busy"} 1"#
    ));
    eventually("the turn grows old", SOON, || {
        (!has("portcullis_oldest_turn_seconds 0")).then_some(())
    });
    home.write(".drain_request.json", "{}");
    eventually("the drain is acted on", SOON, || {
        has("portcullis_drain_active 1").then_some(())
    });
    assert!(has(r#"portcullis_gateway_state{state="draining"} 1"#));
    let refused = post(
        &gateway.url("/v1/turns"),
        &[],
        r#"{"session":"t","text":""}"#,
    );
    assert_eq!(
        (refused.status, refused.header("retry-after")),
        (503, Some("1"))
    );
    let detail = refused.json()["detail"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    assert!(
        detail.starts_with("This agent is being prepared for maintenance"),
        "{detail}"
    );
    assert!(!detail.contains("in a moment"), "{detail}");
    assert!(has(
        r#"portcullis_turns_refused_total{reason="draining"} 1"#
    ));
    gate.open();
    assert_eq!(turn.join().expect("an answer").status, 200);
}
