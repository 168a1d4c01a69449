//! The state of the gateway, the drain, the turns and the providers. One task reads it for all open pages, and only while
//! there is one.

use super::gate::Live;
use crate::auth::Registered;
use crate::web::GatewayView;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// Time between two reads of the state.
const PAUSE: Duration = Duration::from_millis(500);

/// The state at one moment: each part is one message to the open pages.
#[derive(Clone, Debug, Default, PartialEq)]
pub(in crate::web) struct Moment {
    /// The gateway, the drain, and the turns in flight.
    pub(in crate::web) status: Value,
    /// The providers and how they fare.
    pub(in crate::web) providers: Value,
}

impl Moment {
    /// What people with the role `viewer` see: the state, and the number of turns.
    pub(in crate::web) fn for_viewers(mut self) -> Self {
        if let Some(status) = self.status.as_object_mut() {
            status.insert("turns".to_owned(), json!([]));
        }
        if let Some(drain) = self.status.get_mut("drain").and_then(Value::as_object_mut) {
            drain.insert("principal".to_owned(), Value::Null);
            drain.insert("holders".to_owned(), Value::Null);
        }
        Self { providers: Value::Null, ..self }
    }
}

/// Where a moment is read.
pub struct FeedSources {
    /// The files of the gateway.
    pub gateway: GatewayView,
    /// The providers that serve now.
    pub live: Live,
    /// Whether people must sign in.
    pub auth_required: bool,
}

/// The present moment, as it changes.
#[derive(Clone)]
pub struct Feed {
    moments: watch::Sender<Arc<Moment>>,
    sources: Arc<FeedSources>,
}

impl Feed {
    /// Makes a feed that has read nothing yet.
    pub fn new(sources: FeedSources) -> Self {
        Self { moments: watch::channel(Arc::default()).0, sources: Arc::new(sources) }
    }

    /// Reads the state periodically while there are subscribers. Never ends.
    pub async fn run(self) {
        let mut ticks = tokio::time::interval(PAUSE);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            if self.moments.receiver_count() > 0 {
                let moment = self.look().await;
                self.moments.send_if_modified(|last| {
                    let is_new = **last != moment;
                    *last = Arc::new(moment);
                    is_new
                });
            }
        }
    }

    /// Reads the present state.
    pub(in crate::web) async fn look(&self) -> Moment {
        let sources = self.sources.clone();
        // Two small files: off the workers, which must never wait for a disk.
        let read =
            tokio::task::spawn_blocking(move || sources.gateway.read().for_people(sources.auth_required));
        Moment { status: read.await.unwrap_or_default(), providers: self.providers() }
    }

    fn providers(&self) -> Value {
        let serving = self.sources.live.now();
        serving.gate.registry().iter().map(describe).collect()
    }

    pub(super) fn watch(&self) -> watch::Receiver<Arc<Moment>> {
        self.moments.subscribe()
    }
}

fn describe(by: &Registered) -> Value {
    json!({
        "name": by.name,
        "display_name": by.display_name,
        "component": by.component,
        "takes_tokens": by.token.is_some(),
        "signs_people_in": by.signs_people_in(),
        "health": by.health.as_ref().map(|health| health.report()),
    })
}
