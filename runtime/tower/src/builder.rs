//! From the providers of an embedder to a layer.

use crate::guard::{Guard, required};
use crate::load::load_all;
use crate::service::GuardLayer;
use portcullis_auth::{BadName, RegistryError, Scope, TokenGate};
use portcullis_sandbox::{Limits, ProviderSpec, Sandbox, SandboxError, SandboxSettings};
use std::collections::BTreeSet;
use std::path::PathBuf;

/// Why there is no guard. A provider that is not loaded is no such reason: see
/// [`NotLoaded`](crate::NotLoaded).
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GuardError {
    /// A scope does not have the form of one.
    #[error(transparent)]
    BadName(#[from] BadName),
    /// Two providers share a name.
    #[error(transparent)]
    SameName(#[from] RegistryError),
    /// [`GuardBuilder::require`] was not called.
    #[error("the guard requires no scope: name one with `require`")]
    NothingRequired,
    /// No provider may hand out the scope, so no token would have it.
    #[error("no provider of the guard may hand out the scope `{0}`: add it to the scopes of one")]
    NotGranted(Scope),
    /// The sandbox did not start.
    #[error(transparent)]
    Sandbox(#[from] SandboxError),
}

/// A provider, and the scopes that it may hand out, not yet checked.
struct UncheckedProvider {
    spec: ProviderSpec,
    scopes: Vec<String>,
}

/// Collects what a guard consists of. Begins with [`Guard::builder`].
#[derive(Default)]
#[must_use = "nothing is guarded before `build`"]
pub struct GuardBuilder {
    entries: Vec<UncheckedProvider>,
    required: Option<String>,
    cache: Option<PathBuf>,
}

impl GuardBuilder {
    /// Adds a provider, and the scopes that it may hand out: other scopes that it claims for a
    /// caller are dropped. The providers are asked in the order in which they are added, and only
    /// those that may hand out the required scope.
    pub fn provider(mut self, spec: ProviderSpec, scopes: &[&str]) -> Self {
        let scopes = scopes.iter().map(ToString::to_string).collect();
        self.entries.push(UncheckedProvider { spec, scopes });
        self
    }

    /// Sets the scope that a caller must have.
    pub fn require(mut self, scope: &str) -> Self {
        self.required = Some(scope.to_owned());
        self
    }

    /// Keeps compiled components in this folder, which is made for this user alone (mode 0700).
    /// Without it, each start compiles them again. A folder that other users can write to is not
    /// used.
    pub fn cache(mut self, folder: impl Into<PathBuf>) -> Self {
        self.cache = Some(folder.into());
        self
    }

    /// Starts a sandbox, loads the providers side by side, and returns the layer. It may be cloned,
    /// and all clones share the providers with their limits and quarantines.
    ///
    /// # Errors
    /// The guard could let no caller in, a name is malformed, or the sandbox did not start. If a
    /// provider cannot be loaded, there is a guard: see [`GuardLayer::not_loaded`].
    pub async fn build(self) -> Result<GuardLayer, GuardError> {
        let scope = Scope::new(&self.required.ok_or(GuardError::NothingRequired)?)?;
        let mut providers = Vec::new();
        for UncheckedProvider { spec, scopes } in self.entries {
            let scopes = scopes
                .iter()
                .map(|scope| Scope::new(scope))
                .collect::<Result<BTreeSet<_>, _>>()?;
            providers.push((spec, scopes));
        }

        let limits: Vec<_> = providers.iter().map(|(spec, _)| spec.limits).collect();
        let sandbox = Sandbox::start(&settings(&limits, self.cache))?;
        let (registry, not_loaded) = load_all(&sandbox, providers).await?;
        let gate = TokenGate::new(required(scope, &registry)?, registry);
        Ok(GuardLayer::new(Guard::new(gate, not_loaded.into())))
    }
}

/// A sandbox that has room for providers with these limits.
fn settings(limits: &[Limits], cache: Option<PathBuf>) -> SandboxSettings {
    let largest = |size: fn(Limits) -> usize| {
        let least = size(Limits::default());
        limits.iter().copied().map(size).fold(least, usize::max)
    };
    SandboxSettings {
        providers: limits.len(),
        max_memory_bytes: largest(|limits| limits.memory_bytes),
        max_table_elements: largest(|limits| limits.table_elements),
        max_core_instances: largest(|limits| limits.core_instances),
        cache,
        ..SandboxSettings::default()
    }
}
