use super::{BearerToken, CallFault, CheckedClaims, Claims};
use std::pin::Pin;
use std::time::{Duration, Instant};

/// A future behind a pointer, so that native and sandboxed providers stand in one list.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// What a provider made of a bearer token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TokenVerdict {
    /// "Not mine": the next provider is asked. This is an answer, not an error.
    NotRecognized,
    /// The provider vouches for the caller, by a name or with scopes that the host cannot use, and
    /// why (bounded, control characters escaped). The caller is refused as if the token was
    /// unknown. It says nothing of how well the provider works.
    Unusable(String),
    /// The provider vouches for the caller.
    Recognized(Claims),
}

/// What a provider made of an access token.
#[derive(Debug)]
pub enum SessionVerdict {
    /// The session is unknown, or over.
    NotRecognized,
    /// The provider vouches for a person whose claims the host cannot use, and why (a sentence
    /// without the claims).
    Unusable(String),
    /// The provider vouches for the person.
    Recognized(CheckedClaims),
}

impl SessionVerdict {
    /// Returns the claims that the host can use.
    pub fn recognized(self) -> Option<CheckedClaims> {
        match self {
            Self::Recognized(claims) => Some(claims),
            Self::NotRecognized | Self::Unusable(_) => None,
        }
    }
}

/// Why a provider gave no verdict. A guest can only ever say [`Unavailable`](Self::Unavailable) of
/// itself; the host names every other fault.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProviderFault {
    /// The provider's backing store is out of reach, in its own words (bounded, control characters
    /// escaped).
    #[error("unavailable: {0}")]
    Unavailable(String),
    /// All slots of the provider stayed taken while the call waited.
    #[error("saturated: {limit} {unit}")]
    Saturated {
        /// The most that may be in use at once.
        limit: usize,
        /// What the limit counts, such as calls.
        unit: &'static str,
    },
    /// The time for the whole chain was used up, by providers before it or in waiting for another
    /// caller's call: it was cut off early.
    #[error("no time left: it was used up before")]
    NoTimeLeft,
    /// Repeated faults have shut the provider out: it was not asked.
    #[error("quarantined: asked again in {} ms", retry_in.as_millis())]
    Quarantined {
        /// When it is asked again at the earliest.
        retry_in: Duration,
    },
    /// The call did not end within its deadline, wall clock.
    #[error("deadline of {} ms exceeded", limit.as_millis())]
    DeadlineExceeded {
        /// The deadline that was in force.
        limit: Duration,
    },
    /// The call wanted more memory (or tables, or instances) than it may have.
    #[error("out of memory: wanted {wanted} {unit}, limit {limit}")]
    OutOfMemory {
        /// How much it asked for.
        wanted: usize,
        /// How much it may have.
        limit: usize,
        /// What the limit counts, such as calls.
        unit: &'static str,
    },
    /// The guest trapped, with the trap's text.
    #[error("trapped: {0}")]
    Trapped(String),
    /// The answer is not one that the host accepts: too large, not what the contract says, or with
    /// a credential where a name belongs. A claim that is out of bounds is no fault: see
    /// [`TokenVerdict::Unusable`].
    #[error("malformed answer: {0}")]
    Malformed(String),
    /// The host's own code around the guest panicked. Only this call is affected.
    #[error("host error: {0}")]
    Host(String),
}

impl ProviderFault {
    /// Returns whether the provider could neither confirm nor deny, so that "try later" is the
    /// right answer. After any other fault a retry does not help.
    pub(crate) fn is_outage(&self) -> bool {
        match self {
            Self::Unavailable(_)
            | Self::Saturated { .. }
            | Self::Quarantined { .. }
            | Self::NoTimeLeft
            | Self::DeadlineExceeded { .. } => true,
            Self::OutOfMemory { .. } | Self::Trapped(_) | Self::Malformed(_) | Self::Host(_) => {
                false
            }
        }
    }

    /// Returns whether the provider was not asked, or not given its time, so that the fault says
    /// nothing about it.
    pub fn is_without_asking(&self) -> bool {
        matches!(
            self,
            Self::Saturated { .. } | Self::Quarantined { .. } | Self::NoTimeLeft
        )
    }

    /// Returns whether the fault counts towards the provider's quarantine. A store that is out of
    /// reach does not.
    pub fn is_own_doing(&self) -> bool {
        match self {
            Self::Unavailable(_)
            | Self::Saturated { .. }
            | Self::Quarantined { .. }
            | Self::NoTimeLeft => false,
            Self::DeadlineExceeded { .. }
            | Self::OutOfMemory { .. }
            | Self::Trapped(_)
            | Self::Malformed(_)
            | Self::Host(_) => true,
        }
    }

    /// Returns the fault's name in metrics and audit lines.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Unavailable(_) => "unavailable",
            Self::Saturated { .. } => "saturated",
            Self::Quarantined { .. } => "quarantined",
            Self::NoTimeLeft => "no_time_left",
            Self::DeadlineExceeded { .. } => "deadline_exceeded",
            Self::OutOfMemory { .. } => "out_of_memory",
            Self::Trapped(_) => "trapped",
            Self::Malformed(_) => "malformed",
            Self::Host(_) => "host",
        }
    }
}

/// Verifies bearer tokens of machines.
pub trait TokenProvider: Send + Sync {
    /// Returns the principal of a token. Answers by `by` at the latest; the provider's own deadline
    /// may be earlier.
    ///
    /// # Errors
    /// The provider gave no verdict.
    fn verify_token<'a>(
        &'a self,
        token: &'a BearerToken,
        deadline: Instant,
    ) -> BoxFuture<'a, Result<TokenVerdict, CallFault>>;
}

