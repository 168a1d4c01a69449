//! What callers read when an application cannot answer.

use super::upstream::Upstream;
use super::{PLAIN, cookie_line, read_until, send};
use crate::people::{gated, signed_in};
use std::io::{Read, Write};
use std::net::TcpListener;

#[test]
fn failures_are_named() {
    let silent = Upstream::start(|_, stream| {
        let _ = stream.read(&mut [0; 1]);
    });
    let cut_off = Upstream::start(|_, _| {});
    let reads = Upstream::start(|_, stream| {
        let _ = stream.read_to_end(&mut Vec::new());
    });
    let plain = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let plain_port = plain.local_addr().expect("its address").port();
    std::thread::spawn(move || {
        for mut stream in plain.incoming().flatten() {
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n");
            let _ = stream.read_to_end(&mut Vec::new());
        }
    });
    let garbage = Upstream::answering("garbage\r\n\r\n");
    let free = TcpListener::bind("127.0.0.1:0")
        .and_then(|listener| listener.local_addr())
        .expect("a port")
        .port();
    let app = |name: &str, upstream: String, more: &str| {
        format!("    - {{name: {name}, path: /{name}, upstream: '{upstream}'{more}}}\n")
    };
    let http = |port: u16| format!("http://127.0.0.1:{port}");
    let apps = [
        app("silent", http(silent.port), ", limits: {idle_seconds: 1}"),
        app("reads", http(reads.port), ", limits: {body_mib: 1}"),
        app("cut-off", http(cut_off.port), ""),
        app("garbage", http(garbage.port), ""),
        app("closed", http(free), ""),
        app("unknown", "http://no-such-host.invalid".to_owned(), ""),
        app("no-tls", format!("https://127.0.0.1:{plain_port}"), ""),
        app("no-socket", "unix:/no/such/socket".to_owned(), ""),
    ];
    let home = gated(PLAIN, &format!("  apps:\n{}", apps.concat()));
    let dashboard = home.dashboard();
    let mut browser = signed_in(&dashboard, "ada");
    for (path, status, words) in [
        ("/silent", 504, "sent no complete head of an answer for 1 s"),
        ("/cut-off", 502, "closed the connection"),
        ("/garbage", 502, "not HTTP/1.1"),
        ("/closed", 502, "its connection is refused"),
        ("/unknown", 502, "is not found"),
        ("/no-tls", 502, "TLS with the application no-tls failed"),
        ("/no-socket", 502, "its socket does not exist"),
    ] {
        let reply = browser.get(&dashboard.url(path));
        let detail = reply.json()["detail"]
            .as_str()
            .unwrap_or_default()
            .to_owned();
        assert!(
            reply.status == status && detail.contains(words),
            "{path}: {reply:?}"
        );
        let page = browser.request("GET", &dashboard.url(path), &[("accept", "text/html")], "");
        assert!(
            page.status == status && page.body.contains(words),
            "{path}: {page:?}"
        );
    }
    assert_eq!(
        cut_off.received().len(),
        2,
        "a new connection that is closed is not tried again"
    );

    let large = "x".repeat((1 << 20) + 1);
    let head = format!(
        "POST /reads HTTP/1.1\r\nHost: localhost\r\nCookie: {}\r\n",
        cookie_line(&browser)
    );
    let announced = format!("{head}Content-Length: {}\r\n\r\n", large.len());
    let chunked = format!(
        "{head}Transfer-Encoding: chunked\r\n\r\n{:x}\r\n{large}\r\n0\r\n\r\n",
        large.len()
    );
    for text in [announced, chunked] {
        let refused = read_until(&mut send(&dashboard, &text), "\r\n\r\n");
        assert!(refused.starts_with("HTTP/1.1 413"), "{refused}");
    }
}
