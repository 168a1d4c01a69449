//! The same question put to everybody: who calls, by a bearer token that is right.

use super::Effort;
use super::dashboard::{self, DRAIN_SECRET, TOKEN, bearer};
use super::guest;
use super::peers;
use super::server::Server;
use super::table::{Table, median};
use super::wrk::{Load, Outcome, Question, drive};
use anyhow::Context;
use serde::Serialize;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

/// Connections at once, each with one request in flight.
pub(super) const CONNECTIONS: u32 = 64;

/// One of the servers that are compared.
pub(super) struct Contender {
    pub(super) name: String,
    pub(super) server: Arc<Server>,
    pub(super) question: Question,
    pub(super) connections: u32,
    /// Others that it needs.
    pub(super) behind: Vec<Arc<Server>>,
}

impl Contender {
    pub(super) fn new(
        name: &str,
        server: &Arc<Server>,
        path: &'static str,
        headers: &[String],
    ) -> Self {
        Self {
            name: name.to_owned(),
            server: server.clone(),
            question: Question::get(path, headers),
            connections: CONNECTIONS,
            behind: Vec::new(),
        }
    }

    /// The same, with a server behind it that must stay up.
    pub(super) fn with(mut self, server: Arc<Server>) -> Self {
        self.behind.push(server);
        self
    }
}

/// Everything that was measured of one of them, a round each.
#[derive(Debug, Serialize)]
pub(super) struct Row {
    pub(super) name: String,
    pub(super) rounds: Vec<Outcome>,
    /// Medians over the rounds of the ratio within a round.
    pub(super) of_bare: f64,
    pub(super) of_native: f64,
}

impl Row {
    pub(super) fn median(&self, of: impl Fn(&Outcome) -> f64) -> f64 {
        median(self.rounds.iter().map(of))
    }
}

const WHOAMI: &str = "/api/auth/whoami";
/// The end of an entry whose provider is asked once per second.
const CACHED: &str = ", cache_ttl_ms: 1000";

/// The limit, and ours. The first two are what the others are compared with.
fn ours() -> anyhow::Result<Vec<Contender>> {
    let itself = std::env::current_exe().context("the path of xtask")?;
    let limit = Arc::new(Server::start(
        Command::new(itself).args(["limit", "--token", TOKEN]),
        None,
    )?);
    let token = [bearer(TOKEN)];
    let secret = [bearer(DRAIN_SECRET)];
    let std = start(guest::std(), 1, "")?;
    let mut ours = vec![
        Contender::new("axum, no auth", &limit, "/bare", &[]),
        Contender::new("axum, native check", &limit, "/native", &token),
        Contender::new("portcullis, no auth (/healthz)", &std, "/healthz", &[]),
        Contender::new("portcullis, drain secret (native)", &std, WHOAMI, &secret),
        Contender::new("portcullis, std guest", &std, WHOAMI, &token),
        Contender::new(
            "portcullis, no WASI imports",
            &start(guest::bare(), 1, "")?,
            WHOAMI,
            &token,
        ),
        Contender::new(
            "portcullis, chain of 10 std guests",
            &start(guest::std(), 10, "")?,
            WHOAMI,
            &token,
        ),
        Contender::new(
            "portcullis, std guest, cached",
            &start(guest::std(), 1, CACHED)?,
            WHOAMI,
            &token,
        ),
    ];

    let folder = tempfile::tempdir()?;
    match guest::python(folder.path()) {
        Ok(python) => ours.extend([
            Contender::new(
                "portcullis, Python, cached",
                &start(&python, 1, CACHED)?,
                WHOAMI,
                &token,
            ),
            Contender {
                connections: 16,
                ..Contender::new(
                    "portcullis, Python, 16 connections",
                    &start(&python, 1, "")?,
                    WHOAMI,
                    &token,
                )
            },
        ]),
        Err(error) => super::progress(&format!("SKIPPED Python: {error:#}")),
    }

    Ok(ours)
}

fn start(component: &Path, providers: usize, more: &str) -> anyhow::Result<Arc<Server>> {
    dashboard::start(dashboard::home(component, providers, more)?).map(Arc::new)
}

pub(super) fn run(effort: &Effort) -> anyhow::Result<Vec<Row>> {
    let mut contenders = ours()?;
    if effort.peers {
        contenders.extend(peers::start()?);
    }

    let mut rounds: Vec<Vec<Outcome>> = contenders.iter().map(|_| Vec::new()).collect();
    for round in 1..=effort.rounds {
        for (contender, outcomes) in contenders.iter().zip(&mut rounds) {
            super::progress(&format!(
                "round {round} of {}: {}",
                effort.rounds, contender.name
            ));
            let load = Load {
                connections: contender.connections,
                time: effort.seconds,
            };
            let outcome = drive(&contender.server, &contender.question, load);
            outcomes.push(outcome.with_context(|| contender.name.clone())?);
        }
    }

    let ratio = |outcomes: &[Outcome], to: &[Outcome]| {
        median(
            outcomes
                .iter()
                .zip(to)
                .map(|(it, to)| it.requests_per_second / to.requests_per_second),
        )
    };
    let compared: Vec<_> = rounds
        .iter()
        .map(|outcomes| (ratio(outcomes, &rounds[0]), ratio(outcomes, &rounds[1])))
        .collect();
    let rows = contenders.into_iter().zip(rounds).zip(compared);
    let row = |((contender, rounds), (of_bare, of_native)): ((Contender, _), _)| Row {
        name: contender.name,
        rounds,
        of_bare,
        of_native,
    };

    Ok(rows.map(row).collect())
}

pub(super) fn table(rows: &[Row]) -> Table {
    let mut table = Table::new(&[
        "",
        "requests/s",
        "of bare",
        "of native",
        "p50 ms",
        "p99 ms",
        "server CPU us a request",
    ]);

    for row in rows {
        table.row([
            row.name.clone(),
            format!("{:.0}", row.median(|it| it.requests_per_second)),
            format!("{:.2}", row.of_bare),
            format!("{:.2}", row.of_native),
            format!("{:.2}", row.median(|it| it.p50_ms)),
            format!("{:.2}", row.median(|it| it.p99_ms)),
            format!("{:.1}", row.median(|it| it.server_cpu_us)),
        ]);
    }

    table
}
