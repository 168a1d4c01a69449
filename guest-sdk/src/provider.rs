use crate::Host;

/// An auth provider. Only [`verify_token`](Provider::verify_token) has to be written.
pub trait Provider {
    /// Checks the settings. The host asks once, when the provider is loaded.
    ///
    /// # Errors
    /// One sentence for the operator: which setting, and what is wrong with it. The provider is
    /// refused.
    fn check_settings(host: &dyn Host) -> Result<(), String> {
        let _ = host;
        Ok(())
    }

    /// Asked once, when the provider is loaded. False: it is never handed a bearer token.
    fn supports_token(host: &dyn Host) -> bool {
        let _ = host;
        true
    }

    /// Returns the principal of a bearer token. `None` means "not mine", and the next provider is
    /// asked: a wrong, expired or malformed token is `None`, never a panic.
    ///
    /// # Errors
    /// Only when the provider's backing store is out of reach, so that it can neither confirm nor
    /// deny.
    fn verify_token(host: &dyn Host, token: &str) -> Result<Option<TokenPrincipal>, Unavailable>;

    /// Returns the session of an access token. `None` means "not mine" or "no longer".
    ///
    /// # Errors
    /// As for [`verify_token`](Provider::verify_token).
    fn verify_session(host: &dyn Host, access_token: &str) -> Result<Option<Session>, Unavailable> {
        let _ = (host, access_token);
        Ok(None)
    }
}

/// A verified machine caller. The host keeps only the scopes that the operator granted, and stamps
/// the provider's configured name on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenPrincipal {
    /// A stable identifier of the caller.
    pub principal: String,
    /// What the caller may do, as scope tokens (RFC 6749 section 3.3).
    pub scopes: Vec<String>,
    /// The caller's groups, as the identity provider names them. The component passes on the first
    /// 256 of those that have at most 256 bytes. Empty where unknown.
    pub groups: Vec<String>,
}

impl TokenPrincipal {
    /// A caller with these scopes, whose groups are unknown.
    pub fn new<S: Into<String>>(
        principal: impl Into<String>,
        scopes: impl IntoIterator<Item = S>,
    ) -> Self {
        let scopes = scopes.into_iter().map(Into::into).collect();
        Self {
            principal: principal.into(),
            scopes,
            groups: Vec::new(),
        }
    }

    /// The same caller in these groups.
    #[must_use]
    pub fn with_groups<G: Into<String>>(self, groups: impl IntoIterator<Item = G>) -> Self {
        Self {
            groups: groups.into_iter().map(Into::into).collect(),
            ..self
        }
    }
}

/// A verified interactive identity. Empty strings where a field is unknown.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Session {
    /// A stable identifier of the person.
    pub user_id: String,
    /// The e-mail address; empty if unknown.
    pub email: String,
    /// The name to show; empty if unknown.
    pub display_name: String,
    /// The organisation's identifier; empty if unknown.
    pub org_id: String,
    /// Seconds since the Unix epoch.
    pub expires_at: u64,
    /// Opaque to the host.
    pub access_token: String,
    /// Empty: the session cannot be refreshed.
    pub refresh_token: String,
    /// The person's groups, as the identity provider names them. The component passes on the first
    /// 256 of those that have at most 256 bytes. Empty where unknown.
    pub groups: Vec<String>,
}

/// The one failure that a provider may report of itself: its backing store is out of reach.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unavailable(pub String);
