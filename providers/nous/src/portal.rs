//! The portal: the requests that are made of it, and what its tokens must say.

use crate::settings::Settings;
use jwt_keys::{ClaimsSet, Documents, KeySource, Rules, TokenError};
use person_text::{check_identifier, shown};
use portcullis_guest::{
    CodeError, Host, HttpRequest, HttpResponse, LoginRequest, LoginResponse, Unavailable,
    from_base64url,
};
use serde::Deserialize;
use serde_json::Value;
use session_tokens::Person;

/// The one scope that the portal grants for a dashboard.
const SCOPE: &str = "agent_dashboard:access";
/// The portal compares this header with the refresh token in the body.
const REFRESH_HEADER: &str = "x-nous-refresh-token";
/// The version of the portal's contract with dashboards, in the claim `oauth_contract_version`.
const CONTRACT_VERSION: u64 = 1;
/// How far the portal's clock may differ, in seconds.
const LEEWAY: u64 = 60;
/// Longest refresh token that is kept, in bytes: the token around it has to fit into what the host
/// takes.
const MAX_REFRESH_TOKEN_BYTES: usize = 4 * 1024;

pub(crate) struct Portal<'a> {
    pub(crate) settings: &'a Settings,
    pub(crate) host: &'a dyn Host,
}

/// A successful answer of the token endpoint (RFC 6749, section 5.1). There is no ID token: the
/// access token is the JWT.
#[derive(Deserialize)]
struct GrantedTokens {
    access_token: String,
    refresh_token: Option<String>,
    token_type: Option<String>,
}

/// What came for a code or for a refresh token.
pub(crate) enum TokenResponse {
    Tokens {
        access_token: String,
        /// Empty: the session ends with its access token.
        refresh_token: String,
    },
    /// The portal refuses, and why.
    Refused(String),
}

impl Portal<'_> {
    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.settings.portal_url)
    }

    pub(crate) fn authorization_url(&self, request: &LoginRequest) -> String {
        let query = encode(&[
            ("response_type", "code"),
            ("client_id", &self.settings.client_id),
            ("redirect_uri", &request.redirect_uri),
            ("scope", SCOPE),
            ("code_challenge", &request.code_challenge),
            ("code_challenge_method", "S256"),
            ("state", &request.state),
        ]);
        format!("{}?{query}", self.url("/oauth/authorize"))
    }

    /// Checks who answered, where the answer says it (RFC 9207, section 2.4).
    pub(crate) fn check_response(&self, response: &LoginResponse) -> Result<(), CodeError> {
        match response
            .issuer
            .as_deref()
            .map(|issuer| issuer.trim_end_matches('/'))
        {
            Some(issuer) if issuer != self.settings.portal_url => Err(CodeError::InvalidCode(
                "the answer is of another issuer".to_owned(),
            )),
            _ => Ok(()),
        }
    }

    pub(crate) fn redeem(&self, response: &LoginResponse) -> Result<TokenResponse, Unavailable> {
        let form = encode(&[
            ("grant_type", "authorization_code"),
            ("code", &response.code),
            ("redirect_uri", &response.redirect_uri),
            ("code_verifier", &response.code_verifier),
            ("client_id", &self.settings.client_id),
        ]);
        self.exchange(&HttpRequest::post_form(self.token_url(), form))
    }

    pub(crate) fn refresh(&self, refresh_token: &str) -> Result<TokenResponse, Unavailable> {
        let form = encode(&[
            ("grant_type", "refresh_token"),
            ("refresh_token", refresh_token),
            ("client_id", &self.settings.client_id),
        ]);
        let request = HttpRequest::post_form(self.token_url(), form);
        self.exchange(&request.with_header(REFRESH_HEADER, refresh_token))
    }

    fn token_url(&self) -> String {
        self.url("/api/oauth/token")
    }

    fn exchange(&self, request: &HttpRequest) -> Result<TokenResponse, Unavailable> {
        let response = self.host.http().send(request)?;
        match response.status {
            200 => read_tokens(&response),
            // A timeout and a limit pass. Every other status of this class is a refusal: the portal
            // answers 400 to a refresh token that has expired, that was revoked and that was used
            // before.
            status @ 400..=499 if !matches!(status, 408 | 429) => Ok(TokenResponse::Refused(
                format!("the portal answered {status} {}", error_of(&response)),
            )),
            status => Err(Unavailable(format!(
                "the portal's token endpoint answered {status} {}",
                error_of(&response)
            ))),
        }
    }

    /// Checks an access token: its signature, issuer, audience, times, instance and contract
    /// version.
    pub(crate) fn check(&self, access_token: &str) -> Result<ClaimsSet, TokenError> {
        if algorithm_of(access_token).as_deref() != Some("RS256") {
            return Err(TokenError::Invalid(
                "the access token is not signed with RS256".to_owned(),
            ));
        }

        let documents = Documents {
            http: self.host.http(),
            bucket: self.host.bucket(),
            now: self.host.now(),
        };
        let rules = Rules {
            issuer: &self.settings.portal_url,
            audience: &self.settings.client_id,
            authorized_party: None,
            leeway: LEEWAY,
            kinds: &[],
        };

        let keys = KeySource::Url(self.url("/.well-known/jwks.json"));
        let claims = keys.check(&documents, access_token, &rules)?;
        check_instance(&claims, self.settings.instance()).map_err(TokenError::Invalid)?;
        check_version(&claims).map_err(TokenError::Invalid)?;

        Ok(claims)
    }
}

