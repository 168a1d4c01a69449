//! What proxies write of a request's way: `X-Forwarded-For`, `-Proto` and `-Host`, or `Forwarded`
//! (RFC 7239), and the conversion of one into the other.
//!
//! **Invariant:** reading trusts no peer. [`TrustedProxies`](super::TrustedProxies) decides how
//! much of it counts.

use super::authority::Authority;
use axum::http::HeaderMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

const FOR: &str = "x-forwarded-for";
const PROTO: &str = "x-forwarded-proto";
const HOST: &str = "x-forwarded-host";
const FORWARDED: &str = "forwarded";

/// The scheme and the authority that a browser used, as far as they are known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Said {
    pub(super) https: Option<bool>,
    pub(super) authority: Option<Authority>,
}

/// One hop of the way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Hop {
    /// The address that a proxy received the request from. `None`: it wrote none that can be read.
    pub(super) client: Option<IpAddr>,
    /// What this proxy says of the scheme and the authority. `None`: the headers do not say it per
    /// hop.
    pub(super) said: Option<Said>,
}

/// The way of a request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Forwarding {
    /// The hop next to the dashboard is the last.
    pub(super) hops: Vec<Hop>,
    /// What all proxies together say.
    pub(super) said: Said,
}

impl Forwarding {
    /// Reads the headers. `Forwarded` counts only where there is no `X-Forwarded-*` of the three,
    /// since a proxy that sets those may pass on a `Forwarded` that the client made up.
    pub(super) fn of(headers: &HeaderMap) -> Self {
        match has_x_forwarded(headers) {
            true => of_x_forwarded(headers),
            false => of_forwarded(headers),
        }
    }
}

fn has_x_forwarded(headers: &HeaderMap) -> bool {
    [FOR, PROTO, HOST]
        .iter()
        .any(|name| headers.contains_key(*name))
}

/// The addresses that proxies wrote, in both headers: an application may read either, and must find
/// the same clients there.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Chain {
    /// Members of `X-Forwarded-For`.
    pub(super) members: Vec<String>,
    /// Elements of `Forwarded`.
    pub(super) elements: Vec<String>,
}

impl Chain {
    /// Reads the header that counts, as [`Forwarding::of`] does. What stands there stays, and the
    /// other header is made from it (RFC 7239 section 7.4). What cannot be read is `unknown` there.
    pub(super) fn of(headers: &HeaderMap) -> Self {
        let mut chain = Self::default();
        if has_x_forwarded(headers) {
            for member in members(headers, FOR) {
                let client = address(member);
                let text = ascii(member).map_or_else(|| member_of(client), str::to_owned);
                chain.members.push(text);
                chain.elements.push(element_of(client));
            }
            return chain;
        }

        for Element { text, hop } in elements(headers) {
            let text = ascii(text).map_or_else(|| element_of(hop.client), str::to_owned);
            chain.members.push(member_of(hop.client));
            chain.elements.push(text);
        }
        chain
    }
}

fn ascii(text: &[u8]) -> Option<&str> {
    std::str::from_utf8(text)
        .ok()
        .filter(|text| text.is_ascii())
}

/// An address as a member of `X-Forwarded-For`.
pub(super) fn member_of(client: Option<IpAddr>) -> String {
    client.map_or_else(|| "unknown".to_owned(), |client| client.to_string())
}

/// An address as an element of `Forwarded`. A value with a colon or a bracket is a quoted string.
pub(super) fn element_of(client: Option<IpAddr>) -> String {
    match client {
        Some(IpAddr::V6(address)) => format!("for=\"[{address}]\""),
        Some(IpAddr::V4(address)) => format!("for={address}"),
        None => "for=unknown".to_owned(),
    }
}

/// Reads the `X-Forwarded-*` headers. The first scheme or host of a list is the one that the
/// browser used, since each further proxy appends its own.
fn of_x_forwarded(headers: &HeaderMap) -> Forwarding {
    let hops = members(headers, FOR)
        .map(|member| Hop {
            client: address(member),
            said: None,
        })
        .collect();
    let authority = members(headers, HOST).next().and_then(authority);

    Forwarding {
        hops,
        said: Said {
            https: members(headers, PROTO).next().and_then(scheme),
            authority,
        },
    }
}

/// The members of a list header over all its lines, without the empty ones.
fn members<'a>(headers: &'a HeaderMap, name: &str) -> impl Iterator<Item = &'a [u8]> {
    let lines = headers.get_all(name).into_iter();
    let members = lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b','));
    members
        .map(<[u8]>::trim_ascii)
        .filter(|member| !member.is_empty())
}

