//! The outermost layer of auth: hands the request's facts to the gate and does what the gate
//! decides, for the dashboard's own paths and for those of applications.

use super::access_log::Who;
use super::apps::{self, App, Passed};
use super::branding::Branding;
use super::context::Context;
use super::excerpt::excerpt;
use super::forward_auth;
use super::outside::Outside;
use super::request_cookies::RequestCookies;
use super::respond::{self, Audience};
use super::sent_credentials::{SESSION_TOKEN, SentCredentials};
use super::session_cookie;
use super::sign_in::{about, now, since_epoch, tell_too_large};
use super::site::{Arrival, Site};
use super::{Dashboard, Serving, spans};
use crate::audit::{EventName, Record};
use axum::extract::Request;
use axum::http::header::{AUTHORIZATION, USER_AGENT};
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri};
use axum::middleware::Next;
use axum::response::Response;
use portcullis_auth::{
    BACKCHANNEL, CallFault, Caller, CookieChange, Decision, Denial, Gate, Judgement, Permit,
    ProviderName, RequestFacts, Session, SessionEvent, Sighting, VERIFY_PATH, WS_PATH,
};
use portcullis_observe::telemetry::{Span, SpanKind};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::Semaphore;

/// Wall clock over all providers that are asked about one token.
pub(super) const CHAIN_DEADLINE: Duration = Duration::from_millis(2_500);
/// How long a request waits for a provider that is still being loaded when the dashboard has just
/// started.
const LOADING_PATIENCE: Duration = Duration::from_secs(120);
/// Requests that may wait so at a time. The connections of the others stay free for the routes that
/// need no provider.
const MAX_WAITING: usize = 256;
/// The same for a page that can do without.
const SIGN_IN_PATIENCE: Duration = Duration::from_secs(3);

static WAITING: Semaphore = Semaphore::const_new(MAX_WAITING);

pub(super) async fn pass(
    dashboard: &Arc<Dashboard>,
    arrival: Arrival,
    request: Request,
    next: Next,
) -> Response {
    let serving = dashboard.live.now();
    let app = owner(&serving, &arrival, &request);
    let is_kept_out = is_kept_out(dashboard, &serving, &arrival, &request);
    let is_ambiguous = app
        .as_deref()
        .is_some_and(|app| is_ambiguous(&serving, app, &arrival, &request));
    let context = context(dashboard, arrival, &request);

    if is_kept_out {
        return respond::not_found().await;
    }
    if is_ambiguous {
        return refuse_ambiguous();
    }
    // Before the gate: the request that comes back has no session, and a redirect to the sign-in
    // page would lead its browser in circles.
    let looped = app
        .as_deref()
        .and_then(|app| apps::refuse_loop(app, &request));
    if let Some(refusal) = looped {
        return refusal;
    }

    let target = match &app {
        Some(app) => apps::target(app, request.uri()),
        None => forward_auth::target(&request, &context.site),
    };
    let asked = RequestTarget {
        uri: request.uri(),
        headers: request.headers(),
        target: &target,
    };
    let (serving, judgement) =
        judge_in_span(dashboard, serving, app.as_deref(), asked, &context.site).await;
    drop(target);

    let path = request.uri().path();
    let is_live_page = app.is_none() && gate_path(path) == WS_PATH;
    tell(
        dashboard,
        &serving.gate,
        &judgement,
        path,
        is_live_page,
        &context,
    );
    let cookies = cookies(dashboard, &judgement, request.headers(), &context);

    let mut response = answer(
        dashboard,
        &serving,
        judgement.decision,
        app.as_ref(),
        context,
        request,
        next,
    )
    .await;
    session_cookie::set(response.headers_mut(), cookies);
    response
}

