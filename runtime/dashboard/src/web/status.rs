//! The public routes `GET /api/status`, `/healthz` and `/readyz`. They show no names, no paths and
//! no pid.

use super::context::Context;
use super::{Dashboard, GatewayFiles, respond};
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use jiff::Timestamp;
use portcullis_auth::{HealthReport, Permit, ProviderState, Registered};
use portcullis_home::{DrainVerdict, judge};
use portcullis_home::{GatewayState, ObservedState, StatusReading, TurnInFlight};
use serde_json::{Value, json};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

/// The gateway and the drain at one instant.
pub(super) struct ObservedGateway {
    pub(super) reading: StatusReading,
    pub(super) verdict: DrainVerdict,
    pub(super) generation: u64,
    restart_grace: Duration,
}

impl GatewayFiles {
    /// Reads the status file and the marker. Blocks on the disk.
    pub(super) fn read(&self) -> ObservedGateway {
        // First: a change meanwhile then has a number that the caller does not know yet.
        let generation = *self.generation.borrow();
        let reading = self.status.read();
        self.log_trouble(&reading);
        let marker = self.marker.read();
        let verdict = judge(
            &marker,
            reading.epoch.as_ref(),
            self.max_marker_age,
            Timestamp::now(),
        );

        ObservedGateway {
            reading,
            verdict,
            generation,
            restart_grace: self.shutdown_grace,
        }
    }

    /// Logs why the state is unknown, once.
    fn log_trouble(&self, reading: &StatusReading) {
        let trouble = match &reading.state {
            ObservedState::Unknown(why) => Some(why.clone()),
            _ => None,
        };
        let mut last = self
            .last_trouble
            .lock()
            .unwrap_or_else(PoisonError::into_inner);

        if *last != trouble {
            if let Some(reason) = &trouble {
                tracing::warn!(reason, "the state of the gateway is unknown");
            }
            *last = trouble;
        }
    }

    /// The same, on a blocking thread.
    pub(super) async fn observe(&self) -> Option<ObservedGateway> {
        let view = self.clone();
        tokio::task::spawn_blocking(move || view.read()).await.ok()
    }
}

impl ObservedGateway {
    /// Returns whether the gateway acts on the present drain, or, without a drain, accepts turns.
    pub(super) fn is_acknowledged(&self) -> bool {
        let is_draining = self.reading.is(GatewayState::Draining);
        let Some(drain) = self.verdict.drain() else {
            return self.reading.is_up() == Some(true) && !is_draining;
        };
        is_draining
            && self.reading.drain_requested_at.map_or_else(
                || self.was_updated_since(drain.requested_at),
                |acted_on| acted_on == drain.requested_at,
            )
    }

    /// The original's status does not name the drain that it acts on, but it is rewritten every
    /// second while it drains.
    fn was_updated_since(&self, requested_at: Option<Timestamp>) -> bool {
        let updated_at = self
            .reading
            .updated_at
            .as_ref()
            .and_then(|time| time.parse::<Timestamp>().ok());
        match (updated_at, requested_at) {
            (Some(updated_at), Some(requested_at)) => updated_at >= requested_at,
            _ => true,
        }
    }

    /// Returns whether a drain is on, the gateway acts on it, and no turn is in flight.
    pub(super) fn is_drained(&self) -> bool {
        self.verdict.is_draining()
            && self.is_acknowledged()
            && self.reading.active_agents == Some(0)
    }

    /// Returns whether it is certain that no turn is in flight and none will start. Scripts act on
    /// this key.
    fn is_quiesced(&self) -> bool {
        self.is_drained() || self.reading.is_up() == Some(false)
    }

    /// The state as one word.
    pub(super) fn state_word(&self) -> String {
        json!(self.reading.state)
            .as_str()
            .unwrap_or("unknown")
            .to_owned()
    }

    /// `None`: it is not known.
    #[expect(clippy::cast_precision_loss, reason = "far fewer than 2^52 turns")]
    pub(super) fn turns_in_flight(&self) -> Option<f64> {
        self.reading.active_agents.map(|active| active as f64)
    }

