//! The address that a request came from, and what trusted proxies say about it.

use super::forwarded::{Forwarding, Said};
use axum::extract::Request;
use axum::http::HeaderMap;
use ipnet::{IpNet, Ipv4Net};
use portcullis_net::listen::Peer;
use std::net::IpAddr;
use std::sync::Once;

/// Peers whose forwarding headers are believed.
#[derive(Clone, Debug, Default)]
pub struct TrustedProxies(Vec<IpNet>);

/// The caller of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Client {
    /// The request came from this address.
    Known(IpAddr),
    /// This trusted proxy wrote no address that can be read.
    Behind(IpAddr),
    /// The connection has no address.
    Unknown,
}

impl Client {
    /// The address, if it is known. A proxy's address is not its client's.
    pub(super) fn address(self) -> Option<IpAddr> {
        match self {
            Self::Known(address) => Some(address),
            Self::Behind(_) | Self::Unknown => None,
        }
    }

    /// The caller for an audit line.
    pub(super) fn shown(self) -> Option<String> {
        match self {
            Self::Known(address) => Some(address.to_string()),
            Self::Behind(proxy) => Some(format!("unknown client of {proxy}")),
            Self::Unknown => None,
        }
    }
}

/// What is known of a request's way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Way {
    pub(super) client: Client,
    /// Whether the other end of the connection is a trusted proxy.
    pub(super) is_proxied: bool,
    /// What the trusted proxies say; empty without one.
    pub(super) said: Said,
}

impl TrustedProxies {
    /// Trusts proxies in these networks and no other.
    pub fn new(networks: Vec<IpNet>) -> Self {
        Self(networks.into_iter().map(canonical).collect())
    }

    /// Returns whether there is no trusted proxy.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Reads the way of a request: from its peer, and from what trusted proxies wrote.
    pub(super) fn way_of(&self, request: &Request) -> Way {
        match peer_of(request) {
            Some(peer) => self.walk(peer, request.headers()),
            None => Way {
                client: Client::Unknown,
                is_proxied: false,
                said: Said::default(),
            },
        }
    }

    /// Walks from the nearest hop outwards and stops at the first address that is no trusted
    /// proxy's.
    fn walk(&self, peer: IpAddr, headers: &HeaderMap) -> Way {
        let (mut client, mut said) = (Client::Known(peer), Said::default());
        let is_proxied = self.trusts(peer);
        if !is_proxied {
            return Way {
                client,
                is_proxied,
                said,
            };
        }

        let forwarding = Forwarding::of(headers);
        said = forwarding.said;
        let mut reporter = peer;
        for hop in forwarding.hops.into_iter().rev() {
            said = hop.said.unwrap_or(said);
            let Some(address) = hop.client else {
                client = Client::Behind(reporter);
                warn_of_unreadable(reporter);
                break;
            };
            client = Client::Known(address);
            if !self.trusts(address) {
                break;
            }
            reporter = address;
        }

        Way {
            client,
            is_proxied,
            said,
        }
    }

    fn trusts(&self, address: IpAddr) -> bool {
        self.0.iter().any(|network| network.contains(&address))
    }
}

/// The other end of the connection. On a dual-stack bind, IPv4 peers arrive as mapped addresses.
pub(super) fn peer_of(request: &Request) -> Option<IpAddr> {
    let peer = request.extensions().get::<Peer>()?.0?;
    Some(peer.ip().to_canonical())
}

/// A network of IPv4-mapped addresses as one of IPv4, since peers are compared as such.
fn canonical(network: IpNet) -> IpNet {
    let IpNet::V6(mapped) = network else {
        return network;
    };
    let prefix = mapped.prefix_len().checked_sub(96);
    let address = mapped.addr().to_ipv4_mapped();
    let v4 = address
        .zip(prefix)
        .and_then(|(address, prefix)| Ipv4Net::new(address, prefix).ok());
    v4.map_or(network, IpNet::V4)
}

