//! How a browser reaches this dashboard: by which scheme, name and path prefix.

use super::authority::Authority;
use super::client::{Client, TrustedProxies, Way, peer_of};
use super::guard::host_header;
use super::host_policy::HostPolicy;
use axum::extract::Request;
use axum::http::HeaderValue;
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use portcullis_net::listen::OverTls;
use std::borrow::Cow;
use std::sync::{Arc, Once};

/// `public_url`, where there is one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicSite {
    /// Scheme, host and port.
    pub origin: Arc<str>,
    /// The path, without a slash at the end; empty for none.
    pub prefix: String,
    /// Whether the scheme is `https`.
    pub https: bool,
}

/// Finds out how requests reach the dashboard.
#[derive(Clone, Debug, Default)]
pub struct Sites {
    /// What the operator says counts before what a request says. Without a path in it, a trusted
    /// proxy says which prefix it takes off.
    pub public: Option<PublicSite>,
    /// The peers whose `X-Forwarded-*` and `Forwarded` are believed.
    pub proxies: Arc<TrustedProxies>,
}

/// How one request reached the dashboard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Site {
    pub(super) https: bool,
    pub(super) prefix: String,
    origin: OriginSource,
}

/// Where scheme, host and port are from. Few answers need them: they are put together for those.
#[derive(Clone, Debug, PartialEq, Eq)]
enum OriginSource {
    Configured {
        origin: Arc<str>,
        /// The path of `public_url`. Absolute URLs have it, and never the prefix of a proxy: an
        /// identity provider knows one redirect URI.
        prefix: String,
    },
    /// What the browser named in `Host`. `None`: the request has no valid one.
    Requested(Option<Authority>),
}

/// What the browser of one request used, as far as it is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Reached {
    /// `Host`, or what a trusted proxy says that it was.
    pub(super) authority: Option<Authority>,
    /// Whether the browser is on https. What a trusted proxy says counts before the connection that
    /// arrived here. `None`: plain HTTP arrived here, and what stands in front is not known.
    pub(super) https: Option<bool>,
    /// Whether the other end of the connection is a trusted proxy.
    pub(super) is_proxied: bool,
}

/// One request as it arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Arrival {
    pub(super) client: Client,
    pub(super) site: Site,
    pub(super) reached: Reached,
}

impl Sites {
    /// Reads how a request arrived, before it is judged.
    pub(super) fn arrival(&self, hosts: &HostPolicy, request: &Request) -> Arrival {
        let Way {
            client,
            is_proxied,
            said,
        } = self.proxies.way_of(request);
        let named = said.authority.filter(|said| hosts.accepts(said));
        let authority = named.or_else(|| host_header(request.headers()));
        // Where there are trusted proxies, another peer's connection is what it looks like.
        let is_plain = !is_proxied && !self.proxies.is_empty();
        let is_over_tls = request.extensions().get::<OverTls>().is_some();
        let https = said
            .https
            .or(is_over_tls.then_some(true))
            .or(is_plain.then_some(false));

        if !is_proxied && !is_over_tls && self.public.is_none() {
            warn_of_lost_scheme(request);
        }

        let site = self.site(https, authority.as_ref(), request, is_proxied);
        Arrival {
            client,
            site,
            reached: Reached {
                authority,
                https,
                is_proxied,
            },
        }
    }

    fn site(
        &self,
        https: Option<bool>,
        authority: Option<&Authority>,
        request: &Request,
        is_proxied: bool,
    ) -> Site {
        let taken_off = || {
            let prefix = request.headers().get(PREFIX).filter(|_| is_proxied)?;
            plain_prefix(prefix.to_str().ok()?)
        };
        let Some(public) = &self.public else {
            return Site {
                https: https == Some(true),
                prefix: taken_off().unwrap_or_default(),
                origin: OriginSource::Requested(authority.cloned()),
            };
        };

        let prefix = if public.prefix.is_empty() {
            taken_off().unwrap_or_default()
        } else {
            public.prefix.clone()
        };
        Site {
            https: public.https,
            prefix,
            origin: OriginSource::Configured {
                origin: public.origin.clone(),
                prefix: public.prefix.clone(),
            },
        }
    }
}

const PREFIX: &str = "x-forwarded-prefix";
const PROTO: &str = "x-forwarded-proto";

