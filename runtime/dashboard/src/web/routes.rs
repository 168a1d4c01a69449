//! Every path that the dashboard serves.

use super::apps::{OWN_PREFIX, is_always_own};
use super::body::MAX_BODY_BYTES;
use super::{
    Dashboard, account, branding, drain, forward_auth, live, metrics, openapi, outer_layer, page,
    respond, restart, sessions, sign_in, status, whoami,
};
use axum::middleware::from_fn_with_state;
use axum::routing::{MethodRouter, any, delete, get, post};
use axum::{Router, extract::DefaultBodyLimit};
use portcullis_auth::{HANDOVER_PATH, LOGO_PATH, RESUME_PATH, VERIFY_PATH, WS_PATH};
use std::sync::Arc;

/// Begins and cancels a drain, and shows it.
pub const DRAIN_PATH: &str = "/api/gateway/drain";
/// The route that restarts the gateway.
pub const RESTART_PATH: &str = "/api/gateway/restart";
/// Says who the caller is.
pub const WHOAMI_PATH: &str = "/api/auth/whoami";

/// Begins and cancels a drain from the page, for a person with a session.
pub const PAGE_DRAIN_PATH: &str = "/api/drain";
/// Restarts the gateway from the page, for a person with a session, also where [`RESTART_PATH`] is
/// a token route.
pub const PAGE_RESTART_PATH: &str = "/api/restart";

/// Paths that the configuration can guard with a scope of its own.
pub const SERVED_PATHS: &[&str] = &[
    "/metrics",
    VERIFY_PATH,
    RESTART_PATH,
    "/api/status",
    "/readyz",
    "/healthz",
    "/",
];
/// Paths that bearer tokens guard without any configuration.
pub const BUILT_IN_TOKEN_ROUTES: &[&str] = &[DRAIN_PATH, WHOAMI_PATH];

/// Paths that are people's, and never a machine's.
pub const PEOPLE_PATHS: &[&str] = &[
    "/login",
    "/auth/login",
    "/auth/callback",
    "/auth/password-login",
    "/auth/logout",
    BACKCHANNEL_PATH,
    HANDOVER_PATH,
    LOGO_PATH,
    RESUME_PATH,
    "/api/auth/providers",
    "/api/auth/me",
    "/api/auth/ws-ticket",
    WS_PATH,
    PAGE_DRAIN_PATH,
    PAGE_RESTART_PATH,
    SESSIONS_PATH,
    SESSION_PATH,
    OPENAPI_PATH,
    "/favicon.ico",
];

/// Takes the logout tokens of a provider's identity provider.
pub(super) const BACKCHANNEL_PATH: &str = "/auth/backchannel/{provider}";
/// Shows sessions, and ends many.
pub(super) const SESSIONS_PATH: &str = "/api/sessions";
/// The route that ends one session.
pub(super) const SESSION_PATH: &str = "/api/sessions/{id}";
/// The OpenAPI document of all routes.
pub(super) const OPENAPI_PATH: &str = "/_portcullis/openapi.json";

/// Every path and what answers there.
fn handlers() -> Vec<(&'static str, MethodRouter<Arc<Dashboard>>)> {
    vec![
        ("/", get(page::index)),
        (DRAIN_PATH, get(drain::picture).post(drain::control)),
        (RESTART_PATH, post(restart::control)),
        (WHOAMI_PATH, get(whoami::whoami)),
        ("/login", get(sign_in::login)),
        ("/auth/login", get(sign_in::start)),
        // `get` answers HEAD as well, and a link checker must not spend a sign-in.
        (
            "/auth/callback",
            get(sign_in::callback).head(respond::method_not_allowed),
        ),
        ("/auth/password-login", post(sign_in::password_login)),
        ("/auth/logout", post(sign_in::logout)),
        (BACKCHANNEL_PATH, post(sign_in::backchannel)),
        // As for the callback: a link checker must not spend a ticket.
        (
            HANDOVER_PATH,
            get(sign_in::arrive).head(respond::method_not_allowed),
        ),
        (LOGO_PATH, get(branding::logo)),
        (VERIFY_PATH, any(forward_auth::verify)),
        (RESUME_PATH, get(forward_auth::resume)),
        ("/api/auth/providers", get(account::providers)),
        ("/api/auth/me", get(account::me)),
        ("/api/auth/ws-ticket", post(account::ws_ticket)),
        (WS_PATH, get(live::socket)),
        (PAGE_DRAIN_PATH, post(drain::from_page)),
        (PAGE_RESTART_PATH, post(restart::from_page)),
        (
            SESSIONS_PATH,
            get(sessions::list).delete(sessions::end_many),
        ),
        (SESSION_PATH, delete(sessions::end_one)),
        (OPENAPI_PATH, get(openapi::document)),
        ("/favicon.ico", get(page::icon)),
        ("/api/status", get(status::status)),
        ("/metrics", get(metrics::exposition)),
        ("/healthz", get(status::healthz)),
        ("/readyz", get(status::readyz)),
    ]
}

/// What lies behind [`VERIFY_PATH`] answers as it does: Envoy's `ext_authz` appends the
/// application's path.
const BELOW_VERIFY: [&str; 2] = ["/auth/verify/", "/auth/verify/{*path}"];

/// Returns the routes of the dashboard. Every path lies behind one layer, `outer_layer`.
pub fn router(dashboard: Arc<Dashboard>) -> Router {
    let routes = handlers()
        .into_iter()
        .fold(Router::new(), |routes, (path, handler)| {
            routes.route(path, handler)
        });

    let routes = handlers()
        .into_iter()
        .filter(|(path, _)| !is_always_own(path))
        .fold(routes, |routes, (path, handler)| {
            routes.route(&format!("{OWN_PREFIX}{path}"), handler)
        })
        .route(OWN_PREFIX, get(page::to_own_index));

    let routes = BELOW_VERIFY.into_iter().fold(routes, |routes, path| {
        routes.route(path, any(forward_auth::verify))
    });

    routes
        .fallback(respond::not_found)
        .method_not_allowed_fallback(respond::method_not_allowed)
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .layer(from_fn_with_state(
            dashboard.clone(),
            outer_layer::outer_layer,
        ))
        .with_state(dashboard)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn listed_paths_are_those_that_answer() {
        let listed: BTreeSet<_> = SERVED_PATHS
            .iter()
            .chain(BUILT_IN_TOKEN_ROUTES)
            .chain(PEOPLE_PATHS)
            .copied()
            .collect();
        let answering: BTreeSet<_> = handlers().into_iter().map(|(path, _)| path).collect();
        assert_eq!(listed, answering);
    }

    #[test]
    fn every_route_is_described() {
        let described: BTreeSet<_> = openapi::paths().collect();
        let answering: BTreeSet<_> = handlers().into_iter().map(|(path, _)| path).collect();
        assert_eq!(described, answering);
    }
}
