//! Applications behind the gate: the callers are judged as everywhere else, and `allow` says which
//! of them may pass.

use super::judgement::{Decision, Judgement};
use super::token::judge_token;
use super::{Gate, PeopleGate, RequestFacts, TokenJudgement, has_bearer};
use crate::{
    Allowed, BearerToken, CallFault, Denial, DenialStatus, Principal, Required, Scope,
    TokenVerdict, chain,
};
use std::time::Instant;

/// The outcome of verifying again the bearer token that opened a stream or web socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenStanding {
    /// The application still admits the same principal by the token.
    Good,
    /// The principal's provider no longer recognizes the token, or is gone; or the token belongs to
    /// another principal, or lacks every scope that the application admits.
    Refused,
    /// The principal's provider did not answer.
    Unanswered,
}

impl Gate {
    /// Decides whether a request reaches an application. A bearer token counts only where `allowed`
    /// names a scope; elsewhere it is the application's own.
    pub async fn decide_application(
        &self,
        allowed: &Allowed,
        facts: &RequestFacts<'_>,
    ) -> Judgement {
        if allowed.is_public() {
            return Judgement::people(Decision::Public);
        }

        if !allowed.is_for_people() {
            // A person is refused as one, since no sign-in helps. A bearer token is judged
            // instead, since it may be good.
            return match self.is_person(facts) && !has_bearer(facts) {
                true => admit(allowed, self.decide_session(facts).await),
                false => self.decide_scopes(allowed, facts).await,
            };
        }

        let takes_tokens = allowed.scopes().next().is_some();
        let mut faults = Vec::new();
        if takes_tokens && has_bearer(facts) {
            let judgement = self.decide_scopes(allowed, facts).await;
            let is_refused = matches!(judgement.decision, Decision::Refused(_));
            if !is_refused || self.is_unknown_person(facts) {
                return judgement;
            }
            faults = judgement.faults;
        }

        let judgement = match &self.people.gate {
            PeopleGate::Sessions => admit(allowed, self.decide_session(facts).await),
            PeopleGate::ProcessToken(_) if allowed.admits_without_sign_in() => {
                Judgement::people(Decision::Public)
            }
            PeopleGate::ProcessToken(_) => {
                Judgement::people(Decision::Refused(Denial::NotAllowed {
                    caller: "a caller without sign-in".to_owned(),
                }))
            }
        };
        judgement.after(faults)
    }

    fn is_person(&self, facts: &RequestFacts<'_>) -> bool {
        matches!(self.people.gate, PeopleGate::Sessions) && !facts.session.is_empty()
    }

    fn is_unknown_person(&self, facts: &RequestFacts<'_>) -> bool {
        matches!(self.people.gate, PeopleGate::Sessions) && facts.session.is_empty()
    }

    /// Verifies the token of an open stream or web socket again, and returns also the fault of a
    /// provider that did not answer. `principal` is the caller that the token let in. Its provider
    /// alone is asked, and must have answered by `deadline`: an outage of another provider says
    /// nothing about the caller, and must not take part in the check.
    pub async fn verify_again(
        &self,
        allowed: &Allowed,
        token: &BearerToken,
        principal: &Principal,
        deadline: Instant,
    ) -> (TokenStanding, Option<CallFault>) {
        if allowed.is_public() {
            return (TokenStanding::Good, None);
        }

        let Some(registered) = self.registry.named(principal.provider()) else {
            return (TokenStanding::Refused, None);
        };
        let is_asked = allowed
            .scopes()
            .any(|scope| chain::is_asked(registered, Some(scope)));
        let Some(provider) = registered.token.as_ref().filter(|_| is_asked) else {
            return (TokenStanding::Refused, None);
        };

        match provider.verify_token(token, deadline).await {
            Ok(TokenVerdict::Recognized(claims)) => {
                let known = Principal::mint(registered, claims);
                (standing_of(&known, principal, allowed), None)
            }
            Ok(TokenVerdict::NotRecognized | TokenVerdict::Unusable(_)) => {
                (TokenStanding::Refused, None)
            }
            Err(fault) => (TokenStanding::Unanswered, Some(fault)),
        }
    }

