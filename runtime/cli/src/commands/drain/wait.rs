//! Waiting until an agent is drained.
//!
//! **Invariant:** the wait succeeds only on a status that says for certain that no turn is in
//! flight. Everything else, an unknown state included, is looked at again until the time is up.

use super::client::{DashboardClient, REQUEST_TIMEOUT};
use super::failure::{DrainFailure, FailureKind};
use super::status::{DashboardStatus, History, Outlook, in_flight};
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// Time between two requests for the state.
const POLL: Duration = Duration::from_millis(250);
/// Between two questions for the age of the oldest turn, while the number of turns stays the same.
const AGE_POLL: Duration = Duration::from_secs(2);
/// The last look still gets this much when the time is up.
pub(super) const SHORTEST_REQUEST: Duration = Duration::from_millis(100);

/// What one look at the status found, for a progress line.
pub(super) struct StatusLook<'a> {
    pub(super) status: &'a DashboardStatus,
    /// Age of the oldest turn in seconds, if it is known.
    pub(super) oldest: Option<u64>,
    pub(super) waited: Duration,
}

/// The end of a wait that succeeded.
#[derive(Clone, Debug)]
pub(super) struct Drained {
    /// The gateway is stopped, so it did not drain.
    pub(super) is_stopped: bool,
    pub(super) gateway_state: String,
    pub(super) waited: Duration,
}

/// The age of the oldest turn, asked for now and then.
#[derive(Default)]
struct Oldest {
    turns: Option<u64>,
    asked: Option<Instant>,
    seconds: Option<u64>,
}

impl Oldest {
    fn look(
        &mut self,
        client: &DashboardClient,
        turns: Option<u64>,
        within: Duration,
    ) -> Option<u64> {
        if turns.is_none_or(|turns| turns == 0) {
            *self = Self::default();
            return None;
        }

        let since = self
            .asked
            .map(|asked| asked.elapsed())
            .filter(|since| *since < AGE_POLL);
        if let (Some(since), true) = (since, self.turns == turns) {
            return self
                .seconds
                .map(|seconds| seconds.saturating_add(since.as_secs()));
        }

        self.seconds = client.oldest_turn(within);
        self.asked = Some(Instant::now());
        self.turns = turns;
        self.seconds
    }
}

/// Looks at the status until the agent is drained or `limit` is over. `has_begun`: the caller knows
/// that a drain is on.
///
/// # Errors
/// - `Refused`: the dashboard refuses to show its status.
/// - `NoLongerDraining`: the drain ended, or none was on for the notice time.
/// - `Unreachable`: the time is up and the dashboard never answered.
/// - `TimedOut`: the time is up; the sentence says why the agent does not count as drained.
pub(super) fn until_drained(
    client: &DashboardClient,
    limit: Duration,
    has_begun: bool,
    watch: &mut dyn FnMut(&StatusLook<'_>),
) -> Result<Drained, DrainFailure> {
    let start = Instant::now();
    let left = || limit.saturating_sub(start.elapsed());
    let budget = || left().clamp(SHORTEST_REQUEST, REQUEST_TIMEOUT);
    let mut history = History {
        was_draining: has_begun,
        watched: Duration::ZERO,
    };
    let mut first_status: Option<Instant> = None;
    let mut is_reached = false;
    let mut oldest = Oldest::default();

    let mut last_known = None;
    loop {
        let within = budget();
        let failure = match client.status(within) {
            Ok(status) => {
                is_reached = true;
                history.watched = first_status.get_or_insert_with(Instant::now).elapsed();
                history.was_draining |= status.is_drain_active();
                match judge(client, &status, history, budget()) {
                    Judged::Done(is_stopped) => {
                        let gateway_state = status.state().to_owned();
                        return Ok(Drained {
                            is_stopped,
                            gateway_state,
                            waited: start.elapsed(),
                        });
                    }
                    Judged::Over(failure) => return Err(failure),
                    Judged::Wait(reason) => {
                        let oldest = oldest.look(client, status.turns(), budget());
                        watch(&StatusLook {
                            status: &status,
                            oldest,
                            waited: start.elapsed(),
                        });
                        let reason = reason.unwrap_or_else(|| status.reason(oldest));
                        last_known = Some(reason.clone());
                        DrainFailure::new(FailureKind::TimedOut, reason)
                    }
                }
            }
            Err(failure) if failure.kind == FailureKind::Refused => return Err(failure),
            // The dashboard may be restarting: the drain stands, so the wait continues.
            Err(failure) => {
                is_reached |= failure.kind == FailureKind::Failed;
                failure
            }
        };
        if left().is_zero() {
            // A look that was cut short by the end of the time says less than the one before it.
            let is_cut_short = within < REQUEST_TIMEOUT && failure.kind == FailureKind::Unreachable;
            let reason = last_known
                .filter(|_| is_cut_short)
                .unwrap_or(failure.detail);
            return Err(gave_up(limit, is_reached, &reason));
        }
        pause(POLL.min(left()));
    }
}

enum Judged {
    /// `true`: the gateway is stopped.
    Done(bool),
    Over(DrainFailure),
    /// Look again, because of this, or because of what the status says.
    Wait(Option<String>),
}

fn judge(
    client: &DashboardClient,
    status: &DashboardStatus,
    history: History,
    within: Duration,
) -> Judged {
    let over =
        |detail: &str| Judged::Over(DrainFailure::new(FailureKind::NoLongerDraining, detail));
    match status.judge(history) {
        Outlook::Ended => over("the drain was cancelled or has expired"),
        Outlook::NoDrain => over("no drain is on: begin one with `portcullis drain begin`"),
        Outlook::Wait => Judged::Wait(None),
        outlook @ (Outlook::Drained | Outlook::Stopped) => {
            // A status file that could not be written is old: the gateway of this machine has the
            // last word.
            match client.local_turns(within) {
                None | Some(0) => Judged::Done(outlook == Outlook::Stopped),
                Some(turns) => {
                    let turns = u64::try_from(turns).unwrap_or(u64::MAX);
                    Judged::Wait(Some(format!(
                        "the gateway reports {}",
                        in_flight(turns, None)
                    )))
                }
            }
        }
    }
}

fn gave_up(limit: Duration, is_reached: bool, reason: &str) -> DrainFailure {
    let seconds = limit.as_secs();
    match is_reached {
        true => DrainFailure::new(
            FailureKind::TimedOut,
            format!("not drained after {seconds} s: {reason}"),
        ),
        false => DrainFailure::unreachable(format!("{reason} (tried for {seconds} s)")),
    }
}

/// A command-line client has nothing else to wait for.
fn pause(time: Duration) {
    let (_never, nothing) = mpsc::channel::<()>();
    let _ = nothing.recv_timeout(time);
}