/// Cookies are then neither `Secure` nor named `__Host-`, although the browser is on https.
fn warn_of_lost_scheme(request: &Request) {
    static ONCE: Once = Once::new();
    let is_https = |value: &HeaderValue| value.as_bytes().starts_with(b"https");
    if ONCE.is_completed() || !request.headers().get(PROTO).is_some_and(is_https) {
        return;
    }

    let peer = peer_of(request).map(|peer| peer.to_string());
    ONCE.call_once(|| {
        tracing::warn!(
            peer,
            "a request says X-Forwarded-Proto: https, but its peer is not in dashboard.trusted_proxies, so cookies are \
             not marked Secure: add the proxy's address there, or set dashboard.public_url"
        );
    });
}

/// Longest prefix, in bytes.
const MAX_PREFIX_BYTES: usize = 256;

/// Returns whether a path can stand before every other, and in a cookie's `Path`: empty, or plain
/// segments each after one slash, without a slash at the end.
pub fn is_plain_prefix(path: &str) -> bool {
    let allowed =
        |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~');
    let is_plain = |segment: &str| {
        !segment.is_empty() && segment != "." && segment != ".." && segment.bytes().all(allowed)
    };
    let mut segments = path.split('/');
    path.len() <= MAX_PREFIX_BYTES && segments.next() == Some("") && segments.all(is_plain)
}

/// The prefix that a proxy says it takes off. Some leave out the slash before it.
fn plain_prefix(text: &str) -> Option<String> {
    let path = text.trim_end_matches('/');
    let path = if path.is_empty() || path.starts_with('/') {
        path.to_owned()
    } else {
        format!("/{path}")
    };
    is_plain_prefix(&path).then_some(path)
}

/// What may not stand in a URI (RFC 3986), and would end or break the header. The rest of a query
/// stays as it was typed. Bytes that are not ASCII are always encoded.
const NOT_IN_A_LOCATION: &AsciiSet = &CONTROLS.add(b' ').add(b'"').add(b'<').add(b'>');

/// Returns an address that has text from outside in it as the value of `Location`.
pub(super) fn as_location(url: &str) -> String {
    utf8_percent_encode(url, NOT_IN_A_LOCATION).to_string()
}

impl Site {
    /// Returns a path of the dashboard as the browser sees it.
    pub(super) fn path(&self, path: &str) -> String {
        format!("{}{path}", self.prefix)
    }

    /// Returns the same as the value of `Location`, for a path that a caller chose.
    pub(super) fn location(&self, path: &str) -> String {
        as_location(&self.path(path))
    }

