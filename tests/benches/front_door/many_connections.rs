//! Many connections that do nothing: what each costs in memory, and what `/healthz` takes
//! meanwhile.

use super::child::{Child, Role};
use super::figures::{percentile_ms, table};
use super::holder::{Held, Kind, Plan};
use super::process::{open_files, resident_bytes};
use portcullis_tests::{Home, Process};
use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::thread::park_timeout;
use std::time::{Duration, Instant};

/// Connections without a request in flight.
const IDLE: usize = 10_000;
/// Web sockets to applications.
const SOCKETS: usize = 2_000;
/// An application has at most 512 requests and sockets in flight.
const APPS: usize = 5;
/// Addresses that the connections come from.
const SOURCES: usize = 200;
/// Connections for the probe.
const SPARE: usize = 16;
/// The dashboard gives half of the files that it may open to connections.
const FILES_PER_CONNECTION: usize = 2;
/// How long `/healthz` is asked.
const PROBES: Duration = Duration::from_secs(10);
/// Between two requests of the probe.
const PAUSE: Duration = Duration::from_millis(2);
/// What opening has left to do is done after this time.
const SETTLES: Duration = Duration::from_secs(2);
/// The goals.
const MOST_KIB: f64 = 24.0;
const MOST_P99_MS: f64 = 5.0;

/// How many connections the limits of this machine allow.
#[derive(Clone, Copy, Debug)]
struct Counts {
    idle: usize,
    sockets: usize,
}

impl Counts {
    /// All of them, or as many of both kinds as a process may open files for.
    fn within(open_files: Option<usize>) -> Self {
        let wanted = IDLE + SOCKETS;
        let room = open_files.map_or(usize::MAX, |limit| {
            (limit / FILES_PER_CONNECTION).saturating_sub(SPARE)
        });
        let share = |count: usize| {
            if room < wanted {
                count * room / wanted
            } else {
                count
            }
        };
        Self {
            idle: share(IDLE),
            sockets: share(SOCKETS),
        }
    }

    fn is_all(self) -> bool {
        self.idle == IDLE && self.sockets == SOCKETS
    }
}

/// Memory and probes at one moment.
struct Moment {
    resident: u64,
    /// Sorted.
    probes: Vec<Duration>,
}

impl Moment {
    fn of(dashboard: &Process) -> Self {
        park_timeout(SETTLES);
        let resident = resident_bytes(dashboard.pid());
        Self {
            resident,
            probes: probe(dashboard),
        }
    }

    fn row(&self, name: &str) -> [String; 4] {
        let ms = |percent| format!("{:.2}", percentile_ms(&self.probes, percent));
        [
            name.to_owned(),
            format!("{:.1}", self.resident as f64 / f64::from(1 << 20)),
            ms(50),
            ms(99),
        ]
    }
}

/// The figures.
pub(crate) fn measure() -> String {
    let counts = Counts::within(open_files());
    let mut upstream = Child::start(Role::Upstream, &());
    let app: u16 = upstream.read();
    let home = home(app, counts);
    let dashboard = home.dashboard();
    let quiet = Moment::of(&dashboard);

    eprintln!("opening {} connections", counts.idle);
    let (mut idle, idle_held) = hold(&dashboard, counts.idle, Kind::Idle);
    let with_idle = Moment::of(&dashboard);

    eprintln!("opening {} web sockets", counts.sockets);
    let (mut sockets, sockets_held) = hold(&dashboard, counts.sockets, Kind::Socket { apps: APPS });
    let with_both = Moment::of(&dashboard);

    let still = [&mut idle, &mut sockets].map(|child| {
        child.dismiss();
        child.read::<Held>().open
    });
    let mut text = limits(counts);
    let _ = writeln!(
        text,
        "{} idle connections after one request each, {} still open at the end; {} web sockets through the dashboard to an \
         application, {} still open.\n",
        idle_held.opened, still[0], sockets_held.opened, still[1]
    );
    let rows = [
        quiet.row("none"),
        with_idle.row("the idle connections"),
        with_both.row("the idle connections and the web sockets"),
    ];
    text.push_str(&table(
        ["open", "memory MiB", "`/healthz` p50 ms", "p99 ms"],
        rows,
    ));
    let idle_kib = growth_kib(&quiet, &with_idle, idle_held.opened);
    let socket_kib = growth_kib(&with_idle, &with_both, sockets_held.opened);
    let p99_ms = percentile_ms(&with_both.probes, 99);
    let goals = [
        [
            "KiB per idle connection".to_owned(),
            format!("{idle_kib:.1}"),
            format!("under {MOST_KIB}"),
        ],
        [
            "KiB per web socket".to_owned(),
            format!("{socket_kib:.1}"),
            format!("under {MOST_KIB}"),
        ],
        [
            "`/healthz` p99 ms with all open".to_owned(),
            format!("{p99_ms:.2}"),
            format!("under {MOST_P99_MS}"),
        ],
    ];
    let _ = write!(text, "\n{}", table(["", "here", "goal"], goals));
    text
}

/// A sentence, if the machine allows less than all of the connections.
fn limits(counts: Counts) -> String {
    match open_files() {
        Some(limit) if !counts.is_all() => format!(
            "**Scaled down**: {IDLE} connections and {SOCKETS} web sockets need a limit of {} open files, since half of them are \
             for connections. The limit is {limit} here.\n\n",
            (IDLE + SOCKETS + SPARE) * FILES_PER_CONNECTION
        ),
        _ => String::new(),
    }
}

/// A dashboard with applications that everyone may use, and room for all connections.
fn home(app: u16, counts: Counts) -> Home {
    let connections = counts.idle + counts.sockets + SPARE;
    let mut config = format!("dashboard:\n  connections: {{in_all: {connections}}}\n  apps:\n");
    for number in 0..APPS {
        let _ = writeln!(
            config,
            "    - {{name: app{number}, path: /app{number}, upstream: 'http://127.0.0.1:{app}', allow: public}}"
        );
    }
    Home::with_config(&config)
}

fn hold(dashboard: &Process, connections: usize, kind: Kind) -> (Child, Held) {
    let plan = Plan {
        port: dashboard.port(),
        sources: SOURCES,
        connections,
        kind,
    };
    let mut child = Child::start(Role::Holder, &plan);
    let held = child.read();
    (child, held)
}

fn growth_kib(before: &Moment, after: &Moment, connections: usize) -> f64 {
    (after.resident as f64 - before.resident as f64) / 1024.0 / connections as f64
}

/// How long answers of `/healthz` take on one connection, sorted.
fn probe(dashboard: &Process) -> Vec<Duration> {
    let stream =
        TcpStream::connect(("127.0.0.1", dashboard.port())).expect("the dashboard listens");
    stream.set_nodelay(true).expect("a socket option");
    let mut stream = BufReader::new(stream);
    let end = Instant::now() + PROBES;
    let mut times = Vec::new();
    while Instant::now() < end {
        let start = Instant::now();
        ask_health(&mut stream);
        times.push(start.elapsed());
        park_timeout(PAUSE);
    }
    times.sort_unstable();
    times
}

fn ask_health(stream: &mut BufReader<TcpStream>) {
    let request = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n";
    stream
        .get_mut()
        .write_all(request)
        .expect("the dashboard reads");
    let mut length = 0;
    loop {
        let mut line = String::new();
        let read = stream.read_line(&mut line).expect("the dashboard answers");
        assert!(read > 0, "the dashboard closed the connection of the probe");
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().expect("a length");
        }
        if line == "\r\n" {
            break;
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).expect("the whole answer");
}