/// An answer that cannot be read is an outage: the portal, or a proxy before it, is out of order.
fn read_tokens(response: &HttpResponse) -> Result<TokenResponse, Unavailable> {
    let answer: GrantedTokens = serde_json::from_slice(&response.body).map_err(|error| {
        Unavailable(format!(
            "the token endpoint's answer cannot be read: {error}"
        ))
    })?;
    if answer
        .token_type
        .is_some_and(|kind| !kind.eq_ignore_ascii_case("bearer"))
    {
        return Ok(TokenResponse::Refused(
            "the access token is no bearer token".to_owned(),
        ));
    }

    let refresh_token = answer
        .refresh_token
        .filter(|token| can_be_sent(token))
        .unwrap_or_default();
    Ok(TokenResponse::Tokens {
        access_token: answer.access_token,
        refresh_token,
    })
}

/// Whether a refresh token can stand in a header: visible ASCII, within bounds.
fn can_be_sent(token: &str) -> bool {
    (1..=MAX_REFRESH_TOKEN_BYTES).contains(&token.len())
        && token.bytes().all(|byte| byte.is_ascii_graphic())
}

/// The algorithm that a token's header names (RFC 7515, section 4.1.1).
fn algorithm_of(token: &str) -> Option<String> {
    #[derive(Deserialize)]
    struct Header {
        alg: String,
    }
    let header = from_base64url(token.split('.').next()?)?;
    let header: Header = serde_json::from_slice(&header).ok()?;
    Some(header.alg)
}

/// A token that names an instance must name this agent's. The audience binds a token that names
/// none.
fn check_instance(claims: &ClaimsSet, instance: &str) -> Result<(), String> {
    match claims.0.get("agent_instance_id") {
        None | Some(Value::Null) => Ok(()),
        Some(named) if plain(named) == instance => Ok(()),
        Some(_) => Err("the claim `agent_instance_id` names another instance".to_owned()),
    }
}

fn check_version(claims: &ClaimsSet) -> Result<(), String> {
    match claims.0.get("oauth_contract_version") {
        None | Some(Value::Null) => Ok(()),
        Some(version) if plain(version) == CONTRACT_VERSION.to_string() => Ok(()),
        Some(_) => Err(format!(
            "the claim `oauth_contract_version` is not {CONTRACT_VERSION}"
        )),
    }
}

/// A claim that may be text or a number, as text. Empty for anything else.
fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.trim().to_owned(),
        Value::Number(number) => number.to_string(),
        _ => String::new(),
    }
}

/// The person of a token that was checked. The portal's tokens have neither a name nor an address.
///
/// What identifies a person has to be as the host takes it; otherwise every sign-in of that person
/// would count as a fault of the provider.
pub(crate) fn person_of(claims: &ClaimsSet) -> Result<Person, String> {
    let user_id = claims.text("sub");
    check_identifier(user_id).map_err(|error| format!("the claim `sub` {error}"))?;
    let org_id = claims.0.get("org_id").map(plain).unwrap_or_default();
    Ok(Person {
        user_id: user_id.to_owned(),
        org_id: shown(&org_id),
        ..Person::default()
    })
}

