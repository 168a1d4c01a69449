//! Resolves the names that a provider calls, and refuses those that lead into a network that was
//! not granted.

use crate::guest_text::words;
use crate::host::address::is_public;
use crate::host::blocking::BlockingShare;
use crate::host::grants::HttpGrant;
use hyper_util::client::legacy::connect::dns::Name;
use ipnet::IpNet;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tower::Service;

/// A name that leads into a network that was not granted.
#[derive(Debug, thiserror::Error)]
#[error("it leads to {address}, which is not on the public Internet")]
pub(super) struct PrivateAddress {
    pub(super) address: IpAddr,
}

/// A name without an address, and what the system's resolver says of it.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct NameNotFound(pub(super) String);

/// Resolves a name once, and gives the connector only the addresses that it checked.
#[derive(Clone)]
pub(super) struct GuardedResolver {
    grants: Arc<[HttpGrant]>,
    threads: BlockingShare,
}

impl GuardedResolver {
    pub(super) fn new(grants: &[HttpGrant]) -> Self {
        Self {
            grants: grants.into(),
            threads: BlockingShare::default(),
        }
    }
}

impl Service<Name> for GuardedResolver {
    type Response = std::vec::IntoIter<SocketAddr>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let Self { grants, threads } = self.clone();
        Box::pin(async move {
            let asked = name.clone();
            let resolved = threads
                .run(move || (asked.as_str(), 0).to_socket_addrs())
                .await;
            let found = resolved
                .map_err(io::Error::other)?
                .map_err(|error| not_found(&error))?;

            let found: Vec<_> = found.collect();
            if found.is_empty() {
                return Err(not_found(&"it has no address"));
            }

            match address_not_granted(&grants, name.as_str(), &found) {
                Some(address) => Err(io::Error::other(PrivateAddress { address })),
                None => Ok(found.into_iter()),
            }
        })
    }
}

fn not_found(why: &dyn std::fmt::Display) -> io::Error {
    io::Error::other(NameNotFound(words(why)))
}

/// Returns the first of a name's addresses that the grants do not let a provider call. `None`: it
/// may call all of them.
pub fn address_not_granted(
    grants: &[HttpGrant],
    name: &str,
    found: &[SocketAddr],
) -> Option<IpAddr> {
    let networks = networks_of(grants, name);
    found
        .iter()
        .find(|address| !may_lead_to(address, &networks))
        .map(SocketAddr::ip)
}

/// Where beside the public Internet a granted name may lead. `localhost` is this machine by
/// definition (RFC 6761 section 6.3): who grants it means just that.
fn networks_of(grants: &[HttpGrant], name: &str) -> Vec<IpNet> {
    let is_named = |grant: &&HttpGrant| {
        grant
            .origin
            .name()
            .is_some_and(|own| own.eq_ignore_ascii_case(name))
    };
    let mut networks: Vec<_> = grants
        .iter()
        .filter(is_named)
        .flat_map(|grant| grant.networks.clone())
        .collect();
    if name.eq_ignore_ascii_case("localhost") && grants.iter().any(|grant| is_named(&grant)) {
        networks.extend(
            [
                IpAddr::from(Ipv4Addr::LOCALHOST),
                IpAddr::from(Ipv6Addr::LOCALHOST),
            ]
            .map(IpNet::from),
        );
    }

    networks
}

fn may_lead_to(address: &SocketAddr, networks: &[IpNet]) -> bool {
    let ip = address.ip();
    is_public(ip) || networks.iter().any(|network| network.contains(&ip))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::grants::Origin;

    fn grants(networks: &[&str]) -> Vec<HttpGrant> {
        let networks = networks
            .iter()
            .map(|network| network.parse().unwrap())
            .collect();
        let idp = HttpGrant {
            networks,
            ..HttpGrant::of(Origin::parse("https://idp.example.com").unwrap())
        };
        vec![
            idp,
            HttpGrant::of(Origin::parse("http://localhost:9000").unwrap()),
        ]
    }

    fn may(grants: &[HttpGrant], name: &str, address: &str) -> bool {
        may_lead_to(
            &SocketAddr::new(address.parse().unwrap(), 0),
            &networks_of(grants, name),
        )
    }

    #[test]
    fn granted_name_leads_to_the_public_internet_alone() {
        let grants = grants(&[]);
        assert!(may(&grants, "idp.example.com", "8.8.8.8"));
        for private in [
            "127.0.0.1",
            "10.0.0.1",
            "169.254.169.254",
            "::1",
            "::ffff:127.0.0.1",
        ] {
            assert!(!may(&grants, "idp.example.com", private), "{private}");
        }
        assert!(may(&grants, "localhost", "127.0.0.1") && may(&grants, "LOCALHOST", "::1"));
        assert!(!may(&grants, "localhost", "10.0.0.1"));
    }

    #[test]
    fn granted_network_opens_that_name_alone() {
        let grants = grants(&["10.0.0.0/8"]);
        assert!(may(&grants, "idp.example.com", "10.1.2.3"));
        assert!(!may(&grants, "idp.example.com", "192.168.0.1"));
        assert!(!may(&grants, "localhost", "10.1.2.3"));
    }
}
