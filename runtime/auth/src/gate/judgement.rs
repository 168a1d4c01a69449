use super::super::{CallFault, Denial, NoSession, ProviderName, Session};
use super::{Permit, RequestFacts, TokenJudgement};
use std::sync::Arc;

/// The gate's decision on one request.
#[derive(Debug)]
pub enum Decision {
    /// The path is open to everyone: no permit comes with it.
    Public,
    /// The caller is known and may.
    Permitted(Permit),
    /// The request is refused, with this denial.
    Refused(Denial),
}

/// What the answer does to the cookies.
#[derive(Clone, Debug, Default)]
pub enum CookieChange {
    /// The cookies stay as they are.
    #[default]
    None,
    /// The session continues with other tokens, which the cookies then hold.
    Renew(Arc<Session>),
    /// The session is over: the cookies are deleted.
    Delete,
}

/// What happened to the session of a request.
#[derive(Clone, Debug)]
pub enum SessionEvent {
    /// It was refreshed. Only the request that started the refresh reports it.
    Refreshed(Arc<Session>),
    /// It was not refreshed, and why.
    RefreshFailed {
        /// The provider that was asked.
        provider: ProviderName,
        /// Why, in the words of the audit log.
        reason: &'static str,
    },
    /// What the cookies said is not believed, and why.
    NotVerified {
        /// The provider that the cookie names, if it could be read.
        provider: Option<String>,
        /// Why, in the words of the audit log.
        reason: &'static str,
    },
}

/// The decision on a request, with what is to be logged, counted and sent.
#[derive(Debug)]
pub struct Judgement {
    /// Whether the request is let in.
    pub decision: Decision,
    /// Whether bearer tokens guard the path.
    pub token_route: bool,
    /// Faults in the order in which the providers were asked.
    pub faults: Vec<(ProviderName, CallFault)>,
    /// What the answer does to the cookies.
    pub cookies: CookieChange,
    /// What happened to the session, if anything did.
    pub event: Option<SessionEvent>,
}

impl Judgement {
    pub(super) fn people(decision: Decision) -> Self {
        let (faults, cookies) = (Vec::new(), CookieChange::None);
        Self {
            decision,
            token_route: false,
            faults,
            cookies,
            event: None,
        }
    }

    /// The decision by a bearer token, which lets a service in.
    pub(super) fn token(TokenJudgement { outcome, faults }: TokenJudgement) -> Self {
        let decision = match outcome {
            Ok(principal) => Decision::Permitted(Permit::service(principal)),
            Err(denial) => Decision::Refused(denial),
        };
        Self {
            token_route: true,
            faults,
            ..Self::people(decision)
        }
    }

    /// The same, after these faults, which were met while the token of the request was judged.
    pub(super) fn after(self, mut faults: Vec<(ProviderName, CallFault)>) -> Self {
        faults.extend(self.faults);
        Self { faults, ..self }
    }

    /// The session is over, or never was one.
    pub(super) fn over(facts: &RequestFacts<'_>, event: SessionEvent) -> Self {
        let next = facts.login_next().map(str::to_owned);
        let denial = Denial::NoSession(NoSession::NotGood { next });
        let judgement = Self::people(Decision::Refused(denial));
        Self {
            cookies: CookieChange::Delete,
            event: Some(event),
            ..judgement
        }
    }

    /// The provider gave no answer: the cookies stay.
    pub(super) fn unanswered(provider: &ProviderName, fault: CallFault) -> Self {
        let judgement = Self::people(Decision::Refused(Denial::SessionUnanswered {
            provider: provider.clone(),
        }));
        Self {
            faults: vec![(provider.clone(), fault)],
            ..judgement
        }
    }
}