/// What [`judge`] returns, with a span around it.
async fn judge_in_span(
    dashboard: &Dashboard,
    serving: Arc<Serving>,
    app: Option<&App>,
    asked: RequestTarget<'_>,
    site: &Site,
) -> (Arc<Serving>, Judgement) {
    let span = Span::begin("gate", SpanKind::Internal);
    let judging = judge(dashboard, serving, app, asked, site);
    let (serving, judgement) = span.cover(judging).await;
    spans::end_gate(&span, &judgement);
    (serving, judgement)
}

/// Answers a request as the gate decided. `app` is the application that it is for.
async fn answer(
    dashboard: &Arc<Dashboard>,
    serving: &Serving,
    decision: Decision,
    app: Option<&Arc<App>>,
    context: Context,
    mut request: Request,
    next: Next,
) -> Response {
    match (decision, app) {
        (Decision::Refused(denial), None) => {
            refuse(&denial, &context.site, &serving.branding, &request)
        }
        (Decision::Refused(denial), Some(app)) => {
            apps::refuse(&denial, app, &context.site, &serving.branding, &request)
        }
        (Decision::Public, None) => {
            request.extensions_mut().insert(context);
            next.run(request).await
        }
        (Decision::Public, Some(app))
            if context.outside.is_some() && !is_public_of(app, &request) =>
        {
            refuse_outside(&context, &request)
        }
        (Decision::Public, Some(app)) => {
            let passed = Passed {
                app,
                permit: None,
                credential: None,
                context: &context,
            };
            apps::forward(dashboard, passed, request).await
        }
        (Decision::Permitted(permit), _) if !works_here(&permit, &context) => {
            refuse_outside(&context, &request)
        }
        (Decision::Permitted(permit), app) => {
            note_person(serving, &permit, &request, &context);
            let_through(dashboard, permit, app, context, request, next).await
        }
    }
}

/// Notes the session of a person, and where it was seen, for the list of sessions.
fn note_person(serving: &Serving, permit: &Permit, request: &Request, context: &Context) {
    if let Caller::Person(session) = permit.caller() {
        let people = serving.gate.people();
        people.known.saw(session, sighting(request, context));
        people.sessions.saw(session);
    }
}

/// Passes a permitted request to its application, or to the dashboard's own handlers. The answer
/// says who asked, where there is an access log.
async fn let_through(
    dashboard: &Arc<Dashboard>,
    permit: Permit,
    app: Option<&Arc<App>>,
    mut context: Context,
    mut request: Request,
    next: Next,
) -> Response {
    if app.is_none() {
        context.sent = SentCredentials::of(request.headers());
    }
    let credential = remove_credential(&mut request, &permit, app.map(Arc::as_ref));
    let who = dashboard.access_log.is_some().then(|| Who::of(&permit));

    let mut response = match app {
        Some(app) => {
            let passed = Passed {
                app,
                permit: Some(&permit),
                credential: credential.as_ref(),
                context: &context,
            };
            apps::forward(dashboard, passed, request).await
        }
        None => {
            request.extensions_mut().insert(permit);
            request.extensions_mut().insert(context);
            next.run(request).await
        }
    };

    if let Some(who) = who {
        response.extensions_mut().insert(who);
    }
    response
}

fn refuse_ambiguous() -> Response {
    let why = "the path belongs to two applications, depending on how it is read";
    respond::error(StatusCode::BAD_REQUEST, "bad_request", why)
}

/// The application that a request is for.
fn owner(serving: &Serving, arrival: &Arrival, request: &Request) -> Option<Arc<App>> {
    let host = arrival
        .reached
        .authority
        .as_ref()
        .map(|authority| &authority.host);
    serving.apps.owner(host, request.uri().path()).cloned()
}

