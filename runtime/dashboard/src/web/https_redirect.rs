//! What answers at `dashboard.redirect_http`: it leads plain HTTP to the same address by https.

use super::authority::Authority;
use super::guard::host_header;
use super::host_policy::HostPolicy;
use super::respond::{self, SecurityHeaders, add_security_headers};
use super::site::as_location;
use axum::Router;
use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use portcullis_net::acme::HttpAnswers;
use std::sync::Arc;

/// Where ACME servers look for the answers of a client (RFC 8555 section 8.3). A redirect would
/// have them look elsewhere.
const ACME_CHALLENGES: &str = "/.well-known/acme-challenge/";

struct HttpsRedirect {
    hosts: HostPolicy,
    /// The port of https that people use.
    port: u16,
    answers: HttpAnswers,
}

/// Answers each request for a known host with a 308 to the same host and path by https at `port`,
/// and any other with 400. A redirect for every host would make links that begin with this
/// dashboard's address and lead anywhere. A challenge of an ACME directory gets its answer at any
/// host.
pub fn https_redirect(hosts: HostPolicy, port: u16, answers: HttpAnswers) -> Router {
    Router::new()
        .fallback(redirect)
        .with_state(Arc::new(HttpsRedirect {
            hosts,
            port,
            answers,
        }))
}

async fn redirect(State(to): State<Arc<HttpsRedirect>>, request: Request) -> Response {
    let mut response = match request.uri().path().strip_prefix(ACME_CHALLENGES) {
        Some(token) => match to.answers.to(token) {
            Some(answer) => {
                ([(header::CONTENT_TYPE, "application/octet-stream")], answer).into_response()
            }
            None => respond::error(StatusCode::NOT_FOUND, "not_found", "Not Found"),
        },
        None => match to.target(&request) {
            Some(target) => {
                (StatusCode::PERMANENT_REDIRECT, [(header::LOCATION, target)]).into_response()
            }
            None => {
                let why = "this dashboard does not answer to that Host by https";
                respond::error(StatusCode::BAD_REQUEST, "bad_request", why)
            }
        },
    };

    add_security_headers(response.headers_mut(), SecurityHeaders { https: false });
    response
}

impl HttpsRedirect {
    /// The address by https. `None`: the request names no host that the dashboard answers to, or no
    /// path.
    fn target(&self, request: &Request) -> Option<String> {
        let uri = request.uri();
        // The listener has made a path of an http URL.
        let is_path = uri.authority().is_none();
        let named =
            host_header(request.headers()).filter(|named| is_path && self.hosts.accepts(named))?;
        let path = uri
            .path_and_query()
            .filter(|path| path.as_str().starts_with('/'))?;
        let origin = Authority {
            port: Some(self.port),
            ..named
        }
        .origin(true);

        Some(as_location(&format!("{origin}{path}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::Body;

    #[test]
    fn only_known_hosts_are_led_on() {
        let names = ["agent.example.com".to_owned()];
        let hosts = HostPolicy::new("127.0.0.1", names, None);
        let to = HttpsRedirect {
            hosts,
            port: 443,
            answers: HttpAnswers::default(),
        };
        let target = |uri: &str, host: Option<&str>| {
            let mut request = Request::builder().uri(uri);
            if let Some(host) = host {
                request = request.header(header::HOST, host);
            }
            to.target(&request.body(Body::empty()).unwrap())
        };
        let known = Some("agent.example.com:80");
        assert_eq!(
            target("/a?b=%20c", known).as_deref(),
            Some("https://agent.example.com/a?b=%20c")
        );
        assert_eq!(
            target("//evil.example", known).as_deref(),
            Some("https://agent.example.com//evil.example")
        );
        assert_eq!(
            target("/", Some("[::1]:80")).as_deref(),
            Some("https://[::1]/")
        );
        assert_eq!(
            target("/caf\u{e9}?\u{e9}", known).as_deref(),
            Some("https://agent.example.com/caf%C3%A9?%C3%A9")
        );
        for (uri, host) in [
            ("/", None),
            ("/", Some("evil.example")),
            ("/healthz", Some("evil.example")),
            ("/", Some("agent.example.com@evil.example")),
            ("http://evil.example/", known),
            ("ftp://agent.example.com/", known),
            ("*", known),
        ] {
            assert_eq!(target(uri, host), None, "{uri} {host:?}");
        }

        let other_port = HttpsRedirect { port: 8443, ..to };
        let request = Request::builder()
            .uri("/")
            .header(header::HOST, "agent.example.com");
        let target = other_port.target(&request.body(Body::empty()).unwrap());
        assert_eq!(target.as_deref(), Some("https://agent.example.com:8443/"));
    }
}
