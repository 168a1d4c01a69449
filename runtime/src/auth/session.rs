use super::{ProviderName, Registered, groups};
use person_text::is_visible;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::sync::Arc;
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
    /// The person's e-mail address; empty where unknown.
    pub email: String,
    /// The name to show; empty where unknown.
    pub display_name: String,
    /// The organisation's identifier; empty where unknown.
    pub org_id: String,
    /// Seconds since the Unix epoch.
    pub expires_at: u64,
    /// Opaque to the host.
    pub access_token: Zeroizing<String>,
    /// Empty: the session cannot be refreshed.
    pub refresh_token: Zeroizing<String>,
    /// Groups, as the identity provider names them. Empty where unknown.
    pub groups: Vec<String>,
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

/// Why the claims of a session cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadSession {
    /// The user id is empty.
    #[error("the session's user is empty")]
    NoUser,
    /// A name or an address longer than such a thing is.
    #[error("the session's {field} has {bytes} bytes (at most {MAX_TEXT_BYTES})")]
    TooLong {
        /// The name of the field.
        field: &'static str,
        /// Its length in bytes.
        bytes: usize,
    },
    /// A token that no cookie could hold.
    #[error("the session's {field} has {bytes} bytes (at most {MAX_TOKEN_BYTES})")]
    LongToken {
        /// The name of the token's field.
        field: &'static str,
        /// Its length in bytes.
        bytes: usize,
    },
    /// Control characters, which forge log lines, and invisible or reordering ones, which make it look like another.
    #[error("the session's {0} has control characters, or invisible or reordering ones")]
    InvisibleCharacters(&'static str),
    /// Space before or after it, which headers drop: it would name another person elsewhere.
    #[error("the session's {0} has space around it")]
    SpaceAround(&'static str),
    /// It is over before it begins.
    #[error("the session ended in the past, at {0}")]
    Expired(u64),
    /// It ends too far in the future.
    #[error("the session ends in more than ten years, at {0}")]
    Endless(u64),
}

impl BadSession {
    /// Returns whether the cause is what the provider knows of one person, so that others can sign in. A token's size is
    /// the provider's own doing.
    pub fn is_of_the_person(&self) -> bool {
        match self {
            Self::NoUser
            | Self::TooLong { .. }
            | Self::InvisibleCharacters(_)
            | Self::SpaceAround(_)
            | Self::Expired(_)
            | Self::Endless(_) => true,
            Self::LongToken { .. } => false,
        }
    }
}

fn check_text(field: &'static str, text: &str) -> Result<(), BadSession> {
    if text.len() > MAX_TEXT_BYTES {
        return Err(BadSession::TooLong { field, bytes: text.len() });
    }
    if text.contains(char::is_control) || !is_only_shown(field) && !is_visible(text) {
        return Err(BadSession::InvisibleCharacters(field));
    }
    if text.trim() != text {
        return Err(BadSession::SpaceAround(field));
    }
    Ok(())
}

/// Names that are shown to people and decide nothing: they may have joiners, and spaces of every width.
fn is_only_shown(field: &str) -> bool {
    matches!(field, "display name" | "organisation")
}

impl SessionClaims {
    /// Whether a session can have this user id.
    pub fn is_user_id(text: &str) -> bool {
        !text.is_empty() && check_text("user", text).is_ok()
    }

    /// Checks what a provider says, and drops the groups that cannot be used.
    ///
    /// # Errors
    /// Says which claim is out of bounds.
    pub fn checked(self, now: u64) -> Result<Self, BadSession> {
        for (field, token) in [("access token", &self.access_token), ("refresh token", &self.refresh_token)] {
            if token.len() > MAX_TOKEN_BYTES {
                return Err(BadSession::LongToken { field, bytes: token.len() });
            }
        }
        let texts = [
            ("user", &self.user_id),
            ("email", &self.email),
            ("display name", &self.display_name),
            ("organisation", &self.org_id),
        ];
        for (field, text) in texts {
            check_text(field, text)?;
        }
        match self.expires_at {
            _ if self.user_id.is_empty() => Err(BadSession::NoUser),
            at if at <= now => Err(BadSession::Expired(at)),
            at if at > now + MAX_LIFE_SECONDS => Err(BadSession::Endless(at)),
            _ => Ok(Self { groups: groups::usable(self.groups), ..self }),
        }
    }
}

/// Names a session for as long as it lives, through every refresh of its tokens. Made by the host.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct SessionId(String);

impl SessionId {
    /// A new one: 128 random bits.
    ///
    /// # Errors
    /// The system gives no random numbers.
    pub fn generate() -> Result<Self, getrandom::Error> {
        let mut bytes = [0; 16];
        getrandom::fill(&mut bytes)?;
        Ok(Self(hex::encode(bytes)))
    }

    /// Reads an identifier from a file or a cookie.
    pub fn written(text: &str) -> Option<Self> {
        let is_one = text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        is_one.then(|| Self(text.to_owned()))
    }

    /// Returns the identifier as text, as files and cookies hold it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A person's session, as the host believes it.
pub struct Session {
    /// The identifier that the host gave it.
    pub id: SessionId,
    /// The provider that opened it, and the only one that is ever asked about it.
    pub provider: ProviderName,
    /// The SHA-256 digest of that provider's component; `None` for a native one.
    pub component: Option<Arc<str>>,
    /// When the person signed in, in seconds since the Unix epoch. It stays through every refresh.
    pub opened_at: u64,
    /// What the provider says of the person, checked.
    pub claims: SessionClaims,
}

impl Session {
    /// The one way from claims to belief: the registered name is stamped on.
    pub(super) fn mint(by: &Registered, id: SessionId, opened_at: u64, claims: SessionClaims) -> Self {
        Self { id, provider: by.name.clone(), component: by.component.clone(), opened_at, claims }
    }

    /// Opens a new session, with a new identifier at each sign-in. `opened_at` is in seconds since the Unix epoch.
    ///
    /// # Errors
    /// The system gives no random numbers.
    pub fn open(by: &Registered, opened_at: u64, claims: SessionClaims) -> Result<Self, getrandom::Error> {
        Ok(Self::mint(by, SessionId::generate()?, opened_at, claims))
    }
}

impl Session {
    /// The same session without its refresh token, which is good once and so cannot be in two places.
    #[must_use]
    pub fn without_refresh_token(&self) -> Self {
        let claims = &self.claims;
        let claims = SessionClaims {
            user_id: claims.user_id.clone(),
            email: claims.email.clone(),
            display_name: claims.display_name.clone(),
            org_id: claims.org_id.clone(),
            expires_at: claims.expires_at,
            access_token: claims.access_token.clone(),
            refresh_token: Zeroizing::default(),
            groups: claims.groups.clone(),
        };
        let Self { id, provider, component, opened_at, .. } = self;
        let (id, provider, component) = (id.clone(), provider.clone(), component.clone());
        Self { id, provider, component, opened_at: *opened_at, claims }
    }
}

impl PartialEq for Session {
    fn eq(&self, other: &Self) -> bool {
        self.id == other.id
    }
}

impl Eq for Session {}

impl fmt::Debug for Session {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { id, provider, claims, .. } = self;
        formatter
            .debug_struct("Session")
            .field("id", id)
            .field("provider", provider)
            .field("claims", claims)
            .finish_non_exhaustive()
    }
}

/// One of a session's two tokens, as a cookie brings it back. Only the host can have made it.
#[derive(Clone, Serialize, Deserialize)]
pub struct SessionToken {
    /// The identifier of the session.
    pub id: SessionId,
    /// The provider that minted the token.
    pub provider: String,
    /// The person: a refresh must not turn one into another.
    pub user_id: String,
    /// Seconds since the Unix epoch: when the access token ends.
    pub expires_at: u64,
    /// When the person signed in, in seconds since the Unix epoch. 0 in a cookie that does not say.
    #[serde(default)]
    pub opened_at: u64,
    /// Milliseconds since the Unix epoch: when the cookie was written. Zero in cookies of earlier releases.
    #[serde(default)]
    pub written_at: u64,
    /// The token's text.
    pub token: Zeroizing<String>,
}

impl SessionToken {
    pub(crate) fn is_of_same_session(&self, other: &Self) -> bool {
        (&self.id, &self.provider, &self.user_id) == (&other.id, &other.provider, &other.user_id)
    }
}

impl fmt::Debug for SessionToken {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("SessionToken")
            .field("id", &self.id)
            .field("provider", &self.provider)
            .finish_non_exhaustive()
    }
}

