use super::{Common, UsageError, announce_ready, descriptors, privacy, runtime, signals};
use anyhow::Result;
use clap::Args;
use portcullis::app::{App, AppError, ReloadRequest};
use portcullis::config::{Overrides, parse_bind_host};
use std::process::ExitCode;
use tokio::sync::watch;

#[derive(Clone, Debug, Default, Args)]
pub(super) struct ServeArgs {
    /// A name or address to bind [default: dashboard.host, else 127.0.0.1]
    #[arg(long)]
    pub host: Option<String>,
    /// 0 picks one [default: dashboard.port, else 9119]
    #[arg(long)]
    pub port: Option<u16>,
    /// Take the gate for people off, whatever is bound. Token routes stay guarded.
    #[arg(long)]
    pub insecure: bool,
}

pub(super) fn run(common: &Common, arguments: &ServeArgs) -> Result<ExitCode> {
    privacy::keep_secrets();
    descriptors::raise_limit();
    let host = arguments.host.as_deref().map(parse_bind_host).transpose();
    let host = host.map_err(|mistake| UsageError(format!("--host: {mistake}")))?;
    let overrides = Overrides { host, port: arguments.port };
    let config = common.load()?;
    runtime()?.block_on(async {
        let told = signals::count(common.parent)?;
        let app = App::build(config, overrides, arguments.insecure).await.map_err(as_usage)?;
        let port = app.port()?;
        let (close, closed) = watch::channel(false);
        let reload = ReloadRequest::default();
        signals::on_hangup({
            let reload = reload.clone();
            move || reload.ask()
        })?;
        tokio::spawn(async move {
            signals::reached(told, 1).await;
            tracing::info!("ending");
            close.send_replace(true);
        });
        app.serve(reload, closed, || announce_ready("dashboard", port)).await.map_err(as_usage)?;
        Ok(ExitCode::SUCCESS)
    })
}

/// A mistake in the configuration has an exit code of its own.
fn as_usage(error: AppError) -> anyhow::Error {
    if error.is_usage() { UsageError(error.to_string()).into() } else { error.into() }
}
