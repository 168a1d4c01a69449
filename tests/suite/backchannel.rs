//! Sign-out together with an OpenID Connect issuer: its logout tokens, and the way to its own
//! sign-out.

use super::access::Socket;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use portcullis_guest::from_base64url;
use portcullis_tests::{Browser, Home, Process, Reply, SOON, eventually, post};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

const EVENT: &str = "http://schemas.openid.net/event/backchannel-logout";
/// The key of `providers/oidc/tests/p256.pem`, as issuers publish it.
const KEYS: &str = r#"{"keys":[{"kty":"EC","crv":"P-256","x":"alGVmWxp0GoGlr14PRXVn3fInNXyFVaGety77T66af4","y":"X7YQRdkQSoUuhL8vnkZPduUtAaH8QXDMsT2a5G4bE1g"}]}"#;

fn signed(claims: &Value) -> String {
    let pem = include_str!("../../providers/oidc/tests/p256.pem");
    let body: String = pem
        .lines()
        .filter(|line| !line.starts_with("-----"))
        .collect();
    let body = body
        .trim_end_matches('=')
        .replace('+', "-")
        .replace('/', "_");
    let key = EncodingKey::from_ec_der(&from_base64url(&body).expect("a key"));
    encode(&Header::new(Algorithm::ES256), claims, &key).expect("it is signed")
}

fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("after 1970")
        .as_secs()
}

/// An issuer on this machine. What an ID token says is decided by its code.
#[derive(Clone)]
pub(crate) struct Issuer {
    url: String,
    /// The claims for each code, with the nonce of its sign-in.
    codes: Arc<Mutex<HashMap<String, Value>>>,
}

impl Issuer {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = format!(
            "http://127.0.0.1:{}",
            listener.local_addr().expect("an address").port()
        );
        let issuer = Self {
            url,
            codes: Arc::default(),
        };
        let serving = issuer.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let issuer = serving.clone();
                std::thread::spawn(move || issuer.serve(&stream));
            }
        });
        issuer
    }

    fn serve(&self, mut stream: &TcpStream) {
        let mut reader = BufReader::new(stream);
        let (mut first, mut length) = (String::new(), 0);
        let _ = reader.read_line(&mut first);
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line).map_or(true, |read| read <= 2) {
                break;
            }
            if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().unwrap_or_default();
            }
        }
        let mut body = vec![0; length];
        let _ = reader.read_exact(&mut body);
        let path = first.split(' ').nth(1).unwrap_or_default();
        let answer = self.answer(path, &String::from_utf8_lossy(&body));
        let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\nContent-Length:";
        let _ = write!(stream, "{head} {}\r\n\r\n{answer}", answer.len());
    }

    fn answer(&self, path: &str, body: &str) -> String {
        let url = &self.url;
        match path {
            "/jwks" => KEYS.to_owned(),
            "/token" => {
                let code = body
                    .split('&')
                    .find_map(|pair| pair.strip_prefix("code="))
                    .unwrap_or_default();
                let codes = self.codes.lock().unwrap_or_else(PoisonError::into_inner);
                let claims = codes.get(code).cloned().unwrap_or_default();
                json!({"access_token": "theirs", "token_type": "Bearer", "id_token": signed(&claims)})
                    .to_string()
            }
            _ => json!({
                "issuer": url,
                "authorization_endpoint": format!("{url}/authorize"),
                "token_endpoint": format!("{url}/token"),
                "jwks_uri": format!("{url}/jwks"),
                "end_session_endpoint": format!("{url}/logout"),
            })
            .to_string(),
        }
    }

    /// A dashboard whose provider `corp` is this issuer.
    pub(crate) fn home(&self, more: &str) -> Home {
        let url = &self.url;
        Home::with_config(&format!(
            "dashboard:\n  public_url: http://agent.test\n  providers:\n    - name: corp\n      component: builtin:oidc\n      \
             cache_ttl_ms: 60000\n      limits: {{deadline_ms: 5000}}\n      \
             config: {{issuer: '{url}', client_id: us, userinfo: never{more}}}\n      \
             grants: {{keyvalue: true, http: ['{url}']}}\n"
        ))
    }

    /// A person who signed in with these claims.
    pub(crate) fn signed_in(&self, dashboard: &Process, claims: Value) -> Browser {
        let mut browser = Browser::default();
        self.sign_in(dashboard, &mut browser, claims);
        browser
    }

    /// Signs a person with these claims in.
    pub(crate) fn sign_in(&self, dashboard: &Process, browser: &mut Browser, claims: Value) {
        let begun = browser.get(&dashboard.url("/auth/login?provider=corp"));
        let location = begun.header("location").expect("the issuer");
        let parameter = |name: &str| {
            let found = location
                .split(['?', '&'])
                .find_map(|pair| pair.strip_prefix(name));
            found
                .and_then(|value| value.strip_prefix('='))
                .unwrap_or_default()
                .to_owned()
        };
        let (state, nonce) = (parameter("state"), parameter("nonce"));
        let mut all =
            json!({"iss": self.url, "aud": "us", "iat": now(), "exp": now() + 600, "nonce": nonce});
        merge(&mut all, claims);
        self.codes
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(state.clone(), all);
        let back =
            browser.get(&dashboard.url(&format!("/auth/callback?code={state}&state={state}")));
        assert_eq!(back.header("location"), Some("/"), "{back:?}");
        assert_eq!(status(dashboard, browser), 200);
    }

    pub(crate) fn logout_token(&self, jti: &str, claims: Value) -> String {
        let mut all = json!({
            "iss": self.url, "aud": "us", "iat": now(), "exp": now() + 120, "jti": jti, "events": {EVENT: {}},
        });
        merge(&mut all, claims);
        signed(&all)
    }
}

