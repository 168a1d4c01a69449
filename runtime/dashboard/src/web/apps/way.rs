//! What an application learns of a request's way: `X-Forwarded-*` and `Forwarded` (RFC 7239).

use super::super::client::peer_of;
use super::super::context::Context;
use super::super::forwarded::{Chain, element_of, member_of};
use super::headers::Rewriting;
use axum::extract::Request;
use axum::http::{HeaderName, HeaderValue};
use std::net::IpAddr;

const FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const PREFIX: HeaderName = HeaderName::from_static("x-forwarded-prefix");
const FORWARDED: HeaderName = HeaderName::from_static("forwarded");

/// The way of a request. The addresses that a trusted proxy wrote stay before the last one, and are
/// the same in both headers. `None`: the header is absent.
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
    let written = if context.is_proxied {
        Chain::of(request.headers())
    } else {
        Chain::default()
    };

    let copied = |text: &str| HeaderValue::from_str(text).ok();
    let owned = |text: String| HeaderValue::try_from(text).ok();
    [
        (FOR, owned(joined(written.members, member_of(peer)))),
        (
            FORWARDED,
            owned(joined(written.elements, element(peer, proto, host))),
        ),
        (PROTO, Some(HeaderValue::from_static(proto))),
        (HOST, host.and_then(copied)),
        (PREFIX, prefix.and_then(copied)),
    ]
}

/// The dashboard's own element of `Forwarded`.
fn element(peer: Option<IpAddr>, proto: &str, host: Option<&str>) -> String {
    let mut element = element_of(peer);
    if let Some(host) = host {
        element.extend([";host=\"", host, "\""]);
    }
    element.extend([";proto=", proto]);
    element
}

/// What a trusted proxy wrote, and one more.
fn joined(mut written: Vec<String>, own: String) -> String {
    if written.is_empty() {
        return own;
    }
    written.push(own);
    written.join(", ")
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
    fn own_address_stands_last() {
        let written = ["6.6.6.6", "9.9.9.9"].map(str::to_owned);
        let own = || "10.0.0.1".to_owned();
        assert_eq!(joined(written.into(), own()), "6.6.6.6, 9.9.9.9, 10.0.0.1");
        assert_eq!(joined(Vec::new(), own()), "10.0.0.1");
    }
}
