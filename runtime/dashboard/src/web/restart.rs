//! `POST /api/gateway/restart`: ends every drain, and requests the restart of the gateway by a file
//! in the home.

use super::body::BoundedBody;
use super::context::Context;
use super::drain::record_of;
use super::fields::{self, Fields, seconds_in, text_in};
use super::sent_credentials::SentCredentials;
use super::whoami::Operator;
use super::{Dashboard, page_action, respond, spans};
use crate::audit::{EventName, Record};
use crate::drain::{Cancel, DrainError};
use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use portcullis_auth::OperatorPermit;
use portcullis_home::MAX_REASON_CHARS;
use portcullis_home::{MAX_RESTART_GRACE_SECONDS, RestartFile, RestartRequest};
use serde_json::{Map, Value, json};
use std::io;
use std::sync::Arc;
use std::time::Duration;

/// The gateway is not going to be restarted.
#[derive(Debug, thiserror::Error)]
enum RestartError {
    #[error("no gateway runs over the home")]
    NotRunning,
    #[error(transparent)]
    Drain(DrainError),
    #[error("the system gives no random numbers: {0}")]
    Random(getrandom::Error),
    #[error("the restart request could not be written: {0}")]
    NotWritten(io::Error),
}

pub(super) async fn control(
    State(dashboard): State<Arc<Dashboard>>,
    context: Context,
    Operator(permit): Operator,
    BoundedBody(body): BoundedBody,
) -> Response {
    let wish = match Wish::parse(&body, &context.sent) {
        Ok(wish) => wish,
        Err(mistake) => return respond::bad_request(&mistake),
    };
    fields::log_ignored("restart", &wish.ignored);
    let ip = context.ip();
    respond::to_the_end(async move { restart(&dashboard, &permit, ip, wish).await }).await
}

/// The same for a person, from the page: JSON from its script, a form without it.
pub(super) async fn from_page(
    dashboard: State<Arc<Dashboard>>,
    context: Context,
    operator: Operator,
    uri: Uri,
    headers: HeaderMap,
    BoundedBody(body): BoundedBody,
) -> Response {
    let control = |context, body| control(dashboard, context, operator, body);
    page_action::answer(
        context,
        (uri, headers, body),
        |fields| Ok(of_form(fields)),
        control,
    )
    .await
}

/// The JSON body of a form. A field that was left empty is absent.
fn of_form(fields: Map<String, Value>) -> Value {
    let filled = fields.into_iter().filter(|(_, value)| value != "");
    let typed = filled.map(
        |(name, value)| match value.as_str().map(str::parse::<u64>) {
            Some(Ok(seconds)) if name == "grace_seconds" => (name, seconds.into()),
            _ => (name, value),
        },
    );
    Value::Object(typed.collect())
}

async fn restart(
    dashboard: &Dashboard,
    permit: &OperatorPermit,
    ip: Option<String>,
    wish: Wish,
) -> Response {
    let Wish {
        grace,
        reason,
        ignored,
    } = wish;
    let grace = grace.unwrap_or(dashboard.gateway.shutdown_grace);
    let record = record_of(EventName::GatewayRestart, permit, ip)
        .with("reason", reason.clone())
        .with("grace_seconds", grace.as_secs());
    let Some(observed) = dashboard.gateway.observe().await else {
        return respond::internal_error();
    };
    if observed.reading.is_up() == Some(false) {
        return failed(dashboard, record, &RestartError::NotRunning);
    }

    // First, so that the gateway that comes back finds no drain.
    let cancelling = dashboard.drain.cancel(permit, Cancel::Force);
    let cancelled = match spans::drain("drain cancel", cancelling).await {
        Ok(changed) => changed,
        Err(error) => return failed(dashboard, record, &RestartError::Drain(error)),
    };
    let overridden: Vec<_> = cancelled
        .overridden
        .iter()
        .map(|lease| lease.owner.as_str())
        .collect();
    let record = record.with("overridden", json!(overridden));

    let epoch = observed.reading.epoch.as_ref();
    let written = match RestartRequest::new(permit.name(), reason, Some(grace), epoch) {
        Ok(request) => write(dashboard.gateway.restart.clone(), request).await,
        Err(error) => Err(RestartError::Random(error)),
    };
    let id = match written {
        Ok(id) => id,
        Err(error) => return failed(dashboard, record, &error),
    };
    dashboard.metrics.gateway_restart();
    dashboard
        .audit
        .write(record.with("ok", true).with("restart_id", id.as_str()));
    let grace_seconds = grace.as_secs();
    tracing::warn!(
        principal = permit.name(),
        id,
        grace_seconds,
        overridden = overridden.join(", "),
        "gateway restart requested"
    );

    let mut body = json!({"ok": true, "restart_id": id});
    if !ignored.is_empty() {
        body["ignored"] = ignored.into();
    }
    (StatusCode::ACCEPTED, Json(body)).into_response()
}

