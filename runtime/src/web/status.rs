//! What everyone may know: `GET /api/status`, `/healthz`, `/readyz`. No names, no paths, no pid.

use super::{Dashboard, GatewayView, respond};
use crate::auth::{HealthReport, Permit, ProviderState, Registered};
use crate::drain::{Verdict, judge};
use crate::gateway::{GatewayState, StatusReading};
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use jiff::Timestamp;
use serde_json::{Value, json};
use std::sync::Arc;

impl GatewayView {
    pub(super) fn read(&self) -> (StatusReading, Verdict) {
        let verdict = judge(&self.marker.read(), self.epoch.as_ref(), self.max_marker_age, Timestamp::now());
        (self.status.read(), verdict)
    }
}

pub(super) async fn status(State(dashboard): State<Arc<Dashboard>>) -> Response {
    let view = dashboard.gateway.clone();
    // Two small files: off the workers, which must never wait for a disk.
    match tokio::task::spawn_blocking(move || view.read()).await {
        Ok((reading, verdict)) => {
            Json(describe(&reading, &verdict, dashboard.page.auth_required)).into_response()
        }
        Err(_) => respond::internal_error(),
    }
}

fn describe(reading: &StatusReading, verdict: &Verdict, auth_required: bool) -> Value {
    let is_running = reading.gateway_state == GatewayState::Running;
    let is_draining = reading.gateway_state == GatewayState::Draining;
    let drain = verdict.drain();
    // A status that is older than this drain says nothing of it.
    let requested_at = drain.and_then(|drain| drain.requested_at);
    let is_of_this_drain = reading.drain_requested_at.is_none_or(|acted_on| acted_on == requested_at);
    json!({
        "version": env!("CARGO_PKG_VERSION"),
        "gateway_running": reading.is_up(),
        "gateway_state": reading.gateway_state,
        "gateway_updated_at": reading.updated_at,
        "active_agents": reading.active_agents,
        "gateway_busy": is_running && reading.active_agents > 0,
        "gateway_drainable": is_running,
        "drained": is_draining && is_of_this_drain && reading.active_agents == 0,
        "drain": {
            "active": verdict.is_draining(),
            "requested_at": requested_at,
            "expires_at": drain.and_then(|drain| drain.expires_at),
        },
        "auth_required": auth_required,
    })
}

/// The same with what only people who are let in may know: who drains, and which turns are in flight.
pub(super) fn describe_for_people(reading: &StatusReading, verdict: &Verdict, auth_required: bool) -> Value {
    let mut status = describe(reading, verdict, auth_required);
    status["drain"]["principal"] = verdict.drain().and_then(|drain| drain.principal.clone()).into();
    status["turns"] = json!(reading.turns);
    status
}

pub(super) async fn healthz() -> &'static str {
    "ok\n"
}

/// 503 until the dashboard is ready. Numbers for everyone. Names, limits and faults for those who may see them: a caller with
/// a permit, and on a loopback bind anyone, since the page there hands out this process's token.
pub(super) async fn readyz(
    State(dashboard): State<Arc<Dashboard>>,
    permit: Option<Extension<Permit>>,
) -> (StatusCode, Json<Value>) {
    let serving = dashboard.live.now();
    let sandboxed = || serving.gate.registry().iter().filter(|provider| provider.health.is_some());
    let reports: Vec<_> =
        sandboxed().map(|provider| (provider, provider.health.as_ref().map(|h| h.report()))).collect();
    let is_quarantined = |report: &Option<HealthReport>| {
        report.as_ref().is_some_and(|report| report.state == ProviderState::Quarantined)
    };
    let quarantined = reports.iter().filter(|(_, report)| is_quarantined(report)).count();
    let mut providers = json!({"loaded": reports.len(), "loading": serving.loading, "refused": serving.refused, "quarantined": quarantined});
    let is_local = !dashboard.page.auth_required && !dashboard.page.insecure;
    if permit.is_some() || is_local {
        let detail = |(provider, report): &(&Registered, Option<HealthReport>)| json!({"name": provider.name, "component": provider.component, "health": report});
        providers["detail"] = reports.iter().map(detail).collect();
    }
    let is_ready = serving.is_ready;
    let status = if is_ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(json!({"ready": is_ready, "providers": providers})))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::drain::DrainView;

    fn described(state: GatewayState, active: u64, verdict: &Verdict) -> Value {
        let reading = StatusReading {
            gateway_state: state,
            active_agents: active,
            drain_requested_at: verdict.drain().map(|drain| drain.requested_at),
            updated_at: None,
            turns: Vec::new(),
        };
        describe(&reading, verdict, false)
    }

    #[test]
    fn drained_means_draining_with_nothing_in_flight() {
        let draining = Verdict::Draining(DrainView::default());
        assert_eq!(described(GatewayState::Draining, 0, &draining)["drained"], true);
        assert_eq!(described(GatewayState::Draining, 1, &draining)["drained"], false);
        assert_eq!(described(GatewayState::Running, 0, &draining)["drained"], false);
        assert_eq!(described(GatewayState::Stopped, 0, &draining)["drained"], false);
    }

    #[test]
    fn status_of_an_earlier_drain_does_not_mean_drained() {
        let at = |second| Timestamp::from_second(second).ok();
        let verdict = Verdict::Draining(DrainView { requested_at: at(2), ..DrainView::default() });
        let status = |acted_on| {
            let state = GatewayState::Draining;
            let reading = StatusReading {
                gateway_state: state,
                active_agents: 0,
                drain_requested_at: acted_on,
                updated_at: None,
                turns: Vec::new(),
            };
            describe(&reading, &verdict, false)["drained"].clone()
        };
        assert_eq!(status(Some(at(1))), false);
        assert_eq!(status(Some(None)), false);
        assert_eq!(status(Some(at(2))), true);
        assert_eq!(status(None), true, "the original does not tell");
    }

    #[test]
    fn busy_and_drainable_follow_the_state() {
        let busy = described(GatewayState::Running, 2, &Verdict::NotDraining);
        assert_eq!((&busy["gateway_busy"], &busy["gateway_drainable"]), (&true.into(), &true.into()));
        let draining = described(GatewayState::Draining, 2, &Verdict::NotDraining);
        assert_eq!(
            (&draining["gateway_busy"], &draining["gateway_drainable"]),
            (&false.into(), &false.into())
        );
    }
}
