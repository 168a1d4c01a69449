//! What the operator says of an application.

use super::super::authority::Origin;
use crate::auth::Allowed;
use crate::trust::Authorities;
use axum::http::{HeaderName, HeaderValue};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// An entry of `dashboard.apps`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AppSettings {
    /// The name, which no other application has.
    pub name: String,
    /// The path that it owns with all below, without a slash at the end: empty for every path.
    pub path: String,
    /// The name that a request must use. `None`: any.
    pub host: Option<String>,
    /// The address of the application.
    pub upstream: Upstream,
    /// Who may use it.
    pub allowed: Allowed,
    /// Exact paths that are open to everyone.
    pub public_paths: BTreeSet<String>,
    /// Put on every request, and never taken from outside.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// Bounds on its requests.
    pub limits: AppLimits,
    /// What is known of the application beyond these settings.
    pub preset: Option<Preset>,
}

/// Bounds on the requests of an application.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AppLimits {
    /// Longest body of a request, in bytes.
    pub body_bytes: usize,
    /// How long neither side may send anything.
    pub idle: Duration,
}

impl Default for AppLimits {
    fn default() -> Self {
        Self { body_bytes: 64 * 1024 * 1024, idle: Duration::from_secs(3600) }
    }
}

/// An application that the dashboard knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Preset {
    /// The dashboard of the Hermes agent, on loopback and without its own sign-in.
    Hermes,
}

/// Where an application stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upstream {
    address: Address,
    ca: Option<Authorities>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Address {
    Origin(Origin),
    Socket(PathBuf),
}

/// What `Host` and `Origin` name for an application on a Unix socket.
const SOCKET_ORIGIN: &str = "http://localhost";

impl Upstream {
    /// Reads `http://HOST[:PORT]`, `https://HOST[:PORT]` or `unix:/PATH`.
    ///
    /// # Errors
    /// It is none of these.
    pub fn parse(text: &str) -> Result<Self, String> {
        let address = match text.strip_prefix("unix:") {
            Some(path) if Path::new(path).is_absolute() => Some(Address::Socket(path.into())),
            Some(_) => None,
            None => Origin::parse(text.strip_suffix('/').unwrap_or(text)).map(Address::Origin),
        };
        let address = address.ok_or_else(|| {
            format!("{text:?} must be http://HOST:PORT, https://HOST:PORT or unix:/PATH, without a path after the port")
        })?;
        Ok(Self { address, ca: None })
    }

    /// The same, for which these authorities alone are trusted.
    #[must_use]
    pub fn with_ca(self, ca: Authorities) -> Self {
        Self { ca: Some(ca), ..self }
    }

    /// Whether TLS is spoken to it.
    pub fn is_https(&self) -> bool {
        matches!(&self.address, Address::Origin(origin) if origin.https)
    }

    /// Whether it stands on this machine, by its address.
    pub fn is_local(&self) -> bool {
        match &self.address {
            Address::Origin(origin) => origin.host.is_loopback(),
            Address::Socket(_) => true,
        }
    }

    pub(super) fn ca(&self) -> Option<&Authorities> {
        self.ca.as_ref()
    }

    pub(super) fn socket(&self) -> Option<&Path> {
        match &self.address {
            Address::Origin(_) => None,
            Address::Socket(path) => Some(path),
        }
    }

    /// Scheme, host and port.
    pub(super) fn origin(&self) -> String {
        match &self.address {
            Address::Origin(origin) => origin.to_string(),
            Address::Socket(_) => SOCKET_ORIGIN.to_owned(),
        }
    }

    /// The address for the log.
    pub(super) fn shown(&self) -> String {
        match &self.address {
            Address::Origin(origin) => origin.to_string(),
            Address::Socket(path) => format!("unix:{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn upstream_is_an_origin_or_a_socket() {
        for (text, origin, is_local) in [
            ("http://127.0.0.1:9120", "http://127.0.0.1:9120", true),
            ("http://localhost:80/", "http://localhost", true),
            ("https://app.internal", "https://app.internal", false),
            ("http://[::1]:8080", "http://[::1]:8080", true),
            ("unix:/run/app.sock", "http://localhost", true),
        ] {
            let upstream = Upstream::parse(text).unwrap();
            assert_eq!((upstream.origin().as_str(), upstream.is_local()), (origin, is_local), "{text}");
        }
        for text in [
            "",
            "127.0.0.1:9120",
            "http://a/b",
            "ftp://a",
            "unix:run/app.sock",
            "unix:",
            "http://u@a",
            "http://",
        ] {
            assert!(Upstream::parse(text).is_err(), "{text}");
        }
    }
}
