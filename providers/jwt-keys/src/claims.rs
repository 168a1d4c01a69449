use crate::TokenError;
use crate::fetch::without_mark;
use serde_json::{Map, Value};

/// The claims of a token whose signature was checked (RFC 7519, section 4), or what an issuer says
/// of a person.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClaimsSet(pub Map<String, Value>);

impl ClaimsSet {
    /// Reads a JSON object.
    ///
    /// # Errors
    /// It is none.
    pub fn read(text: &[u8]) -> Result<Self, String> {
        serde_json::from_slice(without_mark(text))
            .map(Self)
            .map_err(|error| error.to_string())
    }

    /// A claim of the protocol that is text; empty where it is missing or something else.
    pub fn text(&self, name: &str) -> &str {
        self.0.get(name).and_then(Value::as_str).unwrap_or_default()
    }

    /// A time, in seconds since the Unix epoch. Fractions are cut off (RFC 7519, section 2:
    /// NumericDate).
    pub fn time(&self, name: &str) -> Option<u64> {
        let value = self.0.get(name)?;
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "casts saturate"
        )]
        value
            .as_u64()
            .or_else(|| value.as_f64().map(|seconds| seconds as u64))
    }

    /// The values at a path: the claim of that whole name, or else what lies below the claim of a
    /// part of it, up to a dot. A list counts as its members; `null` counts as nothing.
    pub fn values(&self, path: &str) -> Vec<&Value> {
        let mut found = Vec::new();
        find(&self.0, path, &mut found);
        let members = found.into_iter().flat_map(|value| match value {
            Value::Array(members) => members.as_slice(),
            one => std::slice::from_ref(one),
        });
        members.filter(|value| !value.is_null()).collect()
    }

    /// All texts at a path. Numbers and booleans become text.
    pub fn texts(&self, path: &str) -> Vec<String> {
        self.values(path)
            .into_iter()
            .filter_map(text_of)
            .filter(|text| !text.is_empty())
            .collect()
    }

    /// The one text at a path; `None` where there are several, since a name has to be one.
    pub fn only(&self, path: &str) -> Option<String> {
        let mut texts = self.texts(path).into_iter();
        texts.next().filter(|_| texts.next().is_none())
    }

    /// The words at a path: texts are split at spaces (RFC 6749, section 3.3), and a list is all of
    /// its members' words.
    pub fn words(&self, path: &str) -> Vec<String> {
        let texts = self.texts(path);
        texts
            .iter()
            .flat_map(|text| text.split_whitespace())
            .map(str::to_owned)
            .collect()
    }

    /// Whether one of these values stands at a path.
    pub fn says_one_of(&self, path: &str, values: &[String]) -> bool {
        self.texts(path).iter().any(|text| values.contains(text))
    }
}

