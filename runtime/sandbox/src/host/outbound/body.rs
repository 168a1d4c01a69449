//! The body of a response on its way to the provider: bounded in size and in the time between two
//! parts.

use super::MAX_RESPONSE_BYTES;
use super::cause::Cause;
use super::report::RequestedOrigin;
use bytes::Bytes;
use futures_util::stream;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Limited, StreamBody};
use std::error::Error as StdError;
use std::time::{Duration, Instant};
use wasmtime_wasi_http::WasiBody;

/// A body as it comes from the connection.
pub(super) type Received = UnsyncBoxBody<Bytes, Box<dyn StdError + Send + Sync>>;

/// A body that is still read.
struct Reading {
    body: Received,
    /// The longest wait for the next part.
    between_bytes: Duration,
    /// When the head of the answer was there.
    began: Instant,
    asked: RequestedOrigin,
}

/// Bounds a body. A failure ends it and is reported.
pub(super) fn bounded(body: Received, between_bytes: Duration, asked: RequestedOrigin) -> WasiBody {
    let body = Limited::new(body, MAX_RESPONSE_BYTES).boxed_unsync();
    let reading = Reading {
        body,
        between_bytes,
        began: Instant::now(),
        asked,
    };
    let parts = stream::unfold(Some(reading), |reading| async move {
        let mut reading = reading?;
        let wait = reading.asked.wait_for_part(reading.began);
        let next = tokio::time::timeout(reading.between_bytes, reading.body.frame()).await;
        wait.over();
        let cause = match next {
            Ok(None) => return None,
            Ok(Some(Ok(part))) => return Some((Ok(part), Some(reading))),
            Ok(Some(Err(error))) => Cause::of_body(error.as_ref()),
            Err(_) => Cause::SlowBody,
        };
        Some((Err(reading.asked.fail(&cause)), None))
    });

    StreamBody::new(parts).boxed_unsync()
}
