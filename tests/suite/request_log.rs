//! The id of a request, the access log, and the log on stderr.

use portcullis_tests::{Home, PROCESS_TOKEN, Process, SOON, eventually, get, request};
use serde_json::Value;
use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

const VARIABLES: [(&str, &str); 1] = [("HERMES_DASHBOARD_SESSION_TOKEN", PROCESS_TOKEN)];
const ID: &str = "x-request-id";

/// Sends bytes and reads to the end of the connection, both at once.
fn raw(dashboard: &Process, bytes: Vec<u8>) -> String {
    let mut stream =
        TcpStream::connect(("127.0.0.1", dashboard.port())).expect("the dashboard listens");
    stream.set_read_timeout(Some(SOON)).expect("a timeout");
    let mut output = stream.try_clone().expect("a second handle");
    let writer = std::thread::spawn(move || output.write_all(&bytes));
    let mut reply = Vec::new();
    let _ = stream.read_to_end(&mut reply);
    // Fails where the dashboard answers and closes before it has read everything.
    let _ = writer.join();
    String::from_utf8_lossy(&reply).into_owned()
}

#[test]
fn what_the_parser_refuses_has_neither_a_body_nor_an_id() {
    let home = Home::new();
    let dashboard = home.dashboard();
    let long = "x".repeat(70_000);
    for (request, status) in [
        ("GET\r\n\r\n".to_owned(), "400"),
        (
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n".to_owned(),
            "400",
        ),
        (format!("GET /{long} HTTP/1.1\r\nHost: a\r\n\r\n"), "414"),
        (
            format!(
                "GET / HTTP/1.1\r\nHost: a\r\n{}\r\n",
                "a: b\r\n".repeat(300)
            ),
            "431",
        ),
    ] {
        let reply = raw(&dashboard, request.into_bytes());
        assert!(
            reply.starts_with(&format!("HTTP/1.1 {status} ")),
            "{status}: {reply}"
        );
        assert!(
            reply.contains("content-length: 0") && !reply.contains(ID),
            "docs/observe.md says otherwise: {reply}"
        );
    }
}

#[test]
fn every_answer_has_an_id_and_a_plain_one_of_this_machine_is_kept() {
    let home = Home::new();
    let dashboard = home.dashboard_with(&["--port", "0"], &VARIABLES);
    let id_of = |path: &str, sent: &[(&str, &str)]| {
        get(&dashboard.url(path), sent)
            .header(ID)
            .expect("an id")
            .to_owned()
    };
    for path in [
        "/healthz",
        "/",
        "/metrics",
        "/nothing",
        "/api/status",
        "/x/%2e%2e/y",
    ] {
        assert_eq!(
            id_of(path, &[(ID, "from-a-proxy.1:2/3")]),
            "from-a-proxy.1:2/3",
            "{path}"
        );
    }
    let longest = "x".repeat(128);
    assert_eq!(id_of("/healthz", &[(ID, &longest)]), longest);
    let too_long = format!("{longest}x");
    let senders: [&[(&str, &str)]; 5] = [
        &[],
        &[(ID, "a b")],
        &[(ID, "a\"b")],
        &[(ID, too_long.as_str())],
        &[(ID, "a"), (ID, "b")],
    ];
    for sent in senders {
        let made = id_of("/healthz", sent);
        assert!(
            made.len() == 32 && made.bytes().all(|byte| byte.is_ascii_hexdigit()),
            "{sent:?}: {made}"
        );
        assert_ne!(made, id_of("/healthz", sent));
    }
    let foreign =
        "GET / HTTP/1.1\r\nHost: evil.example\r\nX-Request-Id: abc\r\nConnection: close\r\n\r\n";
    let reply = raw(&dashboard, foreign.into()).to_ascii_lowercase();
    assert!(
        reply.starts_with("http/1.1 400") && reply.contains("x-request-id: abc\r\n"),
        "{reply}"
    );
}

