//! What every handler may know of a request besides its permit.

use super::respond;
use super::site::Site;
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::response::Response;
use std::net::IpAddr;

/// Put there by the gate's layer.
#[derive(Clone, Debug)]
pub(super) struct Context {
    /// The caller's address.
    pub(super) client: Option<IpAddr>,
    /// How the dashboard was reached.
    pub(super) site: Site,
}

impl Context {
    /// The caller's address, for an audit line.
    pub(super) fn ip(&self) -> Option<String> {
        self.client.map(|ip| ip.to_string())
    }
}

impl<S: Sync> FromRequestParts<S> for Context {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Response> {
        match parts.extensions.get::<Self>() {
            Some(context) => Ok(context.clone()),
            None => {
                tracing::error!(path = parts.uri.path(), "a handler was reached without the gate's layer");
                Err(respond::internal_error())
            }
        }
    }
}
