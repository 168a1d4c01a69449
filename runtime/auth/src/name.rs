use serde::Serialize;
use std::fmt;
use std::sync::Arc;

/// A name that does not have the form it must have.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} {rule}")]
pub struct BadName {
    text: String,
    rule: &'static str,
}

/// A provider's name in the configuration, which is the only name the host ever believes:
/// 1 to 64 characters of `[a-z0-9-]`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct ProviderName(Arc<str>);

impl ProviderName {
    /// Checks the form.
    ///
    /// # Errors
    /// Says what a name must look like.
    pub fn new(text: &str) -> Result<Self, BadName> {
        let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        if (1..=64).contains(&text.len()) && text.bytes().all(allowed) {
            return Ok(Self(text.into()));
        }
        let rule = "is no provider name: 1 to 64 characters of a-z, 0-9 and -";
        Err(BadName {
            text: text.to_owned(),
            rule,
        })
    }

    /// Returns the name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ProviderName {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

/// A scope token (RFC 6749 section 3.3): 1 to 128 visible ASCII characters but `"` and `\`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Scope(Arc<str>);

impl Scope {
    /// Checks the form.
    ///
    /// # Errors
    /// Says what a scope must look like.
    pub fn new(text: &str) -> Result<Self, BadName> {
        let allowed = |byte: u8| byte.is_ascii_graphic() && byte != b'"' && byte != b'\\';
        if (1..=128).contains(&text.len()) && text.bytes().all(allowed) {
            return Ok(Self(text.into()));
        }
        let rule = "is no scope: 1 to 128 visible ASCII characters, none of them \" or \\";
        Err(BadName {
            text: text.chars().take(160).collect(),
            rule,
        })
    }

    /// Returns the scope as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_one_form() {
        for good in ["a", "service-keys", "0", &"x".repeat(64)] {
            assert!(ProviderName::new(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "A",
            "a_b",
            "a b",
            "ä",
            "a\n",
            "drain/secret",
            &"x".repeat(65),
        ] {
            assert!(ProviderName::new(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn scopes_are_those_of_the_rfc() {
        for good in ["drain", "metrics.read", "https://example.com/scope"] {
            assert!(Scope::new(good).is_ok(), "{good}");
        }
        for bad in ["", "a b", "a\"b", "a\\b", "a\u{7f}", "é", &"x".repeat(129)] {
            assert!(Scope::new(bad).is_err(), "{bad}");
        }
    }
}