fn merge(into: &mut Value, more: Value) {
    if let (Value::Object(into), Value::Object(more)) = (into, more) {
        into.extend(more);
    }
}

/// The status of a request, by a copy: an answer of 401 deletes the cookies.
pub(crate) fn status(dashboard: &Process, browser: &Browser) -> u16 {
    browser.clone().get(&dashboard.url("/api/auth/me")).status
}

pub(crate) fn send(dashboard: &Process, token: &str) -> Reply {
    let form = [("content-type", "application/x-www-form-urlencoded")];
    post(
        &dashboard.url("/auth/backchannel/corp"),
        &form,
        &format!("logout_token={token}"),
    )
}

#[test]
fn token_for_a_subject_ends_every_session_of_it_at_once_and_for_good() {
    let issuer = Issuer::start();
    let home = issuer.home("");
    let dashboard = home.dashboard();
    let mut ada = issuer.signed_in(&dashboard, json!({"sub": "ada", "sid": "one"}));
    let elsewhere = issuer.signed_in(&dashboard, json!({"sub": "ada"}));
    let bob = issuer.signed_in(&dashboard, json!({"sub": "bob"}));
    let socket = Socket::open(&dashboard, &mut ada);

    let ended = send(
        &dashboard,
        &issuer.logout_token("first", json!({"sub": "ada"})),
    );
    assert_eq!(
        (ended.status, ended.header("cache-control")),
        (200, Some("no-store")),
        "{ended:?}"
    );
    assert_eq!(
        [&ada, &elsewhere, &bob].map(|person| status(&dashboard, person)),
        [401, 401, 200]
    );
    assert!(socket.rest().contains("the session is over"));
    eventually("it is audited", SOON, || {
        let is_it = |line: &Value| line["by"] == "identity-provider" && line["user_id"] == "ada";
        home.audit().iter().any(is_it).then_some(())
    });

    let again = issuer.signed_in(&dashboard, json!({"sub": "ada"}));
    drop(dashboard);
    let dashboard = home.dashboard();
    let people = [&ada, &elsewhere, &bob, &again];
    assert_eq!(
        people.map(|person| status(&dashboard, person)),
        [401, 401, 200, 200],
        "after a restart"
    );
}

