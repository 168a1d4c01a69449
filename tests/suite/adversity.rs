//! An environment that does not cooperate: the log is not read, callers disconnect, descendants
//! hide, time is used up.

use portcullis_tests::{DRAIN_SECRET, Home, Process, SOON, binary, eventually, get, post};
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

const TURN: &str = r#"{"session":"s","text":"x"}"#;

#[test]
fn drain_works_when_nobody_reads_the_log() {
    let home = Home::with_config("gateway: {command: [cat]}");
    let mut gateway = Command::new(binary())
        .args(["gateway", "--listen", "127.0.0.1:0", "--home"])
        .arg(home.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary starts");
    // Every log line from here on is a broken pipe.
    drop(gateway.stderr.take());
    let mut ready = String::new();
    BufReader::new(gateway.stdout.take().expect("stdout is piped"))
        .read_line(&mut ready)
        .expect("stdout is text");
    let port = ready.trim().rsplit('=').next().expect("a port");
    let turns = format!("http://127.0.0.1:{port}/v1/turns");
    for _ in 0..3 {
        home.write(".drain_request.json", "{}");
        eventually("turns are refused", SOON, || {
            (post(&turns, &[], TURN).status == 503).then_some(())
        });
        fs::remove_file(home.file(".drain_request.json")).expect("the marker");
        eventually("turns are let in", SOON, || {
            (post(&turns, &[], TURN).status == 200).then_some(())
        });
    }
    gateway
        .kill()
        .and_then(|()| gateway.wait())
        .expect("our own child");
}

#[test]
fn drain_of_a_caller_who_hangs_up_is_audited() {
    let home = Home::new();
    let dashboard = home.dashboard();
    for _ in 0..20 {
        let mut stream =
            TcpStream::connect(("127.0.0.1", dashboard.port())).expect("the dashboard listens");
        write!(
            stream,
            "POST /api/gateway/drain HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {DRAIN_SECRET}\r\n\
             Content-Length: 2\r\n\r\n{{}}"
        )
        .expect("the dashboard reads");
        drop(stream);
    }
    eventually("a drain stands", SOON, || {
        home.file(".drain_request.json").exists().then_some(())
    });
    let let_in = || {
        home.audit()
            .iter()
            .filter(|line| line["event"] == "token_auth_success")
            .count()
    };
    eventually("each that was let in is audited as begun", SOON, || {
        let begun = home
            .audit()
            .iter()
            .filter(|line| line["event"] == "drain_begin")
            .count();
        (begun > 0 && begun == let_in()).then_some(())
    });
}

#[test]
fn turn_ends_with_its_command_whoever_hides_from_it() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let pid = folder.path().join("pid");
    // A session of its own, and the turn's stdout kept open: neither the group nor the pipe finds
    // it.
    let script = format!(
        "setsid sh -c \"echo \\$\\$ > {0}; exec sleep 600\" & while [ ! -s {0} ]; do sleep 0.02; done; echo done",
        pid.display()
    );
    let home = Home::with_config(&format!(
        "gateway: {{command: [sh, -c, {}]}}",
        serde_json::json!(script)
    ));
    let gateway = home.gateway();
    let reply = post(&gateway.url("/v1/turns"), &[], TURN);
    assert_eq!((reply.status, reply.body.as_str()), (200, "done\n"));
    assert_eq!(
        get(&gateway.url("/v1/turns"), &[]).json()["turns"]
            .as_array()
            .map(Vec::len),
        Some(0)
    );
    let pid = fs::read_to_string(pid)
        .expect("the turn ran")
        .trim()
        .to_owned();
    eventually("what hid is gone", SOON, || {
        (!fs::exists(format!("/proc/{pid}")).unwrap_or(true)).then_some(())
    });
}

#[test]
fn draining_gateway_rests() {
    let home = Home::with_config("");
    home.write(".drain_request.json", "{}");
    let gateway = home.gateway();
    let ticks = || {
        let stat = fs::read_to_string(format!("/proc/{}/stat", gateway.pid())).expect("it runs");
        let (_, fields) = stat
            .rsplit_once(')')
            .expect("the command is in parentheses");
        let field = |index: usize| {
            fields
                .split_whitespace()
                .nth(index)
                .and_then(|n| n.parse::<u64>().ok())
                .expect("a number")
        };
        field(11) + field(12)
    };
    // Two looks of the watcher, at least: the floor is a second.
    let (before, end) = (
        ticks(),
        std::time::Instant::now() + Duration::from_millis(2_500),
    );
    eventually("two seconds pass", SOON, || {
        (std::time::Instant::now() > end).then_some(())
    });
    assert!(
        ticks() - before < 50,
        "reading the marker must not wake the reader: {} ticks",
        ticks() - before
    );
}

#[test]
fn secret_goes_to_the_dashboard_and_to_no_proxy() {
    let home = Home::new();
    let dashboard = home.dashboard();
    let variables = [
        ("HERMES_DASHBOARD_DRAIN_SECRET", DRAIN_SECRET),
        ("HTTP_PROXY", "http://127.0.0.1:1"),
        ("ALL_PROXY", "http://127.0.0.1:1"),
        ("http_proxy", "http://127.0.0.1:1"),
    ];
    let begun = portcullis_tests::Process::run(
        &home,
        &["drain", "begin", "--url", &dashboard.url("")],
        &variables,
    );
    assert_eq!(begun.code, Some(0), "{}", begun.stderr);
}

