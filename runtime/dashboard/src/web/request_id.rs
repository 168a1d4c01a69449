//! `X-Request-Id`: taken over from a trusted proxy and from a program on this machine, and made for
//! every other request.

use super::client::peer_of;
use super::site::Reached;
use axum::extract::Request;
use portcullis_observe::request_id::RequestId;

/// Returns the id of a request, and puts it in the place of what the header said. `None`: the
/// system gives no random numbers.
pub(super) fn assign(request: &mut Request, reached: &Reached) -> Option<RequestId> {
    let may_choose = reached.is_proxied || peer_of(request).is_some_and(|peer| peer.is_loopback());
    RequestId::assign(request.headers_mut(), may_choose)
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::Body;
    use portcullis_net::listen::Peer;
    use portcullis_observe::request_id::REQUEST_ID;

    fn id_of(peer: &str, is_proxied: bool, sent: &[&str]) -> String {
        let mut request = Request::new(Body::empty());
        request.extensions_mut().insert(Peer(Some(
            (peer.parse::<std::net::IpAddr>().unwrap(), 1).into(),
        )));
        for id in sent {
            request
                .headers_mut()
                .append(REQUEST_ID, id.parse().unwrap());
        }
        let reached = Reached {
            authority: None,
            https: None,
            is_proxied,
        };
        let id = assign(&mut request, &reached).unwrap();
        let values: Vec<_> = request
            .headers()
            .get_all(REQUEST_ID)
            .iter()
            .cloned()
            .collect();
        assert_eq!(values, [id.to_header()]);
        id.as_str().to_owned()
    }

    #[test]
    fn senders_that_are_believed_choose_the_id() {
        assert_eq!(id_of("127.0.0.1", false, &["abc-1"]), "abc-1");
        assert_eq!(id_of("192.0.2.1", true, &["abc-1"]), "abc-1");
        for (peer, sent) in [
            ("192.0.2.1", &["abc-1"][..]),
            ("127.0.0.1", &["a b"]),
            ("127.0.0.1", &["a", "b"]),
            ("127.0.0.1", &[]),
        ] {
            let id = id_of(peer, false, sent);
            assert!(
                id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit()),
                "{id}"
            );
        }
    }
}
