//! `POST /auth/backchannel/PROVIDER`: an identity provider ends sessions (OpenID Connect
//! Back-Channel Logout 1.0).
//!
//! The provider checks the logout token. What ends is over at once, with its sockets and tickets,
//! and on the disk before it is answered.

use super::super::body::BoundedBody;
use super::super::context::Context;
use super::super::parameters::Named;
use super::super::rechecks::SHARE;
use super::super::{Dashboard, Serving, respond};
use super::{deadline, now, with_retry};
use crate::audit::{EventName, Record};
use axum::Json;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use futures_util::stream::{self, Stream, StreamExt};
use portcullis_auth::{BoxFuture, LogoutVerdict, Registered, Session, SignOutProvider, Whose};
use serde_json::json;
use std::sync::Arc;
use std::time::{Duration, Instant};
use zeroize::Zeroizing;

/// Longest logout token, in bytes. It has no claims of a person but the subject.
const MAX_TOKEN_BYTES: usize = 16 * 1024;

pub(in crate::web) async fn backchannel(
    State(dashboard): State<Arc<Dashboard>>,
    context: Context,
    Named(name): Named,
    headers: HeaderMap,
    BoundedBody(body): BoundedBody,
) -> Response {
    let serving = dashboard.live.now();
    let named = serving.gate.registry().named_by(&name);
    let Some((registered, provider)) =
        named.and_then(|registered| Some((registered.clone(), registered.sign_out.clone()?)))
    else {
        return respond::error(StatusCode::NOT_FOUND, "not_found", "Not Found");
    };

    let notification = Notification {
        dashboard,
        serving,
        registered,
        provider,
        ip: context.ip(),
    };
    if let Err(wait) = notification
        .dashboard
        .sign_ins
        .throttle
        .logout_token(context.client, Instant::now())
    {
        return notification.throttled(wait);
    }

    match logout_token(&headers, &body) {
        Some(token) => respond::to_the_end(async move { notification.answer(&token).await }).await,
        None => notification.refused("the request is no form with one logout_token"),
    }
}

/// The one `logout_token` of a form (section 2.5).
fn logout_token(headers: &HeaderMap, body: &[u8]) -> Option<Zeroizing<String>> {
    let kind = headers.get(CONTENT_TYPE)?;
    if !kind
        .as_bytes()
        .starts_with(b"application/x-www-form-urlencoded")
    {
        return None;
    }

    let fields: Vec<(String, Zeroizing<String>)> = serde_urlencoded::from_bytes(body).ok()?;
    let mut tokens = fields
        .into_iter()
        .filter(|(name, _)| name == "logout_token")
        .map(|(_, token)| token);
    let token = tokens
        .next()
        .filter(|token| !token.is_empty() && token.len() <= MAX_TOKEN_BYTES);
    token.filter(|_| tokens.next().is_none())
}