fn of_forwarded(headers: &HeaderMap) -> Forwarding {
    Forwarding {
        hops: elements(headers).map(|element| element.hop).collect(),
        said: Said::default(),
    }
}

/// One element of `Forwarded`: its text, and what that says.
struct Element<'a> {
    text: &'a [u8],
    hop: Hop,
}

/// The elements of `Forwarded` over all its lines. A line that breaks the grammar, by a quote that
/// does not end for instance, is one hop that cannot be read.
fn elements(headers: &HeaderMap) -> impl Iterator<Item = Element<'_>> {
    let unreadable = || {
        let hop = Hop {
            client: None,
            said: None,
        };
        vec![Element {
            text: b"for=unknown",
            hop,
        }]
    };
    let lines = headers.get_all(FORWARDED).into_iter();
    lines.flat_map(move |line| elements_of_line(line.as_bytes()).unwrap_or_else(unreadable))
}

/// The elements of one line (RFC 7239 section 4). Returns `None` if it breaks the grammar.
fn elements_of_line(line: &[u8]) -> Option<Vec<Element<'_>>> {
    let texts = split_unquoted(line, b',')?;
    texts
        .into_iter()
        .map(<[u8]>::trim_ascii)
        .filter(|text| !text.is_empty())
        .map(|text| {
            let hop = hop_of(text)?;
            Some(Element { text, hop })
        })
        .collect()
}

fn hop_of(text: &[u8]) -> Option<Hop> {
    let mut client = None;
    let mut said = Said::default();

    for pair in split_unquoted(text, b';')? {
        let pair = pair.trim_ascii();
        if pair.is_empty() {
            continue;
        }
        let mut parts = pair.splitn(2, |byte| *byte == b'=');
        let name = parts.next()?.to_ascii_lowercase();
        let value = unquoted(parts.next()?)?;
        match name.as_slice() {
            b"for" => client = address(&value),
            b"proto" => said.https = scheme(&value),
            b"host" => said.authority = authority(&value),
            _ => {}
        }
    }

    Some(Hop {
        client,
        said: Some(said),
    })
}

/// Splits at a separator outside quotes. Returns `None` if a quote does not end.
fn split_unquoted(text: &[u8], separator: u8) -> Option<Vec<&[u8]>> {
    let (mut is_quoted, mut is_escaped) = (false, false);
    let parts = text.split(|byte| {
        let was_escaped = std::mem::take(&mut is_escaped);
        match *byte {
            _ if was_escaped => false,
            b'\\' if is_quoted => {
                is_escaped = true;
                false
            }
            b'"' => {
                is_quoted = !is_quoted;
                false
            }
            byte => !is_quoted && byte == separator,
        }
    });

    let parts: Vec<_> = parts.collect();
    (!is_quoted).then_some(parts)
}

/// The text of a token or a quoted string (RFC 9110 section 5.6.4).
fn unquoted(value: &[u8]) -> Option<Vec<u8>> {
    let Some(inner) = value.strip_prefix(b"\"") else {
        return Some(value.to_vec());
    };
    let inner = inner.strip_suffix(b"\"")?;
    let mut text = Vec::with_capacity(inner.len());

    let mut bytes = inner.iter();
    while let Some(byte) = bytes.next() {
        text.push(if *byte == b'\\' {
            *bytes.next()?
        } else {
            *byte
        });
    }

    Some(text)
}

/// Traefik writes `wss` for a web socket over TLS.
fn scheme(text: &[u8]) -> Option<bool> {
    match text.to_ascii_lowercase().as_slice() {
        b"https" | b"wss" => Some(true),
        b"http" | b"ws" => Some(false),
        _ => None,
    }
}

fn authority(text: &[u8]) -> Option<Authority> {
    std::str::from_utf8(text).ok().and_then(Authority::parse)
}

/// An address with or without brackets, zone, port and quotes, IPv4-mapped ones as IPv4. Returns
/// `None` for `unknown`, for an obfuscated name like `_hidden` (RFC 7239 section 6.3), and for what
/// is no address.
fn address(text: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(text).ok()?;
    let text = text
        .strip_prefix('"')
        .and_then(|text| text.strip_suffix('"'))
        .unwrap_or(text);
    if let Some(literal) = text.strip_prefix('[') {
        let (address, port) = literal.split_once(']')?;
        let is_whole = port.is_empty() || port.strip_prefix(':').is_some_and(is_port);
        return v6(address).filter(|_| is_whole);
    }

    let v4 = match text.split_once(':') {
        Some((address, port)) if is_port(port) => address,
        _ => text,
    };
    // The standard library refuses leading zeros, which some readers take for octal digits.
    v4.parse::<Ipv4Addr>()
        .ok()
        .map(IpAddr::from)
        .or_else(|| v6(text))
}

