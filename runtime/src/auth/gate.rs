use super::chain::{self, ChainReport, Verified};
use super::{
    BearerToken, CallFault, Denial, Principal, ProviderName, Registry, Required, SecretDigest, TokenRoutes,
    safe_target,
};
use std::time::Instant;

/// What the gate needs to know of a request.
#[derive(Debug)]
pub struct RequestFacts<'a> {
    /// The path exactly as it was sent, without the query.
    pub path: &'a str,
    /// Every value of `Authorization`.
    pub authorization: Vec<&'a [u8]>,
    /// Every value of `X-Hermes-Session-Token`.
    pub session_token: Vec<&'a [u8]>,
    /// When the providers must have answered.
    pub by: Instant,
}

/// The gate for people, behind the token routes.
#[derive(Clone, Debug)]
pub enum PeopleGate {
    /// A loopback bind, or `--insecure`: whoever reads the page at `/` holds this process's token.
    ProcessToken(SecretDigest),
    /// Every other bind: a person signs in.
    Sessions,
}

/// Who was let in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Caller {
    /// A machine, verified by a provider.
    Service(Principal),
    /// Whoever holds this process's token.
    ProcessTokenHolder,
}

/// Proof that the gate let a caller in. Only the gate makes one, so what asks for a permit cannot be reached
/// by a request that the gate did not see.
#[derive(Clone, Debug)]
pub struct Permit(Caller);

impl Permit {
    /// Who was let in.
    pub fn caller(&self) -> &Caller {
        &self.0
    }

    /// The name to write into markers, logs and audit lines.
    pub fn name(&self) -> &str {
        match &self.0 {
            Caller::Service(principal) => principal.name(),
            Caller::ProcessTokenHolder => "dashboard",
        }
    }
}

/// The gate's decision on one request.
#[derive(Debug)]
pub enum Decision {
    /// The path is open to everyone: no permit comes with it.
    Public,
    /// The caller is known and may.
    Permitted(Permit),
    /// Refused.
    Refused(Denial),
}

/// The decision, and the faults that providers showed on the way.
#[derive(Debug)]
pub struct Judgement {
    /// The decision.
    pub decision: Decision,
    /// Was the path one that bearer tokens guard?
    pub token_route: bool,
    /// Faults in the order in which the providers were asked.
    pub faults: Vec<(ProviderName, CallFault)>,
}

impl Judgement {
    fn people(decision: Decision) -> Self {
        Self { decision, token_route: false, faults: Vec::new() }
    }

    fn token(decision: Decision, faults: Vec<(ProviderName, CallFault)>) -> Self {
        Self { decision, token_route: true, faults }
    }
}

/// Who gets through: first the token routes, which own their paths whatever the method; then the gate for
/// people.
#[derive(Clone)]
pub struct Gate {
    routes: TokenRoutes,
    registry: Registry,
    people: PeopleGate,
}

/// Open whatever the bind. Exact paths, never prefixes of names.
const PUBLIC: &[&str] = &[
    "/login",
    "/auth/login",
    "/auth/callback",
    "/auth/password-login",
    "/auth/logout",
    "/api/auth/providers",
    "/api/status",
    "/healthz",
    "/readyz",
    "/favicon.ico",
];

impl Gate {
    /// A gate over these routes and providers.
    pub fn new(routes: TokenRoutes, registry: Registry, people: PeopleGate) -> Self {
        Self { routes, registry, people }
    }

    /// The providers that are asked.
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// Does this request get through?
    pub async fn decide(&self, facts: &RequestFacts<'_>) -> Judgement {
        match self.routes.required(facts.path) {
            Some(required) => self.decide_token_route(required, facts).await,
            None => Judgement::people(self.decide_for_people(facts)),
        }
    }

    async fn decide_token_route(&self, required: &Required, facts: &RequestFacts<'_>) -> Judgement {
        let token = match BearerToken::from_headers(facts.authorization.iter().copied()) {
            Ok(token) => token,
            Err(why) => return Judgement::token(Decision::Refused(Denial::no_bearer(why)), Vec::new()),
        };
        let scope = match required {
            Required::Scope(scope) => Some(scope),
            Required::NoScope => None,
        };
        let ChainReport { verified, faults } =
            chain::verify_token(&self.registry, &token, scope, facts.by).await;
        let decision = match verified {
            Verified::Accepted(principal) => Decision::Permitted(Permit(Caller::Service(principal))),
            Verified::MissingScope(principal) => Decision::Refused(Denial::missing_scope(&principal)),
            Verified::Unreachable(provider) => Decision::Refused(Denial::unreachable(provider)),
            Verified::Unrecognized => Decision::Refused(Denial::unrecognized()),
        };
        Judgement::token(decision, faults)
    }

