//! The state of the gateway, the drain, the turns and the providers. One task reads it for all open
//! pages, and only while there is one.

use super::gate::{Live, RefusedProvider};
use crate::web::GatewayFiles;
use portcullis_auth::Registered;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// Time between two reads of the state.
const PAUSE: Duration = Duration::from_millis(500);

/// The state at one moment: each part is one message to the open pages.
#[derive(Clone, Debug, Default, PartialEq)]
pub(in crate::web) struct LiveState {
    /// The gateway, the drain, and the turns in flight.
    pub(in crate::web) status: Value,
    /// The providers and how they fare.
    pub(in crate::web) providers: Value,
}

impl LiveState {
    /// What people with the role `viewer` see: the state, and the number of turns.
    pub(in crate::web) fn for_viewers(mut self) -> Self {
        if let Some(status) = self.status.as_object_mut() {
            status.insert("turns".to_owned(), json!([]));
        }
        if let Some(drain) = self.status.get_mut("drain").and_then(Value::as_object_mut) {
            drain.insert("principal".to_owned(), Value::Null);
            drain.insert("holders".to_owned(), Value::Null);
        }
        Self {
            providers: Value::Null,
            ..self
        }
    }
}

/// Where a moment is read.
pub struct FeedSources {
    /// The files of the gateway.
    pub gateway: GatewayFiles,
    /// The providers that serve now.
    pub live: Live,
    /// Whether people must sign in.
    pub auth_required: bool,
}

/// The present moment, as it changes.
#[derive(Clone)]
pub struct Feed {
    moments: watch::Sender<Arc<LiveState>>,
    sources: Arc<FeedSources>,
}

impl Feed {
    /// Makes a feed that has read nothing yet.
    pub fn new(sources: FeedSources) -> Self {
        Self {
            moments: watch::channel(Arc::default()).0,
            sources: Arc::new(sources),
        }
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
    pub(in crate::web) async fn look(&self) -> LiveState {
        let sources = self.sources.clone();
        // Reads two small files on a blocking thread: the workers must never wait for a disk.
        let read = tokio::task::spawn_blocking(move || {
            sources.gateway.read().for_people(sources.auth_required)
        });
        LiveState {
            status: read.await.unwrap_or_default(),
            providers: self.providers(),
        }
    }

    fn providers(&self) -> Value {
        let serving = self.sources.live.now();
        let loaded = serving.gate.registry().iter().map(describe);
        loaded
            .chain(serving.refused.iter().map(describe_refused))
            .collect()
    }

    pub(super) fn watch(&self) -> watch::Receiver<Arc<LiveState>> {
        self.moments.subscribe()
    }
}

fn describe(registered: &Registered) -> Value {
    let health = registered.health.as_ref().map(|health| health.report());
    let state = match (&health, &registered.component) {
        (Some(report), _) => json!(report.state),
        // A component that has no health yet is still being loaded.
        (None, Some(_)) => "loading".into(),
        (None, None) => "native".into(),
    };

    json!({
        "name": registered.name,
        "display_name": registered.display_name,
        "component": registered.component,
        "takes_tokens": registered.token.is_some(),
        "signs_people_in": registered.signs_people_in(),
        "state": state,
        "health": health,
        "refused": null,
    })
}

fn describe_refused(refused: &RefusedProvider) -> Value {
    json!({
        "name": refused.name,
        "display_name": refused.name,
        "component": null,
        "takes_tokens": false,
        "signs_people_in": false,
        "state": "refused",
        "health": null,
        "refused": {"reason": refused.reason, "detail": refused.detail},
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use portcullis_auth::ProviderName;
    use std::collections::BTreeSet;

    #[test]
    fn providers_have_a_state_before_they_are_loaded_and_when_they_are_refused() {
        let name = || ProviderName::new("ldap").unwrap();
        let mut provider = Registered::new(name(), BTreeSet::new());
        assert_eq!(describe(&provider)["state"], "native");
        provider.component = Some("still being loaded".into());
        assert_eq!(describe(&provider)["state"], "loading");
        let refused = RefusedProvider {
            name: name(),
            reason: "not_granted",
            detail: "it imports a store".to_owned(),
        };
        let described = describe_refused(&refused);
        assert_eq!(
            (&described["state"], &described["name"]),
            (&"refused".into(), &"ldap".into())
        );
        assert_eq!(described["refused"]["detail"], "it imports a store");
    }
}
