//! `GET` and `POST /api/gateway/drain`.

use super::body::BoundedBody;
use super::context::Context;
use super::fields::{self, Fields, echo, flag_in, seconds_in, text_in};
use super::parameters::Parameters;
use super::sent_credentials::SentCredentials;
use super::status::ObservedGateway;
use super::whoami::Operator;
use super::{Dashboard, page_action, respond, spans};
use crate::audit::{EventName, Record};
use crate::drain::{BeginRequest, Cancel, Changed, DrainError};
use axum::Json;
use axum::extract::State;
use axum::http::header::{ETAG, IF_NONE_MATCH};
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use portcullis_auth::{OperatorPermit, Permit, ProviderName};
use portcullis_home::GatewayState;
use portcullis_home::{Lease, MAX_OWNER_CHARS, MAX_REASON_CHARS, MAX_TTL_SECONDS};
use serde_json::{Map, Value, json};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Longest that a caller may wait for the gateway or for a change, in seconds.
pub(super) const MAX_WAIT_SECONDS: u64 = 30;
/// Poll interval for a caller that waits for the gateway.
const LOOK_EVERY: Duration = Duration::from_millis(50);

#[derive(Debug, PartialEq, Eq)]
enum DrainCommand {
    Begin(BeginRequest),
    Cancel(Cancel),
}

/// A parsed request, with the names of the fields that do nothing.
#[derive(Debug, PartialEq, Eq)]
struct DrainRequest {
    command: DrainCommand,
    /// How long to wait for the gateway.
    wait: Duration,
    ignored: Vec<String>,
}

pub(super) async fn control(
    State(dashboard): State<Arc<Dashboard>>,
    context: Context,
    Operator(permit): Operator,
    BoundedBody(body): BoundedBody,
) -> Response {
    let request = match DrainRequest::parse(&body, &context.sent) {
        Ok(request) => request,
        Err(mistake) => return respond::bad_request(&mistake),
    };

    fields::log_ignored("drain", &request.ignored);
    let ip = context.ip();
    respond::to_the_end(async move {
        let DrainRequest {
            command,
            wait,
            ignored,
        } = request;
        let answer = match command {
            DrainCommand::Begin(request) => begin(&dashboard, &permit, ip, request).await,
            DrainCommand::Cancel(cancel) => end(&dashboard, &permit, ip, cancel).await,
        };
        match answer {
            Ok(body) => Json(complete(&dashboard, body, wait, ignored).await).into_response(),
            Err(response) => response,
        }
    })
    .await
}

/// `POST /api/drain`: the same for a person. The page's script sends JSON; without scripts the page
/// sends a form.
pub(super) async fn from_page(
    dashboard: State<Arc<Dashboard>>,
    context: Context,
    operator: Operator,
    uri: Uri,
    headers: HeaderMap,
    BoundedBody(body): BoundedBody,
) -> Response {
    let control = |context, body| control(dashboard, context, operator, body);
    page_action::answer(context, (uri, headers, body), of_form, control).await
}

/// The JSON body of a form. Without a named action, a form of another kind would begin a drain. A
/// reason and a length that were left empty are absent.
fn of_form(fields: Map<String, Value>) -> Result<Value, String> {
    if !fields.contains_key("action") {
        return Err("The form has no field 'action'".to_owned());
    }

    let is_left_empty =
        |name: &str, value: &Value| matches!(name, "reason" | "ttl_seconds") && value == "";
    let filled = fields
        .into_iter()
        .filter(|(name, value)| !is_left_empty(name, value));
    let typed = filled.map(|(name, value)| {
        let typed = match (name.as_str(), value.as_str()) {
            ("force", Some("true")) => Some(true.into()),
            ("ttl_seconds", Some(seconds)) => seconds.parse::<u64>().ok().map(Value::from),
            _ => None,
        };
        (name, typed.unwrap_or(value))
    });

    Ok(Value::Object(typed.collect()))
}

