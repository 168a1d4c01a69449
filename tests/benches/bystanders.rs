//! What bystanders feel while eight of the worst providers are called without pause, after
//! `cargo build --release`: `cargo bench --package portcullis-tests --bench bystanders`.
//!
//! Fifty callers ask with a token that only the bad providers are asked about. Meanwhile host
//! routes and the callers of a good provider are timed from outside, all at once: before, until
//! every bad provider is in quarantine, and from two seconds after that. Printed, never asserted:
//! the machine is shared.

use portcullis_author::torture::ATTACKS;
use portcullis_tests::{Home, Process, get, linked_guest};
use std::fmt::Write as _;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

const CALLERS: usize = 50;
const BAD: usize = 8;
/// Between two samples of one kind: bystanders, not a load.
const PAUSE: Duration = Duration::from_millis(1);
const QUIET: Duration = Duration::from_secs(5);
const SETTLE: Duration = Duration::from_secs(2);
const AFTER: Duration = Duration::from_secs(6);
const MOST: Duration = Duration::from_secs(60);

const BURNING: [&str; BAD] = [
    "loops_for_ever",
    "nan_flood",
    "polls_busily",
    "floods_stdout",
    "floods_the_log",
    "reads_the_clock",
    "loops_in_realloc",
    "grows_by_pages",
];
const SLEEPING: [&str; BAD] = ["sleeps_in_poll"; BAD];

const REQUESTS: [(&str, &str); 4] = [
    (
        "/api/status",
        "GET /api/status HTTP/1.1\r\nHost: localhost\r\n\r\n",
    ),
    (
        "/healthz",
        "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n",
    ),
    (
        "refused drain",
        "POST /api/gateway/drain HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\nAuthorization: Basic x\r\n\r\n",
    ),
    (
        "good provider",
        "GET /api/auth/whoami HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer good-token\r\n\r\n",
    ),
];
const BURN: &str =
    "GET /metrics HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer unknown-token\r\n\r\n";

fn main() {
    println!("{CALLERS} callers without pause; milliseconds p50 / p99 (samples)");
    let names: String = REQUESTS
        .iter()
        .map(|(name, _)| format!("{name:>26}"))
        .collect();
    println!("{:<34}{names}", "");
    for (title, bad) in [("eight that burn", BURNING), ("eight that sleep", SLEEPING)] {
        run(title, bad);
    }
}

/// When the phases of a run began and ended.
struct Phases {
    burn: Instant,
    quarantined: Instant,
    end: Instant,
}

fn run(title: &str, bad: [&str; BAD]) {
    let home = Home::new();
    home.write("portcullis.yaml", &config(&home, bad));
    let dashboard = home.dashboard();
    let done = AtomicBool::new(false);
    let (phases, samples) = std::thread::scope(|scope| {
        let samplers =
            REQUESTS.map(|(_, request)| scope.spawn(|| sample(&dashboard, request, &done)));
        std::thread::park_timeout(QUIET);
        for _ in 0..CALLERS {
            scope.spawn(|| burn(&dashboard, &done));
        }
        let phases = go_through(&dashboard);
        done.store(true, Ordering::Relaxed);
        (
            phases,
            samplers.map(|sampler| sampler.join().expect("a sampler")),
        )
    });
    let Phases {
        burn,
        quarantined,
        end,
    } = phases;
    let start = burn - QUIET;
    row(&format!("{title}: quiet"), &samples, start, burn);
    let took = (quarantined - burn).as_secs_f64();
    row(
        &format!("{title}: {took:.1} s to quarantine"),
        &samples,
        burn,
        quarantined,
    );
    row(
        &format!("{title}: from 2 s after"),
        &samples,
        quarantined + SETTLE,
        end,
    );
}

/// Burns until every bad provider has been shut out once, and for a while after.
fn go_through(dashboard: &Process) -> Phases {
    let burn = Instant::now();
    let mut shut_out = [false; BAD];
    while shut_out.contains(&false) && burn.elapsed() < MOST {
        let ready = get(&dashboard.url("/readyz"), &[]).json();
        for (index, shut) in shut_out.iter_mut().enumerate() {
            // The good one stands first.
            *shut |= ready["providers"]["detail"][index + 1]["health"]["state"] == "quarantined";
        }
        std::thread::park_timeout(Duration::from_millis(50));
    }
    let quarantined = Instant::now();
    std::thread::park_timeout(SETTLE + AFTER);
    Phases {
        burn,
        quarantined,
        end: Instant::now(),
    }
}

fn config(home: &Home, bad: [&str; BAD]) -> String {
    let mut text = format!(
        "dashboard:\n  token_routes: [{{path: /metrics, scope: metrics.read}}]\n  providers:\n    - {{name: good, component: {}}}\n",
        linked_guest("known").display()
    );
    for (index, name) in bad.into_iter().enumerate() {
        let attack = ATTACKS
            .iter()
            .find(|attack| attack.name == name)
            .expect("a hostile guest");
        fs::write(home.file(&format!("{name}.wasm")), attack.component)
            .expect("a file in the home");
        writeln!(text, "    - {{name: bad-{index}, component: {name}.wasm}}").expect("a string");
    }
    text
}

fn burn(dashboard: &Process, done: &AtomicBool) {
    let mut connection = Connection::open(dashboard);
    while !done.load(Ordering::Relaxed) {
        let start = Instant::now();
        connection.ask(BURN);
        // One that is refused at once asks again soon, ten times sooner than `Retry-After` says.
        std::thread::park_timeout(Duration::from_millis(100).saturating_sub(start.elapsed()));
    }
}

fn sample(dashboard: &Process, request: &str, done: &AtomicBool) -> Vec<(Instant, Duration)> {
    let mut connection = Connection::open(dashboard);
    let mut samples = Vec::new();
    while !done.load(Ordering::Relaxed) {
        let start = Instant::now();
        connection.ask(request);
        samples.push((start, start.elapsed()));
        std::thread::park_timeout(PAUSE);
    }
    samples
}

fn row(name: &str, samples: &[Vec<(Instant, Duration)>; 4], from: Instant, to: Instant) {
    let cells: String = samples
        .iter()
        .map(|samples| format!("{:>26}", percentiles(samples, from, to)))
        .collect();
    println!("{name:<34}{cells}");
}

fn percentiles(samples: &[(Instant, Duration)], from: Instant, to: Instant) -> String {
    let mut times: Vec<_> = samples
        .iter()
        .filter(|(start, _)| (from..to).contains(start))
        .map(|(_, time)| *time)
        .collect();
    times.sort_unstable();
    let at = |percent: usize| {
        times
            .get(times.len() * percent / 100)
            .map_or(f64::NAN, |time| time.as_secs_f64() * 1e3)
    };
    format!("{:.3} / {:.3} ({})", at(50), at(99), times.len())
}

struct Connection(BufReader<TcpStream>);

impl Connection {
    fn open(dashboard: &Process) -> Self {
        let stream =
            TcpStream::connect(("127.0.0.1", dashboard.port())).expect("the dashboard listens");
        stream.set_nodelay(true).expect("a socket option");
        Self(BufReader::new(stream))
    }

    fn ask(&mut self, request: &str) {
        self.0
            .get_mut()
            .write_all(request.as_bytes())
            .expect("the dashboard reads");
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
