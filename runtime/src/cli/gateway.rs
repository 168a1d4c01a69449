use super::{Common, UsageError, announce_ready, privacy, runtime, signals};
use anyhow::{Context, Result};
use clap::Args;
use portcullis::config::GatewayView;
use portcullis::gateway::{ApiKey, Gateway, GatewayError, GatewaySettings};
use std::ffi::OsStr;
use std::net::SocketAddr;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, ExitCode};

/// What the original calls a gateway.
const KNOWN_NAME: &str = "hermes-gateway";

#[derive(Clone, Debug, Default, Args)]
pub(super) struct GatewayArgs {
    /// Where turns are asked for; port 0 picks one [default: gateway.listen, else 127.0.0.1:8642]
    #[arg(long, value_name = "ADDRESS")]
    pub listen: Option<SocketAddr>,
}

pub(super) fn run(common: &Common, arguments: &GatewayArgs) -> Result<ExitCode> {
    take_known_name()?;
    privacy::keep_secrets();
    let settings = settings(common.load_for_gateway()?, arguments)?;
    runtime()?.block_on(async {
        let signals = signals::count(common.parent)?;
        let gateway = Gateway::start(settings).await.map_err(as_usage)?;
        let port = gateway.port()?;
        announce_ready("gateway", port);
        gateway.serve(signals).await?;
        Ok(ExitCode::SUCCESS)
    })
}

/// The original takes a process for a gateway by its command line, and removes the lock of one that it does not recognise.
/// So this program starts itself again, in the same process, under the name that the original knows.
fn take_known_name() -> Result<()> {
    let mut arguments = std::env::args_os();
    if arguments.next().is_some_and(|name| Path::new(&name).file_name() == Some(OsStr::new(KNOWN_NAME))) {
        return Ok(());
    }
    let binary = std::env::current_exe().context("this binary cannot be found")?;
    Err(Command::new(binary).arg0(KNOWN_NAME).args(arguments).exec())
        .context("this binary cannot be started again")
}

fn settings(view: GatewayView, arguments: &GatewayArgs) -> Result<GatewaySettings> {
    let GatewayView { home, gateway, max_marker_age, secret_variables } = view;
    Ok(GatewaySettings {
        home,
        listen: arguments.listen.unwrap_or(gateway.listen),
        command: gateway.command,
        secret_variables,
        max_turns: gateway.max_turns,
        turn_timeout: gateway.turn_timeout,
        shutdown_grace: gateway.shutdown_grace,
        api_key: gateway.api_key.map(|key| ApiKey::of(key.expose())),
        max_marker_age,
        binary: std::env::current_exe().context("this binary cannot be found")?,
    })
}

/// A mistake in the settings has an exit code of its own.
fn as_usage(error: GatewayError) -> anyhow::Error {
    if error.is_usage() { UsageError(error.to_string()).into() } else { error.into() }
}
