//! Checks, before the caller is known, that a request names this dashboard, has a plain path and does not come from a page of
//! another site.

use super::authority::{Authority, Host, Origin};
use super::excerpt::excerpt;
use super::forward_auth;
use super::respond;
use super::site::Reached;
use axum::extract::Request;
use axum::http::header::{HOST, ORIGIN, UPGRADE};
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::Response;
use std::borrow::Cow;
use std::collections::BTreeSet;

/// The names that the dashboard answers to. A page that was led here by a false DNS answer names another.
#[derive(Clone, Debug)]
pub struct HostPolicy {
    /// A bind to every address answers to every name.
    any: bool,
    /// The bind host, and on loopback its other names.
    own: BTreeSet<Host>,
    /// Whether the bind host is a loopback name.
    is_local: bool,
    allowed: BTreeSet<Host>,
    public: Option<Origin>,
}

impl HostPolicy {
    /// Accepts `names` beside the bind host. A bind to every address answers to every name.
    pub fn new(
        bind_host: &str,
        names: impl IntoIterator<Item = String>,
        public_origin: Option<String>,
    ) -> Self {
        let bind = Host::configured(bind_host);
        let (any, is_local) = (bind.is_unspecified(), bind.is_loopback());
        let mut own = BTreeSet::from([bind]);
        if is_local {
            own.extend(LOOPBACK.map(Host::configured));
        }
        let allowed = names.into_iter().map(|name| Host::configured(&name)).collect();
        let public = public_origin.and_then(|origin| Origin::parse(&origin));
        Self { any, own, is_local, allowed, public }
    }

    /// Returns whether the dashboard answers to this `Host`. The port may be that of a proxy.
    pub(super) fn accepts(&self, authority: &Authority) -> bool {
        self.any || self.own.contains(&authority.host) || self.allowed.contains(&authority.host)
    }

    /// Returns the origin of a request that arrived at another host of the dashboard than the public one. All hosts are
    /// reached by the public one's scheme, at its port or at the scheme's own. Another port of a host may be another
    /// program's, which must not get a session handed over.
    pub(super) fn other_origin(&self, authority: &Authority) -> Option<Origin> {
        let public = self.public.as_ref()?;
        let is_other = authority.host != public.host && self.allowed.contains(&authority.host);
        let origin = authority.clone().origin(public.https);
        (is_other && (origin.has_default_port() || origin.port == public.port)).then_some(origin)
    }

    /// Returns whether a page of this origin may change something here: only a page of the dashboard's own site, which
    /// is the same scheme, host and port.
    fn accepts_origin(&self, origin: &Origin, reached: &Reached) -> bool {
        if let Some(public) = self.public.as_ref().filter(|public| public.host == origin.host) {
            return public == origin;
        }
        let Some(authority) = &reached.authority else { return false };
        if reached.https.is_some_and(|https| https != origin.https) {
            return false;
        }
        // On loopback, another port is another application.
        let is_same_machine = self.is_local && authority.host.is_loopback() && origin.host.is_loopback();
        let is_same_host = authority.host == origin.host || is_same_machine;
        // A trusted proxy that ends the browser's connection may put a `Host` of its own in place of the browser's.
        let is_rewritten = reached.is_proxied
            && reached.https.is_some()
            && !self.allowed.contains(&authority.host)
            && self.allowed.contains(&origin.host)
            && origin.has_default_port();
        is_same_host && authority.has_port_of(origin) || is_rewritten
    }
}

const LOOPBACK: [&str; 3] = ["localhost", "127.0.0.1", "::1"];

/// Refuses what does not speak plainly to this dashboard.
///
/// # Errors
/// The answer to it.
#[expect(clippy::result_large_err, reason = "made once, where a request is refused")]
pub(super) fn check(hosts: &HostPolicy, reached: &Reached, request: &Request) -> Result<(), Response> {
    let (uri, headers) = (request.uri(), request.headers());
    check_parts(hosts, reached, request.method(), uri, headers).map_err(|(status, why)| {
        let origin = headers.get(ORIGIN).map(|origin| shown(origin.as_bytes()));
        tracing::info!(%status, %why, path = excerpt(uri.path()), origin, "refused before the gate");
        let code = if status == StatusCode::FORBIDDEN { "forbidden" } else { "bad_request" };
        respond::error(status, code, &why)
    })
}

