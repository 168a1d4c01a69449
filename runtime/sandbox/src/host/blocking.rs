//! Work for a provider that blocks a thread: a disk, a resolver.

use std::sync::Arc;
use tokio::sync::Semaphore;

/// Threads that one provider's work may hold at a time. Blocking work cannot be stopped half-way,
/// so the work of a call that was cut off still counts. A provider can fill its own share alone.
const MAX_THREADS: usize = 4;

/// The threads that one provider may hold.
#[derive(Clone, Debug)]
pub(crate) struct BlockingShare(Arc<Semaphore>);

impl Default for BlockingShare {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(MAX_THREADS)))
    }
}

impl BlockingShare {
    /// Runs the work on a thread of its own, as soon as one of the share is free. Work that has
    /// begun runs to its end.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> wasmtime::Result<T> {
        let thread = self.0.clone().acquire_owned().await?;
        let done = tokio::task::spawn_blocking(move || {
            let outcome = work();
            drop(thread);
            outcome
        });
        Ok(done.await?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::channel;
    use std::time::Duration;

    #[tokio::test]
    async fn work_that_was_given_up_still_holds_its_thread() {
        let share = BlockingShare::default();
        let (release, held) = channel::<()>();
        let held = Arc::new(std::sync::Mutex::new(held));
        for _ in 0..MAX_THREADS {
            let held = held.clone();
            let stuck = share.run(move || held.lock().unwrap().recv());
            assert!(
                tokio::time::timeout(Duration::from_millis(10), stuck)
                    .await
                    .is_err()
            );
        }
        assert!(
            tokio::time::timeout(Duration::from_millis(10), share.run(|| ()))
                .await
                .is_err()
        );
        (0..MAX_THREADS).for_each(|_| release.send(()).unwrap());
        share.run(|| ()).await.unwrap();
    }
}
