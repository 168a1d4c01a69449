use crate::algorithm::Algorithm;
use crate::claims::{ClaimsSet, Rules};
use crate::key::Key;
use crate::token::SignedToken;
use crate::{Documents, TokenError};
use serde::{Deserialize, Serialize};

/// Most keys that one token is tried with: a check of a signature takes a millisecond and more.
pub(crate) const MAX_TRIED: usize = 32;

/// The published keys that we can use.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct KeySet(Vec<Key>);

/// What a key set says of a token.
enum Verification {
    Claims(ClaimsSet),
    /// The key that it names did not sign it.
    Forged,
    /// The key that signed it is not in the set.
    UnknownKey,
}

impl KeySet {
    /// Reads a key set (RFC 7517, section 5). A key of another kind, for another use, or damaged is
    /// left out. The host limits the bytes of an answer, and so the keys of a set.
    ///
    /// # Errors
    /// It is no key set.
    pub fn read(text: &[u8]) -> Result<Self, String> {
        #[derive(Deserialize)]
        struct Published {
            keys: Vec<serde_json::Value>,
        }
        let published: Published =
            serde_json::from_slice(text).map_err(|error| format!("no key set: {error}"))?;

        Ok(Self(published.keys.iter().filter_map(Key::read).collect()))
    }

    /// Tries every key that may have signed the token: those with its `kid` first, then those
    /// without one. A token without `kid` may be of each of them. A key that has another `kid` is
    /// another key.
    fn open(&self, token: &SignedToken<'_>) -> Result<Verification, TokenError> {
        let is_named = |key: &&Key| token.kid.is_some() && key.kid == token.kid;
        let is_unnamed = |key: &&Key| token.kid.is_none() || key.kid.is_none();
        let named = self.fitting(token.algorithm).filter(is_named);
        let unnamed = self.fitting(token.algorithm).filter(is_unnamed);

        if named
            .chain(unnamed)
            .take(MAX_TRIED)
            .any(|key| key.signed(token))
        {
            return token.claims().map(Verification::Claims);
        }
        let is_forged = self.fitting(token.algorithm).any(|key| is_named(&key));
        Ok(if is_forged {
            Verification::Forged
        } else {
            Verification::UnknownKey
        })
    }

    fn fitting(&self, algorithm: Algorithm) -> impl Iterator<Item = &Key> {
        self.0.iter().filter(move |key| key.fits(algorithm))
    }
}

/// Where an issuer's keys are.
#[derive(Clone, Debug)]
pub enum KeySource {
    /// The issuer's key set at this URL.
    Url(String),
    /// The key set in the configuration.
    Inline(KeySet),
}

impl KeySource {
    /// Checks a token: its signature first, then what it claims.
    ///
    /// # Errors
    /// It is not believed.
    pub fn check(
        &self,
        documents: &Documents<'_>,
        token: &str,
        rules: &Rules<'_>,
    ) -> Result<ClaimsSet, TokenError> {
        let token = SignedToken::read(token)?;
        let is_of_kind = |kind: &str| rules.kinds.is_empty() || rules.kinds.contains(&kind);
        if !token.kind.as_deref().is_none_or(is_of_kind) {
            return Err(TokenError::invalid("its `typ` is of another kind of token"));
        }
        rules.check(self.open(documents, &token)?, documents.now)
    }

    /// What a signed text claims: its signature is checked, and nothing else.
    ///
    /// # Errors
    /// It is not signed by a key of these.
    pub fn claims(&self, documents: &Documents<'_>, token: &str) -> Result<ClaimsSet, TokenError> {
        self.open(documents, &SignedToken::read(token)?)
    }

