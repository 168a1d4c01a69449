//! `POST /auth/logout`.

use super::super::Dashboard;
use super::super::context::Context;
use super::super::request_cookies::RequestCookies;
use super::super::session_cookie;
use super::{deadline, end_in_browser};
use crate::audit::{EventName, Record};
use axum::extract::State;
use axum::http::header::LOCATION;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use portcullis_auth::{PresentedSession, Registered, SessionToken};
use portcullis_observe::telemetry::carried;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long a revocation waits for the providers to be loaded when the dashboard has just started.
const LOADING_PATIENCE: Duration = Duration::from_secs(60);

/// How long an answer waits for the address at the identity provider.
const ADDRESS_PATIENCE: Duration = Duration::from_secs(3);

/// Ends the session: its tokens, tickets and sockets. Answers when that is on the disk. The
/// provider may send the browser on to sign out at the identity provider as well, and revokes its
/// own tokens afterwards. A session that has ended already costs neither a write nor an audit line.
/// The cookies are deleted in any case.
pub(in crate::web) async fn logout(
    State(dashboard): State<Arc<Dashboard>>,
    context: Context,
    headers: HeaderMap,
) -> Response {
    let sent = RequestCookies::of(&headers);
    let presented = dashboard.sealer.session(&sent, &context.site);
    let serving = dashboard.live.now();
    let people = serving.gate.people();
    let token = presented.access.as_ref().or(presented.refresh.as_ref());
    // A cut-off ends sessions without their identifiers: `end` alone would take the session of a
    // stolen cookie for one that is open.
    let is_open = |token: &SessionToken| !people.sessions.is_over(&token.into());
    let ended = token.filter(|token| is_open(token) && people.end(token.id()));
    if let Some(token) = ended {
        let registered = serving.gate.registry().named_by(token.provider());
        dashboard
            .audit
            .write(about(EventName::Logout, token, registered).with("ip", context.ip()));

        // In a task: a caller that disconnects does not stop the write.
        let _ = tokio::spawn((dashboard.ended)(token.id().clone())).await;
    }

    let departure = Departure {
        dashboard: dashboard.clone(),
        return_to: context.site.url("/login"),
        is_first: ended.is_some(),
        is_script: is_script(&headers),
        presented,
    };
    // In a task: a caller that disconnects does not stop the revocation.
    let elsewhere = tokio::spawn(carried(departure.complete()))
        .await
        .ok()
        .flatten();
    let location = elsewhere.unwrap_or_else(|| context.site.path("/login"));
    let mut response = (StatusCode::FOUND, [(LOCATION, location)]).into_response();
    session_cookie::set(
        response.headers_mut(),
        end_in_browser(&dashboard, &context, &sent),
    );
    response
}

/// Returns whether a script in a browser makes the request, as Fetch Metadata says. A browser lets
/// a script follow a redirect to another origin only if that one agrees (CORS), which sign-out
/// endpoints do not: the script would only get an error.
fn is_script(headers: &HeaderMap) -> bool {
    // A client that is no browser may send a mode, but no destination.
    let is_browser = headers.contains_key("sec-fetch-dest");
    is_browser
        && headers
            .get("sec-fetch-mode")
            .is_some_and(|mode| mode != "navigate")
}

/// What is left to do for a session that was ended here.
struct Departure {
    dashboard: Arc<Dashboard>,
    presented: PresentedSession,
    /// Where the browser comes back to from the identity provider.
    return_to: String,
    /// Whether this request ended the session.
    is_first: bool,
    is_script: bool,
}

impl Departure {
    /// Returns where the browser signs out at the identity provider, and has the provider revoke
    /// the session.
    async fn complete(self) -> Option<String> {
        let elsewhere = match self.is_script {
            true => None,
            false => self.place_elsewhere().await,
        };
        // Afterwards: a provider that has revoked a session no longer knows whose it was.
        if let Some(refresh) = self.presented.refresh.filter(|_| self.is_first) {
            revoke(self.dashboard, refresh);
        }
        elsewhere
    }

    /// Returns where the browser signs out at the identity provider of the session that it
    /// presents, if its provider says. A provider that does not answer holds up no sign-out.
    async fn place_elsewhere(&self) -> Option<String> {
        let PresentedSession {
            access, refresh, ..
        } = &self.presented;
        let token = access.as_ref().or(refresh.as_ref())?;
        let serving = self.dashboard.live.now();
        let registered = serving.gate.registry().named_by(token.provider())?;
        // The cookie of a session that was ended before may be a stolen one. Without the token, its
        // provider hands out no ID token.
        let access_token = access
            .as_ref()
            .filter(|_| self.is_first)
            .map_or("", SessionToken::expose);
        let deadline = Instant::now() + ADDRESS_PATIENCE;
        let url = registered
            .sign_out
            .as_ref()?
            .sign_out_url(access_token, &self.return_to, deadline)
            .await;

        url.inspect_err(|fault| self.dashboard.tell_fault(registered, fault))
            .ok()
            .flatten()
    }
}

fn about(event: EventName, token: &SessionToken, registered: Option<&Registered>) -> Record {
    Record::now(event)
        .with("provider", token.provider())
        .with(
            "component",
            registered.and_then(|registered| registered.component.as_deref()),
        )
        .with("user_id", token.user_id())
}

/// Asks the provider that minted the token to revoke it. No other provider gets the token.
fn revoke(dashboard: Arc<Dashboard>, token: SessionToken) {
    tokio::spawn(carried(async move {
        // A provider that is still being loaded cannot revoke anything yet.
        let serving = dashboard
            .live
            .when_ready(Instant::now() + LOADING_PATIENCE)
            .await;
        let Some(registered) = serving.gate.registry().named_by(token.provider()) else {
            return;
        };
        let Some(provider) = &registered.refresh else {
            return;
        };
        let revoked = provider.revoke(token.expose(), deadline()).await;
        if let Err(fault) = &revoked {
            dashboard.tell_fault(registered, fault);
        }
        dashboard
            .audit
            .write(about(EventName::Revoke, &token, Some(registered)).with("ok", revoked.is_ok()));
    }));
}
