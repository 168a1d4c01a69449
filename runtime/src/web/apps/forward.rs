//! Passing a request on to an application, and its answer back.

use super::super::Dashboard;
use super::super::context::Context;
use super::super::forward_auth;
use super::super::respond::{self, Audience};
use super::activity::Activity;
use super::body::{AnswerBody, to_upstream};
use super::connector::HasAnswered;
use super::failure::Failure;
use super::headers::{
    Rewriting, remove_colliding_cookies, remove_of_the_connection, remove_of_the_host, remove_own_cookies,
};
use super::socket::{self, Joint};
use super::table::App;
use super::{hermes, refusal, session_watch, way};
use crate::auth::Permit;
use axum::body::{Body, HttpBody};
use axum::extract::Request;
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE, EXPECT, HOST, TRANSFER_ENCODING};
use axum::http::uri::PathAndQuery;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, Version};
use axum::response::Response;
use hyper::body::Incoming;
use hyper_util::client::legacy::Error as ClientError;
use std::sync::Arc;

/// A request that may reach an application.
pub(in crate::web) struct Passed<'a> {
    pub(in crate::web) app: &'a Arc<App>,
    /// `None`: the path is open to the caller without one.
    pub(in crate::web) permit: Option<&'a Permit>,
    pub(in crate::web) context: &'a Context,
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
        let (scheme, authority) = app.origin.split_once("://")?;
        let uri =
            Uri::builder().scheme(scheme).authority(authority).path_and_query(self.target).build().ok()?;
        let mut request = axum::http::Request::new(body);
        *request.method_mut() = self.method;
        *request.uri_mut() = uri;
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
    request: Request,
) -> Result<Response, Box<Response>> {
    let app = passed.app;
    if matches!(*request.method(), Method::CONNECT | Method::TRACE) {
        return Err(Box::new(respond::method_not_allowed().await));
    }
    if hermes::is_status(app, &request) {
        return Err(Box::new(hermes::status(dashboard, app, passed.context, request.headers()).await));
    }
    let audience = refusal::audience(app, &request);
    let path = request.uri().path().to_owned();
    let response = exchange(dashboard, passed, request).await;
    let response = response.map_err(|failure| Box::new(refuse(app, &failure, audience)))?;
    if !app.is_public_by_preset(&path) {
        return Ok(response);
    }
    match hermes::without_its_page(&path, response).await {
        Some(response) => Ok(response),
        None => Err(Box::new(respond::not_found().await)),
    }
}

fn refuse(app: &App, failure: &Failure, audience: Audience) -> Response {
    let upstream = app.settings.upstream.shown();
    tracing::warn!(
        app = app.name(),
        upstream,
        why = failure.sentence(app.name()),
        "no answer of an application"
    );
    failure.answer(app.name(), audience)
}

async fn exchange(
    dashboard: &Arc<Dashboard>,
    passed: &Passed<'_>,
    mut request: Request,
) -> Result<Response, Failure> {
    let app = passed.app;
    let limits = &app.settings.limits;
    let is_open = app.allowed_at(request.uri().path()).is_public();
    let slot = app.slot(is_open).ok_or(Failure::Busy)?;
    if announced_length(request.headers()).is_some_and(|length| length > limits.body_bytes as u64) {
        return Err(Failure::BodyTooLarge(limits.body_bytes));
    }
    let client = socket::is_opening(&request).then(|| hyper::upgrade::on(&mut request));
    let session_end = match client {
        Some(_) => session_watch::follow(dashboard, app, passed.permit)?,
        None => None,
    };
    let token = match &app.token {
        Some(token) if !is_open => token.get(app).await,
        _ => None,
    };
    let is_socket = client.is_some();
    let mut head = head_of(dashboard, passed, &request, is_socket);
    if let Some(token) = &token {
        hermes::put_on(&mut head, token, is_socket);
    }

    let activity = Activity::begin();
    let body = match is_socket {
        true => Body::empty(),
        false => to_upstream(request.into_body(), limits.body_bytes, activity.clone()),
    };
    frame(&mut head, &body);
    let again = (head.method.is_idempotent() && body.is_end_stream()).then(|| head.clone());
    let mut response = send(app, head, body, &activity).await?;
    if let (Some(mut again), Some(refused), Some(source)) = (again, &token, &app.token)
        && response.status() == StatusCode::UNAUTHORIZED
        && let Some(token) = source.after(refused, app).await
    {
        hermes::put_on(&mut again, &token, is_socket);
        response = send(app, again, Body::empty(), &activity).await?;
    }

    match (client, response.status()) {
        (Some(client), StatusCode::SWITCHING_PROTOCOLS) => {
            let upstream = hyper::upgrade::on(&mut response);
            let joint = Joint { client, upstream, session_end, idle: limits.idle, slot };
            tokio::spawn(joint.run());
            let mut answer = clean(dashboard, passed, response).map(|_| Body::empty());
            socket::mark(answer.headers_mut());
            Ok(answer)
        }
        (_, StatusCode::SWITCHING_PROTOCOLS) => Err(Failure::NotHttp),
        _ => {
            let session_end = match is_event_stream(response.headers()) {
                true => session_watch::follow(dashboard, app, passed.permit)?,
                false => None,
            };
            let answer = clean(dashboard, passed, response);
            Ok(answer.map(|body| Body::new(AnswerBody::new(body, limits.idle, session_end, slot))))
        }
    }
}

