//! The settings, as `docs/people.md` lists them. `issuer` and `client_id` are needed; everything
//! else has a default.

use crate::client::OAuthClient;
use crate::endpoints::Configured;
use crate::people::{ClaimNames, PersonRules};
use jwt_keys::{check_names, is_address, is_loopback, leeway};
use portcullis_guest::Host;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;

const SETTINGS: &[&str] = &[
    "issuer",
    "client_id",
    "client_secret",
    "scopes",
    "claims",
    "require",
    "authorization_params",
    "token_auth",
    "private_key",
    "private_key_id",
    "discovery_url",
    "endpoints",
    "userinfo",
    "end_session",
    "leeway_seconds",
];
const DEFAULT_SCOPES: &str = "openid email profile";
/// Parameters of an authorization request that the host and the protocol decide.
pub(crate) const RESERVED: &[&str] = &[
    "client_id",
    "code_challenge",
    "code_challenge_method",
    "nonce",
    "redirect_uri",
    "response_type",
    "state",
];

pub(crate) struct Settings {
    pub(crate) issuer: String,
    pub(crate) client: OAuthClient,
    /// With one space between.
    pub(crate) scopes: String,
    pub(crate) authorization_params: BTreeMap<String, String>,
    /// Where the discovery document is; `None` where every endpoint is configured.
    pub(crate) discovery_url: Option<String>,
    pub(crate) endpoints: Configured,
    pub(crate) userinfo: Userinfo,
    /// Whether a sign-out here leads on to the issuer's.
    pub(crate) end_session: bool,
    pub(crate) people: PersonRules,
    /// How far clocks may differ, in seconds.
    pub(crate) leeway: u64,
}

/// When the userinfo endpoint is asked (OpenID Connect Core, section 5.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Userinfo {
    /// When a claim that is wanted is not in the ID token.
    Auto,
    Always,
    Never,
}

impl Settings {
    pub(crate) fn read(host: &dyn Host) -> Result<Self, String> {
        check_names(host, SETTINGS)?;
        let issuer = needed(host, "issuer")?;
        check_issuer(&issuer)?;
        let endpoints = read_with(host, "endpoints", Configured::read)?;
        endpoints.check()?;
        let settings = Self {
            client: OAuthClient::read(host, needed(host, "client_id")?)?,
            scopes: scopes(host)?,
            authorization_params: authorization_params(host)?,
            discovery_url: discovery_url(host, &issuer, &endpoints)?,
            endpoints,
            userinfo: userinfo(host)?,
            end_session: end_session(host)?,
            people: PersonRules::new(
                read_with(host, "claims", ClaimNames::read)?,
                map(host, "require")?,
            )?,
            leeway: leeway(host)?,
            issuer,
        };

        settings.check()?;
        Ok(settings)
    }

    fn check(&self) -> Result<(), String> {
        if self.has_no_id_token() {
            return match self.userinfo {
                Userinfo::Never => Err(
                    "`userinfo: never` and no `endpoints.jwks`: nothing would say who signs in"
                        .to_owned(),
                ),
                Userinfo::Auto | Userinfo::Always => Ok(()),
            };
        }

        match self.scopes.split(' ').any(|scope| scope == "openid") {
            true => Ok(()),
            false => {
                Err("`scopes` lacks `openid`, without which an issuer sends no ID token".to_owned())
            }
        }
    }

    /// Whether the issuer speaks OAuth 2.0 without OpenID Connect, so that the userinfo endpoint
    /// says who signs in.
    pub(crate) fn has_no_id_token(&self) -> bool {
        self.discovery_url.is_none() && self.endpoints.jwks.is_none()
    }

    /// Changes with the issuer that vouches for people, and with the rules for who may sign in:
    /// sessions of before are over then.
    pub(crate) fn mark(&self) -> String {
        let said = self.people.mark(&self.issuer, &self.client.id);
        hex::encode(&Sha256::digest(said)[..8])
    }
}

fn needed(host: &dyn Host, name: &str) -> Result<String, String> {
    let value = host.setting(name).filter(|value| !value.is_empty());
    value.ok_or_else(|| format!("`{name}` is missing"))
}

