//! One compilation for all who load the same component at the same time: they share its code.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use wasmtime::component::Component;

type Outcome = Arc<Mutex<Option<Component>>>;

/// Components that are being compiled or found, by their digest. Nothing stays here when nobody waits any more.
#[derive(Default)]
pub(super) struct Compiling(Mutex<HashMap<String, Outcome>>);

impl Compiling {
    /// The component of this digest: from whoever is at it already, else made here.
    ///
    /// # Errors
    /// Of whoever makes it; the next one then tries anew.
    pub(super) fn share<E>(
        &self,
        digest: &str,
        make: impl FnOnce() -> Result<Component, E>,
    ) -> Result<Component, E> {
        let outcome = self.known().entry(digest.to_owned()).or_default().clone();
        let mut component = outcome.lock().unwrap_or_else(PoisonError::into_inner);
        let made = match &*component {
            Some(component) => Ok(component.clone()),
            None => make().inspect(|made| *component = Some(made.clone())),
        };
        drop(component);
        self.leave(digest, outcome);
        made
    }

    fn leave(&self, digest: &str, outcome: Outcome) {
        let mut known = self.known();
        drop(outcome);
        // One is the map's own.
        if known.get(digest).is_some_and(|outcome| Arc::strong_count(outcome) == 1) {
            known.remove(digest);
        }
    }

    fn known(&self) -> MutexGuard<'_, HashMap<String, Outcome>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sandbox::LoadError;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::{Duration, Instant};
    use wasmtime::Engine;

    const TOGETHER: usize = 8;

    #[test]
    fn those_who_come_together_share_one_and_a_failure_is_nobody_elses() {
        let (engine, compiling, made) = (Engine::default(), Compiling::default(), AtomicUsize::new(0));
        assert!(compiling.share("a", || Err(LoadError::NotWasm)).is_err());
        let all_are_here = || {
            let waiting = compiling.known().get("a").map_or(0, Arc::strong_count);
            waiting == TOGETHER + 1
        };
        let make = || {
            let deadline = Instant::now() + Duration::from_secs(30);
            while !all_are_here() {
                assert!(Instant::now() < deadline, "the others never come");
                std::thread::yield_now();
            }
            made.fetch_add(1, Ordering::Relaxed);
            Component::new(&engine, [0, 0x61, 0x73, 0x6d, 13, 0, 1, 0]).map_err(|_| LoadError::CompilerFailed)
        };
        std::thread::scope(|scope| {
            let threads = [(); TOGETHER].map(|()| scope.spawn(|| compiling.share("a", make).is_ok()));
            assert!(threads.map(|thread| thread.join().unwrap()).iter().all(|is_ok| *is_ok));
        });
        assert_eq!(made.load(Ordering::Relaxed), 1);
        assert!(compiling.known().is_empty());
    }
}
