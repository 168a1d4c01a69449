//! The four actions, as they are typed and as they are carried out at one dashboard.

use super::client::{DashboardClient, REQUEST_TIMEOUT};
use super::failure::{CancelOutcome, DrainFailure, FailureKind};
use super::target::DashboardTarget;
use super::wait::{Drained, SHORTEST_REQUEST, StatusLook, until_drained};
use crate::commands::bounded_text;
use clap::{Args, Subcommand};
use portcullis_home::MAX_TTL_SECONDS;
use serde_json::{Map, Value, json};
use std::time::{Duration, Instant};

/// Longest time for the cancel after a wait that failed.
const CANCEL_TIMEOUT: Duration = Duration::from_secs(5);
const DEFAULT_WAIT_SECONDS: u64 = 60;

#[derive(Debug, Subcommand)]
pub(super) enum Action {
    /// Stop new turns; those in flight finish
    Begin(BeginArgs),
    /// Accept new turns again
    Cancel(CancelArgs),
    /// Print the state of the gateway
    Status(StatusArgs),
    /// Wait until no turn is in flight
    Wait(WaitArgs),
}

#[derive(Debug, Args)]
pub(super) struct BeginArgs {
    #[command(flatten)]
    target: DashboardTarget,
    /// Name of the drain's owner, who alone can cancel it without --force [default: the principal
    /// of the secret]
    #[arg(long, value_parser = bounded_text::owner)]
    owner: Option<String>,
    /// Why the agent is drained, shown to people
    #[arg(long, value_parser = bounded_text::reason)]
    reason: Option<String>,
    /// Seconds after which the drain ends by itself (1 to 86400)
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=MAX_TTL_SECONDS))]
    ttl: Option<u64>,
    /// Do not notify people about the drain
    #[arg(long)]
    suppress_notification: bool,
    /// Then wait until no turn is in flight
    #[arg(long)]
    wait: bool,
    /// Longest wait in seconds [default: 60]
    #[arg(long, value_name = "SECONDS", requires = "wait")]
    timeout: Option<u64>,
}

#[derive(Debug, Args)]
pub(super) struct CancelArgs {
    #[command(flatten)]
    target: DashboardTarget,
    /// Name of the owner whose drain ends [default: the principal of the secret]
    #[arg(long, value_parser = bounded_text::owner)]
    owner: Option<String>,
    /// End the drains of all owners
    #[arg(long)]
    force: bool,
}

#[derive(Debug, Args)]
pub(super) struct StatusArgs {
    #[command(flatten)]
    target: DashboardTarget,
}

#[derive(Debug, Args)]
pub(super) struct WaitArgs {
    #[command(flatten)]
    target: DashboardTarget,
    /// Longest wait in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = DEFAULT_WAIT_SECONDS)]
    timeout: u64,
    /// Cancel the drain when the time is up, so that turns are accepted again
    #[arg(long)]
    cancel_on_timeout: bool,
    /// Name of the owner whose drain --cancel-on-timeout ends [default: the principal of the
    /// secret]
    #[arg(long, requires = "cancel_on_timeout", value_parser = bounded_text::owner)]
    owner: Option<String>,
}

/// What an action that succeeded found.
#[derive(Debug)]
pub(super) struct Done {
    /// The dashboard's answer to a begin, cancel or status.
    pub(super) answer: Option<Value>,
    /// The end of the wait, if there was one.
    pub(super) drained: Option<Drained>,
}

impl Done {
    /// The object that `--json` prints: the dashboard's answer, and how the wait ended.
    pub(super) fn to_json(&self) -> Map<String, Value> {
        let mut object = self
            .answer
            .as_ref()
            .and_then(Value::as_object)
            .cloned()
            .unwrap_or_default();
        object.insert("ok".to_owned(), true.into());
        if let Some(drained) = &self.drained {
            object.insert("drained".to_owned(), (!drained.is_stopped).into());
            object.insert("quiesced".to_owned(), true.into());
            object.insert(
                "gateway_state".to_owned(),
                drained.gateway_state.as_str().into(),
            );
            let tenths = (drained.waited.as_secs_f64() * 10.0).round();
            object.insert("waited_seconds".to_owned(), (tenths / 10.0).into());
        }

        object
    }
}

impl Action {
    pub(super) fn target(&self) -> &DashboardTarget {
        match self {
            Self::Begin(arguments) => &arguments.target,
            Self::Cancel(arguments) => &arguments.target,
            Self::Status(arguments) => &arguments.target,
            Self::Wait(arguments) => &arguments.target,
        }
    }

