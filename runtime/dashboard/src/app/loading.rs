//! Loading several providers at a time: the outcomes as they come, with a line in the log when it
//! takes long.

use crate::config::ProviderConfig;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use portcullis_auth::{
    BearerToken, BoxFuture, CallFault, CheckedClaims, LogoutVerdict, ProviderFault,
    RefreshProvider, RefreshVerdict, Registered, SessionProvider, SignOutProvider, TokenProvider,
    TokenVerdict,
};
use portcullis_sandbox::{LoadError, LoadedProvider};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::time::{Interval, interval};

/// Between two lines of how many are loaded.
const PROGRESS_PAUSE: Duration = Duration::from_secs(1);

type LoadOutcome = Result<LoadedProvider, LoadError>;

/// Loads that are under way.
pub(super) struct Loading {
    under_way: FuturesUnordered<BoxFuture<'static, (usize, LoadOutcome)>>,
    outcomes: Vec<Option<LoadOutcome>>,
    pauses: Interval,
    told: Option<usize>,
    /// Whether the progress is logged.
    logs: bool,
}

impl Loading {
    /// Begins all of them. `logs`: the progress is logged, which a command that prints its own
    /// answer does not want.
    pub(super) fn new(loads: Vec<BoxFuture<'static, LoadOutcome>>, logs: bool) -> Self {
        Self {
            logs,
            ..Self::with_pause(loads, PROGRESS_PAUSE)
        }
    }

    fn with_pause(loads: Vec<BoxFuture<'static, LoadOutcome>>, pause: Duration) -> Self {
        let outcomes = loads.iter().map(|_| None).collect();
        let numbered = loads.into_iter().enumerate();
        let under_way = numbered
            .map(|(index, load)| -> BoxFuture<'static, _> {
                Box::pin(async move { (index, load.await) })
            })
            .collect();
        let mut pauses = interval(pause);
        pauses.reset();

        Self {
            under_way,
            outcomes,
            pauses,
            told: None,
            logs: true,
        }
    }

    /// Waits until one more is over. Returns whether there was one.
    pub(super) async fn next(&mut self) -> bool {
        loop {
            tokio::select! {
                biased;
                over = self.under_way.next() => match over {
                    Some((index, outcome)) => {
                        self.outcomes[index] = Some(outcome);
                        return true;
                    }
                    None => return false,
                },
                _ = self.pauses.tick() => self.tell(),
            }
        }
    }

    /// Waits until all are over.
    pub(super) async fn finish(&mut self) {
        while self.next().await {}
    }

    /// Writes how many are loaded, if that has changed.
    fn tell(&mut self) {
        let done = self.outcomes.iter().flatten().count();
        if self.logs && self.told.replace(done) != Some(done) {
            tracing::info!(
                done,
                of = self.outcomes.len(),
                "still loading providers: a component that is new here is compiled first"
            );
        }
    }

    /// How many are still being loaded.
    pub(super) fn left(&self) -> usize {
        self.under_way.len()
    }

    /// What has come of each so far, in the order of the configuration.
    pub(super) fn outcomes(&self) -> &[Option<LoadOutcome>] {
        &self.outcomes
    }
}

/// Stands in the place of a provider that is still being loaded: it can neither confirm nor deny,
/// so callers are asked to come again, and no session is ended.
pub(super) struct StillLoading;

impl StillLoading {
    /// The provider's entry in the registry.
    pub(super) fn registered(configured: &ProviderConfig) -> Registered {
        let provider = Arc::new(Self);
        Registered {
            display_name: configured.display_name.clone(),
            // What it stands for is a component, which is not asked where it was not granted the
            // scope.
            component: Some("still being loaded".into()),
            token: Some(provider.clone()),
            session: Some(provider.clone()),
            refresh: Some(provider.clone()),
            sign_out: Some(provider),
            ..Registered::new(configured.name.clone(), configured.grants.scopes.clone())
        }
    }

    fn fault() -> CallFault {
        ProviderFault::Unavailable("the provider is still being loaded".into()).into()
    }
}

impl TokenProvider for StillLoading {
    fn verify_token<'a>(
        &'a self,
        _: &'a BearerToken,
        _: Instant,
    ) -> BoxFuture<'a, Result<TokenVerdict, CallFault>> {
        Box::pin(async { Err(Self::fault()) })
    }
}

impl SessionProvider for StillLoading {
    fn verify_session<'a>(
        &'a self,
        _: &'a str,
        _: Instant,
    ) -> BoxFuture<'a, Result<Option<CheckedClaims>, CallFault>> {
        Box::pin(async { Err(Self::fault()) })
    }
}

impl RefreshProvider for StillLoading {
    fn refresh<'a>(
        &'a self,
        _: &'a str,
        _: Instant,
    ) -> BoxFuture<'a, Result<RefreshVerdict, CallFault>> {
        Box::pin(async { Err(Self::fault()) })
    }

    fn revoke<'a>(&'a self, _: &'a str, _: Instant) -> BoxFuture<'a, Result<(), CallFault>> {
        Box::pin(async { Err(Self::fault()) })
    }
}

impl SignOutProvider for StillLoading {
    fn read_logout_token<'a>(
        &'a self,
        _: &'a str,
        _: Instant,
    ) -> BoxFuture<'a, Result<LogoutVerdict, CallFault>> {
        Box::pin(async { Err(Self::fault()) })
    }

    fn sign_out_url<'a>(
        &'a self,
        _: &'a str,
        _: &'a str,
        _: Instant,
    ) -> BoxFuture<'a, Result<Option<String>, CallFault>> {
        Box::pin(async { Err(Self::fault()) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::sync::oneshot;

    fn load(
        outcome: impl Future<Output = LoadOutcome> + Send + 'static,
    ) -> BoxFuture<'static, LoadOutcome> {
        Box::pin(outcome)
    }

    #[tokio::test]
    async fn slow_load_holds_up_no_other_and_keeps_its_place() {
        let (end, slow) = oneshot::channel::<()>();
        let slow = load(async {
            let _ = slow.await;
            Err(LoadError::Useless)
        });
        let quick = load(async { Err(LoadError::NotWasm) });
        let mut loading = Loading::with_pause(vec![slow, quick], Duration::from_millis(1));
        assert!(loading.next().await);
        assert_eq!(loading.left(), 1);
        let is_over: Vec<_> = loading.outcomes().iter().map(Option::is_some).collect();
        assert_eq!(is_over, [false, true]);

        let waits = tokio::time::timeout(Duration::from_millis(50), loading.next()).await;
        assert!(waits.is_err());
        assert_eq!(loading.told, Some(1), "it has been told");
        end.send(()).unwrap();
        loading.finish().await;
        assert!(matches!(
            loading.outcomes()[0],
            Some(Err(LoadError::Useless))
        ));
        assert!(matches!(
            loading.outcomes()[1],
            Some(Err(LoadError::NotWasm))
        ));
    }
}
