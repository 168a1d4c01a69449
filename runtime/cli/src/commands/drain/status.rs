//! What a dashboard's status says about a drain.

use super::client::shown;
use serde::Deserialize;
use std::time::Duration;

/// How long the gateway may take to see the marker before "no drain is on" is believed.
const NOTICE: Duration = Duration::from_secs(5);

/// The states in which this program knows what the other keys mean.
const KNOWN_STATES: [&str; 6] = [
    "starting",
    "running",
    "draining",
    "stopping",
    "stopped",
    "startup_failed",
];

/// The keys of `GET /api/status` that a wait needs. Older dashboards lack some.
#[derive(Clone, Debug, Default, Deserialize)]
pub(super) struct DashboardStatus {
    gateway_state: Option<String>,
    gateway_running: Option<bool>,
    active_agents: Option<u64>,
    drained: Option<bool>,
    quiesced: Option<bool>,
    acknowledged: Option<bool>,
    drain: Option<MarkerView>,
}

#[derive(Clone, Debug, Default, Deserialize)]
struct MarkerView {
    active: Option<bool>,
}

/// What a wait remembers from one look to the next.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct History {
    /// A drain was seen, or this command began it.
    pub(super) was_draining: bool,
    /// Time since the first status that was read.
    pub(super) watched: Duration,
}

/// What a wait does after a look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outlook {
    /// The drain is on and no turn is in flight.
    Drained,
    /// The gateway is stopped for certain, so no turn is in flight.
    Stopped,
    /// The drain was on, and is not any more.
    Ended,
    /// No drain was on for the whole notice time.
    NoDrain,
    /// The state may still change: ask again.
    Wait,
}

impl DashboardStatus {
    pub(super) fn state(&self) -> &str {
        self.gateway_state.as_deref().unwrap_or("unknown")
    }

    pub(super) fn turns(&self) -> Option<u64> {
        self.active_agents
    }

    pub(super) fn is_drain_active(&self) -> bool {
        self.drain
            .as_ref()
            .is_some_and(|marker| marker.active == Some(true))
    }

    /// The marker is away, and the gateway does not drain for another reason.
    fn is_drain_off(&self) -> bool {
        self.drain
            .as_ref()
            .is_some_and(|marker| marker.active == Some(false))
            && self.state() != "draining"
    }

    /// Success needs a state that this program knows: a word of a later gateway may mean that turns
    /// run.
    pub(super) fn judge(&self, history: History) -> Outlook {
        let is_stopped = matches!(self.state(), "stopped" | "startup_failed")
            && self.gateway_running == Some(false);
        let is_quiesced = match self.quiesced.or(self.drained) {
            Some(told) => told,
            // The original has neither key. It drains by state and count.
            None => self.state() == "draining" && self.active_agents == Some(0),
        };
        if KNOWN_STATES.contains(&self.state()) && (is_stopped || is_quiesced) {
            return if is_stopped || self.state() == "stopped" {
                Outlook::Stopped
            } else {
                Outlook::Drained
            };
        }

        if !self.is_drain_off() {
            return Outlook::Wait;
        }

        match (history.was_draining, history.watched > NOTICE) {
            (true, _) => Outlook::Ended,
            (false, true) => Outlook::NoDrain,
            (false, false) => Outlook::Wait,
        }
    }

    /// Why the wait is not over. `oldest` is the age of the oldest turn in seconds.
    pub(super) fn reason(&self, oldest: Option<u64>) -> String {
        match self.state() {
            "unknown" => return "the dashboard cannot tell whether the gateway runs".to_owned(),
            state if !KNOWN_STATES.contains(&state) => {
                let state = shown(state);
                return format!(
                    "the gateway is in the state `{state}`, which this program does not know"
                );
            }
            _ => {}
        }

        if self.is_drain_off() {
            return "no drain is on: begin one with `portcullis drain begin`".to_owned();
        }

        match self.active_agents {
            None => "the dashboard does not say how many turns are in flight".to_owned(),
            Some(0) if self.acknowledged == Some(true) => {
                "no turn is in flight, but the dashboard does not call the agent drained".to_owned()
            }
            Some(0) => {
                "no turn is in flight, but the gateway has not acknowledged the drain".to_owned()
            }
            Some(count) => in_flight(count, oldest),
        }
    }
}