/// `GET /api/gateway/drain`: the drain and the turns in flight. `?wait=SECONDS&generation=N`
/// answers when the generation is no longer `N`, when the time is up, or when the dashboard ends.
pub(super) async fn picture(
    State(dashboard): State<Arc<Dashboard>>,
    _: Operator,
    parameters: Parameters,
    headers: HeaderMap,
) -> Response {
    let number = |name: &str| match parameters.only(name) {
        None if parameters.is_repeated(name) => Err(format!("'{name}' is given more than once")),
        None => Ok(None),
        Some(text) => text
            .parse::<u64>()
            .map(Some)
            .map_err(|_| format!("'{name}' must be a whole number")),
    };
    let (wait, known) = match (number("wait"), number("generation")) {
        (Ok(Some(wait)), Ok(_)) if wait > MAX_WAIT_SECONDS => {
            return respond::bad_request(&format!(
                "'wait' must be at most {MAX_WAIT_SECONDS} seconds"
            ));
        }
        (Ok(wait), Ok(known)) => (Duration::from_secs(wait.unwrap_or_default()), known),
        (Err(mistake), _) | (_, Err(mistake)) => return respond::bad_request(&mistake),
    };

    if let Some(known) = known {
        let mut generation = dashboard.drain.generation();
        let changed = generation.wait_for(|now| *now != known);
        tokio::select! {
            // Both errors mean that nothing changed in time: the thread of the marker is gone, or
            // the time is up.
            _ = tokio::time::timeout(wait, changed) => {}
            () = dashboard.closes() => {}
        }
    }
    let Some(observed) = dashboard.gateway.observe().await else {
        return respond::internal_error();
    };
    let tag = format!("\"{}\"", observed.generation);
    if headers
        .get(IF_NONE_MATCH)
        .is_some_and(|sent| names_tag(sent.as_bytes(), &tag))
    {
        return (StatusCode::NOT_MODIFIED, [(ETAG, tag)]).into_response();
    }

    let drain = observed.verdict.drain();
    let body = json!({
        "ok": true,
        "draining": observed.verdict.is_draining(),
        "requested_at": drain.and_then(|drain| drain.requested_at),
        "expires_at": drain.and_then(|drain| drain.expires_at),
        "generation": observed.generation,
        "holders": drain.map(|drain| holders_of(&drain.holders)).unwrap_or_default(),
        "acknowledged": observed.is_acknowledged(),
        "drained": observed.is_drained(),
        "gateway_state": observed.reading.state,
        "active_agents": observed.reading.active_agents,
        "turns": observed.turns(Timestamp::now()),
    });
    ([(ETAG, tag)], Json(body)).into_response()
}

/// Returns whether `If-None-Match` names the tag: a list of tags, weak ones included, or `*` (RFC
/// 9110, section 13.1.2).
fn names_tag(sent: &[u8], tag: &str) -> bool {
    let sent = String::from_utf8_lossy(sent);
    sent.split(',')
        .map(str::trim)
        .any(|one| one == "*" || one.trim_start_matches("W/") == tag)
}

async fn begin(
    dashboard: &Dashboard,
    permit: &OperatorPermit,
    ip: Option<String>,
    request: BeginRequest,
) -> Result<Value, Response> {
    let record =
        record_of(EventName::DrainBegin, permit, ip).with("reason", request.reason.clone());
    let begun = spans::drain("drain begin", dashboard.drain.begin(permit, request)).await;
    let changed = begun.map_err(|error| failed(dashboard, "begin", record.clone(), &error))?;

    dashboard.metrics.drain("begin", true);
    let lease = changed.lease.as_ref();
    let owner = lease.map(|lease| lease.owner.as_str());
    let expires_at = lease.and_then(|lease| lease.expires_at);
    let record = record.with("ok", true).with("owner", owner);
    dashboard
        .audit
        .write(record.with("expires_at", expires_at.map(|time| time.to_string())));
    let expires_at_text = expires_at.map_or_else(|| "never".to_owned(), |time| time.to_string());
    tracing::info!(
        principal = permit.name(),
        owner,
        expires_at = expires_at_text,
        "drain begun"
    );
    Ok(json!({
        "ok": true,
        "action": "drain",
        "requested_at": lease.map(|lease| lease.requested_at),
        "draining": changed.is_draining,
        "suppress_notification": lease.is_some_and(|lease| lease.suppress_notification),
        "expires_at": expires_at,
        "generation": changed.generation,
        "holders": holders_of(&changed.holders),
    }))
}

