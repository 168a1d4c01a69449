//! What bystanders feel while eight of the worst providers are called without pause, after
//! `cargo build --release`: `cargo bench --package portcullis-tests --bench bystanders`.
//!
//! Fifty callers ask with a token that only the bad providers are asked about. Meanwhile host
//! routes and the callers of a good provider are timed from outside, all at once: before, until
//! every bad provider is in quarantine, and from two seconds after that. Printed, never asserted:
//! the machine is shared.

use portcullis_author::torture::ATTACKS;
use portcullis_tests::{Browser, DRAIN_SECRET, Home, Process, linked_guest};
use std::collections::BTreeSet;
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

/// What the bystanders ask for.
const KINDS: [&str; 5] = [
    "/healthz",
    "/api/status",
    "the drain",
    "a session",
    "good provider",
];
const BURN: &str =
    "GET /metrics HTTP/1.1\r\nHost: agent.test\r\nAuthorization: Bearer unknown-token\r\n\r\n";

fn main() {
    println!("{CALLERS} callers without pause; milliseconds p50 / p99 / longest (samples)");
    let names: String = KINDS.iter().map(|name| format!("{name:>34}")).collect();
    println!("{:<34}{names}", "");
    for (title, bad) in [("eight that burn", BURNING), ("eight that sleep", SLEEPING)] {
        run(title, bad);
    }
}

/// One request of each of [`KINDS`]. The last three show the drain secret, the cookies of a person
/// and a token that the good provider knows.
fn requests(cookie: &str) -> [String; KINDS.len()] {
    let get =
        |path: &str, more: &str| format!("GET {path} HTTP/1.1\r\nHost: agent.test\r\n{more}\r\n");
    [
        get("/healthz", ""),
        get("/api/status", ""),
        get(
            "/api/gateway/drain",
            &format!("Authorization: Bearer {DRAIN_SECRET}\r\n"),
        ),
        get("/api/auth/me", &format!("Cookie: {cookie}\r\n")),
        get("/api/auth/whoami", "Authorization: Bearer good-token\r\n"),
    ]
}

/// The cookies of a person who is signed in, as a browser sends them.
fn signed_in(dashboard: &Process) -> String {
    let mut browser = Browser::default();
    let password = r#"{"provider":"people","username":"ada","password":"good"}"#;
    let reply = browser.post(&dashboard.url("/auth/password-login"), password);
    assert_eq!(reply.status, 200, "{reply:?}");
    let pairs: Vec<_> = browser
        .cookies
        .iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    pairs.join("; ")
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
    let cookie = signed_in(&dashboard);
    let requests = requests(&cookie);
    let done = AtomicBool::new(false);
    let (phases, samples) = std::thread::scope(|scope| {
        let samplers = requests
            .each_ref()
            .map(|request| scope.spawn(|| sample(&dashboard, request, &done)));
        std::thread::park_timeout(QUIET);
        for _ in 0..CALLERS {
            scope.spawn(|| burn(&dashboard, &done));
        }
        let phases = go_through(&home);
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
fn go_through(home: &Home) -> Phases {
    let burn = Instant::now();
    let mut shut_out = BTreeSet::new();
    while shut_out.len() < BAD && burn.elapsed() < MOST {
        let quarantines = home
            .audit()
            .into_iter()
            .filter(|line| line["event"] == "provider_quarantined");
        shut_out.extend(quarantines.map(|line| line["provider"].to_string()));
        std::thread::park_timeout(Duration::from_millis(200));
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
        "dashboard:\n  public_url: http://agent.test\n  trusted_proxies: [127.0.0.0/8]\n  token_routes: [{{path: /metrics, scope: \
         metrics.read}}]\n  providers:\n    - {{name: people, component: {}}}\n    - {{name: good, component: {}}}\n",
        linked_guest("people").display(),
        linked_guest("known").display(),
    );
    for (index, name) in bad.into_iter().enumerate() {
        let attack = ATTACKS
            .iter()
            .find(|attack| attack.name == name)
            .expect("a hostile guest");
        fs::write(home.file(&format!("{name}.wasm")), attack.component)
            .expect("a file in the home");
        writeln!(text, "    - {{name: bad-{index}, component: {name}.wasm, grants: {{scopes: [metrics.read]}}}}").expect("a string");
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
        let status = connection.ask(request);
        assert!(status.contains(" 200 "), "{request}{status}");
        samples.push((start, start.elapsed()));
        std::thread::park_timeout(PAUSE);
    }
    samples
}

fn row(name: &str, samples: &[Vec<(Instant, Duration)>; KINDS.len()], from: Instant, to: Instant) {
    let cells: String = samples
        .iter()
        .map(|samples| format!("{:>34}", percentiles(samples, from, to)))
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
    let longest = times
        .last()
        .map_or(f64::NAN, |time| time.as_secs_f64() * 1e3);
    format!(
        "{:.3} / {:.3} / {longest:.1} ({})",
        at(50),
        at(99),
        times.len()
    )
}

struct Connection(BufReader<TcpStream>);

impl Connection {
    fn open(dashboard: &Process) -> Self {
        let stream =
            TcpStream::connect(("127.0.0.1", dashboard.port())).expect("the dashboard listens");
        stream.set_nodelay(true).expect("a socket option");
        Self(BufReader::new(stream))
    }

    /// Returns the status line, once the whole answer is there.
    fn ask(&mut self, request: &str) -> String {
        self.0
            .get_mut()
            .write_all(request.as_bytes())
            .expect("the dashboard reads");
        let mut status = String::new();
        self.0
            .read_line(&mut status)
            .expect("the dashboard answers");
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
        status
    }
}
