use super::{
    Common, UsageError, announce_ready, descriptors, needs, privacy, service_manager, signals,
};
use anyhow::Result;
use clap::Args;
use portcullis_dashboard::app::{AccessLogTarget, ReloadRequest, Server, StartError};
use portcullis_dashboard::config::{Config, Overrides, parse_bind_host};
use portcullis_home::StatusFile;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;
use tokio::sync::watch;

/// How long a gateway may take to end after its grace.
const END_PATIENCE: Duration = Duration::from_secs(15);
/// Between two looks at the gateway that is ending.
const LOOK_INTERVAL: Duration = Duration::from_millis(100);

#[derive(Clone, Debug, Default, Args)]
pub(super) struct ServeArgs {
    /// Host name or address to bind [default: dashboard.host, else 127.0.0.1]
    #[arg(long)]
    pub host: Option<String>,
    /// Port to bind; 0 picks a free port [default: dashboard.port, else 9119]
    #[arg(long)]
    pub port: Option<u16>,
    /// Serve people without sign-in on every address. Token routes stay guarded
    #[arg(long)]
    pub insecure: bool,
    /// Write one JSON line per request to stderr, or to this file, which is rotated by size; `-` is
    /// stdout
    #[arg(long, value_name = "FILE")]
    pub access_log: Option<Option<PathBuf>>,
    /// Exit after the gateway over the same home has exited (set by `up`)
    #[arg(long, hide = true)]
    pub outlive_gateway: bool,
}

pub(super) fn run(common: &Common, arguments: &ServeArgs) -> Result<ExitCode> {
    privacy::keep_secrets();
    descriptors::raise_limit();
    let runtime = needs::of_dashboard()?;
    let host = arguments.host.as_deref().map(parse_bind_host).transpose();
    let host = host.map_err(|mistake| UsageError(format!("--host: {mistake}")))?;
    let overrides = Overrides {
        host,
        port: arguments.port,
    };
    let config = common.load()?;
    let gateway = OutlivedGateway::of(&config);

    runtime.block_on(async {
        let told = signals::count(common.parent)?;
        let access_log = arguments.access_log.as_ref();
        let access_log = access_log.map(|file| AccessLogTarget::named(file.as_deref()));
        let (close, closed) = watch::channel(false);
        let server = Server::build(config, overrides, arguments.insecure, access_log, closed)
            .await
            .map_err(as_usage)?;
        let port = server.port()?;
        let reload = ReloadRequest::default();
        signals::on_hangup({
            let reload = reload.clone();
            move || service_manager::reload(&reload)
        })?;
        service_manager::keep_watchdog();
        let (live, outlived) = (server.live(), arguments.outlive_gateway.then_some(gateway));
        tokio::spawn(async move {
            signals::reached(told.clone(), 1).await;
            tracing::info!("ending");
            service_manager::stopping();
            live.begin_end();
            if let Some(gateway) = outlived {
                tokio::select! {
                    () = gateway.has_ended() => {}
                    () = signals::reached(told, 2) => {}
                }
            }
            close.send_replace(true);
        });
        let announce = || {
            announce_ready("dashboard", port);
            service_manager::ready();
        };
        server.serve(reload, announce).await.map_err(as_usage)?;
        Ok(ExitCode::SUCCESS)
    })
}

/// The gateway whose end the dashboard waits for, so that its state can be asked for as long as
/// turns are in flight.
struct OutlivedGateway {
    status: StatusFile,
    /// The longest that the gateway takes to end.
    limit: Duration,
}

impl OutlivedGateway {
    fn of(config: &Config) -> Self {
        Self {
            status: StatusFile::new(&config.home),
            limit: config.gateway.shutdown_grace + END_PATIENCE,
        }
    }

    async fn has_ended(self) {
        let ended = async {
            loop {
                let status = self.status.clone();
                let is_up = tokio::task::spawn_blocking(move || status.read().is_up()).await;
                if !matches!(is_up, Ok(Some(true))) {
                    return;
                }
                tokio::time::sleep(LOOK_INTERVAL).await;
            }
        };
        let _ = tokio::time::timeout(self.limit, ended).await;
    }
}

/// A mistake in the configuration has an exit code of its own.
fn as_usage(error: StartError) -> anyhow::Error {
    if error.is_usage() {
        UsageError(error.to_string()).into()
    } else {
        error.into()
    }
}
