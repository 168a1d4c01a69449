//! The gateway's two listeners: the HTTP port, and the internal channel, a Unix socket in the home.

use super::ApiKey;
use super::metrics::GatewayMetrics;
use super::records::TurnRecords;
use super::runner::{AdmittedTurn, TurnCommand, TurnEvent};
use super::turn_end::TurnEnd;
use super::turns::{TurnId, TurnOrigin, TurnPermit, TurnRefusal, Turns};
use axum::body::{Body, Bytes};
use axum::extract::{DefaultBodyLimit, FromRequest, Path, Request, State};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use jiff::Timestamp;
use portcullis_net::listen::Peer;
use portcullis_observe::accept_quality;
use portcullis_observe::exposition::TextFormat;
use portcullis_observe::request_id::{REQUEST_ID, RequestId};
use portcullis_observe::trace_context::TraceContext;
use serde::Deserialize;
use serde_json::{Value, json};
use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Notify, mpsc};
use tokio::time::timeout;
use tokio_stream::{Stream, StreamExt, wrappers::ReceiverStream};

/// The internal channel's name in the home.
pub(crate) const INTERNAL_SOCKET: &str = "gateway.sock";

const MAX_BODY_BYTES: usize = 1024 * 1024;
const BODY_TIMEOUT: Duration = Duration::from_secs(10);
const MAX_SESSION_BYTES: usize = 256;
/// A reply that is not streamed is held in memory until its turn ends.
const MAX_REPLY_BYTES: usize = 16 * 1024 * 1024;

const DRAINING: &str = "This agent is being prepared for maintenance and is not accepting new turns right now. \
                        Please send your message again later.";

/// State that both listeners share.
#[derive(Clone)]
pub(super) struct TurnService {
    pub turns: Turns<Timestamp>,
    pub command: Option<Arc<TurnCommand>>,
    /// Notified of each change of the number of turns.
    pub changed: Arc<Notify>,
    pub records: TurnRecords,
    pub metrics: Arc<GatewayMetrics>,
    /// Key that callers of the HTTP port present. `None`: none is needed.
    pub api_key: Option<ApiKey>,
}

/// The listener that a request came through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ListenerKind {
    /// The Unix socket in the home, which only its owner can open. Its turns are internal.
    Internal,
    /// A loopback address. Pages in a browser on this machine can reach it as well.
    Loopback,
    /// An address that other machines can reach.
    Network,
}

impl ListenerKind {
    pub(super) fn at(address: SocketAddr) -> Self {
        if address.ip().is_loopback() {
            Self::Loopback
        } else {
            Self::Network
        }
    }

    fn origin(self) -> TurnOrigin {
        match self {
            Self::Internal => TurnOrigin::Internal,
            Self::Loopback | Self::Network => TurnOrigin::User,
        }
    }
}

/// Returns the routes of one listener.
pub(super) fn router(service: TurnService, listener: ListenerKind) -> Router {
    let origin = listener.origin();
    let api_key = service
        .api_key
        .clone()
        .filter(|_| listener != ListenerKind::Internal);

    let turns = Router::new()
        .route(
            "/v1/turns",
            get(list_turns)
                .post(move |state, headers, request| start_turn(state, origin, headers, request)),
        )
        .route("/v1/turns/{id}", get(show_turn).delete(stop_turn))
        .route("/metrics", get(metrics))
        .route("/health", get(health))
        .fallback(|| async { refusal(StatusCode::NOT_FOUND, "not_found", "no such path") })
        .method_not_allowed_fallback(|| async {
            refusal(
                StatusCode::METHOD_NOT_ALLOWED,
                "method_not_allowed",
                "this path does not take this method",
            )
        })
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .with_state(service);
    turns
        .layer(middleware::from_fn_with_state(
            api_key.clone(),
            require_api_key,
        ))
        .layer(middleware::from_fn_with_state(
            (listener, api_key),
            refuse_foreign_pages,
        ))
        .layer(middleware::from_fn_with_state(listener, name_request))
}

/// Names the request in its answer and in the log lines about it. A program on this machine may
/// choose the id.
async fn name_request(
    State(listener): State<ListenerKind>,
    mut request: Request,
    next: Next,
) -> Response {
    let may_choose = listener == ListenerKind::Internal || is_from_this_machine(&request);
    let id = RequestId::assign(request.headers_mut(), may_choose);
    let answer = next.run(request);
    let mut response = match &id {
        Some(id) => id.clone().scope(answer).await,
        None => answer.await,
    };

    if let Some(id) = id {
        response.headers_mut().insert(REQUEST_ID, id.to_header());
    }
    response
}

