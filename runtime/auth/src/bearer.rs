use std::fmt;
use zeroize::Zeroizing;

/// Longest `Authorization` value that is looked at, in bytes.
pub const MAX_HEADER_BYTES: usize = 8 * 1024;

/// A bearer token (RFC 6750) as a caller sent it.
///
/// It cannot be printed, serialised or compared: code that needs the text says so with
/// [`expose`](Self::expose), and a host secret is compared with
/// [`SecretDigest::matches`](super::SecretDigest::matches). The memory is wiped when it is dropped.
#[derive(Clone)]
pub struct BearerToken(Zeroizing<String>);

/// Why a request carries no bearer token. The caller only ever sees a 401; this is for the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoBearer {
    /// There is no `Authorization` header.
    #[error("no Authorization header")]
    Missing,
    /// There are two or more `Authorization` headers, and it is undefined which one applies.
    #[error("more than one Authorization header")]
    Repeated,
    /// The header is longer than [`MAX_HEADER_BYTES`].
    #[error("Authorization header over {MAX_HEADER_BYTES} bytes")]
    TooLong,
    /// The header is not visible ASCII text of the form `scheme token`.
    #[error("malformed Authorization header")]
    Malformed,
    /// Another scheme than `bearer`.
    #[error("Authorization scheme is not bearer")]
    OtherScheme,
    /// The scheme without a token.
    #[error("empty bearer token")]
    Empty,
}

impl BearerToken {
    /// Reads the token out of all the `Authorization` values of a request: scheme `bearer` in any
    /// case, one space, the rest trimmed.
    ///
    /// # Errors
    /// Says why there is no token.
    pub fn from_headers<'a>(values: impl IntoIterator<Item = &'a [u8]>) -> Result<Self, NoBearer> {
        let mut values = values.into_iter();
        let value = values.next().ok_or(NoBearer::Missing)?;
        if values.next().is_some() {
            return Err(NoBearer::Repeated);
        }

        if value.len() > MAX_HEADER_BYTES {
            return Err(NoBearer::TooLong);
        }

        let text = std::str::from_utf8(value).map_err(|_| NoBearer::Malformed)?;
        let (scheme, token) = text.split_once(' ').ok_or(NoBearer::Malformed)?;
        if !scheme.eq_ignore_ascii_case("bearer") {
            return Err(NoBearer::OtherScheme);
        }

        // Other white space than this is part of the token (RFC 9110, section 5.6.3).
        match token.trim_matches([' ', '\t']) {
            "" => Err(NoBearer::Empty),
            token if token.contains(char::is_control) => Err(NoBearer::Malformed),
            token => Ok(Self(Zeroizing::new(token.to_owned()))),
        }
    }

    /// Makes a token that did not come with a request, but from an author's or operator's command.
    pub fn by_hand(token: String) -> Self {
        Self(Zeroizing::new(token))
    }

    /// Returns the text, for a provider to verify.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for BearerToken {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("BearerToken(redacted)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token_of(values: &[&str]) -> Result<String, NoBearer> {
        let token = BearerToken::from_headers(values.iter().map(|value| value.as_bytes()))?;
        Ok(token.expose().to_owned())
    }

    #[test]
    fn scheme_is_bearer_in_any_case() {
        for value in [
            "Bearer abc123",
            "bearer abc123",
            "BEARER abc123",
            "Bearer   abc123  ",
        ] {
            assert_eq!(token_of(&[value]).as_deref(), Ok("abc123"), "{value:?}");
        }
    }

    #[test]
    fn token_is_not_printed() {
        let token = BearerToken::by_hand("canary-8642".to_owned());
        assert!(!format!("{token:?}").contains("canary"));
    }

    #[test]
    fn white_space_of_other_scripts_is_part_of_the_token() {
        for space in ["\u{a0}", "\u{2003}", "\u{3000}"] {
            let token = format!("{space}abc123{space}");
            assert_eq!(token_of(&[&format!("Bearer {token}")]), Ok(token));
        }
    }

    #[test]
    fn anything_else_is_no_token_and_says_why() {
        let long = format!("Bearer {}", "a".repeat(MAX_HEADER_BYTES));
        for (values, why) in [
            (vec![], NoBearer::Missing),
            (vec!["Bearer a", "Bearer a"], NoBearer::Repeated),
            (vec![long.as_str()], NoBearer::TooLong),
            (vec![""], NoBearer::Malformed),
            (vec!["abc123"], NoBearer::Malformed),
            (vec!["Bearer\tabc"], NoBearer::Malformed),
            (vec!["Bearer a\u{1}b"], NoBearer::Malformed),
            (vec!["Basic abc123"], NoBearer::OtherScheme),
            (vec![" Bearer abc"], NoBearer::OtherScheme),
            (vec!["Bearer "], NoBearer::Empty),
            (vec!["Bearer    "], NoBearer::Empty),
        ] {
            assert_eq!(token_of(&values), Err(why), "{values:?}");
        }
        assert_eq!(
            BearerToken::from_headers([&b"Bearer \xff"[..]]).err(),
            Some(NoBearer::Malformed)
        );
    }

    #[test]
    fn longest_header_still_counts() {
        let value = format!("Bearer {}", "a".repeat(MAX_HEADER_BYTES - "Bearer ".len()));
        assert!(token_of(&[&value]).is_ok());
    }

    #[test]
    fn debug_shows_no_token() {
        let token = BearerToken::by_hand("hunter2".to_owned());
        assert!(!format!("{token:?}").contains("hunter2"));
    }
}
