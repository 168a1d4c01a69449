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
        // RFC 7797, section 6: it would have to be critical as well.
        if present(&header, "b64").is_some_and(|encoded| *encoded != Value::Bool(true)) {
            return Err(TokenError::invalid("what it claims is not base64url"));
        }

        // What cannot be read is not taken for missing: a token of another kind would pass.
        let kind = match present(&header, "typ") {
            Some(Value::String(kind)) => Some(kind.to_ascii_lowercase()),
            Some(_) => return Err(TokenError::invalid("its `typ` is not text")),
            None => None,
        };
        let kind = kind.map(|kind| kind.trim_start_matches("application/").to_owned());
        let kid = match present(&header, "kid") {
            Some(Value::Array(_) | Value::Object(_)) => {
                return Err(TokenError::invalid("its `kid` is not text"));
            }
            named => named.and_then(text_of),
        };
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

/// A field of a header; `null` counts as missing.
fn present<'a>(header: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    header.get(name).filter(|value| !value.is_null())
}

fn object(part: &str) -> Option<Map<String, Value>> {
    serde_json::from_slice(&from_base64url(part)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use portcullis_guest::base64url;
    use serde_json::json;

    #[test]
    fn header_field_that_cannot_be_read_is_not_taken_for_missing() {
        for (name, value, is_read) in [
            ("typ", json!("JWT"), true),
            ("typ", json!(null), true),
            ("typ", json!(5), false),
            ("typ", json!(true), false),
            ("typ", json!(["logout+jwt"]), false),
            ("typ", json!({}), false),
            ("kid", json!("a"), true),
            ("kid", json!(7), true),
            ("kid", json!(null), true),
            ("kid", json!(["a"]), false),
            ("kid", json!({"a": 1}), false),
            ("alg", json!(["ES256"]), false),
            ("alg", json!(256), false),
            ("alg", json!(null), false),
            ("crit", json!([]), false),
            ("crit", json!(null), false),
            ("crit", json!("exp"), false),
            ("b64", json!(true), true),
            ("b64", json!(false), false),
            ("b64", json!("false"), false),
        ] {
            let mut header = json!({"alg": "ES256"});
            header[name] = value.clone();
            let [header, payload] =
                [header.to_string(), "{}".to_owned()].map(|part| base64url(part.as_bytes()));
            let token = format!("{header}.{payload}.AAAA");
            assert_eq!(SignedToken::read(&token).is_ok(), is_read, "{name} {value}");
        }
    }
}
