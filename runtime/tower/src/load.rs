//! Loading the providers of a guard, each on its own: one that cannot be loaded leaves the others
//! as they are.

use futures_util::future::join_all;
use portcullis_auth::{
    BearerToken, BoxFuture, CallFault, ProviderFault, ProviderName, Registered, Registry,
    RegistryError, Scope, TokenProvider, TokenVerdict,
};
use portcullis_sandbox::{
    Health, Limits, LoadError, LoadedProvider, MonitoredProvider, ProviderSpec, QuarantineChange,
    QuarantineListener, Sandbox,
};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

/// A provider that is not loaded. The guard answers 503 in its place, unless another provider knows
/// the token.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NotLoaded {
    /// The component cannot be loaded, or refuses its settings.
    #[error("provider {name}: {cause}")]
    Refused {
        /// The name of the provider.
        name: ProviderName,
        /// Why the sandbox does not load it.
        cause: LoadError,
    },
    /// The provider signs people in, and takes no bearer tokens.
    #[error("provider {name} takes no bearer tokens")]
    TakesNoTokens {
        /// The name of the provider.
        name: ProviderName,
    },
}

/// Loads all providers at the same time. Returns those that are asked, in their order, and those
/// that could not be loaded.
///
/// # Errors
/// Two of them share a name.
pub(crate) async fn load_all(
    sandbox: &Arc<Sandbox>,
    providers: Vec<(ProviderSpec, BTreeSet<Scope>)>,
) -> Result<(Registry, Vec<NotLoaded>), RegistryError> {
    let loads = providers
        .into_iter()
        .map(|(spec, scopes)| load(sandbox, spec, scopes));
    let (registered, outcomes): (Vec<_>, Vec<_>) = join_all(loads).await.into_iter().unzip();
    let not_loaded: Vec<_> = outcomes.into_iter().flatten().collect();
    for error in &not_loaded {
        tracing::error!(%error, "a provider is not loaded: its callers get 503");
    }
    Ok((Registry::new(registered)?, not_loaded))
}

/// Loads one provider. If that fails, its place in the registry is held by one that answers that it
/// cannot be asked.
async fn load(
    sandbox: &Arc<Sandbox>,
    spec: ProviderSpec,
    scopes: BTreeSet<Scope>,
) -> (Registered, Option<NotLoaded>) {
    let (name, limits) = (spec.name.clone(), spec.limits);

    let error = match sandbox.load(spec).await {
        Ok(loaded) if loaded.takes_tokens => return (asked(&loaded, name, scopes, limits), None),
        Ok(_) => NotLoaded::TakesNoTokens { name: name.clone() },
        Err(cause) => NotLoaded::Refused {
            name: name.clone(),
            cause,
        },
    };

    let registered = Registered {
        token: Some(Arc::new(Missing)),
        // What it stands for is a component, which is not asked where it was not granted the scope.
        component: Some("not loaded".into()),
        ..Registered::new(name, scopes)
    };
    (registered, Some(error))
}

/// The entry of a provider that is loaded.
fn asked(
    loaded: &LoadedProvider,
    name: ProviderName,
    scopes: BTreeSet<Scope>,
    limits: Limits,
) -> Registered {
    let health = Arc::new(Health::new(limits, listener(name.clone())));
    let monitored = Arc::new(MonitoredProvider::new(
        loaded.provider.clone(),
        health,
        Box::new(|_| {}),
    ));

    Registered {
        token: Some(monitored.clone()),
        component: Some(loaded.inspection.sha256.as_str().into()),
        health: Some(monitored),
        ..Registered::new(name, scopes)
    }
}

/// Writes the changes of a quarantine to the log.
fn listener(provider: ProviderName) -> QuarantineListener {
    Box::new(move |change| match change {
        QuarantineChange::Opened { pause } => {
            let pause_ms = u64::try_from(pause.as_millis()).unwrap_or(u64::MAX);
            tracing::warn!(%provider, pause_ms, "provider quarantined after repeated faults");
        }
        QuarantineChange::Closed => tracing::info!(%provider, "provider is out of quarantine"),
    })
}

/// Stands in the place of a provider that is not loaded: it can neither confirm nor deny.
struct Missing;

impl TokenProvider for Missing {
    fn verify_token<'a>(
        &'a self,
        _: &'a BearerToken,
        _: Instant,
    ) -> BoxFuture<'a, Result<TokenVerdict, CallFault>> {
        let fault = CallFault::from(ProviderFault::Unavailable(
            "the provider is not loaded".into(),
        ));
        Box::pin(std::future::ready(Err(fault)))
    }
}
