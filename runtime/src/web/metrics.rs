//! What is counted, and `GET /metrics`.

use super::Dashboard;
use super::status::Observed;
use super::whoami::Operator;
use crate::auth::{ProviderFault, ProviderName, Spent};
use axum::extract::{MatchedPath, Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

type Labels<const N: usize> = [(&'static str, String); N];

/// What every request is counted by: made without allocating.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    route: Route,
    status: u16,
}

/// The path of a handler, as it is written in the list of routes.
#[derive(Clone, Debug)]
pub(super) struct Route(Option<MatchedPath>);

impl Route {
    fn as_str(&self) -> &str {
        self.0.as_ref().map_or("other", MatchedPath::as_str)
    }
}

impl PartialEq for Route {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

impl Eq for Route {}

impl Hash for Route {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_str().hash(state);
    }
}

impl EncodeLabelValue for Route {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> fmt::Result {
        self.as_str().encode(encoder)
    }
}

/// Seconds: from a fast sandboxed call to the longest deadline.
const BUCKETS: [f64; 14] =
    [5e-6, 1e-5, 2e-5, 5e-5, 1e-4, 2.5e-4, 5e-4, 1e-3, 5e-3, 2.5e-2, 0.1, 0.5, 1.0, 5.0];

/// A number of seconds that is read when it is asked for.
type Seconds = Gauge<f64, AtomicU64>;

/// All counters of a dashboard.
pub struct Metrics {
    registry: Registry,
    requests: Family<RequestLabels, Counter>,
    app_requests: Family<Labels<2>, Counter>,
    token_auth: Family<[(&'static str, &'static str); 1], Counter>,
    sign_ins: Family<Labels<1>, Counter>,
    provider_calls: Family<Labels<1>, Histogram>,
    provider_hits: Family<Labels<1>, Counter>,
    provider_faults: Family<Labels<2>, Counter>,
    provider_cpu: Family<Labels<1>, Seconds>,
    provider_held_up: Family<Labels<1>, Seconds>,
    quarantined: Family<Labels<1>, Gauge>,
    reloads: Family<Labels<1>, Counter>,
    drain: Family<Labels<2>, Counter>,
    gateway_restarts: Counter,
    gateway: GatewayGauges,
    audit_dropped: Gauge,
}

/// What the status file says of the gateway, as it was when the metrics were asked for. A number that is not known is NaN.
#[derive(Default)]
struct GatewayGauges {
    state: Family<Labels<1>, Gauge>,
    turns_in_flight: Seconds,
    oldest_turn: Seconds,
    drain_active: Gauge,
    drain_holders: Gauge,
    turns_refused: Family<Labels<1>, Counter>,
}

impl GatewayGauges {
    fn register(&self, registry: &mut Registry) {
        registry.register(
            "gateway_state",
            "1 for the present state of the gateway, 0 for the others",
            self.state.clone(),
        );
        registry.register("turns_in_flight", "Turns in flight", self.turns_in_flight.clone());
        registry.register(
            "oldest_turn_seconds",
            "Age of the oldest turn in flight, 0 without one",
            self.oldest_turn.clone(),
        );
        registry.register("drain_active", "1 while a drain is on", self.drain_active.clone());
        registry.register("drain_holders", "Owners of the drain", self.drain_holders.clone());
        registry.register(
            "turns_refused",
            "Turns that the gateway refused, by reason",
            self.turns_refused.clone(),
        );
    }

    fn set(&self, observed: &Observed) {
        let present = observed.state_word();
        let states =
            STATES.iter().copied().filter(|state| *state != present).map(|state| (state.to_owned(), 0));
        // A word of another gateway is a series only while it is the state.
        self.state.clear();
        for (state, value) in states.chain([(present.clone(), 1)]) {
            self.state.get_or_create(&[("state", state)]).set(value);
        }
        self.turns_in_flight.set(observed.turns_in_flight().unwrap_or(f64::NAN));
        self.oldest_turn.set(observed.oldest_turn().unwrap_or(f64::NAN));
        let holders = observed.holders();
        self.drain_active.set(i64::from(observed.verdict.is_draining()));
        self.drain_holders.set(i64::try_from(holders).unwrap_or(i64::MAX));
        for (reason, count) in &observed.reading.turns_refused {
            let counter = self.turns_refused.get_or_create(&[("reason", reason.clone())]);
            counter.inner().store(*count, Ordering::Relaxed);
        }
    }
}

/// The states of our gateway, and `unknown`.
const STATES: [&str; 7] =
    ["starting", "running", "draining", "stopping", "stopped", "startup_failed", "unknown"];

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("portcullis");
        let metrics = Self {
            requests: Family::default(),
            app_requests: Family::default(),
            token_auth: Family::default(),
            sign_ins: Family::default(),
            provider_calls: Family::new_with_constructor(|| Histogram::new(BUCKETS)),
            provider_hits: Family::default(),
            provider_faults: Family::default(),
            provider_cpu: Family::default(),
            provider_held_up: Family::default(),
            quarantined: Family::default(),
            reloads: Family::default(),
            drain: Family::default(),
            gateway_restarts: Counter::default(),
            gateway: GatewayGauges::default(),
            audit_dropped: Gauge::default(),
            registry: Registry::default(),
        };
        registry.register("requests", "Requests by route and status", metrics.requests.clone());
        registry.register(
            "app_requests",
            "Requests of applications by application and class of status",
            metrics.app_requests.clone(),
        );
        registry.register(
            "token_auth",
            "Bearer calls on token routes by outcome",
            metrics.token_auth.clone(),
        );
        registry.register("sign_ins", "Sign-ins of people by outcome", metrics.sign_ins.clone());
        registry.register("provider_call_seconds", "Calls of a provider", metrics.provider_calls.clone());
        registry.register(
            "provider_cache_hits",
            "Good answers of the verification cache, without a call of their own",
            metrics.provider_hits.clone(),
        );
        registry.register(
            "provider_cpu_seconds",
            "Processor time of a provider's calls that took longer than a tick",
            metrics.provider_cpu.clone(),
        );
        registry.register(
            "provider_held_up_seconds",
            "Time in which a provider's calls could have run, but others had the processor",
            metrics.provider_held_up.clone(),
        );
        registry.register("provider_faults", "Faults of a provider by kind", metrics.provider_faults.clone());
        registry.register(
            "provider_quarantined",
            "Is the provider in quarantine?",
            metrics.quarantined.clone(),
        );
        registry.register("reloads", "Reloads of the providers by outcome", metrics.reloads.clone());
        registry.register("drain", "Drain requests by action and outcome", metrics.drain.clone());
        registry.register(
            "gateway_restarts",
            "Restarts of the gateway that were requested here",
            metrics.gateway_restarts.clone(),
        );
        metrics.gateway.register(&mut registry);
        registry.register(
            "audit_dropped",
            "Audit lines that were not written",
            metrics.audit_dropped.clone(),
        );
        Self { registry, ..metrics }
    }
}

