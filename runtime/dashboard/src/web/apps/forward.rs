//! Passing a request on to an application, and its answer back.

use super::super::Dashboard;
use super::super::context::Context;
use super::super::forward_auth;
use super::super::guard::has_other_coding;
use super::super::respond::{self, Audience};
use super::activity::Activity;
use super::body::{AccessEnd, AnswerBody, to_upstream};
use super::connector::HasAnswered;
use super::failure::Failure;
use super::headers::{
    Rewriting, remove_colliding_cookies, remove_of_the_connection, remove_of_the_host,
    remove_own_cookies,
};
use super::slots::Holder;
use super::socket::{self, ClientEnd, Joint};
use super::table::App;
use super::{client_span, hermes, hop, refusal, session_watch, token_watch, way};
use axum::body::{Body, HttpBody};
use axum::extract::Request;
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE, EXPECT, HOST, TRANSFER_ENCODING};
use axum::http::request::Parts;
use axum::http::uri::PathAndQuery;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, Version};
use axum::response::Response;
use hyper::body::Incoming;
use hyper_util::client::legacy::Error as ClientError;
use portcullis_auth::{BearerToken, Caller, Permit};
use portcullis_observe::request_id::REQUEST_ID;
use std::borrow::Cow;
use std::sync::Arc;

/// A request that may reach an application.
pub(in crate::web) struct Passed<'a> {
    pub(in crate::web) app: &'a Arc<App>,
    /// `None`: the path is open to the caller without one.
    pub(in crate::web) permit: Option<&'a Permit>,
    /// The value of `Authorization` by which a service was let in. The request no longer has it.
    pub(in crate::web) credential: Option<&'a HeaderValue>,
    pub(in crate::web) context: &'a Context,
}

impl<'a> Passed<'a> {
    /// The start of the path that the browser sees and the application does not.
    fn prefix(&self) -> Cow<'a, str> {
        let (outer, taken_off) = (&self.context.site.prefix, self.app.settings.taken_off());
        match taken_off {
            "" => outer.as_str().into(),
            _ => format!("{outer}{taken_off}").into(),
        }
    }
}

/// An answer to a request for an application.
#[derive(Clone)]
pub(in crate::web) struct OfApp {
    pub(in crate::web) app: Arc<App>,
    /// Whether the application gave it, rather than the dashboard.
    pub(in crate::web) is_its_own: bool,
}

/// The head of a request to an application.
#[derive(Clone)]
pub(super) struct Head {
    pub(super) method: Method,
    pub(super) target: PathAndQuery,
    pub(super) headers: HeaderMap,
}

impl Head {
    /// The request with a body. `None`: the target is none for this method.
    pub(super) fn request(self, app: &App, body: Body) -> Option<axum::http::Request<Body>> {
        let mut uri = app.uri.clone().into_parts();
        uri.path_and_query = Some(self.target);
        let mut request = axum::http::Request::new(body);
        *request.method_mut() = self.method;
        *request.uri_mut() = Uri::from_parts(uri).ok()?;
        *request.headers_mut() = self.headers;
        Some(request)
    }
}

/// Passes a request on, and returns the application's answer, or why there is none.
pub(in crate::web) async fn forward(
    dashboard: &Arc<Dashboard>,
    passed: Passed<'_>,
    request: Request,
) -> Response {
    let app = passed.app.clone();
    let answered = answer(dashboard, &passed, request).await;
    let is_its_own = answered.is_ok();
    let mut response = answered.unwrap_or_else(|own| *own);
    response.extensions_mut().insert(OfApp { app, is_its_own });
    response
}

