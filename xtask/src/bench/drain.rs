//! Draining: begins with their fsync, and what a poller of the status feels meanwhile.

use super::Effort;
use super::dashboard::{self, DRAIN_SECRET, bearer};
use super::guest;
use super::peers;
use super::server::Server;
use super::table::{Table, median};
use super::wrk::{Answer, Load, Question, drive};
use serde::Serialize;
use std::sync::Arc;

const BEGINNING: u32 = 16;

#[derive(Debug, Serialize)]
pub(super) struct Row {
    name: String,
    begins_per_second: f64,
    /// Of a poller of `/api/status` on one connection, without and with the others.
    quiet_p99_ms: f64,
    busy_p99_ms: f64,
    quiet_polls_per_second: f64,
    busy_polls_per_second: f64,
}

pub(super) fn run(effort: &Effort) -> anyhow::Result<Vec<Row>> {
    let ours = Arc::new(dashboard::start(dashboard::home(guest::std(), 1, "")?)?);
    let mut servers = vec![("portcullis", ours)];
    if effort.peers {
        servers.push(("fastapi, one worker", peers::fastapi(1)?));
    }
    servers
        .into_iter()
        .map(|(name, server)| measure(name, &server, effort))
        .collect()
}

fn measure(name: &str, server: &Server, effort: &Effort) -> anyhow::Result<Row> {
    super::progress(&format!("draining: {name}"));
    let status = Question::get("/api/status", &[]);
    let begin = Question {
        method: "POST",
        path: "/api/gateway/drain",
        headers: vec![bearer(DRAIN_SECRET)],
        body: r#"{"action":"drain"}"#,
        answer: Answer::Good,
    };

    let poll = Load {
        connections: 1,
        time: effort.seconds,
    };
    let begin_all = Load {
        connections: BEGINNING,
        time: effort.seconds,
    };
    let mut rounds = Vec::new();

    for _ in 0..effort.rounds {
        let quiet = drive(server, &status, poll)?;
        let (begun, busy) = std::thread::scope(|scope| {
            let begun = scope.spawn(|| drive(server, &begin, begin_all));
            let busy = drive(server, &status, poll);
            (begun.join().expect("a thread that does not panic"), busy)
        });
        rounds.push((quiet, begun?, busy?));
    }

    let of = |figure: fn(&(_, _, _)) -> f64| median(rounds.iter().map(figure));
    Ok(Row {
        name: name.to_owned(),
        begins_per_second: of(
            |(_, begun, _): &(
                super::wrk::Outcome,
                super::wrk::Outcome,
                super::wrk::Outcome,
            )| { begun.requests_per_second },
        ),
        quiet_p99_ms: of(|(quiet, _, _)| quiet.p99_ms),
        busy_p99_ms: of(|(_, _, busy)| busy.p99_ms),
        quiet_polls_per_second: of(|(quiet, _, _)| quiet.requests_per_second),
        busy_polls_per_second: of(|(_, _, busy)| busy.requests_per_second),
    })
}

pub(super) fn table(rows: &[Row]) -> Table {
    let mut table = Table::new(&[
        "begin a drain, 16 connections",
        "begins/s",
        "status p99 ms, quiet",
        "and meanwhile",
        "polls/s, quiet",
        "and meanwhile",
    ]);

    for row in rows {
        table.row([
            row.name.clone(),
            format!("{:.0}", row.begins_per_second),
            format!("{:.2}", row.quiet_p99_ms),
            format!("{:.2}", row.busy_p99_ms),
            format!("{:.0}", row.quiet_polls_per_second),
            format!("{:.0}", row.busy_polls_per_second),
        ]);
    }

    table
}
