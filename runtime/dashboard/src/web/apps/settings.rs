//! What the operator says of an application.

use super::super::authority::WebOrigin;
use axum::http::uri::PathAndQuery;
use axum::http::{HeaderName, HeaderValue, Uri};
use portcullis_auth::Allowed;
use portcullis_net::trust::Authorities;
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

impl AppSettings {
    /// The start of each path that the dashboard takes off before the application reads it, and
    /// names in `X-Forwarded-Prefix`. Empty: paths stay as they are.
    pub(super) fn taken_off(&self) -> &str {
        match self.preset {
            Some(Preset::Hermes) => &self.path,
            None => "",
        }
    }

    /// The path as the application reads it. `None`: it spells what is taken off in another way,
    /// like `/%68ermes`.
    pub(super) fn inner_path<'a>(&self, path: &'a str) -> Option<&'a str> {
        match path.strip_prefix(self.taken_off())? {
            "" => Some("/"),
            rest => rest.starts_with('/').then_some(rest),
        }
    }

    /// The target as the application reads it. `None`: see [`inner_path`](Self::inner_path).
    pub(super) fn inner_target(&self, uri: &Uri) -> Option<PathAndQuery> {
        let outer = uri
            .path_and_query()
            .cloned()
            .unwrap_or_else(|| PathAndQuery::from_static("/"));
        if self.taken_off().is_empty() {
            return Some(outer);
        }
        let path = self.inner_path(outer.path())?;
        match outer.query() {
            Some(query) => PathAndQuery::try_from(format!("{path}?{query}")).ok(),
            None => PathAndQuery::try_from(path).ok(),
        }
    }
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
        Self {
            body_bytes: 64 * 1024 * 1024,
            idle: Duration::from_secs(3600),
        }
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
    Origin(WebOrigin),
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
            None => WebOrigin::parse(text.strip_suffix('/').unwrap_or(text)).map(Address::Origin),
        };
        let address = address.ok_or_else(|| {
            format!("{text:?} must be http://HOST:PORT, https://HOST:PORT or unix:/PATH, without a path after the port")
        })?;
        Ok(Self { address, ca: None })
    }

    /// The same, for which these authorities alone are trusted.
    #[must_use]
    pub fn with_ca(self, ca: Authorities) -> Self {
        Self {
            ca: Some(ca),
            ..self
        }
    }

    /// Returns whether TLS is spoken to it.
    pub fn is_https(&self) -> bool {
        matches!(&self.address, Address::Origin(origin) if origin.https)
    }

    /// Returns whether it stands on this machine, by its address.
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
    use portcullis_auth::Allow;

    fn app(path: &str, preset: Option<Preset>) -> AppSettings {
        AppSettings {
            name: "app".to_owned(),
            path: path.to_owned(),
            host: None,
            upstream: Upstream::parse("http://127.0.0.1:1").unwrap(),
            allowed: Allowed::any_of(vec![Allow::People]),
            public_paths: BTreeSet::new(),
            headers: Vec::new(),
            limits: AppLimits::default(),
            preset,
        }
    }

    #[test]
    fn preset_takes_the_path_of_the_application_off() {
        for (path, preset, target, expected) in [
            ("", Some(Preset::Hermes), "/api/x?a=/b", Some("/api/x?a=/b")),
            (
                "/hermes",
                Some(Preset::Hermes),
                "/hermes/api/x?a=/hermes",
                Some("/api/x?a=/hermes"),
            ),
            ("/hermes", Some(Preset::Hermes), "/hermes?a", Some("/?a")),
            ("/hermes", Some(Preset::Hermes), "/hermes/", Some("/")),
            (
                "/hermes",
                Some(Preset::Hermes),
                "/hermes/hermes",
                Some("/hermes"),
            ),
            ("/hermes", Some(Preset::Hermes), "/hermes//x", Some("//x")),
            ("/hermes", Some(Preset::Hermes), "/%68ermes/x", None),
            ("/hermes", Some(Preset::Hermes), "//hermes/x", None),
            ("/hermes", Some(Preset::Hermes), "/hermesx", None),
            ("/hermes", None, "/hermes/x", Some("/hermes/x")),
        ] {
            let inner = app(path, preset).inner_target(&target.parse().unwrap());
            assert_eq!(
                inner.as_ref().map(PathAndQuery::as_str),
                expected,
                "{path} {target}"
            );
        }
    }

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
            assert_eq!(
                (upstream.origin().as_str(), upstream.is_local()),
                (origin, is_local),
                "{text}"
            );
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
