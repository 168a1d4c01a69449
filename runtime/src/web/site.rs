//! How a browser reaches this dashboard: by which scheme, name and path prefix.

use super::client::TrustedProxies;
use axum::extract::Request;
use axum::http::HeaderValue;
use axum::http::header::HOST;
use axum::http::uri::Authority;
use std::sync::Arc;

/// `public_url`, where there is one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicSite {
    /// Scheme, host and port.
    pub origin: Arc<str>,
    /// The path, without a slash at the end; empty for none.
    pub prefix: String,
    /// Is the scheme `https`?
    pub https: bool,
}

/// Finds out how requests reach the dashboard.
#[derive(Clone, Debug, Default)]
pub struct Sites {
    /// What the operator says: it counts before everything else.
    pub public: Option<PublicSite>,
    /// Whose `X-Forwarded-Proto` and `X-Forwarded-Prefix` are believed.
    pub proxies: Arc<TrustedProxies>,
}

/// How one request reached the dashboard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Site {
    pub(super) https: bool,
    pub(super) prefix: String,
    origin: Origin,
}

/// Where scheme, host and port are from. Few answers need them: they are put together for those.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Origin {
    Configured(Arc<str>),
    /// The request's `Host`.
    Requested(Option<HeaderValue>),
}

impl Sites {
    pub(super) fn of(&self, request: &Request) -> Site {
        if let Some(PublicSite { origin, prefix, https }) = self.public.clone() {
            return Site { https, prefix, origin: Origin::Configured(origin) };
        }
        let headers = request.headers();
        let is_proxied = self.proxies.trusts_peer_of(request);
        let forwarded =
            |name: &str| headers.get(name).filter(|_| is_proxied).and_then(|value| value.to_str().ok());
        let https = forwarded("x-forwarded-proto").is_some_and(|scheme| scheme.eq_ignore_ascii_case("https"));
        let prefix = forwarded("x-forwarded-prefix").and_then(plain_prefix).unwrap_or_default();
        Site { https, prefix, origin: Origin::Requested(headers.get(HOST).cloned()) }
    }
}

/// The guard has let exactly one valid `Host` through.
fn host(header: Option<&HeaderValue>) -> String {
    let host = header.map(HeaderValue::as_bytes).unwrap_or_default();
    Authority::try_from(host).map_or_else(|_| "localhost".to_owned(), |host| host.to_string())
}

/// A path that can stand before every other, and in a cookie's `Path`.
fn plain_prefix(text: &str) -> Option<String> {
    let path = text.trim_end_matches('/');
    let is_plain = |segment: &str| {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~');
        !segment.is_empty() && segment != "." && segment != ".." && segment.bytes().all(allowed)
    };
    let mut segments = path.split('/');
    (path.len() <= 256 && segments.next() == Some("") && segments.all(is_plain)).then(|| path.to_owned())
}

impl Site {
    /// A path of ours, as the browser sees it.
    pub(super) fn path(&self, path: &str) -> String {
        format!("{}{path}", self.prefix)
    }

    /// The whole address of a path of ours.
    pub(super) fn url(&self, path: &str) -> String {
        let prefix = &self.prefix;
        match &self.origin {
            Origin::Configured(origin) => format!("{origin}{prefix}{path}"),
            Origin::Requested(header) => {
                let scheme = if self.https { "https" } else { "http" };
                format!("{scheme}://{}{prefix}{path}", host(header.as_ref()))
            }
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A dashboard at a plain address.
    pub(in crate::web) fn site(https: bool, prefix: &str) -> Site {
        let origin = Origin::Requested(Some(HeaderValue::from_static("agent.example")));
        Site { https, prefix: prefix.to_owned(), origin }
    }

    #[test]
    fn prefixes_that_mean_something_else_are_not_believed() {
        for (text, prefix) in [("/agent", "/agent"), ("/a/b-c_d.e~f/", "/a/b-c_d.e~f"), ("/", "")] {
            assert_eq!(plain_prefix(text).as_deref(), Some(prefix), "{text}");
        }
        for text in ["agent", "//evil", "/a//b", "/a;Domain=x", "/a b", "/%2e", "/..", "/a/./b", "/a\u{e9}"] {
            assert_eq!(plain_prefix(text), None, "{text}");
        }
    }
}
