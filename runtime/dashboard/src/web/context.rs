//! What every handler may know of a request besides its permit.

use super::authority::WebOrigin;
use super::client::Client;
use super::outside::Outside;
use super::respond;
use super::sent_credentials::SentCredentials;
use super::site::Site;
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::response::Response;
use std::borrow::Cow;
use std::net::IpAddr;

/// Put there by the gate's layer.
#[derive(Clone, Debug)]
pub(super) struct Context {
    /// The caller's address. `None`: it is not known, and such callers share one allowance.
    pub(super) client: Option<IpAddr>,
    /// How the dashboard was reached.
    pub(super) site: Site,
    /// Whether the other end of the connection is a trusted proxy.
    pub(super) is_proxied: bool,
    /// Why the caller is not on this machine, on a dashboard that is for this machine alone.
    pub(super) outside: Option<Outside>,
    /// The origin of the request, if it arrived at another host of the dashboard than the public
    /// one.
    pub(super) elsewhere: Option<WebOrigin>,
    /// What no text of the request may contain. Empty until the gate has let the request through.
    pub(super) sent: SentCredentials,
    caller: Client,
}

impl Context {
    pub(super) fn new(
        caller: Client,
        site: Site,
        is_proxied: bool,
        outside: Option<Outside>,
        elsewhere: Option<WebOrigin>,
    ) -> Self {
        Self {
            client: caller.address(),
            site,
            is_proxied,
            outside,
            elsewhere,
            sent: SentCredentials::default(),
            caller,
        }
    }

    /// Scheme, host and port that the request names. `None`: it has no valid `Host`.
    pub(super) fn origin(&self) -> Option<Cow<'_, str>> {
        match &self.elsewhere {
            Some(elsewhere) => Some(elsewhere.to_string().into()),
            None => self.site.origin(),
        }
    }

    /// The caller's address, for an audit line. Of an unknown caller it names the proxy.
    pub(super) fn ip(&self) -> Option<String> {
        self.caller.shown()
    }
}

impl<S: Sync> FromRequestParts<S> for Context {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Response> {
        match parts.extensions.get::<Self>() {
            Some(context) => Ok(context.clone()),
            None => {
                tracing::error!(
                    path = parts.uri.path(),
                    "a handler was reached without the gate's layer"
                );
                Err(respond::internal_error())
            }
        }
    }
}
