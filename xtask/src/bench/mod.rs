//! `cargo xtask bench`: the whole system under load, as ratios within one run.

mod dashboard;
mod peers;
mod server;
mod table;
mod throughput;
mod wrk;

use anyhow::{Context, ensure};
use clap::Args;
use std::io::Write;
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
    /// Install, start and ask the peers as well.
    #[arg(long)]
    peers: bool,
}

struct Effort {
    rounds: u32,
    seconds: Duration,
    peers: bool,
}

pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    let built = Command::new(env!("CARGO"))
        .args(["build", "--release", "--locked", "--package", "portcullis"])
        .status()
        .context("cargo cannot be run")?;
    ensure!(built.success(), "the release binary does not build");
    let effort = Effort {
        rounds: options.rounds,
        seconds: Duration::from_secs(options.seconds),
        peers: options.peers,
    };
    let rows = throughput::run(&effort)?;
    print(&throughput::table(&rows))
}

fn print(text: &impl std::fmt::Display) -> anyhow::Result<()> {
    writeln!(std::io::stdout(), "{text}").context("stdout")
}

/// A line of progress, on stderr.
fn progress(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}
