//! What an application learns of a request's way: `X-Forwarded-*` and `Forwarded` (RFC 7239).

use super::super::client::peer_of;
use super::super::context::Context;
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use std::net::IpAddr;

const FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const PREFIX: HeaderName = HeaderName::from_static("x-forwarded-prefix");
const FORWARDED: HeaderName = HeaderName::from_static("forwarded");

/// The way of a request. What a trusted proxy wrote of the addresses before it stays.
pub(super) fn headers_of(request: &Request, context: &Context) -> HeaderMap {
    let site = &context.site;
    let origin = context.origin();
    let host = origin.as_deref().and_then(|origin| origin.split_once("://")).map(|(_, host)| host);
    let proto = if site.https { "https" } else { "http" };
    let peer = peer_of(request);
    let written = context.is_proxied.then(|| request.headers());

    let mut headers = HeaderMap::new();
    let mut insert = |name: HeaderName, value: String| {
        if let Ok(value) = HeaderValue::try_from(value) {
            headers.insert(name, value);
        }
    };
    insert(FOR, joined(written, &FOR, &peer.map_or("unknown".to_owned(), |peer| peer.to_string())));
    insert(FORWARDED, joined(written, &FORWARDED, &element(peer, proto, host)));
    insert(PROTO, proto.to_owned());
    if let Some(host) = host {
        insert(HOST, host.to_owned());
    }
    if !site.prefix.is_empty() {
        insert(PREFIX, site.prefix.clone());
    }
    headers
}

/// One element of `Forwarded`. A value with a colon or a bracket is a quoted string.
fn element(peer: Option<IpAddr>, proto: &str, host: Option<&str>) -> String {
    let node = match peer {
        Some(IpAddr::V6(address)) => format!("\"[{address}]\""),
        Some(IpAddr::V4(address)) => address.to_string(),
        None => "unknown".to_owned(),
    };
    let host = host.map(|host| format!(";host=\"{host}\"")).unwrap_or_default();
    format!("for={node}{host};proto={proto}")
}

/// What a trusted proxy wrote over all lines, and one element more.
fn joined(written: Option<&HeaderMap>, name: &HeaderName, element: &str) -> String {
    let lines = written.into_iter().flat_map(|headers| headers.get_all(name));
    let lines = lines.filter_map(|line| line.to_str().ok()).filter(|line| !line.trim().is_empty());
    lines.chain([element]).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn element_of_forwarded_keeps_to_the_grammar() {
        let v6 = "2001:db8::1".parse().ok();
        assert_eq!(element(v6, "https", Some("a:1")), "for=\"[2001:db8::1]\";host=\"a:1\";proto=https");
        let v4 = "192.0.2.1".parse().ok();
        assert_eq!(element(v4, "http", None), "for=192.0.2.1;proto=http");
        assert_eq!(element(None, "http", None), "for=unknown;proto=http");
    }

    #[test]
    fn only_what_a_trusted_proxy_wrote_stays() {
        let mut headers = HeaderMap::new();
        headers.append(FOR, HeaderValue::from_static("6.6.6.6"));
        headers.append(FOR, HeaderValue::from_static("9.9.9.9"));
        assert_eq!(joined(Some(&headers), &FOR, "10.0.0.1"), "6.6.6.6, 9.9.9.9, 10.0.0.1");
        assert_eq!(joined(None, &FOR, "10.0.0.1"), "10.0.0.1");
    }
}
