//! An issuer that does what its preset says, on ports of this machine in place of its real origins.

use super::keys;
use super::presets::{Preset, Refresh, TokenAuth};
use super::server::{Answer, Asked, bind, serve};
use portcullis_guest::{base64url, from_base64url};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

/// The client's secret, which passes the strength gate.
pub(super) const SECRET: &str = "hV4nQ8sZ2mLx7Rc0Wt5Yb9Kd3Jf6Gp1aUeOiTqNvXyM";
/// How long tokens are good, in seconds.
const LIFETIME: i64 = 5;

pub(super) struct Issuer {
    preset: &'static Preset,
    /// Each real origin, and the one that takes its place.
    origins: Vec<(String, String)>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    made: usize,
    codes: BTreeMap<String, Grant>,
    refresh_tokens: BTreeMap<String, Grant>,
    access_tokens: BTreeSet<String>,
    client_id: String,
    userinfo_asked: usize,
    sign_outs: usize,
}

/// What a code or a refresh token is good for.
#[derive(Clone)]
struct Grant {
    client_id: String,
    redirect_uri: String,
    nonce: String,
    challenge: String,
    is_refreshable: bool,
}

impl State {
    fn make(&mut self, kind: &str) -> String {
        self.made += 1;
        format!("{kind}-{}-of-an-issuer", self.made)
    }
}

/// Scheme, host and port of an address.
fn origin(url: &str) -> &str {
    let end = url
        .match_indices('/')
        .nth(2)
        .map_or(url.len(), |(at, _)| at);
    &url[..end]
}

impl Issuer {
    /// Listens in place of every origin of the preset.
    pub(super) fn start(preset: &'static Preset) -> Arc<Self> {
        let needed = [
            preset.issuer,
            preset.authorization,
            preset.token,
            preset.userinfo,
        ];
        let optional = [preset.keys, preset.revocation, preset.end_session]
            .into_iter()
            .flatten();
        let real: BTreeSet<_> = needed.into_iter().chain(optional).map(origin).collect();
        let bound: Vec<_> = real.into_iter().map(|real| (real, bind())).collect();
        let origins = bound
            .iter()
            .map(|(real, (_, local))| ((*real).to_owned(), local.clone()))
            .collect();

        let issuer = Arc::new(Self {
            preset,
            origins,
            state: Mutex::default(),
        });
        for (real, (listener, _)) in bound {
            let issuer = issuer.clone();
            serve(listener, move |asked| {
                issuer.answer(&format!("{real}{}", asked.path), asked)
            });
        }
        issuer
    }

    /// A text in which the origins of this machine stand in place of the real ones.
    pub(super) fn local(&self, text: &str) -> String {
        self.origins
            .iter()
            .fold(text.to_owned(), |text, (real, local)| {
                text.replace(real, local)
            })
    }

    /// How often the userinfo endpoint answered.
    pub(super) fn userinfo_asked(&self) -> usize {
        self.with(|state| state.userinfo_asked)
    }

    /// How many browsers were sent here to sign out.
    pub(super) fn sign_outs(&self) -> usize {
        self.with(|state| state.sign_outs)
    }

    /// The token that notifies the client that Ada signed out (OpenID Connect Back-Channel Logout
    /// 1.0, section 2.4).
    pub(super) fn logout_token(&self) -> String {
        let now = jiff::Timestamp::now().as_second();
        let client_id = self.with(|state| state.client_id.clone());
        let claims = json!({
            "iss": self.local(self.preset.issuer),
            "aud": client_id,
            "iat": now,
            "exp": now + 120,
            "jti": self.with(|state| state.make("logout")),
            "events": {"http://schemas.openid.net/event/backchannel-logout": {}},
            "sub": "ada",
            "sid": "session-1",
        });
        let header = json!({"alg": "RS256", "kid": keys::KEY_ID, "typ": "logout+jwt"});
        keys::token(&header, &claims)
    }

