//! What the token endpoint answers (RFC 6749, section 5).

use jwt_keys::ClaimsSet;
use portcullis_guest::{HttpResponse, Unavailable};

/// What comes for a code or a refresh token.
pub(crate) struct Tokens {
    pub(crate) access_token: String,
    pub(crate) id_token: Option<String>,
    pub(crate) refresh_token: Option<String>,
    /// The life of the access token, in seconds.
    pub(crate) expires_in: Option<u64>,
}

/// What the token endpoint answers (RFC 6749, sections 5.1 and 5.2).
pub(crate) enum TokenResponse {
    Tokens(Tokens),
    /// The issuer refuses, and why.
    Refused(String),
}

/// Which answers refuse the grant. Every other answer is an outage, which ends no session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// Errors about the grant. An error about the client is for the operator to fix.
    OfTheGrant,
    /// Every status from 400 to 499, but for those that ask to try later.
    OfAnyKind,
}

/// Errors of section 5.2 that are about the client, and not about the grant.
const ERRORS_OF_CLIENTS: &[&str] = &[
    "invalid_client",
    "unauthorized_client",
    "unsupported_grant_type",
];

impl Refusal {
    fn covers(self, status: u16, error: &str) -> bool {
        match self {
            // The grant is wrong. Issuers send this with different statuses.
            _ if error == "invalid_grant" => (400..500).contains(&status),
            Self::OfTheGrant => {
                status == 400 && !error.is_empty() && !ERRORS_OF_CLIENTS.contains(&error)
            }
            Self::OfAnyKind => (400..500).contains(&status) && !matches!(status, 408 | 429),
        }
    }
}

impl TokenResponse {
    /// # Errors
    /// The answer neither has tokens nor refuses them: the endpoint is out of order.
    pub(crate) fn read(response: &HttpResponse, refusal: Refusal) -> Result<Self, Unavailable> {
        let answer = ClaimsSet::read(&response.body);
        let status = response.status;
        let error = answer
            .as_ref()
            .map_or_else(|_| String::new(), |answer| short(answer, "error"));
        let said = answer.as_ref().map_or_else(
            |_| String::new(),
            |answer| short(answer, "error_description"),
        );
        let why = format!("{status} {error} {said}");
        let why = why.trim_end();

        match (status, answer) {
            // GitHub answers errors with 200.
            (200 | 201, Ok(_)) if !error.is_empty() => {
                Ok(Self::Refused(format!("the token endpoint answered {why}")))
            }
            (200 | 201, Ok(answer)) => Self::tokens(&answer),
            // A page for people is an outage.
            (200 | 201, Err(error)) => Err(Unavailable(format!(
                "the token endpoint's answer cannot be read: {error}"
            ))),
            _ if refusal.covers(status, &error) => {
                Ok(Self::Refused(format!("the token endpoint answered {why}")))
            }
            _ => Err(Unavailable(format!("the token endpoint answered {why}"))),
        }
    }

    fn tokens(answer: &ClaimsSet) -> Result<Self, Unavailable> {
        let text = |name: &str| {
            Some(answer.text(name))
                .filter(|text| !text.is_empty())
                .map(str::to_owned)
        };
        let Some(access_token) = text("access_token") else {
            return Err(Unavailable(
                "the token endpoint's answer has no access token".to_owned(),
            ));
        };
        // Section 7.1: a client must not use a token of a type that it does not know.
        let kind = answer.0.get("token_type").filter(|kind| !kind.is_null());

        let is_usable = kind.is_none_or(|kind| kind.as_str().is_some_and(is_bearer));
        if !is_usable {
            let kind = short(answer, "token_type");
            return Ok(Self::Refused(format!(
                "the tokens are of type {kind:?}, not bearer tokens"
            )));
        }

        let seconds = answer.0.get("expires_in");
        // Some issuers write the number as text.
        let seconds =
            seconds.and_then(|value| value.as_u64().or_else(|| value.as_str()?.parse().ok()));

        Ok(Self::Tokens(Tokens {
            access_token,
            id_token: text("id_token"),
            refresh_token: text("refresh_token"),
            expires_in: seconds,
        }))
    }
}

fn is_bearer(kind: &str) -> bool {
    kind.eq_ignore_ascii_case("bearer")
}

