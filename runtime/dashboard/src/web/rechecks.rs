//! The calls that checks may take which no request of a caller waits for: of held sessions after a
//! logout token, and of the tokens of open streams.
//!
//! **Invariant:** each kind of check has at most [`SHARE`] of a provider's calls at a time. A
//! provider that does not answer delays the checks of no other provider.

use portcullis_auth::ProviderName;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use tokio::sync::Semaphore;

/// Calls per provider and kind of check. A provider has 16 calls, so both kinds together leave half
/// of them to requests.
pub(super) const SHARE: usize = 4;

/// What the checks take of the providers. The kinds are apart, so that the sessions that a logout
/// token ends do not wait for the tokens of all streams, which a reload verifies.
#[derive(Default)]
pub struct Rechecks {
    /// For sessions.
    pub(super) sessions: CallShares,
    /// For the tokens of streams.
    pub(super) tokens: CallShares,
}

/// The shares of one kind of check. A share is dropped with the last check that uses or awaits it,
/// so those of providers that a reload removed do not pile up.
#[derive(Default)]
pub(super) struct CallShares(Mutex<HashMap<ProviderName, Weak<Semaphore>>>);

impl CallShares {
    /// Runs a check once fewer than [`SHARE`] others of this provider run. Checks run in the order
    /// in which they came.
    pub(super) async fn run<T>(
        &self,
        provider: &ProviderName,
        check: impl Future<Output = T>,
    ) -> T {
        // The semaphore is never closed.
        let _call = self.share_of(provider).acquire_owned().await.ok();
        check.await
    }

    fn share_of(&self, provider: &ProviderName) -> Arc<Semaphore> {
        let mut shares = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(share) = shares.get(provider).and_then(Weak::upgrade) {
            return share;
        }

        shares.retain(|_, share| share.strong_count() > 0);
        let share = Arc::new(Semaphore::new(SHARE));
        shares.insert(provider.clone(), Arc::downgrade(&share));
        share
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;
    use tokio::task::JoinSet;
    use tokio::time::timeout;

    const SOON: Duration = Duration::from_secs(20);

    fn name(name: &str) -> ProviderName {
        ProviderName::new(name).unwrap()
    }

    /// Starts checks of a provider that does not answer, and waits until all of its share is taken.
    async fn stuck(shares: &Arc<CallShares>, provider: &str) -> (JoinSet<()>, Arc<AtomicUsize>) {
        let running = Arc::new(AtomicUsize::new(0));
        let mut checks = JoinSet::new();
        for _ in 0..10 * SHARE {
            let (shares, running, provider) = (shares.clone(), running.clone(), name(provider));
            checks.spawn(async move {
                let check = async {
                    running.fetch_add(1, Ordering::Relaxed);
                    std::future::pending::<()>().await;
                };
                shares.run(&provider, check).await;
            });
        }

        let taken = async {
            while running.load(Ordering::Relaxed) < SHARE {
                tokio::task::yield_now().await;
            }
        };
        timeout(SOON, taken).await.unwrap();
        (checks, running)
    }

    #[tokio::test]
    async fn provider_that_never_answers_delays_its_own_checks_alone() {
        let shares = Arc::new(CallShares::default());
        let (_checks, running) = stuck(&shares, "stuck").await;

        let good = name("good");
        for number in 0..100 {
            let checked = shares.run(&good, std::future::ready(number));
            assert_eq!(timeout(SOON, checked).await, Ok(number));
        }
        assert_eq!(running.load(Ordering::Relaxed), SHARE);
    }

    #[tokio::test]
    async fn check_that_is_dropped_gives_its_call_back() {
        let shares = Arc::new(CallShares::default());
        let (checks, _) = stuck(&shares, "stuck").await;
        drop(checks);
        let stuck = name("stuck");
        let checked = shares.run(&stuck, std::future::ready(()));
        assert_eq!(timeout(SOON, checked).await, Ok(()));
    }

    #[tokio::test]
    async fn shares_of_removed_providers_do_not_pile_up() {
        let shares = CallShares::default();
        for number in 0..1_000 {
            let provider = name(&format!("p{number}"));
            shares.run(&provider, std::future::ready(())).await;
        }
        assert_eq!(shares.0.lock().unwrap().len(), 1, "the last one");
    }
}