/// What a request's cookies say of a session.
#[derive(Clone, Debug, Default)]
pub struct PresentedSession {
    /// The access token, if a cookie holds one.
    pub access: Option<SessionToken>,
    /// The refresh token, if a cookie holds one.
    pub refresh: Option<SessionToken>,
    /// Cookies of a session were sent, and no key opens any of them.
    pub is_unreadable: bool,
}

impl PresentedSession {
    /// Whether the request has no cookie of a session at all.
    pub fn is_empty(&self) -> bool {
        self.access.is_none() && self.refresh.is_none() && !self.is_unreadable
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::auth::Registered;

    /// A session of this user.
    pub(in crate::auth) fn a_session(user: &str) -> Session {
        let by = Registered::new(ProviderName::new("basic").unwrap(), [].into());
        Session::open(&by, NOW, session(user, NOW + 60).unwrap()).unwrap()
    }

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
            groups: Vec::new(),
        };
        claims.checked(NOW)
    }

    #[test]
    fn sessions_out_of_bounds_are_refused() {
        assert!(session("ada", NOW + 1).is_ok());
        assert_eq!(session("", NOW + 1).unwrap_err(), BadSession::NoUser);
        assert_eq!(session("ada", NOW).unwrap_err(), BadSession::Expired(NOW));
        assert_eq!(session("ada", u64::MAX).unwrap_err(), BadSession::Endless(u64::MAX));
        assert_eq!(session("a\n", NOW + 1).unwrap_err(), BadSession::InvisibleCharacters("user"));
        assert_eq!(session(" ada", NOW + 1).unwrap_err(), BadSession::SpaceAround("user"));
        assert!(matches!(session(&"a".repeat(257), NOW + 1), Err(BadSession::TooLong { field: "user", .. })));
    }

    #[test]
    fn only_a_token_over_its_size_is_no_fault_of_one_person() {
        for bad in [session("", NOW + 1), session("a\n", NOW + 1), session("ada", NOW)] {
            assert!(bad.unwrap_err().is_of_the_person());
        }
        let claims = session("ada", NOW + 1).unwrap();
        let claims = SessionClaims { access_token: Zeroizing::new("x".repeat(8 * 1024 + 1)), ..claims };
        let bad = claims.checked(NOW).unwrap_err();
        assert_eq!(bad, BadSession::LongToken { field: "access token", bytes: 8 * 1024 + 1 });
        assert!(!bad.is_of_the_person());
    }
}
