//! The gate that requests pass now. A reload puts another in its place; who is on the way through the old one
//! goes on there to the end.

use crate::auth::Gate;
use arc_swap::ArcSwap;
use std::sync::Arc;

/// A gate, and what else changes only together with it.
pub struct Serving {
    /// Who gets through.
    pub gate: Gate,
    /// Configured providers that were refused.
    pub refused: usize,
}

/// The present [`Serving`].
#[derive(Clone)]
pub struct Live(Arc<ArcSwap<Serving>>);

impl Live {
    /// The first.
    pub fn new(serving: Serving) -> Self {
        Self(Arc::new(ArcSwap::from_pointee(serving)))
    }

    /// The present one: a request keeps to what it began with.
    pub fn now(&self) -> Arc<Serving> {
        self.0.load_full()
    }

    /// From the next request on.
    pub fn replace(&self, serving: Serving) {
        self.0.store(Arc::new(serving));
    }
}
