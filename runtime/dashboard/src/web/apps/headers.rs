//! Which headers pass between a client and an application.
//!
//! **Invariant:** a header by which an application learns who calls, or how the request came, is
//! set here or absent. No spelling of it comes from outside.

use axum::http::header::{
    CONNECTION, CONTENT_LOCATION, COOKIE, LOCATION, ORIGIN, REFERER, SET_COOKIE,
};
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use std::borrow::Cow;

/// Headers of one connection (RFC 9110 section 7.6.1), and those for the proxy itself.
const OF_THE_CONNECTION: [&str; 9] = [
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// Headers that applications believe, since the dashboard sets them.
const OF_THE_HOST: [&str; 16] = [
    "forwarded",
    "x-auth-email",
    "x-auth-groups",
    "x-auth-provider",
    "x-auth-scopes",
    "x-auth-user",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-port",
    "x-forwarded-prefix",
    "x-forwarded-proto",
    "x-forwarded-scheme",
    "x-forwarded-server",
    "x-forwarded-ssl",
    "x-forwarded-uri",
    "x-real-ip",
];

/// Headers by which other gates say who calls, and by which some frameworks take another path for
/// the one that was asked for and judged. The dashboard sets none of them, but an application may
/// believe them.
const OF_OTHER_GATES: [&str; 8] = [
    "remote-email",
    "remote-groups",
    "remote-name",
    "remote-user",
    "x-auth",
    "x-original-uri",
    "x-original-url",
    "x-rewrite-url",
];
/// The same by the start of the name. All of `x-auth-`: an application that reads `X-Auth-User` may
/// also read a name that the dashboard never sets, like `X-Auth-Role`.
const BEGINNINGS: [&str; 5] = [
    "x-auth-",
    "x-authentik-",
    "x-forwarded-",
    "x-remote-",
    "x-webauth-",
];
/// Headers that frame a request or name it. In another spelling they are nothing to HTTP, but a
/// program that reads `Content_Length` as `Content-Length` would see two.
const OF_THE_MESSAGE: [&str; 4] = [
    "content-length",
    "sec-websocket-key",
    "sec-websocket-version",
    "x-request-id",
];

/// Headers that differ from request to request, so that no fixed value of them is right.
const OF_ONE_REQUEST: [&str; 6] = [
    "expect",
    "host",
    "http2-settings",
    "traceparent",
    "tracestate",
    "x-portcullis-hop",
];

/// Removes the headers of the connection, also those that `Connection` names.
pub(super) fn remove_of_the_connection(headers: &mut HeaderMap) {
    let lines = headers
        .get_all(CONNECTION)
        .iter()
        .flat_map(|line| line.as_bytes().split(|byte| *byte == b','));
    let named: Vec<_> = lines
        .filter_map(|name| HeaderName::from_bytes(name.trim_ascii()).ok())
        .collect();
    for name in named {
        headers.remove(name);
    }

    for name in OF_THE_CONNECTION {
        headers.remove(name);
    }
}

/// Returns whether the dashboard or the protocol sets this header in each request, or takes it off.
pub fn is_of_the_host(name: &str) -> bool {
    let name = as_read(name);
    let is_in = |names: &[&str]| names.contains(&&*name);
    is_in(&OF_THE_HOST)
        || is_in(&OF_THE_CONNECTION)
        || is_in(&OF_THE_MESSAGE)
        || is_in(&OF_ONE_REQUEST)
        || name.starts_with("sec-websocket-")
}

/// The name as an application may read it. CGI and WSGI make one name of `X-Auth-User` and
/// `X_Auth_User`.
fn as_read(name: &str) -> Cow<'_, str> {
    let plain = |byte: u8| {
        if byte.is_ascii_alphanumeric() {
            byte.to_ascii_lowercase()
        } else {
            b'-'
        }
    };
    if name.bytes().all(|byte| byte == plain(byte)) {
        return name.into();
    }
    name.bytes().map(|byte| char::from(plain(byte))).collect()
}

/// The names of the headers that the dashboard puts on every request to an application, as an
/// application may read them.
pub(super) struct PutOn(Vec<String>);

impl PutOn {
    pub(super) fn new<'a>(names: impl IntoIterator<Item = &'a HeaderName>) -> Self {
        Self(
            names
                .into_iter()
                .map(|name| as_read(name.as_str()).into_owned())
                .collect(),
        )
    }

    fn contains(&self, name: &str) -> bool {
        self.0.iter().any(|own| own == name)
    }
}

