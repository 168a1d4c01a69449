//! The decision on a bearer token, which is the same for a route of the dashboard and for a service
//! that embeds the gate.

use super::super::chain::{self, ChainReport, Verified};
use super::super::{BearerToken, CallFault, Denial, Principal, ProviderName, Registry, Required};
use std::time::Instant;

/// The decision on the bearer token of a request.
#[derive(Debug)]
pub struct TokenJudgement {
    /// The caller that a provider vouches for, or the refusal of the request.
    pub outcome: Result<Principal, Denial>,
    /// Faults in the order in which the providers were asked.
    pub faults: Vec<(ProviderName, CallFault)>,
}

impl TokenJudgement {
    pub(super) fn accepted(principal: Principal, faults: Vec<(ProviderName, CallFault)>) -> Self {
        Self {
            outcome: Ok(principal),
            faults,
        }
    }

    pub(super) fn refused(denial: Denial) -> Self {
        Self {
            outcome: Err(denial),
            faults: Vec::new(),
        }
    }

    /// The same, with a refusal of a caller whose token opens no application.
    pub(super) fn at_applications(self) -> Self {
        let outcome = self
            .outcome
            .and_then(|principal| match principal.opens_applications() {
                true => Ok(principal),
                false => Err(Denial::missing_scope(&principal)),
            });
        Self { outcome, ..self }
    }
}

/// A gate for services alone: one requirement for every request, and no sessions of people.
#[derive(Clone)]
pub struct TokenGate {
    required: Required,
    registry: Registry,
}

impl TokenGate {
    /// Makes a gate that asks these providers.
    pub fn new(required: Required, registry: Registry) -> Self {
        Self { required, registry }
    }

    /// Returns the providers that are asked.
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// Decides by every value of `Authorization`. The providers must have answered by `by`.
    pub async fn decide(&self, authorization: &[&[u8]], deadline: Instant) -> TokenJudgement {
        judge(&self.registry, &self.required, authorization, deadline).await
    }
}

/// Reads the token, and asks the providers about it.
pub(super) async fn judge(
    registry: &Registry,
    required: &Required,
    authorization: &[&[u8]],
    deadline: Instant,
) -> TokenJudgement {
    match BearerToken::from_headers(authorization.iter().copied()) {
        Ok(token) => judge_token(registry, required, &token, deadline).await,
        Err(why) => TokenJudgement::refused(Denial::NoBearer(why)),
    }
}

/// Asks the providers about a token.
pub(super) async fn judge_token(
    registry: &Registry,
    required: &Required,
    token: &BearerToken,
    deadline: Instant,
) -> TokenJudgement {
    let scope = match required {
        Required::Scope(scope) => Some(scope),
        Required::NoScope => None,
        Required::Closed => return TokenJudgement::refused(Denial::RouteClosed),
    };

    let ChainReport { verified, faults } =
        chain::verify_token(registry, token, scope, deadline).await;
    let outcome = match verified {
        Verified::Accepted(principal) => Ok(principal),
        Verified::MissingScope(principal) => Err(Denial::missing_scope(&principal)),
        Verified::Unreachable(provider) => Err(Denial::TokenUnanswered { provider }),
        Verified::Unrecognized => Err(Denial::Unrecognized),
    };
    TokenJudgement { outcome, faults }
}