type Refusal = (StatusCode, Cow<'static, str>);

fn check_parts(
    hosts: &HostPolicy,
    reached: &Reached,
    method: &Method,
    uri: &Uri,
    headers: &HeaderMap,
) -> Result<(), Refusal> {
    check_host(hosts, method, uri, headers).map_err(|why| (StatusCode::BAD_REQUEST, why))?;
    if !is_plain_path(uri.path()) && !forward_auth::is_verify(uri.path()) {
        return Err((StatusCode::BAD_REQUEST, "the path has encoded slashes, dot segments or NUL".into()));
    }
    let is_socket = headers.contains_key(UPGRADE);
    if (is_socket || !method.is_safe()) && comes_from_elsewhere(hosts, headers, reached) {
        return Err((StatusCode::FORBIDDEN, "a page of another origin may not do this".into()));
    }
    Ok(())
}

/// Load balancers ask these by an address, or without any `Host` in HTTP/1.0. Nothing in the answers is secret.
const PROBES: [&str; 2] = ["/healthz", "/readyz"];

fn check_host(
    hosts: &HostPolicy,
    method: &Method,
    uri: &Uri,
    headers: &HeaderMap,
) -> Result<(), Cow<'static, str>> {
    if let Some(authority) = uri.authority()
        && !Authority::parse(authority.as_str()).is_some_and(|authority| hosts.accepts(&authority))
    {
        return Err(unknown_host(authority.as_str().as_bytes()));
    }
    let is_probe = method.is_safe() && PROBES.contains(&uri.path());
    let mut sent = headers.get_all(HOST).iter();
    match (sent.next(), sent.next()) {
        (Some(_), Some(_)) => Err("exactly one Host header is needed, and there are more".into()),
        _ if is_probe => Ok(()),
        (None, _) => Err("exactly one valid Host header is needed, and there is none".into()),
        (Some(sent), None) => match host_header(headers) {
            Some(host) if hosts.accepts(&host) => Ok(()),
            Some(_) => Err(unknown_host(sent.as_bytes())),
            None => {
                let sent = shown(sent.as_bytes());
                Err(format!("exactly one valid Host header is needed, and \"{sent}\" is none").into())
            }
        },
    }
}

fn unknown_host(sent: &[u8]) -> Cow<'static, str> {
    let sent = shown(sent);
    let why = format!(
        "this dashboard does not answer to that Host, \"{sent}\": if people use that name, add it to \
         dashboard.allowed_hosts"
    );
    why.into()
}

/// The start of a header's value, escaped.
fn shown(value: &[u8]) -> String {
    const MAX_BYTES: usize = 100;
    let start = value.get(..MAX_BYTES).unwrap_or(value).escape_ascii();
    if value.len() > MAX_BYTES { format!("{start}...") } else { start.to_string() }
}

/// The one `Host` header, if there is exactly one and it is valid.
pub(super) fn host_header(headers: &HeaderMap) -> Option<Authority> {
    let mut values = headers.get_all(HOST).iter();
    let host = values.next()?.to_str().ok().and_then(Authority::parse)?;
    values.next().is_none().then_some(host)
}

/// Encoded slashes and dot segments mean one path to a proxy and another to a router.
fn is_plain_path(path: &str) -> bool {
    // Nearly every path: nothing in it can mean anything else.
    if !path.contains(['%', '\\', '.']) {
        return true;
    }
    let lower = path.to_ascii_lowercase();
    let encoded = ["%2f", "%5c", "%00", "\\"].iter().any(|sign| lower.contains(sign));
    let dots = lower.split('/').any(|segment| {
        let segment = segment.replace("%2e", ".").replace("%3b", ";");
        // Servlet containers take path parameters off before they look for dots: `/..;x/` is `/../` to them.
        matches!(segment.split(';').next(), Some("." | ".."))
    });
    !encoded && !dots
}

