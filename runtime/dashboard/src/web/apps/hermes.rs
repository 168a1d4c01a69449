//! `preset: hermes`: the dashboard of the Hermes agent, on loopback and without its own sign-in.
//!
//! Its page carries a token that its API asks for. The token is read from there, so that services
//! can use the API as well.

use super::super::context::Context;
use super::super::gate_layer::{self, Admission};
use super::super::whoami::Permitted;
use super::super::{Dashboard, account, respond, session_cookie, sign_in};
use super::client_span;
use super::failure::Failure;
use super::forward::{Head, Passed};
use super::hop;
use super::paths::covers;
use super::settings::AppSettings;
use super::slots::Holder;
use super::table::App;
use axum::Json;
use axum::body::{Body, HttpBody};
use axum::extract::State;
use axum::http::header::{ACCEPT, ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_TYPE, HOST, RANGE};
use axum::http::uri::PathAndQuery;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use http_body_util::{BodyExt, Limited};
use serde_json::{Map, Value};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::Mutex;

/// The header in which its API takes the token.
pub(super) const TOKEN: HeaderName = HeaderName::from_static("x-hermes-session-token");
/// The variable of its page that holds it.
const TOKEN_VARIABLE: &str = "__HERMES_SESSION_TOKEN__";
/// Longest token, in bytes.
const MAX_TOKEN_BYTES: usize = 512;
/// Longest page or status that is read.
const MAX_READ_BYTES: usize = 4 * 1024 * 1024;
/// How long reading one may take.
const READ_TIMEOUT: Duration = Duration::from_secs(3);
/// Between two attempts to read the page after one that failed, or that brought the token which the
/// application had refused.
const READ_AGAIN_AFTER: Duration = Duration::from_secs(1);

const STATUS_PATH: &str = "/api/status";
const SIGNED_IN_PATH: &str = "/api/auth/me";
const SIGN_OUT_PATH: &str = "/auth/logout";
/// The key of the status that says whether the gateway runs.
const RUNNING: &str = "gateway_running";
/// What Hermes 0.19 itself shows in its status to everyone when its own sign-in is on, beside
/// `profiles` and `gateway_platforms`. Without these of its keys: `auth_providers`, and
/// `gateway_exit_reason`, a text that can name paths and ports.
const PUBLIC_KEYS: [&str; 16] = [
    "version",
    "release_date",
    "config_version",
    "latest_config_version",
    "can_update_hermes",
    RUNNING,
    "gateway_state",
    "gateway_updated_at",
    "gateway_mode",
    "gateway_busy",
    "gateway_drainable",
    "active_agents",
    "active_sessions",
    "restart_drain_timeout",
    "auth_required",
    "nous_session_valid",
];
/// Files without secrets. Its page stands at every path that is none of its own, and has the token
/// in it.
const FILES: [&str; 4] = ["/assets", "/fonts", "/fonts-terminal", "/ds-assets"];
const ICON: &str = "/favicon.ico";
/// What other services call, with credentials of its own.
const CALLBACKS: [&str; 2] = ["/api/cron/fire", "/api/mcp/oauth/callback"];

/// Returns whether the path is open to everyone.
pub(super) fn is_public(path: &str) -> bool {
    // Signing out needs no session: the gate would refresh one that has ended, and set its cookies
    // after their deletion.
    let is_exact = [STATUS_PATH, SIGN_OUT_PATH, CALLBACKS[0]].contains(&path);
    is_exact || is_file(path) || is_below(CALLBACKS[1], path)
}

fn is_file(path: &str) -> bool {
    path == ICON || FILES.iter().any(|root| is_below(root, path))
}

fn is_below(root: &str, path: &str) -> bool {
    path != root && covers(root, path)
}

/// Asks for an answer that can be searched, where its page may stand in place of what is asked for:
/// a part of the page, or an encoded one, does not show the token.
pub(super) fn ask_plainly(path: &str, headers: &mut HeaderMap) {
    if !is_file(path) {
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        headers.remove(RANGE);
    }
}

