//! People with a session: who vouches for it, and what happens to one that has ended.

use super::judgement::{CookieChange, Decision, Judgement, SessionEvent};
use super::{Gate, Permit, RequestFacts, VERIFY_PATH};
use crate::refresh::{REFRESH_DEADLINE, RefreshOutcome, Refreshed};
use crate::{
    CallFault, CheckedClaims, Denial, NoSession, PresentedSession, Registered, Session,
    SessionToken, safe_target,
};
use std::sync::Arc;
use std::time::Instant;

impl Gate {
    /// Decides by the session alone, for any path.
    pub async fn decide_session(&self, facts: &RequestFacts<'_>) -> Judgement {
        let PresentedSession {
            access, refresh, ..
        } = &facts.session;
        let not_verified = |reason: &'static str| {
            let provider = access
                .as_ref()
                .or(refresh.as_ref())
                .map(|token| token.provider().to_owned());
            SessionEvent::NotVerified { provider, reason }
        };

        if facts.session.is_empty() {
            let next = facts.login_next().map(str::to_owned);
            return Judgement::people(Decision::Refused(Denial::NoSession(NoSession::NoCookie {
                next,
            })));
        }

        let is_over = |token: &SessionToken| self.people.sessions.is_over(&token.into());
        if facts.session.is_unreadable
            || access.as_ref().is_some_and(is_over)
            || refresh.as_ref().is_some_and(is_over)
        {
            return Judgement::over(facts, not_verified("invalid_session"));
        }

        if let Some(access) = access
            .as_ref()
            .filter(|access| access.expires_at() > facts.now)
        {
            match self.verify(access, facts).await {
                SessionCheck::Decided(judgement) => return *judgement,
                SessionCheck::Over => {}
            }
        }

        match refresh {
            // Its answer does not reach the browser, so new tokens would be lost on the way.
            Some(_) if facts.path == VERIFY_PATH => {
                let next = safe_target(facts.target).to_owned();
                Judgement::people(Decision::Refused(Denial::NoSession(NoSession::Resumable {
                    next,
                })))
            }
            Some(refresh) => self.refresh(refresh, facts).await,
            None => Judgement::over(facts, not_verified("session_expired")),
        }
    }

    /// The session is good; its role says whether the person may pass.
    pub(super) fn decide_role(&self, session: Arc<Session>) -> Decision {
        match self.access.role_of(session.provider(), session.claims()) {
            Some(role) => Decision::Permitted(Permit::person(session, role)),
            None => Decision::Refused(Denial::no_role(&session)),
        }
    }

    async fn verify(&self, token: &SessionToken, facts: &RequestFacts<'_>) -> SessionCheck {
        match self
            .ask(
                token.provider(),
                token.expose(),
                token.user_id(),
                facts.deadline,
            )
            .await
        {
            TokenCheck::Confirmed(registered, claims) => {
                let claims = claims.with_access_token_of(token);
                let session = Arc::new(Session::mint(
                    registered,
                    token.id().clone(),
                    token.opened_at(),
                    claims,
                ));
                SessionCheck::Decided(Box::new(Judgement::people(self.decide_role(session))))
            }
            TokenCheck::Over => SessionCheck::Over,
            TokenCheck::Unanswered(registered, fault) => {
                SessionCheck::Decided(Box::new(Judgement::unanswered(&registered.name, fault)))
            }
        }
    }

    /// Returns whether the session is over according to its provider. A provider that does not
    /// answer does not end a session.
    pub async fn is_over(&self, session: &Session, deadline: Instant) -> bool {
        let claims = session.claims();
        let asked = self
            .ask(
                session.provider().as_str(),
                &claims.access_token,
                &claims.user_id,
                deadline,
            )
            .await;
        matches!(asked, TokenCheck::Over)
    }

    /// Asks the provider that minted the access token, and no other. It must confirm the token for
    /// the same person.
    async fn ask(
        &self,
        provider: &str,
        access_token: &str,
        user_id: &str,
        deadline: Instant,
    ) -> TokenCheck<'_> {
        let Some(registered) = self.registry.named_by(provider) else {
            return TokenCheck::Over;
        };
        let Some(provider) = &registered.session else {
            return TokenCheck::Over;
        };

        match provider.verify_session(access_token, deadline).await {
            Ok(Some(claims)) if claims.user_id == user_id => {
                TokenCheck::Confirmed(registered, claims)
            }
            Ok(_) => TokenCheck::Over,
            Err(fault) => TokenCheck::Unanswered(registered, fault),
        }
    }

    async fn refresh(&self, token: &SessionToken, facts: &RequestFacts<'_>) -> Judgement {
        let Some(registered) = self.registry.named_by(token.provider()) else {
            let (provider, reason) = (Some(token.provider().to_owned()), "no_such_provider");
            return Judgement::over(facts, SessionEvent::NotVerified { provider, reason });
        };

        let until = facts.at + REFRESH_DEADLINE;
        let RefreshOutcome {
            refreshed,
            is_first,
        } = self
            .people
            .refresher
            .refresh(registered, token, facts.deadline, until)
            .await;

        match refreshed {
            // It may have been ended while it was refreshed.
            Refreshed::Renewed(session) if !self.people.sessions.is_over(&(&*session).into()) => {
                let event = is_first.then(|| SessionEvent::Refreshed(session.clone()));
                let cookies = CookieChange::Renew(session.clone());
                Judgement {
                    cookies,
                    event,
                    ..Judgement::people(self.decide_role(session))
                }
            }
            Refreshed::Renewed(_) => over_after(registered, facts, "logged_out", is_first),
            Refreshed::Over(reason) => over_after(registered, facts, reason, is_first),
            Refreshed::Unanswered(fault) => {
                let provider = registered.name.clone();
                let event = SessionEvent::RefreshFailed {
                    provider,
                    reason: fault.fault.kind(),
                };
                let judgement = Judgement::unanswered(&registered.name, fault);
                if is_first {
                    return Judgement {
                        event: Some(event),
                        ..judgement
                    };
                }
                Judgement {
                    faults: Vec::new(),
                    ..judgement
                }
            }
        }
    }
}

/// What the session's own provider says of its access token.
enum TokenCheck<'a> {
    /// It is good, and belongs to the same person.
    Confirmed(&'a Registered, CheckedClaims),
    /// It is not good, or no longer that person's, or the provider is gone.
    Over,
    /// The provider does not answer.
    Unanswered(&'a Registered, CallFault),
}

/// The outcome of checking an access token.
enum SessionCheck {
    Decided(Box<Judgement>),
    Over,
}

/// Only the request that started the refresh emits the audit event.
fn over_after(
    registered: &Registered,
    facts: &RequestFacts<'_>,
    reason: &'static str,
    is_first: bool,
) -> Judgement {
    let event = SessionEvent::RefreshFailed {
        provider: registered.name.clone(),
        reason,
    };
    let judgement = Judgement::over(facts, event);

    if is_first {
        judgement
    } else {
        Judgement {
            event: None,
            ..judgement
        }
    }
}
