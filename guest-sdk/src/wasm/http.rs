use super::http_error::{words, words_of_stream};
use crate::{Http, HttpRequest, HttpResponse, Unavailable};
use wasip2::http::outgoing_handler::handle;
use wasip2::http::types::{
    Fields, IncomingBody, IncomingResponse, Method, OutgoingBody, OutgoingRequest, RequestOptions,
    Scheme,
};
use wasip2::io::streams::StreamError;

/// One write, and one read.
const CHUNK_BYTES: usize = 4 * 1024;

/// HTTP requests through the host's `wasi:http`.
pub(super) struct HostHttp;

impl Http for HostHttp {
    fn send(&self, request: &HttpRequest) -> Result<HttpResponse, Unavailable> {
        request.check_head()?;
        let failed = |why: &str| Unavailable(format!("{}: {why}", request.url_without_query()));
        let outgoing = prepare(request).ok_or_else(|| failed("no address that can be asked"))?;
        let body = outgoing.body().map_err(|()| failed("no body"))?;
        let answer = handle(outgoing, options(request)).map_err(|code| failed(&words(&code)))?;
        let bytes = request.body.as_ref().map_or(&[][..], |body| &body.bytes);
        // A host that refuses the request, and a server that answers early, stop reading it. The
        // answer says why.
        write(body, bytes);
        answer.subscribe().block();
        let response = answer
            .get()
            .ok_or_else(|| failed("no answer"))?
            .map_err(|()| failed("no answer"))?;
        let response = response.map_err(|code| failed(&words(&code)))?;
        let status = response.status();
        let location = location(&response);
        let body = read(&response).map_err(|why| failed(&why))?;

        Ok(HttpResponse {
            status,
            location,
            body,
        })
    }
}

fn prepare(request: &HttpRequest) -> Option<OutgoingRequest> {
    let (scheme, rest) = request.url.split_once("://")?;
    let scheme = if scheme == "https" {
        Scheme::Https
    } else {
        Scheme::Http
    };
    let path_at = rest.find(['/', '?']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(path_at);
    let path = if path.starts_with('/') {
        path.to_owned()
    } else {
        format!("/{path}")
    };
    let mut headers = vec![("accept".to_owned(), b"application/json".to_vec())];

    if let Some(body) = &request.body {
        headers.push((
            "content-type".to_owned(),
            body.content_type.as_bytes().to_vec(),
        ));
        headers.push((
            "content-length".to_owned(),
            body.bytes.len().to_string().into_bytes(),
        ));
    }

    headers.extend(
        request
            .headers
            .iter()
            .map(|(name, value)| (name.clone(), value.as_bytes().to_vec())),
    );
    let outgoing = OutgoingRequest::new(Fields::from_list(&headers).ok()?);
    outgoing
        .set_method(if request.body.is_some() {
            &Method::Post
        } else {
            &Method::Get
        })
        .ok()?;

    outgoing.set_scheme(Some(&scheme)).ok()?;
    outgoing.set_authority(Some(authority)).ok()?;
    outgoing.set_path_with_query(Some(&path)).ok()?;
    Some(outgoing)
}

fn options(request: &HttpRequest) -> Option<RequestOptions> {
    let nanoseconds = request.timeout_ms?.checked_mul(1_000_000)?;
    let options = RequestOptions::new();
    options.set_connect_timeout(Some(nanoseconds)).ok()?;
    options.set_first_byte_timeout(Some(nanoseconds)).ok()?;
    options.set_between_bytes_timeout(Some(nanoseconds)).ok()?;
    Some(options)
}

fn location(response: &IncomingResponse) -> Option<String> {
    let value = response.headers().get("location").into_iter().next()?;
    String::from_utf8(value).ok()
}

/// Writes the whole body, unless its reader stops before.
fn write(body: OutgoingBody, bytes: &[u8]) {
    let Ok(stream) = body.write() else { return };
    for chunk in bytes.chunks(CHUNK_BYTES) {
        if stream.blocking_write_and_flush(chunk).is_err() {
            return;
        }
    }
    drop(stream);
    let _ = OutgoingBody::finish(body, None);
}

fn read(response: &IncomingResponse) -> Result<Vec<u8>, String> {
    let body = response.consume().map_err(|()| "no answer")?;
    let stream = body.stream().map_err(|()| "no answer")?;
    let mut bytes = Vec::new();
    let complete = loop {
        match stream.blocking_read(CHUNK_BYTES as u64) {
            Ok(chunk) => bytes.extend_from_slice(&chunk),
            Err(StreamError::Closed) => break Ok(()),
            Err(StreamError::LastOperationFailed(failure)) => break Err(words_of_stream(&failure)),
        }
    };

    drop(stream);
    let _ = IncomingBody::finish(body);
    complete.map(|()| bytes)
}
