//! Applications that do what programs in the field do: they start anew, answer in odd forms, or say
//! nothing.

use super::hermes::hermes;
use super::upstream::{OK, Upstream, write};
use super::{PLAIN, cookie_line, home, open_socket, read_until, send};
use crate::people::signed_in;
use portcullis_tests::get;
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

#[test]
fn callers_that_only_post_or_open_sockets_get_the_token_of_a_restarted_application() {
    let token = Arc::new(Mutex::new("the-first-token"));
    let restart = |next| *token.lock().unwrap_or_else(PoisonError::into_inner) = next;
    let upstream = hermes(&token);
    let home = home(&upstream, ", preset: hermes");
    let dashboard = home.dashboard();
    let mut browser = signed_in(&dashboard, "ada");
    let cookies = cookie_line(&browser);
    assert_eq!(browser.post(&dashboard.url("/api/x"), "").status, 200);

    restart("the-second-token");
    let refused = browser.post(&dashboard.url("/api/x"), "").status;
    assert_eq!(refused, 401, "a POST is not repeated");
    assert_eq!(browser.post(&dashboard.url("/api/x"), "").status, 200);

    restart("the-third-token");
    let mut socket = open_socket(&dashboard, "/api/ws?token=stale", &cookies, PLAIN);
    let head = read_until(&mut socket, "\r\n\r\n");
    assert!(head.starts_with("HTTP/1.1 101"), "{head}");

    let pages = || {
        let received = upstream.received().into_iter();
        received.filter(|received| received.line == "GET /").count()
    };
    assert_eq!(pages(), 3, "one page for each token");
    // An application that refuses every token is not read for each of its refusals.
    for _ in 0..20 {
        assert_eq!(browser.get(&dashboard.url("/api/refused")).status, 401);
    }
    assert!(pages() < 20, "{} pages", pages());
}

#[test]
fn no_header_of_the_x_auth_family_comes_from_outside() {
    let upstream = Upstream::answering(OK);
    let home = home(
        &upstream,
        ", allow: public, headers: {X-Auth-Key: 'of-the-operator'}",
    );
    let dashboard = home.dashboard();
    let names = [
        "x-auth-role",
        "X-Auth-Username",
        "x_auth_admin",
        "x.auth.subject",
        "x-auth_user",
        "x-auth-key",
        "x_auth_key",
        "x-auth",
        "x_auth",
    ];
    let outside: Vec<_> = names.iter().map(|name| (*name, "eve")).collect();
    let others = [("x-authentic", "stays")];
    let headers = [&outside[..], &others[..]].concat();
    assert_eq!(get(&dashboard.url("/"), &headers).status, 200);

    let received = upstream.last();
    assert_eq!(received.all("x-auth-key"), ["of-the-operator"]);
    assert_eq!(received.all("x-authentic"), ["stays"]);
    assert!(
        !received.headers.iter().any(|(_, value)| value == "eve"),
        "{received:?}"
    );
}

#[test]
fn change_to_another_protocol_opens_no_web_socket() {
    for upgrade in [
        "Upgrade: h2c\r\n",
        "Upgrade: websocket, h2c\r\n",
        "Upgrade: websocket\r\nUpgrade: h2c\r\n",
        "",
    ] {
        let upstream = Upstream::start(move |_, stream| {
            let head = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n";
            write(
                stream,
                &format!("{head}{upgrade}Sec-WebSocket-Accept: x\r\n\r\n"),
            );
        });
        let home = home(&upstream, ", allow: public");
        let dashboard = home.dashboard();
        let mut socket = open_socket(&dashboard, "/ws", "", PLAIN);
        let answer = read_until(&mut socket, "asked for");
        assert!(answer.starts_with("HTTP/1.1 502"), "{upgrade:?}: {answer}");
        assert!(answer.contains("did not open the web socket"), "{answer}");
    }
}

#[test]
fn page_with_the_token_reaches_no_stranger_whatever_its_type_says() {
    for kind in [
        "Content-Type: TEXT/HTML\r\n",
        "Content-Type: application/xhtml+xml\r\n",
        "Content-Type: text/plain\r\nContent-Type: text/html\r\n",
        "Content-Type: image/svg+xml\r\n",
        "Content-Type:\r\n",
        "",
    ] {
        let upstream = Upstream::start(move |_, stream| {
            let page = "<script>window.__HERMES_SESSION_TOKEN__=\"the-token\";</script>";
            let head = format!(
                "HTTP/1.1 200 OK\r\n{kind}Content-Length: {}\r\n",
                page.len()
            );
            write(stream, &format!("{head}Connection: close\r\n\r\n{page}"));
        });
        let home = home(&upstream, ", preset: hermes, public_paths: [/hook]");
        let dashboard = home.dashboard();
        for path in ["/hook", "/api/mcp/oauth/callback/a", "/assets/none.js"] {
            let reply = get(&dashboard.url(path), &[("accept-encoding", "gzip")]);
            assert_eq!(reply.status, 404, "{kind:?} {path}: {reply:?}");
            assert!(!reply.body.contains("the-token"), "{reply:?}");
        }
    }
}

