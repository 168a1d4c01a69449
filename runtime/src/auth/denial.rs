use super::{NoBearer, Principal, ProviderName, Session};

/// The statuses a refusal can have. None of them is a success, so no refusal lets a caller in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DenialStatus {
    /// 401 with a bearer challenge (RFC 6750 section 3).
    BearerUnauthorized,
    /// 401 for a person or script without a session.
    Unauthorized,
    /// 403: the caller is known and may not.
    Forbidden,
    /// 403 for a person whom `dashboard.access` gives no role.
    NoRole,
    /// 503: try again in a second.
    Unavailable,
}

/// A refusal. `detail` is for the log and never reaches the caller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denial {
    /// The status of the answer.
    pub status: DenialStatus,
    /// The provider that could not be asked. The answer with 503 names it.
    pub unreachable: Option<ProviderName>,
    /// Where a person comes back to after signing in, for [`DenialStatus::Unauthorized`]. `None`: the request was for no page.
    pub login_next: Option<String>,
    /// Whether there is a session that only needs new tokens.
    pub can_resume: bool,
    /// A short constant for metrics and audit lines.
    pub reason: &'static str,
    /// Why, for the log.
    pub detail: String,
}

impl Denial {
    /// The request has no cookie of a session.
    pub const NO_COOKIE: &'static str = "no_cookie";
    /// The request has a cookie of a session, and it is not good.
    pub const NOT_GOOD: &'static str = "invalid_or_expired_session";

    fn new(status: DenialStatus, reason: &'static str, detail: impl Into<String>) -> Self {
        let (unreachable, login_next, can_resume) = (None, None, false);
        Self { status, unreachable, login_next, can_resume, reason, detail: detail.into() }
    }

    pub(super) fn no_bearer(why: NoBearer) -> Self {
        Self::new(DenialStatus::BearerUnauthorized, "no_token", why.to_string())
    }

    pub(super) fn unrecognized() -> Self {
        let detail = "no provider recognises the token";
        Self::new(DenialStatus::BearerUnauthorized, "no_provider_recognises_token", detail)
    }

    pub(super) fn route_closed() -> Self {
        Self::new(DenialStatus::BearerUnauthorized, "route_closed", "no token opens the route")
    }

    pub(super) fn missing_scope(principal: &Principal) -> Self {
        let detail = format!("{} of {} lacks the route's scope", principal.name(), principal.provider());
        Self::new(DenialStatus::Forbidden, "missing_scope", detail)
    }

    pub(super) fn no_role(session: &Session) -> Self {
        let detail =
            format!("dashboard.access gives {} of {} no role", session.claims.user_id, session.provider);
        Self::new(DenialStatus::NoRole, "not_permitted", detail)
    }

    /// `allow` of the application does not name the person, who has a role.
    pub(super) fn not_allowed(name: &str) -> Self {
        let detail = format!("the application's `allow` does not admit {name}");
        Self::new(DenialStatus::Forbidden, "not_allowed", detail)
    }

    pub(super) fn unreachable(provider: ProviderName) -> Self {
        let detail = format!("provider {provider} could not be asked and no other knows the token");
        let denial = Self::new(DenialStatus::Unavailable, "provider_unreachable", detail);
        Self { unreachable: Some(provider), ..denial }
    }

    pub(super) fn no_process_token() -> Self {
        Self::new(
            DenialStatus::BearerUnauthorized,
            "no_process_token",
            "this process's token is missing or wrong",
        )
    }

    /// `reason` is [`Self::NO_COOKIE`] or [`Self::NOT_GOOD`], which the caller reads.
    pub(super) fn no_session(next: Option<&str>, reason: &'static str) -> Self {
        let denial = Self::new(DenialStatus::Unauthorized, reason, "no session that can be believed");
        Self { login_next: next.map(str::to_owned), ..denial }
    }

    pub(super) fn resumable(next: &str) -> Self {
        let detail = "the access token has ended, and the session can be refreshed elsewhere";
        let denial = Self::new(DenialStatus::Unauthorized, Self::NOT_GOOD, detail);
        Self { login_next: Some(next.to_owned()), can_resume: true, ..denial }
    }

    pub(super) fn session_unanswered(provider: ProviderName) -> Self {
        let detail = format!("provider {provider} could not be asked about a session");
        let denial = Self::new(DenialStatus::Unavailable, "provider_unreachable", detail);
        Self { unreachable: Some(provider), ..denial }
    }

    pub(super) fn no_ticket() -> Self {
        let detail = "the ticket is unknown, spent, or too old";
        Self::new(DenialStatus::BearerUnauthorized, "no_ticket", detail)
    }
}
