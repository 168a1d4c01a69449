//! `cargo xtask bench`: the whole system under load, as ratios within one run.

mod dashboard;
mod drain;
mod guest;
mod load;
mod peers;
mod picture;
mod server;
mod start;
mod table;
mod throughput;
mod wrk;

use anyhow::{Context, ensure};
use clap::{Args, ValueEnum};
use serde::Serialize;
use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

/// What to measure, and how long.
#[derive(Args)]
pub(crate) struct Options {
    /// Rounds; what is printed are medians.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Seconds of each load.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..))]
    seconds: u64,
    /// Install, start and ask the peers as well. The first time this takes minutes.
    #[arg(long)]
    peers: bool,
    /// Seconds of the soak; none without it.
    #[arg(long)]
    soak: Option<u64>,
    /// Only these parts.
    #[arg(long, value_delimiter = ',', default_values = ["throughput", "drain", "load", "start"])]
    only: Vec<Part>,
    /// Where the report and the pictures are put.
    #[arg(long, default_value = "target/bench")]
    out: PathBuf,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Part {
    /// The same request to each server.
    Throughput,
    /// Beginning drains.
    Drain,
    /// A growing number of connections.
    Load,
    /// Cold starts, and memory.
    Start,
}

struct Effort {
    rounds: u32,
    seconds: Duration,
    peers: bool,
}

/// Everything of one run, with what it was run on.
#[derive(Debug, Serialize)]
struct Report {
    commit: String,
    machine: String,
    rustc: String,
    wrk: String,
    throughput: Vec<throughput::Row>,
    extism: String,
    drain: Vec<drain::Row>,
    load: Vec<load::Point>,
    start: Vec<start::Row>,
    soak: Vec<load::Point>,
}

pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    let built = Command::new(env!("CARGO"))
        .args(["build", "--release", "--locked", "--package", "portcullis"])
        .status()
        .context("cargo cannot be run")?;
    ensure!(built.success(), "the release binary does not build");
    fs::create_dir_all(&options.out).with_context(|| options.out.display().to_string())?;
    let effort = Effort {
        rounds: options.rounds,
        seconds: Duration::from_secs(options.seconds),
        peers: options.peers,
    };
    let report = measure(options, &effort)?;
    let file = options.out.join("report.json");
    fs::write(&file, serde_json::to_vec_pretty(&report)?)
        .with_context(|| file.display().to_string())?;
    progress(&format!("written: {}", file.display()));

    Ok(())
}

fn measure(options: &Options, effort: &Effort) -> anyhow::Result<Report> {
    let mut report = Report {
        commit: said_by("git", &["rev-parse", "--short", "HEAD"]),
        machine: machine(),
        rustc: said_by("rustc", &["--version"]),
        wrk: said_by("wrk", &["--version"]),
        throughput: Vec::new(),
        extism: String::new(),
        drain: Vec::new(),
        load: Vec::new(),
        start: Vec::new(),
        soak: Vec::new(),
    };

    print(&format!(
        "{}, commit {}, {}\n",
        report.machine, report.commit, report.rustc
    ))?;
    let out = |name: &str| options.out.join(name);
    if options.only.contains(&Part::Throughput) {
        report.throughput = throughput::run(effort)?;
        print(&throughput::table(&report.throughput))?;
        picture::bars(&report.throughput, &out("throughput.svg"))?;
        if effort.peers {
            report.extism = peers::extism();
            print(&report.extism)?;
        }
    }

    if options.only.contains(&Part::Drain) {
        report.drain = drain::run(effort)?;
        print(&drain::table(&report.drain))?;
    }

    if options.only.contains(&Part::Load) {
        report.load = load::run(effort)?;
        print(&load::table("connections", &report.load))?;
        picture::lines(&report.load, "connections", &out("load.svg"))?;
    }

    if options.only.contains(&Part::Start) {
        report.start = start::run(effort)?;
        print(&start::table(&report.start))?;
    }

    if let Some(seconds) = options.soak {
        report.soak = load::soak(Duration::from_secs(seconds))?;
        picture::lines(&report.soak, "seconds", &out("soak.svg"))?;
    }

    Ok(report)
}

/// What a program says on its first line, or nothing.
fn said_by(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output();
    let text = output
        .map(|output| String::from_utf8_lossy(&output.stdout).into_owned())
        .unwrap_or_default();
    text.lines().next().unwrap_or_default().trim().to_owned()
}

fn machine() -> String {
    let cpus = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpus
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(": "))
        .map(|(_, name)| name);
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    format!(
        "{cores} cores of {}, Linux {}",
        model.unwrap_or("an unknown processor"),
        said_by("uname", &["-r"])
    )
}

/// The status of a request with a bearer token.
fn ask(url: &str, token: &str) -> anyhow::Result<u16> {
    let agent: ureq::Agent = ureq::Agent::config_builder()
        .http_status_as_error(false)
        .build()
        .into();
    Ok(agent
        .get(url)
        .header("Authorization", format!("Bearer {token}"))
        .call()?
        .status()
        .as_u16())
}

fn print(text: &impl std::fmt::Display) -> anyhow::Result<()> {
    writeln!(std::io::stdout(), "{text}").context("stdout")
}

/// A line of progress, on stderr.
fn progress(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}
