//! The client side of a drain: what a platform service does before a lifecycle action.

use super::{Common, UsageError};
use anyhow::{Context, Result, bail};
use clap::{Args, Subcommand};
use portcullis::config::{Config, Secret};
use serde_json::{Value, json};
use std::fs;
use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::mpsc;
use std::time::{Duration, Instant};
use ureq::Agent;

/// Where `up` leaves the secret that it makes, in the home.
pub(super) const SECRET_FILE: &str = "drain-secret";

const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

#[derive(Debug, Subcommand)]
pub(super) enum DrainCommand {
    /// Stop new turns; those in flight finish
    Begin {
        #[command(flatten)]
        target: Target,
        /// End by itself after so many seconds (1 to 86400)
        #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=86_400))]
        ttl: Option<u64>,
        /// Spare people a message about it
        #[arg(long)]
        suppress_notification: bool,
    },
    /// Let turns in again
    Cancel {
        #[command(flatten)]
        target: Target,
    },
    /// Show the gateway's state
    Status {
        #[command(flatten)]
        target: Target,
    },
    /// Wait until no turn is in flight
    Wait {
        #[command(flatten)]
        target: Target,
        /// Give up after so many seconds
        #[arg(long, value_name = "SECONDS", default_value_t = 60)]
        timeout: u64,
        /// Cancel the drain when giving up, so that turns are let in again
        #[arg(long)]
        cancel_on_timeout: bool,
    },
}

#[derive(Clone, Debug, Args)]
pub(super) struct Target {
    /// The dashboard [default: where the configuration says that it listens]
    #[arg(long)]
    url: Option<String>,
    /// A file with the secret [default: $HERMES_DASHBOARD_DRAIN_SECRET, else drain-secret in the home]
    #[arg(long, value_name = "FILE")]
    secret_file: Option<PathBuf>,
}

pub(super) fn run(common: &Common, command: DrainCommand) -> Result<ExitCode> {
    match command {
        DrainCommand::Begin { target, ttl, suppress_notification } => {
            let mut body = json!({"action": "drain", "suppress_notification": suppress_notification});
            if let Some(ttl) = ttl {
                body["ttl_seconds"] = ttl.into();
            }
            out!("{}", Client::new(common, &target)?.control(&body)?);
        }
        DrainCommand::Cancel { target } => {
            out!("{}", Client::new(common, &target)?.control(&json!({"action": "cancel"}))?);
        }
        DrainCommand::Status { target } => out!("{}", Client::new(common, &target)?.status()?),
        DrainCommand::Wait { target, timeout, cancel_on_timeout } => {
            return wait(&Client::new(common, &target)?, Duration::from_secs(timeout), cancel_on_timeout);
        }
    }
    Ok(ExitCode::SUCCESS)
}

struct Client {
    agent: Agent,
    url: String,
    /// The gateway on this machine, which knows how old its turns are.
    gateway: String,
    secret: Result<Secret, String>,
}

impl Client {
    fn new(common: &Common, target: &Target) -> Result<Self> {
        let config = common.load()?;
        let url =
            target.url.clone().unwrap_or_else(|| local_url(&config.dashboard.host, config.dashboard.port));
        if !["http://", "https://"].iter().any(|scheme| url.starts_with(scheme)) {
            return Err(UsageError(format!("--url: {url:?} is no address like http://127.0.0.1:9119")).into());
        }
        // The secret goes to the dashboard and nowhere else, whatever HTTP_PROXY says.
        let agent = Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(REQUEST_TIMEOUT))
            .proxy(None);
        Ok(Self {
            agent: agent.build().into(),
            url: url.trim_end_matches('/').to_owned(),
            gateway: format!("http://{}", config.gateway.listen),
            secret: secret(&config, target),
        })
    }

    fn control(&self, body: &Value) -> Result<Value> {
        let secret = self.secret.as_ref().map_err(|missing| UsageError(missing.clone()))?;
        let url = format!("{}/api/gateway/drain", self.url);
        let response = self
            .agent
            .post(&url)
            .header("Authorization", format!("Bearer {}", secret.expose()))
            .header("Content-Type", "application/json")
            .send(body.to_string())
            .with_context(|| format!("cannot reach {url}"))?;
        read(response, &url)
    }

    fn status(&self) -> Result<Value> {
        let url = format!("{}/api/status", self.url);
        read(self.agent.get(&url).call().with_context(|| format!("cannot reach {url}"))?, &url)
    }

    /// For each turn in flight, seconds since it began; `None` when the gateway cannot be asked.
    fn ages_of_turns(&self) -> Option<Vec<i64>> {
        let response = self.agent.get(format!("{}/v1/turns", self.gateway)).call().ok()?;
        let turns = read(response, "").ok()?;
        Some(turns["turns"].as_array()?.iter().filter_map(|turn| turn["seconds"].as_i64()).collect())
    }
}

/// Where a dashboard that binds this host is reached from this machine.
pub(super) fn local_url(host: &str, port: u16) -> String {
    match host {
        "0.0.0.0" => format!("http://127.0.0.1:{port}"),
        "::" => format!("http://[::1]:{port}"),
        host if host.contains(':') => format!("http://[{host}]:{port}"),
        host => format!("http://{host}:{port}"),
    }
}