    fn with<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        change(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn answer(&self, url: &str, asked: &Asked) -> Answer {
        let preset = self.preset;
        if url == preset.authorization {
            return self.authorize(asked);
        }
        if url == preset.token {
            return self.give_tokens(asked);
        }
        if url == preset.userinfo {
            return self.describe(asked);
        }
        if preset.end_session == Some(url) {
            return self.end_session(asked);
        }
        if preset.revocation == Some(url) {
            return Answer::ok("{}");
        }
        match preset.keys {
            Some(own) if own == url => Answer::ok(keys::key_set().to_string()),
            Some(_) if url == discovery_of(preset) => Answer::ok(self.discovery().to_string()),
            _ => Answer::error(404, "{}"),
        }
    }

    fn discovery(&self) -> Value {
        let preset = self.preset;
        let local = |url: Option<&str>| url.map(|url| self.local(url));
        let methods = match preset.token_auth {
            TokenAuth::Basic => json!(["client_secret_basic"]),
            TokenAuth::Post => json!(["client_secret_post"]),
            TokenAuth::Either => json!(["client_secret_basic", "client_secret_post"]),
        };
        let endpoints = [
            ("authorization_endpoint", Some(preset.authorization)),
            ("token_endpoint", Some(preset.token)),
            ("userinfo_endpoint", Some(preset.userinfo)),
            ("jwks_uri", preset.keys),
            ("revocation_endpoint", preset.revocation),
            ("end_session_endpoint", preset.end_session),
        ];
        let mut document = Map::new();
        for (name, url) in endpoints {
            if let Some(url) = local(url) {
                document.insert(name.to_owned(), url.into());
            }
        }
        document.insert("issuer".to_owned(), self.local(preset.issuer).into());
        document.insert("token_endpoint_auth_methods_supported".to_owned(), methods);
        document.insert(
            "authorization_response_iss_parameter_supported".to_owned(),
            preset.names_itself.into(),
        );
        document.insert(
            "backchannel_logout_supported".to_owned(),
            preset.has_back_channel.into(),
        );
        document.insert(
            "id_token_signing_alg_values_supported".to_owned(),
            json!(["RS256"]),
        );
        Value::Object(document)
    }

    fn authorize(&self, asked: &Asked) -> Answer {
        let parameter = |name: &str| asked.parameter(name).to_owned();
        let (redirect_uri, state) = (parameter("redirect_uri"), parameter("state"));
        let scope = parameter("scope");
        let has_scope = |wanted: &str| scope.split(' ').any(|scope| scope == wanted);
        if self.preset.refused_scope.is_some_and(has_scope) {
            return Answer::redirect(format!("{redirect_uri}?error=invalid_scope&state={state}"));
        }
        if parameter("response_type") != "code" || parameter("code_challenge_method") != "S256" {
            return Answer::redirect(format!(
                "{redirect_uri}?error=invalid_request&state={state}"
            ));
        }
        let grant = Grant {
            client_id: parameter("client_id"),
            redirect_uri: redirect_uri.clone(),
            nonce: parameter("nonce"),
            challenge: parameter("code_challenge"),
            is_refreshable: match self.preset.refresh {
                Refresh::Never => false,
                Refresh::Always => true,
                Refresh::OfflineAccess => has_scope("offline_access"),
                Refresh::AccessType => parameter("access_type") == "offline",
            },
        };
        let code = self.with(|state| {
            let code = state.make("code");
            state.client_id.clone_from(&grant.client_id);
            state.codes.insert(code.clone(), grant);
            code
        });
        let issuer = match self.preset.names_itself {
            true => format!("&iss={}", self.local(self.preset.issuer)),
            false => String::new(),
        };
        Answer::redirect(format!("{redirect_uri}?code={code}&state={state}{issuer}"))
    }

    fn give_tokens(&self, asked: &Asked) -> Answer {
        let refused = |error: &str| Answer::error(400, json!({"error": error}).to_string());
        if !self.knows_client(asked) {
            return Answer::error(401, json!({"error": "invalid_client"}).to_string());
        }
        let grant = match asked.parameter("grant_type") {
            "authorization_code" => {
                let grant = self.with(|state| state.codes.remove(asked.parameter("code")));
                let challenge = base64url(&Sha256::digest(asked.parameter("code_verifier"))[..]);
                let is_for = |grant: &Grant| {
                    grant.redirect_uri == asked.parameter("redirect_uri")
                        && grant.challenge == challenge
                };
                grant.filter(is_for)
            }
            "refresh_token" => self.spend(asked.parameter("refresh_token")),
            _ => return refused("unsupported_grant_type"),
        };
        match grant.filter(|grant| grant.client_id == asked.parameter("client_id")) {
            Some(grant) => self.tokens(asked, &grant),
            None => refused("invalid_grant"),
        }
    }

    fn end_session(&self, asked: &Asked) -> Answer {
        if self.preset.needs_id_token_hint && asked.parameter("id_token_hint").is_empty() {
            return Answer::error(400, "{}");
        }
        self.with(|state| state.sign_outs += 1);
        Answer::redirect(asked.parameter("post_logout_redirect_uri").to_owned())
    }

    /// What a refresh token is good for. Google's can be used again; the others come with a new
    /// one.
    fn spend(&self, refresh_token: &str) -> Option<Grant> {
        let stays = self.preset.refresh == Refresh::AccessType;
        self.with(|state| match stays {
            true => state.refresh_tokens.get(refresh_token).cloned(),
            false => state.refresh_tokens.remove(refresh_token),
        })
    }

    fn knows_client(&self, asked: &Asked) -> bool {
        let client_id = asked.parameter("client_id");
        let encoded = asked
            .header("authorization")
            .strip_prefix("Basic ")
            .unwrap_or_default();
        let encoded = encoded
            .trim_end_matches('=')
            .replace('+', "-")
            .replace('/', "_");
        let is_basic =
            from_base64url(&encoded) == Some(format!("{client_id}:{SECRET}").into_bytes());
        let is_post = asked.parameter("client_secret") == SECRET;
        match self.preset.token_auth {
            TokenAuth::Basic => is_basic,
            TokenAuth::Post => is_post,
            TokenAuth::Either => is_basic || is_post,
        }
    }

    fn tokens(&self, asked: &Asked, grant: &Grant) -> Answer {
        let stays =
            self.preset.refresh == Refresh::AccessType && asked.parameter("code").is_empty();
        let (access_token, refresh_token) = self.with(|state| {
            let access_token = state.make("access");
            state.access_tokens.insert(access_token.clone());
            let refresh_token = (grant.is_refreshable && !stays).then(|| state.make("refresh"));
            if let Some(token) = &refresh_token {
                state.refresh_tokens.insert(token.clone(), grant.clone());
            }
            (access_token, refresh_token)
        });
        if self.preset.keys.is_none() {
            // GitHub answers a form unless JSON is asked for.
            return match asked.header("accept").contains("application/json") {
                true => Answer::ok(
                    json!({"access_token": access_token, "token_type": "bearer", "scope": ""})
                        .to_string(),
                ),
                false => Answer::ok(format!(
                    "access_token={access_token}&scope=&token_type=bearer"
                )),
            };
        }
        let mut answer = json!({
            "access_token": access_token,
            "token_type": "Bearer",
            "expires_in": LIFETIME,
            "id_token": self.id_token(grant, asked.parameter("code").is_empty()),
        });
        if let Some(token) = refresh_token {
            answer["refresh_token"] = token.into();
        }
        Answer::ok(answer.to_string())
    }

    fn id_token(&self, grant: &Grant, is_refresh: bool) -> String {
        let now = jiff::Timestamp::now().as_second();
        let mut claims = self.claims(self.preset.id_token);
        claims["iss"] = self.local(self.preset.issuer).into();
        claims["aud"] = grant.client_id.as_str().into();
        claims["iat"] = now.into();
        claims["exp"] = (now + LIFETIME).into();
        claims["sid"] = "session-1".into();
        if !is_refresh {
            claims["nonce"] = grant.nonce.as_str().into();
        }
        keys::token(&keys::header(), &claims)
    }

    /// These claims of Ada, and `sub`.
    fn claims(&self, names: &[&str]) -> Value {
        let mut claims = json!({"sub": "ada"});
        for name in names {
            claims[*name] = match *name {
                "name" => "Ada Lovelace".into(),
                "preferred_username" | "login" => "ada".into(),
                "email" => "ada@example.com".into(),
                "email_verified" => (!self.preset.has_unverified_email).into(),
                "hd" => "example.com".into(),
                "id" => 583_231.into(),
                "groups" => json!(["everyone", self.preset.group]),
                _ => Value::Null,
            };
        }
        claims
    }

    fn describe(&self, asked: &Asked) -> Answer {
        if self.preset.keys.is_none() && asked.header("user-agent").is_empty() {
            return Answer::error(403, "Request forbidden by administrative rules.");
        }
        let token = asked
            .header("authorization")
            .strip_prefix("Bearer ")
            .unwrap_or_default();
        let is_known = self.with(|state| {
            let is_known = state.access_tokens.contains(token);
            state.userinfo_asked += usize::from(is_known);
            is_known
        });
        match is_known {
            true => Answer::ok(self.claims(self.preset.userinfo_claims).to_string()),
            false => Answer::error(401, json!({"error": "invalid_token"}).to_string()),
        }
    }
}

/// Where the discovery document is (OpenID Connect Discovery 1.0, section 4).
fn discovery_of(preset: &Preset) -> String {
    format!(
        "{}/.well-known/openid-configuration",
        preset.issuer.trim_end_matches('/')
    )
}
