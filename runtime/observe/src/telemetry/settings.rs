//! What the operator says of telemetry.

use http::{HeaderName, HeaderValue, Uri};
use portcullis_net::trust::Authorities;

/// The path of the traces below a collector's base URL (OTLP 1, "OTLP/HTTP Request").
const TRACES_PATH: &str = "/v1/traces";
/// The path of the method that takes spans (OTLP 1, "OTLP/gRPC"; gRPC over HTTP/2, "Requests").
const EXPORT_PATH: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";

/// What carries the spans.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// OTLP/HTTP: a POST per batch.
    Http,
    /// OTLP/gRPC: a unary call per batch.
    Grpc,
}

impl Protocol {
    /// Returns the path of the requests to a collector whose URL has the path `base`.
    fn path(self, base: &str) -> Result<String, &'static str> {
        let base = base.trim_end_matches('/');
        match self {
            Self::Http => {
                let base = base.strip_suffix(TRACES_PATH).unwrap_or(base);
                Ok(format!("{base}{TRACES_PATH}"))
            }
            // Other clients of gRPC ignore a path. An operator who sets one expects it to be used.
            Self::Grpc if base.is_empty() => Ok(EXPORT_PATH.to_owned()),
            Self::Grpc => Err("must have no path: gRPC sets it"),
        }
    }

    /// Checks the name of a header for requests to the collector.
    ///
    /// # Errors
    /// No metadata of gRPC can have the name (gRPC over HTTP/2, "Custom-Metadata").
    pub fn check_header(self, name: &HeaderName) -> Result<(), &'static str> {
        match self {
            Self::Http => Ok(()),
            Self::Grpc => check_metadata(name.as_str()),
        }
    }
}

fn check_metadata(name: &str) -> Result<(), &'static str> {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte);
    if name.starts_with("grpc-") {
        return Err("is a name that gRPC reserves");
    }
    match name.bytes().all(is_allowed) {
        true => Ok(()),
        false => Err("is no name of gRPC metadata: use letters, digits and _-."),
    }
}

/// `dashboard.telemetry.otlp`.
#[derive(Clone, Debug, PartialEq)]
pub struct OtlpSettings {
    /// Where spans are sent.
    pub endpoint: Endpoint,
    /// Put on every request to the collector. The values are secrets.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// The authorities that alone are trusted for the collector. `None`: Mozilla's and the
    /// system's.
    pub ca: Option<Authorities>,
    /// The share of traces that are recorded, from 0 to 1, of those that begin here.
    pub sample_ratio: f64,
}

/// The address to which spans are posted, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    protocol: Protocol,
    uri: Uri,
}

impl Endpoint {
    /// Reads the base URL of a collector, or for [`Protocol::Http`] the URL that ends in
    /// `/v1/traces`.
    ///
    /// # Errors
    /// It is no http or https URL, it has a user, a query or a fragment, or it has a path for
    /// [`Protocol::Grpc`]. The message does not repeat the text, which may hold a password.
    pub fn parse(protocol: Protocol, text: &str) -> Result<Self, &'static str> {
        if text.contains(['@', '?', '#']) {
            return Err("must have no user, query or fragment: credentials belong into `headers`");
        }

        let not_a_url = match protocol {
            Protocol::Http => "must be a URL like http://127.0.0.1:4318",
            Protocol::Grpc => "must be a URL like http://127.0.0.1:4317",
        };
        let base = base_url(text).ok_or(not_a_url)?;
        let path = protocol.path(base.path())?;
        let mut parts = base.into_parts();
        parts.path_and_query = Some(path.parse().map_err(|_| not_a_url)?);
        let uri = Uri::from_parts(parts).map_err(|_| not_a_url)?;
        Ok(Self { protocol, uri })
    }

    /// Returns what carries the spans.
    pub fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// Returns whether TLS is spoken to the collector.
    pub fn is_https(&self) -> bool {
        self.uri.scheme_str() == Some("https")
    }

    /// Returns the URL of the requests.
    pub(super) fn uri(&self) -> &Uri {
        &self.uri
    }
}

/// Reads an http or https URL with a host and perhaps a port.
fn base_url(text: &str) -> Option<Uri> {
    let uri: Uri = text.parse().ok()?;
    let is_known = matches!(uri.scheme_str(), Some("http" | "https"));
    let authority = uri.authority()?;
    let has_host = !authority.host().is_empty();
    (is_known && has_host && has_valid_port(authority.as_str())).then_some(uri)
}

/// Returns whether the port is one from 1 to 65535, or is left out with its colon.
fn has_valid_port(authority: &str) -> bool {
    match authority.rsplit_once(':') {
        // The rest of an IPv6 address ends in a bracket.
        Some((_, port)) if !port.ends_with(']') => {
            let is_number = port.bytes().all(|byte| byte.is_ascii_digit());
            is_number && port.parse::<u16>().is_ok_and(|port| port > 0)
        }
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_posted_below_the_base_url() {
        for (text, expected) in [
            ("http://127.0.0.1:4318", "http://127.0.0.1:4318/v1/traces"),
            (
                "https://otel.example.com/",
                "https://otel.example.com/v1/traces",
            ),
            (
                "https://otel.example.com/tenant/otlp/",
                "https://otel.example.com/tenant/otlp/v1/traces",
            ),
            ("http://[::1]:4318/v1/traces", "http://[::1]:4318/v1/traces"),
        ] {
            let endpoint = Endpoint::parse(Protocol::Http, text).unwrap();
            assert_eq!(endpoint.uri().to_string(), expected, "{text}");
        }
    }

    #[test]
    fn method_of_grpc_follows_host_and_port() {
        for (text, base, is_https) in [
            ("http://127.0.0.1:4317", "http://127.0.0.1:4317", false),
            ("http://[::1]:4317/", "http://[::1]:4317", false),
            ("https://otel.example.com", "https://otel.example.com", true),
        ] {
            let endpoint = Endpoint::parse(Protocol::Grpc, text).unwrap();
            let expected = format!("{base}{EXPORT_PATH}");
            assert_eq!(endpoint.uri().to_string(), expected, "{text}");
            assert_eq!(endpoint.is_https(), is_https, "{text}");
        }
        for text in ["http://a/v1/traces", "https://a:4317/tenant"] {
            let refused = Endpoint::parse(Protocol::Grpc, text).expect_err(text);
            assert!(refused.contains("no path"), "{text}: {refused}");
        }
    }

    #[test]
    fn other_text_is_no_endpoint() {
        for text in [
            "",
            "127.0.0.1:4318",
            "/v1/traces",
            "grpc://127.0.0.1:4317",
            "http://",
            "http://:4318",
            "http://a:0",
            "http://a:99999",
            "http://a:",
            "http://user:hunter2@a",
            "http://a/?key=hunter2",
            "http://a/#x",
        ] {
            for protocol in [Protocol::Http, Protocol::Grpc] {
                let refused = Endpoint::parse(protocol, text).expect_err(text);
                assert!(!refused.contains("hunter2"));
            }
        }
    }

    #[test]
    fn header_that_is_no_metadata_is_for_http_alone() {
        for (name, is_metadata) in [
            ("authorization", true),
            ("x-scope.org_id", true),
            ("trace-bin", true),
            ("grpc-timeout", false),
            ("x!key", false),
        ] {
            let name = HeaderName::from_static(name);
            assert_eq!(Protocol::Grpc.check_header(&name).is_ok(), is_metadata);
            assert_eq!(Protocol::Http.check_header(&name), Ok(()), "{name}");
        }
    }
}