/// "1 turn in flight", or with its age "1 turn in flight, the oldest for 12 s".
pub(super) fn in_flight(count: u64, oldest: Option<u64>) -> String {
    let age = oldest
        .map(|seconds| format!(", the oldest for {seconds} s"))
        .unwrap_or_default();
    match count {
        0 => "no turn is in flight".to_owned(),
        1 => format!("1 turn in flight{age}"),
        count => format!("{count} turns in flight{age}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn status(keys: Value) -> DashboardStatus {
        DashboardStatus::deserialize(keys).expect("a status")
    }

    fn judged(keys: Value, was_draining: bool, watched: u64) -> Outlook {
        status(keys).judge(History {
            was_draining,
            watched: Duration::from_secs(watched),
        })
    }

    #[test]
    fn only_a_certain_status_ends_the_wait() {
        for (keys, expected) in [
            (
                json!({"gateway_state": "draining", "quiesced": true, "drained": true}),
                Outlook::Drained,
            ),
            (
                json!({"gateway_state": "stopped", "quiesced": true, "drained": false}),
                Outlook::Stopped,
            ),
            (
                json!({"gateway_state": "draining", "drained": true}),
                Outlook::Drained,
            ),
            (
                json!({"gateway_state": "draining", "quiesced": false, "drained": true}),
                Outlook::Wait,
            ),
            (
                json!({"gateway_state": "draining", "drained": false, "active_agents": 0}),
                Outlook::Wait,
            ),
            (
                json!({"gateway_state": "draining", "active_agents": 0}),
                Outlook::Drained,
            ),
            (
                json!({"gateway_state": "draining", "active_agents": 1}),
                Outlook::Wait,
            ),
            (json!({"gateway_state": "draining"}), Outlook::Wait),
            (
                json!({"gateway_state": "stopped", "gateway_running": false}),
                Outlook::Stopped,
            ),
            (
                json!({"gateway_state": "startup_failed", "gateway_running": false}),
                Outlook::Stopped,
            ),
            (
                json!({"gateway_state": "stopped", "gateway_running": true}),
                Outlook::Wait,
            ),
            (json!({"gateway_state": "stopped"}), Outlook::Wait),
            (
                json!({"gateway_state": "running", "gateway_running": false}),
                Outlook::Wait,
            ),
            (
                json!({"gateway_state": "unknown", "gateway_running": false}),
                Outlook::Wait,
            ),
            (
                json!({"gateway_state": "unknown", "quiesced": true, "drained": true}),
                Outlook::Wait,
            ),
            (
                json!({"gateway_state": "degraded", "drained": true}),
                Outlook::Wait,
            ),
            (
                json!({"gateway_state": null, "gateway_running": false}),
                Outlook::Wait,
            ),
        ] {
            assert_eq!(judged(keys.clone(), true, 60), expected, "{keys}");
        }
    }

    #[test]
    fn drain_that_ends_is_not_waited_for() {
        let status = |state: &str, active: bool| json!({"gateway_state": state, "drain": {"active": active}});
        assert_eq!(judged(status("running", true), true, 60), Outlook::Wait);
        assert_eq!(
            judged(status("draining", false), true, 60),
            Outlook::Wait,
            "the gateway acts in a moment"
        );
        assert_eq!(judged(status("running", false), true, 0), Outlook::Ended);
        assert_eq!(judged(status("running", false), false, 1), Outlook::Wait);
        assert_eq!(judged(status("running", false), false, 6), Outlook::NoDrain);
        assert_eq!(
            judged(json!({"gateway_state": "running"}), true, 60),
            Outlook::Wait,
            "it does not say"
        );
    }

    #[test]
    fn sentences_are_right_for_none_one_and_many() {
        assert_eq!(in_flight(0, None), "no turn is in flight");
        assert_eq!(in_flight(1, None), "1 turn in flight");
        assert_eq!(
            in_flight(1, Some(3)),
            "1 turn in flight, the oldest for 3 s"
        );
        assert_eq!(
            in_flight(2, Some(3)),
            "2 turns in flight, the oldest for 3 s"
        );
    }

    #[test]
    fn reason_says_what_is_missing() {
        for (keys, expected) in [
            (
                json!({"gateway_state": "draining", "active_agents": 2}),
                "2 turns in flight",
            ),
            (
                json!({"gateway_state": "running", "active_agents": 0}),
                "has not acknowledged the drain",
            ),
            (
                json!({"gateway_state": "draining"}),
                "does not say how many turns",
            ),
            (
                json!({"gateway_state": "unknown", "active_agents": 0}),
                "cannot tell whether the gateway runs",
            ),
            (json!({"gateway_state": "degraded"}), "the state `degraded`"),
            (
                json!({"gateway_state": "running", "drain": {"active": false}}),
                "no drain is on",
            ),
        ] {
            let reason = status(keys.clone()).reason(None);
            assert!(reason.contains(expected), "{keys}: {reason}");
        }
    }
}
