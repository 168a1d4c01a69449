//! Capabilities need two keys: the component imports them, the operator grants them.

use portcullis_tests::{Home, Process, SOON, eventually, get, guest};
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::sync::mpsc::{Receiver, channel};

const GOOD: &[(&str, &str)] = &[("authorization", "Bearer good-token")];

fn home(guest_name: &str, more: &str) -> Home {
    let component = guest(guest_name);
    Home::with_config(&format!(
        "dashboard:\n  providers:\n    - {{name: {guest_name}, component: {}, {more}}}\n",
        component.display()
    ))
}

#[test]
fn what_is_not_granted_is_named_with_the_grant_that_is_missing() {
    for (name, import, grant) in [
        ("counts", "wasi:keyvalue/", "grants.keyvalue: true"),
        ("asks", "wasi:http/", "grants.http"),
    ] {
        let home = home(name, "grants: {}");
        let checked = Process::run(&home, &["config", "check"], &[]);
        assert_eq!(checked.code, Some(64));
        assert!(
            checked.stderr.contains(import) && checked.stderr.contains(grant),
            "{}",
            checked.stderr
        );
    }
}

#[test]
fn bucket_outlives_calls_and_restarts() {
    let home = home("counts", "grants: {keyvalue: true}");
    let principal = |dashboard: &Process| {
        get(&dashboard.url("/api/auth/whoami"), GOOD).json()["principal"]
            .as_str()
            .map(str::to_owned)
    };
    let mut dashboard = home.dashboard();
    assert_eq!(principal(&dashboard).as_deref(), Some("call-1"));
    assert_eq!(principal(&dashboard).as_deref(), Some("call-2"));
    eventually("the log line is there", SOON, || {
        dashboard
            .log()
            .contains("info counts: call 1")
            .then_some(())
    });
    assert!(dashboard.terminate().success());
    let dashboard = home.dashboard();
    assert_eq!(principal(&dashboard).as_deref(), Some("call-3"));
    // Another process has the file: said, not waited for.
    let second = Process::run(
        &home,
        &["provider", "call", "counts", "--token", "good-token"],
        &[],
    );
    assert_eq!(second.code, Some(1));
    assert!(
        second.stdout.contains("in use by another process"),
        "{}",
        second.stdout
    );
}

/// A directory that knows one token, and passes on the head of every request.
fn directory() -> (String, Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let origin = format!("http://{}", listener.local_addr().expect("an address"));
    let (heads, seen) = channel();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let mut reader = BufReader::new(stream);
            let mut head = String::new();
            while reader.read_line(&mut head).is_ok_and(|read| read > 2) {}
            let status = if head.starts_with("GET /tokens/good-token ") {
                "200 OK"
            } else {
                "404 Not Found"
            };
            let answer =
                format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
            let _ = reader.get_mut().write_all(answer.as_bytes());
            if heads.send(head).is_err() {
                return;
            }
        }
    });
    (origin, seen)
}

#[test]
fn granted_origin_is_called_with_the_hosts_own_header() {
    let (origin, seen) = directory();
    let home = home(
        "asks",
        &format!(
            "config: {{directory: '{origin}'}}, grants: {{http: [{{origin: '{origin}', headers: {{x-client-secret: \
             {{file: client-secret}}}}}}]}}"
        ),
    );
    home.write("client-secret", "s3cret-of-the-client\n");
    let dashboard = home.dashboard();
    assert_eq!(
        get(&dashboard.url("/api/auth/whoami"), GOOD).json()["principal"],
        "directory-bot"
    );
    let head = seen.recv_timeout(SOON).expect("the directory was asked");
    assert!(
        head.contains("x-client-secret: s3cret-of-the-client"),
        "{head}"
    );
    let unknown = get(
        &dashboard.url("/api/auth/whoami"),
        &[("authorization", "Bearer other")],
    );
    assert_eq!(unknown.status, 401);
    assert!(!dashboard.log().contains("s3cret-of-the-client"));
}

#[test]
fn origin_that_is_not_granted_is_never_reached() {
    let (origin, seen) = directory();
    // The same host, another port.
    let home = home(
        "asks",
        &format!("config: {{directory: '{origin}'}}, grants: {{http: ['http://127.0.0.1:1']}}"),
    );
    let dashboard = home.dashboard();
    assert_eq!(get(&dashboard.url("/api/auth/whoami"), GOOD).status, 503);
    eventually("the refusal is logged", SOON, || {
        dashboard
            .log()
            .contains("its origin is not among grants.http")
            .then_some(())
    });
    assert!(seen.try_recv().is_err());
}
