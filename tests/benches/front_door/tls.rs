//! TLS of the dashboard's own beside nginx's, with the same certificate, cipher suite and group:
//! handshakes, and a long answer of the application.

use super::Effort;
use super::child::{Child, Role};
use super::figures::{Spread, ratio, table};
use super::generator;
use super::handshakes;
use super::load::{self, Measured};
use super::servers::{Server, Site, missing};
use super::upstream::{LONG_BYTES, LONG_PATH};
use portcullis_tests::Home;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Connections that are opened at once, over and over.
const WORKERS: usize = 8;
/// Connections on which long answers are read.
const READERS: usize = 4;
const NGINX: &str = include_str!("proxies/nginx-tls.conf.in");

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Load {
    Full,
    Resumed,
    LongAnswers,
}

impl Load {
    const ALL: [Self; 3] = [Self::Full, Self::Resumed, Self::LongAnswers];

    fn name(self) -> &'static str {
        match self {
            Self::Full => "full handshakes",
            Self::Resumed => "resumed handshakes",
            Self::LongAnswers => "answers of 1 MiB",
        }
    }

    fn run(self, server: &Listening, time: Duration) -> Measured {
        let port = server.port;
        let of_handshakes = |resumes| handshakes::Plan {
            port,
            workers: WORKERS,
            time,
            resumes,
        };
        let of_answers = generator::Plan {
            port,
            target: LONG_PATH.to_owned(),
            headers: Vec::new(),
            connections: READERS,
            time,
            over_tls: true,
            answer_bytes: LONG_BYTES,
        };
        let (processes, name) = ([server.process], server.name);
        match self {
            Self::Full => load::run(Role::Handshakes, &of_handshakes(false), &processes, name),
            Self::Resumed => load::run(Role::Handshakes, &of_handshakes(true), &processes, name),
            Self::LongAnswers => load::run(Role::Generator, &of_answers, &processes, name),
        }
    }
}

/// One of the two servers.
struct Listening {
    name: &'static str,
    port: u16,
    process: u32,
}

/// The figures of both servers.
pub(crate) fn measure(effort: Effort) -> String {
    let mut upstream = Child::start(Role::Upstream, &());
    let app: u16 = upstream.read();
    let home = home(app);
    let dashboard = home.dashboard();
    let (certificate, key) = (fixture("good.pem"), fixture("server.key"));
    let files = [("CERTIFICATE", certificate.to_str()), ("KEY", key.to_str())];
    let site = Site::new(
        NGINX,
        &files.map(|(name, path)| (name, path.expect("a path in UTF-8"))),
    );
    let nginx = Server::nginx(app, &[&site]);
    let ours = Listening {
        name: "portcullis",
        port: dashboard.port(),
        process: dashboard.pid(),
    };
    let theirs = nginx.as_ref().map(|nginx| Listening {
        name: "nginx",
        port: site.port(),
        process: nginx.pid(),
    });

    let mut rows = Vec::new();
    for kind in Load::ALL {
        let (mut of_ours, mut of_theirs) = (Vec::new(), Vec::new());
        for round in 1..=effort.rounds {
            eprintln!("round {round} of {}: {}", effort.rounds, kind.name());
            of_ours.push(kind.run(&ours, effort.time));
            of_theirs.extend(theirs.as_ref().map(|theirs| kind.run(theirs, effort.time)));
        }
        rows.extend(compared(kind, &of_ours, &of_theirs));
    }
    format!(
        "{}TLS 1.3, TLS_AES_128_GCM_SHA256, X25519, one certificate of ECDSA P-256 for both. A handshake is a connection, its \
         handshake and one request, by {WORKERS} connections at once; p99 is without the request. Long answers are read on \
         {READERS} connections. Medians of {} rounds of {} s, and in brackets the least and the most of a round. The goal \
         is 0.8 of nginx's handshakes and answers per second.\n\n{}",
        missing(),
        effort.rounds,
        effort.time.as_secs(),
        table(
            ["", "portcullis", "nginx", "portcullis divided by nginx"],
            rows
        ),
    )
}

/// A dashboard that everyone may use, on loopback, with an application.
fn home(app: u16) -> Home {
    let home = Home::with_config(&format!(
        "dashboard:\n  tls: {{certificate: chain.pem, key: key.pem, min_version: \"1.3\"}}\n  apps:\n    \
         - {{name: app, path: /, upstream: 'http://127.0.0.1:{app}', allow: public}}\n"
    ));
    for (from, to) in [("good.pem", "chain.pem"), ("server.key", "key.pem")] {
        fs::copy(fixture(from), home.file(to)).expect("a file in the home");
    }
    home
}

/// A file of `tests/certificates`.
fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("certificates")
        .join(name)
}

fn compared(kind: Load, ours: &[Measured], theirs: &[Measured]) -> Vec<[String; 4]> {
    let row = |what: &str, decimals, figure: fn(&Measured) -> f64| {
        [
            format!("{}, {what}", kind.name()),
            Spread::of(ours.iter().map(figure)).show(decimals),
            Spread::of(theirs.iter().map(figure)).show(decimals),
            ratio(ours, theirs, figure).show(2),
        ]
    };
    vec![
        row("per second", 0, Measured::per_second),
        row("p99 ms", 2, Measured::p99_ms),
        row("CPU us each", 1, Measured::cpu_each),
        row("generator, cores", 2, Measured::generator_cores),
    ]
}