/// What a provider made of a user name and a password.
#[derive(Debug)]
pub enum PasswordVerdict {
    /// No such user, or not that user's password. The answer does not say which.
    InvalidCredentials,
    /// The person is who they say, but the host cannot use what the provider says of them, and why
    /// (a sentence without the claims).
    Unusable(String),
    /// The person is who they say.
    SignedIn(CheckedClaims),
}

/// What a redirect provider gets when a sign-in begins.
#[derive(Clone)]
pub struct LoginRequest {
    /// Where the identity provider sends the browser afterwards.
    pub redirect_uri: String,
    /// Comes back with the browser.
    pub state: String,
    /// Comes back inside the ID token.
    pub nonce: String,
    /// RFC 7636, method S256.
    pub code_challenge: String,
}

/// What came back with the browser, and what the host kept for it.
#[derive(Clone)]
pub struct LoginResponse {
    /// The one that the sign-in began with.
    pub redirect_uri: String,
    /// The authorization code to redeem.
    pub code: String,
    /// The one that the sign-in began with.
    pub nonce: String,
    /// What the challenge was made of.
    pub code_verifier: String,
    /// The `iss` of RFC 9207, if there was one.
    pub issuer: Option<String>,
}

/// How the reason of a provider begins that knows a person and does not let them in. The name of
/// the person follows, then a colon and the rest of the reason.
pub const NOT_ALLOWED: &str = "not allowed: ";

/// What a provider made of a code.
#[derive(Debug)]
pub enum CodeVerdict {
    /// It is not to be believed, in the provider's own words (bounded, control characters escaped).
    /// Words that begin with [`NOT_ALLOWED`] are about a person who is known and may not enter.
    InvalidCode(String),
    /// The code is good, but the host cannot use what the provider says of the person, and why (a
    /// sentence without the claims).
    Unusable(String),
    /// The person is who the identity provider says.
    SignedIn(CheckedClaims),
}

/// What a provider made of a refresh token.
#[derive(Debug)]
pub enum RefreshVerdict {
    /// The session is over.
    Expired,
    /// The session is good, but its claims cannot be used: the reason, as a sentence without the
    /// claims.
    Unusable(String),
    /// The session continues, with other tokens.
    Refreshed(CheckedClaims),
}

/// What a provider made of a logout token.
#[derive(Debug, PartialEq, Eq)]
pub enum LogoutVerdict {
    /// It is not to be believed, in the provider's own words (bounded, control characters escaped).
    Invalid(String),
    /// It ends every session of this user id.
    Person(String),
    /// It ends sessions that the provider refuses from now on.
    Noted,
}

/// Verifies the sessions that it has minted.
pub trait SessionProvider: Send + Sync {
    /// Returns the session of an access token. `None`: there is none, it is over, or its claims
    /// cannot be used. The tokens in the answer may be empty, since the caller has them.
    ///
    /// # Errors
    /// The provider gave no answer that can be believed.
    fn verify_session<'a>(
        &'a self,
        access_token: &'a str,
        deadline: Instant,
    ) -> BoxFuture<'a, Result<Option<CheckedClaims>, CallFault>>;
}

/// Signs people in by a user name and a password.
pub trait PasswordProvider: Send + Sync {
    /// Checks a user's password.
    ///
    /// # Errors
    /// The provider gave no answer that can be believed.
    fn check_password<'a>(
        &'a self,
        username: &'a str,
        password: &'a str,
        deadline: Instant,
    ) -> BoxFuture<'a, Result<PasswordVerdict, CallFault>>;
}

/// Signs people in at an identity provider. State, nonce and PKCE verifier are the host's.
pub trait RedirectProvider: Send + Sync {
    /// Where to send the browser.
    ///
    /// # Errors
    /// The provider gave no answer.
    fn start_login(
        &self,
        request: LoginRequest,
        deadline: Instant,
    ) -> BoxFuture<'_, Result<String, CallFault>>;

    /// Redeems a code.
    ///
    /// # Errors
    /// The provider gave no answer that can be believed.
    fn complete_login(
        &self,
        response: LoginResponse,
        deadline: Instant,
    ) -> BoxFuture<'_, Result<CodeVerdict, CallFault>>;
}

/// Keeps sessions alive beyond their access token, and ends them.
pub trait RefreshProvider: Send + Sync {
    /// Exchanges a refresh token.
    ///
    /// # Errors
    /// The provider gave no answer that can be believed.
    fn refresh<'a>(
        &'a self,
        refresh_token: &'a str,
        deadline: Instant,
    ) -> BoxFuture<'a, Result<RefreshVerdict, CallFault>>;

    /// Ends the session at the provider, as well as it can.
    ///
    /// # Errors
    /// The call failed; nothing more can be done.
    fn revoke<'a>(
        &'a self,
        refresh_token: &'a str,
        deadline: Instant,
    ) -> BoxFuture<'a, Result<(), CallFault>>;
}

/// Signs people out together with the identity provider.
pub trait SignOutProvider: Send + Sync {
    /// Reads a logout token of the identity provider (OpenID Connect Back-Channel Logout 1.0).
    ///
    /// # Errors
    /// The provider gave no answer.
    fn read_logout_token<'a>(
        &'a self,
        token: &'a str,
        deadline: Instant,
    ) -> BoxFuture<'a, Result<LogoutVerdict, CallFault>>;

    /// Where a browser signs out at the identity provider, to come back to `return_to`. `None`:
    /// nowhere. An empty access token means that the browser had none.
    ///
    /// # Errors
    /// The provider gave no answer.
    fn sign_out_url<'a>(
        &'a self,
        access_token: &'a str,
        return_to: &'a str,
        deadline: Instant,
    ) -> BoxFuture<'a, Result<Option<String>, CallFault>>;
}
