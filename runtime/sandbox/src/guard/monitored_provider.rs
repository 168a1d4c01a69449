//! A provider as the gate sees it: every call of any kind counts for its health and is timed.
//!
//! A call belongs to the provider, not to the caller: when the caller disconnects, the call
//! continues until it ends, and counts as any other. Otherwise callers that disconnect could hide
//! that a provider hangs, or make one that is merely slow look as if it did. Such a call ends early
//! only when another caller needs its slot.

use crate::call::{Asks, GuestCall};
use crate::guard::health::{Admitted, Health};
use crate::provider::WasmProvider;
use futures_util::poll;
use portcullis_auth::{CallFault, HealthReport, ProviderFault, ProviderHealth};
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};
use tokio::task::{AbortHandle, JoinHandle};

/// Called with how long each call took.
pub type CallMeter = Box<dyn Fn(Duration) + Send + Sync>;

/// A provider whose faults count: after too many it is not asked for a while.
pub struct MonitoredProvider {
    provider: Arc<WasmProvider>,
    health: Arc<Health>,
    meter: Arc<CallMeter>,
}

impl MonitoredProvider {
    /// Puts a provider under this record of its health.
    pub fn new(provider: Arc<WasmProvider>, health: Arc<Health>, meter: CallMeter) -> Self {
        Self {
            provider,
            health,
            meter: Arc::new(meter),
        }
    }

    fn end<T>(
        &self,
        admitted: Admitted,
        start: Instant,
        outcome: Result<T, CallFault>,
    ) -> Result<T, CallFault> {
        admitted.ended(&outcome);
        (self.meter)(start.elapsed());
        outcome
    }
}

impl Asks for MonitoredProvider {
    async fn ask<C: GuestCall>(&self, deadline: Instant, call: C) -> Result<C::Verdict, CallFault> {
        let start = Instant::now();
        let span = self.provider.span_of::<C>();
        let admitted = self
            .health
            .admit(C::LANE)
            .inspect_err(|fault| span.refused(fault))?;
        let turn = match self
            .provider
            .admit::<C>(deadline)
            .await
            .inspect_err(|fault| span.refused(fault))
        {
            Ok(turn) => turn,
            Err(fault) => return self.end(admitted, start, Err(fault.into())),
        };

        let provider = self.provider.clone();
        let mut asking = Box::pin(async move { provider.ask_in(turn, call, span).await });
        // Most calls are over at once, and need no task of their own.
        if let Poll::Ready(outcome) = poll!(&mut asking) {
            return self.end(admitted, start, outcome);
        }
        let monitored = Self {
            provider: self.provider.clone(),
            health: self.health.clone(),
            meter: self.meter.clone(),
        };
        let call = tokio::spawn(async move {
            let outcome = asking.await;
            monitored.end(admitted, start, outcome)
        });
        Waiting {
            call,
            provider: &self.provider,
            give_up: WasmProvider::give_up::<C>,
        }
        .outcome()
        .await
    }
}

impl ProviderHealth for MonitoredProvider {
    fn report(&self) -> HealthReport {
        HealthReport {
            spent: self.provider.spent(),
            placements: self.provider.placements(),
            ..self.health.report()
        }
    }
}

/// A caller that waits for its call. Dropped before, the caller has disconnected.
struct Waiting<'a, T> {
    call: JoinHandle<Result<T, CallFault>>,
    provider: &'a WasmProvider,
    give_up: fn(&WasmProvider, AbortHandle),
}

impl<T> Waiting<'_, T> {
    async fn outcome(mut self) -> Result<T, CallFault> {
        match (&mut self.call).await {
            Ok(outcome) => outcome,
            Err(_) => Err(ProviderFault::Host("the call was lost".into()).into()),
        }
    }
}

impl<T> Drop for Waiting<'_, T> {
    fn drop(&mut self) {
        if !self.call.is_finished() {
            (self.give_up)(self.provider, self.call.abort_handle());
        }
    }
}
