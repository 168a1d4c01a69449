use std::fmt;
use zeroize::Zeroizing;

/// Longest name, address or display name of a person, in bytes.
const MAX_TEXT_BYTES: usize = 256;
/// Longest token that a provider may mint, in bytes.
const MAX_TOKEN_BYTES: usize = 8 * 1024;
/// How far ahead a session may end, in seconds: ten years is no session any more.
const MAX_LIFE_SECONDS: u64 = 10 * 366 * 24 * 3600;

/// What a provider says of a person who signed in, as it says it.
pub struct SessionClaims {
    /// A stable identifier of the person.
    pub user_id: String,
    /// Empty where unknown.
    pub email: String,
    /// Empty where unknown.
    pub display_name: String,
    /// Empty where unknown.
    pub org_id: String,
    /// Seconds since the Unix epoch.
    pub expires_at: u64,
    /// Opaque to the host.
    pub access_token: Zeroizing<String>,
    /// Empty: the session cannot be refreshed.
    pub refresh_token: Zeroizing<String>,
}

impl fmt::Debug for SessionClaims {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("SessionClaims")
            .field("user_id", &self.user_id)
            .field("expires_at", &self.expires_at)
            .finish_non_exhaustive()
    }
}

/// A session that no host believes, whoever vouches for it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadSession {
    /// Nobody is nobody.
    #[error("the session's user is empty")]
    NoUser,
    /// Longer than such a thing is.
    #[error("the session's {field} has {bytes} bytes (at most {limit})")]
    TooLong {
        /// Which field.
        field: &'static str,
        /// How long.
        bytes: usize,
        /// How long it may be.
        limit: usize,
    },
    /// Control characters, which forge log lines and terminals.
    #[error("the session's {0} has control characters")]
    ControlCharacters(&'static str),
    /// It is over before it begins.
    #[error("the session ended in the past, at {0}")]
    Expired(u64),
    /// It never ends.
    #[error("the session ends in more than ten years, at {0}")]
    Endless(u64),
}

impl SessionClaims {
    /// Checks what a provider says.
    ///
    /// # Errors
    /// Says which claim is out of bounds.
    pub fn checked(self, now: u64) -> Result<Self, BadSession> {
        let texts = [
            ("user", &self.user_id),
            ("email", &self.email),
            ("display name", &self.display_name),
            ("organisation", &self.org_id),
        ];
        for (field, text) in texts {
            check_length(field, text, MAX_TEXT_BYTES)?;
            if text.contains(char::is_control) {
                return Err(BadSession::ControlCharacters(field));
            }
        }
        check_length("access token", &self.access_token, MAX_TOKEN_BYTES)?;
        check_length("refresh token", &self.refresh_token, MAX_TOKEN_BYTES)?;
        match self.expires_at {
            _ if self.user_id.is_empty() => Err(BadSession::NoUser),
            at if at <= now => Err(BadSession::Expired(at)),
            at if at > now + MAX_LIFE_SECONDS => Err(BadSession::Endless(at)),
            _ => Ok(self),
        }
    }
}

fn check_length(field: &'static str, text: &str, limit: usize) -> Result<(), BadSession> {
    match text.len() {
        bytes if bytes > limit => Err(BadSession::TooLong { field, bytes, limit }),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_000_000_000;

    fn session(user: &str, expires_at: u64) -> Result<SessionClaims, BadSession> {
        let empty = String::new;
        let claims = SessionClaims {
            user_id: user.to_owned(),
            email: empty(),
            display_name: empty(),
            org_id: empty(),
            expires_at,
            access_token: Zeroizing::default(),
            refresh_token: Zeroizing::default(),
        };
        claims.checked(NOW)
    }

    #[test]
    fn sessions_out_of_bounds_are_refused() {
        assert!(session("ada", NOW + 1).is_ok());
        assert_eq!(session("", NOW + 1).unwrap_err(), BadSession::NoUser);
        assert_eq!(session("ada", NOW).unwrap_err(), BadSession::Expired(NOW));
        assert_eq!(session("ada", u64::MAX).unwrap_err(), BadSession::Endless(u64::MAX));
        assert_eq!(session("a\n", NOW + 1).unwrap_err(), BadSession::ControlCharacters("user"));
        assert!(matches!(session(&"a".repeat(257), NOW + 1), Err(BadSession::TooLong { field: "user", .. })));
    }
}
