//! Applications behind the gate: the callers are judged as everywhere else, and `allow` says which of them may pass.

use super::judgement::{Decision, Judgement};
use super::{Gate, PeopleGate, RequestFacts, has_bearer, refuse_native};
use crate::auth::{Allowed, Denial, DenialStatus, Required};

impl Gate {
    /// Decides whether a request reaches an application. A bearer token counts only where `allowed` names a scope; elsewhere
    /// it is the application's own.
    pub async fn decide_application(&self, allowed: &Allowed, facts: &RequestFacts<'_>) -> Judgement {
        if allowed.is_public() {
            return Judgement::people(Decision::Public);
        }
        let takes_tokens = allowed.scopes().next().is_some();
        if takes_tokens && has_bearer(facts) || !allowed.is_for_people() {
            let judgement = self.decide_scopes(allowed, facts).await;
            let is_refused = matches!(judgement.decision, Decision::Refused(_));
            if !is_refused || !allowed.is_for_people() || self.is_unknown_person(facts) {
                return judgement;
            }
        }
        match &self.people.gate {
            PeopleGate::Sessions => admit(allowed, self.decide_session(facts).await),
            PeopleGate::ProcessToken(_) if allowed.admits_without_sign_in() => {
                Judgement::people(Decision::Public)
            }
            PeopleGate::ProcessToken(_) => {
                Judgement::people(Decision::Refused(Denial::not_allowed("a caller without sign-in")))
            }
        }
    }

    fn is_unknown_person(&self, facts: &RequestFacts<'_>) -> bool {
        matches!(self.people.gate, PeopleGate::Sessions) && facts.session.is_empty()
    }

    /// Tries the scopes in turn, so that the token is shown to providers of these scopes alone.
    async fn decide_scopes(&self, allowed: &Allowed, facts: &RequestFacts<'_>) -> Judgement {
        let mut refused = Judgement::token(Decision::Refused(Denial::route_closed()), Vec::new());
        for scope in allowed.scopes() {
            let mut judgement = self.decide_token_route(&Required::Scope(scope.clone()), facts).await;
            refuse_native(&mut judgement);
            if !matches!(judgement.decision, Decision::Refused(_)) {
                return judgement;
            }
            refused.faults.append(&mut judgement.faults);
            if weight(&judgement.decision) >= weight(&refused.decision) {
                refused.decision = judgement.decision;
            }
        }
        refused
    }
}

/// Of several refusals the heaviest is answered: with an outage it is not known whether the token is good.
fn weight(decision: &Decision) -> u8 {
    match decision {
        Decision::Refused(denial) if denial.status == DenialStatus::Unavailable => 2,
        Decision::Refused(denial) if denial.status == DenialStatus::Forbidden => 1,
        _ => 0,
    }
}

/// Refuses a person whom the application does not admit. A refreshed session stays refreshed.
fn admit(allowed: &Allowed, judgement: Judgement) -> Judgement {
    let denial = match &judgement.decision {
        Decision::Permitted(permit) => {
            let admits = |role| allowed.admits_person(role, permit.groups());
            if permit.role().is_some_and(admits) {
                return judgement;
            }
            Denial::not_allowed(permit.name())
        }
        _ => return judgement,
    };
    Judgement { decision: Decision::Refused(denial), ..judgement }
}
