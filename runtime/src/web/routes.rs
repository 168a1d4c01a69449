//! Every path that the dashboard serves.

use super::{Dashboard, drain, gate_layer, guard, metrics, page, respond, status, whoami};
use axum::middleware::{from_fn, from_fn_with_state};
use axum::routing::{get, post};
use axum::{Router, extract::DefaultBodyLimit};

/// Begins and cancels a drain.
pub const DRAIN_PATH: &str = "/api/gateway/drain";
/// Says who the caller is.
pub const WHOAMI_PATH: &str = "/api/auth/whoami";

/// Paths that the configuration can guard with a scope of its own.
pub const SERVED_PATHS: &[&str] = &["/metrics", "/api/status", "/readyz", "/healthz", "/"];
/// Paths that bearer tokens guard without any configuration.
pub const BUILT_IN_TOKEN_ROUTES: &[&str] = &[DRAIN_PATH, WHOAMI_PATH];

const MAX_BODY_BYTES: usize = 64 * 1024;

/// The dashboard. A request passes the layers from the last one here to the first.
pub fn router(dashboard: Dashboard, headers: respond::SecurityHeaders) -> Router {
    Router::new()
        .route("/", get(page::index))
        .route(DRAIN_PATH, post(drain::control))
        .route(WHOAMI_PATH, get(whoami::whoami))
        .route("/api/status", get(status::status))
        .route("/metrics", get(metrics::exposition))
        .route("/healthz", get(status::healthz))
        .route("/readyz", get(status::readyz))
        .fallback(respond::not_found)
        .method_not_allowed_fallback(respond::method_not_allowed)
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .layer(from_fn_with_state(dashboard.clone(), gate_layer::gate))
        .layer(from_fn_with_state(dashboard.clone(), guard::guard))
        .layer(from_fn_with_state(dashboard.clone(), metrics::count))
        .layer(from_fn(move |request, next| respond::security_headers(headers, request, next)))
        .with_state(dashboard)
}