    /// Seconds since the oldest turn in flight began; `None`: it is not known.
    pub(super) fn oldest_turn(&self) -> Option<f64> {
        let since = self.reading.turns.iter().map(|turn| turn.since).min();
        match (since, self.reading.active_agents) {
            (Some(since), _) => Some(
                Timestamp::now()
                    .duration_since(since)
                    .as_secs_f64()
                    .max(0.0),
            ),
            (None, Some(0)) => Some(0.0),
            (None, _) => None,
        }
    }

    /// Returns the number of leases. A drain of no owner counts as one.
    pub(super) fn holders(&self) -> usize {
        self.verdict
            .drain()
            .map_or(0, |drain| drain.holders.len().max(1))
    }

    /// Returns what `GET /api/status` shows to everyone.
    pub(super) fn status(&self, auth_required: bool) -> Value {
        let is_running = self.reading.is(GatewayState::Running);
        let drain = self.verdict.drain();
        let is_busy = self
            .reading
            .active_agents
            .map(|active| is_running && active > 0);

        json!({
            "version": env!("CARGO_PKG_VERSION"),
            "gateway_running": self.reading.is_up(),
            "gateway_state": self.reading.state,
            "gateway_updated_at": self.reading.updated_at,
            "active_agents": self.reading.active_agents,
            "gateway_busy": is_busy.unwrap_or(false),
            "gateway_drainable": is_running,
            "drained": self.is_drained(),
            "quiesced": self.is_quiesced(),
            "acknowledged": self.is_acknowledged(),
            "generation": self.generation,
            "drain": {
                "active": self.verdict.is_draining(),
                "requested_at": drain.and_then(|drain| drain.requested_at),
                "expires_at": drain.and_then(|drain| drain.expires_at),
            },
            "restart_drain_timeout": self.restart_grace.as_secs_f64(),
            "nous_session_valid": "unknown",
            "profiles": ["default"],
            "auth_required": auth_required,
        })
    }

    /// Returns the turns in flight that the status file names, with their ages in seconds.
    pub(super) fn turns(&self, now: Timestamp) -> Vec<Value> {
        let turn = |turn: &TurnInFlight| {
            let seconds = now.duration_since(turn.since).as_secs().max(0);
            json!({"session": turn.session, "since": turn.since, "seconds": seconds})
        };
        self.reading.turns.iter().map(turn).collect()
    }

    /// Returns the status with the details that only signed-in people see.
    pub(super) fn for_people(&self, auth_required: bool) -> Value {
        let mut status = self.status(auth_required);
        let drain = self.verdict.drain();
        status["drain"]["principal"] = drain.and_then(|drain| drain.principal.clone()).into();
        status["drain"]["holders"] = json!(drain.map(|drain| &drain.holders));
        status["turns"] = json!(self.reading.turns);
        status["gateway_unknown_because"] = match &self.reading.state {
            ObservedState::Unknown(why) => why.as_str().into(),
            _ => Value::Null,
        };
        status
    }
}

pub(super) async fn status(State(dashboard): State<Arc<Dashboard>>) -> Response {
    match dashboard.gateway.observe().await {
        Some(observed) => Json(observed.status(dashboard.page.auth_required)).into_response(),
        None => respond::internal_error(),
    }
}

pub(super) async fn healthz() -> &'static str {
    "ok\n"
}