async fn end(
    dashboard: &Dashboard,
    permit: &OperatorPermit,
    ip: Option<String>,
    cancel: Cancel,
) -> Result<Value, Response> {
    let owner = match &cancel {
        Cancel::Own(owner) => Some(owner.clone().unwrap_or_else(|| permit.name().to_owned())),
        Cancel::Force => None,
    };
    let record =
        record_of(EventName::DrainCancel, permit, ip).with("force", cancel == Cancel::Force);
    let record = record.with("owner", owner);
    let cancelled = spans::drain("drain cancel", dashboard.drain.cancel(permit, cancel)).await;
    let changed = cancelled.map_err(|error| failed(dashboard, "cancel", record.clone(), &error))?;

    dashboard.metrics.drain("cancel", true);
    let Changed {
        was_draining,
        is_draining,
        generation,
        ..
    } = changed;
    let overridden: Vec<_> = changed
        .overridden
        .iter()
        .map(|lease| lease.owner.as_str())
        .collect();
    let record = record
        .with("ok", true)
        .with("was_draining", was_draining)
        .with("draining", is_draining);
    dashboard
        .audit
        .write(record.with("overridden", json!(overridden)));
    tracing::info!(
        principal = permit.name(),
        was_draining,
        is_draining,
        overridden = overridden.join(", "),
        "drain cancelled"
    );
    Ok(json!({
        "ok": true,
        "action": "cancel",
        "was_draining": was_draining,
        "draining": is_draining,
        "generation": generation,
        "holders": holders_of(&changed.holders),
    }))
}

/// Returns the `holders` of an answer.
fn holders_of(leases: &[Lease]) -> Vec<Value> {
    let holder = |lease: &Lease| {
        json!({
            "owner": lease.owner,
            "principal": lease.principal,
            "reason": lease.reason,
            "requested_at": lease.requested_at,
            "expires_at": lease.expires_at,
        })
    };
    leases.iter().map(holder).collect()
}

/// Adds `acknowledged` and `ignored` to an answer. Waits up to `wait` for the gateway to act on the
/// change, and no longer when the dashboard ends.
async fn complete(
    dashboard: &Dashboard,
    mut body: Value,
    wait: Duration,
    ignored: Vec<String>,
) -> Value {
    let until = Instant::now() + wait;
    let is_draining = body["draining"] == true;
    let acts = |observed: &ObservedGateway| match is_draining {
        true => observed.is_acknowledged(),
        // Turns are accepted again only when the gateway has left `draining`.
        false => observed.is_acknowledged() && !observed.reading.is(GatewayState::Draining),
    };

    let acknowledged = loop {
        // Before the look, so that the last one is at the end.
        let is_last = dashboard.is_closing() || Instant::now() >= until;
        let observed = dashboard.gateway.observe().await;
        let is_acknowledged = observed.as_ref().is_some_and(acts);
        if is_acknowledged || is_last {
            break is_acknowledged;
        }
        tokio::select! {
            () = tokio::time::sleep(LOOK_EVERY) => {}
            () = dashboard.closes() => {}
        }
    };

    body["acknowledged"] = acknowledged.into();
    if !ignored.is_empty() {
        body["ignored"] = ignored.into();
    }
    body
}

/// Begins an audit line with who drains, and from where. It names the provider, since each provider
/// has names of its own.
pub(super) fn record_of(event: EventName, permit: &Permit, ip: Option<String>) -> Record {
    let provider = permit.provider().map(ProviderName::as_str);
    Record::now(event)
        .with("principal", permit.name())
        .with("provider", provider)
        .with("component", permit.component())
        .with("ip", ip)
}

/// Logs and audits the error, and returns the error response. The cause is in the log alone.
fn failed(
    dashboard: &Dashboard,
    action: &'static str,
    record: Record,
    error: &DrainError,
) -> Response {
    dashboard.metrics.drain(action, false);
    dashboard
        .audit
        .write(record.with("ok", false).with("reason", error.to_string()));
    tracing::error!(action, %error, "a drain request failed");

    let (status, detail) = match error {
        DrainError::NotWritten(_) => (
            StatusCode::INTERNAL_SERVER_ERROR,
            "The drain marker could not be written safely; /api/status shows what stands"
                .to_owned(),
        ),
        DrainError::NotRemoved(_) => (
            StatusCode::INTERNAL_SERVER_ERROR,
            "The drain marker could not be removed safely; /api/status shows what stands"
                .to_owned(),
        ),
        DrainError::TooManyOwners => (StatusCode::CONFLICT, format!("Not begun: {error}")),
        DrainError::Interrupted => (
            StatusCode::INTERNAL_SERVER_ERROR,
            "The dashboard failed in the middle of the change; /api/status shows what stands"
                .to_owned(),
        ),
    };

    respond::error(status, "drain_failed", &detail)
}

