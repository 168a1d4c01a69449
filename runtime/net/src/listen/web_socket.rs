//! Web sockets over HTTP/2 (RFC 8441) in the form that they have over HTTP/1.1.
//!
//! What stands behind knows one form, so a rule that holds for one holds for the other.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::header::{
    CONNECTION, CONTENT_LENGTH, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, TRANSFER_ENCODING, UPGRADE,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Version};
use hyper::ext::Protocol;
use sha1::{Digest, Sha1};

/// The name of the protocol in `:protocol` and `Upgrade`.
const WEB_SOCKET: &str = "websocket";
/// What the proof hashes behind the key (RFC 6455 section 1.3).
const PROOF_SUFFIX: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
/// Headers of an opened web socket that HTTP/2 does not have.
const OF_HTTP1: [HeaderName; 5] = [
    CONNECTION,
    UPGRADE,
    SEC_WEBSOCKET_ACCEPT,
    CONTENT_LENGTH,
    TRANSFER_ENCODING,
];

/// The `Sec-WebSocket-Accept` by which the other end of a web socket over HTTP/2 shows that it
/// speaks the protocol. Each request that opens one carries it as an extension.
#[derive(Clone, Debug)]
pub struct WebSocketProof(String);

impl WebSocketProof {
    /// Returns whether an answer has this proof, and no other (RFC 6455 section 4.2.2).
    pub fn is_in(&self, answer: &HeaderMap) -> bool {
        let mut proofs = answer.get_all(SEC_WEBSOCKET_ACCEPT).iter();
        proofs
            .next()
            .is_some_and(|proof| proof.as_bytes() == self.0.as_bytes())
            && proofs.next().is_none()
    }
}

/// A web socket that a request opens over HTTP/2.
pub(super) struct Opening(WebSocketProof);

impl Opening {
    /// Gives a request the form of HTTP/1.1. `None`: it opens no web socket and stays as it is.
    pub(super) fn of<B>(request: &mut Request<B>) -> Option<Self> {
        let is_web_socket = request.version() == Version::HTTP_2
            && request.method() == Method::CONNECT
            && request
                .extensions()
                .get::<Protocol>()
                .is_some_and(|protocol| protocol.as_str() == WEB_SOCKET);
        if !is_web_socket {
            return None;
        }
        let mut key = [0; 16];
        if let Err(error) = getrandom::fill(&mut key) {
            tracing::error!(%error, "a web socket over HTTP/2 cannot be opened: there are no random numbers");
            return None;
        }
        let key = STANDARD.encode(key);
        let proof = WebSocketProof(proof_of(&key));

        *request.method_mut() = Method::GET;
        *request.version_mut() = Version::HTTP_11;
        request.extensions_mut().remove::<Protocol>();
        request.extensions_mut().insert(proof.clone());
        let headers = request.headers_mut();
        headers.remove(CONTENT_LENGTH);
        headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
        headers.insert(UPGRADE, HeaderValue::from_static(WEB_SOCKET));
        // HTTP/2 has no key: this one is for an HTTP/1.1 server behind.
        headers.insert(
            SEC_WEBSOCKET_KEY,
            HeaderValue::from_str(&key).expect("Base64 is visible ASCII"),
        );
        Some(Self(proof))
    }

    /// Gives the answer the form of HTTP/2, where a success opens the socket.
    ///
    /// A success that does not change the protocol is a 502, and so is a change without the proof:
    /// over HTTP/1.1 the client checks both (RFC 6455 section 4.1), over HTTP/2 it cannot.
    pub(super) fn answer<B>(&self, mut answer: Response<B>) -> Response<B> {
        let status = answer.status();
        let is_changed = status == StatusCode::SWITCHING_PROTOCOLS;
        if is_changed && self.0.is_in(answer.headers()) {
            *answer.status_mut() = StatusCode::OK;
        } else if is_changed || status.is_success() {
            tracing::debug!(%status, "an answer did not open the web socket");
            *answer.status_mut() = StatusCode::BAD_GATEWAY;
        }

        if is_changed {
            for name in OF_HTTP1 {
                answer.headers_mut().remove(name);
            }
        }

        answer
    }
}

/// The `Sec-WebSocket-Accept` to a `Sec-WebSocket-Key` (RFC 6455 section 4.2.2).
fn proof_of(key: &str) -> String {
    let digest = Sha1::new()
        .chain_update(key)
        .chain_update(PROOF_SUFFIX)
        .finalize();
    STANDARD.encode(digest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn connect(protocol: Option<&'static str>) -> Request<()> {
        let request = Request::builder()
            .method(Method::CONNECT)
            .version(Version::HTTP_2)
            .uri("/live?x=1");
        let mut request = request
            .header(SEC_WEBSOCKET_KEY, "of-the-client")
            .body(())
            .unwrap();
        if let Some(protocol) = protocol {
            request
                .extensions_mut()
                .insert(Protocol::from_static(protocol));
        }
        request
    }

    fn answer(status: StatusCode, proof: &str) -> Response<()> {
        let answer = Response::builder()
            .status(status)
            .header(UPGRADE, WEB_SOCKET);
        answer
            .header(CONNECTION, "Upgrade")
            .header(SEC_WEBSOCKET_ACCEPT, proof)
            .body(())
            .unwrap()
    }

    #[test]
    fn proof_is_that_of_the_standard() {
        assert_eq!(
            proof_of("dGhlIHNhbXBsZSBub25jZQ=="),
            "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
        );
    }

    #[test]
    fn request_that_opens_a_web_socket_has_the_form_of_http1() {
        let mut request = connect(Some(WEB_SOCKET));
        let opening = Opening::of(&mut request).expect("it opens a web socket");
        assert_eq!(
            (request.method(), request.version()),
            (&Method::GET, Version::HTTP_11)
        );
        assert_eq!(request.uri(), "/live?x=1");
        let headers = request.headers();
        assert_eq!(headers[CONNECTION], "Upgrade");
        assert_eq!(headers[UPGRADE], WEB_SOCKET);
        let keys: Vec<_> = headers.get_all(SEC_WEBSOCKET_KEY).iter().collect();
        assert_eq!(keys.len(), 1);
        assert_eq!(opening.0.0, proof_of(keys[0].to_str().unwrap()));
        assert!(request.extensions().get::<WebSocketProof>().is_some());

        for other in [None, Some("connect-udp"), Some("WebSocket "), Some("")] {
            let mut request = connect(other);
            assert!(Opening::of(&mut request).is_none(), "{other:?}");
            assert!(
                *request.method() == Method::CONNECT && !request.headers().contains_key(UPGRADE)
            );
        }
    }

    #[test]
    fn only_a_proven_change_of_the_protocol_is_a_success() {
        let opening = Opening(WebSocketProof("proof".to_owned()));
        let status = |status, proof| opening.answer(answer(status, proof)).status();
        let opened = opening.answer(answer(StatusCode::SWITCHING_PROTOCOLS, "proof"));
        assert_eq!(
            (opened.status(), opened.headers().len()),
            (StatusCode::OK, 0)
        );
        assert_eq!(
            status(StatusCode::SWITCHING_PROTOCOLS, "other"),
            StatusCode::BAD_GATEWAY
        );
        for success in [StatusCode::OK, StatusCode::NO_CONTENT] {
            assert_eq!(status(success, "proof"), StatusCode::BAD_GATEWAY);
        }
        for refusal in [
            StatusCode::FOUND,
            StatusCode::UNAUTHORIZED,
            StatusCode::SERVICE_UNAVAILABLE,
        ] {
            assert_eq!(status(refusal, ""), refusal);
        }
    }
}