fn secret(config: &Config, target: &Target) -> Result<Secret, String> {
    let read = |path: PathBuf| {
        let text =
            fs::read_to_string(&path).map_err(|error| format!("cannot read {}: {error}", path.display()))?;
        Ok(Secret::new(text.trim().to_owned()))
    };
    if let Some(path) = &target.secret_file {
        return read(path.clone());
    }
    if let Some(secret) = &config.environment.drain_secret {
        return Ok(secret.clone());
    }
    read(config.home.join(SECRET_FILE)).map_err(|error| {
        format!("no drain secret: set HERMES_DASHBOARD_DRAIN_SECRET, or pass --secret-file ({error})")
    })
}

fn read(mut response: ureq::http::Response<ureq::Body>, url: &str) -> Result<Value> {
    let status = response.status();
    let text = response.body_mut().read_to_string().unwrap_or_default();
    let body: Value = serde_json::from_str(&text).unwrap_or(Value::Null);
    if status.is_success() {
        return Ok(body);
    }
    let detail = body["detail"].as_str().unwrap_or("no detail");
    match status.as_u16() {
        401 => bail!("{url} does not accept the drain secret (401): is it this agent's?"),
        code => bail!("{url} answered {code}: {detail}"),
    }
}

/// Between two looks.
const POLL: Duration = Duration::from_millis(250);
/// How long the gateway may take to see the marker before "no drain" is believed.
const NOTICE: Duration = Duration::from_secs(5);

fn wait(client: &Client, timeout: Duration, cancel_on_timeout: bool) -> Result<ExitCode> {
    let start = Instant::now();
    let mut progress = Progress::default();
    let trouble = loop {
        let trouble = match client.status() {
            Ok(status) => match judge(&status, start.elapsed()) {
                // A status that could not be written is old: the gateway itself has the last word.
                Outlook::Drained(_) if client.ages_of_turns().is_some_and(|ages| !ages.is_empty()) => None,
                Outlook::Drained(why) => {
                    progress.end();
                    out!("{why} after {:.1} s", start.elapsed().as_secs_f64());
                    return Ok(ExitCode::SUCCESS);
                }
                Outlook::NoDrain => {
                    progress.end();
                    bail!("no drain is on: begin one with `portcullis drain begin`");
                }
                Outlook::Wait(active) => {
                    progress.show(active, client, start.elapsed());
                    None
                }
            },
            // The dashboard may be restarting: the drain stands, so the wait goes on.
            Err(error) => Some(error),
        };
        let left = timeout.saturating_sub(start.elapsed());
        if left.is_zero() {
            break trouble;
        }
        pause(POLL.min(left));
    };
    progress.end();
    let left = trouble.map_or_else(|| "turns are still in flight".to_owned(), |error| format!("{error:#}"));
    tell!("portcullis: not drained after {} s: {left}", timeout.as_secs());
    if cancel_on_timeout {
        client
            .control(&json!({"action": "cancel"}))
            .context("the drain could not be cancelled and stands")?;
        tell!("portcullis: the drain is cancelled: turns are let in again");
    }
    Ok(ExitCode::FAILURE)
}

enum Outlook {
    Drained(&'static str),
    NoDrain,
    Wait(u64),
}

fn judge(status: &Value, elapsed: Duration) -> Outlook {
    let is_draining = status["gateway_state"] == "draining";
    if status["drained"] == true {
        return Outlook::Drained("drained");
    }
    if status["gateway_running"] == false {
        return Outlook::Drained("the gateway is not running, so no turn is in flight");
    }
    if status["drain"]["active"] == false && !is_draining && elapsed > NOTICE {
        return Outlook::NoDrain;
    }
    Outlook::Wait(status["active_agents"].as_u64().unwrap_or_default())
}

/// One line that is written over on a terminal; elsewhere a line whenever something changed.
#[derive(Default)]
struct Progress {
    last: Option<u64>,
    open: bool,
}

impl Progress {
    fn show(&mut self, active: u64, client: &Client, elapsed: Duration) {
        let terminal = io::stderr().is_terminal();
        if !terminal && self.last == Some(active) {
            return;
        }
        self.last = Some(active);
        let oldest = client
            .ages_of_turns()
            .and_then(|ages| ages.into_iter().max())
            .map(|seconds| format!(", oldest {seconds} s"))
            .unwrap_or_default();
        let line = format!("{active} turns in flight{oldest}, waited {} s", elapsed.as_secs());
        if terminal {
            let _ = write!(io::stderr(), "\r\x1b[2K{line}");
            self.open = true;
        } else {
            tell!("{line}");
        }
    }

    fn end(&mut self) {
        if std::mem::take(&mut self.open) {
            tell!("");
        }
    }
}

/// A command-line client has nothing else to wait for.
fn pause(time: Duration) {
    let (_never, nothing) = mpsc::channel::<()>();
    let _ = nothing.recv_timeout(time);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outlook(status: &Value, elapsed: u64) -> &'static str {
        match judge(status, Duration::from_secs(elapsed)) {
            Outlook::Drained(_) => "drained",
            Outlook::NoDrain => "no drain",
            Outlook::Wait(_) => "wait",
        }
    }

    #[test]
    fn waiting_ends_when_nothing_is_in_flight() {
        let status = |state: &str, drained: bool, marker: bool| {
            json!({"gateway_state": state, "gateway_running": state != "stopped", "drained": drained,
                   "active_agents": 1, "drain": {"active": marker}})
        };
        assert_eq!(outlook(&status("draining", true, true), 0), "drained");
        assert_eq!(outlook(&status("draining", false, true), 60), "wait");
        assert_eq!(outlook(&status("running", false, true), 60), "wait");
        assert_eq!(outlook(&status("running", false, false), 1), "wait");
        assert_eq!(outlook(&status("running", false, false), 6), "no drain");
        assert_eq!(outlook(&status("stopped", false, true), 0), "drained");
    }
}
