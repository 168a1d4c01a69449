//! Tests whether the time of a refused sign-in reveals which users and providers exist. Welch's t
//! between the three refusals, over 2,000 samples each, interleaved: below 4.5 there is nothing to
//! see (as in TVLA, Goodwill et al., 2011).
//!
//! `cargo bench --package portcullis-tests --bench sign_in_timing [-- --samples 2000]`

use portcullis_tests::Home;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::Instant;

const ATTEMPTS: [(&str, &str, &str); 3] = [
    ("unknown user", "basic", "none"),
    ("wrong password", "basic", "user"),
    ("unknown provider", "nope", "user"),
];

fn main() {
    let samples = samples();
    let users = users(&hash_of("lovelace"));
    let home = Home::with_config(&format!(
        "dashboard:\n  public_url: http://agent.test\n  trusted_proxies: [127.0.0.0/8]\n  providers:\n    - name: basic\n      \
         component: builtin:basic\n      config: {{secret: 9f3c1b7e2d8a4650c1e7b93f60d2a548, users: \
         {users}}}\n      grants: {{keyvalue: true}}\n      limits: {{deadline_ms: 10000}}\n"
    ));
    let dashboard = home.dashboard();
    let mut connection =
        BufReader::new(TcpStream::connect(("127.0.0.1", dashboard.port())).expect("a connection"));
    let mut times: [Vec<f64>; 3] = Default::default();
    // The first ones are not counted.
    for round in 0..samples + 20 {
        for offset in 0..3 {
            // In another order each round: what drifts drifts for all.
            let kind = (round + offset) % 3;
            let seconds = attempt(&mut connection, round * 3 + offset, ATTEMPTS[kind]);
            if round >= 20 {
                times[kind].push(seconds * 1e3);
            }
        }
    }
    println!("{samples} samples each, ms");
    for ((name, ..), times) in ATTEMPTS.iter().zip(&times) {
        let (mean, variance) = moments(times);
        println!(
            "{name:17} mean {mean:.3}, standard deviation {:.3}",
            variance.sqrt()
        );
    }
    let mut worst: f64 = 0.0;
    for (one, other) in [(0, 1), (0, 2), (1, 2)] {
        let t = welch(&times[one], &times[other]);
        worst = worst.max(t.abs());
        println!(
            "Welch's t, {} / {}: {t:.2}",
            ATTEMPTS[one].0, ATTEMPTS[other].0
        );
    }
    println!(
        "largest |t|: {worst:.2} ({})",
        if worst < 4.5 {
            "nothing to see"
        } else {
            "IT TELLS"
        }
    );
}

fn samples() -> usize {
    let mut arguments = std::env::args()
        .skip_while(|argument| argument != "--samples")
        .skip(1);
    arguments
        .next()
        .and_then(|number| number.parse().ok())
        .unwrap_or(2_000)
}

fn hash_of(password: &str) -> String {
    use std::process::{Command, Stdio};
    let mut child = Command::new(portcullis_tests::binary())
        .args(["provider", "hash-password"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the binary starts");
    child
        .stdin
        .take()
        .expect("piped")
        .write_all(password.as_bytes())
        .expect("it reads");
    let output = child.wait_with_output().expect("it ends");
    String::from_utf8(output.stdout)
        .expect("text")
        .trim()
        .to_owned()
}

/// Enough users that ten wrong passwords at each suffice, which the throttle permits.
const USERS: usize = 250;

fn users(hash: &str) -> String {
    let user = |number| format!("{{username: user-{number}, password_hash: \"{hash}\"}}");
    format!("[{}]", (0..USERS).map(user).collect::<Vec<_>>().join(", "))
}

/// Each from an address of its own.
fn attempt(
    connection: &mut BufReader<TcpStream>,
    number: usize,
    (_, provider, user): (&str, &str, &str),
) -> f64 {
    // Known users take turns; unknown ones are new each time.
    let user = format!(
        "{user}-{}",
        if user == "user" {
            number / 3 % USERS
        } else {
            number
        }
    );
    let body =
        format!(r#"{{"provider":"{provider}","username":"{user}","password":"not-the-one"}}"#);
    let address = format!(
        "10.{}.{}.{}",
        number >> 16 & 255,
        number >> 8 & 255,
        number & 255
    );
    let request = format!(
        "POST /auth/password-login HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n\
         X-Forwarded-For: {address}\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let start = Instant::now();
    connection
        .get_mut()
        .write_all(request.as_bytes())
        .expect("it is sent");
    let (mut line, mut length) = (String::new(), 0);
    loop {
        line.clear();
        connection.read_line(&mut line).expect("an answer");
        if let Some(value) = line.strip_prefix("content-length: ") {
            length = value.trim().parse().expect("a number");
        }
        assert!(
            !line.starts_with("HTTP/1.1 429"),
            "the throttle is in the way"
        );
        if line == "\r\n" {
            break;
        }
    }
    let mut body = vec![0; length];
    connection.read_exact(&mut body).expect("the body");
    start.elapsed().as_secs_f64()
}

#[expect(clippy::cast_precision_loss, reason = "some thousands")]
fn moments(times: &[f64]) -> (f64, f64) {
    let mean = times.iter().sum::<f64>() / times.len() as f64;
    let squares: f64 = times.iter().map(|time| (time - mean).powi(2)).sum();
    (mean, squares / (times.len() - 1) as f64)
}

#[expect(clippy::cast_precision_loss, reason = "some thousands")]
fn welch(one: &[f64], other: &[f64]) -> f64 {
    let ((mean, variance), (mean_2, variance_2)) = (moments(one), moments(other));
    (mean - mean_2) / (variance / one.len() as f64 + variance_2 / other.len() as f64).sqrt()
}
