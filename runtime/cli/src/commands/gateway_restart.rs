//! `portcullis gateway-restart`: what `POST /api/gateway/restart` does, by way of the home.

use super::{Common, bounded_text};
use anyhow::{Context, Result, bail};
use clap::Args;
use portcullis_dashboard::audit::{AuditLog, EventName, Record};
use portcullis_dashboard::config::Environment;
use portcullis_home::{Leases, MarkerFile};
use portcullis_home::{
    MAX_RESTART_GRACE_SECONDS, ObservedState, RestartFile, RestartRequest, StatusFile,
};
use serde_json::json;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

/// Whose request it is, in the audit log and in the gateway's log.
const PRINCIPAL: &str = "command-line";

#[derive(Debug, Args)]
pub(super) struct GatewayRestartArgs {
    /// Seconds that turns in flight get to finish (0 to 3600) [default:
    /// gateway.shutdown_grace_seconds]
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(0..=MAX_RESTART_GRACE_SECONDS))]
    grace: Option<u64>,
    /// Reason of the restart, for the audit log
    #[arg(long, value_name = "TEXT", value_parser = bounded_text::reason)]
    reason: Option<String>,
    /// Print one JSON object, also when the command fails
    #[arg(long)]
    json: bool,
}

pub(super) fn run(common: &Common, arguments: &GatewayRestartArgs) -> Result<ExitCode> {
    let id = request(common, arguments)?;
    match arguments.json {
        true => out!("{}", json!({"ok": true, "restart_id": id})),
        false => out!("{id}"),
    }
    Ok(ExitCode::SUCCESS)
}

/// Ends every drain and requests the restart. Returns the request's id.
fn request(common: &Common, arguments: &GatewayRestartArgs) -> Result<String> {
    let home = common.home(&Environment::read())?;
    let status = StatusFile::new(&home).read();
    match (status.is_up(), &status.state) {
        (Some(false), _) => {
            bail!(
                "no gateway runs over {}: start one with `portcullis gateway`",
                home.display()
            )
        }
        (None, ObservedState::Unknown(why)) => {
            tell!(
                "portcullis: it is not known whether a gateway runs ({why}): requesting the restart all the same"
            );
        }
        _ => {}
    }

    let grace = arguments.grace.map(Duration::from_secs);
    let request = RestartRequest::new(
        PRINCIPAL,
        arguments.reason.clone(),
        grace,
        status.epoch.as_ref(),
    )
    .context("the system gives no random numbers")?;
    let marker = MarkerFile::new(&home);
    let leases = Leases::of(&marker.read(), Duration::ZERO);
    let overridden: Vec<_> = leases
        .all()
        .iter()
        .map(|lease| lease.owner.as_str())
        .collect();
    // First, so that the gateway that comes back finds no drain.
    marker
        .clear()
        .with_context(|| format!("cannot remove {}", marker.path().display()))?;
    RestartFile::new(&home)
        .write(&request)
        .with_context(|| format!("cannot write the restart request in {}", home.display()))?;

    let record = Record::now(EventName::GatewayRestart)
        .with("principal", PRINCIPAL)
        .with("reason", arguments.reason.clone())
        .with("grace_seconds", arguments.grace)
        .with("overridden", json!(overridden))
        .with("ok", true)
        .with("restart_id", request.id());
    audit(&home, record);
    Ok(request.id().to_owned())
}

/// The restart is requested by now: a log that cannot be written does not change that.
fn audit(home: &Path, record: Record) {
    match AuditLog::start(home) {
        Ok(log) => {
            log.write(record);
            log.close();
        }
        Err(error) => tracing::error!(%error, "the restart is not in the audit log"),
    }
}
