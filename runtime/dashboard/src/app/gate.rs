//! Builds what requests pass: the gate, from the configuration and the loaded providers.

use super::StartError;
use super::drain_secret::{drain_provider, drain_secrets};
use super::loading::Loading;
use super::people_access::PeopleAccess;
use super::providers::{ProviderLoader, ProviderReport, Providers};
use crate::config::Config;
use crate::web::{
    AppTable, DRAIN_PATH, Live, PAGE_DRAIN_PATH, PAGE_RESTART_PATH, RESTART_PATH, Serving,
    WHOAMI_PATH,
};
use portcullis_auth::{Gate, Registered, Registry, Required, TokenRoutes};
use std::sync::Arc;

/// Builds what requests pass until the first provider is loaded.
pub(super) fn first_live(
    config: &Config,
    loader: &ProviderLoader,
    loading: &Loading,
    people_access: &PeopleAccess,
    apps: &Arc<AppTable>,
) -> Result<Live, StartError> {
    let nothing_loaded = loader.collect(config, loading);
    let serving = live_gate(config, &nothing_loaded, loading.left(), people_access, apps)?;
    Ok(Live::new(Serving {
        is_ready: false,
        ..serving
    }))
}

/// Builds what requests pass: everything that a reload replaces. `loading` is the number of
/// providers that are still being loaded, one of which may be able to sign people in.
pub(super) fn live_gate(
    config: &Config,
    providers: &Providers,
    loading: usize,
    people_access: &PeopleAccess,
    apps: &Arc<AppTable>,
) -> Result<Serving, StartError> {
    let nobody_signs_in =
        loading == 0 && !providers.registered.iter().any(Registered::signs_people_in);
    if let Some(reason) = config
        .dashboard
        .gate_reason()
        .filter(|_| people_access.must_sign_in && nobody_signs_in)
    {
        return Err(StartError::NobodySignsIn(reason));
    }

    let refused = providers
        .reports
        .iter()
        .filter_map(ProviderReport::refused)
        .collect();
    let gate = build_gate(config, providers.registered.clone(), people_access)?;
    let branding = Arc::new(config.dashboard.branding.clone());

    Ok(Serving {
        gate,
        apps: apps.clone(),
        branding,
        refused,
        loading,
        is_ready: loading == 0,
    })
}

/// The drain secret's provider stands before every other, so no guest ever sees a drain token that
/// matches.
///
/// Where the gate for people is open, anyone can read this process's token: the drain routes then
/// are token routes even without a secret, and so shut. The restart routes are shut there for the
/// drain secret as well, unless the configuration makes one a token route.
fn build_gate(
    config: &Config,
    mut providers: Vec<Registered>,
    people_access: &PeopleAccess,
) -> Result<Gate, StartError> {
    let scope = &config.dashboard.drain_scope;
    let mut routes = TokenRoutes::default().with(WHOAMI_PATH, Required::NoScope);

    if people_access.is_open {
        for path in [DRAIN_PATH, PAGE_DRAIN_PATH] {
            routes = routes.with(path, Required::Scope(scope.clone()));
        }
        for path in [RESTART_PATH, PAGE_RESTART_PATH] {
            routes = routes.with(path, Required::Closed);
        }
    }

    for (path, scope) in &config.dashboard.token_routes {
        routes = routes.with(path, Required::Scope(scope.clone()));
    }
    if let Ok(secrets) = drain_secrets(config) {
        providers.insert(0, drain_provider(secrets, scope));
        routes = routes.with(DRAIN_PATH, Required::Scope(scope.clone()));
    }

    let gate = Gate::new(
        routes,
        Registry::new(providers)?,
        people_access.people.clone(),
    );
    Ok(gate.with_access(config.dashboard.access.clone()))
}