/// On a dual-stack bind, IPv4 peers arrive as mapped addresses.
fn is_from_this_machine(request: &Request) -> bool {
    let peer = request.extensions().get::<Peer>();
    peer.and_then(|peer| peer.0)
        .is_some_and(|address| address.ip().to_canonical().is_loopback())
}

/// Checks the key, if there is one, on every path except `/health`.
async fn require_api_key(
    State(api_key): State<Option<ApiKey>>,
    request: Request,
    next: Next,
) -> Response {
    let may_pass = match &api_key {
        Some(key) => request.uri().path() == "/health" || presents(request.headers(), key),
        None => true,
    };
    if may_pass {
        return next.run(request).await;
    }

    let detail = "present gateway.api_key as `Authorization: Bearer KEY`";
    let response = refusal(StatusCode::UNAUTHORIZED, "unauthenticated", detail);
    ([(header::WWW_AUTHENTICATE, "Bearer")], response).into_response()
}

/// Two `Authorization` headers count as none, since it is undefined which one applies.
fn presents(headers: &HeaderMap, key: &ApiKey) -> bool {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let (Some(value), None) = (values.next(), values.next()) else {
        return false;
    };
    value.to_str().is_ok_and(|value| key.is_in(value))
}

/// Refuses requests of web pages, which could otherwise start and list turns through a person's
/// browser. Browsers send the origin of the page; programs send none. A page that reached this
/// address by a false DNS answer names its own domain, but knows no key: with a key, any name will
/// do.
async fn refuse_foreign_pages(
    State((listener, api_key)): State<(ListenerKind, Option<ApiKey>)>,
    request: Request,
    next: Next,
) -> Response {
    let must_name_address = listener == ListenerKind::Loopback && api_key.is_none();
    if must_name_address
        && !request
            .headers()
            .get_all(header::HOST)
            .iter()
            .all(names_no_domain)
    {
        return refusal(
            StatusCode::BAD_REQUEST,
            "bad_host",
            "the gateway answers to localhost and to addresses",
        );
    }

    let signs = [
        header::ORIGIN,
        header::REFERER,
        HeaderName::from_static("sec-fetch-site"),
    ];
    if signs
        .iter()
        .any(|sign| request.headers().contains_key(sign))
    {
        return refusal(
            StatusCode::FORBIDDEN,
            "foreign_origin",
            "the gateway does not serve web pages",
        );
    }

    next.run(request).await
}

/// Refuses other host names. After DNS rebinding, a page's requests name the page's own domain.
fn names_no_domain(host: &HeaderValue) -> bool {
    let host = host
        .to_str()
        .ok()
        .and_then(|host| host.parse::<Authority>().ok());
    host.is_some_and(|host| {
        let name = host.host().trim_start_matches('[').trim_end_matches(']');
        name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok()
    })
}

async fn health(State(service): State<TurnService>) -> Json<Value> {
    let snapshot = service.turns.snapshot();
    Json(
        json!({"ok": true, "accepting": snapshot.admittance == super::turns::Admittance::Open,
                "active_agents": service.metrics.active(&service.turns)}),
    )
}

async fn list_turns(State(service): State<TurnService>) -> Json<Value> {
    let now = Timestamp::now();
    let turns: Vec<_> = service
        .turns
        .in_flight()
        .into_iter()
        .map(|(id, turn)| {
            let seconds = now.duration_since(turn.since).as_secs();
            json!({"id": id, "session": turn.session, "since": turn.since, "seconds": seconds,
                   "internal": turn.origin == TurnOrigin::Internal})
        })
        .collect();
    Json(json!({"turns": turns}))
}

async fn show_turn(State(service): State<TurnService>, Path(id): Path<String>) -> Response {
    let turn = id
        .parse::<TurnId>()
        .ok()
        .and_then(|id| service.records.describe(id));
    match turn {
        Some(turn) => Json(turn).into_response(),
        None => no_such_turn("no turn with this id is in flight or ended in the last ten minutes"),
    }
}

/// Ends one turn. The answer does not wait for the end.
async fn stop_turn(State(service): State<TurnService>, Path(id): Path<String>) -> Response {
    match id.parse::<TurnId>() {
        Ok(id) if service.records.stop(id) => {
            tracing::info!(turn = id, "a request ends the turn");
            (StatusCode::ACCEPTED, Json(json!({"ok": true, "id": id}))).into_response()
        }
        _ => no_such_turn("no turn with this id is in flight"),
    }
}

fn no_such_turn(detail: &str) -> Response {
    refusal(StatusCode::NOT_FOUND, "not_found", detail)
}