fn check_issuer(issuer: &str) -> Result<(), String> {
    if !is_address(issuer) {
        return Err("`issuer` must be a URL, exactly as the issuer writes it".to_owned());
    }
    if issuer.starts_with("http://") && !is_loopback(issuer) {
        return Err(
            "`issuer` must be an https URL: over http, anyone on the way can sign in as anyone"
                .to_owned(),
        );
    }
    Ok(())
}

/// Words with spaces between, or a list.
fn scopes(host: &dyn Host) -> Result<String, String> {
    let Some(text) = host.setting("scopes") else {
        return Ok(DEFAULT_SCOPES.to_owned());
    };
    let text = match text.trim_start().starts_with('[') {
        true => serde_json::from_str::<Vec<String>>(&text)
            .map_err(|_| "`scopes` must be words with spaces between, or a list of words")?
            .join(" "),
        false => text,
    };
    let words: Vec<_> = text.split_whitespace().collect();

    Ok(if words.is_empty() {
        DEFAULT_SCOPES.to_owned()
    } else {
        words.join(" ")
    })
}

fn authorization_params(host: &dyn Host) -> Result<BTreeMap<String, String>, String> {
    let params = map(host, "authorization_params")?.unwrap_or_default();
    if let Some(name) = params.keys().find(|name| RESERVED.contains(&name.as_str())) {
        return Err(format!(
            "`authorization_params.{name}` cannot be set: every sign-in has its own"
        ));
    }

    let texts = params.into_iter().map(|(name, value)| match value {
        Value::String(text) => Ok((name, text)),
        Value::Number(_) | Value::Bool(_) => Ok((name, value.to_string())),
        _ => Err(format!("`authorization_params.{name}` must be text")),
    });
    texts.collect()
}

/// Where every endpoint that a sign-in needs is configured, nothing is discovered.
fn discovery_url(
    host: &dyn Host,
    issuer: &str,
    endpoints: &Configured,
) -> Result<Option<String>, String> {
    match host.setting("discovery_url") {
        Some(url) if is_address(&url) => Ok(Some(url)),
        Some(_) => Err("`discovery_url` must be an http(s) URL".to_owned()),
        None if endpoints.are_complete() => Ok(None),
        None => Ok(Some(format!(
            "{}/.well-known/openid-configuration",
            issuer.trim_end_matches('/')
        ))),
    }
}

fn userinfo(host: &dyn Host) -> Result<Userinfo, String> {
    match host.setting("userinfo").as_deref() {
        None | Some("auto") => Ok(Userinfo::Auto),
        Some("always") => Ok(Userinfo::Always),
        Some("never") => Ok(Userinfo::Never),
        Some(_) => Err("`userinfo` must be `auto`, `always` or `never`".to_owned()),
    }
}

fn end_session(host: &dyn Host) -> Result<bool, String> {
    match host.setting("end_session").as_deref() {
        None | Some("false") => Ok(false),
        Some("true") => Ok(true),
        Some(_) => Err("`end_session` must be true or false".to_owned()),
    }
}

/// Reads a setting that is a map of known fields; without it, the default.
fn read_with<T: Default>(
    host: &dyn Host,
    name: &str,
    read: impl FnOnce(Value) -> Result<T, String>,
) -> Result<T, String> {
    match json(host, name)? {
        None | Some(Value::Null) => Ok(T::default()),
        Some(value) => read(value),
    }
}

/// A setting that is a map with any keys.
fn map(host: &dyn Host, name: &str) -> Result<Option<Map<String, Value>>, String> {
    match json(host, name)? {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Object(map)) => Ok(Some(map)),
        Some(_) => Err(format!("`{name}` must be a map")),
    }
}

