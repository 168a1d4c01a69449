//! Labels of requests. Each label has a bounded number of values, so that a stranger cannot fill
//! the memory with them.

use axum::extract::{MatchedPath, Request};
use axum::http::{Method, StatusCode};
use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder};
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

/// What every request is counted by: made without allocating.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct RequestLabels {
    pub(super) route: Route,
    pub(super) status: u16,
}

/// What the times of requests are kept by.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct DurationLabels {
    pub(super) route: Route,
    pub(super) method: &'static str,
    pub(super) status: &'static str,
}

/// What the requests of applications are counted by: made without allocating.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct AppLabels {
    pub(super) app: Arc<str>,
    pub(super) status: &'static str,
}

/// The pattern of a handler in the list of routes; `other` for a path without a handler.
#[derive(Clone, Debug)]
pub(in crate::web) struct Route(Option<MatchedPath>);

impl Route {
    /// The route of a request.
    pub(in crate::web) fn of(request: &Request) -> Self {
        Self(request.extensions().get::<MatchedPath>().cloned())
    }

    /// Returns the pattern of the route. `None`: no handler is there.
    pub(in crate::web) fn pattern(&self) -> Option<&str> {
        self.0.as_ref().map(MatchedPath::as_str)
    }

    /// Returns the pattern of the route, or `other`.
    pub(in crate::web) fn as_str(&self) -> &str {
        self.pattern().unwrap_or("other")
    }
}

impl PartialEq for Route {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

impl Eq for Route {}

impl Hash for Route {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_str().hash(state);
    }
}

impl EncodeLabelValue for Route {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> fmt::Result {
        self.as_str().encode(encoder)
    }
}

/// The method, `other` for one that no route takes.
pub(in crate::web) fn known_method(method: &Method) -> &'static str {
    const KNOWN: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];
    KNOWN
        .into_iter()
        .find(|known| method.as_str() == *known)
        .unwrap_or("other")
}

/// The class of a status, such as `2xx`.
pub(super) fn class_of(status: StatusCode) -> &'static str {
    match status.as_u16() {
        100..=199 => "1xx",
        200..=299 => "2xx",
        300..=399 => "3xx",
        400..=499 => "4xx",
        _ => "5xx",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_labels_are_bounded() {
        assert_eq!(known_method(&Method::GET), "GET");
        assert_eq!(known_method(&Method::from_bytes(b"BREW").unwrap()), "other");
        for (status, class) in [
            (101, "1xx"),
            (204, "2xx"),
            (302, "3xx"),
            (429, "4xx"),
            (503, "5xx"),
            (999, "5xx"),
        ] {
            assert_eq!(class_of(StatusCode::from_u16(status).unwrap()), class);
        }
    }
}
