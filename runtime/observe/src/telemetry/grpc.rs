//! OTLP over gRPC: the frame of a message, and the status of a call ("gRPC over HTTP/2").
//!
//! **Invariant:** spans count as taken only if the answer has the status OK.

use super::collector::{Answer, rejected_spans};
use super::failure::ExportFailure;
use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode};
use prost::Message;

/// The type of a call's messages: those of protobuf, which need no suffix.
pub(super) const GRPC: &str = "application/grpc";
/// Says that the status may come behind the message.
pub(super) const TRAILERS: &str = "trailers";

const STATUS: &str = "grpc-status";
const STATUS_DETAILS: &str = "grpc-status-details-bin";
/// Whether a message is compressed, in one byte, and its length in four.
const PREFIX_BYTES: usize = 5;
const UNCOMPRESSED: u8 = 0;
const RETRY_INFO: &str = "google.rpc.RetryInfo";

/// Whether a call that failed may succeed later.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Retry {
    Yes,
    No,
    /// If the collector says so, with [`RETRY_INFO`].
    IfOffered,
}

/// The statuses of gRPC in the order of their codes, and whether OTLP retries after them (OTLP 1,
/// "Failures").
const STATUSES: [(&str, Retry); 17] = [
    ("OK", Retry::No),
    ("CANCELLED", Retry::Yes),
    UNKNOWN,
    ("INVALID_ARGUMENT", Retry::No),
    ("DEADLINE_EXCEEDED", Retry::Yes),
    ("NOT_FOUND", Retry::No),
    ("ALREADY_EXISTS", Retry::No),
    ("PERMISSION_DENIED", Retry::No),
    ("RESOURCE_EXHAUSTED", Retry::IfOffered),
    ("FAILED_PRECONDITION", Retry::No),
    ("ABORTED", Retry::Yes),
    ("OUT_OF_RANGE", Retry::Yes),
    ("UNIMPLEMENTED", Retry::No),
    ("INTERNAL", Retry::No),
    ("UNAVAILABLE", Retry::Yes),
    ("DATA_LOSS", Retry::Yes),
    ("UNAUTHENTICATED", Retry::No),
];
const UNKNOWN: (&str, Retry) = ("UNKNOWN", Retry::No);
const OK: usize = 0;

/// `google.rpc.Status`, of which only the details are read.
#[derive(Clone, PartialEq, prost::Message)]
struct StatusDetails {
    #[prost(message, repeated, tag = "3")]
    details: Vec<Detail>,
}

/// `google.protobuf.Any`, of which only the type is read.
#[derive(Clone, PartialEq, prost::Message)]
struct Detail {
    #[prost(string, tag = "1")]
    type_url: String,
}

/// Puts the length before a message ("Length-Prefixed-Message").
pub(super) fn frame(message: &[u8]) -> Bytes {
    let length = u32::try_from(message.len()).expect("a batch of spans is below 4 GiB");
    let mut framed = Vec::with_capacity(PREFIX_BYTES + message.len());
    framed.push(UNCOMPRESSED);
    framed.extend_from_slice(&length.to_be_bytes());
    framed.extend_from_slice(message);
    framed.into()
}

/// Returns the message of a frame. `None`: it is not whole, or is compressed, which no request
/// offers.
fn message_of(frame: &[u8]) -> Option<&[u8]> {
    let (prefix, rest) = frame.split_first_chunk::<PREFIX_BYTES>()?;
    let [UNCOMPRESSED, length @ ..] = *prefix else {
        return None;
    };
    let length = usize::try_from(u32::from_be_bytes(length)).ok()?;
    rest.get(..length)
}

/// Judges an answer. Returns how many spans the collector rejected.
///
/// # Errors
/// The spans were not taken, or the answer does not say that they were.
pub(super) fn judge(answer: Answer) -> Result<u64, ExportFailure> {
    let Answer { head, body } = answer;
    // An answer without a message has its status in the head ("Trailers-Only").
    if head.headers.contains_key(STATUS) {
        return succeeded(&head.headers).map(|()| 0);
    }
    // It is of something before the collector, such as a proxy.
    if head.status != StatusCode::OK {
        return Err(ExportFailure::Refused(head.status));
    }

    let body = body?;
    let trailers = body.trailers().ok_or(ExportFailure::NoGrpcStatus)?;
    succeeded(trailers)?;
    // The status alone says that the spans were taken. A message that is malformed changes nothing.
    Ok(message_of(&body.to_bytes()).map_or(0, rejected_spans))
}

