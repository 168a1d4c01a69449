//! What an operator grants one provider beyond its own settings. A capability needs two keys: the
//! component imports it, and the operator grants it.

use crate::host::address::is_public;
use crate::host::bucket::Bucket;
use http::Uri;
use http::header::{HeaderName, HeaderValue};
use http::uri::{Authority, Scheme};
use ipnet::IpNet;
use portcullis_net::trust::Authorities;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

/// The capabilities of one provider.
#[derive(Clone, Debug, Default)]
pub struct Capabilities {
    /// Origins that it may call through `wasi:http`; none: the interface is not linked.
    pub http: Vec<HttpGrant>,
    /// Its bucket behind `wasi:keyvalue`; `None`: the interface is not linked.
    pub bucket: Option<Arc<Bucket>>,
}

/// One origin that a provider may call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpGrant {
    /// The origin, compared as a whole.
    pub origin: Origin,
    /// Headers that the host adds to every call to it. The provider never sees them, so a client
    /// secret stays with the host.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// Networks beside the public Internet that its name may lead to.
    pub networks: Vec<IpNet>,
    /// The certificate authorities that alone are trusted for it. `None`: Mozilla's and the
    /// system's.
    pub ca: Option<Authorities>,
}

impl HttpGrant {
    /// Makes a grant of the origin alone, without headers, networks or an authority.
    pub fn of(origin: Origin) -> Self {
        Self {
            origin,
            headers: Vec::new(),
            networks: Vec::new(),
            ca: None,
        }
    }
}

/// Scheme, host and port (RFC 6454). Only the case and the scheme's own port are normalised: any
/// other spelling is another origin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    is_https: bool,
    host: OriginHost,
    port: u16,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum OriginHost {
    Name(String),
    Address(IpAddr),
}

impl Origin {
    /// The origin that a request is sent to; `None` when it has none, a scheme that is not HTTP's,
    /// or more in its authority than a host and a port.
    pub fn of(uri: &Uri) -> Option<Self> {
        let scheme = uri.scheme()?;
        let is_https = *scheme == Scheme::HTTPS;
        if !is_https && *scheme != Scheme::HTTP {
            return None;
        }

        let authority = uri.authority()?;
        // The accessors of `Uri` ignore a user, and treat an invalid port as no port.
        let port = match authority.as_str().strip_prefix(authority.host())? {
            "" if is_https => 443,
            "" => 80,
            port => port_number(port.strip_prefix(':')?)?,
        };
        Some(Self {
            is_https,
            host: OriginHost::of(authority)?,
            port,
        })
    }

    /// Reads an origin as an operator writes it: `https://idp.example.com`, without a path.
    pub fn parse(text: &str) -> Option<Self> {
        let uri: Uri = text.parse().ok()?;
        let is_origin =
            uri.path_and_query().is_none_or(|path| path == "/") && !text.ends_with(['/', '?', '#']);
        Self::of(&uri).filter(|_| is_origin)
    }

    /// Returns whether its scheme is https.
    pub fn is_https(&self) -> bool {
        self.is_https
    }

    /// Returns whether a provider may send a browser there without a grant: to an https site that
    /// is no address of a private network, or to the browser's own machine.
    pub(crate) fn is_for_browsers(&self) -> bool {
        match &self.host {
            OriginHost::Name(name) if name == "localhost" => true,
            OriginHost::Address(address) if address.is_loopback() => true,
            OriginHost::Name(_) => self.is_https,
            OriginHost::Address(address) => self.is_https && is_public(*address),
        }
    }

    /// The name that has to be resolved, if it is one.
    pub(crate) fn name(&self) -> Option<&str> {
        match &self.host {
            OriginHost::Name(name) => Some(name),
            OriginHost::Address(_) => None,
        }
    }
}

/// A port as it is written: digits, without a sign or leading zeros.
fn port_number(text: &str) -> Option<u16> {
    let is_plain = text.bytes().all(|byte| byte.is_ascii_digit()) && !text.starts_with('0');
    text.parse().ok().filter(|_| is_plain)
}

impl OriginHost {
    fn of(authority: &Authority) -> Option<Self> {
        let host = authority.host();
        let bare = host
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'))
            .unwrap_or(host);
        if let Ok(address) = bare.parse() {
            return Some(Self::Address(address));
        }
        let is_name_byte =
            |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
        let is_name = !host.is_empty() && host.bytes().all(is_name_byte);
        is_name.then(|| Self::Name(host.to_ascii_lowercase()))
    }
}

/// Prints the origin as an operator writes it (RFC 6454, section 6.2): without the scheme's own
/// port.
impl fmt::Display for Origin {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (scheme, own_port) = if self.is_https {
            ("https", 443)
        } else {
            ("http", 80)
        };
        match &self.host {
            OriginHost::Name(name) => write!(formatter, "{scheme}://{name}")?,
            OriginHost::Address(IpAddr::V6(address)) => {
                write!(formatter, "{scheme}://[{address}]")?;
            }
            OriginHost::Address(address) => write!(formatter, "{scheme}://{address}")?,
        }

        if self.port == own_port {
            Ok(())
        } else {
            write!(formatter, ":{}", self.port)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin(text: &str) -> Origin {
        Origin::parse(text).unwrap_or_else(|| panic!("{text}"))
    }

    #[test]
    fn same_origin_is_the_same_however_it_is_spelt() {
        assert_eq!(
            origin("https://idp.example.com"),
            origin("HTTPS://IDP.Example.com:443")
        );
        assert_eq!(origin("http://[::1]:80"), origin("http://[0:0::1]"));
    }

    #[test]
    fn origin_is_written_without_the_schemes_own_port() {
        for text in [
            "https://idp.example.com",
            "http://[::1]",
            "http://127.0.0.1:443",
            "https://idp.example.com:8443",
        ] {
            assert_eq!(origin(text).to_string(), text);
        }
    }

    #[test]
    fn what_only_looks_alike_is_another_origin() {
        let granted = origin("https://idp.example.com");
        for other in [
            "http://idp.example.com",
            "https://idp.example.com:444",
            "https://idp.example.com.",
            "https://idp.example.com.evil.test",
            "https://evil.test",
            "https://127.0.0.1",
        ] {
            assert_ne!(origin(other), granted, "{other}");
        }
        assert_ne!(
            origin("http://127.0.0.1:9000"),
            origin("http://[::ffff:127.0.0.1]:9000")
        );
    }

    #[test]
    fn what_is_no_origin_is_refused() {
        for text in [
            "",
            "idp.example.com",
            "ftp://idp.example.com",
            "https://",
            "https://user@idp.example.com",
            "https://idp.example.com@evil.test",
            "https://idp.example.com/",
            "https://idp.example.com/path",
            "https://idp.example.com?query",
            "https://idp.example.com:99999",
            "https://idp.example.com:",
            "https://*.example.com",
            "https://[::1",
        ] {
            assert_eq!(Origin::parse(text), None, "{text}");
        }
    }
}
