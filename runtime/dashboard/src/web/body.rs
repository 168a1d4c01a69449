//! Reading a request's body within its bounds of size and time.

use super::respond;
use axum::body::Bytes;
use axum::extract::{FromRequest, Request};
use axum::http::StatusCode;
use axum::response::Response;
use portcullis_net::error_chain::causes;
use std::error::Error;
use std::io::{self, ErrorKind};
use std::time::Duration;

/// Longest body of a request to a route of the dashboard.
pub(super) const MAX_BODY_BYTES: usize = 64 * 1024;
const TIMEOUT: Duration = Duration::from_secs(10);

/// What [`is_malformed`] finds, for the client.
pub(super) const MALFORMED: &str = "its body is not in chunks as HTTP/1.1 frames them";

/// Returns whether the body of a request ended since its chunks are malformed (RFC 9112 section
/// 7.1), rather than since it broke off.
pub(super) fn is_malformed(error: &(dyn Error + 'static)) -> bool {
    // hyper has no other sign of it.
    causes(error)
        .filter_map(|cause| cause.downcast_ref::<io::Error>())
        .any(|error| {
            matches!(
                error.kind(),
                ErrorKind::InvalidInput | ErrorKind::InvalidData
            )
        })
}

/// A body that arrived whole and in time.
pub(super) struct BoundedBody(pub(super) Bytes);

impl<S: Send + Sync> FromRequest<S> for BoundedBody {
    type Rejection = Response;

    async fn from_request(request: Request, state: &S) -> Result<Self, Response> {
        match tokio::time::timeout(TIMEOUT, Bytes::from_request(request, state)).await {
            Ok(Ok(bytes)) => Ok(Self(bytes)),
            Ok(Err(rejected)) if is_malformed(&rejected) => Err(respond::error(
                StatusCode::BAD_REQUEST,
                "bad_request",
                &format!("the request cannot be read: {MALFORMED}"),
            )),
            Ok(Err(rejected)) if rejected.status() == StatusCode::PAYLOAD_TOO_LARGE => {
                Err(respond::error(
                    StatusCode::PAYLOAD_TOO_LARGE,
                    "body_too_large",
                    &format!("the body is larger than {} KiB", MAX_BODY_BYTES >> 10),
                ))
            }
            Ok(Err(rejected)) => Err(respond::error(
                rejected.status(),
                "bad_request",
                &rejected.body_text(),
            )),
            Err(_) => Err(respond::error(
                StatusCode::REQUEST_TIMEOUT,
                "timeout",
                "the body did not arrive in time",
            )),
        }
    }
}