fn warn_of_unreadable(proxy: IpAddr) {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        tracing::warn!(
            %proxy,
            "the trusted proxy wrote a client address that cannot be read: such clients share one allowance of \
             sign-ins"
        );
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::{HeaderName, HeaderValue};

    fn walk(trusted: &[&str], peer: &str, headers: &[(&'static str, &[u8])]) -> Way {
        let trusted = TrustedProxies::new(
            trusted
                .iter()
                .map(|network| network.parse().unwrap())
                .collect(),
        );
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(
                HeaderName::from_static(name),
                HeaderValue::from_bytes(value).unwrap(),
            );
        }
        trusted.walk(peer.parse().unwrap(), &map)
    }

    fn client(trusted: &[&str], peer: &str, forwarded: &[&[u8]]) -> String {
        let headers: Vec<_> = forwarded
            .iter()
            .map(|line| ("x-forwarded-for", *line))
            .collect();
        walk(trusted, peer, &headers)
            .client
            .shown()
            .unwrap_or_default()
    }

    #[test]
    fn forwarding_is_believed_of_trusted_peers_only() {
        assert_eq!(client(&[], "1.2.3.4", &[b"9.9.9.9"]), "1.2.3.4");
        assert_eq!(
            client(&["127.0.0.0/8"], "127.0.0.1", &[b"9.9.9.9"]),
            "9.9.9.9"
        );
        assert_eq!(client(&["127.0.0.0/8"], "127.0.0.1", &[]), "127.0.0.1");
        assert_eq!(
            client(&["::ffff:127.0.0.0/104"], "127.0.0.1", &[b"9.9.9.9"]),
            "9.9.9.9"
        );
        assert_eq!(
            walk(&[], "1.2.3.4", &[("x-forwarded-proto", b"https")]).said,
            Said::default()
        );
    }

    /// The client of a request that came by way of trusted proxies in two networks.
    fn client_behind_proxies(forwarded: &[&[u8]]) -> String {
        client(&["127.0.0.0/8", "10.0.0.0/8"], "127.0.0.1", forwarded)
    }

    #[test]
    fn walk_goes_from_right_to_left_and_stops_at_the_first_stranger() {
        let cases: [(&[&[u8]], &str); 3] = [
            (&[b"6.6.6.6, 9.9.9.9, 10.0.0.1"], "9.9.9.9"),
            (&[b"6.6.6.6", b"9.9.9.9"], "9.9.9.9"),
            (&[b"6.6.6.6, ::ffff:10.0.0.1"], "6.6.6.6"),
        ];
        for (forwarded, expected) in cases {
            assert_eq!(client_behind_proxies(forwarded), expected, "{forwarded:?}");
        }
    }

    #[test]
    fn what_cannot_be_read_is_an_unknown_client_and_never_the_proxy() {
        let cases: [(&[&[u8]], &str); 4] = [
            (&[b"9.9.9.9, garbage"], "unknown client of 127.0.0.1"),
            (&[b"unknown, 10.0.0.1"], "unknown client of 10.0.0.1"),
            (&[b"6.6.6.6", b"\xff"], "unknown client of 127.0.0.1"),
            (&[b"\xff, 9.9.9.9"], "9.9.9.9"),
        ];
        for (forwarded, expected) in cases {
            assert_eq!(client_behind_proxies(forwarded), expected, "{forwarded:?}");
        }
        assert_eq!(Client::Behind("127.0.0.1".parse().unwrap()).address(), None);
    }

    #[test]
    fn element_of_the_outermost_trusted_hop_says_scheme_and_host() {
        let line = b"for=6.6.6.6;proto=http;host=evil.example, for=9.9.9.9;proto=https;host=agent.example, \
                     for=10.0.0.1;proto=http;host=inner";
        let way = walk(
            &["127.0.0.0/8", "10.0.0.0/8"],
            "127.0.0.1",
            &[("forwarded", line)],
        );
        assert_eq!(way.client.shown().as_deref(), Some("9.9.9.9"));
        assert_eq!(way.said.https, Some(true));
        assert_eq!(
            way.said
                .authority
                .map(|said| said.host.to_string())
                .as_deref(),
            Some("agent.example")
        );
    }
}
