//! The end of a dashboard, as load balancers and clients see it.

use portcullis_tests::{DRAIN_SECRET, Home, Process, SOON, eventually};
use rustix::process::Signal;
use std::io::{Read, Write};
use std::net::TcpStream;

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
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    answer.split(' ').nth(1)?.parse().ok()
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