/// Writes the request off the threads that serve requests, and returns its id.
async fn write(file: RestartFile, request: RestartRequest) -> Result<String, RestartError> {
    let id = request.id().to_owned();
    let written = tokio::task::spawn_blocking(move || file.write(&request)).await;
    let written = written.unwrap_or_else(|error| Err(io::Error::other(error)));
    written.map(|()| id).map_err(RestartError::NotWritten)
}

/// The cause is in the log and in the audit line.
fn failed(dashboard: &Dashboard, record: Record, error: &RestartError) -> Response {
    dashboard
        .audit
        .write(record.with("ok", false).with("error", error.to_string()));
    tracing::error!(%error, "a restart request failed");

    let (status, code, detail) = match error {
        RestartError::NotRunning => (
            StatusCode::CONFLICT,
            "not_running",
            "Not restarted: no gateway runs over the home",
        ),
        RestartError::Drain(DrainError::Interrupted) => (
            StatusCode::INTERNAL_SERVER_ERROR,
            "restart_failed",
            "Not restarted: the dashboard failed while it cancelled the drains",
        ),
        RestartError::Drain(_) => (
            StatusCode::INTERNAL_SERVER_ERROR,
            "restart_failed",
            "Not restarted: the drain marker could not be removed safely",
        ),
        RestartError::Random(_) | RestartError::NotWritten(_) => (
            StatusCode::INTERNAL_SERVER_ERROR,
            "restart_failed",
            "Not restarted: the restart request could not be written. Every drain was cancelled",
        ),
    };

    respond::error(status, code, detail)
}

/// What the caller asks for.
#[derive(Debug, PartialEq, Eq)]
struct Wish {
    /// How long turns may run on. `None`: as configured.
    grace: Option<Duration>,
    reason: Option<String>,
    ignored: Vec<String>,
}

/// The known fields.
const FIELDS: [&str; 2] = ["grace_seconds", "reason"];

impl Wish {
    /// An empty body or object takes the configured grace.
    fn parse(body: &[u8], sent: &SentCredentials) -> Result<Self, String> {
        let fields = Fields::parse(body, &FIELDS, sent)?;
        Ok(Self {
            grace: seconds_in(
                fields.get("grace_seconds"),
                "grace_seconds",
                0,
                MAX_RESTART_GRACE_SECONDS,
            )?,
            reason: text_in(fields.get("reason"), "reason", 0, MAX_REASON_CHARS)?,
            ignored: fields.ignored(&[]),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_are_read() {
        let wish = |grace: Option<u64>, reason: Option<&str>, ignored: &[&str]| Wish {
            grace: grace.map(Duration::from_secs),
            reason: reason.map(str::to_owned),
            ignored: ignored.iter().map(|name| (*name).to_owned()).collect(),
        };
        for (body, expected) in [
            ("", wish(None, None, &[])),
            (" {} ", wish(None, None, &[])),
            (
                r#"{"grace_seconds":0,"reason":"stuck turn"}"#,
                wish(Some(0), Some("stuck turn"), &[]),
            ),
            (
                r#"{"grace_seconds":3600,"note":null}"#,
                wish(Some(3600), None, &["note"]),
            ),
        ] {
            assert_eq!(
                Wish::parse(body.as_bytes(), &SentCredentials::default()),
                Ok(expected),
                "{body}"
            );
        }
    }

    #[test]
    fn every_bad_field_is_named() {
        let long = format!(r#"{{"reason":"{}"}}"#, "x".repeat(MAX_REASON_CHARS + 1));
        for (body, complaint) in [
            ("[]", "must be a JSON object"),
            ("now", "is not JSON"),
            (
                r#"{"grace_seconds":1,"grace_seconds":2}"#,
                "duplicate field `grace_seconds`",
            ),
            (
                r#"{"grace_seconds":3601}"#,
                "'grace_seconds' must be an integer from 0 to 3600",
            ),
            (r#"{"grace_seconds":-1}"#, "'grace_seconds'"),
            (r#"{"grace_seconds":1.5}"#, "'grace_seconds'"),
            (r#"{"grace_seconds":"5"}"#, "'grace_seconds'"),
            (r#"{"grace_seconds":null}"#, "'grace_seconds'"),
            (r#"{"reason":7}"#, "'reason'"),
            (r#"{"reason":"a\nb"}"#, "'reason'"),
            (&long, "'reason'"),
        ] {
            let found = Wish::parse(body.as_bytes(), &SentCredentials::default()).expect_err(body);
            assert!(found.contains(complaint), "{body}: {found}");
        }
    }

    #[test]
    fn form_leaves_out_what_was_left_empty() {
        let body = |fields: Value| match fields {
            Value::Object(fields) => of_form(fields),
            other => other,
        };
        let empty = body(json!({"grace_seconds": "", "reason": ""}));
        assert_eq!(empty, json!({}));
        let filled = body(json!({"grace_seconds": "5", "reason": "7"}));
        assert_eq!(filled, json!({"grace_seconds": 5, "reason": "7"}));
        let bad = body(json!({"grace_seconds": "soon"}));
        assert_eq!(bad, json!({"grace_seconds": "soon"}));
    }
}
