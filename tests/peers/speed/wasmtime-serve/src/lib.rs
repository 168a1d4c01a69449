//! GET /check: 200 if the request carries the one good bearer token, else 401.

use wasip2::exports::http::incoming_handler::Guest;
use wasip2::http::types::{Fields, IncomingRequest, Method, OutgoingBody, OutgoingResponse,
                          ResponseOutparam};

/// Set while compiling: PEER_TOKEN=... cargo build.
const GOOD: &str = match option_env!("PEER_TOKEN") {
    Some(token) => token,
    None => "good-token",
};

struct Check;

wasip2::http::proxy::export!(Check);

impl Guest for Check {
    fn handle(request: IncomingRequest, out: ResponseOutparam) {
        let asked = matches!(request.method(), Method::Get)
            && request.path_with_query().is_some_and(|p| p.split('?').next() == Some("/check"));
        let (status, body) = if !asked {
            (404, "not found")
        } else if is_good(&request.headers().get("authorization")) {
            (200, "ok")
        } else {
            (401, "refused")
        };
        answer(out, status, body);
    }
}

/// One Authorization header, `Bearer` and the good token. std has no constant-time compare: every
/// byte is compared, so the time shows only the length.
fn is_good(values: &[Vec<u8>]) -> bool {
    let [value] = values else { return false };
    let Some((scheme, token)) = value.split_at_checked(7) else { return false };
    scheme.eq_ignore_ascii_case(b"bearer ")
        && token.len() == GOOD.len()
        && token.iter().zip(GOOD.as_bytes()).fold(0, |d, (x, y)| d | (x ^ y)) == 0
}

fn answer(out: ResponseOutparam, status: u16, body: &str) {
    // With a length the host need not send the body in chunks.
    let length = body.len().to_string().into_bytes();
    let headers = Fields::from_list(&[("content-length".into(), length)]).unwrap();
    let response = OutgoingResponse::new(headers);
    response.set_status_code(status).unwrap();
    let outgoing = response.body().unwrap();
    ResponseOutparam::set(out, Ok(response));
    let stream = outgoing.write().unwrap();
    stream.blocking_write_and_flush(body.as_bytes()).unwrap();
    drop(stream); // before its body is finished, or the host traps
    OutgoingBody::finish(outgoing, None).unwrap();
}
