//! Loading every configured provider, each on its own.

use crate::auth::{ProviderName, Registered, TokenProvider};
use crate::bundled;
use crate::config::{ComponentRef, Config, ProviderConfig};
use crate::sandbox::{
    ComponentSource, Inspection, Limits, LoadError, LoadedProvider, ProviderSpec, Sandbox, SandboxError,
    SandboxSettings,
};
use crate::web::{Measured, Metrics};
use futures_util::future::join_all;
use std::sync::Arc;

/// Where compiled components are kept in the home.
const CACHE: &str = "cache/components";

/// What became of one provider.
pub struct ProviderReport {
    /// Its configured name.
    pub name: ProviderName,
    /// Where it stands in the file, as `file:line`.
    pub place: String,
    /// What was loaded, or why nothing was.
    pub outcome: Result<Inspection, LoadError>,
    /// Does it take bearer tokens?
    pub takes_tokens: bool,
}

/// Those that were loaded, and what became of each.
pub struct Providers {
    /// In the order of the configuration.
    pub registered: Vec<Registered>,
    /// In the order of the configuration.
    pub reports: Vec<ProviderReport>,
}

/// How providers are loaded.
#[derive(Clone, Copy, Default)]
pub struct LoadOptions<'a> {
    /// Where their calls are timed.
    pub metrics: Option<&'a Metrics>,
    /// May compiled components be kept in the home?
    pub cache: bool,
}

/// Loads all providers, side by side. One that cannot be loaded disables itself alone.
///
/// # Errors
/// The sandbox does not come up.
pub async fn load_providers(config: &Config, options: LoadOptions<'_>) -> Result<Providers, SandboxError> {
    let configured = &config.dashboard.providers;
    let sandbox = Sandbox::start(&sandbox_settings(config, options.cache))?;
    let loads = configured.iter().map(|provider| sandbox.load(spec_of(provider)));
    let outcomes = join_all(loads).await;
    let mut providers = Providers { registered: Vec::new(), reports: Vec::new() };
    for (provider, outcome) in configured.iter().zip(outcomes) {
        let (name, place) = (provider.name.clone(), provider.place.clone());
        let takes_tokens = outcome.as_ref().is_ok_and(|loaded| loaded.token.is_some());
        let outcome = outcome.map(|loaded| {
            providers.registered.push(register(provider, &loaded, options.metrics));
            loaded.inspection
        });
        providers.reports.push(ProviderReport { name, place, outcome, takes_tokens });
    }
    Ok(providers)
}

fn sandbox_settings(config: &Config, cache: bool) -> SandboxSettings {
    let memories = config.dashboard.providers.iter().map(|provider| provider.limits.memory_bytes);
    SandboxSettings {
        providers: config.dashboard.providers.len(),
        max_memory_bytes: memories.max().unwrap_or_default().max(Limits::default().memory_bytes),
        cache: cache.then(|| config.home.join(CACHE)),
    }
}

fn spec_of(provider: &ProviderConfig) -> ProviderSpec {
    let source = match &provider.component {
        ComponentRef::Path(path) => ComponentSource::File(path.clone()),
        ComponentRef::Builtin(name) => ComponentSource::Bundled(bundled::component(name).unwrap_or_default()),
    };
    ProviderSpec {
        name: provider.name.clone(),
        source,
        sha256: provider.sha256.clone(),
        settings: provider.settings.clone(),
        limits: provider.limits,
    }
}

fn register(provider: &ProviderConfig, loaded: &LoadedProvider, metrics: Option<&Metrics>) -> Registered {
    let token = loaded.token.clone().map(|token| -> Arc<dyn TokenProvider> {
        match metrics {
            Some(metrics) => Arc::new(Measured::new(token, &provider.name, metrics)),
            None => token,
        }
    });
    Registered {
        name: provider.name.clone(),
        display_name: provider.display_name.clone(),
        scopes: provider.grants.scopes.clone(),
        token,
        signs_people_in: loaded.inspection.signs_people_in(),
    }
}