async fn metrics(State(service): State<TurnService>, headers: HeaderMap) -> Response {
    let format = TextFormat::accepted(&headers);
    let text = service.metrics.exposition(&service.turns, format);

    (
        [
            (header::CONTENT_TYPE, format.content_type()),
            (header::VARY, "accept"),
        ],
        text,
    )
        .into_response()
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TurnRequest {
    session: String,
    text: String,
}

impl TurnRequest {
    fn parse(body: &[u8]) -> Result<Self, String> {
        let complaint = |why: &str| {
            format!("the body must be {{\"session\": string, \"text\": string}}: {why}")
        };
        // A derived reader takes a list as well, with its items in the order of the fields.
        if body.trim_ascii_start().starts_with(b"[") {
            return Err(complaint("it is a list"));
        }

        let request: Self =
            serde_json::from_slice(body).map_err(|error| complaint(&error.to_string()))?;
        match request.session.len() {
            1..=MAX_SESSION_BYTES if !request.session.contains(char::is_control) => Ok(request),
            _ => Err(format!(
                "`session` must be 1 to {MAX_SESSION_BYTES} bytes without control characters"
            )),
        }
    }
}

async fn start_turn(
    State(service): State<TurnService>,
    origin: TurnOrigin,
    headers: HeaderMap,
    request: Request,
) -> Response {
    let body = match timeout(BODY_TIMEOUT, Bytes::from_request(request, &())).await {
        Ok(Ok(body)) => body,
        Ok(Err(rejected)) if rejected.status() == StatusCode::PAYLOAD_TOO_LARGE => {
            let detail = format!("the body is larger than {} KiB", MAX_BODY_BYTES >> 10);
            return refusal(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", &detail);
        }
        Ok(Err(rejected)) => {
            return refusal(rejected.status(), "bad_request", &rejected.body_text());
        }
        Err(_) => {
            return refusal(
                StatusCode::REQUEST_TIMEOUT,
                "timeout",
                "the body did not arrive in time",
            );
        }
    };

    let request = match TurnRequest::parse(&body) {
        Ok(request) => request,
        Err(mistake) => return refusal(StatusCode::BAD_REQUEST, "bad_request", &mistake),
    };

    let Some(command) = service.command.clone() else {
        let detail = "no command is configured: set gateway.command in portcullis.yaml";
        return refusal(StatusCode::NOT_IMPLEMENTED, "no_command", detail);
    };

    let since = Timestamp::now();
    match service.turns.admit(&request.session, origin, since) {
        Ok(permit) => {
            let turn = admitted(&service, permit, request, since, TraceContext::of(&headers));
            run_turn(&service, &command, turn, wants_stream(&headers)).await
        }
        Err(refused) => {
            service.metrics.turn_refused(refused);
            refuse_turn(&request.session, refused)
        }
    }
}

fn admitted(
    service: &TurnService,
    permit: TurnPermit<Timestamp>,
    request: TurnRequest,
    since: Timestamp,
    trace: Option<TraceContext>,
) -> AdmittedTurn {
    let TurnRequest { session, text } = request;
    let (record, stopped) = service.records.begin(permit.id(), &session, since);

    AdmittedTurn {
        permit,
        record,
        stopped,
        session,
        text,
        trace,
    }
}

async fn run_turn(
    service: &TurnService,
    command: &TurnCommand,
    turn: AdmittedTurn,
    stream: bool,
) -> Response {
    let id = turn.permit.id();
    tracing::info!(turn = id, session = turn.session, "turn started");
    service.changed.notify_one();
    let changed = service.changed.clone();
    let events = command.start(turn, move || changed.notify_one());
    let mut response = if stream {
        Sse::new(event_stream(events))
            .keep_alive(KeepAlive::default())
            .into_response()
    } else {
        collect(events).await
    };

    response
        .headers_mut()
        .insert("x-turn-id", HeaderValue::from(id));
    response
}

fn wants_stream(headers: &HeaderMap) -> bool {
    accept_quality(headers, "text/event-stream") > 0.0
}

/// `output` events with `{"text"}` as it comes, then one `end` event with `{"exit_code"}` or
/// `{"error"}`.
fn event_stream(
    events: mpsc::Receiver<TurnEvent>,
) -> impl Stream<Item = Result<Event, Infallible>> {
    let mut decoder = Utf8Chunks::default();
    ReceiverStream::new(events).map(move |event| {
        Ok(match event {
            TurnEvent::Output(bytes) => sse("output", &json!({"text": decoder.push(&bytes)})),
            TurnEvent::Ended(TurnEnd::Exited(code)) => {
                sse("end", &json!({"exit_code": code, "text": decoder.finish()}))
            }
            TurnEvent::Ended(end) => sse("end", &json!({"error": end.error()})),
        })
    })
}

fn sse(name: &str, data: &Value) -> Event {
    Event::default().event(name).data(data.to_string())
}

/// Decodes UTF-8 from pieces that may end within a character.
#[derive(Default)]
struct Utf8Chunks(Vec<u8>);

impl Utf8Chunks {
    fn push(&mut self, bytes: &[u8]) -> String {
        self.0.extend_from_slice(bytes);
        let incomplete = match std::str::from_utf8(&self.0) {
            Err(error) if error.error_len().is_none() => self.0.len() - error.valid_up_to(),
            // Broken in the middle: only a broken tail could still become whole, and three bytes
            // bound it.
            _ => 0,
        };
        let rest = self.0.split_off(self.0.len() - incomplete);
        let text = String::from_utf8_lossy(&self.0).into_owned();
        self.0 = rest;
        text
    }

    fn finish(&mut self) -> String {
        String::from_utf8_lossy(&std::mem::take(&mut self.0)).into_owned()
    }
}

/// The whole reply at once.
async fn collect(mut events: mpsc::Receiver<TurnEvent>) -> Response {
    let mut reply = Vec::new();
    while let Some(event) = events.recv().await {
        match event {
            TurnEvent::Output(bytes) if reply.len() + bytes.len() <= MAX_REPLY_BYTES => {
                reply.extend(bytes);
            }
            TurnEvent::Output(_) => {
                let detail = format!(
                    "the reply is over {MAX_REPLY_BYTES} bytes: ask with Accept: text/event-stream"
                );
                return refusal(StatusCode::BAD_GATEWAY, "reply_too_large", &detail);
            }
            TurnEvent::Ended(TurnEnd::Exited(0)) => {
                return (
                    [(header::CONTENT_TYPE, "text/plain; charset=utf-8")],
                    Body::from(reply),
                )
                    .into_response();
            }
            TurnEvent::Ended(end) => return failed_turn(&end, &reply),
        }
    }

    refusal(
        StatusCode::BAD_GATEWAY,
        "turn_failed",
        "the turn's output stream closed before it reported a result",
    )
}

fn failed_turn(end: &TurnEnd, reply: &[u8]) -> Response {
    let status = match end {
        TurnEnd::TimedOut(_) => StatusCode::GATEWAY_TIMEOUT,
        _ => StatusCode::BAD_GATEWAY,
    };
    let code = end.code();
    let body = json!({"error": code, "code": code, "detail": end.error(), "exit_code": end.exit_code(),
                      "output": String::from_utf8_lossy(reply)});
    (status, Json(body)).into_response()
}

fn refuse_turn(session: &str, refused: TurnRefusal) -> Response {
    tracing::info!(session, reason = refused.reason(), "turn refused");
    match refused {
        TurnRefusal::Draining => {
            let response = refusal(
                StatusCode::SERVICE_UNAVAILABLE,
                "gateway_draining",
                DRAINING,
            );
            ([(header::RETRY_AFTER, "1")], response).into_response()
        }
        TurnRefusal::SessionBusy => refusal(
            StatusCode::CONFLICT,
            "session_busy",
            "this session has a turn in flight: wait for its end",
        ),
        TurnRefusal::Full { max_turns } => {
            let detail =
                format!("{max_turns} turns are in flight, as many as gateway.max_turns allows");
            let response = refusal(StatusCode::TOO_MANY_REQUESTS, "max_turns", &detail);
            ([(header::RETRY_AFTER, "1")], response).into_response()
        }
    }
}

/// `error` as the dashboard's answers have it, `code` as the gateway's clients read it.
fn refusal(status: StatusCode, code: &str, detail: &str) -> Response {
    (
        status,
        Json(json!({"error": code, "code": code, "detail": detail})),
    )
        .into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn characters_split_between_chunks_are_put_together() {
        let mut chunks = Utf8Chunks::default();
        let text = "a€𝄞z";
        let pieces: String = text
            .as_bytes()
            .chunks(1)
            .map(|byte| chunks.push(byte))
            .collect();
        assert_eq!(pieces + &chunks.finish(), text);
        let mut broken = Utf8Chunks::default();
        assert_eq!(broken.push(b"a\xffb"), "a\u{fffd}b");
        assert_eq!(broken.push(b"\xe2\x82"), "");
        assert_eq!(broken.finish(), "\u{fffd}");
    }

    #[test]
    fn bad_turn_requests_name_the_field() {
        let complaint = |body: &str| TurnRequest::parse(body.as_bytes()).err().expect(body);
        assert!(complaint(r#"{"text":"x"}"#).contains("session"));
        assert!(complaint(r#"{"session":"s"}"#).contains("text"));
        assert!(complaint(r#"{"session":1,"text":"x"}"#).contains("invalid type"));
        assert!(complaint(r#"{"session":"s","text":"x","internal":true}"#).contains("internal"));
        assert!(complaint(r#"{"session":"","text":"x"}"#).contains("`session`"));
        assert!(complaint("not json").contains("expected"));
        assert!(TurnRequest::parse(br#"{"session":"s","text":""}"#).is_ok());
    }
}
