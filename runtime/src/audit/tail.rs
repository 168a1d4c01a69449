//! The last records, for whoever watches.

use serde_json::Value;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::broadcast;

/// Records that are kept to be shown, and that a slow watcher may be behind.
const KEPT: usize = 200;

pub(super) struct Tail {
    last: Mutex<VecDeque<Arc<Value>>>,
    followers: broadcast::Sender<Arc<Value>>,
}

impl Tail {
    pub(super) fn new() -> Self {
        Self { last: Mutex::default(), followers: broadcast::channel(KEPT).0 }
    }

    pub(super) fn show(&self, records: Vec<Value>) {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        for record in records.into_iter().map(Arc::new) {
            if last.len() == KEPT {
                last.pop_front();
            }
            last.push_back(record.clone());
            // Nobody watches, most of the time.
            let _ = self.followers.send(record);
        }
    }

    pub(super) fn last(&self) -> Vec<Arc<Value>> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }

    pub(super) fn follow(&self) -> broadcast::Receiver<Arc<Value>> {
        self.followers.subscribe()
    }
}
