//! Traces: the spans of requests, and their way to a collector over OTLP.
//!
//! A task carries its span in OpenTelemetry's context. What a request does begins its spans as
//! children of that span, so nothing but the server span needs to know whether telemetry is on.
//! Spans are made by hand rather than from the log: an event of the log may hold what must not
//! leave the machine.
//!
//! **Invariant:** without telemetry no span is made. No request waits for a collector: spans go
//! through a bounded queue, and a span that finds the queue full is dropped and counted.

mod collector;
mod export;
mod failure;
mod grpc;
mod settings;
mod span;
mod tracer;

pub use opentelemetry::trace::SpanKind;
pub use settings::{Endpoint, OtlpSettings, Protocol};
pub use span::{Span, carried};
pub use tracer::{CallerTrace, Telemetry};