/// The known fields.
const FIELDS: [&str; 7] = [
    "action",
    "owner",
    "reason",
    "ttl_seconds",
    "wait_seconds",
    "suppress_notification",
    "force",
];

impl DrainRequest {
    /// Parses a body. An empty body or object begins a drain.
    fn parse(body: &[u8], sent: &SentCredentials) -> Result<Self, String> {
        let fields = Fields::parse(body, &FIELDS, sent)?;
        let action = action_in(fields.get("action"))?;
        let owner = text_in(fields.get("owner"), "owner", 1, MAX_OWNER_CHARS)?;
        let reason = text_in(fields.get("reason"), "reason", 0, MAX_REASON_CHARS)?;
        let ttl = seconds_in(fields.get("ttl_seconds"), "ttl_seconds", 1, MAX_TTL_SECONDS)?;
        let wait = seconds_in(
            fields.get("wait_seconds"),
            "wait_seconds",
            0,
            MAX_WAIT_SECONDS,
        )?
        .unwrap_or_default();
        let suppress_notification =
            flag_in(fields.get("suppress_notification"), "suppress_notification")?;
        let force = flag_in(fields.get("force"), "force")?;

        let (command, without_effect): (_, &[&str]) = match action.as_str() {
            "drain" => {
                let request = BeginRequest {
                    owner,
                    reason,
                    ttl,
                    suppress_notification,
                };
                (DrainCommand::Begin(request), &["force"])
            }
            "cancel" if force => (DrainCommand::Cancel(Cancel::Force), &[]),
            "cancel" => (DrainCommand::Cancel(Cancel::Own(owner)), &[]),
            other => {
                return Err(format!(
                    "Unknown drain action '{}'; expected 'drain' or 'cancel'",
                    echo(other)
                ));
            }
        };

        Ok(Self {
            command,
            wait,
            ignored: fields.ignored(without_effect),
        })
    }
}

