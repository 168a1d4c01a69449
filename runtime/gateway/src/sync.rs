//! The primitives under the admission, in one place so that a model checker can put its own there.

pub(super) use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
