//! Starting: with everything to compile, and with compiled components kept; and what providers that
//! are loaded weigh.

use super::Effort;
use super::dashboard::{self, TOKEN};
use super::guest;
use super::load::mib;
use super::server::Server;
use super::table::{Table, median};
use serde::Serialize;
use std::fs;
use std::time::{Duration, Instant};
use tempfile::TempDir;

const MANY: usize = 100;

#[derive(Debug, Serialize)]
pub(super) struct Row {
    name: String,
    providers: usize,
    first_start_ms: f64,
    start_ms: f64,
    memory_mib: f64,
}

pub(super) fn run(effort: &Effort) -> anyhow::Result<Vec<Row>> {
    let nobody = dashboard::home(guest::std(), 0, "")?;
    fs::write(
        nobody.path().join("portcullis.yaml"),
        "dashboard: {port: 0}\n",
    )?;
    let one = dashboard::home(guest::std(), 1, "")?;
    let same = dashboard::home(guest::std(), MANY, "")?;
    let different = dashboard::home_of_different(guest::std(), MANY)?;

    [
        ("none", nobody, 0),
        ("one std guest", one, 1),
        ("the same std guest, 100 times", same, MANY),
        ("100 different std guests", different, MANY),
    ]
    .into_iter()
    .map(|(name, home, providers)| measure(name, &home, providers, effort))
    .collect()
}

fn measure(name: &str, home: &TempDir, providers: usize, effort: &Effort) -> anyhow::Result<Row> {
    super::progress(&format!("starting with {name}"));
    let start = || -> anyhow::Result<(Duration, f64)> {
        let start = Instant::now();
        let server = Server::start(&mut dashboard::command(home.path()), None)?;
        let took = start.elapsed();
        // What it weighs when it has served.
        for _ in 0..100 {
            let answer = super::ask(&server.url("/api/auth/whoami"), TOKEN)?;
            anyhow::ensure!(providers == 0 || answer == 200, "it answers {answer}");
        }
        Ok((took, mib(server.memory())))
    };

    let (first, _) = start()?;
    let rounds = (0..effort.rounds)
        .map(|_| start())
        .collect::<Result<Vec<_>, _>>()?;
    let ms = |time: Duration| time.as_secs_f64() * 1e3;

    Ok(Row {
        name: name.to_owned(),
        providers,
        first_start_ms: ms(first),
        start_ms: median(rounds.iter().map(|(took, _)| ms(*took))),
        memory_mib: median(rounds.iter().map(|(_, memory)| *memory)),
    })
}

pub(super) fn table(rows: &[Row]) -> Table {
    let mut table = Table::new(&["providers", "first start ms", "start ms", "memory MiB"]);
    for row in rows {
        table.row([
            row.name.clone(),
            format!("{:.0}", row.first_start_ms),
            format!("{:.0}", row.start_ms),
            format!("{:.1}", row.memory_mib),
        ]);
    }
    table
}