/// A text of the answer, bounded, since it reaches a log.
fn short(answer: &ClaimsSet, name: &str) -> String {
    answer.text(name).chars().take(128).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `Ok(true)`: tokens, `Ok(false)`: refused, `Err`: an outage.
    fn read(status: u16, body: &str, refusal: Refusal) -> Result<bool, Unavailable> {
        let response = HttpResponse {
            status,
            location: None,
            body: body.as_bytes().to_vec(),
        };
        TokenResponse::read(&response, refusal)
            .map(|answer| matches!(answer, TokenResponse::Tokens(_)))
    }

    #[test]
    fn refusals_are_told_from_outages() {
        use Refusal::{OfAnyKind, OfTheGrant};

        let error = |code: &str| format!("{{\"error\":\"{code}\"}}");
        for (status, body, redeemed, refreshed) in [
            (400, error("invalid_grant"), Some(false), Some(false)),
            (401, error("invalid_grant"), Some(false), Some(false)),
            (403, error("invalid_grant"), Some(false), Some(false)),
            (400, error("invalid_request"), Some(false), Some(false)),
            (400, error("access_denied"), Some(false), Some(false)),
            (400, error("interaction_required"), Some(false), Some(false)),
            (400, error("invalid_client"), None, Some(false)),
            (401, error("invalid_client"), None, Some(false)),
            (400, error("unauthorized_client"), None, Some(false)),
            (400, "<h1>Bad request</h1>".to_owned(), None, Some(false)),
            (403, String::new(), None, Some(false)),
            (404, String::new(), None, Some(false)),
            (408, String::new(), None, None),
            (429, error("slow_down"), None, None),
            (500, error("invalid_grant"), None, None),
            (503, String::new(), None, None),
            (302, String::new(), None, None),
            (
                200,
                error("bad_verification_code"),
                Some(false),
                Some(false),
            ),
            (200, "<h1>Hello</h1>".to_owned(), None, None),
            (200, "{}".to_owned(), None, None),
            (200, "[]".to_owned(), None, None),
            (200, "[".repeat(5_000), None, None),
        ] {
            assert_eq!(
                read(status, &body, OfTheGrant).ok(),
                redeemed,
                "{status} {body:.40} for a code"
            );
            assert_eq!(
                read(status, &body, OfAnyKind).ok(),
                refreshed,
                "{status} {body:.40} at a refresh"
            );
        }
    }

    #[test]
    fn only_bearer_tokens_are_taken() {
        for (kind, is_taken) in [
            ("\"Bearer\"", true),
            ("\"bearer\"", true),
            ("null", true),
            ("\"DPoP\"", false),
            ("\"mac\"", false),
            ("\"\"", false),
            ("7", false),
            ("[\"Bearer\"]", false),
        ] {
            let body = format!("{{\"access_token\":\"a\",\"token_type\":{kind}}}");
            assert_eq!(
                read(200, &body, Refusal::OfTheGrant),
                Ok(is_taken),
                "{kind}"
            );
        }
        assert_eq!(
            read(200, "{\"access_token\":\"a\"}", Refusal::OfTheGrant),
            Ok(true)
        );
    }

    #[test]
    fn tokens_are_read_in_every_form() {
        let body =
            br#"{"access_token":"a","id_token":7,"refresh_token":"","expires_in":"60"}"#.to_vec();
        let response = HttpResponse {
            status: 200,
            location: None,
            body,
        };
        let Ok(TokenResponse::Tokens(tokens)) = TokenResponse::read(&response, Refusal::OfTheGrant)
        else {
            panic!("no tokens")
        };
        assert_eq!(
            (tokens.id_token, tokens.refresh_token, tokens.expires_in),
            (None, None, Some(60))
        );
        for odd in ["-1", "1e300", "\"soon\"", "null", "[]"] {
            let body = format!("{{\"access_token\":\"a\",\"expires_in\":{odd}}}").into_bytes();
            let response = HttpResponse {
                status: 200,
                location: None,
                body,
            };
            let Ok(TokenResponse::Tokens(tokens)) =
                TokenResponse::read(&response, Refusal::OfTheGrant)
            else {
                panic!("no tokens")
            };
            assert_eq!(tokens.expires_in, None, "{odd}");
        }
    }
}
