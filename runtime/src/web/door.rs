//! What every request passes, in this order: the guard, the gate, its handler. One layer, since a stack of them is
//! copied for every request.

use super::metrics::{Route, known_method};
use super::{Dashboard, gate_layer, guard, respond};
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use std::sync::Arc;
use std::time::Instant;

pub(super) async fn door(State(dashboard): State<Arc<Dashboard>>, request: Request, next: Next) -> Response {
    let began = Instant::now();
    let (route, method) = (Route::of(&request), known_method(request.method()));
    let arrival = dashboard.sites.arrival(&dashboard.hosts, &request);
    let mut response = match guard::check(&dashboard.hosts, &arrival.reached, &request) {
        Ok(()) => gate_layer::pass(&dashboard, arrival, request, next).await,
        Err(refused) => refused,
    };
    respond::add_security_headers(response.headers_mut(), dashboard.headers);
    dashboard.metrics.request(route, method, response.status(), began.elapsed());
    response
}
