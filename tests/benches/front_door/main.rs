//! The dashboard as a front door, beside nginx and Caddy, after `cargo build --release`:
//! `cargo bench --package portcullis-tests --bench front_door`.
//!
//! It starts the release binary, nginx, Caddy and a small upstream on free ports of 127.0.0.1, and
//! stops them. Parts: `proxies` (authenticated requests), `tls` (handshakes and a long body),
//! `connections` (10,000 idle ones and 2,000 web sockets). Names of parts after `--` run those
//! alone; `--rounds 5` and `--seconds 3` say how often and how long each load runs; `--write` puts
//! the figures into `docs/front-door.md`. Everything is printed and nothing is asserted, except
//! that every answer is the right one. All parts together take about seven minutes. What is not
//! installed is left out.

mod child;
mod figures;
mod generator;
mod handshakes;
mod holder;
mod load;
mod machine;
mod many_connections;
mod page;
mod process;
mod proxies;
mod servers;
mod tls;
mod tls_client;
mod upstream;

use std::time::Duration;

/// One part of the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Proxies,
    Tls,
    Connections,
}

impl Part {
    const ALL: [Self; 3] = [Self::Proxies, Self::Tls, Self::Connections];

    /// Its name on the command line, and of its section in the page.
    fn name(self) -> &'static str {
        match self {
            Self::Proxies => "proxies",
            Self::Tls => "tls",
            Self::Connections => "connections",
        }
    }

    /// Runs it. Returns its figures in Markdown.
    fn measure(self, effort: Effort) -> String {
        match self {
            Self::Proxies => proxies::measure(effort),
            Self::Tls => tls::measure(effort),
            Self::Connections => many_connections::measure(),
        }
    }
}

/// How much is measured.
#[derive(Clone, Copy, Debug)]
struct Effort {
    /// Each load runs once per round; what is printed are medians over the rounds.
    rounds: usize,
    /// How long one load runs.
    time: Duration,
}

/// What the command line asks for.
struct Options {
    parts: Vec<Part>,
    effort: Effort,
    /// Whether the page in the documentation gets the figures.
    writes: bool,
}

fn main() {
    let arguments: Vec<String> = std::env::args()
        .skip(1)
        .filter(|argument| argument != "--bench")
        .collect();
    if let [first, role, plan] = arguments.as_slice()
        && first == child::ROLE
    {
        return child::play(role, plan);
    }
    let options = options(&arguments);
    process::raise_open_files();
    let facts = machine::facts(&arguments);
    for part in options.parts {
        let figures = part.measure(options.effort);
        let section = format!("{facts}\n\n{figures}");
        println!("## {}\n\n{section}", part.name());
        if options.writes {
            page::write(part.name(), &section);
        }
    }
}

fn options(arguments: &[String]) -> Options {
    let mut options = Options {
        parts: Vec::new(),
        effort: Effort {
            rounds: 5,
            time: Duration::from_secs(3),
        },
        writes: false,
    };
    let mut arguments = arguments.iter();
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--write" => options.writes = true,
            "--rounds" => options.effort.rounds = number(argument, arguments.next()),
            "--seconds" => {
                options.effort.time =
                    Duration::from_secs(number(argument, arguments.next()) as u64);
            }
            name => {
                let part = Part::ALL.into_iter().find(|part| part.name() == name);
                options
                    .parts
                    .push(part.expect("proxies, tls, connections, --rounds, --seconds or --write"));
            }
        }
    }
    if options.parts.is_empty() {
        options.parts.extend(Part::ALL);
    }
    options
}

fn number(flag: &str, value: Option<&String>) -> usize {
    let number = value
        .and_then(|value| value.parse().ok())
        .filter(|number| *number > 0);
    assert!(number.is_some(), "{flag} takes a whole number above 0");
    number.unwrap_or_default()
}
