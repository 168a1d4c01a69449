//! Hosts, authorities and origins: read by one grammar, and kept in the form in which two are
//! compared.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Longest host name (RFC 1035 section 2.3.4).
const MAX_NAME_BYTES: usize = 253;

/// A host. Names are in lower case without the trailing dot, and IPv4-mapped addresses are IPv4.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Host {
    Address(IpAddr),
    Name(String),
}

impl Host {
    /// A host of the settings: a name, or an address without brackets.
    pub(super) fn configured(text: &str) -> Self {
        match text.parse::<IpAddr>() {
            Ok(address) => Self::Address(address.to_canonical()),
            Err(_) => Self::Name(text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase()),
        }
    }

    fn parse(text: &str) -> Option<Self> {
        if let Some(literal) = text.strip_prefix('[') {
            let address: Ipv6Addr = literal.strip_suffix(']')?.parse().ok()?;
            return Some(Self::Address(address.to_canonical()));
        }
        let name = text.strip_suffix('.').unwrap_or(text);
        if let Ok(address) = name.parse::<Ipv4Addr>() {
            return Some(Self::Address(address.into()));
        }
        is_name(name).then(|| Self::Name(name.to_ascii_lowercase()))
    }

    /// Returns whether this is `localhost`, `127.0.0.1` or `::1`.
    pub(super) fn is_loopback(&self) -> bool {
        match self {
            Self::Address(address) => {
                *address == Ipv4Addr::LOCALHOST || *address == Ipv6Addr::LOCALHOST
            }
            Self::Name(name) => name == "localhost",
        }
    }

    /// Returns whether this is the address that stands for every address of the machine.
    pub(super) fn is_unspecified(&self) -> bool {
        matches!(self, Self::Address(address) if address.is_unspecified())
    }
}

fn is_name(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    let is_label = |label: &str| !label.is_empty() && label.bytes().all(allowed);
    text.len() <= MAX_NAME_BYTES && text.split('.').all(is_label)
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(IpAddr::V6(address)) => write!(f, "[{address}]"),
            Self::Address(address) => write!(f, "{address}"),
            Self::Name(name) => f.write_str(name),
        }
    }
}

/// A host and perhaps a port: RFC 3986 section 3.2 without userinfo. A colon must be followed by a
/// port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Authority {
    pub(super) host: Host,
    pub(super) port: Option<u16>,
}

impl Authority {
    /// Reads `host` or `host:port`. Returns `None` for any other text.
    pub(super) fn parse(text: &str) -> Option<Self> {
        match text.rsplit_once(':') {
            Some((host, port)) if !port.contains(']') => Some(Self {
                host: Host::parse(host)?,
                port: Some(parse_port(port)?),
            }),
            _ => Some(Self {
                host: Host::parse(text)?,
                port: None,
            }),
        }
    }

    /// The port that the browser connects to, where its page is of this scheme.
    fn port_for(&self, https: bool) -> u16 {
        self.port.unwrap_or(default_port(https))
    }

    /// The origin of this authority under a scheme.
    pub(super) fn origin(self, https: bool) -> WebOrigin {
        WebOrigin {
            https,
            port: self.port_for(https),
            host: self.host,
        }
    }

    /// Returns whether a page of this origin's host and port would name this authority in `Host`.
    pub(super) fn has_port_of(&self, origin: &WebOrigin) -> bool {
        self.port_for(origin.https) == origin.port
    }
}

/// Digits alone: the standard library's parser takes a sign as well.
fn parse_port(text: &str) -> Option<u16> {
    let is_port = (1..=5).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|port| is_port && *port > 0)
}

fn default_port(https: bool) -> u16 {
    if https { 443 } else { 80 }
}

/// Scheme, host and port of a page (RFC 6454 section 4). Two spellings of one host are equal here,
/// since browsers reach the same page by both. The sandbox's `Origin`, which an operator grants, is
/// compared as it is spelled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct WebOrigin {
    pub(super) https: bool,
    pub(super) host: Host,
    pub(super) port: u16,
}

impl WebOrigin {
    /// Reads `http://host`, `https://host`, or either with a port. Returns `None` for any other
    /// text, `null` included.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (scheme, authority) = text.split_once("://")?;
        let https = match scheme.to_ascii_lowercase().as_str() {
            "https" => true,
            "http" => false,
            _ => return None,
        };
        Some(Authority::parse(authority)?.origin(https))
    }

    /// Returns whether the port is the one that URLs of the scheme leave out.
    pub(super) fn has_default_port(&self) -> bool {
        self.port == default_port(self.https)
    }
}

impl fmt::Display for WebOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.https { "https" } else { "http" };
        write!(f, "{scheme}://{}", self.host)?;
        if self.has_default_port() {
            Ok(())
        } else {
            write!(f, ":{}", self.port)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn authorities_are_a_host_and_perhaps_a_port() {
        for (text, shown, port) in [
            ("localhost", "localhost", None),
            ("LOCALHOST:1", "localhost", Some(1)),
            ("agent.example.com.", "agent.example.com", None),
            ("agent.example.com.:443", "agent.example.com", Some(443)),
            ("127.0.0.1:9119", "127.0.0.1", Some(9119)),
            ("[::1]:9119", "[::1]", Some(9119)),
            ("[0:0:0:0:0:0:0:1]", "[::1]", None),
            ("[2001:DB8::1]", "[2001:db8::1]", None),
            ("[::ffff:127.0.0.1]", "127.0.0.1", None),
            ("my_box-1:65535", "my_box-1", Some(65535)),
        ] {
            let authority = Authority::parse(text).unwrap_or_else(|| panic!("{text}"));
            assert_eq!(
                (authority.host.to_string().as_str(), authority.port),
                (shown, port),
                "{text}"
            );
        }
    }

    #[test]
    fn every_other_text_is_no_authority() {
        for text in [
            "",
            " ",
            ".",
            "..",
            ":",
            ":80",
            "a b",
            " a",
            "a ",
            "name:",
            "name:notaport",
            "name:99999",
            "name:0",
            "name:+80",
            "name:-1",
            "name:80:80",
            "a..b",
            ".a",
            "a..",
            "::1",
            "[::1",
            "::1]",
            "[::1].evil.test",
            "[::1]evil",
            "[::1]:",
            "[localhost]",
            "[127.0.0.1]",
            "[fe80::1%25eth0]",
            "[]",
            "user@localhost",
            "localhost/",
            "localhost?",
            "localhost#",
            "a,b",
            "caf\u{e9}",
            "%6cocalhost",
        ] {
            assert_eq!(Authority::parse(text), None, "{text:?}");
        }
        assert_eq!(Authority::parse(&"a".repeat(254)), None);
    }

    #[test]
    fn origins_have_a_scheme_a_host_and_a_port() {
        for (text, shown) in [
            ("https://agent.example.com", "https://agent.example.com"),
            ("HTTPS://Agent.example.com:443", "https://agent.example.com"),
            ("http://localhost:80", "http://localhost"),
            ("http://[::1]:9119", "http://[::1]:9119"),
        ] {
            assert_eq!(
                WebOrigin::parse(text)
                    .map(|origin| origin.to_string())
                    .as_deref(),
                Some(shown)
            );
        }
        for text in [
            "null",
            "",
            "localhost",
            "file://localhost",
            "http://",
            "http://a/",
            "//a",
            "https:a",
        ] {
            assert_eq!(WebOrigin::parse(text), None, "{text}");
        }
    }
}
