//! `POST /api/gateway/drain`.

use super::body::BoundedBody;
use super::context::Context;
use super::whoami::Permitted;
use super::{Dashboard, respond};
use crate::audit::{EventName, Record};
use crate::auth::{Permit, ProviderName};
use crate::drain::{BeginRequest, DrainError, MAX_TTL_SECONDS};
use axum::Json;
use axum::extract::State;
use axum::http::header::{CONTENT_TYPE, LOCATION};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};
use std::sync::Arc;
use std::time::Duration;

/// Longest unknown action that is repeated to the caller, in characters.
const MAX_ECHO: usize = 64;

#[derive(Debug, PartialEq, Eq)]
enum Command {
    Begin(BeginRequest),
    Cancel,
}

pub(super) async fn control(
    State(dashboard): State<Arc<Dashboard>>,
    Permitted(permit): Permitted,
    BoundedBody(body): BoundedBody,
) -> Response {
    let command = match parse(&body) {
        Ok(command) => command,
        Err(mistake) => return respond::bad_request(&mistake),
    };
    // In a task of its own: a caller that hangs up must not leave a drain without its audit line.
    let carried_out = tokio::spawn(async move {
        match command {
            Command::Begin(request) => begin(&dashboard, &permit, request).await,
            Command::Cancel => cancel(&dashboard, &permit).await,
        }
    });
    carried_out.await.unwrap_or_else(|_| respond::internal_error())
}

/// The same for a person, from the page: JSON from its script, a form without it.
pub(super) async fn from_page(
    State(dashboard): State<Arc<Dashboard>>,
    context: Context,
    Permitted(permit): Permitted,
    headers: HeaderMap,
    BoundedBody(body): BoundedBody,
) -> Response {
    let form = headers
        .get(CONTENT_TYPE)
        .filter(|kind| kind.as_bytes().starts_with(b"application/x-www-form-urlencoded"));
    let body = match form {
        None => body,
        Some(_) => match serde_urlencoded::from_bytes::<Map<String, Value>>(&body) {
            Ok(fields) => Value::Object(fields).to_string().into(),
            Err(mistake) => return respond::bad_request(&format!("The form cannot be read: {mistake}")),
        },
    };
    let answer = control(State(dashboard), Permitted(permit), BoundedBody(body)).await;
    match form {
        Some(_) if answer.status().is_success() => {
            (StatusCode::SEE_OTHER, [(LOCATION, context.site.path("/"))]).into_response()
        }
        _ => answer,
    }
}

async fn begin(dashboard: &Dashboard, permit: &Permit, request: BeginRequest) -> Response {
    let begun = dashboard.drain.begin(permit, request).await;
    let record = told_of(EventName::DrainBegin, permit).with("ok", begun.is_ok());
    match begun {
        Ok(begun) => {
            dashboard.metrics.drain("begin", true);
            dashboard.audit.write(record.with("expires_at", begun.expires_at.map(|time| time.to_string())));
            tracing::info!(principal = permit.name(), expires_at = ?begun.expires_at, "drain begun");
            let body = json!({
                "ok": true, "action": "drain", "requested_at": begun.requested_at, "draining": true,
                "suppress_notification": begun.suppress_notification, "expires_at": begun.expires_at,
            });
            Json(body).into_response()
        }
        Err(error) => failed(dashboard, "begin", record, &error),
    }
}

async fn cancel(dashboard: &Dashboard, permit: &Permit) -> Response {
    let cancelled = dashboard.drain.cancel(permit).await;
    let record = told_of(EventName::DrainCancel, permit).with("ok", cancelled.is_ok());
    match cancelled {
        Ok(cancelled) => {
            dashboard.metrics.drain("cancel", true);
            dashboard.audit.write(record.with("was_draining", cancelled.was_draining));
            tracing::info!(
                principal = permit.name(),
                was_draining = cancelled.was_draining,
                "drain cancelled"
            );
            Json(json!({"ok": true, "action": "cancel", "was_draining": cancelled.was_draining}))
                .into_response()
        }
        Err(error) => failed(dashboard, "cancel", record, &error),
    }
}

/// Who drains: a name means little without the provider that vouches for it.
fn told_of(event: EventName, permit: &Permit) -> Record {
    let provider = permit.provider().map(ProviderName::as_str);
    Record::now(event).with("principal", permit.name()).with("provider", provider)
}

/// The caller is never told that it drains when it does not. Why is in the log.
fn failed(dashboard: &Dashboard, action: &'static str, record: Record, error: &DrainError) -> Response {
    dashboard.metrics.drain(action, false);
    dashboard.audit.write(record.with("reason", error.to_string()));
    tracing::error!(action, %error, "a drain request failed");
    let detail = match error {
        DrainError::NotWritten(_) => {
            "The drain marker could not be written safely; /api/status shows what stands"
        }
        DrainError::NotRemoved(_) => {
            "The drain marker could not be removed safely; /api/status shows what stands"
        }
        DrainError::Stopped => "The dashboard is shutting down",
    };
    respond::error(StatusCode::INTERNAL_SERVER_ERROR, "drain_failed", detail)
}