/// The answer at a path that is open to everyone, unless it is its page in place of what was asked
/// for, or has the token in it. Of what it answers there, the callbacks of OAuth and what the
/// operator opened can be pages; these are read, since its page stands there as well.
pub(super) async fn without_its_page(
    path: &str,
    response: Response,
    token: Option<HeaderValue>,
) -> Option<Response> {
    let secrets = [
        TOKEN_VARIABLE.as_bytes(),
        token
            .as_ref()
            .map(HeaderValue::as_bytes)
            .unwrap_or_default(),
    ];
    let has_secret = |bytes: &[u8]| secrets.iter().any(|secret| contains(bytes, secret));
    let headers = response.headers();
    if headers.values().any(|value| has_secret(value.as_bytes())) {
        return None;
    }

    if is_harmless(headers) {
        return Some(response);
    }

    if is_page(headers) && is_public(path) && !covers(CALLBACKS[1], path) {
        return None;
    }

    if response.body().is_end_stream() {
        return Some(response);
    }

    // A part, or an encoded page, cannot be searched.
    let is_plain =
        response.status() != StatusCode::PARTIAL_CONTENT && !headers.contains_key(CONTENT_ENCODING);
    if !is_plain {
        return None;
    }

    let (parts, body) = response.into_parts();
    let page = Limited::new(body, MAX_READ_BYTES)
        .collect()
        .await
        .ok()?
        .to_bytes();
    (!has_secret(&page)).then(|| Response::from_parts(parts, Body::from(page)))
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    !part.is_empty() && bytes.windows(part.len()).any(|window| window == part)
}

/// Returns whether the answer has one type of content, which its page never has: that of a picture,
/// a font, a sound, a script, a style or an endless stream.
fn is_harmless(headers: &HeaderMap) -> bool {
    const FAMILIES: [&str; 4] = ["audio/", "font/", "image/", "video/"];
    const KINDS: [&str; 6] = [
        "application/javascript",
        "application/wasm",
        "application/x-ndjson",
        "text/css",
        "text/event-stream",
        "text/javascript",
    ];
    let mut kinds = headers.get_all(CONTENT_TYPE).iter();
    let (Some(kind), None) = (kinds.next(), kinds.next()) else {
        return false;
    };
    let kind = kind.to_str().unwrap_or_default().to_ascii_lowercase();
    let kind = kind.split(';').next().unwrap_or_default().trim();
    // A picture of this type can be a page with scripts.
    let is_drawing = kind == "image/svg+xml";

    KINDS.contains(&kind) || (FAMILIES.iter().any(|family| kind.starts_with(family)) && !is_drawing)
}

/// Returns whether one of the types of content is that of a page, in any spelling.
fn is_page(headers: &HeaderMap) -> bool {
    let mut kinds = headers.get_all(CONTENT_TYPE).iter();
    kinds.any(|kind| contains(&kind.as_bytes().to_ascii_lowercase(), b"html"))
}

/// The token of its page.
pub(super) struct PageToken {
    /// The operator's, which takes precedence over the page's.
    given: Option<HeaderValue>,
    read: Mutex<Read>,
}

#[derive(Default)]
struct Read {
    token: Option<HeaderValue>,
    /// When the page last could not be read, or had no new token in place of a refused one.
    failed_at: Option<Instant>,
}

impl Read {
    fn is_too_soon(&self) -> bool {
        self.failed_at
            .is_some_and(|failed| failed.elapsed() < READ_AGAIN_AFTER)
    }
}

impl PageToken {
    pub(super) fn new(settings: &AppSettings) -> Self {
        let given = settings
            .headers
            .iter()
            .find(|(name, _)| *name == TOKEN)
            .map(|(_, value)| value.clone());
        Self {
            given,
            read: Mutex::default(),
        }
    }

    /// The token. `None`: the page cannot be read, or has none.
    pub(super) async fn get(&self, app: &App) -> Option<HeaderValue> {
        if self.given.is_some() {
            return self.given.clone();
        }

        let mut read = self.read.lock().await;
        if read.token.is_none() && !read.is_too_soon() {
            read.token = token_of_page(app).await;
            read.failed_at = read.token.is_none().then(Instant::now);
            if read.token.is_none() {
                tracing::warn!(
                    app = app.name(),
                    "the application's page with its session token cannot be read"
                );
            }
        }

        read.token.clone()
    }

    /// The token, if it is known without reading the page.
    pub(super) async fn known(&self) -> Option<HeaderValue> {
        match &self.given {
            Some(given) => Some(given.clone()),
            None => self.read.lock().await.token.clone(),
        }
    }

