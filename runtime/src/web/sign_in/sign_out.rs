//! `POST /auth/logout`.

use super::super::Dashboard;
use super::super::context::Context;
use super::super::request_cookies::RequestCookies;
use super::super::session_cookie;
use super::{deadline, end_in_browser};
use crate::audit::{EventName, Record};
use crate::auth::{PresentedSession, Registered, SessionToken};
use axum::extract::State;
use axum::http::header::LOCATION;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long a revocation waits for the providers to be loaded when the dashboard has just started.
const LOADING_PATIENCE: Duration = Duration::from_secs(60);

/// How long an answer waits for the address at the identity provider.
const ADDRESS_PATIENCE: Duration = Duration::from_secs(3);

/// Ends the session: its tokens, tickets and sockets. Answers when that is on the disk. The provider revokes its own
/// tokens afterwards, and may send the browser on to sign out at the identity provider as well. A session that has ended already costs neither a write nor an audit line. The cookies are deleted
/// in any case.
pub(in crate::web) async fn logout(
    State(dashboard): State<Arc<Dashboard>>,
    context: Context,
    headers: HeaderMap,
) -> Response {
    let sent = RequestCookies::of(&headers);
    let presented = dashboard.sealer.session(&sent, &context.site);
    let serving = dashboard.live.now();
    let people = serving.gate.people();
    if let Some(token) = presented.access.as_ref().or(presented.refresh.as_ref())
        && people.end(&token.id)
    {
        let by = serving.gate.registry().named_by(&token.provider);
        dashboard.audit.write(about(EventName::Logout, token, by).with("ip", context.ip()));

        // In a task: a caller that disconnects does not stop the write.
        let _ = tokio::spawn((dashboard.ended)(token.id.clone())).await;
        if let Some(refresh) = &presented.refresh {
            revoke(dashboard.clone(), refresh.clone());
        }
    }

    let elsewhere = place_elsewhere(&dashboard, &context, &presented).await;
    let location = elsewhere.unwrap_or_else(|| context.site.path("/login"));
    let mut response = (StatusCode::FOUND, [(LOCATION, location)]).into_response();
    session_cookie::set(response.headers_mut(), end_in_browser(&dashboard, &context, &sent));
    response
}

/// Where the browser signs out at the identity provider of the session that it presents, if its provider says. A provider
/// that does not answer holds up no sign-out.
async fn place_elsewhere(
    dashboard: &Dashboard,
    context: &Context,
    presented: &PresentedSession,
) -> Option<String> {
    let PresentedSession { access, refresh, .. } = presented;
    let token = access.as_ref().or(refresh.as_ref())?;
    let serving = dashboard.live.now();
    let by = serving.gate.registry().named_by(&token.provider)?;
    let access_token = access.as_ref().map_or("", |access| access.token.as_str());
    let return_to = context.site.url("/login");
    let by_when = Instant::now() + ADDRESS_PATIENCE;
    let url = by.sign_out.as_ref()?.sign_out_url(access_token, &return_to, by_when).await;
    url.inspect_err(|fault| dashboard.tell_fault(by, fault)).ok().flatten()
}

fn about(event: EventName, token: &SessionToken, by: Option<&Registered>) -> Record {
    Record::now(event)
        .with("provider", token.provider.as_str())
        .with("component", by.and_then(|by| by.component.as_deref()))
        .with("user_id", token.user_id.as_str())
}

/// Only the provider that minted the token ever hears of it.
fn revoke(dashboard: Arc<Dashboard>, token: SessionToken) {
    tokio::spawn(async move {
        // A provider that is still being loaded cannot revoke anything yet.
        let serving = dashboard.live.when_ready(Instant::now() + LOADING_PATIENCE).await;
        let Some(by) = serving.gate.registry().named_by(&token.provider) else { return };
        let Some(provider) = &by.refresh else { return };
        let revoked = provider.revoke(&token.token, deadline()).await;
        if let Err(fault) = &revoked {
            dashboard.tell_fault(by, fault);
        }
        dashboard.audit.write(about(EventName::Revoke, &token, Some(by)).with("ok", revoked.is_ok()));
    });
}
