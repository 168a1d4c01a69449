use super::{Common, UsageError, announce_ready, needs, privacy, service_manager, signals};
use anyhow::{Context, Result};
use clap::Args;
use portcullis_dashboard::config::GatewayView;
use portcullis_gateway::{ApiKey, Gateway, GatewayError, GatewaySettings};
use portcullis_home::ExitReason;
use std::ffi::OsString;
use std::net::SocketAddr;
use std::process::ExitCode;

#[derive(Clone, Debug, Default, Args)]
pub(super) struct GatewayArgs {
    /// Address of the HTTP port that accepts turns; port 0 picks a free port [default:
    /// gateway.listen, else 127.0.0.1:8642]
    #[arg(long, value_name = "ADDRESS")]
    pub listen: Option<SocketAddr>,
}

pub(super) fn run(common: &Common, arguments: &GatewayArgs) -> Result<ExitCode> {
    privacy::keep_secrets();
    let runtime = needs::of_gateway()?;
    let settings = settings(common.load_for_gateway()?, arguments)?;

    runtime.block_on(async {
        let signals = signals::count(common.parent)?;
        let gateway = Gateway::start(settings).await.map_err(as_usage)?;
        let port = gateway.port()?;
        announce_ready("gateway", port);
        service_manager::ready();
        service_manager::keep_watchdog();
        tokio::spawn(service_manager::stopping_at_signal(signals.clone()));
        Ok(match gateway.serve(signals).await? {
            ExitReason::Signal => ExitCode::SUCCESS,
            ExitReason::Restart => ExitCode::from(super::RESTART),
        })
    })
}

fn settings(view: GatewayView, arguments: &GatewayArgs) -> Result<GatewaySettings> {
    let GatewayView {
        home,
        gateway,
        max_marker_age,
        mut secret_variables,
        findings,
    } = view;

    // The socket is no secret, but the command of a turn must not speak for the gateway.
    secret_variables.extend(service_manager::VARIABLES.map(OsString::from));
    for finding in findings {
        tracing::warn!("{}", finding.text);
    }

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
    if error.is_usage() {
        UsageError(error.to_string()).into()
    } else {
        error.into()
    }
}