/// A setting that is no string, which arrives as JSON.
fn json(host: &dyn Host, name: &str) -> Result<Option<Value>, String> {
    let text = host.setting(name);
    let read = text.map(|text| serde_json::from_str(&text)).transpose();
    read.map_err(|_| format!("`{name}` must be a map, not a string"))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use portcullis_guest::MockHost;

    pub(crate) fn host(more: &[(&str, &str)]) -> MockHost {
        let given = [("issuer", "https://idp"), ("client_id", "us")];
        let given = given.iter().chain(more);
        given.fold(MockHost::default(), |host, (name, value)| {
            host.with_setting(name, *value)
        })
    }

    #[test]
    fn bad_settings_are_named() {
        for (more, complaint) in [
            (("isuer", "x"), "unknown setting `isuer`"),
            (("issuer", ""), "`issuer` is missing"),
            (("issuer", "idp"), "`issuer` must be a URL"),
            (("issuer", "https://"), "`issuer` must be a URL"),
            (
                ("issuer", "http://idp.example"),
                "`issuer` must be an https URL",
            ),
            (
                ("issuer", "http://127.0.0.1.evil.example"),
                "`issuer` must be an https URL",
            ),
            (("client_id", ""), "`client_id` is missing"),
            (
                ("claims", "{\"user\":\"x\"}"),
                "claims.user: unknown field; did you mean `user_id`?",
            ),
            (("claims", "{\"user_id\":\"\"}"), "`claims.user_id`"),
            (
                ("claims", "{\"email\":1}"),
                "claims.email: must be a string",
            ),
            (
                ("claims", "[\"sub\"]"),
                "claims: must be a map with user_id",
            ),
            (("endpoints", "[]"), "endpoints: must be a map with issuer"),
            (
                ("require", "groups"),
                "`require` must be a map, not a string",
            ),
            (("require", "[]"), "`require`"),
            (("require", "{\"groups\":[]}"), "`require.groups`"),
            (("require", "{\"groups\":[{}]}"), "`require.groups`"),
            (("scopes", "email"), "`scopes` lacks `openid`"),
            (("scopes", "[1]"), "`scopes`"),
            (
                ("authorization_params", "{\"state\":\"x\"}"),
                "`authorization_params.state`",
            ),
            (
                ("authorization_params", "{\"nonce\":\"x\"}"),
                "`authorization_params.nonce`",
            ),
            (
                ("authorization_params", "{\"a\":[]}"),
                "`authorization_params.a`",
            ),
            (("end_session", "always"), "`end_session`"),
            (("userinfo", "sometimes"), "`userinfo`"),
            (("discovery_url", "idp/discovery"), "`discovery_url`"),
            (
                ("endpoints", "{\"token\":\"idp/token\"}"),
                "`endpoints.token`",
            ),
            (
                ("endpoints", "{\"tokens\":\"https://idp\"}"),
                "endpoints.tokens: unknown field; did you mean `token`?",
            ),
            (("token_auth", "secret"), "`token_auth`"),
            (("token_auth", "post"), "`client_secret` is missing"),
            (
                ("token_auth", "private_key_jwt"),
                "`private_key` is missing",
            ),
            (("private_key", "x"), "`private_key`"),
            (("leeway_seconds", "-1"), "`leeway_seconds`"),
        ] {
            let found = Settings::read(&host(&[more])).err().expect(complaint);
            assert!(found.contains(complaint), "{more:?}: {found}");
        }
    }

    #[test]
    fn settings_are_read_in_the_forms_that_operators_write() {
        for issuer in [
            "http://localhost:8080/realms/a",
            "http://[::1]:1",
            "https://idp.example/",
        ] {
            assert!(
                Settings::read(&host(&[("issuer", issuer)])).is_ok(),
                "{issuer}"
            );
        }
        for (scopes, expected) in [
            ("  openid   email\n", "openid email"),
            ("[\"openid\", \"groups\"]", "openid groups"),
            ("  ", DEFAULT_SCOPES),
        ] {
            assert_eq!(
                Settings::read(&host(&[("scopes", scopes)]))
                    .ok()
                    .unwrap()
                    .scopes,
                expected
            );
        }
        let params = r#"{"access_type":"offline","max_age":3600}"#;
        let settings = Settings::read(&host(&[("authorization_params", params)]))
            .ok()
            .unwrap();
        assert_eq!(settings.authorization_params["max_age"], "3600");
    }

    #[test]
    fn nothing_is_discovered_where_every_endpoint_is_configured() {
        let plain = r#"{"authorization":"https://idp/a","token":"https://idp/t","userinfo":"https://api/user"}"#;
        let settings = Settings::read(&host(&[("endpoints", plain), ("scopes", "read:user")]))
            .ok()
            .unwrap();
        assert!(settings.has_no_id_token() && settings.discovery_url.is_none());
        let partly = Settings::read(&host(&[("endpoints", r#"{"token":"https://internal/t"}"#)]))
            .ok()
            .unwrap();
        assert_eq!(
            partly.discovery_url.as_deref(),
            Some("https://idp/.well-known/openid-configuration")
        );
    }
}
