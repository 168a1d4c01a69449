//! The last records, for the live page.

use super::Record;
use serde_json::Value;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::broadcast;

/// Records that are kept to be shown, and that a slow watcher may be behind.
const KEPT: usize = 200;

pub(super) struct Tail {
    last: Mutex<VecDeque<Record>>,
    followers: broadcast::Sender<Arc<Value>>,
}

impl Tail {
    pub(super) fn new() -> Self {
        Self { last: Mutex::default(), followers: broadcast::channel(KEPT).0 }
    }

    pub(super) fn show(&self, records: Vec<Record>) {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        for record in records {
            // Most of the time there is no subscriber.
            if self.followers.receiver_count() > 0 {
                let _ = self.followers.send(Arc::new(record.to_value()));
            }
            if last.len() == KEPT {
                last.pop_front();
            }
            last.push_back(record);
        }
    }

    pub(super) fn last(&self) -> Vec<Value> {
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        last.iter().map(Record::to_value).collect()
    }

    pub(super) fn follow(&self) -> broadcast::Receiver<Arc<Value>> {
        self.followers.subscribe()
    }
}
