//! Answers before the end of a request's body reach the client, over HTTP/1.1 and HTTP/2.

use crate::tls::{TLS, put};
use portcullis_tests::{DRAIN_SECRET, Home, Process, SOON};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;

/// Requests per size of body. Where the rest of a body is not read, more than half of the answers
/// over HTTP/2 are lost.
const ROUNDS: usize = 10;
/// Bytes of a body: one frame, several, more than a stream's window, and more than a route reads.
const BODIES: [usize; 4] = [18, 3_000, 70_000, 3_000_000];

fn start(home: &Home) -> Process {
    let secret = [("HERMES_DASHBOARD_DRAIN_SECRET", DRAIN_SECRET)];
    home.dashboard_with(&["--port", "0"], &secret)
}

/// Posts a file with curl: the status, and what curl complains of.
fn curl(dashboard: &Process, protocol: &str, bearer: &str, body: &Path) -> (String, String) {
    let authority = Path::new(env!("CARGO_MANIFEST_DIR")).join("certificates/authority.pem");
    let output = Command::new("curl")
        .args(["--silent", "--show-error", "--max-time", "20", protocol])
        .args([
            "--resolve",
            &format!("localhost:{}:127.0.0.1", dashboard.port()),
        ])
        .arg("--cacert")
        .arg(authority)
        .args(["--output", "/dev/null", "--write-out", "%{http_code}"])
        .args(["--header", &format!("Authorization: Bearer {bearer}")])
        .arg("--data-binary")
        .arg(format!("@{}", body.display()))
        .arg(format!(
            "https://localhost:{}/api/gateway/drain",
            dashboard.port()
        ))
        .output()
        .expect("curl is installed");

    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    (text(&output.stdout), text(&output.stderr))
}

#[test]
fn every_refusal_reaches_a_client_that_still_sends() {
    let home = Home::with_config(&format!("dashboard:\n{TLS}"));
    put(&home, "good.pem", "server.key");
    let dashboard = start(&home);

    for length in BODIES {
        home.write("body", &"x".repeat(length));
        for protocol in ["--http1.1", "--http2"] {
            for round in 0..ROUNDS {
                let answer = curl(&dashboard, protocol, "wrong", &home.file("body"));
                assert_eq!(
                    answer,
                    ("401".to_owned(), String::new()),
                    "{protocol}, {length} bytes, round {round}"
                );
            }
        }
    }
}

#[test]
fn body_beyond_the_limit_of_a_route_is_answered_with_413() {
    let home = Home::with_config(&format!("dashboard:\n{TLS}"));
    put(&home, "good.pem", "server.key");
    let dashboard = start(&home);
    home.write("body", &"x".repeat(3_000_000));

    for protocol in ["--http1.1", "--http2"] {
        for _ in 0..ROUNDS {
            let (status, complaint) = curl(&dashboard, protocol, DRAIN_SECRET, &home.file("body"));
            assert_eq!(status, "413", "{protocol}: {complaint}");
        }
    }
}

/// Sends text over a socket, and reads up to the end of the answer's head.
fn head_of_answer(stream: &mut TcpStream, request: &str) -> String {
    stream.set_read_timeout(Some(SOON)).expect("a timeout");
    stream.write_all(request.as_bytes()).expect("it is sent");
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).expect("a head");
        head.extend(byte);
    }
    String::from_utf8(head).expect("text").to_lowercase()
}

/// The length of the body behind a head, from its field.
fn length_of(head: &str) -> usize {
    let (_, rest) = head.split_once("content-length: ").expect("a length");
    let (length, _) = rest.split_once("\r\n").expect("the end of a line");
    length.parse().expect("a number")
}

fn post(dashboard: &Process, bearer: &str, fields: &str) -> String {
    let port = dashboard.port();
    format!(
        "POST /api/gateway/drain HTTP/1.1\r\nhost: localhost:{port}\r\nauthorization: Bearer {bearer}\r\n\
         content-type: application/json\r\n{fields}\r\n"
    )
}

#[test]
fn answer_that_leaves_a_long_body_says_that_the_connection_ends() {
    let home = Home::new();
    let dashboard = start(&home);
    let connect = || TcpStream::connect(("127.0.0.1", dashboard.port())).expect("it listens");
    let long = "content-length: 3000000\r\n";
    let more = "x".repeat(200_000);
    for (bearer, fields, begun, status) in [
        ("wrong", long, "{", " 401 "),
        (
            "wrong",
            "transfer-encoding: chunked\r\n",
            "1\r\n{\r\n",
            " 401 ",
        ),
        // The client sends nothing before it is asked to, which it never is.
        (
            "wrong",
            "content-length: 18\r\nexpect: 100-continue\r\n",
            "",
            " 401 ",
        ),
        // More than the route reads.
        (DRAIN_SECRET, long, more.as_str(), " 413 "),
    ] {
        let mut stream = connect();
        let head = head_of_answer(&mut stream, &(post(&dashboard, bearer, fields) + begun));
        assert!(head.contains(status), "{fields}: {head}");
        assert!(
            head.contains("\r\nconnection: close\r\n"),
            "{fields}: {head}"
        );

        // No further request is answered.
        let mut body = vec![0; length_of(&head)];
        stream.read_exact(&mut body).expect("the body");
        assert_eq!(stream.read(&mut [0]).expect("the end"), 0, "{fields}");
    }
}

#[test]
fn connection_outlives_the_refusal_of_a_short_body() {
    let home = Home::new();
    let dashboard = start(&home);
    let mut stream = TcpStream::connect(("127.0.0.1", dashboard.port())).expect("it listens");
    let body = "x".repeat(18);
    let request = post(&dashboard, "wrong", "content-length: 18\r\n") + &body;
    for round in 0..3 {
        let head = head_of_answer(&mut stream, &request);
        assert!(head.contains(" 401 "), "round {round}: {head}");
        assert!(!head.contains("connection: close"), "round {round}: {head}");
        let mut body = vec![0; length_of(&head)];
        stream.read_exact(&mut body).expect("the body");
    }
}
