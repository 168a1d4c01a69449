//! One load: `wrk` against one address for some seconds, and the CPU time of the server meanwhile.

use super::server::Server;
use anyhow::{Context, ensure};
use serde::{Deserialize, Serialize};
use std::io::Write;
use std::process::Command;
use std::time::Duration;
use tempfile::NamedTempFile;

/// Prints what wrk found as JSON. Times are in microseconds.
const SCRIPT: &str = include_str!("report.lua");

/// What is asked, over and over.
#[derive(Clone, Debug)]
pub(super) struct Question {
    pub(super) method: &'static str,
    pub(super) path: &'static str,
    pub(super) headers: Vec<String>,
    pub(super) body: &'static str,
    pub(super) answer: Answer,
}

/// What every answer must be: a fast mistake is no result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// An answer with a status of 2xx.
    Good,
    /// An answer with a status of 4xx or 5xx.
    Refused,
}

impl Question {
    pub(super) fn get(path: &'static str, headers: &[String]) -> Self {
        Self {
            method: "GET",
            path,
            headers: headers.to_vec(),
            body: "",
            answer: Answer::Good,
        }
    }
}

/// How heavy a load is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Load {
    pub(super) connections: u32,
    pub(super) time: Duration,
}

/// What came of it.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Outcome {
    pub(super) requests_per_second: f64,
    pub(super) p50_ms: f64,
    pub(super) p99_ms: f64,
    /// CPU time of the server's processes, for each request.
    pub(super) server_cpu_us: f64,
}

#[derive(Deserialize)]
struct Found {
    requests: u64,
    duration_us: f64,
    p50_us: f64,
    p99_us: f64,
    refused: u64,
    failed: u64,
}

/// Loads a server.
///
/// # Errors
/// wrk is not there, or a request was not answered as it should be.
pub(super) fn drive(server: &Server, question: &Question, load: Load) -> anyhow::Result<Outcome> {
    let mut script = NamedTempFile::with_suffix(".lua")?;
    script.write_all(SCRIPT.as_bytes())?;
    let mut wrk = Command::new("wrk");
    // One thread, since the server needs the cores as well.
    wrk.args([
        "-t1",
        "--latency",
        &format!("-c{}", load.connections),
        &format!("-d{}s", load.time.as_secs()),
    ]);

    for header in &question.headers {
        wrk.args(["-H", header]);
    }

    wrk.arg("-s")
        .arg(script.path())
        .arg(server.url(question.path))
        .args(["--", question.method, question.body]);
    let before = server.cpu_time();
    let output = wrk
        .output()
        .context("wrk cannot be run; on Debian: apt-get install wrk")?;
    let cpu = server.cpu_time().saturating_sub(before);
    let text = String::from_utf8_lossy(&output.stdout);
    let json = text
        .lines()
        .find(|line| line.starts_with('{'))
        .with_context(|| format!("wrk said: {text}"))?;
    let found: Found = serde_json::from_str(json)?;
    let refusals = if question.answer == Answer::Refused {
        found.requests
    } else {
        0
    };
    let is_right = found.requests > 0 && found.refused == refusals && found.failed == 0;
    ensure!(
        is_right,
        "not every request was answered as it should be: {json}"
    );
    let requests = found.requests as f64;

    Ok(Outcome {
        requests_per_second: requests / (found.duration_us / 1e6),
        p50_ms: found.p50_us / 1e3,
        p99_ms: found.p99_us / 1e3,
        server_cpu_us: cpu.as_secs_f64() * 1e6 / requests,
    })
}
