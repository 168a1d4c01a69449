//! Reading a request's body within its bounds of size and time.

use super::respond;
use axum::body::Bytes;
use axum::extract::{FromRequest, Request};
use axum::http::StatusCode;
use axum::response::Response;
use std::time::Duration;

const TIMEOUT: Duration = Duration::from_secs(10);

/// A body that arrived whole and in time.
pub(super) struct BoundedBody(pub(super) Bytes);

impl<S: Send + Sync> FromRequest<S> for BoundedBody {
    type Rejection = Response;

    async fn from_request(request: Request, state: &S) -> Result<Self, Response> {
        match tokio::time::timeout(TIMEOUT, Bytes::from_request(request, state)).await {
            Ok(Ok(bytes)) => Ok(Self(bytes)),
            Ok(Err(rejected)) => Err(respond::error(rejected.status(), "bad_request", &rejected.body_text())),
            Err(_) => {
                Err(respond::error(StatusCode::REQUEST_TIMEOUT, "timeout", "the body did not arrive in time"))
            }
        }
    }
}
