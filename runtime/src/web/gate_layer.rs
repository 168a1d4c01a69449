//! The outermost layer of auth: hands the request's facts to the gate and does what the gate decides.

use super::{Dashboard, respond};
use crate::audit::{EventName, Record};
use crate::auth::{Caller, Decision, Denial, Gate, Judgement, Permit, ProviderName, RequestFacts};
use axum::extract::{Request, State};
use axum::http::HeaderValue;
use axum::http::header::AUTHORIZATION;
use axum::middleware::Next;
use axum::response::Response;
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// Wall clock over all providers that are asked about one token.
const CHAIN_DEADLINE: Duration = Duration::from_millis(2_500);
const SESSION_TOKEN: &str = "x-hermes-session-token";

pub(super) async fn gate(State(dashboard): State<Dashboard>, mut request: Request, next: Next) -> Response {
    let client = dashboard.proxies.client_of(&request);
    let serving = dashboard.live.now();
    let judgement = serving.gate.decide(&facts(&request)).await;
    tell(&dashboard, &serving.gate, &judgement, request.uri().path(), client);
    match judgement.decision {
        Decision::Refused(denial) => respond::denial(&denial),
        Decision::Public => next.run(request).await,
        Decision::Permitted(permit) => {
            // No handler, and nothing behind one, has any use for the credential.
            request.headers_mut().remove(AUTHORIZATION);
            request.headers_mut().remove(SESSION_TOKEN);
            request.extensions_mut().insert(permit);
            next.run(request).await
        }
    }
}

fn facts(request: &Request) -> RequestFacts<'_> {
    let all = |name: &str| request.headers().get_all(name).iter().map(HeaderValue::as_bytes).collect();
    RequestFacts {
        path: request.uri().path(),
        authorization: all(AUTHORIZATION.as_str()),
        session_token: all(SESSION_TOKEN),
        by: Instant::now() + CHAIN_DEADLINE,
    }
}

fn tell(dashboard: &Dashboard, gate: &Gate, judgement: &Judgement, path: &str, client: Option<IpAddr>) {
    for (provider, fault) in &judgement.faults {
        dashboard.metrics.fault(provider, &fault.fault);
        let component =
            gate.registry().named(provider).and_then(|registered| registered.component.as_deref());
        dashboard.faults.tell(provider, component, fault, &dashboard.audit);
    }
    if !judgement.token_route {
        if let Decision::Refused(denial) = &judgement.decision {
            tracing::debug!(path, reason = denial.reason, detail = denial.detail, "refused");
        }
        return;
    }
    match &judgement.decision {
        Decision::Permitted(permit) => tell_success(dashboard, permit, path, client),
        Decision::Refused(denial) => tell_failure(dashboard, denial, path, client),
        Decision::Public => {}
    }
}

fn tell_success(dashboard: &Dashboard, permit: &Permit, path: &str, client: Option<IpAddr>) {
    dashboard.metrics.token_auth("accepted");
    let Caller::Service(principal) = permit.caller() else { return };
    let record = Record::now(EventName::TokenAuthSuccess)
        .with("principal", principal.name())
        .with("provider", principal.provider().as_str())
        .with("component", principal.component())
        .with("path", path)
        .with("ip", client.map(|ip| ip.to_string()));
    dashboard.audit.write(record);
}

fn tell_failure(dashboard: &Dashboard, denial: &Denial, path: &str, client: Option<IpAddr>) {
    dashboard.metrics.token_auth(denial.reason);
    tracing::info!(path, reason = denial.reason, detail = denial.detail, "token refused");
    let record = Record::now(EventName::TokenAuthFailure)
        .with("reason", denial.reason)
        .with("provider", denial.unreachable.as_ref().map(ProviderName::as_str))
        .with("path", path)
        .with("ip", client.map(|ip| ip.to_string()));
    dashboard.audit.write(record);
}
