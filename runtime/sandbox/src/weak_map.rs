//! Values by key that live as long as something holds them: what all that ask for one thing at the
//! same time share.
//!
//! **Invariant:** the map keeps no value alive. Each new value removes the keys of all that were
//! dropped, so the map does not grow.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

/// Finds the value of a key while it is held.
pub(crate) struct WeakMap<K, V>(Mutex<HashMap<K, Weak<V>>>);

impl<K, V> Default for WeakMap<K, V> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K: Eq + Hash, V> WeakMap<K, V> {
    /// Returns the value of this key, or makes it if nothing holds one. `make` runs under the lock
    /// of the map, so it must neither block nor use the map.
    pub(crate) fn get_or_make(&self, key: K, make: impl FnOnce() -> V) -> Arc<V> {
        let mut values = self.values();
        if let Some(value) = values.get(&key).and_then(Weak::upgrade) {
            return value;
        }

        values.retain(|_, value| value.strong_count() > 0);
        let value = Arc::new(make());
        values.insert(key, Arc::downgrade(&value));
        value
    }

    /// Forgets the value of this key: the next to ask makes another, even while this one is held.
    pub(crate) fn forget(&self, key: &K) {
        self.values().remove(key);
    }

    fn values(&self) -> MutexGuard<'_, HashMap<K, Weak<V>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn value_is_shared_while_it_is_held_and_made_again_afterwards() {
        let map = WeakMap::default();
        let first = map.get_or_make("key", || 1);
        assert_eq!(*map.get_or_make("key", || 2), 1);
        drop(first);
        assert_eq!(*map.get_or_make("key", || 3), 3);
    }

    #[test]
    fn forgotten_value_stays_with_its_holders() {
        let map = WeakMap::default();
        let first = map.get_or_make("key", || 1);
        map.forget(&"key");
        let second = map.get_or_make("key", || 2);
        assert_eq!((*first, *second), (1, 2));
    }

    #[test]
    fn keys_of_dropped_values_do_not_pile_up() {
        let map = WeakMap::default();
        let held = map.get_or_make(0, || ());
        (1..1_000).for_each(|key| drop(map.get_or_make(key, || ())));
        assert_eq!(map.values().len(), 2, "the one that is held and the last");
        drop(held);
    }
}
