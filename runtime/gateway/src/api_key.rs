//! The key that callers of the gateway's HTTP port present.

use sha2::{Digest, Sha256};
use std::fmt;
use subtle::ConstantTimeEq;

/// The SHA-256 digest of the key. Digests have one size, so a comparison does not reveal the key's
/// length.
#[derive(Clone)]
pub struct ApiKey([u8; 32]);

impl ApiKey {
    /// Takes the key itself.
    pub fn of(key: &str) -> Self {
        Self(Sha256::digest(key.as_bytes()).into())
    }

    /// Compares in constant time.
    pub(super) fn matches(&self, presented: &str) -> bool {
        self.0.ct_eq(&Self::of(presented).0).into()
    }

    /// Returns whether this `Authorization` header is `Bearer KEY` with this key.
    pub(super) fn is_in(&self, authorization: &str) -> bool {
        let parts = authorization.split_once(' ');
        parts.is_some_and(|(scheme, key)| {
            scheme.eq_ignore_ascii_case("bearer") && self.matches(key.trim_matches(' '))
        })
    }
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("ApiKey(redacted)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_bearer_with_the_key_is_accepted() {
        let key = ApiKey::of("0123456789abcdef");
        for good in [
            "Bearer 0123456789abcdef",
            "bearer 0123456789abcdef",
            "BEARER  0123456789abcdef ",
        ] {
            assert!(key.is_in(good), "{good}");
        }
        for bad in [
            "",
            "Bearer",
            "Bearer ",
            "0123456789abcdef",
            "Basic 0123456789abcdef",
            "Bearer 0123456789abcde",
        ] {
            assert!(!key.is_in(bad), "{bad}");
        }
    }
}