/// The application's answer.
///
/// # Errors
/// The dashboard's own answer in its place.
async fn answer(
    dashboard: &Arc<Dashboard>,
    passed: &Passed<'_>,
    mut request: Request,
) -> Result<Response, Box<Response>> {
    let app = passed.app;
    if *request.method() == Method::TRACE {
        return Err(Box::new(respond::method_not_allowed().await));
    }
    let audience = refusal::audience(app, &request);
    let is_open = app.allowed_at(request.uri().path()).is_public();
    let Some(target) = app.settings.inner_target(request.uri()) else {
        return Err(Box::new(respond::not_found().await));
    };
    let path_of_preset = app.token.is_some().then(|| target.path().to_owned());
    *request.uri_mut() = Uri::from(target);
    if is_open && let Some(path) = &path_of_preset {
        hermes::ask_plainly(path, request.headers_mut());
    }
    let own = path_of_preset
        .as_deref()
        .and_then(|path| hermes::own_answer(request.method(), path));
    if let Some(own) = own {
        return Err(Box::new(
            hermes::give(own, dashboard, passed, request.uri(), request.headers()).await,
        ));
    }

    let response = exchange(dashboard, passed, request, is_open).await;
    let response = response.map_err(|failure| Box::new(refuse(app, &failure, audience)))?;
    let Some(path) = path_of_preset.filter(|_| is_open) else {
        return Ok(response);
    };
    let token = match &app.token {
        Some(token) => token.known().await,
        None => None,
    };
    match hermes::without_its_page(&path, response, token).await {
        Some(response) => Ok(response),
        None => Err(Box::new(respond::not_found().await)),
    }
}

/// The dashboard's own answer to a failure, which is logged.
pub(super) fn refuse(app: &App, failure: &Failure, audience: Audience) -> Response {
    let upstream = app.settings.upstream.shown();
    tracing::warn!(
        app = app.name(),
        upstream,
        why = failure.sentence(app.name()),
        "no answer of an application"
    );
    failure.answer(app.name(), audience)
}

/// Sends a request whose target is the application's. `is_open`: the path is open to everyone.
async fn exchange(
    dashboard: &Arc<Dashboard>,
    passed: &Passed<'_>,
    mut request: Request,
    is_open: bool,
) -> Result<Response, Failure> {
    let app = passed.app;
    let limits = &app.settings.limits;
    let holder = Holder::of(passed.context, passed.permit);
    let slot = app.slot(is_open, holder).ok_or(Failure::Busy)?;
    if announced_length(request.headers()).is_some_and(|length| length > limits.body_bytes as u64) {
        return Err(Failure::BodyTooLarge(limits.body_bytes));
    }
    let client = ClientEnd::take(&mut request);
    let access_end = match client {
        Some(_) => follow_access(dashboard, passed)?,
        None => None,
    };
    let token = match &app.token {
        Some(token) if !is_open => token.get(app).await,
        _ => None,
    };
    let is_socket = client.is_some();
    let (outer, prefix) = (passed.context.origin(), passed.prefix());
    let names = Rewriting {
        outer: outer.as_deref(),
        prefix: &prefix,
        inner: &app.origin,
    };
    let (mut head, body) = head_of(dashboard, passed, &names, request, is_socket);
    if let Some(token) = &token {
        hermes::put_on(&mut head, token, is_socket);
    }

    let activity = Activity::begin();
    let body = match is_socket {
        true => Body::empty(),
        false => to_upstream(body, limits.body_bytes, &activity),
    };
    frame(&mut head, &body);
    let span = client_span::begin(app, &mut head);
    let may_ask_again = token.is_some() && head.method.is_idempotent() && body.is_end_stream();
    let again = may_ask_again.then(|| head.clone());
    let response = send(app, head, body, &activity).await;
    client_span::end(&span, &response);
    let mut response = response?;
    // The token is read again for requests that cannot be repeated as well: the next one has it.
    if let (Some(refused), Some(source)) = (&token, &app.token)
        && hermes::is_refusal(response.status(), is_socket)
        && let Some(token) = source.after(refused, app).await
        && let Some(mut again) = again
    {
        hermes::put_on(&mut again, &token, is_socket);
        response = send(app, again, Body::empty(), &activity).await?;
    }

    let status = response.status();
    match client {
        Some(client) if client.is_opened_by(status, response.headers()) => {
            let upstream = hyper::upgrade::on(&mut response);
            let joint = Joint {
                client,
                upstream,
                access_end,
                idle: limits.idle,
                slot,
            };
            tokio::spawn(joint.run());
            let mut answer = clean(dashboard, &names, response).map(|_| Body::empty());
            socket::mark(answer.headers_mut());
            Ok(answer)
        }
        Some(client) if client.believes_a_success() && status.is_success() => {
            Err(Failure::NoWebSocket)
        }
        Some(_) if status == StatusCode::SWITCHING_PROTOCOLS => Err(Failure::NoWebSocket),
        None if status == StatusCode::SWITCHING_PROTOCOLS => Err(Failure::NotHttp),
        _ => {
            let access_end = match (access_end, is_stream(response.headers())) {
                (_, false) => None,
                // The request was for a socket, and was followed for it.
                (Some(followed), true) => Some(followed),
                (None, true) => follow_access(dashboard, passed)?,
            };
            let answer = clean(dashboard, &names, response);
            Ok(answer.map(|body| Body::new(AnswerBody::new(body, limits.idle, access_end, slot))))
        }
    }
}