#[test]
fn token_for_a_session_of_the_issuer_ends_what_came_of_it() {
    let issuer = Issuer::start();
    let home = issuer.home("");
    let dashboard = home.dashboard();
    let [mut one, two] =
        ["one", "two"].map(|sid| issuer.signed_in(&dashboard, json!({"sub": "ada", "sid": sid})));
    let unnamed = issuer.signed_in(&dashboard, json!({"sub": "bob"}));
    let socket = Socket::open(&dashboard, &mut one);

    let ended = send(
        &dashboard,
        &issuer.logout_token("first", json!({"sub": "ada", "sid": "one"})),
    );
    assert_eq!((ended.status, ended.body.as_str()), (200, ""), "{ended:?}");
    assert_eq!(
        [&one, &two, &unnamed].map(|person| status(&dashboard, person)),
        [401, 200, 200]
    );
    assert!(socket.rest().contains("the session is over"));

    drop(dashboard);
    let dashboard = home.dashboard();
    assert_eq!(
        [&one, &two].map(|person| status(&dashboard, person)),
        [401, 200],
        "after a restart"
    );
}

#[test]
fn what_is_no_logout_token_is_refused_and_ends_nothing() {
    let issuer = Issuer::start();
    let home = issuer.home("");
    let dashboard = home.dashboard();
    let ada = issuer.signed_in(&dashboard, json!({"sub": "ada"}));
    for token in [
        "garbage".to_owned(),
        issuer.logout_token("a", json!({"sub": "ada", "aud": "them"})),
        issuer.logout_token("b", json!({"sub": "ada", "nonce": "n"})),
        issuer.logout_token("c", json!({"sub": "ada", "events": {}})),
        issuer.logout_token("d", json!({"sub": "ada", "exp": 1})),
        signed(
            &json!({"iss": issuer.url, "aud": "us", "sub": "ada", "iat": now(), "exp": now() + 60}),
        ),
    ] {
        let refused = send(&dashboard, &token);
        assert_eq!(
            (refused.status, &refused.json()["error"]),
            (400, &"invalid_request".into()),
            "{refused:?}"
        );
        assert!(refused.json()["error_description"].is_string() && !refused.body.contains(&token));
        assert_eq!(refused.header("cache-control"), Some("no-store"));
    }
    let url = dashboard.url("/auth/backchannel/corp");
    let good = issuer.logout_token("e", json!({"sub": "ada"}));
    let as_json = [("content-type", "application/json")];
    assert_eq!(
        post(&url, &as_json, &json!({"logout_token": good}).to_string()).status,
        400
    );
    assert_eq!(post(&url, &[], "").status, 400);
    let form = [("content-type", "application/x-www-form-urlencoded")];
    let token = format!("logout_token={good}");
    assert_eq!(
        post(&dashboard.url("/auth/backchannel/missing"), &form, &token).status,
        404
    );
    let from_a_page = [form[0], ("origin", "http://evil.example")];
    assert_eq!(post(&url, &from_a_page, &token).status, 403);
    assert_eq!(status(&dashboard, &ada), 200);
    eventually("it is audited", SOON, || {
        let is_it =
            |line: &Value| line["event"] == "logout_token_rejected" && line["provider"] == "corp";
        home.audit().iter().any(is_it).then_some(())
    });

    assert_eq!(send(&dashboard, &good).status, 200);
    let again = issuer.signed_in(&dashboard, json!({"sub": "ada"}));
    assert_eq!(send(&dashboard, &good).status, 400, "it came before");
    assert_eq!(
        (status(&dashboard, &ada), status(&dashboard, &again)),
        (401, 200)
    );
}