/// Returns whether the request is for the dashboard's page, at a host that an application has for
/// itself. Its port does not count: cookies are those of the host on every port, so a script of the
/// application would choose the port at which the page is not kept from it.
fn is_kept_out(
    dashboard: &Dashboard,
    serving: &Serving,
    arrival: &Arrival,
    request: &Request,
) -> bool {
    let Some(authority) = &arrival.reached.authority else {
        return false;
    };
    let (host, path) = (&authority.host, request.uri().path());

    // At the public host the page stays: there may be no other. A token route stays as well, since
    // the cookies of a browser do not open it.
    dashboard.hosts.is_beside_the_public_one(host)
        && serving.apps.keeps_out(host, path)
        && !serving.gate.is_token_route(path)
}

/// Returns whether the upstream of this application may read the path as another application's.
fn is_ambiguous(serving: &Serving, app: &App, arrival: &Arrival, request: &Request) -> bool {
    let host = arrival
        .reached
        .authority
        .as_ref()
        .map(|authority| &authority.host);
    serving.apps.is_ambiguous(app, host, request.uri().path())
}

/// What the gate decides. Waits for a provider that is being loaded, where the decision depends on
/// it.
async fn judge(
    dashboard: &Dashboard,
    mut serving: Arc<Serving>,
    app: Option<&App>,
    asked: RequestTarget<'_>,
    site: &Site,
) -> (Arc<Serving>, Judgement) {
    let began = Instant::now();
    let mut judgement = decide(&serving.gate, app, &facts(dashboard, asked, site)).await;

    let place = (serving.loading > 0).then(|| WAITING.try_acquire());
    while let Some(Ok(_)) = &place
        && serving.loading > 0
        && is_for_want_of_a_provider(&judgement)
        && let Some(next) = next_serving(dashboard, &serving, began + LOADING_PATIENCE).await
    {
        serving = next;
        judgement = decide(&serving.gate, app, &facts(dashboard, asked, site)).await;
    }

    drop(place);
    if !serving.is_ready && is_sign_in(asked.uri.path()) {
        dashboard.live.when_ready(began + SIGN_IN_PATIENCE).await;
    }
    (serving, judgement)
}

/// What serves once one more provider is loaded. `None`: nothing has changed by then, or the
/// dashboard ends.
async fn next_serving(
    dashboard: &Dashboard,
    seen: &Serving,
    deadline: Instant,
) -> Option<Arc<Serving>> {
    tokio::select! {
        next = dashboard.live.next(seen, deadline) => next,
        () = dashboard.closes() => None,
    }
}

async fn decide(gate: &Gate, app: Option<&App>, facts: &RequestFacts<'_>) -> Judgement {
    match app {
        Some(app) => {
            gate.decide_application(app.allowed_at(facts.path), facts)
                .await
        }
        None => gate.decide(facts).await,
    }
}

fn is_public_of(app: &App, request: &Request) -> bool {
    app.allowed_at(request.uri().path()).is_public()
}

/// Removes the credential from the request, and returns the value of `Authorization` if it was one.
/// No handler has any use for it but to refuse texts that contain it (see [`SentCredentials`]). With a session, `Authorization` is the
/// application's own.
fn remove_credential(
    request: &mut Request,
    permit: &Permit,
    app: Option<&App>,
) -> Option<HeaderValue> {
    let headers = request.headers_mut();
    if app.is_none() {
        headers.remove(SESSION_TOKEN);
    }

    let is_ours = app.is_none() || matches!(permit.caller(), Caller::Service(_));
    if is_ours {
        headers.remove(AUTHORIZATION)
    } else {
        None
    }
}

fn sighting<'a>(request: &'a Request, context: &Context) -> Sighting<'a> {
    let user_agent = request.headers().get(USER_AGENT).map(HeaderValue::as_bytes);
    Sighting {
        now: now(),
        address: context.ip(),
        user_agent,
    }
}

