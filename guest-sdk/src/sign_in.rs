use crate::{Host, Provider, Session, Unavailable};

/// Signs people in by a user name and a password. For a component with the feature `password`.
pub trait PasswordSignIn: Provider + Refresh {
    /// Checks a user's password. An unknown user must cost the same time as a wrong password.
    ///
    /// # Errors
    /// `InvalidCredentials` if the user or the password is wrong; `Unavailable` if the store is out
    /// of reach.
    fn check_password(
        host: &dyn Host,
        username: &str,
        password: &str,
    ) -> Result<Session, PasswordError>;
}

/// Why a password did not sign a person in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PasswordError {
    /// No such user, or not that user's password.
    InvalidCredentials,
    /// The provider's backing store is out of reach.
    Unavailable(String),
}

/// Signs people in at an identity provider. For a component with the feature `redirect`.
pub trait RedirectSignIn: Provider + Refresh {
    /// Returns the URL that the browser is sent to. It contains the state of the request.
    ///
    /// # Errors
    /// The identity provider is out of reach.
    fn start_login(host: &dyn Host, request: &LoginRequest) -> Result<String, Unavailable>;

    /// Redeems the code, and checks what comes for it: the issuer, the audience, the nonce, the
    /// times.
    ///
    /// # Errors
    /// `InvalidCode` if what came is not to be believed; `Unavailable` if the identity provider is
    /// out of reach.
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
    /// The authorization code to redeem.
    pub code: String,
    /// The one that the sign-in began with.
    pub nonce: String,
    /// What the challenge was made of.
    pub code_verifier: String,
    /// The `iss` of RFC 9207, if the identity provider sent one.
    pub issuer: Option<String>,
}

/// Why a code did not sign a person in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CodeError {
    /// It is not to be believed, and why: the operator reads it in the log, the person does not. A
    /// reason that begins with `not allowed: ` means that the person is known and may not enter,
    /// which the person then reads.
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

/// Keeps sessions alive beyond their access token, and ends them. A provider whose sessions have no
/// refresh token has nothing to write here.
pub trait Refresh {
    /// Exchanges a refresh token for a session of the same person.
    ///
    /// # Errors
    /// `Expired` if the session is over; `Unavailable` if the store is out of reach.
    fn refresh_session(host: &dyn Host, refresh_token: &str) -> Result<Session, RefreshError> {
        let _ = (host, refresh_token);
        Err(RefreshError::Expired)
    }

    /// Ends the session, as far as the provider can.
    fn revoke_session(host: &dyn Host, refresh_token: &str) {
        let _ = (host, refresh_token);
    }
}

/// Why a session was not refreshed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RefreshError {
    /// The session is over.
    Expired,
    /// The provider's backing store is out of reach.
    Unavailable(String),
}