    /// Looks for a key that is not known once more at the issuer, which may have a new one.
    fn open(
        &self,
        documents: &Documents<'_>,
        token: &SignedToken<'_>,
    ) -> Result<ClaimsSet, TokenError> {
        let verification = match self {
            Self::Inline(keys) => keys.open(token)?,
            Self::Url(url) => match documents.get(url, KeySet::read)?.open(token)? {
                Verification::UnknownKey => match documents.refresh(url, KeySet::read)? {
                    Some(fresh) => fresh.open(token)?,
                    None => Verification::UnknownKey,
                },
                known => known,
            },
        };

        match verification {
            Verification::Claims(claims) => Ok(claims),
            Verification::Forged => Err(TokenError::invalid("it has another signature")),
            Verification::UnknownKey => Err(TokenError::UnknownKey),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use portcullis_guest::MockHost;
    use serde_json::{Value, json};

    /// Made with Node's `crypto`: a key and a token of each algorithm, and tokens of one key with
    /// different headers.
    fn vectors() -> Value {
        serde_json::from_str(include_str!("vectors.json")).unwrap()
    }

    const RULES: Rules<'_> = Rules {
        issuer: "https://idp",
        audience: "us",
        authorized_party: None,
        leeway: 0,
        kinds: &["jwt"],
    };

    fn check_with(keys: &Value, token: &str) -> Result<ClaimsSet, TokenError> {
        let host = MockHost::default().at(1_700_000_000);
        let documents = Documents {
            http: &host.http,
            bucket: &host.bucket,
            now: host.now,
        };
        let keys = KeySet::read(json!({"keys": keys}).to_string().as_bytes()).unwrap();
        KeySource::Inline(keys).check(&documents, token, &RULES)
    }

    #[test]
    fn every_algorithm_is_checked_with_a_key_of_its_kind_alone() {
        let vectors = vectors();
        let algorithms = vectors["algorithms"].as_object().unwrap();
        for (name, vector) in algorithms {
            let token = vector["token"].as_str().unwrap();
            let claims = check_with(&json!([vector["key"]]), token);
            assert_eq!(
                claims.map(|claims| claims.text("sub").to_owned()),
                Ok("ada".to_owned()),
                "{name}"
            );

            let mut named = vector["key"].clone();
            named["alg"] = json!(if name == "RS256" { "RS512" } else { "RS256" });
            assert_eq!(
                check_with(&json!([named]), token),
                Err(TokenError::UnknownKey),
                "{name}"
            );

            let (signed, signature) = token.rsplit_once('.').unwrap();
            let forged = format!(
                "{signed}.{}",
                signature.replace(|c: char| c.is_ascii_digit(), "A")
            );
            assert_eq!(
                check_with(&json!([vector["key"]]), &forged),
                Err(TokenError::UnknownKey),
                "{name}"
            );
            for cut in ["", "AAAA", "=", "é"] {
                assert!(
                    check_with(&json!([vector["key"]]), &format!("{signed}.{cut}")).is_err(),
                    "{name}"
                );
            }
            for (other, vector) in algorithms
                .iter()
                .filter(|(other, _)| other[..2] != name[..2])
            {
                let is_same_key = [&other[..2], &name[..2]]
                    .iter()
                    .all(|kind| ["RS", "PS"].contains(kind));
                let found = check_with(&json!([vector["key"]]), token);
                assert_eq!(found.is_ok(), is_same_key, "{name} with the key of {other}");
            }
        }
    }

    #[test]
    fn every_key_that_may_have_signed_is_tried() {
        let vectors = vectors();
        let kids = &vectors["kids"];
        let key = |name: &str, kid: Value| {
            let mut key = kids[name].clone();
            if !kid.is_null() {
                key["kid"] = kid;
            }
            key
        };
        let (a, b) = (|kid: Value| key("a", kid), |kid: Value| key("b", kid));
        let none = || Value::Null;
        for (token, keys, is_believed) in [
            ("text", json!([a(json!("a"))]), true),
            ("text", json!([a(none())]), true),
            ("text", json!([b(none()), a(none())]), true),
            ("text", json!([b(json!("a")), a(json!("a"))]), true),
            ("text", json!([b(json!("a")), a(none())]), true),
            ("text", json!([a(json!("other"))]), false),
            ("text", json!([b(json!("a"))]), false),
            ("text", json!([]), false),
            ("none", json!([a(json!("a"))]), true),
            ("none", json!([b(json!("b")), a(json!("a"))]), true),
            ("none", json!([b(none()), a(none())]), true),
            ("none", json!([b(none())]), false),
            ("number", json!([a(json!(7))]), true),
            ("number", json!([a(json!("7"))]), true),
            ("number", json!([a(json!(8))]), false),
            ("critical", json!([a(none())]), false),
            ("logout", json!([a(none())]), false),
        ] {
            let found = check_with(&keys, kids[token].as_str().unwrap());
            assert_eq!(found.is_ok(), is_believed, "{token} with {keys}: {found:?}");
        }
        let many: Vec<_> = std::iter::repeat_n(b(none()), MAX_TRIED)
            .chain([a(none())])
            .collect();
        assert_eq!(
            check_with(&json!(many), kids["text"].as_str().unwrap()),
            Err(TokenError::UnknownKey),
            "bounded; the issuer is asked again, which may have fewer by now"
        );
    }

    #[test]
    fn key_that_a_token_names_is_found_in_a_large_set() {
        let vectors = vectors();
        let kids = &vectors["kids"];
        let key = |name: &str, kid: String| {
            let mut key = kids[name].clone();
            key["kid"] = json!(kid);
            key
        };
        let mut keys: Vec<_> = (0..1_000)
            .map(|number| key("b", format!("other-{number}")))
            .collect();
        keys.push(key("a", "a".to_owned()));
        let found = check_with(&json!(keys), kids["text"].as_str().unwrap());
        assert!(found.is_ok(), "{found:?}");
    }

    #[test]
    fn unknown_key_is_asked_for_once() {
        const URL: &str = "https://idp/keys";
        let vectors = vectors();
        let set = |kid: &str| {
            let mut key = vectors["kids"]["a"].clone();
            key["kid"] = json!(kid);
            json!({"keys": [key]}).to_string()
        };
        let check = |host: &MockHost| {
            let documents = Documents {
                http: &host.http,
                bucket: &host.bucket,
                now: host.now,
            };
            let token = vectors["kids"]["text"].as_str().unwrap();
            KeySource::Url(URL.to_owned())
                .check(&documents, token, &RULES)
                .map(drop)
        };
        let host = MockHost::default()
            .with_answer(URL, 200, set("old"))
            .at(1_700_000_000);
        assert_eq!(check(&host), Err(TokenError::UnknownKey));
        let host = host.with_answer(URL, 200, set("a")).at(1_700_000_009);
        assert_eq!(
            check(&host),
            Err(TokenError::UnknownKey),
            "asked less than ten seconds ago"
        );
        let host = host.at(1_700_000_010);
        assert_eq!(check(&host), Ok(()));
        assert_eq!(host.http.requests().len(), 2);
    }

    #[test]
    fn nonsense_is_refused_and_never_a_panic() {
        let vectors = vectors();
        let key = &vectors["kids"]["a"];
        let deep = "[".repeat(5_000);
        let part = |text: &str| portcullis_guest::base64url(text.as_bytes());
        for header in [
            "{}",
            "[]",
            "null",
            deep.as_str(),
            "{\"alg\":1}",
            "{\"alg\":\"none\"}",
            "{\"alg\":\"HS256\"}",
            "1e999",
        ] {
            assert!(
                check_with(
                    &json!([key]),
                    &format!("{}.{}.AAAA", part(header), part("{}"))
                )
                .is_err()
            );
        }
        for token in ["", ".", "..", "...", "a.b.c", "é.é.é"] {
            assert!(check_with(&json!([key]), token).is_err(), "{token}");
        }
        for set in [
            "",
            "{}",
            "[]",
            "null",
            "{\"keys\":1}",
            "{\"keys\":{}}",
            deep.as_str(),
        ] {
            assert!(KeySet::read(set.as_bytes()).is_err(), "{set:.20}");
        }
        assert!(
            KeySet::read(br#"{"keys":[null,1,"a",[],{},{"kty":"RSA","n":1e300,"e":[]}]}"#).is_ok()
        );
    }
}
