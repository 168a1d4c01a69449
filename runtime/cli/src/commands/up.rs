//! The whole system on one machine: gateway and dashboard as two supervised processes.

use super::gateway::GatewayArgs;
use super::serve::ServeArgs;
use super::{Common, announce_ready, privacy, runtime, say, service_manager, signals, starter};
use anyhow::{Context, Result, anyhow};
use clap::Args;
use portcullis_dashboard::app::{DrainRegistration, drain_registration};
use portcullis_dashboard::config::{Config, SERVICE_KEY_FILE};
use portcullis_home::StatusFile;
use portcullis_home::home_lock::{
    DASHBOARD_LOCK, GATEWAY_LOCK, HomeLock, LockState, UP_LOCK, probe,
};
use rustix::process::{Pid, Signal, kill_process};
use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{ExitCode, ExitStatus, Stdio};
use std::time::{Duration, Instant};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::{mpsc, watch};

/// Pause before a process that died is started again. It doubles each time, up to the longest.
const FIRST_BACKOFF: Duration = Duration::from_millis(250);
const LONGEST_BACKOFF: Duration = Duration::from_secs(30);
/// How long the processes of an `up` that was killed may take to end.
const LAST_MOMENTS: Duration = Duration::from_secs(1);
/// Life of a process after which its next restart begins with the first pause again.
const SETTLED: Duration = Duration::from_secs(60);

#[derive(Clone, Debug, Args)]
pub(super) struct UpArgs {
    #[command(flatten)]
    serve: ServeArgs,
    #[command(flatten)]
    gateway: GatewayArgs,
}

pub(super) fn run(common: &Common, arguments: &UpArgs) -> Result<ExitCode> {
    privacy::keep_secrets();
    let environment = portcullis_dashboard::config::Environment::read();
    let home = std::path::absolute(environment.home(common.home.clone()))
        .context("the working folder is gone")?;
    let _lock = take_home(&home)?;
    let mut made = if common.config.is_none() {
        starter::make(&home)?
    } else {
        Vec::new()
    };
    let config = common.load()?;
    let secret_file = starter::drain_secret(&config, &mut made)?;
    let plan = StartPlan::new(common, arguments, &config)?;

    runtime()?.block_on(async {
        let signals = signals::count(None)?;
        service_manager::keep_watchdog();
        tokio::spawn(service_manager::stopping_at_signal(signals.clone()));
        let (ready, mut readiness) = mpsc::channel(4);
        let gateway = supervise("gateway", plan.gateway(), ready.clone(), signals.clone());
        let dashboard = supervise("dashboard", plan.dashboard(), ready, signals);
        let (gateway, dashboard) = (tokio::spawn(gateway), tokio::spawn(dashboard));
        let greet = async {
            let mut ports = Ports::default();
            while let Some((component, port)) = readiness.recv().await {
                announce_ready(component, port);
                if ports.note(component, port) {
                    service_manager::ready();
                    say(&greeting(&config, &made, secret_file.as_deref(), &ports));
                }
            }
        };
        let (_, gateway, dashboard) = tokio::join!(greet, gateway, dashboard);
        let failed = [gateway?, dashboard?].contains(&UpEnd::Refused);
        Ok(ExitCode::from(if failed { super::USAGE } else { 0 }))
    })
}

/// Refuses a home over which one of the processes runs already: ours would be started again and
/// again.
fn take_home(home: &Path) -> Result<HomeLock> {
    let context = || format!("cannot use {}", home.join(UP_LOCK).display());
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(home)
        .with_context(context)?;
    let lock = HomeLock::take(&home.join(UP_LOCK), &[]).with_context(context)?;
    let taken = |what: &str| {
        anyhow!(
            "{what} runs over {}: end it first, or use another --home",
            home.display()
        )
    };
    let lock = lock.ok_or_else(|| taken("another `portcullis up`"))?;

    // The processes of an `up` that was killed end a moment after it.
    let until = Instant::now() + LAST_MOMENTS;
    while let Some(what) = runs_over(home) {
        if Instant::now() >= until {
            return Err(taken(what));
        }
        std::thread::park_timeout(Duration::from_millis(20));
    }
    Ok(lock)
}

/// The process that holds the home, if one does.
fn runs_over(home: &Path) -> Option<&'static str> {
    let is_held = |name| matches!(probe(&home.join(name)), LockState::Held(_));
    if is_held(GATEWAY_LOCK) || StatusFile::new(home).read().is_up() == Some(true) {
        return Some("another gateway");
    }
    is_held(DASHBOARD_LOCK).then_some("another dashboard")
}