#[test]
fn sign_out_leads_on_to_the_issuer_where_the_operator_says_so() {
    let issuer = Issuer::start();
    for (more, expected) in [
        ("", "/login".to_owned()),
        (
            ", end_session: true",
            format!(
                "{}/logout?client_id=us&post_logout_redirect_uri=http%3A%2F%2Fagent.test%2Flogin",
                issuer.url
            ),
        ),
    ] {
        let home = issuer.home(more);
        let dashboard = home.dashboard();
        let mut ada = issuer.signed_in(&dashboard, json!({"sub": "ada"}));
        let before = ada.clone();
        assert_eq!(ada.get(&dashboard.url("/auth/logout")).status, 405);
        let out = ada.post(&dashboard.url("/auth/logout"), "");
        let location = out.header("location").expect("a redirect");
        let (to, hint) = location
            .split_once("&id_token_hint=")
            .unwrap_or((location, ""));
        assert_eq!((out.status, to), (302, expected.as_str()));
        let dots = if more.is_empty() { 0 } else { 2 };
        assert_eq!(hint.matches('.').count(), dots, "an ID token: {hint}");
        assert_eq!(status(&dashboard, &before), 401);
        assert_eq!(
            ada.post(&dashboard.url("/auth/logout"), "")
                .header("location"),
            Some("/login")
        );
    }
}

#[test]
fn sign_out_of_a_script_leads_to_no_other_origin() {
    let issuer = Issuer::start();
    let home = issuer.home(", end_session: true");
    let dashboard = home.dashboard();
    let mut ada = issuer.signed_in(&dashboard, json!({"sub": "ada"}));
    let before = ada.clone();
    let fetch = [("sec-fetch-mode", "cors"), ("sec-fetch-dest", "empty")];
    let out = ada.request("POST", &dashboard.url("/auth/logout"), &fetch, "");
    assert_eq!((out.status, out.header("location")), (302, Some("/login")));
    assert_eq!(status(&dashboard, &before), 401);

    // By the cookies of a session that is over already.
    assert_eq!(hint_for(&issuer, &dashboard, &before), None);
}

/// What a sign-out by these cookies says to the issuer of whose session ends.
fn hint_for(issuer: &Issuer, dashboard: &Process, browser: &Browser) -> Option<String> {
    let out = browser.clone().post(&dashboard.url("/auth/logout"), "");
    let location = out.header("location").unwrap_or_default();
    assert!(
        location.starts_with(&format!("{}/logout?client_id=us", issuer.url)),
        "{location}"
    );
    let (_, hint) = location.split_once("&id_token_hint=")?;
    Some(hint.to_owned())
}

#[test]
fn session_that_ended_with_all_of_its_person_hands_out_no_id_token() {
    let issuer = Issuer::start();
    let home = issuer.home(", end_session: true");
    let dashboard = home.dashboard();
    let ada = issuer.signed_in(&dashboard, json!({"sub": "ada"}));
    let bob = issuer.signed_in(&dashboard, json!({"sub": "bob"}));
    let all_of_ada = issuer.logout_token("first", json!({"sub": "ada"}));
    assert_eq!(send(&dashboard, &all_of_ada).status, 200);

    assert_eq!(hint_for(&issuer, &dashboard, &ada), None);
    assert!(hint_for(&issuer, &dashboard, &bob).is_some());
    let signed_out = |line: &Value| {
        (line["event"] == "logout" && line["by"].is_null()).then(|| line["user_id"].clone())
    };
    let audited = eventually("bob's sign-out is audited", SOON, || {
        let audited: Vec<_> = home.audit().iter().filter_map(signed_out).collect();
        (!audited.is_empty()).then_some(audited)
    });
    assert_eq!(audited, ["bob"], "ada's session had ended before");
}

#[test]
fn sign_out_with_a_large_id_token_fits_through_common_proxies() {
    let issuer = Issuer::start();
    let home = issuer.home(", end_session: true");
    let dashboard = home.dashboard();
    for (size, has_hint) in [(1_000, true), (1_500, false)] {
        let claims = json!({"sub": "ada", "long": "x".repeat(size)});
        let out = issuer
            .signed_in(&dashboard, claims)
            .post(&dashboard.url("/auth/logout"), "");
        let location = out.header("location").unwrap_or_default();
        assert_eq!(location.contains("id_token_hint"), has_hint, "{location}");
        let head: usize = out
            .headers
            .iter()
            .map(|(name, value)| name.len() + value.len() + 4)
            .sum();
        assert!(head < 4_000, "{head} bytes: nginx takes 4 KiB");
    }
}
