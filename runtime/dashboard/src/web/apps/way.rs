//! What an application learns of a request's way: `X-Forwarded-*` and `Forwarded` (RFC 7239).

use super::super::client::peer_of;
use super::super::context::Context;
use super::headers::Rewriting;
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use std::net::IpAddr;

const FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const PREFIX: HeaderName = HeaderName::from_static("x-forwarded-prefix");
const FORWARDED: HeaderName = HeaderName::from_static("forwarded");

/// The way of a request. What a trusted proxy wrote of the addresses before it stays. `None`: the
/// header is absent.
pub(super) fn headers_of(
    request: &Request,
    context: &Context,
    names: &Rewriting<'_>,
) -> [(HeaderName, Option<HeaderValue>); 5] {
    let host = names
        .outer
        .and_then(|outer| outer.split_once("://"))
        .map(|(_, host)| host);
    let proto = if context.site.https { "https" } else { "http" };
    let prefix = Some(names.prefix).filter(|prefix| !prefix.is_empty());
    let peer = peer_of(request);
    let node = peer.map_or_else(|| "unknown".to_owned(), |peer| peer.to_string());
    let written = context.is_proxied.then(|| request.headers());

    let copied = |text: &str| HeaderValue::from_str(text).ok();
    let owned = |text: String| HeaderValue::try_from(text).ok();
    [
        (FOR, owned(joined(written, &FOR, node))),
        (
            FORWARDED,
            owned(joined(written, &FORWARDED, element(peer, proto, host))),
        ),
        (PROTO, Some(HeaderValue::from_static(proto))),
        (HOST, host.and_then(copied)),
        (PREFIX, prefix.and_then(copied)),
    ]
}

/// One element of `Forwarded`. A value with a colon or a bracket is a quoted string.
fn element(peer: Option<IpAddr>, proto: &str, host: Option<&str>) -> String {
    let mut element = match peer {
        Some(IpAddr::V6(address)) => format!("for=\"[{address}]\""),
        Some(IpAddr::V4(address)) => format!("for={address}"),
        None => "for=unknown".to_owned(),
    };
    if let Some(host) = host {
        element.extend([";host=\"", host, "\""]);
    }
    element.extend([";proto=", proto]);
    element
}

/// What a trusted proxy wrote over all lines, and one element more.
fn joined(written: Option<&HeaderMap>, name: &HeaderName, element: String) -> String {
    let Some(written) = written else {
        return element;
    };
    let lines = written
        .get_all(name)
        .iter()
        .filter_map(|line| line.to_str().ok());
    let lines = lines.filter(|line| !line.trim().is_empty());
    lines
        .chain([element.as_str()])
        .collect::<Vec<_>>()
        .join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn element_of_forwarded_keeps_to_the_grammar() {
        let v6 = "2001:db8::1".parse().ok();
        assert_eq!(
            element(v6, "https", Some("a:1")),
            "for=\"[2001:db8::1]\";host=\"a:1\";proto=https"
        );
        let v4 = "192.0.2.1".parse().ok();
        assert_eq!(element(v4, "http", None), "for=192.0.2.1;proto=http");
        assert_eq!(element(None, "http", None), "for=unknown;proto=http");
    }

    #[test]
    fn only_what_a_trusted_proxy_wrote_stays() {
        let mut headers = HeaderMap::new();
        headers.append(FOR, HeaderValue::from_static("6.6.6.6"));
        headers.append(FOR, HeaderValue::from_static("9.9.9.9"));
        let element = || "10.0.0.1".to_owned();
        assert_eq!(
            joined(Some(&headers), &FOR, element()),
            "6.6.6.6, 9.9.9.9, 10.0.0.1"
        );
        assert_eq!(joined(None, &FOR, element()), "10.0.0.1");
    }
}
