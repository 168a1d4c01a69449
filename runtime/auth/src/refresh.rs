use super::{BoxFuture, CallFault, RefreshVerdict, Registered, Session, SessionToken};
use futures_util::FutureExt;
use futures_util::future::Shared;
use moka::ops::compute::Op;
use moka::sync::Cache;
use opentelemetry::context::FutureExt as _;
use sha2::{Digest, Sha256};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long the outcome of a refresh is shared: requests that still carry the old token come in
/// that time.
const SHARED_FOR: Duration = Duration::from_secs(30);
/// The longest that an exchange of tokens may take; the provider's own deadline is mostly earlier.
pub(super) const REFRESH_DEADLINE: Duration = Duration::from_secs(10);
/// Refreshes whose outcome is remembered.
const MAX_REMEMBERED: u64 = 10_000;

/// What became of a refresh.
#[derive(Clone, Debug)]
pub(super) enum Refreshed {
    /// The session continues.
    Renewed(Arc<Session>),
    /// The session is over, and why.
    Over(&'static str),
    /// The provider gave no answer. A later refresh may still succeed.
    Unanswered(CallFault),
}

/// Refreshes sessions: one call a token, however many requests arrive together. An identity
/// provider that rotates its tokens takes the second use of one for theft.
pub struct Refresher {
    flights: Cache<[u8; 32], Flight>,
}

type Flight = Shared<BoxFuture<'static, Refreshed>>;

/// The outcome, and whether this request was the one that asked.
pub(super) struct RefreshOutcome {
    pub(super) refreshed: Refreshed,
    pub(super) is_first: bool,
}

impl Default for Refresher {
    fn default() -> Self {
        // From its beginning: none may be forgotten while it is under way.
        let life = REFRESH_DEADLINE + SHARED_FOR;
        Self {
            flights: Cache::builder()
                .max_capacity(MAX_REMEMBERED)
                .time_to_live(life)
                .build(),
        }
    }
}

impl Refresher {
    /// Waits for the outcome until `by`. The exchange itself has its own time, `until`: who cuts
    /// one off in the middle loses a token that the identity provider has spent.
    pub(super) async fn refresh(
        &self,
        registered: &Registered,
        token: &SessionToken,
        deadline: Instant,
        until: Instant,
    ) -> RefreshOutcome {
        let key = key_of(token);
        let entry = self
            .flights
            .entry(key)
            .or_insert_with(|| begin(registered.clone(), token.clone(), until));
        let is_first = entry.is_fresh();
        let flight = entry.into_value();
        let Ok(refreshed) = tokio::time::timeout_at(deadline.into(), flight.clone()).await else {
            let fault = super::ProviderFault::NoTimeLeft;
            return RefreshOutcome {
                refreshed: Refreshed::Unanswered(fault.into()),
                is_first,
            };
        };

        if matches!(refreshed, Refreshed::Unanswered(_)) {
            self.forget(key, &flight);
        }

        RefreshOutcome {
            refreshed,
            is_first,
        }
    }

    /// The renewed sessions that requests share.
    pub(super) fn renewed(&self) -> Vec<Arc<Session>> {
        let session = |flight: &Flight| match flight.peek() {
            Some(Refreshed::Renewed(session)) => Some(session.clone()),
            _ => None,
        };
        self.flights
            .iter()
            .filter_map(|(_, flight)| session(&flight))
            .collect()
    }

    /// Drops a flight, so that the next request asks again. A newer flight of another request
    /// stays.
    fn forget(&self, key: [u8; 32], flight: &Flight) {
        self.flights
            .entry(key)
            .and_compute_with(|known| match known {
                Some(known) if known.value().ptr_eq(flight) => Op::Remove,
                _ => Op::Nop,
            });
    }
}

fn key_of(token: &SessionToken) -> [u8; 32] {
    let digest = Sha256::new()
        .chain_update(token.provider())
        .chain_update([0]);
    digest
        .chain_update(token.expose().as_bytes())
        .finalize()
        .into()
}

/// In a task of its own: if the caller disconnects, the spent token's successor must not be lost.
/// In a trace it is a part of the request that began it.
fn begin(registered: Registered, token: SessionToken, deadline: Instant) -> Flight {
    let redeeming = async move { redeem(&registered, &token, deadline).await };
    let task = tokio::spawn(redeeming.with_current_context());
    let outcome = async move {
        let panicked = |_| {
            Refreshed::Unanswered(super::ProviderFault::Host("the refresh panicked".into()).into())
        };
        task.await.unwrap_or_else(panicked)
    };
    outcome.boxed().shared()
}

async fn redeem(registered: &Registered, token: &SessionToken, deadline: Instant) -> Refreshed {
    let Some(provider) = &registered.refresh else {
        return Refreshed::Over("not_refreshable");
    };
    match provider.refresh(token.expose(), deadline).await {
        Ok(RefreshVerdict::Expired) => Refreshed::Over("refresh_refused"),
        Ok(RefreshVerdict::Unusable(_)) => Refreshed::Over("unusable_claim"),
        Ok(RefreshVerdict::Refreshed(claims)) if claims.user_id != token.user_id() => {
            Refreshed::Over("another_user")
        }
        Ok(RefreshVerdict::Refreshed(claims)) => Refreshed::Renewed(Arc::new(Session::mint(
            registered,
            token.id().clone(),
            token.opened_at(),
            claims,
        ))),
        Err(fault) => Refreshed::Unanswered(fault),
    }
}