    /// The token after the application has refused this one, as it does when it was started anew.
    /// `None`: there is no other, or the page was read less than [`READ_AGAIN_AFTER`] ago and had
    /// none. A token that is refused stays until the page has another.
    pub(super) async fn after(&self, refused: &HeaderValue, app: &App) -> Option<HeaderValue> {
        if self.given.is_some() {
            return None;
        }

        let mut read = self.read.lock().await;
        if read.token.as_ref() == Some(refused) && !read.is_too_soon() {
            let newer = token_of_page(app).await.filter(|token| token != refused);
            read.failed_at = newer.is_none().then(Instant::now);
            if newer.is_some() {
                read.token = newer;
            }
        }

        read.token.clone().filter(|token| token != refused)
    }
}

/// Returns whether an answer refuses the token. A web socket is refused with 403 before it opens.
pub(super) fn is_refusal(status: StatusCode, is_socket: bool) -> bool {
    status == StatusCode::UNAUTHORIZED || (is_socket && status == StatusCode::FORBIDDEN)
}

/// Puts the token on a request. Browsers cannot put a header on a web socket, so there it stands in
/// the query.
pub(super) fn put_on(head: &mut Head, token: &HeaderValue, is_socket: bool) {
    head.headers.insert(TOKEN, token.clone());
    let (true, Ok(token)) = (is_socket, token.to_str()) else {
        return;
    };
    let others = head.target.query().unwrap_or_default().split('&');
    let others = others.filter(|pair| !pair.is_empty() && !pair.starts_with("token="));
    let token = form_urlencoded::byte_serialize(token.as_bytes()).collect::<String>();
    let token = format!("token={token}");
    let query = others.chain([token.as_str()]).collect::<Vec<_>>().join("&");
    if let Ok(target) = PathAndQuery::try_from(format!("{}?{query}", head.target.path())) {
        head.target = target;
    }
}

async fn token_of_page(app: &App) -> Option<HeaderValue> {
    let page = read(app, PathAndQuery::from_static("/"), "text/html", None).await?;
    let mut token = HeaderValue::from_str(token_in(std::str::from_utf8(&page).ok()?)?).ok()?;
    token.set_sensitive(true);
    Some(token)
}

/// `window.__HERMES_SESSION_TOKEN__="..."`, in either kind of quotes.
fn token_in(page: &str) -> Option<&str> {
    page.match_indices(TOKEN_VARIABLE).find_map(|(at, name)| {
        let value = page[at + name.len()..]
            .trim_start()
            .strip_prefix('=')?
            .trim_start();
        let quote = value
            .chars()
            .next()
            .filter(|quote| matches!(quote, '"' | '\''))?;
        let (token, _) = value[1..].split_once(quote)?;
        let is_plain = |byte: u8| byte.is_ascii_graphic() && byte != b'\\';
        let is_token = (1..=MAX_TOKEN_BYTES).contains(&token.len()) && token.bytes().all(is_plain);
        is_token.then_some(token)
    })
}

/// A document of the application. `None`: it cannot be read in time and within bounds, or is not
/// there.
async fn read(
    app: &App,
    target: PathAndQuery,
    accept: &'static str,
    token: Option<HeaderValue>,
) -> Option<Vec<u8>> {
    let mut headers = HeaderMap::new();
    headers.insert(HOST, app.authority.clone());
    headers.insert(ACCEPT, HeaderValue::from_static(accept));
    headers.extend(token.map(|token| (TOKEN, token)));
    hop::mark(&mut headers);
    let mut head = Head {
        method: Method::GET,
        target,
        headers,
    };
    let span = client_span::begin(app, &mut head);
    let request = head.request(app, Body::empty())?;
    let reading = async {
        let answer = app.client.request(request).await;
        let answer = answer.map_err(|error| Failure::of(&error, MAX_READ_BYTES));
        client_span::end(&span, &answer);
        let response = answer.ok()?;
        let body = response
            .status()
            .is_success()
            .then(|| response.into_body())?;
        let read = Limited::new(body, MAX_READ_BYTES).collect().await.ok()?;
        Some(read.to_bytes().to_vec())
    };

    tokio::time::timeout(READ_TIMEOUT, reading).await.ok()?
}

/// What the dashboard answers in place of the application. Its page asks below its own path who is
/// signed in, and signs out there, as its own gate would have it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OwnAnswer {
    Status,
    SignedIn,
    SignOut,
}

/// Returns what the dashboard answers to this request. `path`: as the application reads it. `None`:
/// the application answers.
pub(super) fn own_answer(method: &Method, path: &str) -> Option<OwnAnswer> {
    let is_read = matches!(*method, Method::GET | Method::HEAD);
    match path {
        STATUS_PATH => is_read.then_some(OwnAnswer::Status),
        SIGNED_IN_PATH => is_read.then_some(OwnAnswer::SignedIn),
        SIGN_OUT_PATH => (*method == Method::POST).then_some(OwnAnswer::SignOut),
        _ => None,
    }
}