/// Removes every header that the dashboard or another gate sets, and those of `put_on`, in every
/// spelling.
pub(super) fn remove_of_the_host(headers: &mut HeaderMap, put_on: &PutOn) {
    let is_reserved = |name: &&HeaderName| {
        let spelled = name.as_str();
        let read = as_read(spelled);
        let name = &*read;
        let is_in = |names: &[&str]| names.contains(&name);
        let is_of_the_message = is_in(&OF_THE_CONNECTION) || is_in(&OF_THE_MESSAGE);
        if is_of_the_message && spelled != name {
            return true;
        }
        is_in(&OF_THE_HOST)
            || is_in(&OF_OTHER_GATES)
            || BEGINNINGS.iter().any(|start| name.starts_with(start))
            || put_on.contains(name)
    };

    let reserved: Vec<_> = headers.keys().filter(is_reserved).cloned().collect();
    for name in reserved {
        headers.remove(name);
    }
}

/// Removes the cookies that are the dashboard's. The others stay in one header.
pub(super) fn remove_own_cookies(headers: &mut HeaderMap, is_own: impl Fn(&[u8]) -> bool) {
    let lines = headers
        .get_all(COOKIE)
        .iter()
        .flat_map(|line| line.as_bytes().split(|byte| *byte == b';'));
    let is_foreign = |pair: &&[u8]| !pair.is_empty() && !is_own(cookie_name(pair));
    let kept: Vec<_> = lines.map(<[u8]>::trim_ascii).filter(is_foreign).collect();
    let line = HeaderValue::from_bytes(&kept.join(&b"; "[..]))
        .ok()
        .filter(|line| !line.is_empty());
    headers.remove(COOKIE);

    if let Some(line) = line {
        headers.insert(COOKIE, line);
    }
}

/// Removes cookies of the application that would replace one of the dashboard's.
pub(super) fn remove_colliding_cookies(headers: &mut HeaderMap, is_own: impl Fn(&[u8]) -> bool) {
    if !headers
        .get_all(SET_COOKIE)
        .iter()
        .any(|cookie| is_own(cookie_name(cookie.as_bytes())))
    {
        return;
    }

    let kept: Vec<_> = headers
        .get_all(SET_COOKIE)
        .iter()
        .filter(|cookie| !is_own(cookie_name(cookie.as_bytes())))
        .cloned()
        .collect();
    headers.remove(SET_COOKIE);

    for cookie in kept {
        headers.append(SET_COOKIE, cookie);
    }
}

/// The name under which the cookie comes back. A browser sends one without a name as its value
/// alone.
fn cookie_name(cookie: &[u8]) -> &[u8] {
    let pair = cookie
        .split(|byte| *byte == b';')
        .next()
        .unwrap_or_default()
        .trim_ascii();
    let pair = pair.strip_prefix(b"=").unwrap_or(pair);
    pair.split(|byte| *byte == b'=')
        .next()
        .unwrap_or_default()
        .trim_ascii()
}

/// Two names of one site: the dashboard's for the browser, and the application's own.
pub(super) struct Rewriting<'a> {
    /// Scheme, host and port that the browser uses. `None`: they are not known.
    pub(super) outer: Option<&'a str>,
    /// The path that a proxy in front takes off.
    pub(super) prefix: &'a str,
    /// Scheme, host and port of the application.
    pub(super) inner: &'a str,
}