/// The error code of RFC 6749, section 5.2, if there is one. It reaches a log, so it is cut.
fn error_of(response: &HttpResponse) -> String {
    #[derive(Deserialize)]
    struct Refusal {
        error: String,
    }
    let refusal = serde_json::from_slice::<Refusal>(&response.body);
    refusal.map_or_else(
        |_| String::new(),
        |refusal| refusal.error.chars().take(64).collect(),
    )
}

fn encode(pairs: &[(&str, &str)]) -> String {
    serde_urlencoded::to_string(pairs).expect("pairs of text can always be encoded")
}

#[cfg(test)]
mod tests {
    use super::*;
    use portcullis_guest::base64url;
    use serde_json::json;

    fn claims(value: Value) -> ClaimsSet {
        let Value::Object(claims) = value else {
            panic!("a map")
        };
        ClaimsSet(claims)
    }

    #[test]
    fn instance_and_version_are_checked_where_they_are_named() {
        for (named, is_ours) in [
            (json!({}), true),
            (json!({"agent_instance_id": null}), true),
            (json!({"agent_instance_id": "7"}), true),
            (json!({"agent_instance_id": 7}), true),
            (json!({"agent_instance_id": "8"}), false),
            (json!({"agent_instance_id": ""}), false),
            (json!({"agent_instance_id": ["7"]}), false),
        ] {
            assert_eq!(
                check_instance(&claims(named.clone()), "7").is_ok(),
                is_ours,
                "{named}"
            );
        }
        for (named, is_known) in [
            (json!({}), true),
            (json!({"oauth_contract_version": null}), true),
            (json!({"oauth_contract_version": 1}), true),
            (json!({"oauth_contract_version": "1"}), true),
            (json!({"oauth_contract_version": 2}), false),
            (json!({"oauth_contract_version": "2"}), false),
            (json!({"oauth_contract_version": true}), false),
        ] {
            assert_eq!(
                check_version(&claims(named.clone())).is_ok(),
                is_known,
                "{named}"
            );
        }
    }

    #[test]
    fn person_is_one_that_the_host_believes() {
        let person =
            person_of(&claims(json!({"sub": "user-1", "org_id": " org\u{7}-1 "}))).unwrap();
        assert_eq!(
            (person.user_id.as_str(), person.org_id.as_str()),
            ("user-1", "org-1")
        );
        assert_eq!(
            person_of(&claims(json!({"sub": "a", "org_id": 12})))
                .unwrap()
                .org_id,
            "12"
        );
        for sub in [
            json!(null),
            json!(""),
            json!(7),
            json!("x".repeat(257)),
            json!("a\tb"),
            json!(" a"),
        ] {
            assert!(person_of(&claims(json!({"sub": sub}))).is_err(), "{sub}");
        }
    }

    #[test]
    fn algorithm_is_read_from_the_header() {
        let token = |header: &str| format!("{}.e30.x", base64url(header.as_bytes()));
        assert_eq!(
            algorithm_of(&token(r#"{"alg":"RS256"}"#)).as_deref(),
            Some("RS256")
        );
        assert_eq!(
            algorithm_of(&token(r#"{"alg":"none"}"#)).as_deref(),
            Some("none")
        );
        for bad in ["", "plain", &token("{}")] {
            assert_eq!(algorithm_of(bad), None, "{bad}");
        }
    }

    #[test]
    fn refresh_token_that_no_header_can_have_is_left_out() {
        let read = |token: &str| {
            let body = json!({"access_token": "a", "token_type": "bearer", "refresh_token": token});
            match read_tokens(&HttpResponse {
                status: 200,
                location: None,
                body: body.to_string().into_bytes(),
            }) {
                Ok(TokenResponse::Tokens { refresh_token, .. }) => refresh_token,
                _ => panic!("tokens"),
            }
        };
        assert_eq!(read("rt-1"), "rt-1");
        for bad in [
            "",
            "a\nb",
            "\u{e9}",
            &"x".repeat(MAX_REFRESH_TOKEN_BYTES + 1),
        ] {
            assert_eq!(read(bad), "", "{bad:?}");
        }
    }
}
