use crate::TokenError;
use crate::algorithm::Algorithm;
use crate::claims::{ClaimsSet, text_of};
use portcullis_guest::from_base64url;
use serde_json::{Map, Value};

/// A token in its three parts (RFC 7515, section 7.1), of which nothing is believed yet.
pub(crate) struct SignedToken<'a> {
    pub(crate) algorithm: Algorithm,
    /// Which key signed it, if it says so. A number becomes text.
    pub(crate) kid: Option<String>,
    /// Its media type, in lower case and without `application/`.
    pub(crate) kind: Option<String>,
    /// What is signed: header and payload.
    pub(crate) message: &'a str,
    pub(crate) signature: &'a str,
    payload: &'a str,
}

impl<'a> SignedToken<'a> {
    pub(crate) fn read(token: &'a str) -> Result<Self, TokenError> {
        let no_token = || TokenError::invalid("it is no signed token");
        let (message, signature) = token.rsplit_once('.').ok_or_else(no_token)?;
        let (header, payload) = message.split_once('.').ok_or_else(no_token)?;
        let header = object(header).ok_or_else(no_token)?;

        // Section 4.1.11: what is critical and not understood makes a token invalid.
        if header.contains_key("crit") {
            return Err(TokenError::invalid(
                "it has critical extensions, which are not known",
            ));
        }
        let name = header
            .get("alg")
            .and_then(Value::as_str)
            .unwrap_or_default();
        let Some(algorithm) = Algorithm::named(name) else {
            let name: String = name.chars().take(32).collect();
            return Err(TokenError::Invalid(format!(
                "algorithm {name:?} is not accepted"
            )));
        };
        let kind = header
            .get("typ")
            .and_then(Value::as_str)
            .map(str::to_ascii_lowercase);
        let kind = kind.map(|kind| kind.trim_start_matches("application/").to_owned());
        let kid = header.get("kid").and_then(text_of);
        Ok(Self {
            algorithm,
            kid,
            kind,
            message,
            signature,
            payload,
        })
    }

    pub(crate) fn claims(&self) -> Result<ClaimsSet, TokenError> {
        let claims = object(self.payload).map(ClaimsSet);
        claims.ok_or_else(|| TokenError::invalid("what it claims cannot be read"))
    }
}

fn object(part: &str) -> Option<Map<String, Value>> {
    serde_json::from_slice(&from_base64url(part)?).ok()
}
