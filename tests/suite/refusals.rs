//! What a client reads of a request that cannot be read, or names no one path and host.

use portcullis_tests::{DRAIN_SECRET, Home, SOON};
use std::io::{Read, Write};
use std::net::TcpStream;

#[test]
fn each_refusal_says_what_is_wrong() {
    let home = Home::new();
    let secret = [("HERMES_DASHBOARD_DRAIN_SECRET", DRAIN_SECRET)];
    let dashboard = home.dashboard_with(&["--port", "0"], &secret);
    let chunked = format!(
        "POST /api/gateway/drain HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {DRAIN_SECRET}\r\n\
         Connection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
    );
    let path = "the target must be a path, or a URL of http or https";
    for (request, why) in [
        (format!("{chunked}no chunk\r\n"), "is not in chunks"),
        (format!("{chunked}2\r\n{{}}no end\r\n"), "is not in chunks"),
        (
            format!("{chunked}fffffffffffffffff\r\n"),
            "is not in chunks",
        ),
        (
            "GET http://other.test/x HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
                .to_owned(),
            "several hosts are named",
        ),
        (
            "GET / HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\nConnection: close\r\n\r\n"
                .to_owned(),
            "several hosts are named",
        ),
        (
            "GET * HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".to_owned(),
            path,
        ),
        (
            "OPTIONS * HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".to_owned(),
            path,
        ),
    ] {
        let mut stream =
            TcpStream::connect(("127.0.0.1", dashboard.port())).expect("the dashboard listens");
        stream.set_read_timeout(Some(SOON)).expect("a timeout");
        stream
            .write_all(request.as_bytes())
            .expect("the dashboard reads");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer");
        assert!(
            answer.starts_with("HTTP/1.1 400") && answer.contains(why),
            "{request}: {answer}"
        );
    }
}