/// Gives the answer. `target`: as the application reads it.
pub(super) async fn give(
    answer: OwnAnswer,
    dashboard: &Arc<Dashboard>,
    passed: &Passed<'_>,
    target: &Uri,
    headers: &HeaderMap,
) -> Response {
    let Passed {
        app,
        permit,
        context,
        ..
    } = *passed;
    match (answer, permit) {
        (OwnAnswer::Status, _) => status(dashboard, app, context, target, headers).await,
        (OwnAnswer::SignedIn, Some(permit)) => account::me(Permitted(permit.clone())).await,
        (OwnAnswer::SignOut, permit) if permit.is_some() || dashboard.page.auth_required => {
            sign_in::logout(State(dashboard.clone()), context.clone(), headers.clone()).await
        }
        // Without sign-in there is no person.
        (OwnAnswer::SignedIn, None) | (OwnAnswer::SignOut, _) => respond::not_found().await,
    }
}

/// `GET /api/status`: the application's keys, and the dashboard's beside them. Callers whom the
/// application does not admit are strangers here. The query is the application's: its page names a
/// profile there.
async fn status(
    dashboard: &Dashboard,
    app: &App,
    context: &Context,
    target: &Uri,
    headers: &HeaderMap,
) -> Response {
    let path = format!("{}{}", app.settings.taken_off(), target.path());
    let Admission {
        is_admitted: is_known,
        cookies,
    } = gate_layer::admission(dashboard, app, &path, headers, context).await;

    let token = match &app.token {
        Some(token) if is_known => token.get(app).await,
        _ => None,
    };
    // In a place like every request to the application: strangers who hold theirs get the
    // dashboard's keys alone.
    let slot = app.slot(true, Holder::of(context, None));
    let theirs = async {
        let _slot = slot?;
        let target = target.path_and_query().cloned()?;
        read(app, target, "application/json", token).await
    };
    let (theirs, ours) = tokio::join!(theirs, dashboard.gateway.observe());
    let theirs: Map<String, Value> = theirs
        .and_then(|text| serde_json::from_slice(&text).ok())
        .unwrap_or_default();
    let ours = ours
        .map(|observed| observed.status(dashboard.page.auth_required))
        .unwrap_or_default();
    if theirs.contains_key(RUNNING) {
        app.note_home(!runs_elsewhere(&theirs, &ours));
    }
    let mut response = Json(merged(theirs, ours, is_known)).into_response();
    session_cookie::set(response.headers_mut(), cookies);

    response
}

/// Returns whether the application says that its gateway runs, and this home's gateway does not, or
/// is not known: they are two gateways.
fn runs_elsewhere(theirs: &Map<String, Value>, ours: &Value) -> bool {
    theirs.get(RUNNING) == Some(&Value::Bool(true)) && ours[RUNNING] != true
}

/// The application's keys count where both have one, except for whether people must sign in. A
/// caller who is not known gets only its [`PUBLIC_KEYS`].
fn merged(theirs: Map<String, Value>, mut ours: Value, is_known: bool) -> Map<String, Value> {
    if runs_elsewhere(&theirs, &ours) {
        // Scripts act on these, and the marker of this home does not reach the other gateway.
        for key in ["drained", "quiesced", "acknowledged"] {
            ours[key] = false.into();
        }
    }

    let mut all = match is_known {
        true => theirs,
        false => for_strangers(theirs),
    };
    let Value::Object(ours) = ours else {
        return all;
    };
    for (key, value) in ours {
        if key == "auth_required" || !all.contains_key(&key) {
            all.insert(key, value);
        }
    }

    all
}

fn for_strangers(theirs: Map<String, Value>) -> Map<String, Value> {
    theirs
        .into_iter()
        .filter_map(|(key, value)| {
            let value = value_for_strangers(&key, value)?;
            Some((key, value))
        })
        .collect()
}

fn value_for_strangers(key: &str, value: Value) -> Option<Value> {
    match (key, value) {
        ("profiles", Value::Array(names)) => {
            Some(names.into_iter().filter(Value::is_string).collect())
        }
        ("gateway_platforms", Value::Object(platforms)) => {
            let platforms = platforms
                .into_iter()
                .map(|(name, platform)| (name, public_part(platform)));
            Some(platforms.collect::<Map<_, _>>().into())
        }
        (key, value) => (PUBLIC_KEYS.contains(&key) && is_plain(&value)).then_some(value),
    }
}