impl Rewriting<'_> {
    /// Names the application in `Origin` and `Referer`, where they name the dashboard.
    /// `is_same_origin`: the guard has found that the page is the dashboard's own, however it is
    /// written.
    pub(super) fn request(&self, headers: &mut HeaderMap, is_same_origin: bool) {
        let is_ours = |origin: &HeaderValue| {
            is_same_origin
                || self
                    .outer
                    .is_some_and(|outer| origin.as_bytes() == outer.as_bytes())
        };
        if headers.get(ORIGIN).is_some_and(is_ours)
            && let Ok(inner) = HeaderValue::from_str(self.inner)
        {
            headers.insert(ORIGIN, inner);
        }

        let referer = headers
            .get(REFERER)
            .and_then(|referer| referer.to_str().ok());
        let referer = referer.and_then(|referer| self.inner_referer(referer));

        if let Some(referer) = referer.and_then(|referer| HeaderValue::try_from(referer).ok()) {
            headers.insert(REFERER, referer);
        }
    }

    fn inner_referer(&self, referer: &str) -> Option<String> {
        let rest = referer.strip_prefix(self.outer?)?;
        let rest = match rest.strip_prefix(self.prefix) {
            Some(path) if path.is_empty() || path.starts_with(['/', '?']) => path,
            _ => rest,
        };
        (rest.is_empty() || rest.starts_with(['/', '?'])).then(|| format!("{}{rest}", self.inner))
    }

    /// Replaces the application by the dashboard in `Location` and `Content-Location`, for http and
    /// https.
    pub(super) fn answer(&self, headers: &mut HeaderMap) {
        for name in [LOCATION, CONTENT_LOCATION] {
            let location = headers.get(&name).and_then(|value| value.to_str().ok());
            let location = location.and_then(|location| self.outer_location(location));
            if let Some(location) = location.and_then(|text| HeaderValue::try_from(text).ok()) {
                headers.insert(name, location);
            }
        }
    }

    fn outer_location(&self, location: &str) -> Option<String> {
        let (own_scheme, own) = self.inner.split_once("://")?;
        let (scheme, rest) = match location.strip_prefix("//") {
            // The scheme is that of the request (RFC 3986 section 5.2.2).
            Some(rest) => (own_scheme, rest),
            None => location.split_once("://")?,
        };
        let default_port = default_port_of(scheme)?;
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());

        let (authority, rest) = rest.split_at(end);
        let authority = authority.strip_suffix(default_port).unwrap_or(authority);
        let own = own
            .strip_suffix(default_port_of(own_scheme)?)
            .unwrap_or(own);
        if !authority.eq_ignore_ascii_case(own) {
            return None;
        }

        let slash = if rest.starts_with('/') { "" } else { "/" };
        Some(format!(
            "{}{}{slash}{rest}",
            self.outer.unwrap_or_default(),
            self.prefix
        ))
    }
}

