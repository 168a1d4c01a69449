//! What every request passes, in this order: the guard, the gate, its handler. One layer, since a stack of them is
//! copied for every request.

use super::apps::OfApp;
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
    let of_app = response.extensions_mut().remove::<OfApp>();
    match &of_app {
        // Its own headers say what its pages may do.
        Some(of_app) if of_app.is_its_own => {
            respond::add_transport_security(response.headers_mut(), dashboard.headers);
        }
        _ => respond::add_security_headers(response.headers_mut(), dashboard.headers),
    }
    match of_app {
        Some(of_app) => dashboard.metrics.app_request(of_app.app.name(), response.status()),
        None => dashboard.metrics.request(route, response.status()),
    }
    response
}