/// What strangers read of one platform. Its `error_message` can name anything.
fn public_part(platform: Value) -> Value {
    let Value::Object(mut platform) = platform else {
        return Value::Null;
    };
    platform.retain(|key, value| {
        ["state", "error_code", "updated_at"].contains(&key.as_str()) && is_plain(value)
    });
    platform.into()
}

fn is_plain(value: &Value) -> bool {
    !value.is_object() && !value.is_array()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn token_is_read_from_the_page() {
        for (page, token) in [
            (
                r#"<script>window.__HERMES_SESSION_TOKEN__="abc-1_2";</script>"#,
                Some("abc-1_2"),
            ),
            ("window.__HERMES_SESSION_TOKEN__ = 'x';", Some("x")),
            (
                "if (window.__HERMES_SESSION_TOKEN__) {} window.__HERMES_SESSION_TOKEN__=\"y\"",
                Some("y"),
            ),
            ("window.__HERMES_SESSION_TOKEN__=\"\";", None),
            ("window.__HERMES_SESSION_TOKEN__=\"a b\";", None),
            ("window.__HERMES_SESSION_TOKEN__=token;", None),
            ("__HERMES_SESSION_TOKEN__", None),
            ("<html></html>", None),
        ] {
            assert_eq!(token_in(page), token, "{page}");
        }
    }

    #[test]
    fn token_replaces_that_of_the_query_of_a_socket() {
        for (target, is_socket, expected) in [
            ("/api/ws?token=old&a=1", true, "/api/ws?a=1&token=n%2Bw"),
            ("/api/ws", true, "/api/ws?token=n%2Bw"),
            ("/api/x?token=old", false, "/api/x?token=old"),
        ] {
            let target = target.parse().unwrap();
            let mut head = Head {
                method: Method::GET,
                target,
                headers: HeaderMap::new(),
            };
            put_on(&mut head, &HeaderValue::from_static("n+w"), is_socket);
            assert_eq!(
                (head.target.as_str(), &head.headers[TOKEN]),
                (expected, &HeaderValue::from_static("n+w"))
            );
        }
    }

    #[test]
    fn dashboard_answers_for_its_sessions_and_the_status() {
        for (method, path, expected) in [
            (Method::GET, "/api/status", Some(OwnAnswer::Status)),
            (Method::HEAD, "/api/status", Some(OwnAnswer::Status)),
            (Method::POST, "/api/status", None),
            (Method::GET, "/api/auth/me", Some(OwnAnswer::SignedIn)),
            (Method::POST, "/auth/logout", Some(OwnAnswer::SignOut)),
            (Method::GET, "/auth/logout", None),
            (Method::GET, "/api/sessions", None),
        ] {
            assert_eq!(own_answer(&method, path), expected, "{method} {path}");
        }
    }

    #[test]
    fn only_files_and_callbacks_are_public() {
        for path in [
            "/assets/index.js",
            "/favicon.ico",
            "/api/status",
            "/api/cron/fire",
            "/api/mcp/oauth/callback/x",
        ] {
            assert!(is_public(path), "{path}");
        }
        for path in [
            "/",
            "/assets",
            "/assetsx",
            "/api/cron/fire/x",
            "/api/mcp/oauth/callback",
            "/api/sessions",
        ] {
            assert!(!is_public(path), "{path}");
        }
    }

    #[tokio::test]
    async fn page_with_the_token_stays_with_those_who_are_known() {
        let answer =
            |kind: &'static str, body: &'static str| ([(CONTENT_TYPE, kind)], body).into_response();
        let known = || Some(HeaderValue::from_static("s3cret"));
        let page = "text/html; charset=utf-8";
        let with_token = "<script>window.__HERMES_SESSION_TOKEN__=\"abc\";</script>";
        let callback = "/api/mcp/oauth/callback/a";
        for (path, kind, body, is_passed) in [
            ("/assets/none", page, "<p>Hello</p>", false),
            ("/assets/none", "Text/HTML", "<p>Hello</p>", false),
            (
                "/assets/none",
                "application/xhtml+xml",
                "<p>Hello</p>",
                false,
            ),
            ("/assets/x.svg", "image/svg+xml", "<svg/>", true),
            ("/assets/x.svg", "image/svg+xml", with_token, false),
            ("/api/cron/fire", page, with_token, false),
            ("/api/cron/fire", "application/json", "{\"ok\":true}", true),
            ("/api/mcp/oauth/callback/a/b", page, with_token, false),
            (callback, page, "<p>Done</p>", true),
            (callback, page, "", true),
            (callback, "TEXT/HTML", with_token, false),
            (callback, " text/html", with_token, false),
            (callback, "application/xhtml+xml", with_token, false),
            (callback, "application/octet-stream", with_token, false),
            (callback, "text/plain", with_token, false),
            (callback, "", with_token, false),
            (callback, "image", with_token, false),
            (callback, "text/plain", "the token is s3cret", false),
            ("/api/webhook", page, with_token, false),
            ("/api/webhook", page, "<p>Done</p>", true),
            ("/assets/x.js", "text/javascript", with_token, true),
        ] {
            let passed = without_its_page(path, answer(kind, body), known()).await;
            assert_eq!(passed.is_some(), is_passed, "{path} {kind}");
            let Some(passed) = passed else { continue };
            let read = passed.into_body().collect().await.unwrap().to_bytes();
            assert_eq!(read, body.as_bytes(), "{path}");
        }

        let mut two = answer("text/javascript", with_token);
        two.headers_mut()
            .append(CONTENT_TYPE, HeaderValue::from_static("text/html"));
        let mut none = answer(page, with_token);
        none.headers_mut().remove(CONTENT_TYPE);
        let mut located = answer(page, "");
        located.headers_mut().insert(
            axum::http::header::LOCATION,
            HeaderValue::from_static("/?token=s3cret"),
        );
        for leaking in [two, none, located] {
            let passed = without_its_page(callback, leaking, known()).await;
            assert!(passed.is_none(), "{passed:?}");
        }
        let mut encoded = answer(page, "x");
        encoded
            .headers_mut()
            .insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        assert!(without_its_page(callback, encoded, None).await.is_none());
    }

    #[test]
    fn status_has_the_keys_of_both() {
        let theirs = json!({"version": "0.19", "hermes_home": "/h", "gateway_pid": 7, "auth_required": false});
        let theirs = || theirs.as_object().cloned().unwrap_or_default();
        let ours = json!({"version": "0.1", "drained": true, "auth_required": true});
        let all = merged(theirs(), ours.clone(), true);
        assert_eq!(
            Value::from(all),
            json!({"version": "0.19", "hermes_home": "/h", "gateway_pid": 7, "auth_required": true, "drained": true})
        );
        let public = merged(theirs(), ours, false);
        assert_eq!(
            Value::from(public),
            json!({"version": "0.19", "auth_required": true, "drained": true})
        );
    }

    #[test]
    fn strangers_read_known_keys_of_the_status_alone() {
        let theirs = json!({
            "version": "0.19",
            "gateway_state": {"pid": 7},
            "gateway_running": true,
            "gateway_exit_reason": "no /home/x",
            "auth_providers": ["nous"],
            "gateways": [{"profile": "default", "ports": [8642]}],
            "profiles": ["default", {"home": "/h"}],
            "gateway_platforms": {
                "telegram": {"state": "fatal", "error_code": "x", "error_message": "/h", "pid": 7},
                "odd": "/h",
            },
            "nested": {"home_path": "/h"},
            "pid": 9,
            "config": "/etc/x",
            "hostname": "box",
        });
        let theirs = theirs.as_object().cloned().unwrap_or_default();
        let ours = json!({"gateway_running": true, "gateway_state": "running"});
        assert_eq!(
            Value::from(merged(theirs, ours, false)),
            json!({
                "version": "0.19",
                "gateway_running": true,
                "gateway_state": "running",
                "profiles": ["default"],
                "gateway_platforms": {
                    "telegram": {"state": "fatal", "error_code": "x"},
                    "odd": null,
                },
            })
        );
    }

    #[test]
    fn gateway_of_another_home_is_never_drained() {
        for (theirs, ours, is_elsewhere) in [
            (json!(true), json!(false), true),
            (json!(true), Value::Null, true),
            (json!(true), json!(true), false),
            (json!(false), json!(false), false),
            (Value::Null, json!(false), false),
        ] {
            let theirs = Map::from_iter([(RUNNING.to_owned(), theirs)]);
            let ours =
                json!({RUNNING: ours, "drained": true, "quiesced": true, "acknowledged": true});
            let all = merged(theirs.clone(), ours, true);
            for key in ["drained", "quiesced", "acknowledged"] {
                assert_eq!(all[key], !is_elsewhere, "{key} {theirs:?}");
            }
        }
    }
}
