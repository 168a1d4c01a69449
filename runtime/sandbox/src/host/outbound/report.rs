//! Failures of providers' requests in the log: one line per origin and cause at a time.

use super::cause::Cause;
use portcullis_auth::ProviderName;
use portcullis_observe::flood_limit::FloodLimit;
use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use wasmtime_wasi_http::Error;

/// Between two lines of one origin and cause.
const PERIOD: Duration = Duration::from_secs(60);
/// Pairs of origin and cause that have a line of their own. A provider chooses which origins it
/// asks for: those beyond share one.
const MAX_PAIRS: usize = 128;

/// An origin and a cause.
type Pair = (Arc<str>, &'static str);

/// The failures of one provider's requests.
pub(super) struct Failures {
    provider: ProviderName,
    limits: Mutex<HashMap<Pair, Arc<FloodLimit>>>,
    others: Arc<FloodLimit>,
}

impl Failures {
    pub(super) fn new(provider: ProviderName) -> Self {
        Self {
            provider,
            limits: Mutex::default(),
            others: Arc::new(one_per_period()),
        }
    }

    /// Logs one failure, unless the same was logged a moment ago. `origin` is bounded and escaped.
    fn log(&self, origin: &Arc<str>, kind: &'static str, why: &str) {
        let limit = self.limit_of(origin, kind);
        if !limit.pass() {
            return;
        }
        let before = match limit.take_left_out() {
            0 => String::new(),
            count => format!(" ({count} more since the last such line)"),
        };
        let provider = &self.provider;
        tracing::warn!(cause = kind, "provider {provider}: {origin}: {why}{before}");
    }

    fn limit_of(&self, origin: &Arc<str>, kind: &'static str) -> Arc<FloodLimit> {
        let mut limits = self.limits.lock().unwrap_or_else(PoisonError::into_inner);
        let pair = (origin.clone(), kind);
        if !limits.contains_key(&pair) && limits.len() >= MAX_PAIRS {
            return self.others.clone();
        }
        limits
            .entry(pair)
            .or_insert_with(|| Arc::new(one_per_period()))
            .clone()
    }
}

fn one_per_period() -> FloodLimit {
    FloodLimit::new(NonZeroU32::MIN, PERIOD)
}

/// The origin that a request asks for, and where its failure is reported.
#[derive(Clone)]
pub(super) struct RequestedOrigin {
    failures: Arc<Failures>,
    origin: Arc<str>,
    has_own_ca: bool,
}

impl RequestedOrigin {
    pub(super) fn new(failures: &Arc<Failures>, origin: &str, has_own_ca: bool) -> Self {
        Self {
            failures: failures.clone(),
            origin: origin.into(),
            has_own_ca,
        }
    }

    /// Reports the failure, and returns what the provider gets for it.
    pub(super) fn fail(&self, cause: &Cause) -> Error {
        self.failures
            .log(&self.origin, cause.kind(), &cause.in_words(self.has_own_ca));
        cause.code()
    }

    /// Begins to wait for the server's answer.
    pub(super) fn wait(&self) -> Wait {
        Wait {
            asked: self.clone(),
            began: Instant::now(),
            of_the_end: Cause::CallEnded,
            is_over: false,
        }
    }

    /// Begins to wait for the next part of an answer's body, of which the first was waited for since
    /// `began`.
    pub(super) fn wait_for_part(&self, began: Instant) -> Wait {
        Wait {
            asked: self.clone(),
            began,
            of_the_end: Cause::CallEndedInBody,
            is_over: false,
        }
    }
}

/// A wait for the server. One that is dropped before it is over was cut off by the end of the call,
/// which nothing else reports with the origin's name.
pub(super) struct Wait {
    asked: RequestedOrigin,
    began: Instant,
    /// The cause, if the end of the call ends the wait after this time.
    of_the_end: fn(Duration) -> Cause,
    is_over: bool,
}

impl Wait {
    pub(super) fn over(mut self) {
        self.is_over = true;
    }
}

impl Drop for Wait {
    fn drop(&mut self) {
        if !self.is_over {
            self.asked.fail(&(self.of_the_end)(self.began.elapsed()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_are_limited_apart_and_their_number_is_bounded() {
        let failures = Failures::new(ProviderName::new("corp").unwrap());
        let origin = |number: usize| -> Arc<str> { format!("https://{number}.test").into() };
        assert!(failures.limit_of(&origin(0), "refused").pass());
        assert!(!failures.limit_of(&origin(0), "refused").pass());
        assert!(failures.limit_of(&origin(0), "cut_off").pass());
        assert!(failures.limit_of(&origin(1), "refused").pass());
        (0..10 * MAX_PAIRS).for_each(|number| drop(failures.limit_of(&origin(number), "refused")));
        assert_eq!(failures.limits.lock().unwrap().len(), MAX_PAIRS);
        assert!(failures.limit_of(&origin(100_000), "refused").pass());
        assert!(!failures.limit_of(&origin(100_001), "refused").pass());
        assert!(
            !failures.limit_of(&origin(0), "refused").pass(),
            "a known pair keeps its own limit"
        );
    }
}
