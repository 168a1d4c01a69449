//! Settings of `builtin:oidc` for issuers that differ: how a client proves itself, where things
//! are, and in which form an issuer says who a person is.

use super::issuers::keys;
use super::issuers::server::{Answer, Asked, bind, parameters, serve};
use portcullis_guest::{base64url, from_base64url};
use portcullis_tests::{Browser, Home, Process};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

const SECRET: &str = "9f3c1b7e2d8a4650c1e7b93f60d2a548";

/// An issuer whose discovery document has moved, and which refuses requests without a `User-Agent`.
#[derive(Clone)]
struct Issuer {
    origin: String,
    /// What the next ID token says.
    claims: Arc<Mutex<Map<String, Value>>>,
    received: Arc<Mutex<Vec<Received>>>,
}

/// A request that the issuer received.
struct Received {
    path: String,
    authorization: String,
    parameters: BTreeMap<String, String>,
}

fn lock<T>(kept: &Mutex<T>) -> MutexGuard<'_, T> {
    kept.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Issuer {
    fn start() -> Self {
        let (listener, origin) = bind();
        let issuer = Self {
            origin,
            claims: Arc::default(),
            received: Arc::default(),
        };
        let answering = issuer.clone();
        serve(listener, move |asked| answering.answer(asked));
        issuer
    }

    fn answer(&self, asked: &Asked) -> Answer {
        if asked.header("user-agent").is_empty() {
            return Answer::error(403, "");
        }
        lock(&self.received).push(Received {
            path: asked.path.clone(),
            authorization: asked.header("authorization").to_owned(),
            parameters: asked.parameters.clone(),
        });
        let origin = &self.origin;
        match asked.path.as_str() {
            "/.well-known/openid-configuration" => Answer::redirect(format!("{origin}/moved")),
            "/moved" | "/elsewhere" => {
                let document = json!({
                    "issuer": origin,
                    "authorization_endpoint": format!("{origin}/authorize"),
                    "token_endpoint": format!("{origin}/token"),
                    "jwks_uri": format!("{origin}/keys"),
                });
                Answer::ok(document.to_string())
            }
            "/keys" => Answer::ok(keys::key_set().to_string()),
            "/token" => {
                let claims = lock(&self.claims).clone();
                let id_token = keys::token(&keys::header(), &Value::Object(claims));
                let tokens =
                    json!({"access_token": "theirs", "token_type": "Bearer", "id_token": id_token});
                Answer::ok(tokens.to_string())
            }
            _ => Answer::error(404, ""),
        }
    }

    /// A dashboard whose provider `corp` is this issuer, with more settings.
    fn home(&self, settings: &str) -> Home {
        let origin = &self.origin;
        Home::with_config(&format!(
            "dashboard:\n  public_url: http://agent.test\n  providers:\n    - name: corp\n      component: builtin:oidc\n      \
             config: {{issuer: '{origin}', client_id: portcullis, {settings}}}\n      \
             grants: {{keyvalue: true, http: ['{origin}']}}\n      limits: {{deadline_ms: 5000}}\n"
        ))
    }

    /// Signs Ada in with these claims beside those that every ID token has. Returns what the
    /// dashboard says of the person; null if that one was not let in.
    fn sign_in(&self, dashboard: &Process, more: Value) -> Value {
        let mut browser = Browser::default();
        let begun = browser.get(&dashboard.url("/auth/login?provider=corp&next=/"));
        let location = begun.header("location").unwrap_or_default();
        let given = parameters(location.split_once('?').map_or("", |(_, query)| query));
        let state = given.get("state").expect("a sign-in begins");

        let now = jiff::Timestamp::now().as_second();
        let claims = json!({
            "iss": self.origin,
            "aud": "portcullis",
            "sub": "ada",
            "iat": now,
            "exp": now + 600,
            "nonce": given.get("nonce"),
        });
        let all = [claims, more]
            .into_iter()
            .filter_map(|claims| claims.as_object().cloned())
            .flatten();
        *lock(&self.claims) = all.collect();
        browser.get(&dashboard.url(&format!("/auth/callback?code={state}&state={state}")));
        let me = browser.get(&dashboard.url("/api/auth/me"));
        if me.status == 200 {
            me.json()
        } else {
            Value::Null
        }
    }

    /// The paths that were asked for since the last time.
    fn paths(&self) -> Vec<String> {
        lock(&self.received)
            .drain(..)
            .map(|request| request.path)
            .collect()
    }

    /// How the client proved itself at the last request for tokens.
    fn proof(&self) -> &'static str {
        let received = lock(&self.received);
        let last = received
            .iter()
            .rfind(|request| request.path == "/token")
            .expect("tokens were asked for");
        let parameter = |name: &str| {
            last.parameters
                .get(name)
                .map(String::as_str)
                .unwrap_or_default()
        };
        let assertion = parameter("client_assertion");
        match (last.authorization.as_str(), parameter("client_secret")) {
            ("", SECRET) if assertion.is_empty() => "post",
            ("", "") if assertion.is_empty() => "none",
            ("", "") if self.is_of_client(assertion) => "private_key_jwt",
            (basic, "") if basic.starts_with("Basic ") && assertion.is_empty() => "basic",
            _ => "something else",
        }
    }

    /// Whether an assertion is of the client, for the token endpoint, and signed (RFC 7523, section
    /// 3).
    fn is_of_client(&self, assertion: &str) -> bool {
        let (message, signature) = assertion.rsplit_once('.').unwrap_or_default();
        let claims = message
            .split('.')
            .nth(1)
            .and_then(from_base64url)
            .unwrap_or_default();
        let claims: Value = serde_json::from_slice(&claims).unwrap_or_default();
        let is_of_it = claims["iss"] == "portcullis" && claims["sub"] == "portcullis";
        let is_for_here = claims["aud"] == format!("{}/token", self.origin).as_str();
        is_of_it && is_for_here && signature == base64url(&keys::signature(message))
    }
}

