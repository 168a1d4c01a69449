//! What bystanders feel while a provider burns or sleeps, after `cargo build --release`:
//! `cargo bench --package portcullis-tests --bench bystanders`.
//!
//! Fifty callers keep every slot of a bad provider taken; one that is told that it is full comes back a tenth of a
//! second after its call. Meanwhile, one after the other, host routes and the
//! callers of another provider are timed from outside. Printed, never asserted: the machine is shared.

use portcullis_tests::{Home, Process, guest};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

const CALLERS: usize = 50;
const SAMPLES: usize = 5_000;
const COME_BACK: Duration = Duration::from_millis(100);

fn main() {
    println!("{CALLERS} callers keep the bad provider busy; {SAMPLES} samples each; milliseconds p50 / p99");
    println!(
        "{:<34}{:>18}{:>18}{:>18}{:>18}",
        "", "/api/status", "/healthz", "refused drain", "other provider"
    );
    let quiet = measure(None);
    row("quiet", &quiet);
    for bad in ["loops", "sleeps"] {
        let busy = measure(Some(bad));
        row(bad, &busy);
        let ratios: Vec<_> = busy.iter().zip(&quiet).map(|(busy, quiet)| busy.1 / quiet.1).collect();
        let cells: String =
            ratios.iter().map(|ratio| format!("{:>18}", format!("{ratio:.1} x p99"))).collect();
        println!("{:<34}{cells}", format!("{bad}, against quiet"));
    }
}

fn row(name: &str, figures: &[(f64, f64)]) {
    let cells: String =
        figures.iter().map(|(p50, p99)| format!("{:>18}", format!("{p50:.3} / {p99:.3}"))).collect();
    println!("{name:<34}{cells}");
}

/// The bad provider guards `/readyz`, the good one `/metrics`: two dashboards would not share a runtime.
fn config(bad: &str) -> String {
    format!(
        "dashboard:\n  token_routes:\n    - {{path: /metrics, scope: good.read}}\n    - {{path: /readyz, scope: bad.read}}\n  \
         providers:\n    - {{name: good, component: {}, grants: {{scopes: [good.read, metrics.read]}}}}\n    \
         - {{name: bad, component: {}, grants: {{scopes: [bad.read]}}}}\n",
        guest("known").display(),
        guest(bad).display()
    )
}

fn measure(bad: Option<&str>) -> Vec<(f64, f64)> {
    let home = Home::with_config(&config(bad.unwrap_or("refuses")));
    let dashboard = home.dashboard();
    let done = AtomicBool::new(false);
    let calls = AtomicU64::new(0);
    std::thread::scope(|scope| {
        if bad.is_some() {
            for _ in 0..CALLERS {
                scope.spawn(|| burn(&dashboard, &done, &calls));
            }
            while calls.load(Ordering::Relaxed) < CALLERS as u64 {
                std::thread::yield_now();
            }
        }
        let drain = "GET /api/gateway/drain HTTP/1.1\r\nHost: localhost\r\nAuthorization: Basic x\r\n\r\n";
        let good = format!(
            "GET /api/auth/whoami HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {}\r\n\r\n",
            "good-token"
        );
        let figures = [
            "GET /api/status HTTP/1.1\r\nHost: localhost\r\n\r\n",
            "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n",
            drain,
            &good,
        ]
        .map(|request| percentiles(&dashboard, request));
        done.store(true, Ordering::Relaxed);
        figures.to_vec()
    })
}

/// One caller of the bad provider: the token is nobody's, so the bad one is asked after the good one.
fn burn(dashboard: &Process, done: &AtomicBool, calls: &AtomicU64) {
    let mut connection = Connection::open(dashboard);
    let request =
        "GET /readyz HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer nobody-knows-this\r\n\r\n";
    while !done.load(Ordering::Relaxed) {
        let start = Instant::now();
        calls.fetch_add(1, Ordering::Relaxed);
        connection.ask(request);
        std::thread::park_timeout(COME_BACK.saturating_sub(start.elapsed()));
    }
}

#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "figures for people"
)]
fn percentiles(dashboard: &Process, request: &str) -> (f64, f64) {
    let mut connection = Connection::open(dashboard);
    let mut times: Vec<Duration> = (0..SAMPLES)
        .map(|_| {
            let start = Instant::now();
            connection.ask(request);
            start.elapsed()
        })
        .collect();
    times.sort();
    let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize].as_secs_f64() * 1e3;
    (at(0.5), at(0.99))
}

struct Connection(BufReader<TcpStream>);

impl Connection {
    fn open(dashboard: &Process) -> Self {
        let stream = TcpStream::connect(("127.0.0.1", dashboard.port())).expect("the dashboard listens");
        stream.set_nodelay(true).expect("a socket option");
        Self(BufReader::new(stream))
    }

    fn ask(&mut self, request: &str) {
        self.0.get_mut().write_all(request.as_bytes()).expect("the dashboard reads");
        let mut length = 0;
        loop {
            let mut line = String::new();
            self.0.read_line(&mut line).expect("the dashboard answers");
            if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().expect("a length");
            }
            if line == "\r\n" {
                break;
            }
        }
        let mut body = vec![0; length];
        self.0.read_exact(&mut body).expect("the whole answer");
    }
}