/// An empty body or object begins a drain.
fn parse(body: &[u8]) -> Result<Command, String> {
    if body.trim_ascii().is_empty() {
        return Ok(Command::Begin(BeginRequest::default()));
    }
    let value: Value =
        serde_json::from_slice(body).map_err(|error| format!("The body is not JSON: {error}"))?;
    let Value::Object(mut fields) = value else { return Err("The body must be a JSON object".to_owned()) };
    let action = take_action(&mut fields)?;
    let ttl = take_ttl(&mut fields)?;
    let suppress_notification = take_suppress_notification(&mut fields)?;
    if let Some(unknown) = fields.keys().next() {
        let unknown: String = unknown.chars().take(MAX_ECHO).collect();
        return Err(format!(
            "Unknown field '{unknown}'; expected action, ttl_seconds, suppress_notification"
        ));
    }
    match action.as_str() {
        "drain" => Ok(Command::Begin(BeginRequest { ttl, suppress_notification })),
        "cancel" => Ok(Command::Cancel),
        other => {
            let other: String = other.chars().take(MAX_ECHO).collect();
            Err(format!("Unknown drain action '{other}'; expected 'drain' or 'cancel'"))
        }
    }
}

fn take_action(fields: &mut Map<String, Value>) -> Result<String, String> {
    match fields.remove("action") {
        None => Ok("drain".to_owned()),
        Some(Value::String(action)) => Ok(action.trim().to_lowercase()),
        Some(_) => Err("'action' must be a string".to_owned()),
    }
}

fn take_ttl(fields: &mut Map<String, Value>) -> Result<Option<Duration>, String> {
    let Some(value) = fields.remove("ttl_seconds") else { return Ok(None) };
    let seconds = value.as_u64().filter(|seconds| (1..=MAX_TTL_SECONDS).contains(seconds));
    let mistake = || format!("'ttl_seconds' must be an integer from 1 to {MAX_TTL_SECONDS}");
    seconds.map(|seconds| Some(Duration::from_secs(seconds))).ok_or_else(mistake)
}

fn take_suppress_notification(fields: &mut Map<String, Value>) -> Result<bool, String> {
    match fields.remove("suppress_notification") {
        None => Ok(false),
        Some(Value::Bool(value)) => Ok(value),
        Some(_) => Err("'suppress_notification' must be true or false".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_that_begin_and_cancel() {
        let begin = Command::Begin(BeginRequest::default());
        for body in ["", "  \n", "{}", r#"{"action":"drain"}"#, r#"{"action":" DRAIN "}"#] {
            assert_eq!(parse(body.as_bytes()), Ok(Command::Begin(BeginRequest::default())), "{body}");
        }
        assert_ne!(parse(br#"{"ttl_seconds":60}"#), Ok(begin));
        for body in [r#"{"action":"cancel"}"#, r#"{"action":"Cancel\n"}"#] {
            assert_eq!(parse(body.as_bytes()), Ok(Command::Cancel), "{body}");
        }
        let request = BeginRequest { ttl: Some(Duration::from_secs(86_400)), suppress_notification: true };
        let body = br#"{"ttl_seconds":86400,"suppress_notification":true}"#;
        assert_eq!(parse(body), Ok(Command::Begin(request)));
    }

    #[test]
    fn every_bad_field_is_named() {
        for (body, complaint) in [
            ("[]", "must be a JSON object"),
            ("null", "must be a JSON object"),
            ("drain", "is not JSON"),
            ("\u{feff}{}", "is not JSON"),
            (r#"{"action":"explode"}"#, "Unknown drain action 'explode'; expected 'drain' or 'cancel'"),
            (r#"{"action":""}"#, "Unknown drain action ''"),
            (r#"{"action":null}"#, "'action' must be a string"),
            (r#"{"action":["drain"]}"#, "'action' must be a string"),
            (r#"{"ttl_seconds":0}"#, "'ttl_seconds'"),
            (r#"{"ttl_seconds":86401}"#, "'ttl_seconds'"),
            (r#"{"ttl_seconds":-1}"#, "'ttl_seconds'"),
            (r#"{"ttl_seconds":1.5}"#, "'ttl_seconds'"),
            (r#"{"ttl_seconds":"60"}"#, "'ttl_seconds'"),
            (r#"{"ttl_seconds":null}"#, "'ttl_seconds'"),
            (r#"{"ttl_seconds":true}"#, "'ttl_seconds'"),
            (r#"{"suppress_notification":"yes"}"#, "'suppress_notification'"),
            (r#"{"suppress_notification":1}"#, "'suppress_notification'"),
            (r#"{"ttl_second":60}"#, "Unknown field 'ttl_second'"),
        ] {
            let found = parse(body.as_bytes()).expect_err(body);
            assert!(found.contains(complaint), "{body}: {found}");
        }
    }
}