/// A logout token that arrived.
struct Notification {
    dashboard: Arc<Dashboard>,
    serving: Arc<Serving>,
    registered: Registered,
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
                self.dashboard.tell_fault(&self.registered, &fault);
                return respond::unreachable(self.registered.name.as_str());
            }
        };

        let LogoutEffect {
            sessions,
            is_written,
        } = ended;
        tracing::info!(provider = %self.registered.name, sessions, "the identity provider ended sessions");
        self.dashboard.audit.write(record.with("ended", sessions));
        if !is_written {
            let why = "Ended, but this could not be written to the disk";
            return respond::error(StatusCode::INTERNAL_SERVER_ERROR, "not_written", why);
        }

        StatusCode::OK.into_response()
    }

    /// Ends every session of this person at the provider.
    async fn end_person(&self, user_id: String) -> (LogoutEffect, Record) {
        let record = self
            .about(EventName::Logout)
            .with("user_id", user_id.as_str());
        let whose = Whose {
            provider: Some(self.registered.name.to_string()),
            user_id: Some(user_id),
            ..Whose::default()
        };
        let (cut_off, over) = self.serving.gate.people().end_all(whose, now());
        let is_written = (self.dashboard.cut_off)(cut_off).await;

        (
            LogoutEffect {
                sessions: over.len(),
                is_written,
            },
            record,
        )
    }

    /// The provider refuses the sessions that it noted. Those that this process would let through
    /// without asking it are ended here.
    async fn end_held(&self) -> (LogoutEffect, Record) {
        let held = self
            .serving
            .gate
            .people()
            .held(&self.registered.name, now());
        let checks = held
            .into_iter()
            .map(|session| self.end_if_over(session))
            .collect();
        let mut outcomes = a_few_at_a_time(checks);

        let mut ended = LogoutEffect {
            sessions: 0,
            is_written: true,
        };
        while let Some(outcome) = outcomes.next().await {
            if let Some(is_written) = outcome {
                ended.sessions += 1;
                ended.is_written &= is_written;
            }
        }
        (ended, self.about(EventName::Logout))
    }

    /// Ends the session if its provider says that it is over, and returns whether that is on the
    /// disk. `None`: the session stays, or another request ended it meanwhile.
    fn end_if_over(&self, session: Arc<Session>) -> BoxFuture<'_, Option<bool>> {
        Box::pin(async move {
            let gate = &self.serving.gate;
            let check = async { gate.is_over(&session, deadline()).await };
            // Several logout tokens of one provider share its calls.
            let shares = &self.dashboard.rechecks.sessions;
            let is_over = shares.run(&self.registered.name, check).await;
            if !is_over || !gate.people().end(session.id()) {
                return None;
            }
            Some((self.dashboard.ended)(session.id().clone()).await)
        })
    }

    fn refused(&self, why: &str) -> Response {
        tracing::info!(provider = %self.registered.name, why, "a logout token was refused");
        self.dashboard.audit.write(
            self.about(EventName::LogoutTokenRejected)
                .with("reason", why),
        );
        let body = json!({"error": "invalid_request", "error_description": why});
        (StatusCode::BAD_REQUEST, Json(body)).into_response()
    }

    fn throttled(&self, wait: Duration) -> Response {
        let record = self
            .about(EventName::LogoutTokenRejected)
            .with("reason", "the throttle");
        self.dashboard.audit.write(record);
        let detail = "Too many logout tokens from this address";
        with_retry(
            wait,
            respond::error(StatusCode::TOO_MANY_REQUESTS, "too_many_requests", detail),
        )
    }

    fn about(&self, event: EventName) -> Record {
        let record = Record::now(event)
            .with("provider", self.registered.name.as_str())
            .with("component", self.registered.component.as_deref())
            .with("ip", self.ip.as_deref());
        match event {
            EventName::Logout => record.with("by", "identity-provider"),
            _ => record,
        }
    }
}

/// Runs [`SHARE`] checks at a time, and yields each outcome as it comes.
fn a_few_at_a_time<T: Send>(checks: Vec<BoxFuture<'_, T>>) -> impl Stream<Item = T> + Send + Unpin {
    stream::iter(checks).buffer_unordered(SHARE)
}

/// What a logout token ended here.
struct LogoutEffect {
    /// Sessions that were listed or held.
    sessions: usize,
    /// Whether that is on the disk.
    is_written: bool,
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[tokio::test]
    async fn held_sessions_are_checked_a_few_at_a_time() {
        let (running, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let (running, most) = (&running, &most);
        let check = move |number: usize| -> BoxFuture<'_, usize> {
            Box::pin(async move {
                most.fetch_max(
                    running.fetch_add(1, Ordering::Relaxed) + 1,
                    Ordering::Relaxed,
                );
                tokio::task::yield_now().await;
                running.fetch_sub(1, Ordering::Relaxed);
                number
            })
        };

        let mut checked: Vec<_> = a_few_at_a_time((0..50).map(check).collect())
            .collect()
            .await;
        checked.sort_unstable();
        assert_eq!(checked, (0..50).collect::<Vec<_>>());
        assert_eq!(most.load(Ordering::Relaxed), SHARE);
    }

    #[test]
    fn form_has_exactly_one_token() {
        let headers = |kind: &'static str| -> HeaderMap {
            [(CONTENT_TYPE, HeaderValue::from_static(kind))]
                .into_iter()
                .collect()
        };
        let form = headers("application/x-www-form-urlencoded; charset=utf-8");
        let read = |headers: &HeaderMap, body: &str| {
            logout_token(headers, body.as_bytes()).map(|token| token.as_str().to_owned())
        };
        assert_eq!(
            read(&form, "logout_token=a.b.c&more=1"),
            Some("a.b.c".to_owned())
        );
        let long = format!("logout_token={}", "x".repeat(MAX_TOKEN_BYTES + 1));
        for body in [
            "",
            "logout_token=",
            "token=a",
            "logout_token=a&logout_token=b",
            "{}",
            long.as_str(),
        ] {
            assert_eq!(read(&form, body), None, "{body:.40}");
        }
        assert_eq!(
            read(&headers("application/json"), "logout_token=a.b.c"),
            None
        );
        assert_eq!(read(&HeaderMap::new(), "logout_token=a.b.c"), None);
    }
}