    async fn decide_scopes(&self, allowed: &Allowed, facts: &RequestFacts<'_>) -> Judgement {
        let takes_tokens = allowed.scopes().next().is_some();
        Judgement::token(
            match BearerToken::from_headers(facts.authorization.iter().copied()) {
                Ok(token) => self.judge_by_scopes(allowed, &token, facts.deadline).await,
                Err(why) if takes_tokens => TokenJudgement::refused(Denial::NoBearer(why)),
                Err(_) => TokenJudgement::refused(Denial::RouteClosed),
            },
        )
    }

    /// Tries the scopes in turn, so that the token is shown to providers of these scopes alone. A
    /// refusal that is outdated by then is replaced by that of a second try: what a provider
    /// answers last counts, and an outage that is over must not outweigh it.
    async fn judge_by_scopes(
        &self,
        allowed: &Allowed,
        token: &BearerToken,
        deadline: Instant,
    ) -> TokenJudgement {
        let mut refusals = Vec::new();
        let mut faults = Vec::new();
        for scope in allowed.scopes() {
            let judged = self.judge_by_scope(scope, token, deadline).await;
            faults.extend(judged.faults);
            match judged.outcome {
                Ok(principal) => return TokenJudgement::accepted(principal, faults),
                Err(denial) => refusals.push(Refusal { scope, denial }),
            }
        }

        for outdated in self.outdated(&refusals) {
            let judged = self
                .judge_by_scope(refusals[outdated].scope, token, deadline)
                .await;
            faults.extend(judged.faults);
            match judged.outcome {
                Ok(principal) => return TokenJudgement::accepted(principal, faults),
                Err(denial) => refusals[outdated].denial = denial,
            }
        }

        let denials = refusals.into_iter().map(|refusal| refusal.denial);
        // Backwards, since the last of equal ones is the maximum: the first one is the answer.
        let heaviest = denials.rev().max_by_key(weight);
        TokenJudgement {
            outcome: Err(heaviest.unwrap_or(Denial::RouteClosed)),
            faults,
        }
    }

    async fn judge_by_scope(
        &self,
        scope: &Scope,
        token: &BearerToken,
        deadline: Instant,
    ) -> TokenJudgement {
        let required = Required::Scope(scope.clone());
        judge_token(&self.registry, &required, token, deadline)
            .await
            .at_applications()
    }

    /// The places of refusals for an outage of a provider that was asked for a later scope as well,
    /// where nothing was left open.
    fn outdated(&self, refusals: &[Refusal<'_>]) -> Vec<usize> {
        let is_outdated = |place: usize, refusal: &Refusal<'_>| {
            let provider = refusal.denial.unanswered();
            let registered = provider.and_then(|name| self.registry.named(name));
            registered.is_some_and(|registered| {
                refusals[place + 1..].iter().any(|later| {
                    later.denial.unanswered().is_none()
                        && chain::is_asked(registered, Some(later.scope))
                })
            })
        };

        refusals
            .iter()
            .enumerate()
            .filter(|(place, refusal)| is_outdated(*place, refusal))
            .map(|(place, _)| place)
            .collect()
    }
}

/// What became of the token where this scope is required.
struct Refusal<'a> {
    scope: &'a Scope,
    denial: Denial,
}

/// Judges a principal whom the provider of `principal` recognizes by the same token.
fn standing_of(known: &Principal, principal: &Principal, allowed: &Allowed) -> TokenStanding {
    let is_same = known.name() == principal.name();
    let is_admitted = allowed.scopes().any(|scope| known.has(scope));
    if is_same && is_admitted && known.opens_applications() {
        TokenStanding::Good
    } else {
        TokenStanding::Refused
    }
}

/// Orders refusals: the one with the largest weight is answered. An outage is the heaviest, since
/// it leaves open whether the token is good.
fn weight(denial: &Denial) -> u8 {
    match denial.status() {
        DenialStatus::Unavailable(_) => 2,
        DenialStatus::Forbidden => 1,
        DenialStatus::BearerUnauthorized | DenialStatus::Unauthorized(_) | DenialStatus::NoRole => {
            0
        }
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
            Denial::NotAllowed {
                caller: permit.name().to_owned(),
            }
        }
        _ => return judgement,
    };

    Judgement {
        decision: Decision::Refused(denial),
        ..judgement
    }
}