fn context(dashboard: &Dashboard, arrival: Arrival, request: &Request) -> Context {
    let Arrival {
        client,
        site,
        reached,
    } = arrival;
    let is_proxied = reached.is_proxied;
    let elsewhere = reached
        .authority
        .as_ref()
        .and_then(|host| dashboard.hosts.other_origin(host));
    let is_host_known = || {
        reached
            .authority
            .as_ref()
            .is_some_and(|host| dashboard.hosts.accepts(host))
    };
    let is_local = dashboard.page.is_local();
    let outside = is_local
        .then(|| Outside::of(request, is_host_known()))
        .flatten();

    Context::new(client, site, is_proxied, outside, elsewhere)
}

/// This process's token, and a ticket that was bought with it, work on this machine alone.
fn works_here(permit: &Permit, context: &Context) -> bool {
    context.outside.is_none() || *permit.caller() != Caller::ProcessTokenHolder
}

fn refuse_outside(context: &Context, request: &Request) -> Response {
    let Some(outside) = &context.outside else {
        return respond::internal_error();
    };
    let path = excerpt(request.uri().path());
    tracing::warn!(path, sign = %outside, "this process's token was presented, but not on this machine");
    outside.refusal()
}

/// Returns whether a provider that cannot be asked keeps the request from being decided.
fn is_for_want_of_a_provider(judgement: &Judgement) -> bool {
    matches!(&judgement.decision, Decision::Refused(denial) if denial.unanswered().is_some())
}

/// Routes that show the providers, or sign people in or out by one.
fn is_sign_in(path: &str) -> bool {
    path.starts_with(BACKCHANNEL)
        || [
            "/login",
            "/auth/login",
            "/auth/callback",
            "/auth/password-login",
            "/api/auth/providers",
        ]
        .contains(&path)
}

/// What a request asks for.
#[derive(Clone, Copy)]
struct RequestTarget<'a> {
    uri: &'a Uri,
    headers: &'a HeaderMap,
    /// Path and query, to come back to after a sign-in.
    target: &'a str,
}

fn facts<'a>(dashboard: &Dashboard, asked: RequestTarget<'a>, site: &Site) -> RequestFacts<'a> {
    let RequestTarget {
        uri,
        headers,
        target,
    } = asked;
    let all = |name: &str| {
        headers
            .get_all(name)
            .iter()
            .map(HeaderValue::as_bytes)
            .collect()
    };
    let at = Instant::now();
    let path = gate_path(uri.path());

    RequestFacts {
        path,
        target,
        authorization: all(AUTHORIZATION.as_str()),
        session_token: all(SESSION_TOKEN),
        session: dashboard.sealer.session(&RequestCookies::of(headers), site),
        ticket: uri.query().filter(|_| path == WS_PATH).and_then(ticket),
        now: now(),
        at,
        deadline: at + CHAIN_DEADLINE,
    }
}

/// The path by which the gate judges. What follows `/auth/verify/` is an application's path, and a
/// path below `/_portcullis` is one of the dashboard's.
fn gate_path(path: &str) -> &str {
    if forward_auth::is_verify(path) {
        VERIFY_PATH
    } else {
        apps::without_own_prefix(path)
    }
}

/// Tickets are hex digits: there is nothing to decode.
fn ticket(query: &str) -> Option<&str> {
    query
        .split('&')
        .find_map(|pair| pair.strip_prefix("ticket="))
}

fn refuse(denial: &Denial, site: &Site, branding: &Branding, request: &Request) -> Response {
    let audience = match gate_path(request.uri().path()) {
        VERIFY_PATH => forward_auth::audience(request),
        path if path == "/api" || path.starts_with("/api/") => Audience::Program,
        _ => Audience::Browser,
    };
    respond::denial(denial, site, branding, audience)
}

/// A good session that came with a request to a public path.
pub(super) struct GoodSession {
    pub(super) session: Arc<Session>,
    /// What the answer sets: empty unless the session was refreshed.
    pub(super) cookies: Vec<HeaderValue>,
}

