//! Sends one request through `wasi:http`, and returns `None` where a step of it fails.

use wasip2::http::outgoing_handler::handle;
use wasip2::http::types::{
    Fields, IncomingBody, IncomingResponse, Method, OutgoingRequest, Scheme,
};
use wasip2::io::streams::StreamError;

/// Where a request goes.
#[derive(Clone, Debug)]
pub struct Target {
    /// Host and port.
    pub authority: String,
    /// Path and query.
    pub path: String,
}

/// What came back.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The `Location` header.
    pub location: Option<String>,
    /// How many bytes of the body were read.
    pub length: usize,
}

impl Target {
    /// The root of an `http` origin.
    pub fn of(origin: &str) -> Self {
        let authority = origin
            .trim_start_matches("http://")
            .trim_end_matches('/')
            .to_owned();
        Self {
            authority,
            path: "/".to_owned(),
        }
    }
}

/// Asks, and reads the whole body. `None`: something said no.
pub fn ask(target: &Target) -> Option<Answer> {
    send(&Method::Get, target)
}

/// Asks for a tunnel.
pub fn tunnel(target: &Target) -> Option<Answer> {
    send(&Method::Connect, target)
}

fn send(method: &Method, target: &Target) -> Option<Answer> {
    let request = OutgoingRequest::new(Fields::new());
    request.set_method(method).ok()?;
    request.set_scheme(Some(&Scheme::Http)).ok()?;
    request.set_authority(Some(&target.authority)).ok()?;
    request.set_path_with_query(Some(&target.path)).ok()?;
    let answer = handle(request, None).ok()?;
    answer.subscribe().block();
    let response = answer.get()?.ok()?.ok()?;
    let location = response.headers().get("location").into_iter().next();
    let location = location.and_then(|value| String::from_utf8(value).ok());

    Some(Answer {
        status: response.status(),
        location,
        length: read(&response)?,
    })
}

fn read(response: &IncomingResponse) -> Option<usize> {
    let body = response.consume().ok()?;
    let stream = body.stream().ok()?;
    let mut kept = Vec::new();
    let complete = loop {
        match stream.blocking_read(64 * 1024) {
            Ok(bytes) => kept.extend_from_slice(&bytes),
            Err(StreamError::Closed) => break true,
            Err(StreamError::LastOperationFailed(_)) => break false,
        }
    };

    drop(stream);
    let _ = IncomingBody::finish(body);
    complete.then_some(kept.len())
}
