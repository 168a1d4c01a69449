//! `POST /auth/backchannel/PROVIDER`: an identity provider ends sessions (OpenID Connect Back-Channel Logout 1.0).
//!
//! The provider checks the logout token. What ends is over at once, with its sockets and tickets, and on the disk before it is
//! answered.

use super::super::body::BoundedBody;
use super::super::context::Context;
use super::super::{Dashboard, Serving, respond};
use super::{deadline, now, with_retry};
use crate::audit::{EventName, Record};
use crate::auth::{LogoutVerdict, Registered, SignOutProvider, Whose};
use axum::Json;
use axum::extract::{Path, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;
use zeroize::Zeroizing;

/// Longest logout token, in bytes. It has no claims of a person but the subject.
const MAX_TOKEN_BYTES: usize = 16 * 1024;

pub(in crate::web) async fn backchannel(
    State(dashboard): State<Arc<Dashboard>>,
    context: Context,
    Path(name): Path<String>,
    headers: HeaderMap,
    BoundedBody(body): BoundedBody,
) -> Response {
    let serving = dashboard.live.now();
    let named = serving.gate.registry().named_by(&name);
    let Some((by, provider)) = named.and_then(|by| Some((by.clone(), by.sign_out.clone()?))) else {
        return respond::error(StatusCode::NOT_FOUND, "not_found", "Not Found");
    };
    let notification = Notification { dashboard, serving, by, provider, ip: context.ip() };
    if let Err(wait) = notification.dashboard.sign_ins.throttle.logout_token(context.client) {
        return notification.throttled(wait);
    }
    match logout_token(&headers, &body) {
        // In a task: an identity provider that disconnects does not stop the write.
        Some(token) => match tokio::spawn(async move { notification.answer(&token).await }).await {
            Ok(response) => response,
            Err(_) => respond::internal_error(),
        },
        None => notification.refused("the request is no form with one logout_token"),
    }
}

/// The one `logout_token` of a form (section 2.5).
fn logout_token(headers: &HeaderMap, body: &[u8]) -> Option<Zeroizing<String>> {
    let kind = headers.get(CONTENT_TYPE)?;
    if !kind.as_bytes().starts_with(b"application/x-www-form-urlencoded") {
        return None;
    }
    let fields: Vec<(String, Zeroizing<String>)> = serde_urlencoded::from_bytes(body).ok()?;
    let mut tokens = fields.into_iter().filter(|(name, _)| name == "logout_token").map(|(_, token)| token);
    let token = tokens.next().filter(|token| !token.is_empty() && token.len() <= MAX_TOKEN_BYTES);
    token.filter(|_| tokens.next().is_none())
}

/// A logout token that arrived.
struct Notification {
    dashboard: Arc<Dashboard>,
    serving: Arc<Serving>,
    by: Registered,
    provider: Arc<dyn SignOutProvider>,
    ip: Option<String>,
}

impl Notification {
    async fn answer(&self, token: &str) -> Response {
        let (ended, record) = match self.provider.read_logout_token(token, deadline()).await {
            Ok(LogoutVerdict::Invalid(why)) => return self.refused(&why),
            Ok(LogoutVerdict::Person(user_id)) => self.end_person(user_id).await,
            Ok(LogoutVerdict::Noted) => self.end_held().await,
            Err(fault) => {
                self.dashboard.tell_fault(&self.by, &fault);
                return respond::unreachable(self.by.name.as_str());
            }
        };
        let Ended { sessions, is_written } = ended;
        tracing::info!(provider = %self.by.name, sessions, "the identity provider ended sessions");
        self.dashboard.audit.write(record.with("ended", sessions));
        if !is_written {
            let why = "Ended, but this could not be written to the disk";
            return respond::error(StatusCode::INTERNAL_SERVER_ERROR, "not_written", why);
        }
        StatusCode::OK.into_response()
    }

    /// Ends every session of this person at the provider.
    async fn end_person(&self, user_id: String) -> (Ended, Record) {
        let record = self.about(EventName::Logout).with("user_id", user_id.as_str());
        let whose =
            Whose { provider: Some(self.by.name.to_string()), user_id: Some(user_id), ..Whose::default() };
        let (cut_off, over) = self.serving.gate.people().end_all(whose, now());
        let is_written = (self.dashboard.cut_off)(cut_off).await;
        (Ended { sessions: over.len(), is_written }, record)
    }

    /// The provider refuses the sessions that it noted. Those that this process would let through without asking it are ended
    /// here.
    async fn end_held(&self) -> (Ended, Record) {
        let people = self.serving.gate.people();
        let mut ended = Ended { sessions: 0, is_written: true };
        for session in people.held(&self.by.name, now()) {
            if self.serving.gate.is_over(&session, deadline()).await && people.end(&session.id) {
                ended.sessions += 1;
                ended.is_written &= (self.dashboard.ended)(session.id.clone()).await;
            }
        }
        (ended, self.about(EventName::Logout))
    }

    fn refused(&self, why: &str) -> Response {
        tracing::info!(provider = %self.by.name, why, "a logout token was refused");
        self.dashboard.audit.write(self.about(EventName::LogoutTokenRejected).with("reason", why));
        let body = json!({"error": "invalid_request", "error_description": why});
        (StatusCode::BAD_REQUEST, Json(body)).into_response()
    }

    fn throttled(&self, wait: Duration) -> Response {
        let record = self.about(EventName::LogoutTokenRejected).with("reason", "the throttle");
        self.dashboard.audit.write(record);
        let detail = "Too many logout tokens from this address";
        with_retry(wait, respond::error(StatusCode::TOO_MANY_REQUESTS, "too_many_requests", detail))
    }

    fn about(&self, event: EventName) -> Record {
        let record = Record::now(event)
            .with("provider", self.by.name.as_str())
            .with("component", self.by.component.as_deref())
            .with("ip", self.ip.as_deref());
        match event {
            EventName::Logout => record.with("by", "identity-provider"),
            _ => record,
        }
    }
}

/// What a logout token ended here.
struct Ended {
    /// Sessions that were listed or held.
    sessions: usize,
    /// Whether that is on the disk.
    is_written: bool,
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    #[test]
    fn form_has_exactly_one_token() {
        let headers = |kind: &'static str| -> HeaderMap {
            [(CONTENT_TYPE, HeaderValue::from_static(kind))].into_iter().collect()
        };
        let form = headers("application/x-www-form-urlencoded; charset=utf-8");
        let read = |headers: &HeaderMap, body: &str| {
            logout_token(headers, body.as_bytes()).map(|token| token.as_str().to_owned())
        };
        assert_eq!(read(&form, "logout_token=a.b.c&more=1"), Some("a.b.c".to_owned()));
        let long = format!("logout_token={}", "x".repeat(MAX_TOKEN_BYTES + 1));
        for body in ["", "logout_token=", "token=a", "logout_token=a&logout_token=b", "{}", long.as_str()] {
            assert_eq!(read(&form, body), None, "{body:.40}");
        }
        assert_eq!(read(&headers("application/json"), "logout_token=a.b.c"), None);
        assert_eq!(read(&HeaderMap::new(), "logout_token=a.b.c"), None);
    }
}