fn action_in(field: Option<&Value>) -> Result<String, String> {
    match field {
        None => Ok("drain".to_owned()),
        Some(Value::String(action)) => Ok(action.trim().to_lowercase()),
        Some(_) => Err("'action' must be a string".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(body: &str) -> Result<DrainCommand, String> {
        DrainRequest::parse(body.as_bytes(), &SentCredentials::default())
            .map(|request| request.command)
    }

    #[test]
    fn bodies_that_begin_and_cancel() {
        let begin = || Ok(DrainCommand::Begin(BeginRequest::default()));
        for body in [
            "",
            "  \n",
            "{}",
            r#"{"action":"drain"}"#,
            r#"{"action":" DRAIN "}"#,
        ] {
            assert_eq!(parse(body), begin(), "{body}");
        }
        assert_ne!(parse(r#"{"ttl_seconds":60}"#), begin());
        for body in [r#"{"action":"cancel"}"#, r#"{"action":"Cancel\n"}"#] {
            assert_eq!(
                parse(body),
                Ok(DrainCommand::Cancel(Cancel::Own(None))),
                "{body}"
            );
        }
        let request = BeginRequest {
            owner: Some("blue green".to_owned()),
            reason: Some("upgrade to 2.1".to_owned()),
            ttl: Some(Duration::from_secs(86_400)),
            suppress_notification: true,
        };
        let body = r#"{"ttl_seconds":86400,"suppress_notification":true,"owner":"blue green","reason":"upgrade to 2.1"}"#;
        assert_eq!(parse(body), Ok(DrainCommand::Begin(request)));
        let cancel = r#"{"action":"cancel","owner":"a"}"#;
        assert_eq!(
            parse(cancel),
            Ok(DrainCommand::Cancel(Cancel::Own(Some("a".to_owned()))))
        );
        assert_eq!(
            parse(r#"{"action":"cancel","force":true}"#),
            Ok(DrainCommand::Cancel(Cancel::Force))
        );
    }

    #[test]
    fn unknown_fields_are_ignored_and_named() {
        let body = r#"{"action":"cancel","note":"x","later":[1],"wait_seconds":3}"#;
        let request = DrainRequest::parse(body.as_bytes(), &SentCredentials::default()).unwrap();
        assert_eq!(request.command, DrainCommand::Cancel(Cancel::Own(None)));
        assert_eq!(
            (request.ignored.len(), request.wait),
            (2, Duration::from_secs(3))
        );
        assert!(request.ignored.contains(&"note".to_owned()));
    }

    #[test]
    fn fields_that_do_nothing_are_named() {
        for (body, ignored) in [
            (
                r#"{"owner":"a","reason":"b","ttl_seconds":9,"suppress_notification":true}"#,
                vec![],
            ),
            (r#"{"force":true}"#, vec!["force"]),
            (
                r#"{"action":"drain","note":{"force":1},"force":false}"#,
                vec!["note", "force"],
            ),
            (
                r#"{"action":"cancel","owner":"a","wait_seconds":0,"force":false}"#,
                vec![],
            ),
            (
                r#"{"action":"cancel","owner":"a","force":true,"reason":"b"}"#,
                vec![],
            ),
        ] {
            let request =
                DrainRequest::parse(body.as_bytes(), &SentCredentials::default()).unwrap();
            assert_eq!(request.ignored, ignored, "{body}");
        }
    }

    #[test]
    fn every_bad_field_is_named() {
        let long_owner = format!(r#"{{"owner":"{}"}}"#, "x".repeat(129));
        let long_reason = format!(r#"{{"reason":"{}"}}"#, "x".repeat(257));
        for (body, complaint) in [
            ("[]", "must be a JSON object"),
            ("null", "must be a JSON object"),
            ("drain", "is not JSON"),
            ("\u{feff}{}", "is not JSON"),
            ("{", "is not JSON"),
            (
                r#"{"action":"drain","action":"cancel"}"#,
                "duplicate field `action`",
            ),
            (
                r#"{"action":"explode"}"#,
                "Unknown drain action 'explode'; expected 'drain' or 'cancel'",
            ),
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
            (r#"{"wait_seconds":31}"#, "'wait_seconds'"),
            (r#"{"wait_seconds":null}"#, "'wait_seconds'"),
            (
                r#"{"suppress_notification":"yes"}"#,
                "'suppress_notification'",
            ),
            (r#"{"suppress_notification":1}"#, "'suppress_notification'"),
            (r#"{"action":"cancel","force":"yes"}"#, "'force'"),
            (r#"{"owner":""}"#, "'owner'"),
            (r#"{"owner":7}"#, "'owner'"),
            (r#"{"owner":" a"}"#, "'owner'"),
            (r#"{"owner":"a\nb"}"#, "'owner'"),
            (&long_owner, "'owner'"),
            (&long_reason, "'reason'"),
            (r#"{"reason":"\u001b[2J"}"#, "'reason'"),
        ] {
            let found = parse(body).expect_err(body);
            assert!(found.contains(complaint), "{body}: {found}");
        }
    }

    #[test]
    fn form_says_what_its_json_would() {
        let read = |form: &str| of_form(serde_urlencoded::from_str(form).unwrap());
        for (form, json) in [
            (
                "action=drain&reason=&ttl_seconds=",
                json!({"action": "drain"}),
            ),
            (
                "action=drain&reason=disk&ttl_seconds=900",
                json!({"action": "drain", "reason": "disk", "ttl_seconds": 900}),
            ),
            (
                "action=cancel&force=true",
                json!({"action": "cancel", "force": true}),
            ),
            ("action=cancel", json!({"action": "cancel"})),
            ("action=", json!({"action": ""})),
            (
                "action=drain&ttl_seconds=soon",
                json!({"action": "drain", "ttl_seconds": "soon"}),
            ),
        ] {
            assert_eq!(read(form), Ok(json), "{form}");
        }
        assert!(
            read("reason=x").is_err(),
            "a form of another kind begins no drain"
        );
    }

    #[test]
    fn tags_are_compared_as_http_has_it() {
        for sent in ["\"7\"", "W/\"7\"", "\"6\", \"7\"", "*"] {
            assert!(names_tag(sent.as_bytes(), "\"7\""), "{sent}");
        }
        assert!(!names_tag(b"\"77\"", "\"7\""));
    }
}