#[test]
fn client_proves_itself_in_the_form_that_the_settings_say() {
    let key = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../providers/oidc/tests/rsa.pem"
    );
    let issuer = Issuer::start();
    for (settings, proof) in [
        ("token_auth: none".to_owned(), "none"),
        (format!("client_secret: '{SECRET}'"), "basic"),
        (
            format!("client_secret: '{SECRET}', token_auth: post"),
            "post",
        ),
        (format!("private_key: {{file: '{key}'}}"), "private_key_jwt"),
    ] {
        let home = issuer.home(&settings);
        let dashboard = home.dashboard();
        assert_eq!(
            issuer.sign_in(&dashboard, json!({}))["user_id"],
            "ada",
            "{proof}: {}",
            dashboard.log()
        );
        assert_eq!(issuer.proof(), proof);
    }
}

#[test]
fn documents_and_endpoints_are_where_the_settings_say() {
    let issuer = Issuer::start();
    let origin = &issuer.origin;
    let endpoints = format!(
        "endpoints: {{authorization: '{origin}/authorize', token: '{origin}/token', jwks: '{origin}/keys'}}"
    );
    for (settings, expected) in [
        (
            "userinfo: never",
            &["/.well-known/openid-configuration", "/moved"][..],
        ),
        (
            &format!("discovery_url: '{origin}/elsewhere'"),
            &["/elsewhere"],
        ),
        (&endpoints, &[]),
    ] {
        let home = issuer.home(settings);
        let dashboard = home.dashboard();
        assert_eq!(
            issuer.sign_in(&dashboard, json!({}))["user_id"],
            "ada",
            "{settings}: {}",
            dashboard.log()
        );
        let mut documents = issuer.paths();
        documents.retain(|path| !["/token", "/keys"].contains(&path.as_str()));
        documents.sort_unstable();
        documents.dedup();
        assert_eq!(documents, expected, "{settings}");
    }
}

#[test]
fn address_that_the_issuer_does_not_call_verified_lets_no_one_in() {
    let issuer = Issuer::start();
    let home = issuer.home("require: {email: [ada@example.test]}");
    let dashboard = home.dashboard();
    let sign_in = |verified: &Value| {
        let claims = json!({"email": "ada@example.test", "email_verified": verified});
        issuer.sign_in(&dashboard, claims)
    };
    for verified in [json!(true), json!("true"), json!("True")] {
        assert_eq!(
            sign_in(&verified)["email"],
            "ada@example.test",
            "{verified}"
        );
    }
    for verified in [
        json!(false),
        json!("False"),
        json!("no"),
        json!(""),
        json!("0"),
        json!(0),
        json!(1),
        json!([true]),
        Value::Null,
    ] {
        assert_eq!(sign_in(&verified), Value::Null, "{verified}");
    }
    let unsaid = issuer.sign_in(&dashboard, json!({"email": "ada@example.test"}));
    assert_eq!(unsaid["user_id"], "ada", "the issuer says nothing of it");
}

#[test]
fn groups_are_read_where_the_settings_say_and_in_every_form() {
    let issuer = Issuer::start();
    let home = issuer.home("claims: {groups: realm_access.roles}, require: {groups: [admins]}");
    let dashboard = home.dashboard();
    for (claims, is_let_in) in [
        (
            json!({"realm_access": {"roles": ["users", "admins"]}}),
            true,
        ),
        (json!({"realm_access": {"roles": "admins"}}), true),
        (
            json!({"realm_access": {"roles": [7, null, ["admins"], "admins"]}}),
            true,
        ),
        (json!({"realm_access.roles": ["admins"]}), true),
        (json!({"realm_access": {"roles": ["users"]}}), false),
        (json!({"realm_access": {"roles": {"admins": true}}}), false),
        (json!({"realm_access": "admins"}), false),
        (json!({"groups": ["admins"]}), false),
        (json!({}), false),
    ] {
        let me = issuer.sign_in(&dashboard, claims.clone());
        assert_eq!(me["user_id"] == "ada", is_let_in, "{claims}: {me}");
    }
}

#[test]
fn name_to_show_is_the_first_that_the_issuer_has() {
    let issuer = Issuer::start();
    let home = issuer.home("leeway_seconds: 60");
    let dashboard = home.dashboard();
    for (claims, shown) in [
        (
            json!({"name": "Ada Lovelace", "nickname": "al"}),
            "Ada Lovelace",
        ),
        (
            json!({"name": "", "preferred_username": "ada.l", "nickname": "al"}),
            "ada.l",
        ),
        (json!({"nickname": "al", "email": "ada@example.test"}), "al"),
        (json!({"email": "ada@example.test"}), "ada@example.test"),
    ] {
        assert_eq!(
            issuer.sign_in(&dashboard, claims.clone())["display_name"],
            shown,
            "{claims}"
        );
    }
}
