//! The decision on one request.

use crate::builder::{GuardBuilder, GuardError};
use crate::load::NotLoaded;
use http::HeaderMap;
use http::header::{AUTHORIZATION, HeaderValue};
use portcullis_auth::{Denial, Principal, Registry, Required, Scope, TokenGate, TokenJudgement};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Wall clock over all providers that are asked about one token. The deadline of each provider's
/// own call is in its limits.
const CHAIN_DEADLINE: Duration = Duration::from_millis(2_500);

/// Providers, and the scope that a caller must have.
pub struct Guard {
    gate: TokenGate,
    not_loaded: Arc<[NotLoaded]>,
}

impl Guard {
    /// Begins a guard without providers.
    pub fn builder() -> GuardBuilder {
        GuardBuilder::default()
    }

    pub(crate) fn new(gate: TokenGate, not_loaded: Arc<[NotLoaded]>) -> Self {
        Self { gate, not_loaded }
    }

    pub(crate) fn not_loaded(&self) -> &[NotLoaded] {
        &self.not_loaded
    }

    /// The same providers behind another scope.
    pub(crate) fn requiring(&self, scope: Scope) -> Result<Self, GuardError> {
        let registry = self.gate.registry();
        let gate = TokenGate::new(required(scope, registry)?, registry.clone());
        Ok(Self::new(gate, self.not_loaded.clone()))
    }

    /// Takes `Authorization` off a request, and asks the providers about the token in it.
    ///
    /// # Errors
    /// The request is refused.
    pub(crate) async fn admit(&self, headers: &mut HeaderMap) -> Result<Principal, Denial> {
        let credentials: Vec<HeaderValue> =
            headers.get_all(AUTHORIZATION).iter().cloned().collect();
        headers.remove(AUTHORIZATION);
        let credentials: Vec<&[u8]> = credentials.iter().map(HeaderValue::as_bytes).collect();

        let deadline = Instant::now() + CHAIN_DEADLINE;
        let TokenJudgement { outcome, faults } = self.gate.decide(&credentials, deadline).await;
        // Callers cause faults and refusals as often as they like. A quarantine is a warning, and
        // is bounded.
        for (provider, fault) in faults {
            tracing::debug!(%provider, %fault, "provider failed");
        }
        outcome.inspect_err(|denial| {
            tracing::debug!(reason = denial.reason(), detail = %denial, "refused");
        })
    }
}

/// What a token must have. A scope that no provider may hand out is a mistake, since it would shut
/// every caller out.
///
/// # Errors
/// No provider may hand out the scope.
pub(crate) fn required(scope: Scope, registry: &Registry) -> Result<Required, GuardError> {
    match registry
        .iter()
        .any(|registered| registered.scopes.contains(&scope))
    {
        true => Ok(Required::Scope(scope)),
        false => Err(GuardError::NotGranted(scope)),
    }
}