impl Metrics {
    pub(super) fn request(&self, route: Route, status: StatusCode) {
        self.requests.get_or_create(&RequestLabels { route, status: status.as_u16() }).inc();
    }

    /// Counts an answer to a request of an application, as `2xx` for instance.
    pub(super) fn app_request(&self, app: &str, status: StatusCode) {
        let class = format!("{}xx", status.as_u16() / 100);
        self.app_requests.get_or_create(&[("app", app.to_owned()), ("status", class)]).inc();
    }

    pub(super) fn token_auth(&self, outcome: &'static str) {
        self.token_auth.get_or_create(&[("outcome", outcome)]).inc();
    }

    pub(super) fn fault(&self, provider: &ProviderName, fault: &ProviderFault) {
        let labels = [("provider", provider.to_string()), ("fault", fault.kind().to_owned())];
        self.provider_faults.get_or_create(&labels).inc();
    }

    /// A provider went into quarantine, or came out of it.
    pub fn quarantined(&self, provider: &ProviderName, is_quarantined: bool) {
        self.quarantined.get_or_create(&[("provider", provider.to_string())]).set(is_quarantined.into());
    }

    /// Takes the time of a provider's calls.
    pub fn call_meter(&self, provider: &ProviderName) -> impl Fn(Duration) + Send + Sync + use<> {
        let seconds = self.provider_calls.get_or_create_owned(&[("provider", provider.to_string())]);
        move |elapsed| seconds.observe(elapsed.as_secs_f64())
    }

    /// Counts answers that a provider was not asked for.
    pub fn hit_meter(&self, provider: &ProviderName) -> impl Fn() + Send + Sync + use<> {
        let hits = self.provider_hits.get_or_create_owned(&[("provider", provider.to_string())]);
        move || {
            hits.inc();
        }
    }

    fn spent(&self, provider: &ProviderName, spent: Spent) {
        let labels = [("provider", provider.to_string())];
        self.provider_cpu.get_or_create(&labels).set(spent.cpu.as_secs_f64());
        self.provider_held_up.get_or_create(&labels).set(spent.held_up.as_secs_f64());
    }

    pub(super) fn sign_in(&self, outcome: &str) {
        self.sign_ins.get_or_create(&[("outcome", outcome.to_owned())]).inc();
    }

    /// The providers were replaced, or were not.
    pub fn reload(&self, ok: bool) {
        let outcome = if ok { "ok" } else { "failed" };
        self.reloads.get_or_create(&[("outcome", outcome.to_owned())]).inc();
    }

    pub(super) fn gateway_restart(&self) {
        self.gateway_restarts.inc();
    }

    pub(super) fn drain(&self, action: &str, ok: bool) {
        let outcome = if ok { "ok" } else { "failed" };
        self.drain.get_or_create(&[("action", action.to_owned()), ("outcome", outcome.to_owned())]).inc();
    }
}

/// The route of a request. Unknown paths are one, so that a stranger cannot fill the memory with them.
pub(super) fn route_of(request: &Request) -> Route {
    Route(request.extensions().get::<MatchedPath>().cloned())
}

pub(super) async fn exposition(State(dashboard): State<Arc<Dashboard>>, _: Operator) -> Response {
    let dropped = i64::try_from(dashboard.audit.dropped()).unwrap_or(i64::MAX);
    dashboard.metrics.audit_dropped.set(dropped);
    for provider in dashboard.live.now().gate.registry().iter() {
        if let Some(health) = &provider.health {
            dashboard.metrics.spent(&provider.name, health.report().spent);
        }
    }
    if let Some(observed) = dashboard.gateway.observe().await {
        dashboard.metrics.gateway.set(&observed);
    }

    let mut text = String::new();
    // Writing to a string does not fail.
    let _ = encode(&mut text, &dashboard.metrics.registry);
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, kind)], text).into_response()
}
