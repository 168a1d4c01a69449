//! API keys for machines.
//!
//! The one setting, `keys`, is a list of `{sha256, principal, scopes, expires_at}`. A key itself is
//! never stored: only its SHA-256 digest is, so a leaked configuration contains no key. Keys are
//! long and random (`portcullis secret generate`), so a plain digest is enough: there is nothing to
//! guess.

mod key;

use key::ServiceKey;
use portcullis_guest::{Host, Provider, TokenPrincipal, Unavailable};
use sha2::{Digest, Sha256};

/// Takes API keys that its settings list as digests.
pub struct ServiceKeys;

impl Provider for ServiceKeys {
    fn check_settings(host: &dyn Host) -> Result<(), String> {
        match host.setting_names().iter().find(|name| *name != "keys") {
            Some(unknown) => Err(format!(
                "unknown setting `{unknown}`: the only one is `keys`"
            )),
            None => key::read_all(host).map(drop),
        }
    }

    fn verify_token(host: &dyn Host, token: &str) -> Result<Option<TokenPrincipal>, Unavailable> {
        let Ok(keys) = key::read_all(host) else {
            return Ok(None);
        };
        let digest = Sha256::digest(token);
        // Every key is compared, so the time says nothing about which one matched.
        let found = keys.into_iter().fold(None, |found, key| {
            if key.matches(&digest) {
                Some(key)
            } else {
                found
            }
        });

        Ok(found
            .filter(|key| key.is_live(|| host.now()))
            .map(ServiceKey::into_principal))
    }
}

portcullis_guest::export!(ServiceKeys);

#[cfg(test)]
mod tests {
    use super::*;
    use portcullis_guest::MockHost;

    /// The SHA-256 digest of the text "hello".
    const HELLO: &str = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";

    fn host(keys: &str) -> MockHost {
        MockHost::default().with_setting("keys", keys)
    }

    fn principal_of(host: &MockHost, token: &str) -> Option<TokenPrincipal> {
        ServiceKeys::verify_token(host, token).expect("a list of keys is never out of reach")
    }

    #[test]
    fn known_key_names_its_principal() {
        let host = host(&format!(
            r#"[{{"sha256":"{HELLO}","principal":"ci-bot","scopes":["metrics.read"]}}]"#
        ));
        assert_eq!(
            principal_of(&host, "hello"),
            Some(TokenPrincipal::new("ci-bot", ["metrics.read"]))
        );
        assert_eq!(principal_of(&host, "hello "), None);
        assert_eq!(principal_of(&host, ""), None);
    }

    #[test]
    fn key_stops_at_its_expiry() {
        let keys = format!(
            r#"[{{"sha256":"{HELLO}","principal":"ci-bot","expires_at":"1970-01-01T00:01:00Z"}}]"#
        );
        assert!(principal_of(&host(&keys).at(59), "hello").is_some());
        assert!(principal_of(&host(&keys).at(60), "hello").is_none());
    }

    #[test]
    fn digest_in_capitals_is_the_same_digest() {
        let host = host(&format!(
            r#"[{{"sha256":"{}","principal":"p"}}]"#,
            HELLO.to_uppercase()
        ));
        assert!(principal_of(&host, "hello").is_some());
    }

    #[test]
    fn bad_settings_are_named() {
        let complaint = |keys: &str| ServiceKeys::check_settings(&host(keys)).expect_err(keys);
        assert_eq!(complaint("{}"), "`keys` must be a list");
        assert!(complaint(r#"[{"sha256":"abc","principal":"p"}]"#).starts_with("keys[0].sha256"));
        assert!(
            complaint(r#"[{"sha256":"abc","principle":"p"}]"#)
                .starts_with("keys[0].principle: unknown field; did you mean `principal`?")
        );
        let as_list = format!(r#"[["{HELLO}","p",["m"],null]]"#);
        assert!(complaint(&as_list).starts_with("keys[0]: must be a map with sha256"));
        let twice = format!(
            r#"[{{"sha256":"{HELLO}","principal":"a"}},{{"sha256":"{HELLO}","principal":"b"}}]"#
        );
        assert!(complaint(&twice).starts_with("keys[1].sha256"));
        let nameless = format!(r#"[{{"sha256":"{HELLO}","principal":""}}]"#);
        assert!(complaint(&nameless).starts_with("keys[0].principal"));
        let when = format!(r#"[{{"sha256":"{HELLO}","principal":"p","expires_at":"tomorrow"}}]"#);
        assert!(complaint(&when).starts_with("keys[0].expires_at"));
        let no_keys = ServiceKeys::check_settings(&MockHost::default().with_setting("kyes", "[]"))
            .expect_err("kyes");
        assert!(no_keys.contains("`kyes`"));
    }

    #[test]
    fn no_keys_means_nobody_is_known() {
        assert_eq!(ServiceKeys::check_settings(&MockHost::default()), Ok(()));
        assert_eq!(principal_of(&MockHost::default(), "hello"), None);
    }
}
