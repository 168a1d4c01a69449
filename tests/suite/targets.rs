//! Which targets of a request are answered, over HTTP/1.1.

use portcullis_tests::{Home, Process, SOON};
use std::io::{Read, Write};
use std::net::TcpStream;

fn status(dashboard: &Process, line: &[u8], host: &str) -> u16 {
    let mut stream = TcpStream::connect(("127.0.0.1", dashboard.port())).expect("it listens");
    stream.set_read_timeout(Some(SOON)).expect("a timeout");
    let headers = format!(" HTTP/1.1\r\n{host}Connection: close\r\n\r\n");
    stream
        .write_all(&[line, headers.as_bytes()].concat())
        .expect("it reads");
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    let answer = String::from_utf8_lossy(&answer);
    answer
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok())
        .unwrap_or_default()
}

#[test]
fn target_is_a_path_or_a_url_of_the_named_host() {
    let dashboard = Home::new().dashboard();
    let local = "Host: localhost\r\n";
    for (line, host, expected) in [
        ("GET /healthz", local, 200),
        ("GET http://localhost/healthz", local, 200),
        ("GET HTTP://localhost/healthz", local, 200),
        ("GET https://localhost/login", local, 200),
        ("GET http://localhost/healthz", "Host: 127.0.0.1\r\n", 400),
        ("GET http://evil.test/login", local, 400),
        ("GET http://evil.test/login", "Host: evil.test\r\n", 400),
        ("GET ftp://localhost/healthz", local, 400),
        ("GET localhost:80", local, 400),
        ("CONNECT localhost:80", local, 501),
    ] {
        assert_eq!(
            status(&dashboard, line.as_bytes(), host),
            expected,
            "{line} {host}"
        );
    }
}

#[test]
fn target_that_is_read_in_two_ways_is_refused() {
    let dashboard = Home::new().dashboard();
    for target in [
        &b"/a%2fb"[..],
        b"/a/%2e%2e/b",
        b"/a/..;/b",
        b"/a/..%3f",
        b"/caf\xc3\xa9",
        b"/healthz?\xc3\xa9",
        b"/100%",
        b"/a%zz",
        b"/%c0%aeadmin",
    ] {
        let line = [&b"GET "[..], target].concat();
        assert_eq!(
            status(&dashboard, &line, "Host: localhost\r\n"),
            400,
            "{}",
            target.escape_ascii()
        );
    }
}