#[test]
fn check_makes_nothing() {
    let home = Home::with_config("");
    let nowhere = home.file("nowhere");
    let mut check = Command::new(binary());
    let output = check
        .args(["config", "check", "--home"])
        .arg(&nowhere)
        .output()
        .expect("the binary runs");
    assert!(output.status.success(), "{output:?}");
    assert!(!nowhere.exists());
}

#[test]
fn wait_does_not_believe_a_status_that_is_not_written() {
    let gate = crate::turns::Gate::new();
    let home = Home::with_config(
        &gate
            .config()
            .replace("max_turns", "listen: '127.0.0.1:0', max_turns"),
    );
    let gateway = home.gateway();
    // The client asks the gateway where the configuration says that it listens.
    let text = gate.config().replace(
        "max_turns",
        &format!("listen: '127.0.0.1:{}', max_turns", gateway.port()),
    );
    home.write("portcullis.yaml", &text);
    let dashboard = home.dashboard();
    home.write(
        "portcullis.yaml",
        &format!("{text}\ndashboard: {{port: {}}}\n", dashboard.port()),
    );
    let turn = crate::turns::start_turn_in_background(&gateway, "s");
    eventually("the turn is counted", SOON, || {
        (get(&dashboard.url("/api/status"), &[]).json()["active_agents"] == 1).then_some(())
    });
    home.block("gateway_state.json");
    // Without --url the client asks the local gateway as well.
    let waited = portcullis_tests::Process::run(&home, &["drain", "wait", "--timeout", "1"], &[]);
    assert_eq!(waited.code, Some(2), "{}{}", waited.stdout, waited.stderr);
    gate.open();
    turn.join().expect("an answer");
}

fn fifo(path: &Path) {
    rustix::fs::mknodat(
        rustix::fs::CWD,
        path,
        rustix::fs::FileType::Fifo,
        0o600.into(),
        0,
    )
    .expect("a FIFO");
}

#[test]
fn audit_log_that_is_a_fifo_holds_nothing_up() {
    let home = Home::new();
    fs::create_dir(home.file("logs")).expect("a folder in the home");
    fifo(&home.file("logs/dashboard-auth.log"));
    let mut dashboard = home.dashboard();
    let authorization = format!("Bearer {DRAIN_SECRET}");
    for _ in 0..3 {
        let url = dashboard.url("/api/gateway/drain");
        assert_eq!(
            post(&url, &[("authorization", &authorization)], "{}").status,
            200
        );
        let important = || {
            fs::read_to_string(home.file("logs/dashboard-auth-important.log")).unwrap_or_default()
        };
        eventually("the other file is written", SOON, || {
            important().contains("drain_begin").then_some(())
        });
    }
    assert_eq!(dashboard.terminate().code(), Some(0));
    let complaints = dashboard
        .log()
        .matches("the audit log cannot be written")
        .count();
    assert_eq!(complaints, 1, "{}", dashboard.log());
}

#[test]
fn configuration_that_is_a_fifo_is_refused_at_once_and_mended_later() {
    let home = Home::with_config("dashboard: {providers: []}");
    let mut dashboard = home.dashboard();
    let config = home.file("portcullis.yaml");
    fs::remove_file(&config).expect("the configuration");
    fifo(&config);
    let logged = |text: &str| {
        eventually(text, SOON, || dashboard.log().contains(text).then_some(()));
    };
    logged("it is not a file");
    let check = Process::run(&home, &["config", "check"], &[]);
    assert!(
        check.code != Some(0) && check.stderr.contains("it is not a file"),
        "{check:?}"
    );
    home.write("mended", "dashboard: {providers: []}");
    fs::rename(home.file("mended"), &config).expect("a file over the FIFO");
    logged("providers reloaded");
    fs::remove_file(&config).expect("the configuration");
    fifo(&config);
    assert_eq!(dashboard.terminate().code(), Some(0));
}

#[test]
fn stranger_fills_no_disk_with_log_lines() {
    let home = Home::new();
    let dashboard = home.dashboard();
    let url = dashboard.url(&format!("/a%2f{}", "x".repeat(5_000)));
    for _ in 0..2_000 {
        assert_eq!(get(&url, &[]).status, 400);
    }
    let log = dashboard.log();
    let lines: Vec<_> = log
        .lines()
        .filter(|line| line.contains("refused before the gate"))
        .collect();
    assert!((200..1_500).contains(&lines.len()), "{} lines", lines.len());
    assert!(lines.iter().all(|line| line.len() < 600), "{}", lines[0]);
}

#[test]
fn flood_of_calls_is_thinned_and_counted_in_the_audit_log() {
    let home = Home::with_guests(&["known"]);
    let dashboard = home.dashboard();
    let authorization = format!("Bearer {DRAIN_SECRET}");
    assert_eq!(
        post(
            &dashboard.url("/api/gateway/drain"),
            &[("authorization", &authorization)],
            "{}"
        )
        .status,
        200
    );
    let call = || {
        let reply = get(
            &dashboard.url("/api/auth/whoami"),
            &[("authorization", "Bearer good-token")],
        );
        assert_eq!(reply.status, 200, "{reply:?}");
    };
    (0..1_200).for_each(|_| call());
    let left_out = eventually("a line says how many were left out", SOON, || {
        call();
        home.audit()
            .iter()
            .find_map(|line| line["left_out"].as_u64())
    });
    assert!(left_out > 0);
    let important =
        fs::read_to_string(home.file("logs/dashboard-auth-important.log")).expect("a file");
    assert!(
        important.contains("drain_begin") && !important.contains("token_auth_success"),
        "{important}"
    );
}