/// Answers 503 until the dashboard is ready, and when no drain can begin or end. Every caller gets
/// the counts. Names, limits and faults go to callers with a permit, and on a loopback bind to every
/// caller on this machine, since the page there hands out this process's token.
pub(super) async fn readyz(
    State(dashboard): State<Arc<Dashboard>>,
    context: Context,
    permit: Option<Extension<Permit>>,
) -> (StatusCode, Json<Value>) {
    let serving = dashboard.live.now();
    let sandboxed = || {
        serving
            .gate
            .registry()
            .iter()
            .filter(|provider| provider.health.is_some())
    };
    let reports: Vec<_> = sandboxed()
        .map(|provider| (provider, provider.health.as_ref().map(|h| h.report())))
        .collect();

    let is_quarantined = |report: &Option<HealthReport>| {
        report
            .as_ref()
            .is_some_and(|report| report.state == ProviderState::Quarantined)
    };
    let quarantined = reports
        .iter()
        .filter(|(_, report)| is_quarantined(report))
        .count();

    let mut providers = json!({"loaded": reports.len(), "loading": serving.loading, "refused": serving.refused.len(), "quarantined": quarantined});
    let is_local = dashboard.page.is_local() && context.outside.is_none();
    if permit.is_some() || is_local {
        providers["detail"] = reports
            .iter()
            .map(|(provider, report)| detail_of(provider, report.as_ref()))
            .collect();
    }

    let is_ready = serving.is_ready && !dashboard.live.is_ending() && dashboard.drain.is_running();
    let status = if is_ready {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    (
        status,
        Json(json!({"ready": is_ready, "providers": providers})),
    )
}

/// `link_modules` is shown where it is on: the code that runs is then not that of the digest.
fn detail_of(provider: &Registered, report: Option<&HealthReport>) -> Value {
    let mut detail =
        json!({"name": provider.name, "component": provider.component, "health": report});
    if provider.is_linked {
        detail["link_modules"] = true.into();
    }
    detail
}

#[cfg(test)]
mod tests {
    use super::*;
    use portcullis_home::DrainView;
    use std::collections::BTreeMap;

    fn observed(state: GatewayState, active: u64, verdict: DrainVerdict) -> ObservedGateway {
        let reading = StatusReading {
            state: ObservedState::Known(state),
            active_agents: Some(active),
            drain_requested_at: verdict.drain().map(|drain| drain.requested_at),
            updated_at: None,
            turns: Vec::new(),
            turns_refused: BTreeMap::new(),
            epoch: None,
        };
        ObservedGateway {
            reading,
            verdict,
            generation: 1,
            restart_grace: Duration::from_secs(60),
        }
    }

    fn draining() -> DrainVerdict {
        DrainVerdict::Draining(DrainView {
            requested_at: at(2),
            ..DrainView::default()
        })
    }

    fn at(second: i64) -> Option<Timestamp> {
        Timestamp::from_second(second).ok()
    }

    #[test]
    fn drained_means_draining_with_nothing_in_flight() {
        let drained =
            |state, active| observed(state, active, draining()).status(false)["drained"] == true;
        assert!(drained(GatewayState::Draining, 0));
        assert!(!drained(GatewayState::Draining, 1));
        assert!(!drained(GatewayState::Running, 0));
        assert!(!drained(GatewayState::Stopped, 0));
        let over = observed(GatewayState::Draining, 0, DrainVerdict::NotDraining).status(false);
        assert_eq!(
            (&over["drained"], &over["acknowledged"]),
            (&false.into(), &false.into())
        );
    }

    #[test]
    fn status_of_an_earlier_drain_does_not_mean_drained() {
        let drained = |acted_on, updated_at: Option<&str>| {
            let mut observed = observed(GatewayState::Draining, 0, draining());
            observed.reading.drain_requested_at = acted_on;
            observed.reading.updated_at = updated_at.map(str::to_owned);
            observed.is_drained()
        };
        assert!(!drained(Some(at(1)), None));
        assert!(!drained(Some(None), None));
        assert!(drained(Some(at(2)), None));
        assert!(
            drained(None, Some("1970-01-01T00:00:03+00:00")),
            "the original does not say"
        );
        assert!(!drained(None, Some("1970-01-01T00:00:01+00:00")));
    }

    #[test]
    fn busy_and_drainable_follow_the_state() {
        let busy = observed(GatewayState::Running, 2, DrainVerdict::NotDraining).status(false);
        assert_eq!(
            (&busy["gateway_busy"], &busy["gateway_drainable"]),
            (&true.into(), &true.into())
        );
        let draining = observed(GatewayState::Draining, 2, DrainVerdict::NotDraining).status(false);
        assert_eq!(
            (&draining["gateway_busy"], &draining["gateway_drainable"]),
            (&false.into(), &false.into())
        );
    }

    #[test]
    fn what_is_not_known_is_neither_stopped_nor_quiesced() {
        let mut observed = observed(GatewayState::Stopped, 0, draining());
        assert!(observed.is_quiesced() && !observed.is_drained());
        observed.reading.state = ObservedState::Unknown("the file is damaged".to_owned());
        observed.reading.active_agents = None;
        let status = observed.for_people(false);
        assert_eq!(status["gateway_state"], "unknown");
        assert!(status["gateway_running"].is_null() && status["active_agents"].is_null());
        for key in ["drained", "quiesced", "acknowledged"] {
            assert_eq!(status[key], false, "{key}");
        }
        assert_eq!(status["gateway_unknown_because"], "the file is damaged");
    }
}
