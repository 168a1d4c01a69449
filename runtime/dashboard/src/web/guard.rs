//! Checks, before the caller is known, that a request names this dashboard, has a plain path and
//! does not come from a page of another site.

use super::authority::{Authority, WebOrigin};
use super::excerpt::excerpt;
use super::forward_auth;
use super::host_policy::HostPolicy;
use super::plain_target::is_plain_target;
use super::respond;
use super::site::Reached;
use axum::extract::Request;
use axum::http::header::{HOST, ORIGIN, TRANSFER_ENCODING, UPGRADE};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri};
use axum::response::Response;
use std::borrow::Cow;

/// Refuses what does not speak plainly to this dashboard.
///
/// # Errors
/// The answer to it.
#[expect(
    clippy::result_large_err,
    reason = "made once, where a request is refused"
)]
pub(super) fn check(
    hosts: &HostPolicy,
    reached: &Reached,
    request: &Request,
) -> Result<(), Response> {
    let (uri, headers) = (request.uri(), request.headers());
    check_parts(hosts, reached, request.method(), uri, headers).map_err(|(status, why)| {
        let origin = headers.get(ORIGIN).map(|origin| shown(origin.as_bytes()));
        tracing::info!(%status, %why, path = excerpt(uri.path()), origin, "refused before the gate");
        let code = match status {
            StatusCode::FORBIDDEN => "forbidden",
            StatusCode::NOT_IMPLEMENTED => "not_implemented",
            _ => "bad_request",
        };
        respond::error(status, code, &why)
    })
}

