use crate::TokenError;
use serde_json::{Map, Value};

/// What a token claims, once its signature was checked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Claims(pub Map<String, Value>);

impl Claims {
    /// A claim that is text; empty where it is missing or something else.
    pub fn text(&self, name: &str) -> &str {
        self.0.get(name).and_then(Value::as_str).unwrap_or_default()
    }

    /// A time, in seconds since the Unix epoch. Fractions are cut off (RFC 7519, section 2: NumericDate).
    pub fn time(&self, name: &str) -> Option<u64> {
        let value = self.0.get(name)?;
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "casts saturate")]
        value.as_u64().or_else(|| value.as_f64().map(|seconds| seconds as u64))
    }

    /// A claim that is text, words with spaces between, or a list of texts: all of them.
    pub fn list(&self, name: &str) -> Vec<String> {
        match self.0.get(name) {
            Some(Value::String(words)) => words.split_whitespace().map(str::to_owned).collect(),
            Some(Value::Array(items)) => items.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
            _ => Vec::new(),
        }
    }

    /// Is one of these values what the claim says, or one of what it lists?
    pub fn says_one_of(&self, name: &str, values: &[String]) -> bool {
        let is_one =
            |value: &Value| value.as_str().is_some_and(|value| values.iter().any(|known| known == value));
        match self.0.get(name) {
            Some(Value::Array(items)) => items.iter().any(is_one),
            Some(value) => is_one(value),
            None => false,
        }
    }
}

/// What a token must claim to be believed.
#[derive(Clone, Copy, Debug)]
pub struct Rules<'a> {
    /// Who must have issued it.
    pub issuer: &'a str,
    /// Whom it must be for.
    pub audience: &'a str,
    /// Whom it must have been issued to, where it says (OpenID Connect Core, section 3.1.3.7). `None` for an access
    /// token, which is issued to one party for another.
    pub authorized_party: Option<&'a str>,
    /// How far clocks may differ, in seconds.
    pub leeway: u64,
}

impl Rules<'_> {
    pub(crate) fn check(&self, claims: Claims, now: u64) -> Result<Claims, TokenError> {
        let wrong = |why: &str| Err(TokenError::Invalid(why.to_owned()));
        if claims.text("iss") != self.issuer {
            return wrong("another issuer");
        }
        if !claims.says_one_of("aud", &[self.audience.to_owned()]) {
            return wrong("for another audience");
        }
        let is_of = |party: &str| claims.text("azp") == party;
        if claims.0.contains_key("azp") && !self.authorized_party.is_none_or(is_of) {
            return wrong("issued to another party");
        }
        match claims.time("exp") {
            None => return wrong("it never expires"),
            Some(exp) if exp.saturating_add(self.leeway) <= now => return wrong("expired"),
            Some(_) => {}
        }
        let is_ahead =
            |name: &str| claims.time(name).is_some_and(|time| time > now.saturating_add(self.leeway));
        if is_ahead("nbf") {
            return wrong("not valid yet");
        }
        if is_ahead("iat") {
            return wrong("issued in the future");
        }
        Ok(claims)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const RULES: Rules<'_> =
        Rules { issuer: "https://idp", audience: "us", authorized_party: Some("us"), leeway: 60 };

    fn check(change: impl FnOnce(&mut Map<String, Value>)) -> Result<(), String> {
        let mut claims = Claims::default().0;
        claims.insert("iss".into(), "https://idp".into());
        claims.insert("aud".into(), "us".into());
        claims.insert("exp".into(), 1_000.into());
        change(&mut claims);
        RULES.check(Claims(claims), 1_000).map(drop).map_err(|error| format!("{error:?}"))
    }

    #[test]
    fn only_what_is_ours_and_now_is_believed() {
        assert_eq!(check(|_| {}), Ok(()), "just over, within the leeway");
        for (name, value, complaint) in [
            ("iss", json!("https://idp/"), "another issuer"),
            ("iss", json!(null), "another issuer"),
            ("aud", json!("them"), "another audience"),
            ("aud", json!(["them"]), "another audience"),
            ("aud", json!([]), "another audience"),
            ("azp", json!("them"), "another party"),
            ("azp", json!(7), "another party"),
            ("exp", json!(940), "expired"),
            ("exp", json!(null), "never expires"),
            ("exp", json!("soon"), "never expires"),
            ("nbf", json!(1_061), "not valid yet"),
            ("iat", json!(1_061), "in the future"),
        ] {
            let error = check(|claims| drop(claims.insert(name.into(), value.clone()))).expect_err(name);
            assert!(error.contains(complaint), "{name} = {value}: {error}");
        }
        for (name, value) in [
            ("aud", json!(["them", "us"])),
            ("azp", json!("us")),
            ("exp", json!(940.5e3)),
            ("nbf", json!(1_060)),
        ] {
            assert_eq!(
                check(|claims| drop(claims.insert(name.into(), value.clone()))),
                Ok(()),
                "{name} = {value}"
            );
        }
    }

    #[test]
    fn lists_are_read_in_both_of_their_forms() {
        let claims = |value: Value| Claims([("scope".to_owned(), value)].into_iter().collect());
        assert_eq!(claims(json!("a b")).list("scope"), ["a", "b"]);
        assert_eq!(claims(json!(["a", "b"])).list("scope"), ["a", "b"]);
        assert_eq!(claims(json!(1)).list("scope"), [""; 0]);
    }
}