/// How the two processes are started.
struct StartPlan {
    binary: PathBuf,
    common: Vec<std::ffi::OsString>,
    serve: ServeArgs,
    gateway: GatewayArgs,
}

impl StartPlan {
    fn new(common: &Common, arguments: &UpArgs, config: &Config) -> Result<Self> {
        let mut flags = vec!["--home".into(), config.home.clone().into_os_string()];
        if let Some(file) = &common.config {
            flags.extend(["--config".into(), file.clone().into_os_string()]);
        }
        flags.extend(["--log-format".into(), common.log_format.name().into()]);
        Ok(Self {
            binary: std::env::current_exe().context("this binary cannot be found")?,
            common: flags,
            serve: arguments.serve.clone(),
            gateway: arguments.gateway.clone(),
        })
    }

    fn command(&self, name: &str) -> Command {
        let mut command = Command::new(&self.binary);
        // In a group of its own, so that Ctrl-C reaches it once, through us.
        command
            .args(&self.common)
            .arg(name)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .process_group(0);
        // This process alone speaks to the service manager.
        for variable in service_manager::VARIABLES {
            command.env_remove(variable);
        }

        command
    }

    fn gateway(&self) -> Command {
        let mut command = self.command("gateway");
        command.arg("--parent").arg(std::process::id().to_string());
        // Turns have no business with the drain secret.
        command.env_remove("HERMES_DASHBOARD_DRAIN_SECRET");
        if let Some(listen) = self.gateway.listen {
            command.arg("--listen").arg(listen.to_string());
        }
        command
    }

