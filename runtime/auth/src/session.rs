use super::{ProviderName, Registered, groups};
use person_text::{is_reordering, is_visible};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::ops::Deref;
use std::sync::Arc;
use zeroize::Zeroizing;

/// Longest name, address or display name of a person, in bytes.
const MAX_TEXT_BYTES: usize = 256;
/// Longest token that a provider may mint, in bytes.
const MAX_TOKEN_BYTES: usize = 8 * 1024;
/// How far ahead a session may end, in seconds: ten years is no session any more.
const MAX_LIFE_SECONDS: u64 = 10 * 366 * 24 * 3600;

/// What a provider says of a person who signed in, as it says it. [`SessionClaims::checked`] makes
/// [`CheckedClaims`] of it.
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
    /// Control characters, which forge log lines, and invisible or reordering ones, which make it
    /// look like another.
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
    /// Returns whether the cause is what the provider knows of one person, so that others can sign
    /// in. A token's size is the provider's own doing.
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

/// What the host does with a text of the claims.
#[derive(Clone, Copy)]
enum TextUse {
    /// It names the person in rules, headers and logs.
    Names,
    /// It is shown to people and decides nothing: it may have joiners, and spaces of every width.
    /// What reorders the text around it is removed.
    Shown,
}

fn check_text(field: &'static str, text: &str, text_use: TextUse) -> Result<(), BadSession> {
    if text.len() > MAX_TEXT_BYTES {
        return Err(BadSession::TooLong {
            field,
            bytes: text.len(),
        });
    }

    let is_readable = match text_use {
        TextUse::Names => is_visible(text),
        TextUse::Shown => true,
    };
    if text.contains(char::is_control) || !is_readable {
        return Err(BadSession::InvisibleCharacters(field));
    }

    if text.trim() != text {
        return Err(BadSession::SpaceAround(field));
    }

    Ok(())
}

/// Removes what reorders the text around it (see [`is_reordering`]).
fn in_order(text: String) -> String {
    if text.contains(is_reordering) {
        text.replace(is_reordering, "").trim().to_owned()
    } else {
        text
    }
}

impl SessionClaims {
    /// Returns whether a session can have this user id.
    pub fn is_user_id(text: &str) -> bool {
        !text.is_empty() && check_text("user", text, TextUse::Names).is_ok()
    }

    /// Checks what a provider says, and drops the groups that cannot be used.
    ///
    /// # Errors
    /// Says which claim is out of bounds.
    pub fn checked(self, now: u64) -> Result<CheckedClaims, BadSession> {
        for (field, token) in [
            ("access token", &self.access_token),
            ("refresh token", &self.refresh_token),
        ] {
            if token.len() > MAX_TOKEN_BYTES {
                return Err(BadSession::LongToken {
                    field,
                    bytes: token.len(),
                });
            }
        }

        let texts = [
            ("user", &self.user_id, TextUse::Names),
            ("email", &self.email, TextUse::Names),
            ("display name", &self.display_name, TextUse::Shown),
            ("organisation", &self.org_id, TextUse::Shown),
        ];
        for (field, text, text_use) in texts {
            check_text(field, text, text_use)?;
        }

        match self.expires_at {
            _ if self.user_id.is_empty() => Err(BadSession::NoUser),
            at if at <= now => Err(BadSession::Expired(at)),
            at if at > now + MAX_LIFE_SECONDS => Err(BadSession::Endless(at)),
            _ => Ok(CheckedClaims(Self {
                display_name: in_order(self.display_name),
                org_id: in_order(self.org_id),
                groups: groups::usable(self.groups),
                ..self
            })),
        }
    }
}

/// Claims within the bounds of a session. [`SessionClaims::checked`] alone makes them of what a
/// provider says.
///
/// ```
/// use portcullis_auth::{BadSession, CheckedClaims, SessionClaims};
///
/// fn checked(claims: SessionClaims) -> Result<CheckedClaims, BadSession> {
///     claims.checked(1_000_000_000)
/// }
/// ```
///
/// Unchecked claims cannot be wrapped by hand, since the field is private:
///
/// ```compile_fail,E0423
/// use portcullis_auth::{BadSession, CheckedClaims, SessionClaims};
///
/// fn checked(claims: SessionClaims) -> Result<CheckedClaims, BadSession> {
///     Ok(CheckedClaims(claims))
/// }
/// ```
#[derive(Debug)]
pub struct CheckedClaims(SessionClaims);

