//! The span of one call of a provider: which call of whom, its limits, what it used and how it
//! ended. What it passes and what is answered stays out.

use crate::call::GuestCall;
use crate::call::caller::GuestCaller;
use portcullis_auth::{ProviderFault, Usage};
use portcullis_observe::telemetry::{Span, SpanKind};

/// A span from the wish to call until the call ends. Without telemetry it is empty.
#[derive(Default)]
pub(crate) struct CallSpan(Span);

impl CallSpan {
    pub(crate) fn begin<C: GuestCall>(caller: &GuestCaller) -> Self {
        let span = Span::begin(C::OPERATION, SpanKind::Internal);
        if span.is_recorded() {
            let limits = caller.limits();
            span.set("portcullis.provider", caller.name().to_string());
            span.set("portcullis.operation", C::OPERATION);
            span.set(
                "portcullis.limit.deadline_ms",
                integer(limits.deadline.as_millis()),
            );
            span.set(
                "portcullis.limit.memory_bytes",
                integer(limits.memory_bytes),
            );
        }

        Self(span)
    }

    /// Notes why the call is not made.
    pub(crate) fn refused(&self, fault: &ProviderFault) {
        self.0.set("portcullis.outcome", fault.kind());
        self.0.fail(fault.kind());
    }

    /// Notes how the call ended.
    pub(crate) fn ended(&self, fault: Option<&ProviderFault>, used: Usage) {
        if !self.0.is_recorded() {
            return;
        }
        self.0
            .set("portcullis.used.memory_bytes", integer(used.memory_bytes));
        match fault {
            Some(fault) => self.refused(fault),
            None => self.0.set("portcullis.outcome", "answered"),
        }
    }
}

/// Attributes have signed integers alone.
fn integer(value: impl TryInto<i64>) -> i64 {
    value.try_into().unwrap_or(i64::MAX)
}
