//! The queue of ended spans, and the task that exports them.

use super::collector::Collector;
use super::failure::ExportFailure;
use crate::flood_limit::FloodLimit;
use bytes::Bytes;
use opentelemetry::Context;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::transform::common::tonic::ResourceAttributesWithSchema;
use opentelemetry_proto::transform::trace::tonic::group_spans_by_resource_and_scope;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{Span, SpanData, SpanProcessor};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};

/// Spans that may wait for the collector. It is the default of OpenTelemetry's SDKs, as is the size
/// of a batch.
pub(super) const MAX_QUEUED: usize = 2_048;
/// Spans of one request to the collector.
const MAX_BATCH: usize = 512;
/// From the first span of a batch until the batch is sent, with all that ended meanwhile.
const GATHERING: Duration = Duration::from_secs(1);
/// How often a batch is sent, if the collector may yet take it.
const MAX_ATTEMPTS: u32 = 3;
/// Between two attempts; twice as long after the second.
const PAUSE: Duration = Duration::from_secs(1);
/// Between two warnings about spans that were not exported.
const WARNING_PERIOD: Duration = Duration::from_secs(60);

/// A message to the exporter.
pub(super) enum ExportMessage {
    /// A span has ended.
    Ended(Box<SpanData>),
    /// No more spans are to come.
    End,
}

/// Takes spans as they end.
#[derive(Debug)]
pub(super) struct SpanQueue {
    spans: mpsc::Sender<ExportMessage>,
    dropped: Arc<AtomicU64>,
}

impl SpanQueue {
    pub(super) fn new(spans: mpsc::Sender<ExportMessage>, dropped: Arc<AtomicU64>) -> Self {
        Self { spans, dropped }
    }
}

impl SpanProcessor for SpanQueue {
    fn on_start(&self, _: &mut Span, _: &Context) {}

    fn on_end(&self, span: SpanData) {
        if self
            .spans
            .try_send(ExportMessage::Ended(Box::new(span)))
            .is_err()
        {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
        Ok(())
    }
}

/// Exports spans until the end.
pub(super) async fn run(
    mut inbox: mpsc::Receiver<ExportMessage>,
    collector: Collector,
    resource: ResourceAttributesWithSchema,
    dropped: Arc<AtomicU64>,
) {
    let warnings = FloodLimit::new(NonZeroU32::MIN, WARNING_PERIOD);
    let mut known = 0;
    let mut has_ended = false;
    while !has_ended {
        let batch = gather(&mut inbox, &mut has_ended).await;
        if batch.is_empty() {
            continue;
        }
        let count = batch.len() as u64;
        let resource_spans = group_spans_by_resource_and_scope(batch, &resource);
        let body = collector.body_of(&ExportTraceServiceRequest { resource_spans });
        let (lost, why) = match send(&collector, body, has_ended).await {
            Ok(0) => (
                0,
                "the queue is full: the collector is slower than the requests".to_owned(),
            ),
            Ok(rejected) => (
                rejected.min(count),
                "the collector rejected them".to_owned(),
            ),
            Err(failure) => (count, failure.to_string()),
        };

        // Those that found the queue full meanwhile are counted where they ended.
        let total = dropped.fetch_add(lost, Ordering::Relaxed) + lost;
        if total > known && warnings.pass() {
            tracing::warn!(
                collector = collector.shown(),
                why,
                dropped = total,
                "spans are not exported"
            );
        }
        known = total;
    }
}

/// Waits for a span, and for more until the batch is full or [`GATHERING`] is over.
async fn gather(inbox: &mut mpsc::Receiver<ExportMessage>, has_ended: &mut bool) -> Vec<SpanData> {
    let Some(ExportMessage::Ended(first)) = inbox.recv().await else {
        *has_ended = true;
        return Vec::new();
    };

    let mut batch = vec![*first];
    let fill = async {
        while batch.len() < MAX_BATCH {
            match inbox.recv().await {
                Some(ExportMessage::Ended(span)) => batch.push(*span),
                Some(ExportMessage::End) | None => {
                    *has_ended = true;
                    return;
                }
            }
        }
    };

    // A timeout ends the batch like a full one.
    let _ = timeout(GATHERING, fill).await;
    batch
}

/// Sends a batch. Returns how many of its spans the collector rejected. At the end there is time
/// for one attempt.
async fn send(collector: &Collector, body: Bytes, is_last: bool) -> Result<u64, ExportFailure> {
    let mut attempt = 1;
    loop {
        match collector.post(body.clone()).await {
            Err(failure) if failure.may_pass() && attempt < MAX_ATTEMPTS && !is_last => {
                sleep(PAUSE * attempt).await;
                attempt += 1;
            }
            outcome => return outcome,
        }
    }
}
