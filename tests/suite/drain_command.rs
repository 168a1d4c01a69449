//! `portcullis drain` against servers that answer every way a server can.

use portcullis_tests::{DRAIN_SECRET, Finished, Home, Process};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

/// One request that a stub server read.
#[derive(Clone, Debug)]
struct Asked {
    /// Method and path.
    line: String,
    body: String,
}

/// A server on a port of its own. It lives as long as the test's process.
struct Stub {
    url: String,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Stub {
    /// `answer` gets the request and how many came before it. `None` keeps the connection open and
    /// silent.
    fn new(answer: impl Fn(&Asked, usize) -> Option<String> + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let asked = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&asked);
        thread::spawn(move || {
            let mut silent = Vec::new();
            for mut stream in listener.incoming().map_while(Result::ok) {
                let Some(request) = read_request(&stream) else {
                    continue;
                };
                let before = {
                    let mut seen = seen.lock().expect("no panic");
                    seen.push(request.clone());
                    seen.len() - 1
                };
                match answer(&request, before) {
                    // A client that has read enough hangs up.
                    Some(text) => {
                        let _ = stream.write_all(text.as_bytes());
                    }
                    None => silent.push(stream),
                }
            }
        });
        Self { url, asked }
    }

    fn always(answer: Option<String>) -> Self {
        Self::new(move |_, _| answer.clone())
    }

    fn asked(&self) -> Vec<Asked> {
        self.asked.lock().expect("no panic").clone()
    }
}

