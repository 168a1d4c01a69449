//! What every request passes, in this order: the guard, the gate, its handler. One layer, since a
//! stack of them is copied for every request.

use super::access_log::{self, AccessLogEntry};
use super::apps::OfApp;
use super::metrics::{Route, known_method};
use super::site::Arrival;
use super::{Dashboard, gate_layer, guard, request_id, respond, spans};
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use portcullis_observe::request_id::REQUEST_ID;
use std::sync::Arc;
use std::time::Instant;

pub(super) async fn outer_layer(
    State(dashboard): State<Arc<Dashboard>>,
    mut request: Request,
    next: Next,
) -> Response {
    let began = Instant::now();
    let (route, method) = (Route::of(&request), known_method(request.method()));
    let arrival = dashboard.sites.arrival(&dashboard.hosts, &request);
    let id = request_id::assign(&mut request, &arrival.reached);
    let telemetry = dashboard.telemetry.as_deref();
    let span = spans::begin_server(telemetry, &request, method, &arrival, id.as_ref());
    let log = dashboard.access_log.as_ref();
    let followed = log.map(|log| {
        (
            log,
            AccessLogEntry::of(&request, began, id.as_ref(), arrival.client),
        )
    });

    // On the heap, since each future around it would hold a copy of its state: the whole took 14
    // KiB per request.
    let answer = span.cover(Box::pin(pass(&dashboard, arrival, request, next)));
    let mut response = match &id {
        Some(id) => id.clone().scope(answer).await,
        None => answer.await,
    };
    let of_app = response.extensions_mut().remove::<OfApp>();
    match &of_app {
        // Its own headers say what its pages may do.
        Some(of_app) if of_app.is_its_own => {
            respond::add_transport_security(response.headers_mut(), dashboard.headers);
        }
        _ => respond::add_security_headers(response.headers_mut(), dashboard.headers),
    }
    if let Some(id) = id {
        response.headers_mut().insert(REQUEST_ID, id.to_header());
    }
    spans::end_server(&span, method, &route, response.status(), of_app.as_ref());
    match of_app {
        Some(of_app) => dashboard
            .metrics
            .app_request(of_app.app.shared_name(), response.status()),
        None => dashboard
            .metrics
            .request(route, method, response.status(), began.elapsed()),
    }
    match followed {
        Some((log, entry)) => access_log::follow(log, entry, response),
        None => response,
    }
}

async fn pass(
    dashboard: &Arc<Dashboard>,
    arrival: Arrival,
    request: Request,
    next: Next,
) -> Response {
    match guard::check(&dashboard.hosts, &arrival.reached, &request) {
        Ok(()) => gate_layer::pass(dashboard, arrival, request, next).await,
        Err(refused) => refused,
    }
}
