//! Where the issuer's endpoints are: as its discovery document says, and as the settings say.

use crate::settings::RESERVED;
use jwt_keys::{ClaimsSet, is_address, is_loopback, origin};
use portcullis_guest::Fields;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The endpoints of an issuer, each an address that can be asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Endpoints {
    /// What the issuer calls itself in its tokens.
    pub(crate) issuer: String,
    pub(crate) authorization: String,
    pub(crate) token: String,
    /// `None`: it sends no ID tokens.
    pub(crate) jwks: Option<String>,
    pub(crate) userinfo: Option<String>,
    pub(crate) revocation: Option<String>,
    /// Where browsers sign out. Documents that an earlier release kept lack it.
    #[serde(default)]
    pub(crate) end_session: Option<String>,
    /// Whether its answers always name it (RFC 9207, section 3).
    pub(crate) names_itself: bool,
    /// How clients prove who they are at the token endpoint; empty: it does not say.
    pub(crate) token_auth_methods: Vec<String>,
}

/// The fields of the setting `endpoints`.
const FIELDS: &[&str] = &[
    "issuer",
    "authorization",
    "token",
    "jwks",
    "userinfo",
    "revocation",
    "end_session",
];

/// The setting `endpoints`: addresses that are used in place of those that are announced.
#[derive(Debug, Default)]
pub(crate) struct Configured {
    issuer: Option<String>,
    authorization: Option<String>,
    token: Option<String>,
    pub(crate) jwks: Option<String>,
    userinfo: Option<String>,
    revocation: Option<String>,
    end_session: Option<String>,
}

impl Configured {
    pub(crate) fn read(setting: Value) -> Result<Self, String> {
        let mut fields = Fields::of("endpoints", setting, FIELDS)?;
        Ok(Self {
            issuer: fields.text("issuer")?,
            authorization: fields.text("authorization")?,
            token: fields.text("token")?,
            jwks: fields.text("jwks")?,
            userinfo: fields.text("userinfo")?,
            revocation: fields.text("revocation")?,
            end_session: fields.text("end_session")?,
        })
    }

    pub(crate) fn check(&self) -> Result<(), String> {
        let addresses = [
            ("issuer", &self.issuer),
            ("authorization", &self.authorization),
            ("token", &self.token),
            ("jwks", &self.jwks),
            ("userinfo", &self.userinfo),
            ("revocation", &self.revocation),
            ("end_session", &self.end_session),
        ];

        for (name, address) in addresses {
            if address
                .as_deref()
                .is_some_and(|address| !is_address(address))
            {
                return Err(format!("`endpoints.{name}` must be an http(s) URL"));
            }
        }

        match self.authorization.as_deref().and_then(reserved_in) {
            Some(name) => Err(format!(
                "`endpoints.authorization` has `{name}`, of which every sign-in has its own"
            )),
            None => Ok(()),
        }
    }

    /// Whether everything is here that a sign-in needs.
    pub(crate) fn are_complete(&self) -> bool {
        let says_who = self.jwks.is_some() || self.userinfo.is_some();
        self.authorization.is_some() && self.token.is_some() && says_who
    }

    /// The endpoints of an issuer that announces nothing. `None` unless they are complete.
    pub(crate) fn alone(&self, issuer: &str) -> Option<Endpoints> {
        let endpoints = Endpoints {
            issuer: issuer.to_owned(),
            authorization: self.authorization.clone()?,
            token: self.token.clone()?,
            jwks: None,
            userinfo: None,
            revocation: None,
            end_session: None,
            names_itself: false,
            token_auth_methods: Vec::new(),
        };
        Some(self.over(endpoints))
    }

    /// The announced endpoints, but for those that are configured.
    pub(crate) fn over(&self, announced: Endpoints) -> Endpoints {
        Endpoints {
            issuer: self.issuer.clone().unwrap_or(announced.issuer),
            authorization: self
                .authorization
                .clone()
                .unwrap_or(announced.authorization),
            token: self.token.clone().unwrap_or(announced.token),
            jwks: self.jwks.clone().or(announced.jwks),
            userinfo: self.userinfo.clone().or(announced.userinfo),
            revocation: self.revocation.clone().or(announced.revocation),
            end_session: self.end_session.clone().or(announced.end_session),
            ..announced
        }
    }
}

impl Endpoints {
    /// Whether they are those of this issuer.
    pub(crate) fn are_of(&self, issuer: &str) -> bool {
        is_same_issuer(&self.issuer, issuer)
    }

    /// Reads a discovery document (OpenID Connect Discovery 1.0, section 3). `url` is where it was
    /// found, `issuer` whose it must be.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(crate) fn read(text: &[u8], url: &str, issuer: &str) -> Result<Self, String> {
        let document = ClaimsSet::read(text)?;
        let announced = document.text("issuer");
        // Section 4.3.
        if !is_same_issuer(announced, issuer) {
            let announced: String = announced.chars().take(256).collect();
            return Err(format!(
                "it is the document of another issuer, {announced:?}"
            ));
        }
        let can_be_asked = |address: &str| is_address(address) && is_safe(address, url);
        let optional = |name: &str| {
            Some(document.text(name))
                .filter(|address| can_be_asked(address))
                .map(str::to_owned)
        };
        let needed =
            |name: &str| optional(name).ok_or_else(|| format!("`{name}` is no address to be used"));

