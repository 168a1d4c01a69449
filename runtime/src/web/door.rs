//! What every request passes, in this order: the guard, the gate, its handler. One layer, since a stack of them is
//! copied for every request.

use super::{Dashboard, gate_layer, guard, metrics, respond};
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use std::sync::Arc;

pub(super) async fn door(State(dashboard): State<Arc<Dashboard>>, request: Request, next: Next) -> Response {
    let route = metrics::route_of(&request);
    let arrival = dashboard.sites.arrival(&dashboard.hosts, &request);
    let mut response = match guard::check(&dashboard.hosts, &arrival.reached, &request) {
        Ok(()) => gate_layer::pass(&dashboard, arrival, request, next).await,
        Err(refused) => refused,
    };
    respond::add_security_headers(response.headers_mut(), dashboard.headers);
    dashboard.metrics.request(route, response.status());
    response
}
