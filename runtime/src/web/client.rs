//! The address that a request came from.

use crate::listen::Peer;
use axum::extract::Request;
use ipnet::IpNet;
use std::net::IpAddr;

/// Peers whose `X-Forwarded-For` is believed.
#[derive(Clone, Debug, Default)]
pub struct TrustedProxies(Vec<IpNet>);

impl TrustedProxies {
    /// These, and no other.
    pub fn new(networks: Vec<IpNet>) -> Self {
        Self(networks)
    }

    /// The caller's address: the peer's own, or, from right to left, the first that is not a trusted proxy.
    pub(super) fn client_of(&self, request: &Request) -> Option<IpAddr> {
        // On a dual-stack bind, IPv4 peers arrive as mapped addresses.
        let peer = request.extensions().get::<Peer>()?.0?.ip().to_canonical();
        let forwarded =
            request.headers().get_all("x-forwarded-for").iter().filter_map(|value| value.to_str().ok());
        Some(self.walk(peer, forwarded))
    }

    /// Is the other end of the connection one of them?
    pub(super) fn trusts_peer_of(&self, request: &Request) -> bool {
        let peer = request.extensions().get::<Peer>().and_then(|peer| peer.0);
        peer.is_some_and(|peer| self.trusts(peer.ip().to_canonical()))
    }

    fn walk<'a>(&self, peer: IpAddr, forwarded: impl DoubleEndedIterator<Item = &'a str>) -> IpAddr {
        let mut client = peer;
        for hop in forwarded.rev().flat_map(|line| line.rsplit(',')) {
            if !self.trusts(client) {
                break;
            }
            let Ok(address) = hop.trim().parse() else { break };
            client = address;
        }
        client
    }

    fn trusts(&self, address: IpAddr) -> bool {
        self.0.iter().any(|network| network.contains(&address))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(trusted: &[&str], peer: &str, forwarded: &[&str]) -> String {
        let trusted = TrustedProxies::new(trusted.iter().map(|network| network.parse().unwrap()).collect());
        trusted.walk(peer.parse().unwrap(), forwarded.iter().copied()).to_string()
    }

    #[test]
    fn forwarding_is_believed_of_trusted_peers_only() {
        assert_eq!(client(&[], "1.2.3.4", &["9.9.9.9"]), "1.2.3.4");
        assert_eq!(client(&["127.0.0.0/8"], "127.0.0.1", &["9.9.9.9"]), "9.9.9.9");
        assert_eq!(client(&["127.0.0.0/8"], "127.0.0.1", &[]), "127.0.0.1");
    }

    #[test]
    fn walk_goes_from_right_to_left_and_stops_at_the_first_stranger() {
        let trusted = ["127.0.0.0/8", "10.0.0.0/8"];
        assert_eq!(client(&trusted, "127.0.0.1", &["6.6.6.6, 9.9.9.9, 10.0.0.1"]), "9.9.9.9");
        assert_eq!(client(&trusted, "127.0.0.1", &["6.6.6.6", "9.9.9.9"]), "9.9.9.9");
        assert_eq!(client(&trusted, "127.0.0.1", &["9.9.9.9, garbage"]), "127.0.0.1");
    }
}
