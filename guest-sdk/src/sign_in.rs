use crate::{Host, Provider, Session, Unavailable};

/// Signs people in by a user name and a password. For a component with the feature `password`.
pub trait PasswordSignIn: Provider + Refresh {
    /// Is this the user's password? An unknown user must cost the same time as a wrong password.
    ///
    /// # Errors
    /// It is not, or nobody can say.
    fn check_password(host: &dyn Host, username: &str, password: &str) -> Result<Session, PasswordError>;
}

/// Why nobody was signed in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PasswordError {
    /// No such user, or not that user's password.
    InvalidCredentials,
    /// The provider's backing store is out of reach.
    Unavailable(String),
}

/// Signs people in at an identity provider. For a component with the feature `redirect`.
pub trait RedirectSignIn: Provider + Refresh {
    /// Where to send the browser: with the state as it stands in the request.
    ///
    /// # Errors
    /// The identity provider is out of reach.
    fn start_login(host: &dyn Host, request: &LoginRequest) -> Result<String, Unavailable>;

    /// Redeems the code, and checks what comes for it: the issuer, the audience, the nonce, the times.
    ///
    /// # Errors
    /// What came is not to be believed, or nobody can say.
    fn complete_login(host: &dyn Host, response: &LoginResponse) -> Result<Session, CodeError>;
}

/// A sign-in that begins. State, nonce and challenge are the host's.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
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

/// A sign-in that came back.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LoginResponse {
    /// The one that the sign-in began with.
    pub redirect_uri: String,
    /// To be redeemed.
    pub code: String,
    /// The one that the sign-in began with.
    pub nonce: String,
    /// What the challenge was made of.
    pub code_verifier: String,
    /// The `iss` of RFC 9207, if the identity provider sent one.
    pub issuer: Option<String>,
}

/// Why a code came to nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CodeError {
    /// It is not to be believed, and why: the operator reads it in the log, the person does not. A reason that begins with
    /// `not allowed: ` means that the person is known and may not enter, which the person then reads.
    InvalidCode(String),
    /// The identity provider is out of reach.
    Unavailable(String),
}

impl From<Unavailable> for CodeError {
    fn from(unavailable: Unavailable) -> Self {
        Self::Unavailable(unavailable.0)
    }
}

impl From<Unavailable> for PasswordError {
    fn from(unavailable: Unavailable) -> Self {
        Self::Unavailable(unavailable.0)
    }
}

impl From<Unavailable> for RefreshError {
    fn from(unavailable: Unavailable) -> Self {
        Self::Unavailable(unavailable.0)
    }
}

/// Keeps sessions alive beyond their access token, and ends them. A provider whose sessions have no refresh token
/// has nothing to write here.
pub trait Refresh {
    /// Exchanges a refresh token for a session of the same person.
    ///
    /// # Errors
    /// The session is over, or nobody can say.
    fn refresh_session(host: &dyn Host, refresh_token: &str) -> Result<Session, RefreshError> {
        let _ = (host, refresh_token);
        Err(RefreshError::Expired)
    }

    /// Ends the session, as well as can be.
    fn revoke_session(host: &dyn Host, refresh_token: &str) {
        let _ = (host, refresh_token);
    }
}

/// Why a session was not refreshed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RefreshError {
    /// It is over.
    Expired,
    /// The provider's backing store is out of reach.
    Unavailable(String),
}
