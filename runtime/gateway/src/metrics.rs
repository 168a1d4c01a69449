//! The gateway's metrics, and the text of `GET /metrics`.

use super::turns::{TurnRefusal, Turns};
use jiff::Timestamp;
use portcullis_home::GatewayState;
use portcullis_observe::exposition::{self, TextFormat};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

type Label = [(&'static str, &'static str); 1];

/// The gateway's state, as the metrics show it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct LifeView {
    pub state: GatewayState,
    /// Whether the gateway acts on a drain.
    pub drain_active: bool,
    /// Number of owners of that drain.
    pub drain_holders: usize,
    /// Number of earlier runs that may have left a process of a turn; each counts as a turn.
    pub leftovers: usize,
}

/// The gateway's counters, and the last [`LifeView`] that was set.
#[derive(Debug)]
pub(super) struct GatewayMetrics {
    refused: Family<Label, Counter>,
    restarts: Counter,
    life: Mutex<LifeView>,
}

impl Default for GatewayMetrics {
    fn default() -> Self {
        let refused = Family::<Label, Counter>::default();
        // A rate over a counter that exists from the start includes its first increase.
        for reason in TurnRefusal::REASONS {
            drop(refused.get_or_create(&[("reason", reason)]));
        }

        let life = LifeView {
            state: GatewayState::Starting,
            drain_active: false,
            drain_holders: 0,
            leftovers: 0,
        };
        Self {
            refused,
            restarts: Counter::default(),
            life: Mutex::new(life),
        }
    }
}

impl GatewayMetrics {
    pub(super) fn set_life(&self, life: LifeView) {
        *self.life() = life;
    }

    /// Counts restarts by request that led to this process.
    pub(super) fn restarted(&self, restarts: u64) {
        self.restarts.inc_by(restarts);
    }

    pub(super) fn turn_refused(&self, refusal: TurnRefusal) {
        self.refused
            .get_or_create(&[("reason", refusal.reason())])
            .inc();
    }

    /// Returns how many turns were refused, by reason.
    pub(super) fn refused(&self) -> BTreeMap<&'static str, u64> {
        let count = |reason| {
            (
                reason,
                self.refused.get_or_create(&[("reason", reason)]).get(),
            )
        };
        TurnRefusal::REASONS.map(count).into()
    }

    /// Returns the number of turns in flight, with what is left of those of earlier runs.
    pub(super) fn active(&self, turns: &Turns<Timestamp>) -> usize {
        turns.snapshot().active + self.life().leftovers
    }

    /// The metrics at this moment. Reads `/proc`, so it blocks for a moment.
    pub(super) fn exposition(&self, turns: &Turns<Timestamp>, format: TextFormat) -> String {
        let life = *self.life();
        let in_flight = turns.in_flight();
        let now = Timestamp::now();
        let oldest = in_flight
            .iter()
            .map(|(_, turn)| now.duration_since(turn.since).as_secs())
            .max();

        let state = Family::<Label, Gauge>::default();
        for known in GatewayState::ALL {
            state
                .get_or_create(&[("state", known.as_str())])
                .set((life.state == known).into());
        }
        let mut registry = Registry::with_prefix("portcullis");
        registry.register(
            "gateway_state",
            "1 for the present state of the gateway, 0 for the others",
            state,
        );
        registry.register(
            "turns_in_flight",
            "Turns in flight",
            count(in_flight.len() + life.leftovers),
        );
        registry.register(
            "oldest_turn_seconds",
            "Age of the oldest turn in flight, 0 without one",
            gauge(oldest.unwrap_or_default()),
        );
        registry.register(
            "drain_active",
            "1 while the gateway acts on a drain, 0 otherwise",
            gauge(life.drain_active.into()),
        );
        registry.register(
            "drain_holders",
            "Owners of the drain",
            count(life.drain_holders),
        );
        registry.register(
            "turns_refused",
            "Refused turns by reason",
            self.refused.clone(),
        );
        registry.register(
            "gateway_restarts",
            "Restarts of the gateway by request over this home, up to the start of the process",
            self.restarts.clone(),
        );
        exposition::render(&[&registry], format)
    }

    fn life(&self) -> MutexGuard<'_, LifeView> {
        // It is replaced as a whole.
        self.life.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn count(number: usize) -> Gauge {
    gauge(i64::try_from(number).unwrap_or(i64::MAX))
}

fn gauge(number: i64) -> Gauge {
    let gauge: Gauge = Gauge::default();
    gauge.set(number);
    gauge
}

#[cfg(test)]
mod tests {
    use super::super::turns::{Admittance, TurnOrigin};
    use super::*;

    #[test]
    fn every_metric_has_its_type() {
        let turns = Turns::new(8);
        turns.set_admittance(Admittance::Open);
        let permit = turns.admit("s", TurnOrigin::User, Timestamp::now());
        let metrics = GatewayMetrics::default();
        metrics.set_life(LifeView {
            state: GatewayState::Draining,
            drain_active: true,
            drain_holders: 2,
            leftovers: 3,
        });
        metrics.turn_refused(TurnRefusal::SessionBusy);
        metrics.restarted(3);
        let text = metrics.exposition(&turns, TextFormat::Prometheus);
        for line in [
            "# TYPE portcullis_gateway_state gauge",
            r#"portcullis_gateway_state{state="draining"} 1"#,
            r#"portcullis_gateway_state{state="running"} 0"#,
            "portcullis_turns_in_flight 4",
            "portcullis_oldest_turn_seconds 0",
            "portcullis_drain_active 1",
            "portcullis_drain_holders 2",
            "# TYPE portcullis_turns_refused_total counter",
            r#"portcullis_turns_refused_total{reason="session_busy"} 1"#,
            r#"portcullis_turns_refused_total{reason="max_turns"} 0"#,
            "# TYPE portcullis_gateway_restarts_total counter",
            "portcullis_gateway_restarts_total 3",
            "# TYPE portcullis_build_info gauge",
            "# TYPE process_cpu_seconds_total counter",
        ] {
            assert!(
                text.lines().any(|found| found == line),
                "{line} is not in:\n{text}"
            );
        }
        drop(permit);
    }
}