type GuardRefusal = (StatusCode, Cow<'static, str>);

fn check_parts(
    hosts: &HostPolicy,
    reached: &Reached,
    method: &Method,
    uri: &Uri,
    headers: &HeaderMap,
) -> Result<(), GuardRefusal> {
    // One that opens a web socket over HTTP/2 arrives here as it would over HTTP/1.1 (see
    // `portcullis_net::listen`).
    if method == Method::CONNECT {
        return Err((
            StatusCode::NOT_IMPLEMENTED,
            "CONNECT opens nothing here but web sockets".into(),
        ));
    }

    if has_other_coding(headers) {
        return Err((
            StatusCode::NOT_IMPLEMENTED,
            "the body has another transfer coding than chunked".into(),
        ));
    }

    check_host(hosts, method, uri, headers).map_err(|why| (StatusCode::BAD_REQUEST, why))?;
    if !is_plain_target(uri) && !forward_auth::is_verify(uri.path()) {
        let why = "the target has encoded slashes, dot segments, NUL, characters beyond ASCII or damaged escapes";
        return Err((StatusCode::BAD_REQUEST, why.into()));
    }

    let is_socket = headers.contains_key(UPGRADE);
    if (is_socket || !method.is_safe()) && comes_from_elsewhere(hosts, headers, reached) {
        return Err((
            StatusCode::FORBIDDEN,
            "a page of another origin may not do this".into(),
        ));
    }
    Ok(())
}

/// Returns whether a message has another transfer coding than one `chunked` (RFC 9112 section 6.1).
/// hyper looks at the last coding alone, so the body of `gzip, chunked` would be passed on as if it
/// was not compressed.
pub(super) fn has_other_coding(headers: &HeaderMap) -> bool {
    let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
    let is_chunked = |coding: &HeaderValue| {
        coding
            .as_bytes()
            .trim_ascii()
            .eq_ignore_ascii_case(b"chunked")
    };
    match (codings.next(), codings.next()) {
        (None, _) => false,
        (Some(only), None) => !is_chunked(only),
        (Some(_), Some(_)) => true,
    }
}

/// Load balancers ask these by an address, or without any `Host` in HTTP/1.0. Nothing in the
/// answers is secret.
const PROBES: [&str; 2] = ["/healthz", "/readyz"];

fn check_host(
    hosts: &HostPolicy,
    method: &Method,
    uri: &Uri,
    headers: &HeaderMap,
) -> Result<(), Cow<'static, str>> {
    // The listener has made a path of an http URL. `*` (RFC 9112 section 3.2.4) names no path.
    if uri.authority().is_some() || !uri.path().starts_with('/') {
        return Err("the target must be a path, or a URL of http or https".into());
    }

    let is_probe = method.is_safe() && PROBES.contains(&uri.path());
    let mut sent = headers.get_all(HOST).iter();
    match (sent.next(), sent.next()) {
        // The listener adds the host of a target that is a URL, if it differs.
        (Some(_), Some(_)) => {
            Err("several hosts are named, in Host headers or in the target: only one may be".into())
        }
        _ if is_probe => Ok(()),
        (None, _) => Err("exactly one valid Host header is needed, and there is none".into()),
        (Some(sent), None) => match host_header(headers) {
            Some(host) if hosts.accepts(&host) => Ok(()),
            Some(_) => Err(unknown_host(sent.as_bytes())),
            None => {
                let sent = shown(sent.as_bytes());
                Err(
                    format!("exactly one valid Host header is needed, and \"{sent}\" is none")
                        .into(),
                )
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
    if value.len() > MAX_BYTES {
        format!("{start}...")
    } else {
        start.to_string()
    }
}

/// The one `Host` header, if there is exactly one and it is valid.
pub(super) fn host_header(headers: &HeaderMap) -> Option<Authority> {
    let mut values = headers.get_all(HOST).iter();
    let host = values.next()?.to_str().ok().and_then(Authority::parse)?;
    values.next().is_none().then_some(host)
}

/// Programs send neither header; browsers send at least one with every request that changes state.
/// Both must be good: the origin of a page on another port is same-site, and a proxy may rewrite
/// `Origin`.
fn comes_from_elsewhere(hosts: &HostPolicy, headers: &HeaderMap, reached: &Reached) -> bool {
    let sites = headers.get_all("sec-fetch-site");
    if sites
        .iter()
        .any(|site| !matches!(site.as_bytes(), b"same-origin" | b"none"))
    {
        return true;
    }

    let mut origins = headers.get_all(ORIGIN).iter();
    match (origins.next(), origins.next()) {
        (None, _) => false,
        (Some(origin), None) => {
            let origin = origin.to_str().ok().and_then(WebOrigin::parse);
            !origin.is_some_and(|origin| hosts.accepts_origin(&origin, reached))
        }
        (Some(_), Some(_)) => true,
    }
}

#[cfg(test)]
mod tests {
    use super::super::host_policy::tests::{PUBLIC, policy};
    use super::*;
    use axum::http::HeaderName;

    #[test]
    fn body_has_no_coding_but_chunked() {
        for (codings, is_other) in [
            (&[][..], false),
            (&["chunked"][..], false),
            (&["Chunked"][..], false),
            (&["gzip, chunked"][..], true),
            (&["chunked, chunked"][..], true),
            (&["chunked", "chunked"][..], true),
            (&["identity", "chunked"][..], true),
            (&["chunked;q=1"][..], true),
            (&[""][..], true),
        ] {
            let lines: Vec<_> = codings
                .iter()
                .map(|coding| ("transfer-encoding", *coding))
                .collect();
            assert_eq!(
                has_other_coding(&header_map(&lines)),
                is_other,
                "{codings:?}"
            );
        }
    }

    /// How the request looks where no proxy is trusted.
    fn direct(headers: &HeaderMap) -> Reached {
        Reached {
            authority: host_header(headers),
            https: None,
            is_proxied: false,
        }
    }

    fn header_map(headers: &[(&str, &str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(
                HeaderName::from_bytes(name.as_bytes()).unwrap(),
                value.parse().unwrap(),
            );
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
            assert_eq!(
                status("127.0.0.1", &Method::GET, "/", &[("host", host)]),
                None,
                "{host}"
            );
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
            assert_eq!(
                status("127.0.0.1", &Method::GET, "/", &[("host", host)]),
                Some(400),
                "{host}"
            );
        }
        assert_eq!(status("127.0.0.1", &Method::GET, "/", &[]), Some(400));
        assert_eq!(
            status(
                "127.0.0.1",
                &Method::GET,
                "/",
                &[("host", "localhost"), ("host", "localhost")]
            ),
            Some(400)
        );
        assert_eq!(
            status(
                "127.0.0.1",
                &Method::GET,
                "http://evil/",
                &[("host", "localhost")]
            ),
            Some(400)
        );
        for target in ["http://localhost/", "ftp://localhost/", "localhost:80", "*"] {
            for method in [Method::GET, Method::OPTIONS] {
                assert_eq!(
                    status("127.0.0.1", &method, target, &[("host", "localhost")]),
                    Some(400),
                    "{method} {target}"
                );
            }
        }
        assert_eq!(
            status("192.168.1.5", &Method::GET, "/", &[("host", "localhost")]),
            Some(400)
        );
        assert_eq!(
            status(
                "192.168.1.5",
                &Method::GET,
                "/",
                &[("host", "192.168.1.5:9119")]
            ),
            None
        );
        for bind in ["0.0.0.0", "::"] {
            assert_eq!(
                status(bind, &Method::GET, "/", &[("host", "any.example")]),
                None
            );
            assert_eq!(
                status(bind, &Method::GET, "/", &[("host", "any.example:")]),
                Some(400)
            );
        }
    }

    #[test]
    fn probes_need_no_host() {
        for path in ["/healthz", "/readyz", "/readyz?verbose"] {
            for headers in [
                &[][..],
                &[("host", "")],
                &[("host", "10.1.2.3:9119")],
                &[("host", "evil.example")],
            ] {
                assert_eq!(
                    status("127.0.0.1", &Method::GET, path, headers),
                    None,
                    "{path} {headers:?}"
                );
            }
            let twice = [("host", "a"), ("host", "a")];
            assert_eq!(status("127.0.0.1", &Method::GET, path, &twice), Some(400));
            assert_eq!(status("127.0.0.1", &Method::POST, path, &[]), Some(400));
        }
        assert_eq!(
            status("127.0.0.1", &Method::GET, "/healthz/", &[]),
            Some(400)
        );
        assert_eq!(
            status(
                "127.0.0.1",
                &Method::GET,
                "http://evil.example/healthz",
                &[]
            ),
            Some(400)
        );
    }

    #[test]
    fn refusal_names_the_host_and_the_setting() {
        let long = "x".repeat(10_000);
        for (host, shown) in [
            ("evil.example", "evil.example"),
            ("a\tb", "a\\tb"),
            (long.as_str(), "xxx..."),
        ] {
            let headers = header_map(&[("host", host)]);
            let uri = "/".parse().unwrap();
            let refused = check_parts(
                &policy("127.0.0.1"),
                &direct(&headers),
                &Method::GET,
                &uri,
                &headers,
            );
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
            "/a/..%3fx",
            "/a/%2E%23",
            "/caf\u{e9}",
            "/a?\u{e9}",
            "/100%",
            "/a%2",
            "/a%zz",
            "/a%%61",
            "/%c0%aeadmin",
            "/%E0%80%AF",
            "/%f0%80%80%af",
        ] {
            assert_eq!(
                status("127.0.0.1", &Method::GET, path, &[("host", "localhost")]),
                Some(400),
                "{path}"
            );
        }
        // What follows `/auth/verify/` is an application's path, and leads to one handler alone.
        for path in [
            "/",
            "/a.b",
            "/...",
            "/a%20b",
            "/caf%C3%A9",
            "/%E4",
            "/a?100%",
            "/a//b",
            "/auth/verify/a%2fb",
            "/auth/verify/x/..",
        ] {
            assert_eq!(
                status("127.0.0.1", &Method::GET, path, &[("host", "localhost")]),
                None,
                "{path}"
            );
        }
    }

    #[test]
    fn no_tunnel_is_opened() {
        for uri in ["localhost:9119", "http://localhost:9119/api/ws", "/"] {
            assert_eq!(
                status("127.0.0.1", &Method::CONNECT, uri, &[("host", "localhost")]),
                Some(501)
            );
        }
    }

    #[test]
    fn pages_of_other_origins_change_nothing() {
        let post = |headers: &[(&str, &str)]| {
            let headers: Vec<_> = [("host", "localhost:9119")]
                .iter()
                .chain(headers)
                .copied()
                .collect();
            status("127.0.0.1", &Method::POST, "/", &headers)
        };
        assert_eq!(post(&[]), None);
        assert_eq!(post(&[("sec-fetch-site", "same-origin")]), None);
        assert_eq!(post(&[("sec-fetch-site", "none")]), None);
        assert_eq!(
            post(&[
                ("origin", "http://localhost:9119"),
                ("sec-fetch-site", "same-origin")
            ]),
            None
        );
        for site in ["cross-site", "same-site", "", "Same-Origin"] {
            assert_eq!(post(&[("sec-fetch-site", site)]), Some(403), "{site}");
            let both = [
                ("origin", "http://localhost:9119"),
                ("sec-fetch-site", site),
            ];
            assert_eq!(post(&both), Some(403), "{site}");
        }
        let twice = [
            ("origin", "http://localhost:9119"),
            ("origin", "http://localhost:9119"),
        ];
        assert_eq!(post(&twice), Some(403));
        let socket = [
            ("upgrade", "websocket"),
            ("origin", "http://localhost:1"),
            ("host", "localhost:9119"),
        ];
        assert_eq!(
            status("127.0.0.1", &Method::GET, "/api/ws", &socket),
            Some(403)
        );
    }

    /// Bind, `Host`, `Origin`, and whether the origin is the dashboard's own.
    #[test]
    fn origin_is_scheme_host_and_port() {
        for (bind, host, origin, is_own) in [
            // The public URL, with any `Host` that a proxy sends.
            ("127.0.0.1", "agent.example.com", PUBLIC, true),
            ("127.0.0.1", "agent.example.com:443", PUBLIC, true),
            ("127.0.0.1", "127.0.0.1:9119", PUBLIC, true),
            (
                "127.0.0.1",
                "agent.example.com",
                "https://AGENT.example.com:443",
                true,
            ),
            (
                "127.0.0.1",
                "agent.example.com",
                "https://agent.example.com.",
                true,
            ),
            (
                "127.0.0.1",
                "agent.example.com",
                "http://agent.example.com",
                false,
            ),
            (
                "127.0.0.1",
                "agent.example.com",
                "http://agent.example.com:31337",
                false,
            ),
            (
                "127.0.0.1",
                "agent.example.com:31337",
                "http://agent.example.com:31337",
                false,
            ),
            (
                "127.0.0.1",
                "agent.example.com",
                "https://agent.example.com:8443",
                false,
            ),
            (
                "127.0.0.1",
                "agent.example.com:8443",
                "https://agent.example.com:8443",
                false,
            ),
            // Another allowed name: exactly the authority that the request names.
            (
                "127.0.0.1",
                "agent.tailnet.example:9119",
                "http://agent.tailnet.example:9119",
                true,
            ),
            (
                "127.0.0.1",
                "agent.tailnet.example",
                "https://agent.tailnet.example",
                true,
            ),
            (
                "127.0.0.1",
                "agent.tailnet.example:443",
                "https://agent.tailnet.example",
                true,
            ),
            (
                "127.0.0.1",
                "agent.tailnet.example",
                "http://agent.tailnet.example:31337",
                false,
            ),
            (
                "127.0.0.1",
                "agent.tailnet.example:443",
                "http://agent.tailnet.example",
                false,
            ),
            (
                "127.0.0.1",
                "agent.example.com",
                "http://agent.tailnet.example:31337",
                false,
            ),
            (
                "127.0.0.1",
                "agent.example.com",
                "https://agent.tailnet.example",
                false,
            ),
            // Loopback: every name of the machine, but one port.
            ("127.0.0.1", "localhost:9119", "http://localhost:9119", true),
            ("127.0.0.1", "localhost:9119", "http://127.0.0.1:9119", true),
            ("127.0.0.1", "127.0.0.1:9119", "http://[::1]:9119", true),
            ("127.0.0.1", "localhost:9119", "http://localhost:9", false),
            ("127.0.0.1", "localhost:9119", "http://localhost", false),
            (
                "127.0.0.1",
                "localhost:9119",
                "http://127.0.0.2:9119",
                false,
            ),
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
            (
                "127.0.0.1",
                "localhost:9119",
                "file://localhost:9119",
                false,
            ),
            (
                "127.0.0.1",
                "localhost:9119",
                "http://localhost:9119/",
                false,
            ),
            (
                "127.0.0.1",
                "localhost:9119",
                "http://u@localhost:9119",
                false,
            ),
            (
                "127.0.0.1",
                "localhost:9119",
                "http://localhost:9119 http://localhost:9119",
                false,
            ),
            ("127.0.0.1", "localhost:9119", "http://evil.example", false),
        ] {
            let expected = (!is_own).then_some(403);
            let found = status(
                bind,
                &Method::POST,
                "/",
                &[("host", host), ("origin", origin)],
            );
            assert_eq!(found, expected, "bind {bind}, Host {host}, Origin {origin}");
        }
    }
}