    /// A path as the dashboard behind the prefix sees it. A path that does not have the prefix
    /// stays as it is.
    pub(super) fn without_prefix<'a>(&self, path: &'a str) -> Cow<'a, str> {
        match path.strip_prefix(&self.prefix) {
            Some(rest) if rest.starts_with('/') => rest.into(),
            Some(rest) if rest.is_empty() || rest.starts_with('?') => format!("/{rest}").into(),
            _ => path.into(),
        }
    }

    /// Scheme, host and port, as a browser writes them. `None`: the request has no valid `Host`.
    pub(super) fn origin(&self) -> Option<Cow<'_, str>> {
        match &self.origin {
            OriginSource::Configured { origin, .. } => Some((&**origin).into()),
            OriginSource::Requested(authority) => authority
                .clone()
                .map(|authority| authority.origin(self.https).to_string().into()),
        }
    }

    /// Host and port as people read them. Empty: the request has no valid `Host`.
    pub(super) fn shown_host(&self) -> String {
        let origin = self.origin().unwrap_or_default();
        let host = origin.split_once("://").map_or("", |(_, host)| host);
        format!("{host}{}", self.prefix)
    }

    /// Scheme, host and port of `public_url`, where there is one.
    pub(super) fn public_origin(&self) -> Option<&str> {
        match &self.origin {
            OriginSource::Configured { origin, .. } => Some(origin),
            OriginSource::Requested(_) => None,
        }
    }

    /// Returns the absolute URL of a path of the dashboard. With `public_url`, it begins with that.
    pub(super) fn url(&self, path: &str) -> String {
        let taken_off = &self.prefix;
        match &self.origin {
            OriginSource::Configured { origin, prefix } => format!("{origin}{prefix}{path}"),
            OriginSource::Requested(Some(authority)) => {
                format!("{}{taken_off}{path}", authority.clone().origin(self.https))
            }
            // Probes alone get this far without a valid `Host`, and their answers have no address.
            OriginSource::Requested(None) => format!("{taken_off}{path}"),
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use axum::body::Body;

    /// A dashboard at a plain address.
    pub(in crate::web) fn site(https: bool, prefix: &str) -> Site {
        let origin = OriginSource::Requested(Authority::parse("agent.example"));
        Site {
            https,
            prefix: prefix.to_owned(),
            origin,
        }
    }

    #[test]
    fn prefixes_that_mean_something_else_are_not_believed() {
        for (text, prefix) in [
            ("/agent", "/agent"),
            ("/a/b-c_d.e~f/", "/a/b-c_d.e~f"),
            ("/", ""),
            ("", ""),
            ("hermes", "/hermes"),
            ("a/b/", "/a/b"),
        ] {
            assert_eq!(plain_prefix(text).as_deref(), Some(prefix), "{text}");
        }
        for text in [
            "//evil",
            "evil//x",
            "/a//b",
            "/a;Domain=x",
            "/a b",
            "/%2e",
            "/..",
            "/a/./b",
            "/a\u{e9}",
        ] {
            assert_eq!(plain_prefix(text), None, "{text}");
        }
    }

    #[test]
    fn public_url_without_a_path_leaves_the_prefix_to_a_trusted_proxy() {
        for (public, is_proxied, path, url) in [
            ("", true, "/agent/x", "https://agent.example/x"),
            ("", false, "/x", "https://agent.example/x"),
            ("/fixed", true, "/fixed/x", "https://agent.example/fixed/x"),
        ] {
            let public = PublicSite {
                origin: "https://agent.example".into(),
                prefix: public.to_owned(),
                https: true,
            };
            let sites = Sites {
                public: Some(public),
                ..Sites::default()
            };
            let mut request = Request::new(Body::empty());
            let prefix = HeaderValue::from_static("/agent");
            request.headers_mut().insert(PREFIX, prefix);

            let site = sites.site(Some(false), None, &request, is_proxied);
            assert_eq!(
                (site.path("/x").as_str(), site.url("/x").as_str()),
                (path, url)
            );
            assert!(site.https);
        }
    }

    #[test]
    fn prefix_is_taken_off_on_segment_boundaries() {
        assert_eq!(site(true, "").without_prefix("/x"), "/x");
        let site = site(true, "/agent");
        for (path, expected) in [
            ("/agent/x?y", "/x?y"),
            ("/agent", "/"),
            ("/agents", "/agents"),
            ("/x", "/x"),
            ("/agent?x", "/?x"),
            ("/agent/agent", "/agent"),
        ] {
            assert_eq!(site.without_prefix(path), expected, "{path}");
        }
    }

    #[test]
    fn addresses_leave_out_the_port_of_their_scheme() {
        let at = |https, authority: &str| {
            let origin = OriginSource::Requested(Authority::parse(authority));
            Site {
                https,
                prefix: "/a".to_owned(),
                origin,
            }
            .url("/x")
        };
        assert_eq!(at(true, "agent.example:443"), "https://agent.example/a/x");
        assert_eq!(
            at(false, "agent.example:443"),
            "http://agent.example:443/a/x"
        );
        assert_eq!(at(false, "[::1]:9119"), "http://[::1]:9119/a/x");
    }

    #[test]
    fn location_is_ascii_and_keeps_its_query() {
        let site = Site {
            https: true,
            prefix: "/a".to_owned(),
            origin: OriginSource::Requested(None),
        };
        for (path, location) in [
            ("/x?y=1&z=%2f{[]}'", "/a/x?y=1&z=%2f{[]}'"),
            ("/ⓐ", "/a/%E2%93%90"),
            ("/a b", "/a/a%20b"),
            ("/\u{200b}\u{feff}", "/a/%E2%80%8B%EF%BB%BF"),
            ("/\"<x>", "/a/%22%3Cx%3E"),
        ] {
            assert_eq!(site.location(path), location);
        }
    }
}
