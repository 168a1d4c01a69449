//! Requests that do not come straight from this machine, on a dashboard without sign-in.
//!
//! There the page at `/` carries this process's token, which opens the whole API. A proxy, a tunnel or a port forward on
//! the machine connects from loopback as well, so a request is searched for what such programs write into it.
//!
//! **Invariant:** a request with any sign of a proxy gets no token, and the token that it presents opens nothing.

use super::client::peer_of;
use super::page::{Page, respond_with};
use super::respond;
use axum::extract::Request;
use axum::http::{HeaderName, StatusCode, Version};
use axum::response::Response;
use maud::html;
use std::fmt;
use std::net::IpAddr;

/// How a request shows that it came from elsewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Outside {
    /// A header that proxies, tunnels and load balancers write.
    Header(HeaderName),
    /// HTTP/1.0: the default of nginx for its upstreams before version 1.29, and of no browser.
    OldVersion,
    /// The other end of the connection.
    Peer(Option<IpAddr>),
    /// A `Host` that is none of the dashboard's.
    Host,
}

/// Headers that browsers and programs do not send by themselves, each by its whole name.
const NAMES: &[&str] = &[
    "cdn-loop",
    "client-ip",
    "disguised-host",
    "forwarded",
    "forwarded-for",
    "forwarded-host",
    "forwarded-proto",
    "front-end-https",
    "remote-addr",
    "remote-email",
    "remote-groups",
    "remote-name",
    "remote-user",
    "surrogate-capability",
    "true-client-ip",
    "via",
    "wl-proxy-client-ip",
    "x-backend-host",
    "x-cluster-client-ip",
    "x-coming-from",
    "x-from",
    "x-host",
    "x-http-host-override",
    "x-hops",
    "x-ip",
    "x-nginx-proxy",
    "x-rewrite-url",
    "x-scheme",
    "x-tls-version",
    "x-trusted-proxy",
    "x-url-scheme",
    "x-varnish",
];

/// The same by the start of the name.
const PREFIXES: &[&str] = &[
    "akamai-",
    "cf-",
    "cloudfront-",
    "fastly-",
    "fly-",
    "ngrok-",
    "proxy-",
    "ssl-client-",
    "tailscale-",
    "x-akamai-",
    "x-amz-cf-",
    "x-amzn-",
    "x-appengine-",
    "x-arr-",
    "x-auth-request-",
    "x-authentik-",
    "x-azure-",
    "x-client-",
    "x-cloud-trace-",
    "x-envoy-",
    "x-fd-",
    "x-forward",
    "x-goog-",
    "x-middleware-",
    "x-ms-client-principal",
    "x-ms-forward",
    "x-ms-proxy",
    "x-nf-",
    "x-original",
    "x-originating",
    "x-pomerium-",
    "x-proxy",
    "x-railway-",
    "x-real-",
    "x-remote-",
    "x-render-",
    "x-sigsci-",
    "x-ssl-",
    "x-tailscale-",
    "x-true-client-",
    "x-tunnel-",
    "x-vercel-",
    "x-webauth-",
    "x-zscaler-",
];

impl Outside {
    /// Looks for a sign that a request came from elsewhere.
    pub(super) fn of(request: &Request, is_host_known: bool) -> Option<Self> {
        let peer = peer_of(request);
        if !peer.is_some_and(|peer| peer.is_loopback()) {
            return Some(Self::Peer(peer));
        }
        if let Some(name) = request.headers().keys().find(|name| is_sign(name.as_str())) {
            return Some(Self::Header(name.clone()));
        }
        if request.version() < Version::HTTP_11 {
            return Some(Self::OldVersion);
        }
        (!is_host_known).then_some(Self::Host)
    }

    /// The answer to a request that presents this process's token.
    pub(super) fn refusal(&self) -> Response {
        let detail = format!("This process's token works on this machine alone, and {self}. {WHAT_TO_SET}");
        respond::error(StatusCode::FORBIDDEN, "not_local", &detail)
    }

    /// What stands at `/` instead of the page with the token.
    pub(super) fn page(&self) -> Response {
        let body = html! {
            main.narrow {
                h1 { "Portcullis" }
                p.alert role="alert" { "This dashboard has no sign-in, so it is for this machine alone, and " (self.to_string()) "." }
                p { (WHAT_TO_SET) }
            }
        };
        respond_with(
            StatusCode::OK,
            &Page { title: "Portcullis", insecure: false, script: None, signs_out: false },
            &body,
        )
    }
}

/// One sentence for the page and for programs.
const WHAT_TO_SET: &str = "To use it through a proxy, set dashboard.public_url (or dashboard.allowed_hosts) to the name that \
                           people use and add a provider that signs people in; or open it on the machine itself.";

fn is_sign(name: &str) -> bool {
    NAMES.contains(&name) || PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

impl fmt::Display for Outside {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Header(name) => write!(f, "the request came through a proxy (it has the header {name})"),
            Self::OldVersion => f.write_str("the request came through a proxy (it is HTTP/1.0)"),
            Self::Peer(Some(peer)) => write!(f, "the request came from {peer}"),
            Self::Peer(None) => f.write_str("it is not known where the request came from"),
            Self::Host => f.write_str("the request has a Host that this dashboard does not know"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::listen::Peer;
    use axum::body::Body;

    fn request(peer: &str, header: Option<&str>) -> Request {
        let mut request = Request::new(Body::empty());
        request.extensions_mut().insert(Peer(Some(peer.parse().unwrap())));
        if let Some(header) = header {
            request
                .headers_mut()
                .insert(HeaderName::from_bytes(header.as_bytes()).unwrap(), "x".parse().unwrap());
        }
        request
    }

    #[test]
    fn every_sign_of_a_proxy_is_seen() {
        for header in [
            "X-Forwarded-For",
            "X-Forwarded-Host",
            "X-Forwarded-Proto",
            "X-Forwarded-Prefix",
            "X-Forwarded",
            "Forwarded",
            "Via",
            "X-Real-IP",
            "CF-Connecting-IP",
            "CF-Ray",
            "True-Client-IP",
            "X-Client-IP",
            "X-Cluster-Client-IP",
            "Fly-Client-IP",
            "Fastly-Client-IP",
            "X-Original-URI",
            "X-Original-Forwarded-For",
            "X-Originating-IP",
            "Tailscale-User-Login",
            "X-Envoy-External-Address",
            "X-Amzn-Trace-Id",
            "X-Azure-ClientIP",
            "X-AppEngine-User-IP",
            "X-Remote-User",
            "Remote-User",
            "Proxy-Connection",
        ] {
            let found = Outside::of(&request("127.0.0.1:4", Some(header)), true);
            assert!(matches!(found, Some(Outside::Header(_))), "{header}");
        }
    }

    #[test]
    fn peers_beyond_loopback_old_versions_and_unknown_hosts_are_outside() {
        assert_eq!(Outside::of(&request("127.0.0.1:4", None), true), None);
        assert_eq!(Outside::of(&request("[::1]:4", None), true), None);
        assert_eq!(Outside::of(&request("127.0.0.1:4", Some("accept-language")), true), None);
        assert_eq!(Outside::of(&request("127.0.0.1:4", None), false), Some(Outside::Host));
        assert!(matches!(Outside::of(&request("192.0.2.1:4", None), true), Some(Outside::Peer(Some(_)))));
        let mut old = request("127.0.0.1:4", None);
        *old.version_mut() = Version::HTTP_10;
        assert_eq!(Outside::of(&old, true), Some(Outside::OldVersion));
    }
}
