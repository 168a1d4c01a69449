//! Which addresses are the public Internet. A name that a provider may call must not lead into the
//! operator's own network: to this machine, to its neighbours, or to a cloud's metadata service.

use ipnet::IpNet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::LazyLock;

/// The special-purpose registries of IANA (RFC 6890 and its updates), and multicast.
static SPECIAL: LazyLock<Vec<IpNet>> = LazyLock::new(|| {
    [
        "0.0.0.0/8",
        "10.0.0.0/8",
        "100.64.0.0/10",
        "127.0.0.0/8",
        // Link-local, and with it the metadata services of the clouds.
        "169.254.0.0/16",
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.0.2.0/24",
        "192.88.99.0/24",
        "192.168.0.0/16",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/3",
        "::/96",
        "64:ff9b:1::/48",
        "100::/63",
        "2001::/23",
        "2001:db8::/32",
        "3fff::/20",
        "5f00::/16",
        "fc00::/7",
        "fe80::/10",
        "fec0::/10",
        "ff00::/8",
    ]
    .iter()
    .map(|network| network.parse().expect("a constant that is a network"))
    .collect()
});

/// All addresses that are assigned as global unicast (RFC 4291). Others are unassigned, or of this
/// network.
static GLOBAL_V6: LazyLock<IpNet> =
    LazyLock::new(|| "2000::/3".parse().expect("a constant that is a network"));

/// Returns whether this address can only be on the public Internet.
pub(crate) fn is_public(address: IpAddr) -> bool {
    let is_special = |address: IpAddr| SPECIAL.iter().any(|network| network.contains(&address));
    match (address, embedded_v4(address)) {
        (_, Some(inner)) => !is_special(IpAddr::V4(inner)),
        (IpAddr::V4(_), None) => !is_special(address),
        (IpAddr::V6(_), None) => GLOBAL_V6.contains(&address) && !is_special(address),
    }
}

/// The IPv4 address that an IPv6 address leads to: mapped (RFC 4291), NAT64 (RFC 6052), 6to4 (RFC
/// 3056).
fn embedded_v4(address: IpAddr) -> Option<Ipv4Addr> {
    let IpAddr::V6(address) = address else {
        return None;
    };
    let octets = address.octets();
    let v4 = |at: usize| Ipv4Addr::new(octets[at], octets[at + 1], octets[at + 2], octets[at + 3]);
    let nat64 = Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, 0, 0).octets();
    match address.segments()[0] {
        _ if address.to_ipv4_mapped().is_some() => Some(v4(12)),
        _ if octets[..12] == nat64[..12] => Some(v4(12)),
        0x2002 => Some(v4(2)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_public_internet_is_public() {
        for address in [
            "8.8.8.8",
            "1.1.1.1",
            "2606:4700::1111",
            "64:ff9b::808:808",
            "::ffff:8.8.8.8",
        ] {
            assert!(is_public(address.parse().unwrap()), "{address}");
        }

        for address in [
            "127.0.0.1",
            "127.8.8.8",
            "0.0.0.0",
            "10.1.2.3",
            "100.64.0.1",
            "169.254.169.254",
            "172.31.255.255",
            "192.168.1.1",
            "198.18.0.1",
            "224.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::127.0.0.1",
            "::ffff:127.0.0.1",
            "::ffff:169.254.169.254",
            "64:ff9b::7f00:1",
            "64:ff9b:1::1",
            "2002:7f00:1::1",
            "2001::1",
            "fd00:ec2::254",
            "fe80::1",
            "ff02::1",
            "::ffff:0:127.0.0.1",
            "4000::1",
        ] {
            assert!(!is_public(address.parse().unwrap()), "{address}");
        }
    }
}