#[test]
fn gateway_of_another_home_is_named_once_and_not_drained() {
    let upstream = Upstream::start(|_, stream| {
        let body = r#"{"gateway_running":true,"hostname":"box","nested":{"pid":7}}"#;
        let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n";
        write(
            stream,
            &format!("{head}Content-Length: {}\r\n\r\n{body}", body.len()),
        );
    });
    let home = home(&upstream, ", preset: hermes");
    let dashboard = home.dashboard();
    for _ in 0..3 {
        let status = get(&dashboard.url("/api/status?profile=work"), &[]).json();
        for (key, expected) in [
            ("gateway_running", json!(true)),
            ("drained", json!(false)),
            ("quiesced", json!(false)),
            ("hostname", Value::Null),
            ("nested", Value::Null),
        ] {
            assert_eq!(status[key], expected, "{key}: {status}");
        }
        assert_eq!(upstream.last().line, "GET /api/status?profile=work");
    }
    let warning = "both must have the same home";
    assert_eq!(dashboard.log().matches(warning).count(), 1);
}

#[test]
fn bodies_have_no_transfer_coding_but_chunked() {
    let upstream = Upstream::answering(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\nConnection: close\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    );
    let home = home(&upstream, ", allow: public");
    let dashboard = home.dashboard();
    let reply = get(&dashboard.url("/"), &[]);
    assert_eq!(reply.status, 502, "{reply:?}");
    assert!(reply.body.contains("Transfer-Encoding"), "{reply:?}");

    let before = upstream.received().len();
    for codings in ["gzip, chunked", "chunked\r\nTransfer-Encoding: chunked"] {
        let head = "POST / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nTransfer-Encoding";
        let text = format!("{head}: {codings}\r\n\r\n1\r\na\r\n0\r\n\r\n");
        let answer = read_until(&mut send(&dashboard, &text), "chunked");
        assert!(answer.starts_with("HTTP/1.1 501"), "{codings}: {answer}");
    }
    assert_eq!(upstream.received().len(), before);
}

#[test]
fn failures_name_the_side_that_failed() {
    let reads = Upstream::start(|_, stream| {
        let _ = stream.read_to_end(&mut Vec::new());
    });
    let home_of_silent = home(&reads, ", allow: public, limits: {idle_seconds: 1}");
    let dashboard = home_of_silent.dashboard();
    let head = "POST /x HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n";
    let stalled = format!("{head}Content-Length: 10\r\n\r\nhello");
    let answer = read_until(&mut send(&dashboard, &stalled), "1 s");
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
    assert!(answer.contains("The client sent nothing more"), "{answer}");
    let whole = format!("{head}Content-Length: 5\r\n\r\nhello");
    let answer = read_until(&mut send(&dashboard, &whole), "1 s");
    assert!(answer.starts_with("HTTP/1.1 504"), "{answer}");

    let many = Upstream::start(|_, stream| {
        let lines = "X: y\r\n".repeat(101);
        write(
            stream,
            &format!("HTTP/1.1 200 OK\r\n{lines}Content-Length: 0\r\n\r\n"),
        );
    });
    let home_of_many = home(&many, ", allow: public");
    let reply = get(&home_of_many.dashboard().url("/"), &[]);
    assert_eq!(reply.status, 502, "{reply:?}");
    assert!(reply.body.contains("more than 100 lines"), "{reply:?}");
}

#[test]
fn request_that_comes_back_to_the_dashboard_is_a_loop() {
    let port = Arc::new(AtomicU16::new(0));
    let known = port.clone();
    // What stands at the upstream leads to the dashboard itself.
    let upstream = Upstream::start(move |received, stream| {
        let hops = received.all("x-portcullis-hop").join(", ");
        let request = format!(
            "{} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nX-Portcullis-Hop: {hops}\r\n\r\n",
            received.line
        );
        let onward = TcpStream::connect(("127.0.0.1", known.load(Ordering::Relaxed)));
        let mut onward = onward.expect("the dashboard listens");
        let _ = onward.write_all(request.as_bytes());
        let mut answer = String::new();
        let _ = onward.read_to_string(&mut answer);
        write(stream, &answer);
    });
    let home = home(&upstream, "");
    let dashboard = home.dashboard();
    port.store(dashboard.port(), Ordering::Relaxed);
    let mut browser = signed_in(&dashboard, "ada");
    let page = [
        ("accept", "text/html"),
        ("x-portcullis-hop", "another-dashboard"),
    ];
    let reply = browser.request("GET", &dashboard.url("/page"), &page, "");
    assert_eq!(reply.status, 508, "{reply:?}");
    assert!(
        reply.body.contains("came back to this dashboard"),
        "{reply:?}"
    );
    assert_eq!(upstream.received().len(), 1);
}