#[cfg(test)]
mod tests {
    use super::super::People;
    use super::*;
    use crate::{
        Allow, BoxFuture, Claims, PresentedSession, ProviderFault, ProviderName, Registered,
        Registry, SecretDigest, TokenProvider, TokenReach, TokenRoutes,
    };
    use futures_util::FutureExt;
    use std::collections::VecDeque;
    use std::sync::{Arc, Mutex};

    type Answer = Result<TokenVerdict, ProviderFault>;
    type Script = fn() -> Answer;

    /// A provider that says the same of every token.
    struct Says(Script);

    impl TokenProvider for Says {
        fn verify_token<'a>(
            &'a self,
            _: &'a BearerToken,
            _: Instant,
        ) -> BoxFuture<'a, Result<TokenVerdict, CallFault>> {
            Box::pin(std::future::ready((self.0)().map_err(CallFault::from)))
        }
    }

    /// A provider that says one thing after the other.
    struct SaysInTurn(Mutex<VecDeque<Script>>);

    impl TokenProvider for SaysInTurn {
        fn verify_token<'a>(
            &'a self,
            _: &'a BearerToken,
            _: Instant,
        ) -> BoxFuture<'a, Result<TokenVerdict, CallFault>> {
            let script = self.0.lock().unwrap().pop_front();
            let answer = script.expect("the provider is not asked more often")();
            Box::pin(std::future::ready(answer.map_err(CallFault::from)))
        }
    }

    fn scope(name: &str) -> Allow {
        Allow::Scope(Scope::new(name).unwrap())
    }

    fn registered(name: &str, script: Script) -> Registered {
        let scopes = [Scope::new("app.use").unwrap()].into();
        Registered {
            token: Some(Arc::new(Says(script))),
            ..Registered::new(ProviderName::new(name).unwrap(), scopes)
        }
    }

    fn claims(principal: &str) -> Claims {
        Claims::new(principal.to_owned(), &["app.use".to_owned()]).unwrap()
    }

    fn ci() -> Answer {
        Ok(TokenVerdict::Recognized(claims("ci")))
    }

    fn unknown() -> Answer {
        Ok(TokenVerdict::NotRecognized)
    }

    fn down() -> Answer {
        Err(ProviderFault::Unavailable("store".to_owned()))
    }

    fn gate(providers: Vec<Registered>) -> Gate {
        let people = Arc::new(People::new(PeopleGate::Sessions));
        let registry = Registry::new(providers).unwrap();
        Gate::new(TokenRoutes::default(), registry, people)
    }

    fn verified_again(gate: &Gate, ways: Vec<Allow>) -> (TokenStanding, Option<CallFault>) {
        let principal = Principal::mint(&registered("own", ci), claims("ci"));
        let token = BearerToken::by_hand("a-token".to_owned());
        let allowed = Allowed::any_of(ways);
        gate.verify_again(&allowed, &token, &principal, Instant::now())
            .now_or_never()
            .expect("scripted providers are always ready")
    }

    /// The standing of a token of which the provider `own` said that it is `ci`'s. The provider
    /// `first` is asked before it.
    fn standing(first: Script, own: Script, allow: Allow) -> TokenStanding {
        let gate = gate(vec![registered("first", first), registered("own", own)]);
        verified_again(&gate, vec![Allow::People, allow]).0
    }

    #[test]
    fn token_of_an_open_stream_is_good_for_its_principal_alone() {
        let other: Script = || Ok(TokenVerdict::Recognized(claims("other")));
        let broken: Script = || Err(ProviderFault::Trapped("kaboom".to_owned()));
        let cases: [(Script, Script, &str, TokenStanding); 9] = [
            (unknown, ci, "app.use", TokenStanding::Good),
            (down, ci, "app.use", TokenStanding::Good),
            (unknown, unknown, "app.use", TokenStanding::Refused),
            (unknown, other, "app.use", TokenStanding::Refused),
            (ci, unknown, "app.use", TokenStanding::Refused),
            (unknown, ci, "app.admin", TokenStanding::Refused),
            (down, unknown, "app.use", TokenStanding::Refused),
            (unknown, down, "app.use", TokenStanding::Unanswered),
            (unknown, broken, "app.use", TokenStanding::Unanswered),
        ];
        for (number, (first, own, name, expected)) in cases.into_iter().enumerate() {
            assert_eq!(standing(first, own, scope(name)), expected, "case {number}");
        }
    }

    #[test]
    fn token_of_an_open_stream_is_not_asked_about_where_everyone_may_enter() {
        assert_eq!(
            standing(unknown, unknown, Allow::Public),
            TokenStanding::Good
        );
        assert_eq!(
            standing(unknown, ci, Allow::People),
            TokenStanding::Refused,
            "no scope lets a service in"
        );
    }

    #[test]
    fn only_the_provider_of_the_principal_is_asked_about_an_open_stream() {
        let never: Script = || panic!("another provider was asked");
        let cases: [(Script, TokenStanding); 3] = [
            (ci, TokenStanding::Good),
            (unknown, TokenStanding::Refused),
            (down, TokenStanding::Unanswered),
        ];
        for (own, expected) in cases {
            assert_eq!(standing(never, own, scope("app.use")), expected);
        }

        let removed = gate(vec![registered("first", never)]);
        assert_eq!(
            verified_again(&removed, vec![scope("app.use")]),
            (TokenStanding::Refused, None)
        );
    }

    #[test]
    fn token_of_an_open_stream_needs_one_of_several_scopes() {
        let cases: [(&[&str], TokenStanding); 4] = [
            (&["app.use", "app.admin"], TokenStanding::Good),
            (&["app.admin", "app.use"], TokenStanding::Good),
            (&["app.admin", "app.other"], TokenStanding::Refused),
            (&["app.admin"], TokenStanding::Refused),
        ];
        for (names, expected) in cases {
            let own: VecDeque<Script> = [ci as Script].into();
            let own = Registered {
                token: Some(Arc::new(SaysInTurn(Mutex::new(own)))),
                ..registered("own", ci)
            };
            let ways = names.iter().copied().map(scope).collect();
            let (standing, fault) = verified_again(&gate(vec![own]), ways);
            assert_eq!((standing, fault), (expected, None), "{names:?}");
        }
    }

    #[test]
    fn token_of_an_open_stream_is_not_shown_to_a_component_that_lost_the_scope() {
        let never: Script = || panic!("the component was asked");
        let own = Registered {
            component: Some("digest".into()),
            ..registered("own", never)
        };
        let admitted = vec![scope("app.admin"), scope("app.other")];
        assert_eq!(
            verified_again(&gate(vec![own]), admitted),
            (TokenStanding::Refused, None)
        );

        let own = Registered {
            token_reach: TokenReach::Dashboard,
            ..registered("own", ci)
        };
        assert_eq!(
            verified_again(&gate(vec![own]), vec![scope("app.use")]).0,
            TokenStanding::Refused,
            "it opens no application"
        );
    }

    /// The reason of the refusal, or the name of the service, when the provider says these things
    /// in turn and the application admits these scopes.
    fn decided(scripts: &[Script], scopes: [&str; 2]) -> &'static str {
        let said = Arc::new(SaysInTurn(Mutex::new(scripts.iter().copied().collect())));
        let provider = Registered {
            token: Some(said.clone()),
            ..registered("own", ci)
        };
        let allowed = Allowed::any_of(scopes.map(scope).into());
        let authorization = vec![b"Bearer a-token".as_slice()];
        let at = Instant::now();
        let facts = RequestFacts::of_a_machine("/", authorization, at, at);
        let judgement = gate(vec![provider])
            .decide_application(&allowed, &facts)
            .now_or_never()
            .expect("scripted providers are always ready");

        assert!(said.0.lock().unwrap().is_empty(), "all was asked");
        match judgement.decision {
            Decision::Permitted(_) => "permitted",
            Decision::Refused(denial) => denial.reason(),
            Decision::Public => "public",
        }
    }

    #[test]
    fn clear_answer_counts_more_than_an_earlier_outage_of_the_same_provider() {
        let (use_first, use_last) = (["app.use", "app.admin"], ["app.admin", "app.use"]);
        let neither = ["app.admin", "app.other"];
        let cases: [(&[Script], [&str; 2], &str); 8] = [
            (
                &[down, unknown, unknown],
                use_first,
                "no_provider_recognises_token",
            ),
            (&[down, ci, ci], neither, "missing_scope"),
            (&[down, ci, ci], use_first, "permitted"),
            (&[down, ci], use_last, "permitted"),
            (&[down, unknown, down], use_first, "provider_unreachable"),
            (&[down, down], use_first, "provider_unreachable"),
            (&[ci, down], use_last, "provider_unreachable"),
            (&[unknown, down], use_last, "provider_unreachable"),
        ];
        for (number, (scripts, scopes, expected)) in cases.into_iter().enumerate() {
            assert_eq!(decided(scripts, scopes), expected, "case {number}");
        }
    }

    #[test]
    fn caller_with_a_session_and_without_a_token_is_judged_as_a_person() {
        let gate = gate(vec![registered("own", ci)]);
        let allowed = Allowed::any_of(vec![scope("app.use")]);
        let decided = |authorization: Vec<&[u8]>, is_unreadable: bool| {
            let at = Instant::now();
            let session = PresentedSession {
                is_unreadable,
                ..PresentedSession::default()
            };
            let facts = RequestFacts {
                session,
                ..RequestFacts::of_a_machine("/", authorization, at, at)
            };
            let judgement = gate.decide_application(&allowed, &facts).now_or_never();
            let decision = judgement
                .expect("scripted providers are always ready")
                .decision;
            match decision {
                Decision::Refused(denial) => denial.reason(),
                _ => "let in",
            }
        };

        assert_eq!(decided(Vec::new(), true), "invalid_or_expired_session");
        assert_eq!(decided(Vec::new(), false), "no_token");
        assert_eq!(decided(vec![b"Bearer a-token".as_slice()], true), "let in");
    }

    #[test]
    fn refusal_names_the_service_that_was_accepted_first() {
        let other: Script = || Ok(TokenVerdict::Recognized(claims("other")));
        let said: VecDeque<Script> = [ci as Script, other].into();
        let provider = Registered {
            token: Some(Arc::new(SaysInTurn(Mutex::new(said)))),
            ..registered("own", ci)
        };
        let allowed = Allowed::any_of(vec![scope("app.admin"), scope("app.other")]);
        let authorization = vec![b"Bearer a-token".as_slice()];
        let at = Instant::now();
        let facts = RequestFacts::of_a_machine("/", authorization, at, at);
        let gate = gate(vec![provider]);
        let judgement = gate.decide_application(&allowed, &facts).now_or_never();

        let judgement = judgement.expect("scripted providers are always ready");
        let Decision::Refused(denial) = judgement.decision else {
            unreachable!("the service has no scope of the application")
        };
        let provider = denial.provider().map(ProviderName::as_str);
        assert_eq!((denial.principal(), provider), (Some("ci"), Some("own")));
    }

    #[test]
    fn outage_of_a_provider_that_is_not_asked_for_the_later_scope_stays() {
        let only_first: VecDeque<Script> = [down as Script].into();
        let of_one_scope = Registered {
            token: Some(Arc::new(SaysInTurn(Mutex::new(only_first)))),
            component: Some("digest".into()),
            ..registered("first", down)
        };
        let gate = gate(vec![of_one_scope, registered("own", unknown)]);
        let allowed = Allowed::any_of(vec![scope("app.use"), scope("app.admin")]);
        let authorization = vec![b"Bearer a-token".as_slice()];
        let at = Instant::now();
        let facts = RequestFacts::of_a_machine("/", authorization, at, at);
        let judgement = gate.decide_application(&allowed, &facts).now_or_never();

        let decision = judgement
            .expect("scripted providers are always ready")
            .decision;
        assert!(
            matches!(&decision, Decision::Refused(denial) if denial.unanswered().is_some()),
            "{decision:?}"
        );
    }

    #[test]
    fn fault_of_a_provider_is_reported_where_the_caller_is_let_in_otherwise() {
        let without_sign_in = PeopleGate::ProcessToken(SecretDigest::of(b"secret"));
        let people = Arc::new(People::new(without_sign_in));
        let registry = Registry::new(vec![registered("own", down)]).unwrap();
        let gate = Gate::new(TokenRoutes::default(), registry, people);

        let allowed = Allowed::any_of(vec![Allow::People, scope("app.use")]);
        let authorization = vec![b"Bearer a-token".as_slice()];
        let at = Instant::now();
        let facts = RequestFacts::of_a_machine("/", authorization, at, at);
        let judgement = gate.decide_application(&allowed, &facts).now_or_never();
        let judgement = judgement.expect("scripted providers are always ready");
        assert!(matches!(judgement.decision, Decision::Public));
        assert_eq!(judgement.faults.len(), 1);
    }
}