/// A value as text, unless it is a list, an object or `null`.
pub(crate) fn text_of(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(is) => Some(is.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

/// The name may have dots itself (`https://example.com/groups`), so the longest one that is there
/// is taken.
fn find<'a>(claims: &'a Map<String, Value>, path: &str, found: &mut Vec<&'a Value>) {
    if let Some(value) = claims.get(path) {
        found.push(value);
        return;
    }

    for (dot, _) in path.rmatch_indices('.') {
        let (name, rest) = path.split_at(dot);
        let rest = rest.trim_start_matches('.');
        match claims.get(name) {
            Some(Value::Object(below)) => find(below, rest, found),
            Some(Value::Array(members)) => {
                members
                    .iter()
                    .filter_map(Value::as_object)
                    .for_each(|below| find(below, rest, found));
            }
            _ => {}
        }
        if !found.is_empty() {
            return;
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
    /// Whom it must have been issued to, where it says (OpenID Connect Core, section 3.1.3.7).
    /// `None` for an access token, which is issued to one party for another.
    pub authorized_party: Option<&'a str>,
    /// How far clocks may differ, in seconds.
    pub leeway: u64,
    /// What the header's `typ` may be, in lower case and without `application/`; empty: anything. A
    /// token without `typ` is taken.
    pub kinds: &'a [&'a str],
}

impl Rules<'_> {
    pub(crate) fn check(&self, claims: ClaimsSet, now: u64) -> Result<ClaimsSet, TokenError> {
        let wrong = |why: &str| Err(TokenError::invalid(why));
        if claims.text("iss") != self.issuer {
            return wrong("another issuer");
        }

        if !is_for(&claims, self.audience) {
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

        // What is there and no time is not taken for a time that has come.
        let has_come = |name: &str| match claims.0.get(name) {
            None | Some(Value::Null) => true,
            Some(_) => claims
                .time(name)
                .is_some_and(|time| time <= now.saturating_add(self.leeway)),
        };
        if !has_come("nbf") {
            return wrong("not valid yet");
        }

        if !has_come("iat") {
            return wrong("issued in the future");
        }

        Ok(claims)
    }
}

/// Whether `aud` is the audience, or lists it (RFC 7519, section 4.1.3).
fn is_for(claims: &ClaimsSet, audience: &str) -> bool {
    match claims.0.get("aud") {
        Some(Value::Array(members)) => members.iter().any(|member| member == audience),
        Some(one) => one == audience,
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const RULES: Rules<'_> = Rules {
        issuer: "https://idp",
        audience: "us",
        authorized_party: Some("us"),
        leeway: 60,
        kinds: &[],
    };

    fn check(change: impl FnOnce(&mut Map<String, Value>)) -> Result<(), String> {
        let mut claims = ClaimsSet::default().0;
        claims.insert("iss".into(), "https://idp".into());
        claims.insert("aud".into(), "us".into());
        claims.insert("exp".into(), 1_000.into());
        change(&mut claims);
        RULES
            .check(ClaimsSet(claims), 1_000)
            .map(drop)
            .map_err(|error| format!("{error:?}"))
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
            ("nbf", json!("1000"), "not valid yet"),
            ("iat", json!(1_061), "in the future"),
            ("iat", json!([1]), "in the future"),
        ] {
            let error =
                check(|claims| drop(claims.insert(name.into(), value.clone()))).expect_err(name);
            assert!(error.contains(complaint), "{name} = {value}: {error}");
        }
        for (name, value) in [
            ("aud", json!(["them", "us"])),
            ("azp", json!("us")),
            ("exp", json!(940.5e3)),
            ("nbf", json!(1_060)),
            ("nbf", json!(null)),
            ("iat", json!(-1)),
        ] {
            assert_eq!(
                check(|claims| drop(claims.insert(name.into(), value.clone()))),
                Ok(()),
                "{name} = {value}"
            );
        }
    }

    fn claims(claims: &Value) -> ClaimsSet {
        ClaimsSet(claims.as_object().unwrap().clone())
    }

    #[test]
    fn words_are_read_in_both_of_their_forms() {
        for (scope, expected) in [
            (json!("a b"), vec!["a", "b"]),
            (json!(["a", "b c"]), vec!["a", "b", "c"]),
            (json!(1), vec!["1"]),
            (json!({"a": 1}), vec![]),
            (json!(null), vec![]),
        ] {
            assert_eq!(
                claims(&json!({"scope": scope})).words("scope"),
                expected,
                "{scope}"
            );
        }
    }

    #[test]
    fn paths_lead_to_claims_of_every_shape() {
        let all = claims(&json!({
            "groups": ["a", 7, null, "", {"not": "text"}, ["nor this"]],
            "https://example.com/groups": ["b"],
            "realm_access": {"roles": ["c", "d"]},
            "resource_access": {"my.client": {"roles": ["e"]}},
            "a.b": {"c": "dotted"},
            "teams": [{"name": "f"}, {"name": "g"}, {"other": "h"}, 1],
            "id": 12_345_678_901_u64,
            "is_member": true,
            "empty": "",
        }));
        for (path, expected) in [
            ("groups", vec!["a", "7"]),
            ("https://example.com/groups", vec!["b"]),
            ("realm_access.roles", vec!["c", "d"]),
            ("resource_access.my.client.roles", vec!["e"]),
            ("a.b.c", vec!["dotted"]),
            ("teams.name", vec!["f", "g"]),
            ("id", vec!["12345678901"]),
            ("is_member", vec!["true"]),
            ("empty", vec![]),
            ("realm_access", vec![]),
            ("realm_access.roles.c", vec![]),
            ("realm_access.", vec![]),
            (".", vec![]),
            ("", vec![]),
        ] {
            assert_eq!(all.texts(path), expected, "{path}");
        }
        assert_eq!(all.only("id").as_deref(), Some("12345678901"));
        assert_eq!(all.only("realm_access.roles"), None, "a name is one");
        assert!(all.says_one_of("is_member", &["true".to_owned()]));
        assert!(!all.says_one_of("groups", &["c".to_owned()]));
    }
}
