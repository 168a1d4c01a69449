//! The client side of a drain: what a platform service does before a lifecycle action.

mod action;
mod client;
mod failure;
mod fleet;
mod fleet_file;
mod progress;
mod roots;
mod status;
mod target;
mod wait;

pub(super) use roots::tls;
pub(super) use target::check_address;

use super::Common;
use action::{Action, Done};
use anyhow::Result;
use clap::Args;
use failure::DrainFailure;
use portcullis_dashboard::config::DashboardConfig;
use progress::Progress;
use serde_json::Value;
use std::path::PathBuf;
use std::process::ExitCode;

/// Where `up` leaves the secret that it makes, in the home.
pub(super) const SECRET_FILE: &str = "drain-secret";

#[derive(Debug, Args)]
#[command(after_help = "\
Exit codes: 0 done, 1 failed, 2 timed out, 3 refused (401, 403), 4 unreachable or not a dashboard, 5 no longer \
draining, 64 usage. With --fleet: 0 if the action succeeded for every agent, else the highest code among them.")]
pub(super) struct DrainArgs {
    /// YAML list of agents to act on, each {name, url, secret: {env: NAME} or {file: PATH}, cacert}
    #[arg(long, value_name = "FILE")]
    fleet: Option<PathBuf>,
    /// Requests to agents of the fleet that are under way at the same time (1 to 1024)
    #[arg(long, value_name = "N", default_value_t = 32, requires = "fleet",
          value_parser = clap::value_parser!(u16).range(1..=1024))]
    parallel: u16,
    #[command(subcommand)]
    action: Action,
}

pub(super) fn run(common: &Common, arguments: &DrainArgs) -> Result<ExitCode> {
    match &arguments.fleet {
        Some(file) => Ok(fleet::run(file, arguments.parallel, &arguments.action)),
        None => run_one(common, &arguments.action),
    }
}

fn run_one(common: &Common, action: &Action) -> Result<ExitCode> {
    let target = action.target();
    let mut progress = Progress::default();
    let done = target
        .client(common)
        .and_then(|client| action.perform(&client, &mut |look| progress.show(look)));
    progress.end();
    match done {
        Ok(done) if target.json => out!("{}", Value::Object(done.to_json())),
        Ok(done) => print(&done)?,
        Err(failure) => return Ok(fail(&failure, target.json)),
    }
    Ok(ExitCode::SUCCESS)
}

fn print(done: &Done) -> Result<()> {
    if let Some(answer) = &done.answer {
        out!("{answer}");
    }
    if let Some(drained) = &done.drained {
        let seconds = drained.waited.as_secs_f64();
        match drained.is_stopped {
            true => out!("the gateway is stopped, so no turn is in flight (waited {seconds:.1} s)"),
            false => out!("drained after {seconds:.1} s"),
        }
    }
    Ok(())
}

/// Prints a failure. A closed stdout does not change the exit code.
fn fail(failure: &DrainFailure, json: bool) -> ExitCode {
    if json {
        super::say(&format!("{}\n", Value::Object(failure.to_json())));
    }
    failure.tell();
    ExitCode::from(failure.kind.exit_code())
}

/// Where the dashboard of this configuration is reached from this machine. `port` is the one that
/// it bound.
pub(super) fn local_url(dashboard: &DashboardConfig, port: u16) -> String {
    let scheme = if dashboard.tls.is_some() {
        "https"
    } else {
        "http"
    };
    match dashboard.host.as_str() {
        "0.0.0.0" => format!("{scheme}://127.0.0.1:{port}"),
        "::" => format!("{scheme}://[::1]:{port}"),
        host if host.contains(':') => format!("{scheme}://[{host}]:{port}"),
        host => format!("{scheme}://{host}:{port}"),
    }
}