fn read_request(stream: &TcpStream) -> Option<Asked> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader
        .read_line(&mut line)
        .ok()
        .filter(|bytes| *bytes > 0)?;
    let mut length = 0;
    loop {
        let mut header = String::new();
        reader
            .read_line(&mut header)
            .ok()
            .filter(|bytes| *bytes > 0)?;
        let header = header.trim_end().to_ascii_lowercase();
        if header.is_empty() {
            break;
        }
        if let Some(value) = header.strip_prefix("content-length:") {
            length = value.trim().parse().ok()?;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    let line = line.trim_end().trim_end_matches(" HTTP/1.1").to_owned();
    Some(Asked {
        line,
        body: String::from_utf8(body).ok()?,
    })
}

fn reply(status: &str, headers: &str, body: &str) -> Option<String> {
    let length = match status.starts_with("204") {
        true => String::new(),
        false => format!("Content-Length: {}\r\n", body.len()),
    };
    Some(format!(
        "HTTP/1.1 {status}\r\nConnection: close\r\n{headers}{length}\r\n{body}"
    ))
}

fn ok(body: &Value) -> Option<String> {
    reply(
        "200 OK",
        "Content-Type: application/json\r\n",
        &body.to_string(),
    )
}

/// The status of a dashboard whose drain is on.
fn draining(turns: u64, quiesced: bool) -> Value {
    json!({"gateway_running": true, "gateway_state": "draining", "active_agents": turns,
           "drained": quiesced, "quiesced": quiesced, "acknowledged": true, "drain": {"active": true}})
}

fn drain(url: &str, arguments: &[&str]) -> Finished {
    let arguments: Vec<_> = ["drain"]
        .iter()
        .chain(arguments)
        .copied()
        .chain(["--url", url])
        .collect();
    Process::run(
        &Home::new(),
        &arguments,
        &[("HERMES_DASHBOARD_DRAIN_SECRET", DRAIN_SECRET)],
    )
}

#[track_caller]
fn assert_ends(finished: &Finished, code: i32, sentence: &str) {
    assert_eq!(finished.code, Some(code), "{finished:?}");
    assert!(finished.stderr.contains(sentence), "{finished:?}");
}

const NO_DASHBOARD: &str = "is not a Portcullis or Hermes dashboard";

#[test]
fn redirect_is_not_followed() {
    for status in [
        "301 Moved Permanently",
        "302 Found",
        "303 See Other",
        "307 Temporary Redirect",
    ] {
        let target = Stub::always(ok(
            &json!({"ok": true, "draining": true, "gateway_state": "stopped"}),
        ));
        let stub = Stub::always(reply(
            status,
            &format!("Location: {}/login\r\n", target.url),
            "",
        ));
        for action in ["begin", "cancel", "status"] {
            let finished = drain(&stub.url, &[action]);
            assert_ends(&finished, 4, NO_DASHBOARD);
            assert_ends(&finished, 4, &format!("a redirect to {}/login", target.url));
        }
        assert!(target.asked().is_empty(), "{status}: {:?}", target.asked());
    }
}

#[test]
fn what_is_no_dashboard_is_not_believed() {
    let html = "<!doctype html><title>Sign in</title>";
    let huge = format!(
        "{{\"ok\":true,\"draining\":true,\"pad\":\"{}\"}}",
        "x".repeat(2 * 1024 * 1024)
    );
    for answer in [
        reply("200 OK", "Content-Type: text/html\r\n", html),
        reply("204 No Content", "", ""),
        reply("200 OK", "", ""),
        reply("200 OK", "", "null"),
        reply("200 OK", "", "[true]"),
        reply("200 OK", "", "{\"draining\":true}"),
        reply("200 OK", "", "{\"ok\":\"yes\",\"draining\":true}"),
        reply("200 OK", "", &huge),
        reply("502 Bad Gateway", "Content-Type: text/html\r\n", html),
        reply("404 Not Found", "", "not found"),
    ] {
        let stub = Stub::always(answer);
        for action in ["begin", "cancel", "status"] {
            assert_ends(&drain(&stub.url, &[action]), 4, NO_DASHBOARD);
        }
    }
}

#[test]
fn answer_that_is_not_yes_is_a_failure() {
    let no = Stub::always(ok(&json!({"ok": false, "detail": "the disk is full"})));
    let half = Stub::always(ok(&json!({"ok": true, "action": "drain"})));
    let broken = Stub::always(reply(
        "500 Internal Server Error",
        "",
        "{\"detail\":\"not written\"}",
    ));
    for action in ["begin", "cancel"] {
        assert_ends(&drain(&no.url, &[action]), 1, "the disk is full");
        assert_ends(
            &drain(&broken.url, &[action]),
            1,
            "answered 500: not written",
        );
    }
    assert_ends(&drain(&half.url, &["begin"]), 1, "the drain is not on");
    assert_ends(&drain(&half.url, &["cancel"]), 0, "");
}

#[test]
fn refused_secret_and_silence_have_codes_of_their_own() {
    let unauthorized = Stub::always(reply(
        "401 Unauthorized",
        "",
        "{\"detail\":\"Unauthorized\"}",
    ));
    let forbidden = Stub::always(reply("403 Forbidden", "", "{\"detail\":\"Forbidden\"}"));
    for action in ["begin", "cancel"] {
        assert_ends(
            &drain(&unauthorized.url, &[action]),
            3,
            "does not accept the drain secret (401)",
        );
        assert_ends(&drain(&forbidden.url, &[action]), 3, "(403): Forbidden");
        assert_ends(
            &drain("http://127.0.0.1:1", &[action]),
            4,
            "cannot reach http://127.0.0.1:1",
        );
    }
    let wait = ["wait", "--timeout", "30"];
    assert_ends(
        &drain(&unauthorized.url, &wait),
        3,
        "asks for a sign-in (401)",
    );
    assert_ends(&drain(&forbidden.url, &wait), 3, "(403): Forbidden");
    let nobody = drain("http://127.0.0.1:1", &["wait", "--timeout", "1"]);
    assert_ends(&nobody, 4, "cannot reach http://127.0.0.1:1");
}

#[test]
fn json_is_one_object_whatever_happens() {
    let stub = Stub::new(|asked, _| match asked.line.as_str() {
        "GET /api/status" => ok(&draining(0, true)),
        _ => ok(&json!({"ok": true, "action": "drain", "draining": true})),
    });
    let printed = |url: &str, arguments: &[&str]| -> Value {
        let finished = drain(url, arguments);
        serde_json::from_str(&finished.stdout)
            .unwrap_or_else(|error| panic!("{error}: {finished:?}"))
    };
    assert_eq!(printed(&stub.url, &["begin", "--json"])["draining"], true);
    assert_eq!(
        printed(&stub.url, &["status", "--json"])["gateway_state"],
        "draining"
    );
    for arguments in [&["wait", "--json"][..], &["begin", "--wait", "--json"]] {
        let waited = printed(&stub.url, arguments);
        assert_eq!(
            (&waited["ok"], &waited["drained"]),
            (&json!(true), &json!(true))
        );
        assert!(waited["waited_seconds"].is_number(), "{waited}");
    }
    let nobody = printed("http://127.0.0.1:1", &["begin", "--json"]);
    assert_eq!(
        (&nobody["ok"], &nobody["error"]),
        (&json!(false), &json!("unreachable"))
    );
    let no = Stub::always(ok(&json!({"ok": false, "detail": "no"})));
    assert_eq!(printed(&no.url, &["cancel", "--json"])["error"], "failed");
    let busy = Stub::always(ok(&draining(1, false)));
    assert_eq!(
        printed(&busy.url, &["wait", "--timeout", "1", "--json"])["error"],
        "timeout"
    );
    for (arguments, part) in [
        (
            &["begin", "--owner", " x", "--json"][..],
            "'--owner <OWNER>'",
        ),
        (
            &["cancel", "--json", "--now"],
            "unexpected argument '--now'",
        ),
        (&["wait", "--json", "--timeout"], "'--timeout <SECONDS>'"),
    ] {
        let mistake = printed(&stub.url, arguments);
        assert_eq!(
            (&mistake["ok"], &mistake["error"]),
            (&json!(false), &json!("usage"))
        );
        let detail = mistake["detail"].as_str().expect("a sentence");
        assert!(
            detail.contains(part) && !detail.contains("Usage"),
            "{detail}"
        );
    }
}

#[test]
fn value_that_the_dashboard_would_refuse_is_a_mistake_and_not_sent() {
    let stub = Stub::always(ok(&json!({"ok": true, "draining": true})));
    let long = "x".repeat(257);
    for arguments in [
        &["begin", "--owner", " x"][..],
        &["begin", "--owner", ""],
        &["begin", "--owner", &long[..129]],
        &["begin", "--reason", "a\nb"],
        &["begin", "--reason", &long],
        &["begin", "--ttl", "0"],
        &["begin", "--ttl", "86401"],
        &["cancel", "--owner", "x "],
        &["wait", "--cancel-on-timeout", "--owner", "a\u{202e}b"],
    ] {
        assert_ends(&drain(&stub.url, arguments), 64, "invalid value");
    }
    assert!(stub.asked().is_empty(), "{:?}", stub.asked());
}

#[test]
fn only_what_was_given_is_sent() {
    let stub = Stub::always(ok(&json!({"ok": true, "draining": true})));
    for (arguments, expected) in [
        (&["begin"][..], json!({"action": "drain"})),
        (
            &[
                "begin",
                "--owner",
                "nas",
                "--reason",
                "kernel",
                "--ttl",
                "60",
                "--suppress-notification",
            ][..],
            json!({"action": "drain", "owner": "nas", "reason": "kernel", "ttl_seconds": 60,
                   "suppress_notification": true}),
        ),
        (&["cancel"][..], json!({"action": "cancel"})),
        (
            &["cancel", "--owner", "nas", "--force"][..],
            json!({"action": "cancel", "owner": "nas", "force": true}),
        ),
    ] {
        assert_ends(&drain(&stub.url, arguments), 0, "");
        let asked = stub.asked().pop().expect("a request");
        assert_eq!(asked.line, "POST /api/gateway/drain");
        assert_eq!(
            serde_json::from_str::<Value>(&asked.body).expect("JSON"),
            expected
        );
    }
}

#[test]
fn wait_ends_well_only_on_a_certain_status() {
    for (status, sentence) in [
        (draining(0, true), "drained after"),
        (
            json!({"gateway_state": "draining", "gateway_running": true, "drained": true}),
            "drained after",
        ),
        (
            json!({"gateway_state": "stopped", "gateway_running": false}),
            "the gateway is stopped",
        ),
    ] {
        let finished = drain(&Stub::always(ok(&status)).url, &["wait", "--timeout", "10"]);
        assert_ends(&finished, 0, "");
        assert!(finished.stdout.starts_with(sentence), "{finished:?}");
    }
    let drain_is_on = json!({"active": true});
    for (status, sentence) in [
        (
            draining(1, false),
            "not drained after 3 s: 1 turn in flight",
        ),
        (
            draining(2, false),
            "not drained after 3 s: 2 turns in flight",
        ),
        (
            json!({"gateway_state": "running", "active_agents": 0, "drained": false, "drain": drain_is_on}),
            "no turn is in flight, but the gateway has not acknowledged the drain",
        ),
        (
            json!({"gateway_state": "unknown", "gateway_running": false, "drain": drain_is_on}),
            "the dashboard cannot tell whether the gateway runs",
        ),
        (
            json!({"gateway_state": "degraded", "gateway_running": false, "drained": true}),
            "the gateway is in the state `degraded`",
        ),
    ] {
        let stub = Stub::always(ok(&status));
        assert_ends(&drain(&stub.url, &["wait", "--timeout", "3"]), 2, sentence);
    }
}

#[test]
fn age_of_the_oldest_turn_comes_from_the_dashboard() {
    let stub = Stub::new(|asked, _| match asked.line.as_str() {
        "GET /api/status" => ok(&draining(2, false)),
        _ => {
            ok(&json!({"turns": [{"session": "a", "seconds": 7}, {"session": "b", "seconds": 40}]}))
        }
    });
    let finished = drain(&stub.url, &["wait", "--timeout", "3"]);
    assert_ends(&finished, 2, "2 turns in flight, the oldest for 4");
}

#[test]
fn silent_server_does_not_hold_the_wait() {
    let start = Instant::now();
    let silent = Stub::always(None);
    assert_ends(
        &drain(&silent.url, &["wait", "--timeout", "1"]),
        4,
        "no answer in time",
    );
    let once = Stub::new(|_, before| {
        if before == 0 {
            ok(&draining(0, false))
        } else {
            None
        }
    });
    assert_ends(
        &drain(&once.url, &["wait", "--timeout", "3"]),
        2,
        "the dashboard does not call the agent drained",
    );
    assert!(
        start.elapsed() < Duration::from_secs(9),
        "{:?}",
        start.elapsed()
    );
}

#[test]
fn cancel_on_timeout_says_what_became_of_the_drain() {
    let stub = Stub::new(|asked, _| match asked.line.as_str() {
        "POST /api/gateway/drain" => ok(&json!({"ok": true, "was_draining": true})),
        _ => ok(&draining(1, false)),
    });
    let wait = ["wait", "--timeout", "1", "--cancel-on-timeout"];
    assert_ends(
        &drain(&stub.url, &wait),
        2,
        "the drain is cancelled: turns are let in again",
    );
    let stub = Stub::new(|asked, _| match asked.line.as_str() {
        "POST /api/gateway/drain" => reply("500 Internal Server Error", "", "{\"detail\":\"no\"}"),
        _ => ok(&draining(1, false)),
    });
    assert_ends(
        &drain(&stub.url, &wait),
        2,
        "the drain could not be cancelled and stands",
    );
}

#[test]
fn drain_that_ends_ends_the_wait() {
    let over = json!({"gateway_state": "running", "gateway_running": true, "active_agents": 1,
                      "drained": false, "drain": {"active": false}});
    let then_over = over.clone();
    let cancelled = Stub::new(move |_, before| match before {
        0 => ok(&draining(0, false)),
        _ => ok(&then_over),
    });
    let finished = drain(&cancelled.url, &["wait", "--timeout", "30"]);
    assert_ends(&finished, 5, "the drain was cancelled or has expired");
    let finished = drain(&Stub::always(ok(&over)).url, &["wait", "--timeout", "30"]);
    assert_ends(
        &finished,
        5,
        "no drain is on: begin one with `portcullis drain begin`",
    );
}

#[test]
fn configuration_is_not_read_when_the_address_is_given() {
    let home = Home::with_config("dashboard:\n  prot: 1\n");
    home.write("drain-secret", DRAIN_SECRET);
    let stub = Stub::always(ok(&json!({"ok": true, "draining": true})));
    let finished = Process::run(&home, &["drain", "begin", "--url", &stub.url], &[]);
    assert_ends(&finished, 0, "");
}

/// A home with the fleet file `fleet.yaml`, in which each agent takes its secret from the file
/// `key`.
fn fleet(agents: &[(&str, &Stub)]) -> Home {
    let home = Home::new();
    home.write("key", DRAIN_SECRET);
    let entry = |(name, stub): &(&str, &Stub)| {
        format!(
            "- {{name: {name}, url: '{}', secret: {{file: key}}}}\n",
            stub.url
        )
    };
    home.write("fleet.yaml", &agents.iter().map(entry).collect::<String>());
    home
}

fn drain_fleet(home: &Home, arguments: &[&str]) -> Finished {
    let file = home.file("fleet.yaml").display().to_string();
    let arguments: Vec<_> = ["drain", "--fleet", file.as_str()]
        .iter()
        .chain(arguments)
        .copied()
        .collect();
    Process::run(home, &arguments, &[])
}

#[test]
fn fleet_reports_every_agent() {
    let (first, second) = (
        Stub::always(ok(&draining(0, true))),
        Stub::always(ok(&draining(0, true))),
    );
    let busy = Stub::always(ok(&draining(2, false)));
    let home = fleet(&[("first", &first), ("busy", &busy), ("second", &second)]);
    let finished = drain_fleet(&home, &["--parallel", "2", "wait", "--timeout", "1"]);
    assert_ends(&finished, 2, "2 of 3 agents are drained");
    let lines = finished
        .stdout
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).expect(line));
    let mut ends: Vec<_> = lines.filter(|line| line.get("ok").is_some()).collect();
    ends.sort_by_key(|end| end["name"].to_string());
    let codes: Vec<_> = ends
        .iter()
        .map(|end| (end["name"].as_str(), end["exit"].as_u64()))
        .collect();
    assert_eq!(
        codes,
        [
            (Some("busy"), Some(2)),
            (Some("first"), Some(0)),
            (Some("second"), Some(0))
        ]
    );
    assert_eq!(ends[0]["error"], "timeout");

    let home = fleet(&[("first", &first), ("second", &second)]);
    let finished = drain_fleet(&home, &["wait", "--timeout", "10"]);
    assert_ends(&finished, 0, "2 of 2 agents are drained");
}