/// The port that an authority of this scheme need not name, with its colon. `None`: the scheme is
/// neither http nor https, in any case of its letters.
fn default_port_of(scheme: &str) -> Option<&'static str> {
    if scheme.eq_ignore_ascii_case("http") {
        Some(":80")
    } else if scheme.eq_ignore_ascii_case("https") {
        Some(":443")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(headers: &[(&str, &str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(
                HeaderName::from_bytes(name.as_bytes()).unwrap(),
                value.parse().unwrap(),
            );
        }
        map
    }

    fn names(headers: &HeaderMap) -> Vec<&str> {
        headers.keys().map(HeaderName::as_str).collect()
    }

    fn is_own(name: &[u8]) -> bool {
        name.starts_with(b"hermes_session_")
    }

    #[test]
    fn headers_of_the_connection_do_not_pass() {
        let mut headers = map(&[
            ("connection", "keep-alive, X-Custom ,,bad name"),
            ("connection", "x-second"),
            ("x-custom", "1"),
            ("x-second", "1"),
            ("te", "trailers"),
            ("transfer-encoding", "chunked"),
            ("proxy-authorization", "Basic x"),
            ("upgrade", "h2c"),
            ("accept", "*/*"),
        ]);
        remove_of_the_connection(&mut headers);
        assert_eq!(names(&headers), ["accept"]);
    }

    #[test]
    fn no_spelling_of_a_header_of_the_host_passes() {
        let put_on = PutOn::new(&[HeaderName::from_static("x-api-key")]);
        for name in [
            "x-auth-user",
            "X-Auth-User",
            "x_auth_user",
            "X_AUTH-EMAIL",
            "x.auth.groups",
            "x-auth_scopes",
            "x-auth-provider",
            "x-forwarded-for",
            "x_forwarded_proto",
            "forwarded",
            "x-real-ip",
            "X-Forwarded-User",
            "x_forwarded_preferred_username",
            "X-Auth-Request-Email",
            "X-Auth-Role",
            "X_Auth_Admin",
            "x.auth_subject",
            "X-Auth",
            "X_AUTH",
            "Remote_User",
            "X-WebAuth-User",
            "X-Original-URL",
            "x_api_key",
            "X-API-Key",
            "Content_Length",
            "transfer_encoding",
            "X.Request_Id",
        ] {
            let mut headers = map(&[(name, "eve"), (name, "again"), ("x-authentic", "1")]);
            remove_of_the_host(&mut headers, &put_on);
            assert_eq!(names(&headers), ["x-authentic"], "{name}");
        }
    }

    #[test]
    fn own_cookies_stay_with_the_host() {
        for (lines, expected) in [
            (&["a=1; hermes_session_at=x; b=2"][..], Some("a=1; b=2")),
            (&["hermes_session_at=x"][..], None),
            (
                &["hermes_session_at=x;a=1", "hermes_session_rt=y; b"][..],
                Some("a=1; b"),
            ),
            (&["hermes_session_at"][..], None),
            (
                &["=hermes_session_at=x; c=hermes_session_at"][..],
                Some("c=hermes_session_at"),
            ),
            (&[" ; ;"][..], None),
        ] {
            let cookies: Vec<_> = lines.iter().map(|line| ("cookie", *line)).collect();
            let mut headers = map(&cookies);
            remove_own_cookies(&mut headers, is_own);
            let kept = headers.get(COOKIE).map(|line| line.to_str().unwrap());
            assert_eq!(
                (kept, headers.get_all(COOKIE).iter().count()),
                (expected, expected.iter().count())
            );
        }
    }

    #[test]
    fn application_cannot_set_a_cookie_of_the_host() {
        let mut headers = map(&[
            ("set-cookie", "theme=dark; Path=/"),
            ("set-cookie", "hermes_session_at=evil; Path=/"),
            ("set-cookie", " hermes_session_rt =evil"),
            ("set-cookie", "=hermes_session_at=evil"),
            ("set-cookie", "lang=en"),
        ]);
        remove_colliding_cookies(&mut headers, is_own);
        let kept: Vec<_> = headers.get_all(SET_COOKIE).iter().collect();
        assert_eq!(kept, ["theme=dark; Path=/", "lang=en"]);
    }

    #[test]
    fn origins_are_rewritten_both_ways() {
        let rewriting = Rewriting {
            outer: Some("https://agent.example"),
            prefix: "/hermes",
            inner: "http://127.0.0.1:9120",
        };
        for (sent, is_same_origin, expected) in [
            ("https://agent.example", false, "http://127.0.0.1:9120"),
            ("https://other.example", false, "https://other.example"),
            ("https://AGENT.example", true, "http://127.0.0.1:9120"),
        ] {
            let mut headers = map(&[("origin", sent)]);
            rewriting.request(&mut headers, is_same_origin);
            assert_eq!(headers[ORIGIN], expected);
        }
        for (sent, expected) in [
            (
                "https://agent.example/hermes/x?y",
                "http://127.0.0.1:9120/x?y",
            ),
            ("https://agent.example/", "http://127.0.0.1:9120/"),
            (
                "https://agent.example.evil/x",
                "https://agent.example.evil/x",
            ),
            ("https://other.example/x", "https://other.example/x"),
        ] {
            let mut headers = map(&[("referer", sent)]);
            rewriting.request(&mut headers, false);
            assert_eq!(headers[REFERER], expected);
        }
        for (sent, expected) in [
            ("http://127.0.0.1:9120/x", "https://agent.example/hermes/x"),
            ("https://127.0.0.1:9120", "https://agent.example/hermes/"),
            ("http://127.0.0.1:91200/x", "http://127.0.0.1:91200/x"),
            (
                "https://idp.example/?u=http://127.0.0.1:9120/",
                "https://idp.example/?u=http://127.0.0.1:9120/",
            ),
            ("/relative", "/relative"),
            ("//127.0.0.1:9120/x", "https://agent.example/hermes/x"),
            ("//127.0.0.1/x", "//127.0.0.1/x"),
            ("HTTP://127.0.0.1:9120/x", "https://agent.example/hermes/x"),
            (
                "Https://127.0.0.1:9120?x",
                "https://agent.example/hermes/?x",
            ),
            ("ftp://127.0.0.1:9120/x", "ftp://127.0.0.1:9120/x"),
        ] {
            for name in ["location", "content-location"] {
                let mut headers = map(&[(name, sent)]);
                rewriting.answer(&mut headers);
                assert_eq!(headers[name], expected, "{name}");
            }
        }
    }

    #[test]
    fn default_port_and_case_make_no_other_upstream() {
        for (inner, sent, is_own) in [
            ("http://app.test", "http://app.test:80/x", true),
            ("http://app.test", "//APP.test:80/x", true),
            ("http://app.test", "http://app.test:443/x", false),
            ("http://app.test", "http://app.test:8080/x", false),
            ("http://app.test:80", "http://App.Test/x", true),
            ("https://app.test", "https://app.test:443/x", true),
            ("https://app.test", "HTTPS://APP.TEST/x", true),
            ("https://app.test", "https://app.test:80/x", false),
            ("https://app.test:8443", "//app.test:8443/x", true),
            ("http://[::1]", "http://[::1]:80/x", true),
            ("http://app.test", "http://app.test@evil.test/x", false),
            ("http://app.test", "http://user@app.test/x", false),
        ] {
            let rewriting = Rewriting {
                outer: Some("https://agent.example"),
                prefix: "",
                inner,
            };
            let expected = is_own.then(|| "https://agent.example/x".to_owned());
            assert_eq!(rewriting.outer_location(sent), expected, "{inner} {sent}");
        }
    }
}