fn lines(file: &Path) -> Vec<Value> {
    let text = fs::read_to_string(file).unwrap_or_default();
    text.lines()
        .map(|line| serde_json::from_str(line).expect("a line of JSON"))
        .collect()
}

#[test]
fn access_log_has_a_line_per_answer() {
    let home = Home::with_guests(&["known"]);
    let file = home.file("logs/access.log");
    let flags = [
        "--port",
        "0",
        "--access-log",
        file.to_str().expect("a path of text"),
    ];
    let dashboard = home.dashboard_with(&flags, &VARIABLES);
    let status = get(&dashboard.url("/api/status?canary=1"), &[(ID, "first-1")]);
    let metrics = get(
        &dashboard.url("/metrics"),
        &[("authorization", "Bearer good-token")],
    );
    request("HEAD", &dashboard.url("/healthz"), &[], "");
    get(&dashboard.url(&format!("/{}", "x".repeat(5_000))), &[]);

    let lines = eventually("the lines are written", SOON, || {
        Some(lines(&file)).filter(|lines| lines.len() == 4)
    });
    let [first, second, third, fourth] = &lines[..] else {
        unreachable!("four lines")
    };
    for (key, value) in [
        ("component", Value::from("dashboard")),
        ("request_id", Value::from("first-1")),
        ("client", "127.0.0.1".into()),
        ("method", "GET".into()),
        ("path", "/api/status".into()),
        ("route", "/api/status".into()),
        ("status", 200.into()),
        ("bytes", status.body.len().into()),
        ("user", Value::Null),
        ("provider", Value::Null),
    ] {
        assert_eq!(first[key], value, "{key}: {first}");
    }
    assert!(first["ms"].as_f64().is_some_and(|ms| ms > 0.0), "{first}");
    assert!(
        first["time"]
            .as_str()
            .is_some_and(|time| time.parse::<jiff::Timestamp>().is_ok()),
        "{first}"
    );
    assert_eq!(
        (&second["user"], &second["provider"]),
        (&"good-bot".into(), &"known-0".into()),
        "{second}"
    );
    assert_eq!(second["request_id"].as_str(), metrics.header(ID));
    assert_eq!(
        (&third["method"], &third["bytes"]),
        (&"HEAD".into(), &0.into()),
        "{third}"
    );
    assert_eq!(fourth["route"], "other");
    assert!(
        fourth["path"]
            .as_str()
            .is_some_and(|path| path.len() < 1_000),
        "{fourth}"
    );

    let text = fs::read_to_string(&file).expect("the access log");
    assert!(
        !text.contains("canary") && !text.contains("good-token"),
        "{text}"
    );
    let mode = fs::metadata(&file)
        .expect("the access log")
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn there_is_no_access_log_unless_it_is_asked_for() {
    let home = Home::new();
    let mut dashboard = home.dashboard_with(&["--port", "0"], &VARIABLES);
    get(&dashboard.url("/api/status"), &[]);
    dashboard.terminate();
    assert_eq!(dashboard.line(), "");
    let logs = fs::read_dir(home.file("logs"))
        .into_iter()
        .flatten()
        .flatten();
    let names: Vec<_> = logs
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    assert!(
        names.iter().all(|name| name.starts_with("dashboard-auth")),
        "{names:?}"
    );
}

#[test]
fn access_log_that_cannot_be_written_is_an_error_at_the_start() {
    let home = Home::new();
    let folder = home.path().to_str().expect("a path of text");
    let finished = Process::run(
        &home,
        &["serve", "--port", "0", "--access-log", folder],
        &VARIABLES,
    );
    assert_eq!(finished.code, Some(1), "{}", finished.stderr);
    assert!(
        finished.stderr.contains("cannot write the access log to"),
        "{}",
        finished.stderr
    );
}

#[test]
fn up_passes_the_access_log_of_the_dashboard_on() {
    let home = Home::new();
    let flags = [
        "up",
        "--port",
        "0",
        "--listen",
        "127.0.0.1:0",
        "--access-log",
        "-",
    ];
    let mut up = Process::start(&home, &flags, &VARIABLES);
    let mut url = None;
    loop {
        let line = up.line();
        assert!(!line.is_empty(), "it ended: {}", up.log());
        if let Some(port) = line.strip_prefix("PORTCULLIS_READY dashboard port=") {
            url = Some(format!("http://127.0.0.1:{}/healthz", port.trim()));
        }
        if line.starts_with("Ctrl-C") {
            break;
        }
    }
    get(&url.expect("a port"), &[(ID, "through-up")]);
    let line: Value = serde_json::from_str(&up.line()).expect("a line of JSON");
    assert_eq!(
        (&line["request_id"], &line["path"]),
        (&"through-up".into(), &"/healthz".into())
    );
}

#[test]
fn access_log_without_a_file_is_written_to_stderr() {
    let home = Home::new();
    let mut dashboard = home.dashboard_with(&["--port", "0", "--access-log"], &VARIABLES);
    get(&dashboard.url("/healthz"), &[(ID, "on-stderr")]);
    let is_line = |line: &str| {
        serde_json::from_str::<Value>(line).is_ok_and(|line| line["request_id"] == "on-stderr")
    };
    eventually("the line is written", SOON, || {
        dashboard.log().lines().any(is_line).then_some(())
    });
    dashboard.terminate();
    assert_eq!(
        dashboard.line(),
        "",
        "stdout has the line of readiness alone"
    );
}

#[test]
fn gateway_names_its_requests_as_the_dashboard_does() {
    let home = Home::new();
    let gateway = home.gateway();
    for path in ["/health", "/metrics", "/v1/turns", "/nothing"] {
        let kept = get(&gateway.url(path), &[(ID, "from-a-program")]);
        assert_eq!(kept.header(ID), Some("from-a-program"), "{path}");
        for sent in ["", "a b", "a,b"] {
            let made = get(&gateway.url(path), &[(ID, sent)]);
            let id = made.header(ID).expect("an id");
            assert!(id.len() == 32 && id != sent, "{path} {sent:?} {id}");
        }
    }
    let foreign = get(
        &gateway.url("/health"),
        &[(ID, "refused"), ("origin", "https://evil.example")],
    );
    assert_eq!((foreign.status, foreign.header(ID)), (403, Some("refused")));
}

#[test]
fn log_lines_of_a_request_have_its_id() {
    for (format, expected) in [
        ("text", "request_id=look-here"),
        ("json", r#""request_id":"look-here""#),
    ] {
        let home = Home::with_guests(&["known"]);
        let dashboard = home.dashboard_with(&["--port", "0", "--log-format", format], &VARIABLES);
        get(
            &dashboard.url("/metrics"),
            &[("authorization", "Bearer wrong"), (ID, "look-here")],
        );
        let log = eventually("the refusal is logged", SOON, || {
            Some(dashboard.log()).filter(|log| log.contains("token refused"))
        });
        let line = log
            .lines()
            .find(|line| line.contains("token refused"))
            .unwrap_or_default();
        assert!(line.contains(expected), "{line}");
        assert_eq!(log.matches("look-here").count(), 1, "{log}");
    }
}

#[test]
fn lines_of_json_name_their_component() {
    let home = Home::with_config("gateway: {command: [cat]}");
    let dashboard = home.dashboard_with(&["--port", "0", "--log-format", "json"], &VARIABLES);
    get(&dashboard.url("/x/%2e%2e/y"), &[]);
    let gateway = Process::start(
        &home,
        &["gateway", "--listen", "127.0.0.1:0", "--log-format", "json"],
        &[],
    );
    let gateway = gateway.ready("gateway");
    for (process, component) in [(&dashboard, "dashboard"), (&gateway, "gateway")] {
        let log = eventually("something is logged", SOON, || {
            Some(process.log()).filter(|log| log.ends_with('\n'))
        });
        for line in log.lines() {
            let line: Value = serde_json::from_str(line).expect("a line of JSON");
            assert_eq!(line["component"], component, "{line}");
        }
    }
}

#[test]
fn reason_why_a_process_does_not_start_is_a_line_of_json() {
    let home = Home::with_config("dashboard: {prot: 1}\ngateway: {lisen: x}");
    for (command, component) in [("serve", "dashboard"), ("gateway", "gateway"), ("up", "up")] {
        let ended = Process::run(&home, &[command, "--log-format", "json"], &[]);
        assert_eq!(ended.code, Some(64), "{command}: {}", ended.stderr);
        let lines: Vec<Value> = ended
            .stderr
            .lines()
            .map(|line| serde_json::from_str(line).expect(line))
            .collect();
        let last = lines.last().expect("a line");
        assert_eq!(
            (&last["component"], &last["level"]),
            (&component.into(), &"ERROR".into()),
            "{last}"
        );
        assert!(
            last["message"]
                .as_str()
                .is_some_and(|text| text.contains("unknown key")),
            "{last}"
        );
    }
}

#[test]
fn strangers_do_not_fill_the_log() {
    let home = Home::with_guests(&["known"]);
    let dashboard = home.dashboard_with(&["--port", "0"], &VARIABLES);
    let long = "x".repeat(2_000);
    let floods = [
        (
            format!("GET /{long} HTTP/1.1\r\nHost: evil.example\r\n"),
            "refused before the gate",
        ),
        (
            format!(
                "GET /{}/../ HTTP/1.1\r\nHost: localhost\r\n",
                "\u{e4}".repeat(500)
            ),
            "",
        ),
        (
            format!(
                "GET /metrics?{long} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer wrong\r\n"
            ),
            "token refused",
        ),
        (
            format!(
                "POST /api/drain HTTP/1.1\r\nHost: localhost\r\nOrigin: https://{long}.example\r\n"
            ),
            "refused before the gate",
        ),
    ];
    for (head, place) in floods {
        let mut bytes = format!("{head}\r\n").repeat(1_500).into_bytes();
        bytes.extend_from_slice(format!("{head}Connection: close\r\n\r\n").as_bytes());
        raw(&dashboard, bytes);
        let log = dashboard.log();
        let lines = log.lines().filter(|line| line.contains(place)).count();
        assert!(lines < 1_000, "{place}: {lines} lines");
        assert!(
            log.lines().all(|line| line.len() < 4_096),
            "{place}: a line is long"
        );
    }
}

/// The arguments of every macro that logs, with the file that it stands in.
fn logging_macros(folder: &Path, found: &mut Vec<(PathBuf, String)>) {
    for entry in fs::read_dir(folder).expect("the sources are there") {
        let path = entry.expect("a readable folder").path();
        if path.is_dir() {
            logging_macros(&path, found);
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            let text = fs::read_to_string(&path).expect("a source is text");
            for start in ["trace!(", "debug!(", "info!(", "warn!(", "error!("] {
                let macro_name = format!("tracing::{start}");
                let calls = text.split(&macro_name).skip(1).map(arguments);
                found.extend(calls.map(|call| (path.clone(), call)));
            }
        }
    }
}

/// The text up to the bracket that closes, without what is in quotes.
fn arguments(text: &str) -> String {
    let (mut depth, mut is_quoted, mut arguments) = (1, false, String::new());
    for character in text.chars() {
        match character {
            '"' => is_quoted = !is_quoted,
            _ if is_quoted => continue,
            '(' => depth += 1,
            ')' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            break;
        }
        arguments.push(character);
    }
    arguments
}

#[test]
fn fields_of_log_lines_are_words_and_no_debug_output() {
    let mut macros = Vec::new();
    logging_macros(
        &Path::new(env!("CARGO_MANIFEST_DIR")).join("../runtime"),
        &mut macros,
    );
    assert!(macros.len() > 80, "the macros were found");
    let is_debug = |call: &str| {
        let call = call.split_whitespace().collect::<Vec<_>>().join(" ");
        call.starts_with('?') || call.contains(" ?") || call.contains("=?")
    };
    let wrong: Vec<_> = macros.iter().filter(|(_, call)| is_debug(call)).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}