/// The session of a request to a public path. `None`: it has no good one, or its provider gives no
/// answer.
pub(super) async fn good_session(
    dashboard: &Dashboard,
    headers: &HeaderMap,
    context: &Context,
) -> Option<GoodSession> {
    let at = Instant::now();
    let session = dashboard
        .sealer
        .session(&RequestCookies::of(headers), &context.site);
    let facts = RequestFacts::of_a_machine("/", Vec::new(), at, at + CHAIN_DEADLINE);
    let facts = RequestFacts {
        session,
        now: now(),
        ..facts
    };

    let serving = dashboard.live.now();
    let judgement = serving.gate.decide_session(&facts).await;
    tell(dashboard, &serving.gate, &judgement, "/", false, context);
    let Decision::Permitted(permit) = &judgement.decision else {
        return None;
    };
    let Caller::Person(session) = permit.caller() else {
        return None;
    };
    serving.gate.people().sessions.saw(session);
    Some(GoodSession {
        session: session.clone(),
        cookies: cookies(dashboard, &judgement, headers, context),
    })
}

/// Whether an application admits the caller of a request to one of its public paths.
pub(super) struct Admission {
    pub(super) is_admitted: bool,
    /// What the answer sets: empty unless the session was refreshed.
    pub(super) cookies: Vec<HeaderValue>,
}

/// Judges the caller of a request to a public path as the application's other paths would. `path`:
/// as the caller wrote it.
pub(super) async fn admission(
    dashboard: &Dashboard,
    app: &App,
    path: &str,
    headers: &HeaderMap,
    context: &Context,
) -> Admission {
    let at = Instant::now();
    let authorization = headers
        .get_all(AUTHORIZATION)
        .iter()
        .map(HeaderValue::as_bytes)
        .collect();
    let session = dashboard
        .sealer
        .session(&RequestCookies::of(headers), &context.site);
    let facts = RequestFacts {
        session,
        now: now(),
        ..RequestFacts::of_a_machine(path, authorization, at, at + CHAIN_DEADLINE)
    };

    let serving = dashboard.live.now();
    let judgement = serving.gate.decide_application(app.allowed(), &facts).await;
    let is_refused = matches!(judgement.decision, Decision::Refused(_));
    // Everyone may read the path, so a token that is not good is no failure to audit.
    if judgement.token_route && is_refused {
        tell_faults(dashboard, &serving.gate, &judgement.faults);
    } else {
        tell(dashboard, &serving.gate, &judgement, path, false, context);
    }

    let is_admitted = match &judgement.decision {
        Decision::Refused(_) => false,
        Decision::Public => context.outside.is_none(),
        Decision::Permitted(permit) => {
            if let Caller::Person(session) = permit.caller() {
                serving.gate.people().sessions.saw(session);
            }
            true
        }
    };
    let cookies = match &judgement.cookies {
        CookieChange::Renew(_) => cookies(dashboard, &judgement, headers, context),
        CookieChange::None | CookieChange::Delete => Vec::new(),
    };
    Admission {
        is_admitted,
        cookies,
    }
}

fn cookies(
    dashboard: &Dashboard,
    judgement: &Judgement,
    headers: &HeaderMap,
    context: &Context,
) -> Vec<HeaderValue> {
    let sent = || RequestCookies::of(headers);
    match &judgement.cookies {
        CookieChange::None => Vec::new(),
        CookieChange::Delete => dashboard.sealer.session_deletions(&sent(), &context.site),
        CookieChange::Renew(session) => {
            let cookies =
                dashboard
                    .sealer
                    .of_session(session, &sent(), &context.site, since_epoch());
            cookies.unwrap_or_else(|large| {
                tracing::error!(provider = %session.provider(), %large, "a refreshed session fits no cookie");
                let serving = dashboard.live.now();
                if let Some(registered) = serving.gate.registry().named(session.provider()) {
                    tell_too_large(dashboard, registered, large);
                }
                dashboard.sealer.session_deletions(&sent(), &context.site)
            })
        }
    }
}

