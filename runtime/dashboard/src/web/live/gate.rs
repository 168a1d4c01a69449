//! The gate that requests pass now. A reload replaces it; a request that began with the old gate
//! keeps it to the end.

use crate::web::{AppTable, Branding};
use arc_swap::ArcSwap;
use portcullis_auth::{Gate, ProviderName};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;
use tokio::sync::watch;

/// A gate, and what else changes only together with it.
pub struct Serving {
    /// Decides which requests get through.
    pub gate: Gate,
    /// The applications behind it.
    pub apps: Arc<AppTable>,
    /// How the pages name and show this dashboard.
    pub branding: Arc<Branding>,
    /// Configured providers that were not loaded.
    pub refused: Vec<RefusedProvider>,
    /// Configured providers that are still being loaded.
    pub loading: usize,
    /// Whether the dashboard is ready: the providers are loaded, or have been given enough time.
    pub is_ready: bool,
}

impl Serving {
    /// Returns whether a provider has its place in the registry while it is still being loaded, so
    /// that nothing is known yet of how it signs people in. One that is loaded and opens sessions
    /// has a way to sign people in, and one for tokens has no sessions.
    pub(in crate::web) fn is_loading(&self, name: &str) -> bool {
        let provider = self.gate.registry().named_by(name);
        let is_placeholder = provider.is_some_and(|registered| {
            registered.session.is_some() && !registered.signs_people_in()
        });
        self.loading > 0 && is_placeholder
    }
}

/// A configured provider that was not loaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefusedProvider {
    /// The name in the configuration.
    pub name: ProviderName,
    /// The reason as one word.
    pub reason: &'static str,
    /// The reason in words, with its place in the configuration. For operators.
    pub detail: String,
}

/// The present [`Serving`], which a reload replaces.
#[derive(Clone)]
pub struct Live {
    present: Arc<ArcSwap<Serving>>,
    replaced: watch::Sender<()>,
    is_ending: Arc<AtomicBool>,
}

impl Live {
    /// Starts with this gate.
    pub fn new(serving: Serving) -> Self {
        let present = Arc::new(ArcSwap::from_pointee(serving));
        Self {
            present,
            replaced: watch::Sender::new(()),
            is_ending: Arc::default(),
        }
    }

    /// Marks the dashboard as not ready, since it will end soon.
    pub fn begin_end(&self) {
        self.is_ending.store(true, Ordering::Relaxed);
    }

    /// Returns whether the dashboard will end soon.
    pub fn is_ending(&self) -> bool {
        self.is_ending.load(Ordering::Relaxed)
    }

    /// Returns the present one. A request keeps the one that it began with.
    pub fn now(&self) -> Arc<Serving> {
        self.present.load_full()
    }

    /// Replaces the gate, from the next request on.
    pub fn replace(&self, serving: Serving) {
        self.present.store(Arc::new(serving));
        self.replaced.send_replace(());
    }

    /// Follows the replacements: changes at each.
    pub fn replacements(&self) -> watch::Receiver<()> {
        self.replaced.subscribe()
    }

    /// Waits until one more provider is loaded or the dashboard is ready, until this time at most.
    /// Returns what then serves, and `None` when nothing has changed.
    pub async fn next(&self, seen: &Serving, deadline: Instant) -> Option<Arc<Serving>> {
        let mut replaced = self.replacements();
        let is_other = |now: &Serving| now.loading != seen.loading || now.is_ready != seen.is_ready;
        let next = replaced.wait_for(|()| is_other(&self.now()));
        tokio::time::timeout_at(deadline.into(), next)
            .await
            .ok()?
            .ok()?;
        Some(self.now())
    }

    /// Waits until the dashboard is ready, until this time at most. Returns what then serves.
    pub async fn when_ready(&self, deadline: Instant) -> Arc<Serving> {
        let mut serving = self.now();
        while !serving.is_ready
            && let Some(next) = self.next(&serving, deadline).await
        {
            serving = next;
        }
        serving
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use portcullis_auth::{People, PeopleGate, Registry, SecretDigest, TokenRoutes};
    use std::time::Duration;

    fn serving(loading: usize) -> Serving {
        let people = Arc::new(People::new(PeopleGate::ProcessToken(SecretDigest::of(b""))));
        let registry = Registry::new(Vec::new()).unwrap();
        let gate = Gate::new(TokenRoutes::default(), registry, people);
        Serving {
            gate,
            apps: Arc::default(),
            branding: Arc::default(),
            refused: Vec::new(),
            loading,
            is_ready: loading == 0,
        }
    }

    fn within(milliseconds: u64) -> Instant {
        Instant::now() + Duration::from_millis(milliseconds)
    }

    #[tokio::test]
    async fn request_waits_for_the_providers_and_not_for_ever() {
        let live = Live::new(serving(2));
        assert!(live.next(&live.now(), within(10)).await.is_none());
        assert_eq!(live.when_ready(within(10)).await.loading, 2);
        let load = async {
            live.replace(serving(1));
            tokio::task::yield_now().await;
            live.replace(serving(0));
        };
        assert_eq!(
            tokio::join!(live.when_ready(within(60_000)), load)
                .0
                .loading,
            0
        );
        assert_eq!(live.when_ready(within(60_000)).await.loading, 0);
    }
}
