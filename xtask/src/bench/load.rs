//! Cost against load: the same question on more and more connections; and for as long as one likes.

use super::Effort;
use super::dashboard::{self, TOKEN, bearer};
use super::guest;
use super::table::Table;
use super::wrk::{Load, Question, drive};
use serde::Serialize;
use std::time::{Duration, Instant};

const CONNECTIONS: [u32; 4] = [1, 8, 64, 512];
/// Between two looks at the memory.
const LOOK: Duration = Duration::from_secs(10);

/// One load, or one moment of the soak.
#[derive(Debug, Serialize)]
pub(super) struct Point {
    /// Connections, or seconds since the start.
    pub(super) at: f64,
    pub(super) requests_per_second: f64,
    pub(super) p99_ms: f64,
    pub(super) memory_mib: f64,
}

fn question() -> Question {
    Question::get("/api/auth/whoami", &[bearer(TOKEN)])
}

pub(super) fn run(effort: &Effort) -> anyhow::Result<Vec<Point>> {
    let server = dashboard::start(dashboard::home(guest::std(), 1, "")?)?;
    let mut points = Vec::new();
    for connections in CONNECTIONS {
        super::progress(&format!("{connections} connections"));
        let outcome = drive(
            &server,
            &question(),
            Load {
                connections,
                time: effort.seconds,
            },
        )?;
        points.push(Point {
            at: connections.into(),
            requests_per_second: outcome.requests_per_second,
            p99_ms: outcome.p99_ms,
            memory_mib: mib(server.memory()),
        });
    }

    Ok(points)
}

pub(super) fn soak(time: Duration) -> anyhow::Result<Vec<Point>> {
    let server = dashboard::start(dashboard::home(guest::std(), 1, "")?)?;
    let start = Instant::now();
    let mut points = Vec::new();

    while start.elapsed() < time {
        let outcome = drive(
            &server,
            &question(),
            Load {
                connections: 64,
                time: LOOK,
            },
        )?;
        let at = start.elapsed().as_secs_f64();
        let memory_mib = mib(server.memory());
        super::progress(&format!("soak: {at:.0} s, {memory_mib:.1} MiB"));
        points.push(Point {
            at,
            requests_per_second: outcome.requests_per_second,
            p99_ms: outcome.p99_ms,
            memory_mib,
        });
    }

    Ok(points)
}

#[expect(clippy::cast_precision_loss, reason = "sizes of processes")]
pub(super) fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

pub(super) fn table(title: &str, points: &[Point]) -> Table {
    let mut table = Table::new(&[title, "requests/s", "p99 ms", "memory MiB"]);
    for point in points {
        table.row([
            format!("{:.0}", point.at),
            format!("{:.0}", point.requests_per_second),
            format!("{:.2}", point.p99_ms),
            format!("{:.1}", point.memory_mib),
        ]);
    }
    table
}
