//! Instances made before they are asked for: CPython takes longer to instantiate than to answer, and between two calls
//! there is time for it.
//!
//! **Invariant:** an instance is taken out before its call, and never comes back.

use super::engine::Sandbox;
use super::fresh::{Fresh, Prelinked};
use super::record::CallRecord;
use crate::auth::ProviderFault;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::Semaphore;

/// Makes the instances of one provider, at most one of them ahead.
pub(super) struct Instances {
    component: Arc<Prelinked>,
    /// What takes as long as this to make is made ahead.
    ahead_from: Duration,
    ahead: Mutex<Option<Fresh>>,
    /// One at a time is made ahead.
    maker: Arc<Semaphore>,
    /// The least that it ever took to make one, in nanoseconds.
    quickest: AtomicU64,
}

impl Instances {
    pub(super) fn new(component: Arc<Prelinked>, ahead_from: Duration) -> Arc<Self> {
        let (maker, quickest) = (Arc::new(Semaphore::new(1)), AtomicU64::new(u64::MAX));
        Arc::new(Self { component, ahead_from, ahead: Mutex::default(), maker, quickest })
    }

    /// The instance that was made ahead, if one was.
    pub(super) fn take(&self) -> Option<Fresh> {
        if self.is_slow() { self.ahead().take() } else { None }
    }

    fn is_slow(&self) -> bool {
        Duration::from_nanos(self.quickest.load(Ordering::Relaxed)) >= self.ahead_from
    }

    /// # Errors
    /// As for [`Prelinked::instantiate`].
    pub(super) async fn make(&self, sandbox: &Sandbox, record: CallRecord) -> Result<Fresh, ProviderFault> {
        let start = Instant::now();
        let made = self.component.instantiate(&sandbox.engine, record).await?;
        let took = u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX);
        if took < self.quickest.load(Ordering::Relaxed) {
            self.quickest.store(took, Ordering::Relaxed);
        }
        Ok(made)
    }

    /// Takes down an instance whose call is over, and makes the next one if that takes long: both on the guests'
    /// threads, where no caller waits for it. One that cannot be made now is left to the next call, whose fault it then
    /// is.
    pub(super) fn replace(self: &Arc<Self>, used: Fresh, sandbox: &Arc<Sandbox>) {
        if !self.is_slow() {
            return;
        }
        let Ok(permit) = self.maker.clone().try_acquire_owned() else { return };
        let (instances, sandbox) = (self.clone(), sandbox.clone());
        let guests = sandbox.guests.handle().clone();
        guests.spawn(async move {
            drop(used);
            if instances.ahead().is_some() {
                return;
            }
            let _ticking = sandbox.ticker.ticking();
            let making = instances.make(&sandbox, CallRecord::default());
            let deadline = instances.component.equipment.limits.deadline;
            if let Ok(Ok(next)) = tokio::time::timeout(deadline, making).await {
                *instances.ahead() = Some(next);
            }
            drop(permit);
        });
    }

    fn ahead(&self) -> MutexGuard<'_, Option<Fresh>> {
        self.ahead.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::auth::ProviderName;
    use crate::sandbox::{ComponentSource, Limits, Powers, ProviderSpec, SandboxSettings};
    use std::collections::BTreeMap;

    const COMPONENT: &[u8] = include_bytes!(env!("BUNDLED_SERVICE_KEYS"));

    /// A sandbox that makes ahead what takes as long as this, and a component in it.
    pub(in crate::sandbox) fn start(ahead_from: Duration) -> (Arc<Sandbox>, Prelinked) {
        let settings = SandboxSettings { ahead_from, ..SandboxSettings::default() };
        let sandbox = Sandbox::start(&settings).unwrap();
        let spec = ProviderSpec {
            name: ProviderName::new("slow").unwrap(),
            source: ComponentSource::Bundled(COMPONENT),
            sha256: None,
            settings: BTreeMap::new(),
            powers: Powers::default(),
            limits: Limits::default(),
        };
        let (component, _) = sandbox.link(spec).unwrap();
        (sandbox, component)
    }

    fn instances(component: Prelinked, sandbox: &Sandbox) -> Arc<Instances> {
        Instances::new(Arc::new(component), sandbox.ahead_from)
    }

    impl Instances {
        /// Waits until nothing is being made.
        pub(in crate::sandbox) async fn settled(&self) {
            let settled = tokio::time::timeout(Duration::from_secs(30), self.maker.acquire()).await;
            drop(settled.expect("it is made at all"));
        }
    }

    /// Makes one, uses it up, and waits until whatever comes of that is over.
    async fn make_and_replace(sandbox: &Arc<Sandbox>, instances: &Arc<Instances>) {
        let used = instances.make(sandbox, CallRecord::default()).await;
        instances.replace(used.unwrap_or_else(|fault| panic!("{fault}")), sandbox);
        instances.settled().await;
    }

    #[tokio::test]
    async fn slow_one_is_made_ahead_and_taken_once() {
        let (sandbox, component) = start(Duration::ZERO);
        let instances = instances(component, &sandbox);
        assert!(instances.take().is_none());
        for _ in 0..3 {
            make_and_replace(&sandbox, &instances).await;
            assert!(instances.take().is_some());
            assert!(instances.take().is_none());
        }
    }

    #[tokio::test]
    async fn quick_one_is_not() {
        let (sandbox, component) = start(Duration::from_secs(3600));
        let instances = instances(component, &sandbox);
        make_and_replace(&sandbox, &instances).await;
        assert!(instances.take().is_none());
    }
}
