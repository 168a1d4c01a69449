//! What passes of requests and answers: heads, bodies and trace context.

use super::upstream::{OK, Upstream, write};
use super::{cookie_line, home, read_until, send};
use crate::people::signed_in;
use portcullis_tests::{SOON, get};
use std::io::Read;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Mutex, PoisonError};

#[test]
fn answers_are_streamed_and_bodies_are_passed_on() {
    let (go, wait) = channel::<()>();
    let wait = Mutex::new(wait);
    let upstream = Upstream::start(move |received, stream| {
        if received.line == "POST /echo" {
            let length = received
                .all("content-length")
                .first()
                .and_then(|length| length.parse().ok());
            let mut body = vec![0; length.unwrap_or_default()];
            stream.read_exact(&mut body).expect("a body");
            let body = String::from_utf8_lossy(&body).into_owned();
            let head = format!(
                "HTTP/1.1 201 Created\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
                body.len()
            );
            return write(stream, &(head + &body));
        }
        write(
            stream,
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n5\r\nfirst\r\n",
        );
        let _ = wait
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .recv_timeout(SOON);
        write(stream, "4\r\nlast\r\n0\r\n\r\n");
    });
    let home = home(&upstream, "");
    let dashboard = home.dashboard();
    let mut browser = signed_in(&dashboard, "ada");
    let cookies = cookie_line(&browser);
    let mut stream = send(
        &dashboard,
        &format!(
            "GET /s HTTP/1.1\r\nHost: localhost\r\nCookie: {cookies}\r\nConnection: close\r\n\r\n"
        ),
    );
    let start = read_until(&mut stream, "first");
    assert!(
        start.contains("first") && !start.contains("last"),
        "{start}"
    );
    go.send(()).expect("the upstream waits");
    assert!(read_until(&mut stream, "last").contains("last"));

    let body = "x".repeat(300_000);
    let reply = browser.request("POST", &dashboard.url("/echo"), &[], &body);
    assert_eq!((reply.status, reply.body == body), (201, true));
}

#[test]
fn headers_of_the_application_are_its_own_but_for_the_cookies_of_the_host() {
    let upstream = Upstream::start(|received, stream| {
        let host = received
            .all("host")
            .first()
            .map(|host| (*host).to_owned())
            .unwrap_or_default();
        let answer = format!(
            "HTTP/1.1 302 Found\r\nLocation: http://{host}/next\r\nSet-Cookie: theme=dark\r\n\
             Set-Cookie: hermes_session_at=evil; Path=/\r\nKeep-Alive: timeout=5\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        );
        write(stream, &answer);
    });
    let home = home(&upstream, "");
    let dashboard = home.dashboard();
    let mut browser = signed_in(&dashboard, "ada");
    let reply = browser.get(&dashboard.url("/x"));
    assert_eq!(
        (reply.status, reply.header("location")),
        (302, Some("http://agent.test/next"))
    );
    assert_eq!(reply.set_cookies(), ["theme=dark"]);
    for name in ["keep-alive", "content-security-policy", "cache-control"] {
        assert_eq!(reply.header(name), None, "{name}");
    }
}

#[test]
fn request_with_two_lengths_is_one_request() {
    let (done, bodies): (Sender<String>, Receiver<String>) = channel();
    let done = Mutex::new(done);
    let upstream = Upstream::start(move |received, stream| {
        assert!(
            received.has("transfer-encoding") != received.has("content-length"),
            "{received:?}"
        );
        let mut body = Vec::new();
        while !String::from_utf8_lossy(&body).contains("0\r\n\r\n") {
            let mut byte = [0; 1];
            if stream.read_exact(&mut byte).is_err() {
                break;
            }
            body.extend_from_slice(&byte);
        }
        let _ = done
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .send(String::from_utf8_lossy(&body).into_owned());
        write(stream, OK);
    });
    let home = home(&upstream, "");
    let dashboard = home.dashboard();
    let cookies = cookie_line(&signed_in(&dashboard, "ada"));
    let head = format!("POST /x HTTP/1.1\r\nHost: localhost\r\nCookie: {cookies}\r\n");
    let text = format!(
        "{head}Content-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: localhost\r\n\r\n"
    );
    let answer = read_until(&mut send(&dashboard, &text), "\r\n\r\n");
    match bodies.recv_timeout(SOON) {
        Ok(body) => assert!(
            answer.starts_with("HTTP/1.1 200") && body.ends_with("hi\r\n0\r\n\r\n"),
            "{answer} {body}"
        ),
        Err(_) => assert!(answer.starts_with("HTTP/1.1 400"), "{answer}"),
    }
    assert!(
        upstream
            .received()
            .iter()
            .all(|received| !received.line.contains("smuggled"))
    );

    for bad in [
        "X-A: 1\r\n folded: 2\r\n",
        "Content-Length: 1\r\nContent-Length: 2\r\n",
        "Transfer-Encoding: x\r\n",
    ] {
        let answer = read_until(
            &mut send(&dashboard, &format!("{head}{bad}\r\n")),
            "\r\n\r\n",
        );
        assert!(answer.starts_with("HTTP/1.1 400"), "{bad:?}: {answer}");
    }
}

#[test]
fn trace_of_the_client_passes_as_it_is_without_telemetry() {
    let upstream = Upstream::answering(OK);
    let home = home(&upstream, ", allow: public");
    let dashboard = home.dashboard();
    let parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    get(
        &dashboard.url("/"),
        &[("traceparent", parent), ("tracestate", "a=1")],
    );
    let received = upstream.last();
    assert_eq!(
        (received.all("traceparent"), received.all("tracestate")),
        (vec![parent], vec!["a=1"])
    );
    get(&dashboard.url("/"), &[]);
    assert!(!upstream.last().has("traceparent"));
}
