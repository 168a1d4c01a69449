//! A provider that does nothing wrong and is called all the time, to measure how others slow it
//! down.

use portcullis_auth::{BearerToken, TokenProvider, TokenVerdict};
use serde::Serialize;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tokio::task::JoinHandle;

/// Between two calls: a bystander, not a load.
const PAUSE: Duration = Duration::from_millis(1);
const PATIENCE: Duration = Duration::from_secs(5);

/// How long calls took.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct CallTimes {
    /// The number of calls.
    pub calls: usize,
    /// Calls that did not get the right answer.
    pub failed: usize,
    /// The median, in milliseconds.
    pub p50_ms: f64,
    /// All but one in a hundred, in milliseconds.
    pub p99_ms: f64,
}

/// Calls that are made until the watch ends.
pub(super) struct Watch {
    stop: Arc<AtomicBool>,
    calling: JoinHandle<(Vec<Duration>, usize)>,
}

impl Watch {
    /// Calls the provider with a token that it knows, until the end.
    pub(super) fn start(provider: Arc<dyn TokenProvider>, token: &str) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (stopped, token) = (stop.clone(), BearerToken::by_hand(token.to_owned()));

        let calling = tokio::spawn(async move {
            let (mut times, mut failed) = (Vec::new(), 0);
            while !stopped.load(Ordering::Relaxed) {
                let start = Instant::now();
                let verdict = provider.verify_token(&token, start + PATIENCE).await;
                times.push(start.elapsed());
                failed += usize::from(!matches!(verdict, Ok(TokenVerdict::Recognized(_))));
                tokio::time::sleep(PAUSE).await;
            }
            (times, failed)
        });
        Self { stop, calling }
    }

    pub(super) async fn end(self) -> CallTimes {
        self.stop.store(true, Ordering::Relaxed);
        let (mut times, failed) = self.calling.await.unwrap_or_default();
        times.sort_unstable();
        let at = |percent: usize| {
            let place = (times.len() * percent / 100).min(times.len().saturating_sub(1));
            times
                .get(place)
                .map_or(0.0, |time| time.as_secs_f64() * 1e3)
        };

        CallTimes {
            calls: times.len(),
            failed,
            p50_ms: at(50),
            p99_ms: at(99),
        }
    }
}