/// Programs send neither header; browsers send at least one with every request that changes state. Both must be good: the origin
/// of a page on another port is same-site, and a proxy may rewrite `Origin`.
fn comes_from_elsewhere(hosts: &HostPolicy, headers: &HeaderMap, reached: &Reached) -> bool {
    let sites = headers.get_all("sec-fetch-site");
    if sites.iter().any(|site| !matches!(site.as_bytes(), b"same-origin" | b"none")) {
        return true;
    }
    let mut origins = headers.get_all(ORIGIN).iter();
    match (origins.next(), origins.next()) {
        (None, _) => false,
        (Some(origin), None) => {
            let origin = origin.to_str().ok().and_then(Origin::parse);
            !origin.is_some_and(|origin| hosts.accepts_origin(&origin, reached))
        }
        (Some(_), Some(_)) => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderName;

    const PUBLIC: &str = "https://agent.example.com";

    fn policy(bind: &str) -> HostPolicy {
        let names = ["agent.example.com".into(), "Agent.Tailnet.example.".into()];
        HostPolicy::new(bind, names, Some(PUBLIC.to_owned()))
    }

    /// How the request looks where no proxy is trusted.
    fn direct(headers: &HeaderMap) -> Reached {
        Reached { authority: host_header(headers), https: None, is_proxied: false }
    }

    fn header_map(headers: &[(&str, &str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(HeaderName::from_bytes(name.as_bytes()).unwrap(), value.parse().unwrap());
        }
        map
    }

    fn status(bind: &str, method: &Method, uri: &str, headers: &[(&str, &str)]) -> Option<u16> {
        let headers = header_map(headers);
        let (uri, reached) = (uri.parse().unwrap(), direct(&headers));
        let checked = check_parts(&policy(bind), &reached, method, &uri, &headers);
        checked.err().map(|(status, _)| status.as_u16())
    }

    #[test]
    fn only_known_hosts_are_answered() {
        for host in [
            "127.0.0.1:9119",
            "localhost",
            "localhost.:9119",
            "LOCALHOST:1",
            "[::1]:9119",
            "[0:0:0:0:0:0:0:1]",
            "agent.example.com",
            "agent.example.com.",
            "agent.tailnet.example:8",
        ] {
            assert_eq!(status("127.0.0.1", &Method::GET, "/", &[("host", host)]), None, "{host}");
        }
        for host in [
            "evil.example",
            "127.0.0.2",
            "localhost.evil.example",
            "u@localhost",
            "",
            "a b",
            "127.0.0.1.nip.io",
            "[::1].evil.test",
            "[localhost]",
            "localhost:",
            "localhost:x",
            "localhost:99999",
            "localhost..",
        ] {
            assert_eq!(status("127.0.0.1", &Method::GET, "/", &[("host", host)]), Some(400), "{host}");
        }
        assert_eq!(status("127.0.0.1", &Method::GET, "/", &[]), Some(400));
        assert_eq!(
            status("127.0.0.1", &Method::GET, "/", &[("host", "localhost"), ("host", "localhost")]),
            Some(400)
        );
        assert_eq!(status("127.0.0.1", &Method::GET, "http://evil/", &[("host", "localhost")]), Some(400));
        assert_eq!(status("192.168.1.5", &Method::GET, "/", &[("host", "localhost")]), Some(400));
        assert_eq!(status("192.168.1.5", &Method::GET, "/", &[("host", "192.168.1.5:9119")]), None);
        for bind in ["0.0.0.0", "::"] {
            assert_eq!(status(bind, &Method::GET, "/", &[("host", "any.example")]), None);
            assert_eq!(status(bind, &Method::GET, "/", &[("host", "any.example:")]), Some(400));
        }
    }

    #[test]
    fn other_hosts_are_those_of_the_settings_besides_the_public_one() {
        let other = |bind: &str, host: &str| {
            let origin = policy(bind).other_origin(&Authority::parse(host).unwrap());
            origin.map(|origin| origin.to_string())
        };
        let tailnet = "https://agent.tailnet.example";
        for bind in ["127.0.0.1", "0.0.0.0"] {
            assert_eq!(other(bind, "agent.tailnet.example").as_deref(), Some(tailnet));
            let with_port = other(bind, "AGENT.tailnet.example:8443");
            assert_eq!(with_port, None, "another port may be another program's");
            for host in ["agent.example.com", "agent.example.com:8443", "127.0.0.1:9119", "evil.example"] {
                assert_eq!(other(bind, host), None, "{host}");
            }
        }
        let without = HostPolicy::new("127.0.0.1", ["a.example".to_owned()], None);
        assert!(without.other_origin(&Authority::parse("a.example").unwrap()).is_none());
    }

    #[test]
    fn probes_need_no_host() {
        for path in ["/healthz", "/readyz", "/readyz?verbose"] {
            for headers in
                [&[][..], &[("host", "")], &[("host", "10.1.2.3:9119")], &[("host", "evil.example")]]
            {
                assert_eq!(status("127.0.0.1", &Method::GET, path, headers), None, "{path} {headers:?}");
            }
            let twice = [("host", "a"), ("host", "a")];
            assert_eq!(status("127.0.0.1", &Method::GET, path, &twice), Some(400));
            assert_eq!(status("127.0.0.1", &Method::POST, path, &[]), Some(400));
        }
        assert_eq!(status("127.0.0.1", &Method::GET, "/healthz/", &[]), Some(400));
        assert_eq!(status("127.0.0.1", &Method::GET, "http://evil.example/healthz", &[]), Some(400));
    }

    #[test]
    fn refusal_names_the_host_and_the_setting() {
        let long = "x".repeat(10_000);
        for (host, shown) in [("evil.example", "evil.example"), ("a\tb", "a\\tb"), (long.as_str(), "xxx...")]
        {
            let headers = header_map(&[("host", host)]);
            let uri = "/".parse().unwrap();
            let refused = check_parts(&policy("127.0.0.1"), &direct(&headers), &Method::GET, &uri, &headers);
            let (_, why) = refused.unwrap_err();
            assert!(why.contains(shown) && why.len() < 500, "{why}");
        }
        assert!(unknown_host(b"evil.example").contains("dashboard.allowed_hosts"));
    }

    #[test]
    fn paths_that_mean_two_things_are_refused() {
        for path in [
            "/a%2fb",
            "/a%5Cb",
            "/%00",
            "/./a",
            "/a/..",
            "/%2e%2e/a",
            "/a/%2E",
            "/.%2e/a",
            "/a/..;/b",
            "/a/.;x=1",
            "/a/%2e.%3Bx",
        ] {
            assert_eq!(
                status("127.0.0.1", &Method::GET, path, &[("host", "localhost")]),
                Some(400),
                "{path}"
            );
        }
        // What follows `/auth/verify/` is an application's path, and leads to one handler alone.
        for path in ["/", "/a.b", "/...", "/a%20b", "/a//b", "/auth/verify/a%2fb", "/auth/verify/x/.."] {
            assert_eq!(status("127.0.0.1", &Method::GET, path, &[("host", "localhost")]), None, "{path}");
        }
    }

    #[test]
    fn pages_of_other_origins_change_nothing() {
        let post = |headers: &[(&str, &str)]| {
            let headers: Vec<_> = [("host", "localhost:9119")].iter().chain(headers).copied().collect();
            status("127.0.0.1", &Method::POST, "/", &headers)
        };
        assert_eq!(post(&[]), None);
        assert_eq!(post(&[("sec-fetch-site", "same-origin")]), None);
        assert_eq!(post(&[("sec-fetch-site", "none")]), None);
        assert_eq!(post(&[("origin", "http://localhost:9119"), ("sec-fetch-site", "same-origin")]), None);
        for site in ["cross-site", "same-site", "", "Same-Origin"] {
            assert_eq!(post(&[("sec-fetch-site", site)]), Some(403), "{site}");
            let both = [("origin", "http://localhost:9119"), ("sec-fetch-site", site)];
            assert_eq!(post(&both), Some(403), "{site}");
        }
        let twice = [("origin", "http://localhost:9119"), ("origin", "http://localhost:9119")];
        assert_eq!(post(&twice), Some(403));
        let socket = [("upgrade", "websocket"), ("origin", "http://localhost:1"), ("host", "localhost:9119")];
        assert_eq!(status("127.0.0.1", &Method::GET, "/api/ws", &socket), Some(403));
    }

    /// Bind, `Host`, `Origin`, and whether the origin is the dashboard's own.
    #[test]
    fn origin_is_scheme_host_and_port() {
        for (bind, host, origin, is_own) in [
            // The public URL, with any `Host` that a proxy sends.
            ("127.0.0.1", "agent.example.com", PUBLIC, true),
            ("127.0.0.1", "agent.example.com:443", PUBLIC, true),
            ("127.0.0.1", "127.0.0.1:9119", PUBLIC, true),
            ("127.0.0.1", "agent.example.com", "https://AGENT.example.com:443", true),
            ("127.0.0.1", "agent.example.com", "https://agent.example.com.", true),
            ("127.0.0.1", "agent.example.com", "http://agent.example.com", false),
            ("127.0.0.1", "agent.example.com", "http://agent.example.com:31337", false),
            ("127.0.0.1", "agent.example.com:31337", "http://agent.example.com:31337", false),
            ("127.0.0.1", "agent.example.com", "https://agent.example.com:8443", false),
            ("127.0.0.1", "agent.example.com:8443", "https://agent.example.com:8443", false),
            // Another allowed name: exactly the authority that the request names.
            ("127.0.0.1", "agent.tailnet.example:9119", "http://agent.tailnet.example:9119", true),
            ("127.0.0.1", "agent.tailnet.example", "https://agent.tailnet.example", true),
            ("127.0.0.1", "agent.tailnet.example:443", "https://agent.tailnet.example", true),
            ("127.0.0.1", "agent.tailnet.example", "http://agent.tailnet.example:31337", false),
            ("127.0.0.1", "agent.tailnet.example:443", "http://agent.tailnet.example", false),
            ("127.0.0.1", "agent.example.com", "http://agent.tailnet.example:31337", false),
            ("127.0.0.1", "agent.example.com", "https://agent.tailnet.example", false),
            // Loopback: every name of the machine, but one port.
            ("127.0.0.1", "localhost:9119", "http://localhost:9119", true),
            ("127.0.0.1", "localhost:9119", "http://127.0.0.1:9119", true),
            ("127.0.0.1", "127.0.0.1:9119", "http://[::1]:9119", true),
            ("127.0.0.1", "localhost:9119", "http://localhost:9", false),
            ("127.0.0.1", "localhost:9119", "http://localhost", false),
            ("127.0.0.1", "localhost:9119", "http://127.0.0.2:9119", false),
            ("127.0.0.1", "agent.example.com", "http://localhost", false),
            ("127.0.0.1", "agent.example.com", "https://127.0.0.1", false),
            ("127.0.0.1", "agent.example.com", "https://[::1]", false),
            ("127.0.0.2", "127.0.0.2:9119", "http://127.0.0.2:9119", true),
            ("127.0.0.2", "127.0.0.2:9119", "http://127.0.0.2:1", false),
            ("0.0.0.0", "127.0.0.1:9119", "http://localhost:9119", false),
            ("0.0.0.0", "a:9119", "http://a:9119", true),
            ("0.0.0.0", "a", "http://b", false),
            // No origins at all.
            ("127.0.0.1", "localhost:9119", "null", false),
            ("127.0.0.1", "localhost:9119", "", false),
            ("127.0.0.1", "localhost:9119", "localhost:9119", false),
            ("127.0.0.1", "localhost:9119", "file://localhost:9119", false),
            ("127.0.0.1", "localhost:9119", "http://localhost:9119/", false),
            ("127.0.0.1", "localhost:9119", "http://u@localhost:9119", false),
            ("127.0.0.1", "localhost:9119", "http://localhost:9119 http://localhost:9119", false),
            ("127.0.0.1", "localhost:9119", "http://evil.example", false),
        ] {
            let expected = (!is_own).then_some(403);
            let found = status(bind, &Method::POST, "/", &[("host", host), ("origin", origin)]);
            assert_eq!(found, expected, "bind {bind}, Host {host}, Origin {origin}");
        }
    }

    #[test]
    fn scheme_that_a_trusted_proxy_says_must_be_the_origins() {
        let accepts = |https, is_proxied, host: &str, origin: &str| {
            let reached = Reached { authority: Authority::parse(host), https, is_proxied };
            policy("127.0.0.1").accepts_origin(&Origin::parse(origin).unwrap(), &reached)
        };
        let (name, https, http) =
            ("agent.tailnet.example", "https://agent.tailnet.example", "http://agent.tailnet.example");
        assert!(accepts(Some(true), true, name, https) && !accepts(Some(true), true, name, http));
        assert!(accepts(Some(false), true, name, http) && !accepts(Some(false), true, name, https));
        assert!(accepts(None, false, name, https) && accepts(None, false, name, http));
        // A proxy that rewrites `Host`: the allowed name at the default port of the scheme, if the scheme is known.
        let inner = "127.0.0.1:9119";
        assert!(accepts(Some(true), true, inner, https));
        assert!(!accepts(Some(true), true, inner, http));
        assert!(!accepts(Some(true), true, inner, "https://agent.tailnet.example:8443"));
        assert!(!accepts(Some(true), true, inner, "https://other.example"));
        assert!(!accepts(None, true, inner, https));
        assert!(!accepts(Some(false), false, inner, http));
        assert!(!accepts(Some(false), true, inner, "http://agent.example.com"), "public_url says https");
    }
}
