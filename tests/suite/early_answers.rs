//! Answers before the end of a request's body reach the client, over HTTP/1.1 and HTTP/2.

use crate::tls::{TLS, put};
use portcullis_tests::{DRAIN_SECRET, Home, Process};
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
