use super::{Common, announce_ready, privacy, runtime, signals};
use anyhow::{Context, Result};
use clap::Args;
use portcullis::config::Config;
use portcullis::gateway::{Gateway, GatewaySettings};
use std::net::SocketAddr;
use std::process::ExitCode;

#[derive(Clone, Debug, Default, Args)]
pub(super) struct GatewayArgs {
    /// Where turns are asked for; port 0 picks one [default: gateway.listen, else 127.0.0.1:8642]
    #[arg(long, value_name = "ADDRESS")]
    pub listen: Option<SocketAddr>,
}

pub(super) fn run(common: &Common, arguments: &GatewayArgs) -> Result<ExitCode> {
    privacy::keep_secrets();
    let config = common.load()?;
    let settings = settings(&config, arguments)?;
    runtime()?.block_on(async {
        let signals = signals::count(common.parent)?;
        let gateway = Gateway::start(settings).await?;
        let port = gateway.port()?;
        announce_ready("gateway", port);
        gateway.serve(signals).await?;
        Ok(ExitCode::SUCCESS)
    })
}

fn settings(config: &Config, arguments: &GatewayArgs) -> Result<GatewaySettings> {
    Ok(GatewaySettings {
        home: config.home.clone(),
        listen: arguments.listen.unwrap_or(config.gateway.listen),
        command: config.gateway.command.clone(),
        max_turns: config.gateway.max_turns,
        max_marker_age: config.dashboard.max_marker_age,
        binary: std::env::current_exe().context("this binary cannot be found")?,
    })
}
