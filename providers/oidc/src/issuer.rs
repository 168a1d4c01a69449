//! The issuer: what it publishes, and the requests that are made of it.

use crate::settings::Settings;
use jwt_keys::{Claims, Documents, KeySource, TokenError};
use portcullis_guest::{
    CodeError, Host, HttpRequest, HttpResponse, LoginRequest, LoginResponse, Unavailable,
};
use serde::{Deserialize, Serialize};

pub(crate) struct Issuer<'a> {
    pub(crate) settings: &'a Settings,
    /// The time is asked for when it is needed: a token may have been issued while we waited for it.
    pub(crate) host: &'a dyn Host,
}

/// What we need of the discovery document (OpenID Connect Discovery 1.0, section 3).
#[derive(Serialize, Deserialize)]
struct Discovered {
    issuer: String,
    authorization_endpoint: String,
    token_endpoint: String,
    jwks_uri: String,
    revocation_endpoint: Option<String>,
    #[serde(default)]
    authorization_response_iss_parameter_supported: bool,
}

/// What comes for a code or a refresh token (RFC 6749, section 5.1).
#[derive(Deserialize)]
pub(crate) struct Tokens {
    /// Nothing is asked with it, but an answer without it is none.
    #[serde(rename = "access_token")]
    _access_token: String,
    pub(crate) id_token: Option<String>,
    pub(crate) refresh_token: Option<String>,
    #[serde(default, deserialize_with = "seconds")]
    pub(crate) expires_in: Option<u64>,
}

/// Some issuers write the number as text.
fn seconds<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Option<u64>, D::Error> {
    let value = serde_json::Value::deserialize(from)?;
    Ok(value.as_u64().or_else(|| value.as_str()?.parse().ok()))
}

pub(crate) enum Exchange {
    Tokens(Tokens),
    /// The issuer says no, and why.
    Refused(String),
}

impl Issuer<'_> {
    fn documents(&self) -> Documents<'_> {
        Documents { http: self.host.http(), bucket: self.host.bucket(), now: self.host.now() }
    }

    fn discovered(&self) -> Result<Discovered, Unavailable> {
        let url = format!("{}/.well-known/openid-configuration", self.settings.issuer.trim_end_matches('/'));
        self.documents().get(&url, |text| {
            let found: Discovered = serde_json::from_slice(text).map_err(|error| error.to_string())?;
            // Section 4.3: it must be the very one that was asked for.
            match found.issuer == self.settings.issuer {
                true => Ok(found),
                false => Err(format!("it is the document of another issuer, {:?}", found.issuer)),
            }
        })
    }

    pub(crate) fn authorization_url(&self, request: &LoginRequest) -> Result<String, Unavailable> {
        let endpoint = self.discovered()?.authorization_endpoint;
        let query = encode(&[
            ("response_type", "code"),
            ("client_id", &self.settings.client_id),
            ("redirect_uri", &request.redirect_uri),
            ("scope", &self.settings.scopes),
            ("nonce", &request.nonce),
            ("code_challenge", &request.code_challenge),
            ("code_challenge_method", "S256"),
            ("state", &request.state),
        ]);
        let joint = if endpoint.contains('?') { '&' } else { '?' };
        Ok(format!("{endpoint}{joint}{query}"))
    }

    /// Did the answer come from this issuer (RFC 9207, section 2.4)?
    pub(crate) fn check_response(&self, response: &LoginResponse) -> Result<(), CodeError> {
        match &response.issuer {
            Some(issuer) if *issuer == self.settings.issuer => Ok(()),
            Some(_) => Err(CodeError::InvalidCode("the answer is of another issuer".to_owned())),
            None if self.discovered()?.authorization_response_iss_parameter_supported => Err(
                CodeError::InvalidCode("the issuer always names itself, and this answer does not".to_owned()),
            ),
            None => Ok(()),
        }
    }

    pub(crate) fn redeem(&self, response: &LoginResponse) -> Result<Exchange, Unavailable> {
        self.exchange(&[
            ("grant_type", "authorization_code"),
            ("code", &response.code),
            ("redirect_uri", &response.redirect_uri),
            ("code_verifier", &response.code_verifier),
            ("client_id", &self.settings.client_id),
        ])
    }

    pub(crate) fn refresh(&self, refresh_token: &str) -> Result<Exchange, Unavailable> {
        self.exchange(&[
            ("grant_type", "refresh_token"),
            ("refresh_token", refresh_token),
            ("client_id", &self.settings.client_id),
        ])
    }

    fn exchange(&self, form: &[(&str, &str)]) -> Result<Exchange, Unavailable> {
        let response = self
            .host
            .http()
            .send(&HttpRequest::post_form(self.discovered()?.token_endpoint, encode(form)))?;
        match response.status {
            // RFC 6749, section 5.2: the grant is wrong, with whatever status. Any other refusal is of the client, which
            // an operator mends.
            200 | 400 | 401 if error_of(&response) == "invalid_grant" => {
                Ok(Exchange::Refused("invalid_grant".to_owned()))
            }
            // A page for people with status 200 is an outage.
            200 => serde_json::from_slice(&response.body)
                .map(Exchange::Tokens)
                .map_err(|error| Unavailable(format!("the token endpoint's answer cannot be read: {error}"))),
            status => {
                Err(Unavailable(format!("the token endpoint answered {status} {}", error_of(&response))))
            }
        }
    }

    /// RFC 7009. Where there is no endpoint, nothing can be done.
    pub(crate) fn revoke(&self, refresh_token: &str) -> Result<(), Unavailable> {
        let Some(endpoint) = self.discovered()?.revocation_endpoint else { return Ok(()) };
        let form = [
            ("token", refresh_token),
            ("token_type_hint", "refresh_token"),
            ("client_id", self.settings.client_id.as_str()),
        ];
        let response = self.host.http().send(&HttpRequest::post_form(endpoint, encode(&form)))?;
        match response.status {
            200 => Ok(()),
            status => Err(Unavailable(format!("the revocation endpoint answered {status}"))),
        }
    }

    /// Checks an ID token's signature, issuer, audience and times.
    pub(crate) fn check(&self, id_token: &str) -> Result<Claims, TokenError> {
        let keys = KeySource::Url(self.discovered()?.jwks_uri);
        keys.check(&self.documents(), id_token, &self.settings.rules())
    }
}

/// The error code of RFC 6749, if there is one; bounded, since it reaches a log.
fn error_of(response: &HttpResponse) -> String {
    #[derive(Deserialize)]
    struct Refusal {
        error: String,
    }
    let refusal = serde_json::from_slice::<Refusal>(&response.body);
    refusal.map_or_else(|_| String::new(), |refusal| refusal.error.chars().take(64).collect())
}

fn encode(pairs: &[(&str, &str)]) -> String {
    serde_urlencoded::to_string(pairs).expect("pairs of text can always be encoded")
}
