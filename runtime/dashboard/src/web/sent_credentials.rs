//! The credentials that a request was sent with, after the gate has removed them.
//!
//! **Invariant:** they only answer whether a text contains one of them.

use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use portcullis_auth::BearerToken;
use std::sync::Arc;

/// The header in which the page sends the token of the process.
pub(super) const SESSION_TOKEN: &str = "x-hermes-session-token";
/// Shortest credential that is looked for, in bytes. A shorter one is a part of common words, and
/// keeps nothing secret.
const MIN_BYTES: usize = 8;

/// The bearer token and the page's token of one request. Cookies are not among them: a sealed one
/// is longer than any text that a request may have.
#[derive(Clone, Debug, Default)]
pub(super) struct SentCredentials(Arc<[BearerToken]>);

impl SentCredentials {
    pub(super) fn of(headers: &HeaderMap) -> Self {
        let bearers = headers
            .get_all(AUTHORIZATION)
            .iter()
            .filter_map(|value| BearerToken::from_headers([value.as_bytes()]).ok());
        let of_the_page = headers
            .get_all(SESSION_TOKEN)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .map(|text| BearerToken::by_hand(text.trim().to_owned()));
        let found = bearers
            .chain(of_the_page)
            .filter(|token| token.expose().len() >= MIN_BYTES);
        Self(found.collect())
    }

    /// Returns whether a text contains one of them.
    pub(super) fn are_in(&self, text: &str) -> bool {
        self.0.iter().any(|token| text.contains(token.expose()))
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use axum::http::{HeaderName, HeaderValue};

    /// Those of a request with this header.
    pub(in crate::web) fn sent(name: &'static str, value: &'static str) -> SentCredentials {
        let mut headers = HeaderMap::new();
        headers.insert(
            HeaderName::from_static(name),
            HeaderValue::from_static(value),
        );
        SentCredentials::of(&headers)
    }

    #[test]
    fn credential_is_found_wherever_a_text_has_it() {
        for (name, value) in [
            ("authorization", "Bearer s3cret-of-ci"),
            ("authorization", "bearer  s3cret-of-ci "),
            ("x-hermes-session-token", " s3cret-of-ci"),
        ] {
            let sent = sent(name, value);
            for text in ["s3cret-of-ci", "own-s3cret-of-ci", "s3cret-of-ci, again"] {
                assert!(sent.are_in(text), "{name}: {text}");
            }
            for text in ["", "s3cret-of-c", "S3CRET-OF-CI"] {
                assert!(!sent.are_in(text), "{name}: {text}");
            }
        }
    }

    #[test]
    fn what_is_no_credential_or_a_common_word_refuses_no_text() {
        for (name, value) in [
            ("authorization", "Basic dXNlcjpwYXNzd29yZA=="),
            ("authorization", "Bearer disk"),
            ("x-hermes-session-token", ""),
        ] {
            let sent = sent(name, value);
            assert!(!sent.are_in("disk full, dXNlcjpwYXNzd29yZA=="), "{value}");
        }
        assert!(!SentCredentials::default().are_in("upgrade"));
    }
}