fn tell(
    dashboard: &Dashboard,
    gate: &Gate,
    judgement: &Judgement,
    path: &str,
    is_live_page: bool,
    context: &Context,
) {
    let path = excerpt(path);
    tell_faults(dashboard, gate, &judgement.faults);

    if let Some(event) = &judgement.event {
        tell_session(dashboard, gate, event, context);
    }

    match &judgement.decision {
        Decision::Permitted(permit) => tell_success(dashboard, permit, path, context),
        Decision::Refused(denial) if judgement.token_route => {
            tell_failure(dashboard, gate, denial, path, context);
        }
        Decision::Refused(denial) if is_live_page => {
            let record = Record::now(EventName::WsTicketRejected).with("reason", denial.reason());
            dashboard.audit.write(record.with("ip", context.ip()));
        }
        Decision::Refused(denial) => {
            tracing::debug!(path, reason = denial.reason(), detail = %denial, "refused");
        }
        Decision::Public => {}
    }
}

/// Counts the faults that were met while a caller was judged, and logs them.
fn tell_faults(dashboard: &Dashboard, gate: &Gate, faults: &[(ProviderName, CallFault)]) {
    for (provider, fault) in faults {
        if let Some(registered) = gate.registry().named(provider) {
            dashboard.tell_fault(registered, fault);
        }
    }
}

fn tell_session(dashboard: &Dashboard, gate: &Gate, event: &SessionEvent, context: &Context) {
    let component = |name: &str| {
        gate.registry()
            .named_by(name)
            .and_then(|registered| registered.component.clone())
    };

    let record = match event {
        SessionEvent::Refreshed(session) => {
            tracing::info!(provider = %session.provider(), "session refreshed");
            let record = about(EventName::RefreshSuccess, session).with("ip", context.ip());
            return dashboard.audit.write(record);
        }
        SessionEvent::RefreshFailed { provider, reason } => {
            tracing::info!(%provider, reason, "session not refreshed");
            Record::now(EventName::RefreshFailure)
                .with("provider", provider.as_str())
                .with("component", component(provider.as_str()).as_deref())
                .with("reason", *reason)
        }
        SessionEvent::NotVerified { provider, reason } => {
            tracing::info!(provider, reason, "session not believed");
            Record::now(EventName::SessionVerifyFailure)
                .with("provider", provider.as_deref())
                .with(
                    "component",
                    provider.as_deref().and_then(component).as_deref(),
                )
                .with("reason", *reason)
        }
    };

    dashboard.audit.write(record.with("ip", context.ip()));
}

/// Audits each call of a service. Calls of people are not audited, since their sign-in was.
fn tell_success(dashboard: &Dashboard, permit: &Permit, path: &str, context: &Context) {
    let Caller::Service(principal) = permit.caller() else {
        return;
    };
    dashboard.metrics.token_auth("accepted");
    let record = Record::now(EventName::TokenAuthSuccess)
        .with("principal", principal.name())
        .with("provider", principal.provider().as_str())
        .with("component", principal.component())
        .with("path", path)
        .with("ip", context.ip());
    dashboard.audit.write(record);
}

/// Names the caller too, where a provider vouches for one who may not do this.
fn tell_failure(
    dashboard: &Dashboard,
    gate: &Gate,
    denial: &Denial,
    path: &str,
    context: &Context,
) {
    dashboard.metrics.token_auth(denial.reason());
    tracing::info!(path, reason = denial.reason(), detail = %denial, "token refused");
    let provider = denial.provider();
    let mut record = Record::now(EventName::TokenAuthFailure)
        .with("reason", denial.reason())
        .with("provider", provider.map(ProviderName::as_str));
    if let Some(principal) = denial.principal() {
        let component = provider
            .and_then(|name| gate.registry().named(name))
            .and_then(|registered| registered.component.as_deref());
        record = record
            .with("principal", principal)
            .with("component", component);
    }
    let record = record.with("path", path).with("ip", context.ip());
    dashboard.audit.write(record);
}
