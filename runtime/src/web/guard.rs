//! Before any question of who calls: does the request speak to this dashboard, plainly, and not from a page
//! of another site?

use super::excerpt::excerpt;
use super::respond;
use axum::extract::Request;
use axum::http::header::{HOST, ORIGIN, UPGRADE};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::Response;
use std::collections::BTreeSet;

/// The names that the dashboard answers to. Any other is a page that was led here by a false DNS answer.
#[derive(Clone, Debug)]
pub struct HostPolicy {
    any: bool,
    names: BTreeSet<String>,
    public_origin: Option<String>,
}

impl HostPolicy {
    /// `names` besides the bind host; a bind to every address answers to every name.
    pub fn new(
        bind_host: &str,
        names: impl IntoIterator<Item = String>,
        public_origin: Option<String>,
    ) -> Self {
        let any = matches!(bind_host, "0.0.0.0" | "::");
        let mut names: BTreeSet<_> = names.into_iter().map(|name| name.to_ascii_lowercase()).collect();
        names.insert(bind_host.to_ascii_lowercase());
        if is_loopback(bind_host) {
            names.extend(LOOPBACK.map(str::to_owned));
        }
        Self { any, names, public_origin }
    }

    fn accepts(&self, authority: &Authority) -> bool {
        !authority.as_str().contains('@') && (self.any || self.knows(host_of(authority)))
    }

    fn knows(&self, host: &str) -> bool {
        self.names.iter().any(|name| name.eq_ignore_ascii_case(host))
    }

    /// May a page of this origin change something here? Only one of the dashboard's own.
    fn accepts_origin(&self, origin: &str, host: &Authority) -> bool {
        if self.public_origin.as_deref().is_some_and(|public| public.eq_ignore_ascii_case(origin)) {
            return true;
        }
        let Some(authority) = origin.strip_prefix("https://").or_else(|| origin.strip_prefix("http://"))
        else {
            return false;
        };
        let Ok(origin) = authority.parse::<Authority>() else { return false };
        let name = host_of(&origin);
        let is_known = self.knows(name);
        // Behind a proxy, `Host` and the port may be the proxy's own; on this machine, each port is somebody.
        let is_configured = is_known && !is_loopback(name);
        let is_same_machine = is_known && origin.port_u16() == host.port_u16();
        authority.eq_ignore_ascii_case(host.as_str()) || is_configured || is_same_machine
    }
}

const LOOPBACK: [&str; 3] = ["localhost", "127.0.0.1", "::1"];

fn is_loopback(name: &str) -> bool {
    LOOPBACK.iter().any(|loopback| loopback.eq_ignore_ascii_case(name))
}

fn host_of(authority: &Authority) -> &str {
    authority.host().trim_start_matches('[').trim_end_matches(']')
}

/// Refuses what does not speak plainly to this dashboard.
///
/// # Errors
/// The answer to it.
#[expect(clippy::result_large_err, reason = "made once, where a request is refused")]
pub(super) fn check(hosts: &HostPolicy, request: &Request) -> Result<(), Response> {
    check_parts(hosts, request.method(), request.uri(), request.headers()).map_err(|(status, why)| {
        tracing::info!(%status, why, path = excerpt(request.uri().path()), "refused before the gate");
        let code = if status == StatusCode::FORBIDDEN { "forbidden" } else { "bad_request" };
        respond::error(status, code, why)
    })
}