        let authorization = needed("authorization_endpoint")?;
        if let Some(name) = reserved_in(&authorization) {
            return Err(format!(
                "`authorization_endpoint` has `{name}`, of which every sign-in has its own"
            ));
        }
        // A browser is sent there, and only to https or where the operator granted requests.
        if authorization.starts_with("http://") && origin(&authorization) != origin(url) {
            return Err("`authorization_endpoint` is an http address elsewhere".to_owned());
        }
        Ok(Self {
            issuer: announced.to_owned(),
            authorization,
            token: needed("token_endpoint")?,
            jwks: Some(needed("jwks_uri")?),
            userinfo: optional("userinfo_endpoint"),
            revocation: optional("revocation_endpoint"),
            end_session: optional("end_session_endpoint"),
            names_itself: document
                .0
                .get("authorization_response_iss_parameter_supported")
                == Some(&Value::Bool(true)),
            token_auth_methods: document.texts("token_endpoint_auth_methods_supported"),
        })
    }
}

/// Some issuers differ from what operators write by a slash at the end.
fn is_same_issuer(announced: &str, configured: &str) -> bool {
    announced.trim_end_matches('/') == configured.trim_end_matches('/')
}

/// Whether what is sent there can be read by the issuer alone: https, this machine, or where the
/// document itself is.
fn is_safe(address: &str, document: &str) -> bool {
    address.starts_with("https://") || is_loopback(address) || origin(address) == origin(document)
}

/// A parameter in an address that every sign-in has its own of.
fn reserved_in(address: &str) -> Option<&'static str> {
    let (_, query) = address.split_once('?')?;
    let mut names = form_urlencoded::parse(query.as_bytes()).map(|(name, _)| name);
    names.find_map(|name| RESERVED.iter().copied().find(|reserved| *reserved == name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const URL: &str = "https://idp/.well-known/openid-configuration";

    fn document() -> Value {
        json!({
            "issuer": "https://idp",
            "authorization_endpoint": "https://idp/authorize?tenant=a",
            "token_endpoint": "https://idp/token",
            "jwks_uri": "https://idp/jwks",
            "claims_supported": [{"deep": null}],
        })
    }

    fn read(document: &Value, issuer: &str) -> Result<Endpoints, String> {
        Endpoints::read(document.to_string().as_bytes(), URL, issuer)
    }

    #[test]
    fn documents_are_read_with_what_may_be_missing_or_wrong() {
        let plain = read(&document(), "https://idp").unwrap();
        assert_eq!(
            (plain.userinfo.as_deref(), plain.names_itself),
            (None, false)
        );
        assert_eq!(
            read(&document(), "https://idp/").unwrap().issuer,
            "https://idp",
            "as the issuer writes it"
        );
        for (name, value) in [
            ("userinfo_endpoint", json!(7)),
            ("userinfo_endpoint", json!("javascript:alert(1)")),
            (
                "revocation_endpoint",
                json!("http://elsewhere.example/revoke"),
            ),
            ("token_endpoint_auth_methods_supported", json!({"a": 1})),
            (
                "authorization_response_iss_parameter_supported",
                json!("true"),
            ),
        ] {
            let mut changed = document();
            changed[name] = value.clone();
            assert_eq!(
                read(&changed, "https://idp"),
                Ok(plain.clone()),
                "{name} = {value}"
            );
        }
        for (name, value, complaint) in [
            ("issuer", json!("https://other"), "another issuer"),
            ("issuer", json!(null), "another issuer"),
            ("issuer", json!(["https://idp"]), "another issuer"),
            ("token_endpoint", json!(null), "`token_endpoint`"),
            ("token_endpoint", json!("/token"), "`token_endpoint`"),
            (
                "token_endpoint",
                json!("http://elsewhere.example/token"),
                "`token_endpoint`",
            ),
            ("jwks_uri", json!("https://idp/\n"), "`jwks_uri`"),
            (
                "authorization_endpoint",
                json!("https://idp/a#b"),
                "`authorization_endpoint`",
            ),
            (
                "authorization_endpoint",
                json!("https://idp/a?state=x"),
                "has `state`",
            ),
            (
                "authorization_endpoint",
                json!("http://127.0.0.1:1/a"),
                "elsewhere",
            ),
        ] {
            let mut changed = document();
            changed[name] = value.clone();
            let found = read(&changed, "https://idp").unwrap_err();
            assert!(found.contains(complaint), "{name} = {value}: {found}");
        }
        for text in ["", "[]", "null", "7", &*"{\"a\":".repeat(5_000), "\u{feff}"] {
            assert!(Endpoints::read(text.as_bytes(), URL, "https://idp").is_err());
        }
    }

    #[test]
    fn configured_endpoints_take_the_place_of_those_announced() {
        let configured = Configured::read(json!({
            "issuer": "https://public/realm", "token": "http://internal:8080/token",
        }))
        .unwrap();
        assert!(configured.check().is_ok() && !configured.are_complete());
        let endpoints = configured.over(read(&document(), "https://idp").unwrap());
        assert_eq!(endpoints.issuer, "https://public/realm");
        assert_eq!(endpoints.token, "http://internal:8080/token");
        assert_eq!(endpoints.jwks.as_deref(), Some("https://idp/jwks"));
        assert_eq!(configured.alone("https://idp"), None);
    }
}