impl CheckedClaims {
    /// Returns the claims without either token.
    #[must_use]
    pub fn without_tokens(&self) -> Self {
        self.copied(Zeroizing::default())
    }

    /// Returns the claims with the access token of a session that continues, and without a refresh
    /// token.
    pub(super) fn with_access_token_of(self, token: &SessionToken) -> Self {
        let access_token = token.token.clone();
        Self(SessionClaims {
            access_token,
            refresh_token: Zeroizing::default(),
            ..self.0
        })
    }

    fn without_refresh_token(&self) -> Self {
        self.copied(self.access_token.clone())
    }

    fn copied(&self, access_token: Zeroizing<String>) -> Self {
        Self(SessionClaims {
            user_id: self.user_id.clone(),
            email: self.email.clone(),
            display_name: self.display_name.clone(),
            org_id: self.org_id.clone(),
            expires_at: self.expires_at,
            access_token,
            refresh_token: Zeroizing::default(),
            groups: self.groups.clone(),
        })
    }
}

impl Deref for CheckedClaims {
    type Target = SessionClaims;

    fn deref(&self) -> &SessionClaims {
        &self.0
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
///
/// A session is opened with claims that were checked:
///
/// ```
/// use portcullis_auth::{CheckedClaims, Registered, Session};
///
/// fn opened(registered: &Registered, claims: CheckedClaims) -> Option<Session> {
///     Session::open(registered, 1_000_000_000, claims).ok()
/// }
/// ```
///
/// Unchecked claims do not compile:
///
/// ```compile_fail,E0308
/// use portcullis_auth::{Registered, Session, SessionClaims};
///
/// fn opened(registered: &Registered, claims: SessionClaims) -> Option<Session> {
///     Session::open(registered, 1_000_000_000, claims).ok()
/// }
/// ```
///
/// Neither does a handmade session, since the fields are private:
///
/// ```compile_fail,E0451
/// use portcullis_auth::{CheckedClaims, ProviderName, Session, SessionId};
///
/// fn forged(id: SessionId, provider: ProviderName, claims: CheckedClaims) -> Session {
///     Session { id, provider, component: None, opened_at: 1_000_000_000, claims }
/// }
/// ```
pub struct Session {
    id: SessionId,
    provider: ProviderName,
    component: Option<Arc<str>>,
    opened_at: u64,
    claims: CheckedClaims,
}

impl Session {
    /// The one way from claims to belief: the registered name is stamped on.
    pub(super) fn mint(
        registered: &Registered,
        id: SessionId,
        opened_at: u64,
        claims: CheckedClaims,
    ) -> Self {
        Self {
            id,
            provider: registered.name.clone(),
            component: registered.component.clone(),
            opened_at,
            claims,
        }
    }

    /// Opens a new session, with a new identifier at each sign-in. `opened_at` is in seconds since
    /// the Unix epoch.
    ///
    /// # Errors
    /// The system gives no random numbers.
    pub fn open(
        registered: &Registered,
        opened_at: u64,
        claims: CheckedClaims,
    ) -> Result<Self, getrandom::Error> {
        Ok(Self::mint(
            registered,
            SessionId::generate()?,
            opened_at,
            claims,
        ))
    }

    /// Returns the session with another time of sign-in, in seconds since the Unix epoch.
    #[must_use]
    pub fn with_opened_at(self, opened_at: u64) -> Self {
        Self { opened_at, ..self }
    }

    /// Returns the identifier that the host gave the session.
    pub fn id(&self) -> &SessionId {
        &self.id
    }

    /// Returns the provider that opened the session, which is the only one that is asked about it.
    pub fn provider(&self) -> &ProviderName {
        &self.provider
    }

    /// Returns the SHA-256 digest of that provider's component; `None` for a native provider.
    pub fn component(&self) -> Option<&str> {
        self.component.as_deref()
    }

    /// Returns when the person signed in, in seconds since the Unix epoch. It stays through every
    /// refresh.
    pub fn opened_at(&self) -> u64 {
        self.opened_at
    }

    /// Returns what the provider says of the person, checked.
    pub fn claims(&self) -> &CheckedClaims {
        &self.claims
    }

    /// The same session without its refresh token, which is good once and so cannot be in two
    /// places.
    #[must_use]
    pub fn without_refresh_token(&self) -> Self {
        Self {
            id: self.id.clone(),
            provider: self.provider.clone(),
            component: self.component.clone(),
            opened_at: self.opened_at,
            claims: self.claims.without_refresh_token(),
        }
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
        let Self {
            id,
            provider,
            claims,
            ..
        } = self;
        formatter
            .debug_struct("Session")
            .field("id", id)
            .field("provider", provider)
            .field("claims", claims)
            .finish_non_exhaustive()
    }
}

/// One of a session's two tokens, as a cookie brings it back. It is made of a session, or read from
/// a cookie that the host sealed.
///
/// ```
/// use portcullis_auth::{Session, SessionToken};
///
/// fn made(session: &Session) -> SessionToken {
///     SessionToken::access_of(session, 1_000_000_000_000)
/// }
/// ```
///
/// A handmade token does not compile, since the fields are private:
///
/// ```compile_fail,E0451
/// use portcullis_auth::{Session, SessionToken};
///
/// fn forged(session: &Session) -> SessionToken {
///     SessionToken { user_id: "root".to_owned(), ..SessionToken::access_of(session, 1_000_000_000_000) }
/// }
/// ```
#[derive(Clone, Serialize, Deserialize)]
pub struct SessionToken {
    id: SessionId,
    provider: String,
    user_id: String,
    expires_at: u64,
    /// 0 in a cookie that does not say.
    #[serde(default)]
    opened_at: u64,
    /// 0 in a cookie that does not say.
    #[serde(default)]
    written_at: u64,
    token: Zeroizing<String>,
}

impl SessionToken {
    /// Makes the access token of a session. `written_at` is when the cookie is written, in
    /// milliseconds since the Unix epoch.
    pub fn access_of(session: &Session, written_at: u64) -> Self {
        Self::of(session, &session.claims.access_token, written_at)
    }

    /// Makes the refresh token of a session. `None`: the session cannot be refreshed.
    pub fn refresh_of(session: &Session, written_at: u64) -> Option<Self> {
        let token = &session.claims.refresh_token;
        (!token.is_empty()).then(|| Self::of(session, token, written_at))
    }

    fn of(session: &Session, token: &Zeroizing<String>, written_at: u64) -> Self {
        Self {
            id: session.id.clone(),
            provider: session.provider.to_string(),
            user_id: session.claims.user_id.clone(),
            expires_at: session.claims.expires_at,
            opened_at: session.opened_at,
            written_at,
            token: token.clone(),
        }
    }

    /// Returns the identifier of the session.
    pub fn id(&self) -> &SessionId {
        &self.id
    }

    /// Returns the name of the provider that minted the token.
    pub fn provider(&self) -> &str {
        &self.provider
    }

    /// Returns the person. A refresh must not turn one person into another.
    pub fn user_id(&self) -> &str {
        &self.user_id
    }

    /// Returns when the access token ends, in seconds since the Unix epoch.
    pub fn expires_at(&self) -> u64 {
        self.expires_at
    }

    /// Returns when the person signed in, in seconds since the Unix epoch. 0: the cookie does not
    /// say.
    pub fn opened_at(&self) -> u64 {
        self.opened_at
    }

    /// Returns when the cookie was written, in milliseconds since the Unix epoch. 0: the cookie
    /// does not say.
    pub fn written_at(&self) -> u64 {
        self.written_at
    }

    /// Returns the text of the token, for the provider that minted it.
    pub fn expose(&self) -> &str {
        &self.token
    }

    /// Returns whether both tokens are of one session of one person.
    pub fn is_of_same_session(&self, other: &Self) -> bool {
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
    /// Returns whether the request has no cookie of a session at all.
    pub fn is_empty(&self) -> bool {
        self.access.is_none() && self.refresh.is_none() && !self.is_unreadable
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::Registered;

    /// A session of this user.
    pub(crate) fn a_session(user: &str) -> Session {
        a_session_of(claims(user, NOW + 60))
    }

    /// A session of the person with these claims.
    pub(crate) fn a_session_of(claims: SessionClaims) -> Session {
        let registered = Registered::new(ProviderName::new("basic").unwrap(), [].into());
        Session::open(&registered, NOW, claims.checked(NOW).unwrap()).unwrap()
    }

    /// The same session with an access token that ends this many seconds later.
    pub(crate) fn renewed(session: &Session, seconds: u64) -> Session {
        let mut renewed = session.without_refresh_token();
        renewed.claims.0.expires_at += seconds;
        renewed
    }

    pub(crate) const NOW: u64 = 1_000_000_000;

    /// Claims of this user, as a provider says them.
    pub(crate) fn claims(user: &str, expires_at: u64) -> SessionClaims {
        let empty = String::new;
        SessionClaims {
            user_id: user.to_owned(),
            email: empty(),
            display_name: empty(),
            org_id: empty(),
            expires_at,
            access_token: Zeroizing::default(),
            refresh_token: Zeroizing::default(),
            groups: Vec::new(),
        }
    }

    fn session(user: &str, expires_at: u64) -> Result<CheckedClaims, BadSession> {
        claims(user, expires_at).checked(NOW)
    }

    #[test]
    fn sessions_out_of_bounds_are_refused() {
        assert!(session("ada", NOW + 1).is_ok());
        assert_eq!(session("", NOW + 1).unwrap_err(), BadSession::NoUser);
        assert_eq!(session("ada", NOW).unwrap_err(), BadSession::Expired(NOW));
        assert_eq!(
            session("ada", u64::MAX).unwrap_err(),
            BadSession::Endless(u64::MAX)
        );
        assert_eq!(
            session("a\n", NOW + 1).unwrap_err(),
            BadSession::InvisibleCharacters("user")
        );
        assert_eq!(
            session(" ada", NOW + 1).unwrap_err(),
            BadSession::SpaceAround("user")
        );
        assert!(matches!(
            session(&"a".repeat(257), NOW + 1),
            Err(BadSession::TooLong { field: "user", .. })
        ));
    }

    #[test]
    fn shown_names_do_not_reorder_what_stands_around_them() {
        for (said, shown) in [
            ("Ada L.", "Ada L."),
            ("x\u{202e}gnp\u{2066}y", "xgnpy"),
            ("\u{202a} Ada \u{202c}", "Ada"),
            ("\u{2067}", ""),
        ] {
            let claims = SessionClaims {
                display_name: said.to_owned(),
                org_id: said.to_owned(),
                ..claims("ada", NOW + 1)
            };
            let checked = claims.checked(NOW).unwrap();
            assert_eq!(
                (checked.display_name.as_str(), checked.org_id.as_str()),
                (shown, shown)
            );
        }
        assert_eq!(
            session("a\u{202e}da", NOW + 1).unwrap_err(),
            BadSession::InvisibleCharacters("user")
        );
    }

    #[test]
    fn only_a_token_over_its_size_is_no_fault_of_one_person() {
        for bad in [
            session("", NOW + 1),
            session("a\n", NOW + 1),
            session("ada", NOW),
        ] {
            assert!(bad.unwrap_err().is_of_the_person());
        }
        let access_token = Zeroizing::new("x".repeat(8 * 1024 + 1));
        let claims = SessionClaims {
            access_token,
            ..claims("ada", NOW + 1)
        };
        let bad = claims.checked(NOW).unwrap_err();
        assert_eq!(
            bad,
            BadSession::LongToken {
                field: "access token",
                bytes: 8 * 1024 + 1
            }
        );
        assert!(!bad.is_of_the_person());
    }
}