    /// What is true of an agent for which the action succeeded, as in "3 of 4 agents are drained".
    pub(super) fn goal(&self) -> &'static str {
        match self {
            Self::Begin(arguments) if !arguments.wait => "draining",
            Self::Begin(_) | Self::Wait(_) => "drained",
            Self::Cancel(_) => "cancelled",
            Self::Status(_) => "reached",
        }
    }

    /// Carries the action out at one dashboard. `watch` is called for each look of a wait.
    pub(super) fn perform(
        &self,
        client: &DashboardClient,
        watch: &mut dyn FnMut(&StatusLook<'_>),
    ) -> Result<Done, DrainFailure> {
        match self {
            Self::Begin(arguments) => begin(client, arguments, watch),
            Self::Cancel(arguments) => {
                let body = cancel_body(arguments.owner.as_deref(), arguments.force);
                let answer = client.cancel(&body, REQUEST_TIMEOUT)?;
                Ok(Done {
                    answer: Some(answer),
                    drained: None,
                })
            }
            Self::Status(_) => {
                let answer = client.status_json(REQUEST_TIMEOUT)?;
                Ok(Done {
                    answer: Some(answer),
                    drained: None,
                })
            }
            Self::Wait(arguments) => wait(client, arguments, watch),
        }
    }
}

fn begin(
    client: &DashboardClient,
    arguments: &BeginArgs,
    watch: &mut dyn FnMut(&StatusLook<'_>),
) -> Result<Done, DrainFailure> {
    let start = Instant::now();
    let limit = Duration::from_secs(arguments.timeout.unwrap_or(DEFAULT_WAIT_SECONDS));
    let answer = client.begin(
        &begin_body(arguments),
        limit.clamp(SHORTEST_REQUEST, REQUEST_TIMEOUT),
    )?;
    let drained = match arguments.wait {
        true => Some(until_drained(
            client,
            limit.saturating_sub(start.elapsed()),
            true,
            watch,
        )?),
        false => None,
    };

    Ok(Done {
        answer: Some(answer),
        drained,
    })
}

fn wait(
    client: &DashboardClient,
    arguments: &WaitArgs,
    watch: &mut dyn FnMut(&StatusLook<'_>),
) -> Result<Done, DrainFailure> {
    if arguments.cancel_on_timeout {
        client.secret()?;
    }

    let limit = Duration::from_secs(arguments.timeout);
    match until_drained(client, limit, false, watch) {
        Ok(drained) => Ok(Done {
            answer: None,
            drained: Some(drained),
        }),
        Err(mut failure) => {
            let is_time_up = matches!(
                failure.kind,
                FailureKind::TimedOut | FailureKind::Unreachable
            );
            if arguments.cancel_on_timeout && is_time_up {
                failure.cancel = Some(cancel_after_wait(client, arguments.owner.as_deref()));
            }
            Err(failure)
        }
    }
}

fn cancel_after_wait(client: &DashboardClient, owner: Option<&str>) -> CancelOutcome {
    match client.cancel(&cancel_body(owner, false), CANCEL_TIMEOUT) {
        Ok(answer) => {
            let others = answer["holders"]
                .as_array()
                .is_some_and(|holders| !holders.is_empty());
            let sentence = match others {
                true => "the drain is cancelled, but another owner's stands",
                false => "the drain is cancelled: turns are let in again",
            };
            CancelOutcome {
                is_done: true,
                sentence: sentence.to_owned(),
            }
        }
        Err(failure) => CancelOutcome {
            is_done: false,
            sentence: format!(
                "the drain could not be cancelled and stands: {}",
                failure.detail
            ),
        },
    }
}

/// Only what was given: an older dashboard refuses fields that it does not know.
fn begin_body(arguments: &BeginArgs) -> Value {
    let mut body = json!({"action": "drain"});
    if let Some(owner) = &arguments.owner {
        body["owner"] = owner.as_str().into();
    }

    if let Some(reason) = &arguments.reason {
        body["reason"] = reason.as_str().into();
    }

    if let Some(ttl) = arguments.ttl {
        body["ttl_seconds"] = ttl.into();
    }

    if arguments.suppress_notification {
        body["suppress_notification"] = true.into();
    }

    body
}

fn cancel_body(owner: Option<&str>, force: bool) -> Value {
    let mut body = json!({"action": "cancel"});
    if let Some(owner) = owner {
        body["owner"] = owner.into();
    }
    if force {
        body["force"] = true.into();
    }
    body
}
