use super::{
    BearerToken, CallFault, Principal, ProviderName, Registered, Registry, Scope, TokenVerdict,
};
use std::time::Instant;

/// What the providers together made of a token. It is matched once, to pass, 403, 503 or 401.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verified {
    /// Known, and with the scope that the route requires.
    Accepted(Principal),
    /// Known, but without the scope.
    MissingScope(Principal),
    /// No provider recognizes it, and this one could not be asked.
    Unreachable(ProviderName),
    /// No provider recognizes it.
    Unrecognized,
}

/// The outcome, and every fault met on the way to it: the caller counts and logs them.
#[derive(Debug)]
pub struct ChainReport {
    /// What the providers make of the token.
    pub verified: Verified,
    /// Faults in the order in which the providers were asked.
    pub faults: Vec<(ProviderName, CallFault)>,
}

/// Returns whether this provider is asked where the scope is required. A component that was not
/// granted the scope could not authorise the request, so it is not asked: a token is shown to as
/// few components as possible.
pub(super) fn is_asked(registered: &Registered, required: Option<&Scope>) -> bool {
    let is_component = registered.component.is_some();
    !is_component || required.is_none_or(|scope| registered.scopes.contains(scope))
}

/// Asks the token providers in order until one vouches for the caller. A later acceptance beats an
/// earlier outage; a provider that is broken rather than out of reach is passed over.
pub(super) async fn verify_token(
    registry: &Registry,
    token: &BearerToken,
    required: Option<&Scope>,
    deadline: Instant,
) -> ChainReport {
    let mut faults: Vec<(ProviderName, CallFault)> = Vec::new();
    for registered in registry.iter() {
        let Some(provider) = &registered.token else {
            continue;
        };
        if !is_asked(registered, required) {
            continue;
        }
        match provider.verify_token(token, deadline).await {
            Ok(TokenVerdict::NotRecognized | TokenVerdict::Unusable(_)) => {}
            Ok(TokenVerdict::Recognized(claims)) => {
                let principal = Principal::mint(registered, claims);
                let verified = match required {
                    Some(scope) if !principal.has(scope) => Verified::MissingScope(principal),
                    _ => Verified::Accepted(principal),
                };
                return ChainReport { verified, faults };
            }
            Err(fault) => faults.push((registered.name.clone(), fault)),
        }
    }

    let outage = faults.iter().find(|(_, fault)| fault.fault.is_outage());
    let verified = outage.map_or(Verified::Unrecognized, |(name, _)| {
        Verified::Unreachable(name.clone())
    });
    ChainReport { verified, faults }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{BoxFuture, Claims, ProviderFault, TokenProvider};
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    type Answer = dyn Fn(&str) -> Result<TokenVerdict, ProviderFault> + Send + Sync;

    /// A provider whose answer is scripted, and which counts how often it was asked.
    struct Scripted {
        answer: Box<Answer>,
        asked: AtomicUsize,
    }

    impl TokenProvider for Scripted {
        fn verify_token<'a>(
            &'a self,
            token: &'a BearerToken,
            _: Instant,
        ) -> BoxFuture<'a, Result<TokenVerdict, CallFault>> {
            self.asked.fetch_add(1, Ordering::Relaxed);
            Box::pin(std::future::ready(
                (self.answer)(token.expose()).map_err(CallFault::from),
            ))
        }
    }

    fn provider(
        answer: impl Fn(&str) -> Result<TokenVerdict, ProviderFault> + Send + Sync + 'static,
    ) -> Arc<Scripted> {
        Arc::new(Scripted {
            answer: Box::new(answer),
            asked: AtomicUsize::new(0),
        })
    }

    fn knows(token: &'static str) -> Arc<Scripted> {
        provider(move |asked| {
            let claims = Claims::new("p".into(), &["drain".into()]).unwrap();
            Ok(if asked == token {
                TokenVerdict::Recognized(claims)
            } else {
                TokenVerdict::NotRecognized
            })
        })
    }

    fn broken() -> Arc<Scripted> {
        provider(|_| Err(ProviderFault::Trapped("kaboom".into())))
    }

    fn down() -> Arc<Scripted> {
        provider(|_| Err(ProviderFault::Unavailable("store".into())))
    }

    fn late() -> Arc<Scripted> {
        provider(|_| {
            Err(ProviderFault::DeadlineExceeded {
                limit: Duration::from_secs(1),
            })
        })
    }

    fn ask(providers: &[Arc<Scripted>], token: &str, scope: Option<&str>) -> ChainReport {
        let registered = providers
            .iter()
            .enumerate()
            .map(|(index, provider)| Registered {
                token: Some(provider.clone()),
                component: Some("digest".into()),
                ..Registered::new(
                    ProviderName::new(&format!("p{index}")).unwrap(),
                    [Scope::new("drain").unwrap()].into(),
                )
            });
        let registry = Registry::new(registered.collect()).unwrap();
        let scope = scope.map(|scope| Scope::new(scope).unwrap());
        let token = BearerToken::by_hand(token.into());
        futures_util::FutureExt::now_or_never(verify_token(
            &registry,
            &token,
            scope.as_ref(),
            Instant::now(),
        ))
        .expect("scripted providers are always ready")
    }

    #[test]
    fn first_match_wins_and_ends_the_search() {
        let [first, second] = [knows("a"), knows("a")];
        let report = ask(&[first.clone(), second.clone()], "a", Some("drain"));
        assert!(matches!(report.verified, Verified::Accepted(p) if p.provider().as_str() == "p0"));
        assert_eq!(second.asked.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn unrecognised_token_is_asked_of_everyone() {
        let providers = [knows("a"), knows("b")];
        assert_eq!(ask(&providers, "c", None).verified, Verified::Unrecognized);
        assert!(
            providers
                .iter()
                .all(|provider| provider.asked.load(Ordering::Relaxed) == 1)
        );
    }

    #[test]
    fn known_caller_without_the_scope_is_told_apart() {
        let vouches_for_less = provider(|_| {
            Ok(TokenVerdict::Recognized(
                Claims::new("p".into(), &[]).unwrap(),
            ))
        });
        assert!(matches!(
            ask(&[vouches_for_less], "a", Some("drain")).verified,
            Verified::MissingScope(_)
        ));
        assert!(matches!(
            ask(&[knows("a")], "a", None).verified,
            Verified::Accepted(_)
        ));
    }

    #[test]
    fn provider_without_the_required_scope_is_not_asked() {
        let provider = knows("a");
        assert_eq!(
            ask(std::slice::from_ref(&provider), "a", Some("admin")).verified,
            Verified::Unrecognized
        );
        assert_eq!(provider.asked.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn outage_is_remembered_and_beaten_by_a_later_acceptance() {
        let unreachable = |name| Verified::Unreachable(ProviderName::new(name).unwrap());
        assert_eq!(
            ask(&[down(), knows("a")], "b", None).verified,
            unreachable("p0")
        );
        assert_eq!(
            ask(&[knows("x"), late()], "b", None).verified,
            unreachable("p1")
        );
        assert!(matches!(
            ask(&[down(), knows("a")], "a", None).verified,
            Verified::Accepted(_)
        ));
    }

    #[test]
    fn broken_provider_is_reported_and_passed_over() {
        let report = ask(&[broken(), knows("a")], "b", None);
        assert_eq!(report.verified, Verified::Unrecognized);
        assert_eq!(report.faults.len(), 1);
        assert!(matches!(
            ask(&[broken(), knows("a")], "a", None).verified,
            Verified::Accepted(_)
        ));
    }

    #[test]
    fn caller_of_an_unusable_name_is_unknown_and_no_fault() {
        let unusable = || provider(|_| Ok(TokenVerdict::Unusable("the principal is empty".into())));
        let report = ask(&[unusable()], "a", None);
        assert_eq!(
            (report.verified, report.faults.len()),
            (Verified::Unrecognized, 0)
        );
        assert!(matches!(
            ask(&[unusable(), knows("a")], "a", None).verified,
            Verified::Accepted(_)
        ));
    }

    #[test]
    fn nobody_to_ask_means_nobody_is_known() {
        assert_eq!(ask(&[], "a", None).verified, Verified::Unrecognized);
    }
}
