use crate::{Host, RedirectSignIn, Unavailable};

/// Signs people out together with their identity provider, in both directions. For a component with
/// the feature `sign-out`.
pub trait SignOut: RedirectSignIn {
    /// Reads a logout token that the identity provider sent (OpenID Connect Back-Channel Logout
    /// 1.0), and checks it.
    ///
    /// # Errors
    /// The token is not to be believed, or the provider's backing store is out of reach.
    fn read_logout_token(host: &dyn Host, token: &str) -> Result<Ended, LogoutError> {
        let _ = (host, token);
        Err(LogoutError::InvalidToken(
            "this provider takes no logout tokens".to_owned(),
        ))
    }

    /// Where the browser of a person who has signed out goes to sign out at the identity provider
    /// as well (OpenID Connect RP-Initiated Logout 1.0), to come back to `return_to`. `None`:
    /// nowhere. `access_token` is that of the session; empty where the browser had none.
    ///
    /// # Errors
    /// The identity provider is out of reach.
    fn sign_out_url(
        host: &dyn Host,
        access_token: &str,
        return_to: &str,
    ) -> Result<Option<String>, Unavailable> {
        let _ = (host, access_token, return_to);
        Ok(None)
    }
}

/// Whose sessions a logout token ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    /// Every session of this user id. The host ends them.
    Person(String),
    /// Sessions that the provider has noted itself: it refuses their tokens from now on.
    Noted,
}

/// Why a logout token ended nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogoutError {
    /// It is not to be believed, and why.
    InvalidToken(String),
    /// The provider's backing store is out of reach.
    Unavailable(String),
}

impl From<Unavailable> for LogoutError {
    fn from(unavailable: Unavailable) -> Self {
        Self::Unavailable(unavailable.0)
    }
}