    fn dashboard(&self) -> Command {
        let mut command = self.command("serve");
        command.arg("--parent").arg(std::process::id().to_string());
        command.arg("--outlive-gateway");
        if let Some(host) = &self.serve.host {
            command.arg("--host").arg(host);
        }

        if let Some(port) = self.serve.port {
            command.arg("--port").arg(port.to_string());
        }

        if self.serve.insecure {
            command.arg("--insecure");
        }

        if let Some(file) = &self.serve.access_log {
            command.arg("--access-log").args(file);
        }

        command
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum UpEnd {
    /// A signal asked `up` to end.
    Signalled,
    /// It says that its configuration is wrong: starting it again would change nothing.
    Refused,
}

/// The end of one life of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum LifeEnd {
    /// It is not started again.
    Last(UpEnd),
    /// It asked to be started again.
    Restart,
    /// It ended in any other way.
    Died,
}

/// Starts a process again whenever it ends, until a signal asks `up` to end.
async fn supervise(
    process: &'static str,
    mut command: Command,
    ready: mpsc::Sender<(&'static str, u16)>,
    signals: watch::Receiver<u32>,
) -> UpEnd {
    let mut backoff = FIRST_BACKOFF;
    loop {
        let started = Instant::now();
        match command.spawn() {
            Ok(child) => match tend(process, child, &ready, &signals).await {
                LifeEnd::Last(ended) => return ended,
                LifeEnd::Restart if *signals.borrow() > 0 => return UpEnd::Signalled,
                LifeEnd::Restart => {
                    tracing::info!(process, "starting it again, as it asked");
                    continue;
                }
                LifeEnd::Died if started.elapsed() >= SETTLED => backoff = FIRST_BACKOFF,
                LifeEnd::Died => {}
            },
            Err(error) => tracing::error!(process, %error, "cannot be started"),
        }
        tracing::warn!(process, in_ms = backoff.as_millis(), "starting it again");
        tokio::select! {
            () = signals::reached(signals.clone(), 1) => return UpEnd::Signalled,
            () = tokio::time::sleep(backoff) => {}
        }
        backoff = (backoff * 2).min(LONGEST_BACKOFF);
    }
}

/// Watches one life of a process.
async fn tend(
    process: &'static str,
    mut child: Child,
    ready: &mpsc::Sender<(&'static str, u16)>,
    signals: &watch::Receiver<u32>,
) -> LifeEnd {
    if let Some(stdout) = child.stdout.take() {
        let ready = ready.clone();
        tokio::spawn(async move {
            let mut lines = BufReader::new(stdout).lines();
            while let Ok(Some(line)) = lines.next_line().await {
                let port = line
                    .strip_prefix("PORTCULLIS_READY ")
                    .and_then(|line| line.rsplit_once("port="));
                match port.and_then(|(_, port)| port.trim().parse().ok()) {
                    Some(port) => {
                        let _ = ready.send((process, port)).await;
                    }
                    // The access log, if it goes to stdout.
                    None => say(&format!("{line}\n")),
                }
            }
        });
    }

    let pid = child.id().and_then(|id| Pid::from_raw(id.cast_signed()));
    tokio::select! {
        status = child.wait() => {
            let code = status.as_ref().ok().and_then(ExitStatus::code);
            if code == Some(i32::from(super::USAGE)) {
                // The other one must not run on alone.
                let _ = kill_process(rustix::process::getpid(), Signal::TERM);
                return LifeEnd::Last(UpEnd::Refused);
            }
            if code == Some(i32::from(super::RESTART)) {
                return LifeEnd::Restart;
            }
            let signal = status.as_ref().ok().and_then(ExitStatusExt::signal);
            tracing::error!(process, code, signal, "it died");
            LifeEnd::Died
        }
        () = signals::reached(signals.clone(), 1) => {
            end(pid, &mut child, signals).await;
            LifeEnd::Last(UpEnd::Signalled)
        }
    }
}

/// Asks the process to end with a SIGTERM, and once more with a SIGINT at each further signal.
async fn end(pid: Option<Pid>, child: &mut Child, signals: &watch::Receiver<u32>) {
    let mut signal = Signal::TERM;
    for count in 2.. {
        if let Some(pid) = pid {
            let _ = kill_process(pid, signal);
        }
        // What the whole control group gets, a process gets twice: see `signals::count`.
        signal = Signal::INT;
        tokio::select! {
            _ = child.wait() => return,
            () = signals::reached(signals.clone(), count) => {}
        }
    }
}

#[derive(Default)]
struct Ports {
    dashboard: Option<u16>,
    gateway: Option<u16>,
}

impl Ports {
    /// True when with this one both are known for the first time.
    fn note(&mut self, component: &str, port: u16) -> bool {
        let both = |ports: &Self| ports.dashboard.is_some() && ports.gateway.is_some();
        let known = both(self);
        match component {
            "gateway" => self.gateway = Some(port),
            _ => self.dashboard = Some(port),
        }
        !known && both(self)
    }
}

/// What to paste. The secrets stay in their files.
fn greeting(
    config: &Config,
    made: &[PathBuf],
    secret_file: Option<&Path>,
    ports: &Ports,
) -> String {
    let (dashboard, gateway) = (
        ports.dashboard.unwrap_or_default(),
        ports.gateway.unwrap_or_default(),
    );
    let file = |name: &str| shell_quoted(&config.home.join(name));
    let url = super::drain::local_url(&config.dashboard, dashboard);

    let mut text = String::new();
    for path in made {
        text += &format!("made {}\n", path.display());
    }

    text += &format!("\nDashboard  {url}/\nGateway    http://127.0.0.1:{gateway}/v1/turns\n");
    text += "\nStart a turn:\n";
    text += &format!(
        "  curl http://127.0.0.1:{gateway}/v1/turns -d '{{\"session\":\"s1\",\"text\":\"hello\"}}'\n"
    );
    // A secret that was made now is a strong one, and the configuration was read before it.
    let is_new = secret_file.is_some_and(|file| made.iter().any(|path| path == file));
    match drain_registration(config) {
        DrainRegistration::Skipped(why) if !is_new => {
            text += &format!("\nNo service can drain this agent: {why}.\n");
        }
        _ => text += &drain_calls(config, secret_file, &url),
    }
    if config.home.join(SERVICE_KEY_FILE).exists() {
        let key = file(SERVICE_KEY_FILE);
        text += "\nA bearer call through the sandboxed provider:\n";
        text +=
            &format!("  curl {url}/api/auth/whoami -H \"Authorization: Bearer $(cat {key})\"\n");
    }

    text += "\nCtrl-C ends both.\n";
    text
}

/// The calls that drain, look and cancel.
fn drain_calls(config: &Config, secret_file: Option<&Path>, url: &str) -> String {
    let secret = match secret_file {
        Some(path) => format!("$(cat {})", shell_quoted(path)),
        None if config.environment.drain_secret.is_some() => {
            "$HERMES_DASHBOARD_DRAIN_SECRET".to_owned()
        }
        None => "THE-DRAIN-SECRET".to_owned(),
    };

    let call = format!("curl {url}/api/gateway/drain -H \"Authorization: Bearer {secret}\"");
    format!(
        "\nDrain, look, cancel:\n  {call} -d '{{\"action\":\"drain\"}}'\n  curl {url}/api/status\n  {call} -d \
         '{{\"action\":\"cancel\"}}'\n"
    )
}

fn shell_quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '/' | '.' | '-' | '_');
    if text.chars().all(plain) {
        text
    } else {
        format!("'{}'", text.replace('\'', "'\\''"))
    }
}