fn succeeded(trailers: &HeaderMap) -> Result<(), ExportFailure> {
    let status = trailers.get(STATUS).ok_or(ExportFailure::NoGrpcStatus)?;
    let code = code_of(status);
    if code == Some(OK) {
        return Ok(());
    }

    // A code that gRPC does not define counts as UNKNOWN.
    let known = code.and_then(|code| STATUSES.get(code));
    let &(name, retry) = known.unwrap_or(&UNKNOWN);
    let may_pass = match retry {
        Retry::Yes => true,
        Retry::No => false,
        Retry::IfOffered => offers_retry(trailers),
    };
    Err(ExportFailure::Failed { name, may_pass })
}

fn code_of(status: &HeaderValue) -> Option<usize> {
    status.to_str().ok()?.parse().ok()
}

/// Returns whether the details of a status have [`RETRY_INFO`] (OTLP 1, "OTLP/gRPC Throttling").
fn offers_retry(trailers: &HeaderMap) -> bool {
    let details = trailers.get(STATUS_DETAILS).and_then(decode_details);
    details.is_some_and(|status| {
        status.details.iter().any(|detail| {
            let kind = detail.type_url.rsplit('/').next();
            kind == Some(RETRY_INFO)
        })
    })
}

fn decode_details(value: &HeaderValue) -> Option<StatusDetails> {
    // It may come with padding or without ("Binary-Header").
    let text = value.to_str().ok()?.trim_end_matches('=');
    let bytes = STANDARD_NO_PAD.decode(text).ok()?;
    StatusDetails::decode(bytes.as_slice()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::{Response, response};
    use http_body_util::{BodyExt, Collected, Full};
    use opentelemetry_proto::tonic::collector::trace::v1::{
        ExportTracePartialSuccess, ExportTraceServiceResponse,
    };
    use std::convert::Infallible;

    fn fields(pairs: &[(&str, &str)]) -> HeaderMap {
        let pairs = pairs
            .iter()
            .map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()));
        pairs.collect()
    }

    fn head(status: u16, headers: HeaderMap) -> response::Parts {
        let mut response = Response::new(());
        *response.status_mut() = StatusCode::from_u16(status).unwrap();
        *response.headers_mut() = headers;
        response.into_parts().0
    }

    async fn collected(body: Bytes, trailers: Option<HeaderMap>) -> Collected<Bytes> {
        let trailers = async { trailers.map(Ok::<_, Infallible>) };
        let body = Full::new(body).with_trailers(trailers);
        body.collect().await.unwrap()
    }

    /// Judges an answer with the status behind the message.
    async fn judged(body: Bytes, trailers: &[(&str, &str)]) -> Result<u64, ExportFailure> {
        let body = Ok(collected(body, Some(fields(trailers))).await);
        let head = head(200, fields(&[("content-type", GRPC)]));
        judge(Answer { head, body })
    }

    fn partial(rejected_spans: i64) -> Bytes {
        let partial = ExportTracePartialSuccess {
            rejected_spans,
            error_message: String::new(),
        };
        let answer = ExportTraceServiceResponse {
            partial_success: Some(partial),
        };
        frame(&answer.encode_to_vec())
    }

    #[test]
    fn frame_has_the_length_in_big_endian() {
        assert_eq!(&frame(b"")[..], [0; 5]);
        let framed = frame(&[7; 258]);
        assert_eq!(&framed[..5], [0, 0, 0, 1, 2]);
        assert_eq!(message_of(&framed), Some(&[7; 258][..]));
    }

    #[test]
    fn frame_that_is_cut_off_or_compressed_has_no_message() {
        for frame in [
            &b""[..],
            b"\0\0\0\0",
            b"\0\0\0\0\x02a",
            b"\0\xff\xff\xff\xffa",
            b"\x01\0\0\0\x01a",
        ] {
            assert_eq!(message_of(frame), None, "{frame:?}");
        }
        assert_eq!(message_of(b"\0\0\0\0\x01ab"), Some(&b"a"[..]));
    }

    #[tokio::test]
    async fn rejected_spans_of_a_success_are_counted() {
        let ok = [(STATUS, "0")];
        for (body, expected) in [
            (partial(3), 3),
            (partial(-1), 0),
            (frame(b""), 0),
            // Malformed, which changes nothing about the status.
            (frame(b"\xff"), 0),
            (Bytes::new(), 0),
            (Bytes::from_static(b"\0\0\0\0\x09a"), 0),
        ] {
            assert_eq!(judged(body, &ok).await.unwrap(), expected);
        }
    }

    #[tokio::test]
    async fn status_decides_about_another_attempt() {
        let again = ["1", "4", "10", "11", "14", "15"];
        for code in 1..=20 {
            let code = code.to_string();
            let code = code.as_str();
            let failure = judged(frame(b""), &[(STATUS, code)]).await.unwrap_err();
            assert_eq!(failure.may_pass(), again.contains(&code), "{failure}");
        }
        for (status, shown) in [
            ("3", "the collector answered INVALID_ARGUMENT"),
            ("14", "the collector answered UNAVAILABLE"),
            ("99", "the collector answered UNKNOWN"),
            ("-1", "the collector answered UNKNOWN"),
            ("", "the collector answered UNKNOWN"),
            ("0 ", "the collector answered UNKNOWN"),
        ] {
            let failure = judged(partial(0), &[(STATUS, status)]).await.unwrap_err();
            assert_eq!(failure.to_string(), shown, "{status:?}");
        }
    }

    #[tokio::test]
    async fn exhausted_collector_is_asked_again_only_if_it_says_so() {
        let with = |type_url: &str| {
            let type_url = type_url.to_owned();
            let details = vec![Detail { type_url }];
            STANDARD_NO_PAD.encode(StatusDetails { details }.encode_to_vec())
        };
        let offered = with("type.googleapis.com/google.rpc.RetryInfo");
        let padded = format!("{offered}{}", "=".repeat((4 - offered.len() % 4) % 4));
        for (details, expected) in [
            (offered, true),
            (padded, true),
            (with("type.googleapis.com/google.rpc.QuotaFailure"), false),
            ("not base64!".to_owned(), false),
            (STANDARD_NO_PAD.encode(b"\xff"), false),
        ] {
            let trailers = [(STATUS, "8"), (STATUS_DETAILS, details.as_str())];
            let failure = judged(frame(b""), &trailers).await.unwrap_err();
            assert_eq!(failure.may_pass(), expected, "{details}");
        }
        let details = with(RETRY_INFO);
        let refused = [(STATUS, "7"), (STATUS_DETAILS, details.as_str())];
        let failure = judged(frame(b""), &refused).await.unwrap_err();
        assert!(!failure.may_pass(), "only for RESOURCE_EXHAUSTED");
    }

    #[tokio::test]
    async fn answer_without_a_message_has_its_status_in_the_head() {
        for (status, expected) in [("0", Ok(0)), ("14", Err(true)), ("16", Err(false))] {
            let body = Ok(collected(Bytes::new(), None).await);
            let head = head(200, fields(&[(STATUS, status)]));
            let judged = judge(Answer { head, body });
            let judged = judged.map_err(|failure| failure.may_pass());
            assert_eq!(judged, expected, "{status}");
        }
    }

    #[tokio::test]
    async fn answer_without_a_status_is_no_success() {
        for (status, may_pass) in [
            (200, false),
            (204, false),
            (404, false),
            (429, true),
            (503, true),
        ] {
            for trailers in [None, Some(fields(&[("x-other", "0")]))] {
                let body = Ok(collected(partial(0), trailers).await);
                let head = head(status, HeaderMap::new());
                let failure = judge(Answer { head, body }).unwrap_err();
                assert_eq!(failure.may_pass(), may_pass, "{failure}");
            }
        }
    }

    #[tokio::test]
    async fn body_that_was_not_read_has_no_status() {
        for (why, may_pass) in [(ExportFailure::TooLong, false), (ExportFailure::Slow, true)] {
            let (head, body) = (head(200, HeaderMap::new()), Err(why));
            let failure = judge(Answer { head, body }).unwrap_err();
            assert_eq!(failure.may_pass(), may_pass, "{failure}");
        }
    }
}
