//! The preset `hermes`: the token of its page, its files and its status.

use super::upstream::{Upstream, write};
use super::{PLAIN, cookie_line, echo_socket, has_ended, home, open_socket, read_until};
use crate::people::{gated, signed_in};
use portcullis_tests::{Home, get, guest};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::sync::{Arc, Mutex, PoisonError};

/// The original's dashboard, as far as the preset knows it. The first token is good until the
/// second request with it.
pub(super) fn hermes(token: &Arc<Mutex<&'static str>>) -> Upstream {
    let token = token.clone();
    Upstream::start(move |received, stream| {
        let token = *token.lock().unwrap_or_else(PoisonError::into_inner);
        let is_known = received.all("x-hermes-session-token") == [token];
        let answer = |status: &str, kind: &str, body: &str| {
            format!(
                "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
                body.len()
            )
        };
        let page =
            format!("<html><script>window.__HERMES_SESSION_TOKEN__=\"{token}\";</script></html>");
        let path = received.line.split([' ', '?']).nth(1).unwrap_or_default();
        let text = match path {
            "/api/ws" if received.line.ends_with(&format!("token={token}")) => {
                return echo_socket(stream);
            }
            "/api/ws" => answer("403 Forbidden", "text/plain", ""),
            "/api/refused" => answer("401 Unauthorized", "application/json", "{}"),
            "/api/status" => answer(
                "200 OK",
                "application/json",
                r#"{"version":"0.19","hermes_home":"/h"}"#,
            ),
            "/assets/index.js" => answer("200 OK", "text/javascript", "script"),
            "/api/cron/fire" | "/api/mcp/oauth/callback/a/b" => {
                answer("200 OK", "text/html; charset=utf-8", &page)
            }
            path if path.starts_with("/api/") && !is_known => {
                answer("401 Unauthorized", "application/json", "{}")
            }
            path if path.starts_with("/api/") => {
                answer("200 OK", "application/json", r#"{"ok":true}"#)
            }
            _ => answer("200 OK", "text/html; charset=utf-8", &page),
        };
        write(stream, &text);
    })
}

#[test]
fn preset_hermes_knows_its_token_its_files_and_its_status() {
    let token = Arc::new(Mutex::new("the-first-token"));
    let upstream = hermes(&token);
    let home = home(&upstream, ", preset: hermes");
    let dashboard = home.dashboard();
    let mut browser = signed_in(&dashboard, "ada");
    let outside = [
        ("x-hermes-session-token", "of-eve"),
        ("x_hermes_session_token", "of-eve"),
    ];
    let reply = browser.request("GET", &dashboard.url("/api/sessions"), &outside, "");
    assert_eq!(
        (reply.status, reply.body.as_str()),
        (200, r#"{"ok":true}"#),
        "{reply:?}"
    );
    assert!(!upstream.last().has("x_hermes_session_token"));

    *token.lock().unwrap_or_else(PoisonError::into_inner) = "the-second-token";
    assert_eq!(
        browser.get(&dashboard.url("/api/sessions")).status,
        200,
        "the token is read again after a 401"
    );
    let cookies = cookie_line(&browser);
    let mut socket = open_socket(&dashboard, "/api/ws?token=stale", &cookies, PLAIN);
    assert!(read_until(&mut socket, "\r\n\r\n").starts_with("HTTP/1.1 101"));

    assert_eq!(get(&dashboard.url("/assets/index.js"), &[]).body, "script");
    assert_eq!(
        get(&dashboard.url("/assets/none.js"), &[]).status,
        404,
        "not the page with the token"
    );
    for path in ["/api/cron/fire", "/api/mcp/oauth/callback/a/b"] {
        assert_eq!(
            get(&dashboard.url(path), &[]).status,
            404,
            "{path} answers with the page"
        );
    }
    assert_eq!(
        get(&dashboard.url("/"), &[("accept", "text/html")]).status,
        302
    );
    assert_eq!(get(&dashboard.url("/api/sessions"), &[]).status, 401);
    let public: Value = get(&dashboard.url("/api/status"), &[]).json();
    assert_eq!(
        (
            &public["version"],
            &public["hermes_home"],
            &public["drained"]
        ),
        (&json!("0.19"), &Value::Null, &json!(false))
    );
    assert_eq!(public["auth_required"], true);
    assert_eq!(
        browser.get(&dashboard.url("/api/status")).json()["hermes_home"],
        "/h"
    );
}

#[test]
fn service_that_the_application_admits_reads_the_whole_status() {
    let upstream = hermes(&Arc::new(Mutex::new("the-token")));
    let digest = |key: &str| hex::encode(Sha256::digest(key));
    let home = Home::with_config(&format!(
        "dashboard:\n  public_url: {PLAIN}\n  apps:\n    - {{name: hermes, path: /, upstream: 'http://127.0.0.1:{}', \
         preset: hermes, allow: [people, {{scope: app.use}}]}}\n  providers:\n    - name: keys\n      component: builtin:service-keys\n      \
         config: {{keys: [{{sha256: '{}', principal: ci, scopes: [app.use]}}, {{sha256: '{}', principal: other, scopes: [metrics.read]}}]}}\n      \
         grants: {{scopes: [app.use, metrics.read]}}\n    - {{name: people, component: {}}}\n",
        upstream.port,
        digest("the-key-of-ci"),
        digest("the-key-of-another"),
        guest("people").display(),
    ));
    let dashboard = home.dashboard();
    let status = |authorization: &str| {
        let headers = [("authorization", authorization)];
        get(&dashboard.url("/api/status"), &headers).json()
    };

    let whole = status("Bearer the-key-of-ci");
    assert_eq!(
        (&whole["hermes_home"], &whole["drained"]),
        (&json!("/h"), &json!(false)),
        "{whole}"
    );
    for stranger in ["Bearer the-key-of-another", "Bearer made-up", "Basic eDp5"] {
        let cut = status(stranger);
        assert_eq!(
            (&cut["version"], &cut["hermes_home"]),
            (&json!("0.19"), &Value::Null),
            "{stranger}: {cut}"
        );
    }
    let mut browser = signed_in(&dashboard, "ada");
    let headers = [("authorization", "Bearer made-up")];
    let of_a_person = browser.request("GET", &dashboard.url("/api/status"), &headers, "");
    assert_eq!(of_a_person.json()["hermes_home"], "/h");
}

#[test]
fn preset_hermes_works_below_a_path() {
    let upstream = hermes(&Arc::new(Mutex::new("the-token")));
    let app = format!(
        "  apps:\n    - {{name: hermes, path: /hermes, upstream: 'http://127.0.0.1:{}', preset: hermes}}\n",
        upstream.port
    );
    let home = gated(PLAIN, &app);
    let dashboard = home.dashboard();
    let url = |path: &str| dashboard.url(path);
    let mut browser = signed_in(&dashboard, "ada");

    assert_eq!(browser.get(&url("/hermes/chat?a=/hermes")).status, 200);
    let received = upstream.last();
    assert_eq!(received.line, "GET /chat?a=/hermes");
    assert_eq!(received.all("x-forwarded-prefix"), ["/hermes"]);
    assert_eq!(
        browser.get(&url("/hermes/api/sessions")).body,
        r#"{"ok":true}"#
    );
    assert_eq!(
        browser.get(&url("/hermes/api/auth/me")).json()["user_id"],
        "ada"
    );
    assert_eq!(
        browser.get(&url("/%68ermes/chat")).status,
        404,
        "it is spelt in another way"
    );
    let mut socket = open_socket(
        &dashboard,
        "/hermes/api/ws?token=stale",
        &cookie_line(&browser),
        PLAIN,
    );
    assert!(read_until(&mut socket, "\r\n\r\n").starts_with("HTTP/1.1 101"));

    assert_eq!(get(&url("/hermes/assets/index.js"), &[]).body, "script");
    assert_eq!(
        get(&url("/hermes/assets/none.js"), &[]).status,
        404,
        "not the page with the token"
    );
    assert_eq!(
        get(&url("/hermes/api/status"), &[]).json()["version"],
        "0.19"
    );
    assert_ne!(
        get(&url("/api/status"), &[]).json()["version"],
        "0.19",
        "the dashboard's own"
    );
    let page = get(&url("/hermes/chat"), &[("accept", "text/html")]);
    assert_eq!(
        (page.status, page.header("location")),
        (302, Some("/login?next=%2Fhermes%2Fchat"))
    );
    let refused = get(&url("/hermes/api/sessions"), &[]);
    assert_eq!(
        (refused.status, &refused.json()["login_url"]),
        (401, &json!("/login?next=%2Fhermes%2F"))
    );

    let out = browser.post(&url("/hermes/auth/logout"), "");
    assert_eq!((out.status, out.header("location")), (302, Some("/login")));
    assert!(
        has_ended(&mut socket),
        "the socket goes on after the sign-out"
    );
    assert_eq!(browser.get(&url("/hermes/api/sessions")).status, 401);
}