type Refusal = (StatusCode, &'static str);

fn check_parts(hosts: &HostPolicy, method: &Method, uri: &Uri, headers: &HeaderMap) -> Result<(), Refusal> {
    let host =
        host_header(headers).ok_or((StatusCode::BAD_REQUEST, "exactly one valid Host header is needed"))?;
    if !hosts.accepts(&host) || uri.authority().is_some_and(|authority| !hosts.accepts(authority)) {
        return Err((StatusCode::BAD_REQUEST, "this dashboard does not answer to that Host"));
    }
    if !is_plain_path(uri.path()) {
        return Err((StatusCode::BAD_REQUEST, "the path has encoded slashes, dot segments or NUL"));
    }
    let is_socket = headers.contains_key(UPGRADE);
    if (is_socket || !method.is_safe()) && comes_from_elsewhere(hosts, headers, &host) {
        return Err((StatusCode::FORBIDDEN, "a page of another origin may not do this"));
    }
    Ok(())
}

fn host_header(headers: &HeaderMap) -> Option<Authority> {
    let mut values = headers.get_all(HOST).iter();
    let host = values.next()?.to_str().ok()?.parse().ok()?;
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
    let dots = lower.split('/').any(|segment| matches!(segment.replace("%2e", ".").as_str(), "." | ".."));
    !encoded && !dots
}

/// Programs send neither header; browsers send at least one with whatever changes state.
fn comes_from_elsewhere(hosts: &HostPolicy, headers: &HeaderMap, host: &Authority) -> bool {
    let mut origins = headers.get_all(ORIGIN).iter();
    match (origins.next(), origins.next()) {
        (Some(origin), None) => !origin.to_str().is_ok_and(|origin| hosts.accepts_origin(origin, host)),
        (Some(_), Some(_)) => true,
        (None, _) => headers
            .get_all("sec-fetch-site")
            .iter()
            .any(|site| !matches!(site.as_bytes(), b"same-origin" | b"none")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(bind: &str) -> HostPolicy {
        let public = Some("https://agent.example.com".to_owned());
        HostPolicy::new(bind, ["agent.example.com".into(), "Agent.Tailnet.example".into()], public)
    }

    fn status(bind: &str, method: &Method, uri: &str, headers: &[(&str, &str)]) -> Option<u16> {
        let headers = headers.iter().map(|(name, value)| {
            (axum::http::HeaderName::from_bytes(name.as_bytes()).unwrap(), value.parse().unwrap())
        });
        let uri = uri.parse().unwrap();
        check_parts(&policy(bind), method, &uri, &headers.collect()).err().map(|(status, _)| status.as_u16())
    }

    #[test]
    fn only_known_hosts_are_answered() {
        for host in [
            "127.0.0.1:9119",
            "localhost",
            "LOCALHOST:1",
            "[::1]:9119",
            "agent.example.com",
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
            assert_eq!(status(bind, &Method::GET, "/", &[("host", "whatever.example")]), None);
        }
    }

    #[test]
    fn paths_that_mean_two_things_are_refused() {
        for path in ["/a%2fb", "/a%5Cb", "/%00", "/./a", "/a/..", "/%2e%2e/a", "/a/%2E", "/.%2e/a"] {
            assert_eq!(
                status("127.0.0.1", &Method::GET, path, &[("host", "localhost")]),
                Some(400),
                "{path}"
            );
        }
        for path in ["/", "/a.b", "/...", "/a%20b", "/a//b"] {
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
        assert_eq!(post(&[("origin", "http://localhost:9119")]), None);
        assert_eq!(post(&[("origin", "http://127.0.0.1:9119")]), None);
        assert_eq!(post(&[("origin", "https://agent.example.com")]), None);
        assert_eq!(post(&[("origin", "https://agent.tailnet.example")]), None);
        assert_eq!(post(&[("sec-fetch-site", "same-origin")]), None);
        for origin in
            ["http://evil.example", "null", "http://localhost:9", "file://localhost:9119", "localhost:9119"]
        {
            assert_eq!(post(&[("origin", origin)]), Some(403), "{origin}");
        }
        assert_eq!(post(&[("sec-fetch-site", "cross-site")]), Some(403));
        assert_eq!(post(&[("sec-fetch-site", "same-site")]), Some(403));
        assert_eq!(
            status("0.0.0.0", &Method::POST, "/", &[("host", "a"), ("origin", "http://b")]),
            Some(403)
        );
        assert_eq!(status("0.0.0.0", &Method::POST, "/", &[("host", "a"), ("origin", "http://a")]), None);
    }
}