    fn decide_for_people(&self, facts: &RequestFacts<'_>) -> Decision {
        if PUBLIC.contains(&facts.path) || facts.path.starts_with("/assets/") {
            return Decision::Public;
        }
        match &self.people {
            PeopleGate::Sessions => Decision::Refused(Denial::no_session(safe_target(facts.path).to_owned())),
            PeopleGate::ProcessToken(_) if !needs_process_token(facts.path) => Decision::Public,
            PeopleGate::ProcessToken(expected) if presents(expected, facts) => {
                Decision::Permitted(Permit(Caller::ProcessTokenHolder))
            }
            PeopleGate::ProcessToken(_) => Decision::Refused(Denial::no_process_token()),
        }
    }
}

fn needs_process_token(path: &str) -> bool {
    path == "/metrics" || path == "/api" || path.starts_with("/api/")
}

/// One `X-Hermes-Session-Token`, or the same token as a bearer.
fn presents(expected: &SecretDigest, facts: &RequestFacts<'_>) -> bool {
    match facts.session_token[..] {
        [token] => expected.matches(token),
        [] => BearerToken::from_headers(facts.authorization.iter().copied())
            .is_ok_and(|token| expected.matches(token.expose().as_bytes())),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::{DenialStatus, Scope};
    use futures_util::FutureExt;

    fn gate(people: PeopleGate) -> Gate {
        let drain = Required::Scope(Scope::new("drain").unwrap());
        Gate::new(TokenRoutes::default().with("/api/gateway/drain", drain), Registry::default(), people)
    }

    fn loopback() -> Gate {
        gate(PeopleGate::ProcessToken(SecretDigest::of(b"process token")))
    }

    fn decide(gate: &Gate, path: &str, authorization: &[&str], session_token: &[&str]) -> Decision {
        let facts = RequestFacts {
            path,
            authorization: authorization.iter().map(|value| value.as_bytes()).collect(),
            session_token: session_token.iter().map(|value| value.as_bytes()).collect(),
            by: Instant::now(),
        };
        gate.decide(&facts).now_or_never().expect("no provider to wait for").decision
    }

    fn status(decision: &Decision) -> Option<DenialStatus> {
        match decision {
            Decision::Refused(denial) => Some(denial.status),
            _ => None,
        }
    }

    #[test]
    fn token_route_without_a_provider_stays_shut() {
        for gate in [loopback(), gate(PeopleGate::Sessions)] {
            for authorization in [&[][..], &["Bearer anything"], &["Bearer process token"]] {
                let decision = decide(&gate, "/api/gateway/drain", authorization, &["process token"]);
                assert_eq!(status(&decision), Some(DenialStatus::BearerUnauthorized));
            }
        }
    }

    #[test]
    fn process_token_opens_the_api_on_loopback() {
        let gate = loopback();
        let refused = |decision| status(&decision) == Some(DenialStatus::BearerUnauthorized);
        assert!(refused(decide(&gate, "/api/x", &[], &[])));
        assert!(refused(decide(&gate, "/api/x", &[], &["wrong"])));
        assert!(refused(decide(&gate, "/api/x", &["Bearer wrong"], &[])));
        assert!(refused(decide(&gate, "/api/x", &[], &["process token", "process token"])));
        assert!(refused(decide(&gate, "/metrics", &[], &[])));
        for (authorization, header) in [(&[][..], &["process token"][..]), (&["bearer process token"], &[])] {
            let decision = decide(&gate, "/api/x", authorization, header);
            assert!(matches!(decision, Decision::Permitted(permit) if permit.name() == "dashboard"));
        }
    }

    #[test]
    fn public_paths_are_exact() {
        for gate in [loopback(), gate(PeopleGate::Sessions)] {
            for path in PUBLIC {
                assert!(matches!(decide(&gate, path, &[], &[]), Decision::Public), "{path}");
                let longer = format!("{path}x");
                if longer.starts_with("/api") {
                    assert!(status(&decide(&gate, &longer, &[], &[])).is_some(), "{longer}");
                }
            }
        }
    }

    #[test]
    fn without_a_session_only_public_paths_answer() {
        let gate = gate(PeopleGate::Sessions);
        for path in ["/", "/sessions", "/loginx", "/api/auth/me", "/metrics", "/assets", "/nothing"] {
            assert_eq!(status(&decide(&gate, path, &[], &["x"])), Some(DenialStatus::Unauthorized), "{path}");
        }
    }
}
