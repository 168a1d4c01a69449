//! What makes spans, from the start of the process to its end.

use super::collector::Collector;
use super::export::{self, ExportMessage, SpanQueue};
use super::settings::OtlpSettings;
use super::span::{Span, SpanSource, link_to, remote};
use crate::trace_context::TraceContext;
use opentelemetry::trace::{SpanBuilder, SpanKind, TraceContextExt, TracerProvider};
use opentelemetry::{Context, InstrumentationScope, KeyValue};
use opentelemetry_proto::transform::common::tonic::ResourceAttributesWithSchema;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::resource::TelemetryResourceDetector;
use opentelemetry_sdk::trace::{Sampler, SdkTracerProvider, SpanLimits};
use portcullis_net::trust::SystemRoots;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::timeout;

const SERVICE: &str = "portcullis";
const VERSION: &str = env!("CARGO_PKG_VERSION");
/// How long the end of the process waits for the last spans.
const FLUSH_PATIENCE: Duration = Duration::from_secs(3);

/// The trace that a request names, and what that counts for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallerTrace<'a> {
    /// A peer whose trace is continued, and whose decision to record it is followed.
    Trusted(&'a TraceContext),
    /// Any other caller that names a trace. A new trace begins, which refers to the named one: if
    /// the caller's flag counted, strangers would decide what is recorded.
    Stranger(&'a TraceContext),
    /// The request names no trace.
    Absent,
}

/// Makes spans and exports them.
pub struct Telemetry {
    /// A context without a span that says what makes the spans.
    root: Context,
    queue: mpsc::Sender<ExportMessage>,
    dropped: Arc<AtomicU64>,
    exporter: Mutex<Option<JoinHandle<()>>>,
}

impl Telemetry {
    /// Starts the task that exports spans. Call it within the runtime. Blocks while it reads the
    /// system's authorities, if the endpoint is https and has none of its own.
    pub fn start(settings: &OtlpSettings, roots: &SystemRoots) -> Self {
        let (queue, inbox) = mpsc::channel(export::MAX_QUEUED);
        let dropped = Arc::new(AtomicU64::new(0));
        let collector = Collector::new(settings, roots);
        let resource = ResourceAttributesWithSchema::from(&resource());
        let exporter = tokio::spawn(export::run(inbox, collector, resource, dropped.clone()));

        // The SDK would read the sampler, the limits and the resource from the environment.
        let provider = SdkTracerProvider::builder()
            .with_sampler(Sampler::ParentBased(Box::new(Sampler::TraceIdRatioBased(
                settings.sample_ratio,
            ))))
            .with_span_limits(SpanLimits::default())
            .with_resource(resource_of_spans())
            .with_span_processor(SpanQueue::new(queue.clone(), dropped.clone()))
            .build();

        let scope = InstrumentationScope::builder(SERVICE)
            .with_version(VERSION)
            .build();
        let root = Context::new().with_value(SpanSource(provider.tracer_with_scope(scope)));
        Self {
            root,
            queue,
            dropped,
            exporter: Mutex::new(Some(exporter)),
        }
    }

    /// Begins the span of a request that arrived.
    pub fn server_span(&self, name: &'static str, caller: CallerTrace<'_>) -> Span {
        let builder = SpanBuilder::from_name(name).with_kind(SpanKind::Server);
        match caller {
            CallerTrace::Trusted(parent) => {
                Span::begin_in(&self.root.with_remote_span_context(remote(parent)), builder)
            }
            CallerTrace::Stranger(named) => {
                Span::begin_in(&self.root, builder.with_links(vec![link_to(named)]))
            }
            CallerTrace::Absent => Span::begin_in(&self.root, builder),
        }
    }

    /// Returns how many spans were not exported since the start.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// Exports what is queued, for three seconds at most. Call it when no more requests come.
    pub async fn close(&self) {
        let exporter = self
            .exporter
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        let Some(mut exporter) = exporter else { return };
        let ended = async {
            // Both fail if the task has ended already.
            let _ = self.queue.send(ExportMessage::End).await;
            let _ = (&mut exporter).await;
        };

        if timeout(FLUSH_PATIENCE, ended).await.is_err() {
            exporter.abort();
            tracing::warn!("the last spans could not be exported in time");
        }
    }
}

/// What all exported spans are of.
fn resource() -> Resource {
    Resource::builder_empty()
        .with_detector(Box::new(TelemetryResourceDetector))
        .with_service_name(SERVICE)
        .with_attribute(KeyValue::new("service.version", VERSION))
        .build()
}

/// The exporter adds the resource to each batch, so the spans themselves need none.
fn resource_of_spans() -> Resource {
    Resource::builder_empty().build()
}

#[cfg(test)]
mod tests {
    use super::super::{Endpoint, Protocol, carried};
    use super::*;

    fn telemetry(sample_ratio: f64) -> Telemetry {
        // Nothing listens there: what is queued is dropped.
        let endpoint = Endpoint::parse(Protocol::Http, "http://127.0.0.1:1").unwrap();
        let settings = OtlpSettings {
            endpoint,
            headers: Vec::new(),
            ca: None,
            sample_ratio,
        };
        Telemetry::start(&settings, &SystemRoots::default())
    }

    fn caller(flags: u8) -> TraceContext {
        TraceContext::new([7; 16], [9; 8], flags, "vendor=value").unwrap()
    }

    #[tokio::test]
    async fn parts_of_a_request_belong_to_its_trace() {
        let (telemetry, caller) = (telemetry(1.0), caller(1));
        let server = telemetry.server_span("GET", CallerTrace::Trusted(&caller));
        let of_server = server.trace_context().unwrap();
        assert_eq!(
            (of_server.trace_id(), of_server.state()),
            (caller.trace_id(), "vendor=value")
        );
        assert_ne!(of_server.parent_id(), caller.parent_id());

        let part = async { Span::begin("part", SpanKind::Internal).trace_context() };
        let of_part = server
            .cover(async { tokio::spawn(carried(part)).await.unwrap() })
            .await
            .unwrap();
        assert_eq!(of_part.trace_id(), caller.trace_id());
        assert_ne!(of_part.parent_id(), of_server.parent_id());
    }

    #[tokio::test]
    async fn outside_a_request_there_are_no_spans() {
        let span = Span::begin("outside", SpanKind::Internal);
        assert!(span.trace_context().is_none() && !span.is_recorded());
        assert_eq!(span.cover(async { 1 }).await, 1);
    }

    #[tokio::test]
    async fn flag_of_a_trusted_peer_alone_decides_what_is_recorded() {
        let (none, all) = (telemetry(0.0), telemetry(1.0));
        let (sampled, unsampled) = (caller(1), caller(0));
        assert!(
            none.server_span("GET", CallerTrace::Trusted(&sampled))
                .is_recorded()
        );
        assert!(
            !all.server_span("GET", CallerTrace::Trusted(&unsampled))
                .is_recorded()
        );
        assert!(
            !none
                .server_span("GET", CallerTrace::Stranger(&sampled))
                .is_recorded()
        );
        assert!(
            all.server_span("GET", CallerTrace::Stranger(&unsampled))
                .is_recorded()
        );

        let of_stranger = all
            .server_span("GET", CallerTrace::Stranger(&sampled))
            .trace_context()
            .unwrap();
        assert_ne!(of_stranger.trace_id(), sampled.trace_id());
        let unrecorded = all
            .server_span("GET", CallerTrace::Trusted(&unsampled))
            .trace_context()
            .unwrap();
        assert_eq!(
            (unrecorded.trace_id(), unrecorded.flags()),
            (unsampled.trace_id(), 0)
        );
    }

    #[tokio::test]
    async fn span_without_a_place_is_counted() {
        let telemetry = telemetry(1.0);
        telemetry.close().await;
        // The exporter has ended, and takes no more spans.
        drop(telemetry.server_span("GET", CallerTrace::Absent));
        assert_eq!(telemetry.dropped(), 1);
    }
}
