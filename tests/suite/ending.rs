//! The end of a dashboard, as load balancers and clients see it.

use portcullis_tests::{DRAIN_SECRET, Home, Process, SOON, eventually, get};
use rustix::process::Signal;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

fn connect(dashboard: &Process) -> Option<TcpStream> {
    let stream = TcpStream::connect(("127.0.0.1", dashboard.port())).ok()?;
    stream.set_read_timeout(Some(SOON)).ok()?;
    Some(stream)
}

/// The status of `/readyz` on a connection of its own. `None`: there is no answer.
fn ready(dashboard: &Process) -> Option<u16> {
    let mut stream = connect(dashboard)?;
    let request = b"GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    stream.write_all(request).ok()?;
    status_of(&mut stream)
}

fn status_of(stream: &mut TcpStream) -> Option<u16> {
    status_in(&answer_of(stream)?)
}

fn answer_of(stream: &mut TcpStream) -> Option<String> {
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    Some(answer)
}

fn status_in(answer: &str) -> Option<u16> {
    answer.split(' ').nth(1)?.parse().ok()
}

/// Sends a request with the drain secret on a connection of its own.
fn ask_for_the_drain(dashboard: &Process, line: &str, body: &str) -> TcpStream {
    let mut stream = connect(dashboard).expect("the dashboard listens");
    let request = format!(
        "{line} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {DRAIN_SECRET}\r\n\
         Connection: close\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    stream
        .write_all(request.as_bytes())
        .expect("the dashboard reads");
    stream
}

#[test]
fn load_balancer_sees_the_end_while_a_request_is_in_flight() {
    let home = Home::new();
    let secret = [("HERMES_DASHBOARD_DRAIN_SECRET", DRAIN_SECRET)];
    let mut dashboard = home.dashboard_with(&["--port", "0"], &secret);
    let mut in_flight = connect(&dashboard).expect("the dashboard listens");
    let body = r#"{"action":"cancel"}"#;
    let head = format!(
        "POST /api/gateway/drain HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {DRAIN_SECRET}\r\n\
         Content-Type: application/json\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    in_flight
        .write_all(head.as_bytes())
        .expect("the dashboard reads");
    eventually("the dashboard is ready", SOON, || {
        (ready(&dashboard) == Some(200)).then_some(())
    });

    dashboard.signal(Signal::TERM);
    eventually("new connections get 503", SOON, || {
        (ready(&dashboard) == Some(503)).then_some(())
    });
    eventually("new connections are refused", SOON, || {
        connect(&dashboard).is_none().then_some(())
    });

    in_flight
        .write_all(body.as_bytes())
        .expect("the request is in flight");
    assert_eq!(status_of(&mut in_flight), Some(200));
    assert_eq!(dashboard.wait().code(), Some(0));
}

#[test]
fn requests_that_wait_are_answered_when_the_end_begins() {
    let home = Home::new();
    let secret = [("HERMES_DASHBOARD_DRAIN_SECRET", DRAIN_SECRET)];
    let mut dashboard = home.dashboard_with(&["--port", "0"], &secret);
    // No gateway runs, so nothing acknowledges it.
    let begin = r#"{"wait_seconds":30}"#;
    let mut begin = ask_for_the_drain(&dashboard, "POST /api/gateway/drain", begin);
    let bearer = format!("Bearer {DRAIN_SECRET}");
    let url = dashboard.url("/api/gateway/drain");
    let generation = eventually("the drain is on", SOON, || {
        let picture = get(&url, &[("authorization", &bearer)]).json();
        (picture["draining"] == true).then(|| picture["generation"].clone())
    });
    let poll = format!("GET /api/gateway/drain?wait=30&generation={generation}");
    let mut poll = ask_for_the_drain(&dashboard, &poll, "");

    let began = Instant::now();
    dashboard.signal(Signal::TERM);
    for waiting in [&mut begin, &mut poll] {
        let answer = answer_of(waiting).expect("an answer");
        assert_eq!(status_in(&answer), Some(200), "{answer:?}");
        assert!(
            answer.contains(r#""draining":true"#) && answer.contains(r#""acknowledged":false"#),
            "{answer}"
        );
    }
    let grace = Duration::from_secs(5);
    assert!(began.elapsed() < grace, "{:?}", began.elapsed());
    assert_eq!(dashboard.wait().code(), Some(0));
}
