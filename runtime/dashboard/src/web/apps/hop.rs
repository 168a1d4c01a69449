//! Requests that come back to the dashboard by way of an application.
//!
//! `Via` (RFC 9110 section 7.6.3) is not used for it: nginx and IIS do not compress answers to a
//! request that has one.

use super::failure::Failure;
use super::forward::refuse;
use super::refusal;
use super::table::App;
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::response::Response;
use portcullis_observe::request_id::RequestId;
use std::sync::LazyLock;

/// Names the dashboards that a request has come through.
const HOP: HeaderName = HeaderName::from_static("x-portcullis-hop");

/// The name of this process. `None`: the system gives no random numbers, so no loop is seen.
static OWN: LazyLock<Option<HeaderValue>> =
    LazyLock::new(|| Some(RequestId::generate().ok()?.to_header()));

/// Adds this process to those that a request has come through.
pub(super) fn mark(headers: &mut HeaderMap) {
    if let Some(own) = &*OWN {
        headers.append(HOP, own.clone());
    }
}

/// The refusal of a request that this process has sent to an application itself.
pub(in crate::web) fn refuse_loop(app: &App, request: &Request) -> Option<Response> {
    has_come_back(request.headers()).then(|| {
        let audience = refusal::audience(app, request);
        refuse(app, &Failure::Loop, audience)
    })
}

fn has_come_back(headers: &HeaderMap) -> bool {
    let Some(own) = &*OWN else {
        return false;
    };
    headers
        .get_all(HOP)
        .iter()
        .flat_map(|line| line.as_bytes().split(|byte| *byte == b','))
        .any(|hop| hop.trim_ascii() == own.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn request_that_this_process_has_marked_has_come_back() {
        let mut headers = HeaderMap::new();
        assert!(!has_come_back(&headers));
        headers.insert(HOP, HeaderValue::from_static("another, and-another"));
        assert!(!has_come_back(&headers));
        mark(&mut headers);
        assert!(has_come_back(&headers));
        assert_eq!(headers.get_all(HOP).iter().count(), 2);

        let own = OWN.as_ref().unwrap().to_str().unwrap();
        let joined = format!("another,{own}");
        headers.insert(HOP, joined.parse().unwrap());
        assert!(has_come_back(&headers));
    }
}