/// Follows what the caller of a stream or socket was let in by: a session, or the token of a
/// service. `None`: the path is open to everyone, or this process's token opened it.
///
/// # Errors
/// The caller's session or person has too many streams.
fn follow_access(
    dashboard: &Arc<Dashboard>,
    passed: &Passed<'_>,
) -> Result<Option<AccessEnd>, Failure> {
    match (passed.permit.map(Permit::caller), passed.credential) {
        (Some(Caller::Person(session)), _) => {
            session_watch::follow(dashboard, passed.app, session).map(Some)
        }
        (Some(Caller::Service(principal)), Some(credential)) => {
            let token = BearerToken::from_headers([credential.as_bytes()]).ok();
            Ok(token.map(|token| token_watch::follow(dashboard, passed.app, principal, token)))
        }
        _ => Ok(None),
    }
}

fn announced_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// Returns whether the body of an answer is a stream without a known end.
fn is_stream(headers: &HeaderMap) -> bool {
    const STREAMS: [&str; 3] = [
        "text/event-stream",
        "application/x-ndjson",
        "multipart/x-mixed-replace",
    ];
    let kind = headers
        .get(CONTENT_TYPE)
        .and_then(|kind| kind.to_str().ok())
        .unwrap_or_default();

    STREAMS.iter().any(|stream| {
        kind.get(..stream.len())
            .is_some_and(|start| start.eq_ignore_ascii_case(stream))
    })
}

/// The head of the request to the application, and the body as it came. What the head says of the
/// caller is from the gate alone.
fn head_of(
    dashboard: &Dashboard,
    passed: &Passed<'_>,
    names: &Rewriting<'_>,
    request: Request,
    is_socket: bool,
) -> (Head, Body) {
    let Passed {
        app,
        permit,
        context,
        ..
    } = passed;
    // Before anything is removed: it continues what a trusted proxy wrote.
    let way = way::headers_of(&request, context, names);
    let (
        Parts {
            method,
            uri,
            mut headers,
            ..
        },
        body,
    ) = request.into_parts();
    let id = headers.get(REQUEST_ID).cloned();
    remove_of_the_connection(&mut headers);
    // It is the dashboard's, so `Connection` cannot name it.
    if let Some(id) = id {
        headers.insert(REQUEST_ID, id);
    }
    remove_of_the_host(&mut headers, &app.put_on);
    remove_own_cookies(&mut headers, |name| dashboard.sealer.owns(name));
    headers.remove(EXPECT);

    for (name, value) in way {
        if let Some(value) = value {
            headers.insert(name, value);
        }
    }
    for (name, value) in permit.map(forward_auth::identity).into_iter().flatten() {
        headers.insert(name, value);
    }
    for (name, value) in &app.settings.headers {
        // The token of a preset opens the application, so callers who are not known never get it.
        if app.token.is_none() || *name != hermes::TOKEN {
            headers.insert(name, value.clone());
        }
    }
    // The guard has checked the origin of these.
    let is_same_origin = !method.is_safe() || is_socket;
    names.request(&mut headers, is_same_origin);
    headers.insert(HOST, app.authority.clone());
    hop::mark(&mut headers);
    if is_socket {
        socket::mark(&mut headers);
    }
    let target = uri
        .into_parts()
        .path_and_query
        .unwrap_or_else(|| PathAndQuery::from_static("/"));
    (
        Head {
            method,
            target,
            headers,
        },
        body,
    )
}

