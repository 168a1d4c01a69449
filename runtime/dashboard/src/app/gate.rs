//! Builds what requests pass: the gate, from the configuration and the loaded providers.

use super::StartError;
use super::drain_secret::{drain_provider, drain_secrets};
use super::loading::Loading;
use super::people_access::PeopleAccess;
use super::providers::{ProviderLoader, ProviderReport, Providers};
use crate::config::{Config, DashboardConfig};
use crate::web::{
    AppTable, DRAIN_PATH, Live, PAGE_DRAIN_PATH, PAGE_RESTART_PATH, RESTART_PATH, Serving,
    WHOAMI_PATH,
};
use portcullis_auth::{Gate, Registered, Registry, Required, TokenRoutes};
use std::sync::Arc;

/// Checks that one of the providers can sign people in, if people must.
///
/// # Errors
/// People must sign in, and none of the providers can sign a person in.
pub(super) fn require_sign_in(
    dashboard: &DashboardConfig,
    must_sign_in: bool,
    providers: &[Registered],
) -> Result<(), StartError> {
    if !must_sign_in || providers.iter().any(Registered::signs_people_in) {
        return Ok(());
    }
    match dashboard.gate_reason() {
        Some(reason) => Err(StartError::NobodySignsIn(reason)),
        None => Ok(()),
    }
}

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
    if loading == 0 {
        let must_sign_in = people_access.must_sign_in;
        require_sign_in(&config.dashboard, must_sign_in, &providers.registered)?;
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Environment, load_text};

    #[test]
    fn gate_without_a_provider_is_refused_for_every_public_address() {
        for (host, must_sign_in, is_refused) in [
            ("10.0.0.1", true, true),
            ("169.254.1.1", true, true),
            ("example.com", true, true),
            ("0.0.0.0", true, true),
            ("10.0.0.1", false, false),
            ("127.0.0.1", false, false),
        ] {
            let text = format!("dashboard: {{host: {host}}}");
            let config = load_text("/home".into(), None, &text, Environment::default()).unwrap();
            let checked = require_sign_in(&config.dashboard, must_sign_in, &[]);
            assert_eq!(checked.is_err(), is_refused, "{host}");
            assert!(checked.err().is_none_or(|error| error.is_usage()), "{host}");
        }
    }
}