fn v6(text: &str) -> Option<IpAddr> {
    let address = match text.split_once('%') {
        Some((address, zone)) if !zone.is_empty() => address,
        Some(_) => return None,
        None => text,
    };
    address
        .parse::<Ipv6Addr>()
        .ok()
        .map(|address| address.to_canonical())
}

/// A port, or an obfuscated one like `_x` (RFC 7239 section 6).
fn is_port(text: &str) -> bool {
    let is_obfuscated = |text: &str| {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
        !text.is_empty() && text.bytes().all(allowed)
    };
    let is_number = text.bytes().all(|byte| byte.is_ascii_digit()) && text.parse::<u16>().is_ok();
    is_number || text.strip_prefix('_').is_some_and(is_obfuscated)
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::{HeaderName, HeaderValue};

    fn map(headers: &[(&str, &[u8])]) -> HeaderMap {
        let headers = headers.iter().map(|(name, value)| {
            let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
            (name, HeaderValue::from_bytes(value).unwrap())
        });
        let mut map = HeaderMap::new();
        headers.for_each(|(name, value)| {
            map.append(name, value);
        });
        map
    }

    fn of(headers: &[(&str, &[u8])]) -> Forwarding {
        Forwarding::of(&map(headers))
    }

    /// Both headers that tell of these.
    fn chain(headers: &[(&str, &[u8])]) -> [String; 2] {
        let Chain { members, elements } = Chain::of(&map(headers));
        [members.join(", "), elements.join(", ")]
    }

    fn clients(headers: &[(&str, &[u8])]) -> Vec<String> {
        let shown = |hop: Hop| {
            hop.client
                .map_or_else(|| "-".to_owned(), |client| client.to_string())
        };
        of(headers).hops.into_iter().map(shown).collect()
    }

    #[test]
    fn every_form_of_an_address_is_read() {
        for (text, expected) in [
            ("203.0.113.10", "203.0.113.10"),
            ("203.0.113.10:51008", "203.0.113.10"),
            ("\"203.0.113.10:51008\"", "203.0.113.10"),
            ("2001:db8::2", "2001:db8::2"),
            ("[2001:db8::2]", "2001:db8::2"),
            ("[2001:db8::1]:443", "2001:db8::1"),
            ("\"[2001:db8::1]:4711\"", "2001:db8::1"),
            ("[2001:db8::1]:_gazonk", "2001:db8::1"),
            ("fe80::1%eth0", "fe80::1"),
            ("[fe80::1%25eth0]:80", "fe80::1"),
            ("::ffff:203.0.113.11", "203.0.113.11"),
            ("[::ffff:203.0.113.11]:80", "203.0.113.11"),
            ("  203.0.113.10\t", "203.0.113.10"),
        ] {
            assert_eq!(clients(&[(FOR, text.as_bytes())]), [expected], "{text}");
        }
        for text in [
            "unknown",
            "_hidden",
            "203.0.113.010",
            "203.0.113",
            "203.0.113.10:",
            "203.0.113.10:99999",
            "203.0.113.10%eth0",
            "[203.0.113.10]",
            "[2001:db8::1",
            "[2001:db8::1]x",
            "fe80::1%",
            "a.example",
            "\"",
            "1.2.3.4 5.6.7.8",
        ] {
            assert_eq!(clients(&[(FOR, text.as_bytes())]), ["-"], "{text}");
        }
    }

    #[test]
    fn empty_members_are_skipped_and_bytes_beyond_ascii_spoil_one_member_alone() {
        assert_eq!(clients(&[(FOR, b"9.9.9.9, ")]), ["9.9.9.9"]);
        assert_eq!(
            clients(&[(FOR, b", ,9.9.9.9,,8.8.8.8,")]),
            ["9.9.9.9", "8.8.8.8"]
        );
        assert_eq!(clients(&[(FOR, b"\xff, 9.9.9.9")]), ["-", "9.9.9.9"]);
        assert_eq!(
            clients(&[(FOR, b"6.6.6.6"), (FOR, b"\xff")]),
            ["6.6.6.6", "-"]
        );
    }

    #[test]
    fn forwarded_is_read_where_nothing_else_says_it() {
        let line =
            b"for=\"[2001:db8::1]:4711\";proto=https;host=\"agent.example.com:8443\", For=10.0.0.1;by=x";
        let forwarding = of(&[(FORWARDED, line)]);
        assert_eq!(clients(&[(FORWARDED, line)]), ["2001:db8::1", "10.0.0.1"]);
        let said = forwarding.hops[0].said.clone().unwrap();
        assert_eq!(
            (said.https, said.authority),
            (Some(true), Authority::parse("agent.example.com:8443"))
        );
        assert_eq!(
            clients(&[(FORWARDED, b"for=unknown, for=_x, proto=http")]),
            ["-", "-", "-"]
        );
        assert_eq!(
            clients(&[(FORWARDED, b"for=1.1.1.1"), (FOR, b"2.2.2.2")]),
            ["2.2.2.2"]
        );
        assert_eq!(
            clients(&[(FORWARDED, b"for=1.1.1.1"), (PROTO, b"https")]),
            [""; 0]
        );
    }

    #[test]
    fn one_chain_is_told_in_both_headers() {
        assert_eq!(
            chain(&[(FOR, b"192.0.2.43,2001:db8:cafe::17"), (FOR, b"9.9.9.9:80")]),
            [
                "192.0.2.43, 2001:db8:cafe::17, 9.9.9.9:80",
                "for=192.0.2.43, for=\"[2001:db8:cafe::17]\", for=9.9.9.9",
            ]
        );
        assert_eq!(
            chain(&[
                (
                    FORWARDED,
                    b"for=8.8.8.8;proto=https, , For=\"[2001:db8::1]:4711\""
                ),
                (FORWARDED, b"for=_hidden"),
            ]),
            [
                "8.8.8.8, 2001:db8::1, unknown",
                "for=8.8.8.8;proto=https, For=\"[2001:db8::1]:4711\", for=_hidden",
            ]
        );
        assert_eq!(chain(&[]), ["", ""]);
    }

    #[test]
    fn header_that_does_not_count_is_not_told() {
        assert_eq!(
            chain(&[(FORWARDED, b"for=6.6.6.6"), (FOR, b"9.9.9.9")]),
            ["9.9.9.9", "for=9.9.9.9"]
        );
        assert_eq!(
            chain(&[(FORWARDED, b"for=6.6.6.6"), (PROTO, b"https")]),
            ["", ""]
        );
    }

    #[test]
    fn what_cannot_be_read_is_told_as_unknown() {
        assert_eq!(
            chain(&[(FOR, b"\xff, garbage, 9.9.9.9")]),
            [
                "unknown, garbage, 9.9.9.9",
                "for=unknown, for=unknown, for=9.9.9.9",
            ]
        );
        // A quote that does not end would hide what is appended.
        assert_eq!(
            chain(&[(FORWARDED, b"for=\"6.6.6.6, for=7.7.7.7")]),
            ["unknown", "for=unknown"]
        );
        assert_eq!(
            chain(&[(FORWARDED, b"for=9.9.9.9;x=\"\xff\"")]),
            ["9.9.9.9", "for=9.9.9.9"]
        );
    }

    #[test]
    fn quotes_of_a_client_hide_no_hop_of_a_proxy() {
        for line in [
            &b"for=\"6.6.6.6, for=9.9.9.9"[..],
            b"for=\"a, for=\"[2001:db8::1]:4711\"",
            b"for=\"6.6.6.6\\\", for=9.9.9.9",
            b"for",
            b"for=\"1.1.1.1\"x",
        ] {
            assert_eq!(
                clients(&[(FORWARDED, line)]),
                ["-"],
                "{}",
                line.escape_ascii()
            );
        }
        assert_eq!(
            clients(&[(FORWARDED, b"x=\"a,b;c\\\"\";for=9.9.9.9")]),
            ["9.9.9.9"]
        );
    }

    #[test]
    fn first_of_a_list_of_schemes_and_hosts_is_the_browsers() {
        for (text, https) in [
            ("https", Some(true)),
            ("HTTPS", Some(true)),
            ("http", Some(false)),
            ("https, http", Some(true)),
            ("http,https", Some(false)),
            (" ,https", Some(true)),
            ("wss", Some(true)),
            ("ws", Some(false)),
            ("gopher", None),
            ("", None),
        ] {
            assert_eq!(of(&[(PROTO, text.as_bytes())]).said.https, https, "{text}");
        }
        let said = of(&[(HOST, b"agent.example.com, inner:8080")]).said;
        assert_eq!(said.authority, Authority::parse("agent.example.com"));
        assert_eq!(of(&[(HOST, b"a b")]).said.authority, None);
    }
}