fn announced_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

fn is_event_stream(headers: &HeaderMap) -> bool {
    headers.get(CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"text/event-stream"))
}

/// The head of the request to the application. What it says of the caller is from the gate alone.
fn head_of(dashboard: &Dashboard, passed: &Passed<'_>, request: &Request, is_socket: bool) -> Head {
    let Passed { app, permit, context } = passed;
    let mut headers = request.headers().clone();
    remove_of_the_connection(&mut headers);
    let token = app.token.is_some().then_some(hermes::TOKEN);
    let put_on: Vec<HeaderName> =
        app.settings.headers.iter().map(|(name, _)| name.clone()).chain(token).collect();
    remove_of_the_host(&mut headers, &put_on);
    remove_own_cookies(&mut headers, |name| dashboard.sealer.owns(name));
    headers.remove(EXPECT);

    headers.extend(way::headers_of(request, context));
    if let Some(permit) = permit {
        headers.extend(forward_auth::identity(permit));
    }
    for (name, value) in &app.settings.headers {
        // The token of a preset opens the application, so callers who are not known never get it.
        if app.token.is_none() || *name != hermes::TOKEN {
            headers.insert(name, value.clone());
        }
    }
    let outer = context.origin();
    let rewriting = Rewriting { outer: outer.as_deref(), prefix: &context.site.prefix, inner: &app.origin };
    // The guard has checked the origin of these.
    let is_same_origin = !request.method().is_safe() || is_socket;
    rewriting.request(&mut headers, is_same_origin);
    headers.insert(HOST, app.authority.clone());
    if is_socket {
        socket::mark(&mut headers);
    }
    let target = request.uri().path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/"));
    Head { method: request.method().clone(), target, headers }
}

/// Sets the length of the body anew. If two readers believed two lengths, they would see two different requests.
fn frame(head: &mut Head, body: &Body) {
    let had_length = head.headers.remove(CONTENT_LENGTH).is_some();
    match body.size_hint().exact() {
        // The client of hyper sets it for every longer body.
        Some(0) if had_length => {
            head.headers.insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
        }
        Some(_) => {}
        None => {
            head.headers.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
        }
    }
}

/// Sends a request. One that changes nothing by being repeated, and has no body, is sent again when the connection had been
/// used before and was closed before an answer began.
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
    let Some(again) = again.filter(|_| is_stale) else { return Err(Failure::of(&error, body_bytes)) };
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
        () = activity.idle_for(idle) => return Err(Failure::Silent(idle)),
    };
    activity.note();
    Ok(response.inspect(|response| HasAnswered::note(response.extensions())))
}

/// The answer with the headers that may reach the client.
fn clean(
    dashboard: &Dashboard,
    passed: &Passed<'_>,
    response: axum::http::Response<Incoming>,
) -> axum::http::Response<Incoming> {
    let Passed { app, context, .. } = passed;
    let (mut parts, body) = response.into_parts();
    parts.extensions.clear();
    parts.version = Version::HTTP_11;
    let headers = &mut parts.headers;
    if headers.contains_key(TRANSFER_ENCODING) {
        headers.remove(CONTENT_LENGTH);
    }
    remove_of_the_connection(headers);
    remove_colliding_cookies(headers, |name| dashboard.sealer.owns(name));
    let outer = context.origin();
    Rewriting { outer: outer.as_deref(), prefix: &context.site.prefix, inner: &app.origin }.answer(headers);
    axum::http::Response::from_parts(parts, body)
}
