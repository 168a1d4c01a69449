//! `dashboard.trusted_proxies`: the peers whose forwarding headers are believed.

use super::forms::network;
use super::section::{Reader, Section, values};
use ipnet::{IpNet, Ipv6Net};

/// Fewest bits of a network's prefix. 10.0.0.0/8 is the largest private network of IPv4.
const MIN_PREFIX_V4: u8 = 8;
/// Providers of the public internet get networks of IPv6 that are smaller than this one.
const MIN_PREFIX_V6: u8 = 16;
/// Bits before the IPv4 address in an IPv4-mapped address.
const MAPPED_PREFIX: u8 = 96;

/// Reads the networks. Those that hold much of the public internet are a warning.
pub(super) fn read_trusted_proxies(section: &mut Section, reader: &mut Reader<'_>) -> Vec<IpNet> {
    let place = section.place_of("trusted_proxies");
    let networks = values(section.parsed_list("trusted_proxies", reader, network));

    // Two halves of the internet are as much as the whole.
    let wide: Vec<String> = IpNet::aggregate(&networks)
        .into_iter()
        .filter(is_wide)
        .map(|network| network.to_string())
        .collect();
    if let Some(place) = place.filter(|_| !wide.is_empty()) {
        let text = format!(
            "`dashboard.trusted_proxies` trusts {}: each client there can choose the address that limits and the audit \
             log see: list the addresses of the proxies alone",
            wide.join(" and ")
        );
        reader.warnings.push((place, text));
    }

    networks
}

fn is_wide(network: &IpNet) -> bool {
    match network {
        IpNet::V4(network) => network.prefix_len() < MIN_PREFIX_V4,
        IpNet::V6(network) => match network.prefix_len().checked_sub(MAPPED_PREFIX) {
            Some(prefix) => network.addr().to_ipv4_mapped().is_some() && prefix < MIN_PREFIX_V4,
            None => network.prefix_len() < MIN_PREFIX_V6 && !is_local(network),
        },
    }
}

/// Returns whether all addresses of the network are unique local (RFC 4193) or link-local ones
/// (RFC 4291).
fn is_local(network: &Ipv6Net) -> bool {
    let [first, ..] = network.addr().segments();
    let prefix = network.prefix_len();
    prefix >= 7 && first & 0xfe00 == 0xfc00 || prefix >= 10 && first & 0xffc0 == 0xfe80
}

#[cfg(test)]
mod tests {
    use super::super::tests::read;

    fn findings(networks: &str) -> Vec<(bool, String)> {
        let text = format!("dashboard:\n  trusted_proxies: [{networks}]\n");
        let config = read(&text).unwrap();
        let findings = config.findings.into_iter();
        findings
            .map(|finding| (finding.is_mistake, finding.text))
            .collect()
    }

    #[test]
    fn networks_that_hold_much_of_the_internet_are_a_warning() {
        for (networks, named) in [
            ("0.0.0.0/0", "0.0.0.0/0"),
            ("'::/0'", "::/0"),
            ("0.0.0.0/0, '::/0'", "0.0.0.0/0 and ::/0"),
            ("0.0.0.0/1, 128.0.0.0/1", "0.0.0.0/0"),
            ("'::/1', '8000::/1'", "::/0"),
            ("64.0.0.0/7", "64.0.0.0/7"),
            ("'2000::/3'", "2000::/3"),
            ("'::ffff:0:0/96'", "::ffff:0.0.0.0/96"),
            ("127.0.0.1, 0.0.0.0/0", "0.0.0.0/0"),
        ] {
            let found = findings(networks);
            let expected = format!(
                "portcullis.yaml:2:3: `dashboard.trusted_proxies` trusts {named}: each client there"
            );
            assert!(
                found.len() == 1 && !found[0].0 && found[0].1.contains(&expected),
                "{networks}: {found:?}"
            );
        }
    }

    #[test]
    fn private_networks_and_single_addresses_are_no_finding() {
        for networks in [
            "",
            "10.0.0.0/8, 172.16.0.0/12, 192.168.0.0/16, 127.0.0.0/8",
            "192.0.2.7, '2001:db8::7'",
            "'fc00::/7', 'fe80::/10', '::1'",
            "'::ffff:10.0.0.0/104'",
            "104.16.0.0/13, '2606:4700::/32'",
        ] {
            let found = findings(networks);
            assert!(found.is_empty(), "{networks}: {found:?}");
        }
    }
}
