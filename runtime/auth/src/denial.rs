use super::{NoBearer, Principal, ProviderName, Session};

/// A refusal, by what the caller lacks. Its text is for the log and never reaches the caller.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Denial {
    /// The request has no bearer token.
    #[error(transparent)]
    NoBearer(NoBearer),
    /// No provider recognizes the token.
    #[error("no provider recognises the token")]
    Unrecognized,
    /// No token opens the route.
    #[error("no token opens the route")]
    RouteClosed,
    /// The service is known and lacks the scope of the route.
    #[error("{principal} of {provider} lacks the route's scope")]
    MissingScope {
        /// The name of the service.
        principal: String,
        /// The provider that vouched for it.
        provider: ProviderName,
    },
    /// A provider could not be asked about the token, and no other recognizes it.
    #[error("provider {provider} could not be asked and no other knows the token")]
    TokenUnanswered {
        /// The provider that could not be asked.
        provider: ProviderName,
    },
    /// This process's token is missing or wrong.
    #[error("this process's token is missing or wrong")]
    NoProcessToken,
    /// The ticket of a web socket is not good.
    #[error("the ticket is unknown, spent, or too old")]
    NoTicket,
    /// The request has no session that is good.
    #[error(transparent)]
    NoSession(NoSession),
    /// The session's provider could not be asked.
    #[error("provider {provider} could not be asked about a session")]
    SessionUnanswered {
        /// The provider that could not be asked.
        provider: ProviderName,
    },
    /// `dashboard.access` gives the person no role.
    #[error("dashboard.access gives {user_id} of {provider} no role")]
    NoRole {
        /// The person.
        user_id: String,
        /// The provider that opened the session.
        provider: ProviderName,
    },
    /// `allow` of the application does not admit the caller.
    #[error("the application's `allow` does not admit {caller}")]
    NotAllowed {
        /// The name of the caller.
        caller: String,
    },
}

/// Why a request has no session that is good. `next` is where a person comes back to after signing
/// in; `None`: the request was for no page.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoSession {
    /// The request has no cookie of a session.
    #[error("no cookie of a session")]
    NoCookie {
        /// Where a person comes back to.
        next: Option<String>,
    },
    /// The session of the cookie is over, or never was one.
    #[error("no session that can be believed")]
    NotGood {
        /// Where a person comes back to.
        next: Option<String>,
    },
    /// The access token has ended, and the session needs new tokens.
    #[error("the access token has ended, and the session can be refreshed elsewhere")]
    Resumable {
        /// Where a person comes back to.
        next: String,
    },
}

/// The statuses a refusal can have. None of them is a success, so no refusal lets a caller in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DenialStatus<'a> {
    /// 401 with a bearer challenge (RFC 6750 section 3).
    BearerUnauthorized,
    /// 401 for a person or script without a session, and why there is none.
    Unauthorized(&'a NoSession),
    /// 403: the caller is known and may not.
    Forbidden,
    /// 403 for a person whom `dashboard.access` gives no role.
    NoRole,
    /// 503, since this provider could not be asked: try again in a second.
    Unavailable(&'a ProviderName),
}

impl Denial {
    pub(super) fn missing_scope(principal: &Principal) -> Self {
        Self::MissingScope {
            principal: principal.name().to_owned(),
            provider: principal.provider().clone(),
        }
    }

    pub(super) fn no_role(session: &Session) -> Self {
        Self::NoRole {
            user_id: session.claims().user_id.clone(),
            provider: session.provider().clone(),
        }
    }

    /// Returns the status of the answer.
    pub fn status(&self) -> DenialStatus<'_> {
        match self {
            Self::NoBearer(_)
            | Self::Unrecognized
            | Self::RouteClosed
            | Self::NoProcessToken
            | Self::NoTicket => DenialStatus::BearerUnauthorized,
            Self::NoSession(why) => DenialStatus::Unauthorized(why),
            Self::MissingScope { .. } | Self::NotAllowed { .. } => DenialStatus::Forbidden,
            Self::NoRole { .. } => DenialStatus::NoRole,
            Self::TokenUnanswered { provider } | Self::SessionUnanswered { provider } => {
                DenialStatus::Unavailable(provider)
            }
        }
    }

    /// Returns the provider that could not be asked.
    pub fn unanswered(&self) -> Option<&ProviderName> {
        match self.status() {
            DenialStatus::Unavailable(provider) => Some(provider),
            _ => None,
        }
    }

    /// Returns the provider that vouched for the caller, or that could not be asked.
    pub fn provider(&self) -> Option<&ProviderName> {
        match self {
            Self::MissingScope { provider, .. } | Self::NoRole { provider, .. } => Some(provider),
            _ => self.unanswered(),
        }
    }

    /// Returns the name of the service that is known and may not.
    pub fn principal(&self) -> Option<&str> {
        match self {
            Self::MissingScope { principal, .. } => Some(principal),
            _ => None,
        }
    }

    /// Returns a short constant for metrics, audit lines and answers to programs.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::NoBearer(_) => "no_token",
            Self::Unrecognized => "no_provider_recognises_token",
            Self::RouteClosed => "route_closed",
            Self::MissingScope { .. } => "missing_scope",
            Self::TokenUnanswered { .. } | Self::SessionUnanswered { .. } => "provider_unreachable",
            Self::NoProcessToken => "no_process_token",
            Self::NoTicket => "no_ticket",
            Self::NoSession(NoSession::NoCookie { .. }) => "no_cookie",
            Self::NoSession(NoSession::NotGood { .. } | NoSession::Resumable { .. }) => {
                "invalid_or_expired_session"
            }
            Self::NoRole { .. } => "not_permitted",
            Self::NotAllowed { .. } => "not_allowed",
        }
    }
}