#[test]
fn mistake_in_the_fleet_is_a_usage_error() {
    let stub = Stub::always(ok(&json!({"ok": true, "draining": true})));
    let home = fleet(&[("a", &stub), ("a", &stub)]);
    assert_ends(
        &drain_fleet(&home, &["begin"]),
        64,
        "fleet.yaml:2:3: `[1].name`: another agent is named `a`",
    );
    let home = fleet(&[]);
    assert_ends(
        &drain_fleet(&home, &["begin"]),
        64,
        "the list of agents is empty",
    );
    let home = fleet(&[("a", &stub)]);
    assert_ends(
        &drain_fleet(&home, &["begin", "--url", &stub.url]),
        64,
        "--url and --secret-file",
    );
    home.write(
        "fleet.yaml",
        &format!(
            "[{{name: a, url: '{}', secret: {{env: NOT_SET}}}}]",
            stub.url
        ),
    );
    assert_ends(
        &drain_fleet(&home, &["begin"]),
        64,
        "fleet.yaml:1:2: `a`: secret: the environment variable NOT_SET",
    );
    home.write(
        "fleet.yaml",
        &format!("[{{name: a, url: '{}', secrets: {{env: X}}}}]", stub.url),
    );
    assert_ends(
        &drain_fleet(&home, &["begin"]),
        64,
        "unknown key `secrets` in `[0]`; did you mean `secret`?",
    );
    assert!(stub.asked().is_empty(), "{:?}", stub.asked());
}
