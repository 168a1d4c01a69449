//! The drain secret: what was found of it, judged by the strength gate.

use crate::config::{Config, DrainSecrets};
use crate::drain::{DRAIN_PROVIDER, DrainSecret, DrainSecretProvider};
use portcullis_auth::{ProviderName, Registered, Scope, TokenReach};
use std::sync::Arc;

/// What the drain secret's registration came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DrainRegistration {
    /// The provider is registered, and the route is guarded by it.
    Registered,
    /// It is not, and why. The route stays behind the gate for people.
    Skipped(String),
}

/// Returns whether the drain secret would be registered, without using it.
pub fn drain_registration(config: &Config) -> DrainRegistration {
    let secrets = drain_secrets(config);
    secrets.map_or_else(DrainRegistration::Skipped, |_| {
        DrainRegistration::Registered
    })
}

/// The configured secrets, if each of them passes the strength gate.
pub(super) fn drain_secrets(config: &Config) -> Result<Vec<DrainSecret>, String> {
    let DrainSecrets { source, read } = &config.dashboard.drain_secrets;
    let Some(source) = source else {
        return Err(
            "HERMES_DASHBOARD_DRAIN_SECRET is not set: set it (portcullis secret generate), or \
                    dashboard.drain_auth.secret, to let a service drain"
                .to_owned(),
        );
    };

    let secrets = read.as_ref().map_err(|why| format!("{source}: {why}"))?;
    let check = |secret: &crate::config::Secret| {
        DrainSecret::new(secret.expose(), config.dashboard.min_secret_chars)
            .map_err(|weak| format!("{source} is refused: {weak}: {}", weak.advice()))
    };
    secrets.iter().map(check).collect()
}

/// The provider that knows them.
pub(super) fn drain_provider(secrets: Vec<DrainSecret>, scope: &Scope) -> Registered {
    let name = ProviderName::new(DRAIN_PROVIDER).expect("a constant that is a name");
    Registered {
        display_name: "Drain control (service credential)".to_owned(),
        token: Some(Arc::new(DrainSecretProvider::new(secrets, scope))),
        token_reach: TokenReach::Dashboard,
        ..Registered::new(name, [scope.clone()].into())
    }
}
