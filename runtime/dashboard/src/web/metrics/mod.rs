//! What is counted, and `GET /metrics`.

mod labels;
mod observed;

pub(super) use labels::{Route, known_method};

use super::Dashboard;
use super::access_log::AccessLog;
use super::sign_in::now;
use super::whoami::Operator;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use labels::{AppLabels, DurationLabels, RequestLabels, class_of};
use portcullis_auth::{ProviderFault, ProviderName};
use portcullis_observe::exposition::{self, AlwaysListed, TextFormat};
use portcullis_observe::telemetry::Telemetry;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

type Labels<const N: usize> = [(&'static str, String); N];

/// Seconds: from a fast sandboxed call to the longest deadline.
const CALL_BUCKETS: [f64; 14] = [
    5e-6, 1e-5, 2e-5, 5e-5, 1e-4, 2.5e-4, 5e-4, 1e-3, 5e-3, 2.5e-2, 0.1, 0.5, 1.0, 5.0,
];
/// Seconds: from an answer out of memory to a long poll.
const REQUEST_BUCKETS: [f64; 9] = [2.5e-4, 1e-3, 5e-3, 2.5e-2, 0.1, 0.5, 1.0, 5.0, 30.0];

/// All counters of a dashboard.
pub struct Metrics {
    registry: Registry,
    requests: Family<RequestLabels, Counter>,
    durations: Family<DurationLabels, Histogram>,
    app_requests: Family<AppLabels, Counter>,
    token_auth: Family<[(&'static str, &'static str); 1], Counter>,
    sign_ins: Family<Labels<2>, Counter>,
    provider_calls: Family<Labels<1>, Histogram>,
    provider_hits: Family<Labels<1>, Counter>,
    provider_faults: Family<Labels<2>, Counter>,
    reloads: Family<[(&'static str, &'static str); 1], Counter>,
    drain: Family<[(&'static str, &'static str); 2], Counter>,
    gateway_restarts: Counter,
    certificate_expiry: Gauge<f64, AtomicU64>,
}

impl Default for Metrics {
    fn default() -> Self {
        let metrics = Self {
            registry: Registry::default(),
            requests: Family::default(),
            durations: Family::new_with_constructor(|| Histogram::new(REQUEST_BUCKETS)),
            app_requests: Family::default(),
            token_auth: Family::default(),
            sign_ins: Family::default(),
            provider_calls: Family::new_with_constructor(|| Histogram::new(CALL_BUCKETS)),
            provider_hits: Family::default(),
            provider_faults: Family::default(),
            reloads: Family::default(),
            drain: Family::default(),
            gateway_restarts: Counter::default(),
            certificate_expiry: Gauge::default(),
        };

        metrics.certificate_expiry.set(f64::NAN);

        // A rate over a counter that exists from the start includes its first increase.
        for outcome in OUTCOMES {
            drop(metrics.reloads.get_or_create(&[("outcome", outcome)]));
            for action in ["begin", "cancel"] {
                drop(
                    metrics
                        .drain
                        .get_or_create(&[("action", action), ("outcome", outcome)]),
                );
            }
        }

        Self {
            registry: metrics.registry(),
            ..metrics
        }
    }
}

const OUTCOMES: [&str; 2] = ["ok", "failed"];

fn outcome(ok: bool) -> &'static str {
    if ok { "ok" } else { "failed" }
}

impl Metrics {
    fn registry(&self) -> Registry {
        let mut registry = Registry::with_prefix("portcullis");

        registry.register(
            "requests",
            "HTTP requests by route and status",
            AlwaysListed(self.requests.clone()),
        );
        registry.register(
            "http_request_duration_seconds",
            "Time from the head of a request to the head of its answer, by route, method and class of the status",
            AlwaysListed(self.durations.clone()),
        );
        registry.register(
            "app_requests",
            "Requests of applications by application and class of the status",
            AlwaysListed(self.app_requests.clone()),
        );
        registry.register(
            "token_auth",
            "Requests to token routes by outcome",
            AlwaysListed(self.token_auth.clone()),
        );
        registry.register(
            "sign_ins",
            "Sign-ins of people by provider and outcome; the provider is empty where none was asked",
            AlwaysListed(self.sign_ins.clone()),
        );
        registry.register(
            "provider_call_seconds",
            "Duration of the calls of a provider",
            AlwaysListed(self.provider_calls.clone()),
        );
        registry.register(
            "provider_cache_hits",
            "Good answers of the verification cache, which took no call of their own",
            AlwaysListed(self.provider_hits.clone()),
        );
        registry.register(
            "provider_faults",
            "Faults of a provider by kind",
            AlwaysListed(self.provider_faults.clone()),
        );
        registry.register(
            "reloads",
            "Reloads of the providers by outcome",
            self.reloads.clone(),
        );
        registry.register(
            "drain_requests",
            "Drain requests by action and outcome",
            self.drain.clone(),
        );
        registry.register(
            "gateway_restarts",
            "Restarts of the gateway that were requested at this dashboard",
            self.gateway_restarts.clone(),
        );
        registry.register(
            "certificate_expiry_timestamp_seconds",
            "When the certificate of dashboard.tls expires, in seconds since the Unix epoch, NaN without one",
            self.certificate_expiry.clone(),
        );

        registry
    }

    pub(super) fn request(
        &self,
        route: Route,
        method: &'static str,
        status: StatusCode,
        took: Duration,
    ) {
        let labels = DurationLabels {
            route: route.clone(),
            method,
            status: class_of(status),
        };
        self.durations
            .get_or_create(&labels)
            .observe(took.as_secs_f64());

        self.requests
            .get_or_create(&RequestLabels {
                route,
                status: status.as_u16(),
            })
            .inc();
    }

    pub(super) fn app_request(&self, app: Arc<str>, status: StatusCode) {
        self.app_requests
            .get_or_create(&AppLabels {
                app,
                status: class_of(status),
            })
            .inc();
    }

    pub(super) fn token_auth(&self, outcome: &'static str) {
        self.token_auth.get_or_create(&[("outcome", outcome)]).inc();
    }

    pub(super) fn fault(&self, provider: &ProviderName, fault: &ProviderFault) {
        let labels = [
            ("provider", provider.to_string()),
            ("fault", fault.kind().to_owned()),
        ];
        self.provider_faults.get_or_create(&labels).inc();
    }

    /// Takes the time of a provider's calls.
    pub fn call_meter(&self, provider: &ProviderName) -> impl Fn(Duration) + Send + Sync + use<> {
        let seconds = self
            .provider_calls
            .get_or_create_owned(&[("provider", provider.to_string())]);
        move |elapsed| seconds.observe(elapsed.as_secs_f64())
    }

    /// Counts answers that a provider was not asked for.
    pub fn hit_meter(&self, provider: &ProviderName) -> impl Fn() + Send + Sync + use<> {
        let hits = self
            .provider_hits
            .get_or_create_owned(&[("provider", provider.to_string())]);
        move || {
            hits.inc();
        }
    }

    /// Counts a sign-in. `None`: no configured provider was asked. A name that a stranger made up
    /// is never a label.
    pub(super) fn sign_in(&self, provider: Option<&ProviderName>, outcome: &'static str) {
        let provider = provider.map(ToString::to_string).unwrap_or_default();
        self.sign_ins
            .get_or_create(&[("provider", provider), ("outcome", outcome.to_owned())])
            .inc();
    }

    /// Counts a reload, which replaced the providers or failed.
    pub fn reload(&self, ok: bool) {
        self.reloads
            .get_or_create(&[("outcome", outcome(ok))])
            .inc();
    }

    /// Sets when the certificate that is presented now expires, in seconds since the Unix epoch.
    pub fn certificate_expires(&self, at: f64) {
        self.certificate_expiry.set(at);
    }

    pub(super) fn gateway_restart(&self) {
        self.gateway_restarts.inc();
    }

    pub(super) fn drain(&self, action: &'static str, ok: bool) {
        self.drain
            .get_or_create(&[("action", action), ("outcome", outcome(ok))])
            .inc();
    }
}

pub(super) async fn exposition(
    State(dashboard): State<Arc<Dashboard>>,
    _: Operator,
    headers: HeaderMap,
) -> Response {
    let mut observed = Registry::with_prefix("portcullis");
    observed::register_serving(&mut observed, &dashboard.live.now(), now());
    if let Some(gateway) = dashboard.gateway.observe().await {
        observed::register_gateway(&mut observed, &gateway);
    }
    observed.register(
        "audit_dropped",
        "Audit lines that were not written",
        counter(dashboard.audit.dropped()),
    );

    observed.register(
        "access_log_dropped",
        "Lines of the access log that were not written",
        counter(dashboard.access_log.as_ref().map_or(0, AccessLog::dropped)),
    );

    observed.register(
        "spans_dropped",
        "Spans that were not exported",
        counter(dashboard.telemetry.as_deref().map_or(0, Telemetry::dropped)),
    );

    let format = TextFormat::accepted(&headers);
    let text = exposition::render(&[&dashboard.metrics.registry, &observed], format);
    (
        [
            (header::CONTENT_TYPE, format.content_type()),
            (header::VARY, "accept"),
        ],
        text,
    )
        .into_response()
}

fn counter(count: u64) -> Counter {
    let counter: Counter = Counter::default();
    counter.inc_by(count);
    counter
}