/// Sets the length of the body anew. If two readers believed two lengths, they would see two
/// different requests.
fn frame(head: &mut Head, body: &Body) {
    let had_length = head.headers.remove(CONTENT_LENGTH).is_some();
    match body.size_hint().exact() {
        // The client of hyper sets it for every longer body.
        Some(0) if had_length => {
            head.headers
                .insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
        }
        Some(_) => {}
        None => {
            head.headers
                .insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
        }
    }
}

/// Sends a request. One that changes nothing by being repeated, and has no body, is sent again when
/// the connection had been used before and was closed before an answer began.
async fn send(
    app: &App,
    head: Head,
    body: Body,
    activity: &Activity,
) -> Result<axum::http::Response<Incoming>, Failure> {
    let body_bytes = app.settings.limits.body_bytes;
    let again = (head.method.is_idempotent() && body.is_end_stream()).then(|| head.clone());
    let error = match attempt(app, head, body, activity).await? {
        Ok(response) => return Ok(response),
        Err(error) => error,
    };
    let is_stale = error.connect_info().is_some_and(HasAnswered::of);
    let Some(again) = again.filter(|_| is_stale) else {
        return Err(Failure::of(&error, body_bytes));
    };
    let second = attempt(app, again, Body::empty(), activity).await?;

    second.map_err(|error| Failure::of(&error, body_bytes))
}

async fn attempt(
    app: &App,
    head: Head,
    body: Body,
    activity: &Activity,
) -> Result<Result<axum::http::Response<Incoming>, ClientError>, Failure> {
    let idle = app.settings.limits.idle;
    let request = head.request(app, body).ok_or(Failure::NotHttp)?;
    let response = tokio::select! {
        response = app.client.request(request) => response,
        () = activity.idle_for(idle) => {
            return Err(match activity.waits_for_client() {
                true => Failure::ClientSilent(idle),
                false => Failure::Silent(idle),
            });
        }
    };
    activity.note();
    let is_coded = |response: &axum::http::Response<Incoming>| has_other_coding(response.headers());
    if response.as_ref().is_ok_and(is_coded) {
        return Err(Failure::TransferCoding);
    }

    Ok(response.inspect(|response| HasAnswered::note(response.extensions())))
}

/// The answer with the headers that may reach the client.
fn clean(
    dashboard: &Dashboard,
    names: &Rewriting<'_>,
    response: axum::http::Response<Incoming>,
) -> axum::http::Response<Incoming> {
    let (mut parts, body) = response.into_parts();
    parts.extensions.clear();
    parts.version = Version::HTTP_11;

    let headers = &mut parts.headers;
    if headers.contains_key(TRANSFER_ENCODING) {
        headers.remove(CONTENT_LENGTH);
    }

    remove_of_the_connection(headers);
    remove_colliding_cookies(headers, |name| dashboard.sealer.owns(name));
    names.answer(headers);
    axum::http::Response::from_parts(parts, body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_are_known_in_any_spelling() {
        let headers = |kind: &'static str| {
            HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static(kind))])
        };
        for kind in [
            "text/event-stream; charset=utf-8",
            "Text/Event-Stream",
            "application/x-ndjson",
            "multipart/x-mixed-replace; boundary=b",
        ] {
            assert!(is_stream(&headers(kind)), "{kind}");
        }
        for kind in ["text/html", "application/json", "multipart/form-data", ""] {
            assert!(!is_stream(&headers(kind)), "{kind}");
        }
        assert!(!is_stream(&HeaderMap::new()));
    }
}
