//! The export of spans over OTLP/gRPC, taken by a server that answers what a test sets. The spans
//! themselves are read in `tests/interop/test_traces.py`, by the published service.

use http_body_util::combinators::WithTrailers;
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::header::{HeaderName, HeaderValue};
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper::{HeaderMap, Method, Request, Response, StatusCode, Version};
use hyper_util::rt::{TokioExecutor, TokioIo};
use portcullis_tests::{Home, Process, SOON, eventually, get};
use std::convert::Infallible;
use std::future::{Ready, pending, ready};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::net::{TcpListener, TcpStream};

const EXPORT_PATH: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";
const KEY: &str = "collector-41d7c09be6a25f83";
/// `google.rpc.Status` with `google.rpc.RetryInfo`.
const RETRY_INFO: &str = "CAgaKgoodHlwZS5nb29nbGVhcGlzLmNvbS9nb29nbGUucnBjLlJldHJ5SW5mbw";
/// Says that one span was rejected.
const ONE_REJECTED: &[u8] = &[0, 0, 0, 0, 4, 0x0a, 2, 8, 1];
/// One byte more than is read.
const TOO_LONG: &[u8] = &[0; 64 * 1024 + 1];
const LOSS: &str = "spans are not exported";

type Trailers = Ready<Option<Result<HeaderMap, Infallible>>>;
type Answer = Response<WithTrailers<Full<Bytes>, Trailers>>;
type Fields = &'static [(&'static str, &'static str)];

/// What a call is answered with.
#[derive(Clone, Copy)]
struct Reply {
    status: u16,
    head: Fields,
    body: &'static [u8],
    trailers: Option<Fields>,
}

impl Reply {
    /// An answer with its status behind the message.
    const fn with_trailers(body: &'static [u8], trailers: Fields) -> Self {
        Self {
            status: 200,
            head: &[("content-type", "application/grpc")],
            body,
            trailers: Some(trailers),
        }
    }

    /// An answer without a message.
    const fn with_head(status: u16, head: Fields) -> Self {
        Self {
            status,
            head,
            body: b"",
            trailers: None,
        }
    }

    fn answer(self) -> Answer {
        let trailers = self.trailers.map(|trailers| Ok(fields(trailers)));
        let body = Full::new(Bytes::from_static(self.body)).with_trailers(ready(trailers));
        let mut answer = Response::new(body);
        *answer.status_mut() = StatusCode::from_u16(self.status).expect("a status");
        *answer.headers_mut() = fields(self.head);
        answer
    }
}

fn fields(pairs: Fields) -> HeaderMap {
    let pairs = pairs.iter().map(|&(name, value)| {
        let name = HeaderName::from_static(name);
        (name, HeaderValue::from_static(value))
    });
    pairs.collect()
}

const TAKEN: Reply = Reply::with_trailers(&[0; 5], &[("grpc-status", "0")]);

/// A call that arrived.
#[derive(Clone)]
struct Call {
    /// The number of the connection that it came over.
    connection: usize,
    method: Method,
    path: String,
    version: Version,
    headers: HeaderMap,
    body: Bytes,
}

impl Call {
    fn header(&self, name: &str) -> &str {
        let value = self.headers.get(name);
        value.map_or("", |value| value.to_str().expect("text"))
    }
}

/// What a collector shares with its connections.
struct Desk {
    calls: Mutex<Vec<Call>>,
    /// The answer to each call, of which the last is repeated. `None`: there is none.
    replies: Vec<Option<Reply>>,
}

impl Desk {
    /// Notes a call. Returns what it is answered with.
    fn note(&self, call: Call) -> Option<Reply> {
        let mut calls = self.calls.lock().unwrap_or_else(PoisonError::into_inner);
        calls.push(call);
        let reply = self.replies.get(calls.len() - 1);
        *reply.or(self.replies.last()).expect("a reply is set")
    }
}

/// A server of HTTP/2 in the clear.
struct Collector {
    port: u16,
    desk: Arc<Desk>,
}

impl Collector {
    async fn start(replies: &[Option<Reply>]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("its address").port();
        let desk = Arc::new(Desk {
            calls: Mutex::default(),
            replies: replies.to_vec(),
        });
        tokio::spawn(accept(listener, desk.clone()));
        Self { port, desk }
    }

    fn calls(&self) -> Vec<Call> {
        let calls = self.desk.calls.lock();
        calls.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits until so many calls have arrived.
    fn wait_for(&self, count: usize) -> Vec<Call> {
        eventually("the calls arrive", SOON * 2, || {
            Some(self.calls()).filter(|calls| calls.len() >= count)
        })
    }

    /// Starts a dashboard that exports to it, and sends that a request.
    fn traced(&self, home: &Home) -> Process {
        home.write(
            "portcullis.yaml",
            &format!(
                "dashboard: {{telemetry: {{otlp: {{endpoint: 'http://127.0.0.1:{}', protocol: grpc, \
                 headers: {{x-collector-key: {{env: COLLECTOR_KEY}}}}}}}}}}",
                self.port
            ),
        );
        let dashboard = home.dashboard_with(&["--port", "0"], &[("COLLECTOR_KEY", KEY)]);
        assert_eq!(get(&dashboard.url("/healthz"), &[]).status, 200);
        dashboard
    }
}

async fn accept(listener: TcpListener, desk: Arc<Desk>) {
    for connection in 0.. {
        let (stream, _) = listener.accept().await.expect("descriptors enough");
        tokio::spawn(speak(stream, connection, desk.clone()));
    }
}

async fn speak(stream: TcpStream, connection: usize, desk: Arc<Desk>) {
    let service = service_fn(move |request: Request<Incoming>| {
        let desk = desk.clone();
        async move { Ok::<_, Infallible>(take(request, connection, &desk).await) }
    });
    let builder = http2::Builder::new(TokioExecutor::new());
    // A client may leave as it likes.
    let _ = builder
        .serve_connection(TokioIo::new(stream), service)
        .await;
}

async fn take(request: Request<Incoming>, connection: usize, desk: &Desk) -> Answer {
    let (head, body) = request.into_parts();
    let body = body.collect().await.expect("a whole request").to_bytes();
    let reply = desk.note(Call {
        connection,
        method: head.method,
        path: head.uri.path().to_owned(),
        version: head.version,
        headers: head.headers,
        body,
    });

    match reply {
        Some(reply) => reply.answer(),
        None => pending().await,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn batch_is_one_unary_call_over_http2() {
    let (collector, home) = (Collector::start(&[Some(TAKEN)]).await, Home::new());
    let mut dashboard = collector.traced(&home);
    let call = collector.wait_for(1).remove(0);
    assert_eq!((call.method.as_str(), &*call.path), ("POST", EXPORT_PATH));
    assert_eq!(call.version, Version::HTTP_2);
    assert_eq!(call.header("content-type"), "application/grpc");
    assert_eq!(call.header("te"), "trailers");
    assert_eq!(call.header("x-collector-key"), KEY);

    let (prefix, message) = call.body.split_at(5);
    let length = u32::try_from(message.len()).expect("a short message");
    assert_eq!(prefix[0], 0, "it is not compressed");
    assert_eq!(prefix[1..], length.to_be_bytes());
    let name = b"GET /healthz";
    assert!(message.windows(name.len()).any(|part| part == name));

    assert!(dashboard.terminate().success());
    assert!(!dashboard.log().contains(LOSS), "{}", dashboard.log());
    assert!(!dashboard.log().contains(KEY));
}

#[tokio::test(flavor = "multi_thread")]
async fn batch_is_sent_again_if_the_collector_may_yet_take_it() {
    let unavailable = Reply::with_head(200, &[("grpc-status", "14")]);
    let exhausted = Reply::with_trailers(
        b"",
        &[
            ("grpc-status", "8"),
            ("grpc-status-details-bin", RETRY_INFO),
        ],
    );
    let replies = [Some(unavailable), Some(exhausted), Some(TAKEN)];
    let (collector, home) = (Collector::start(&replies).await, Home::new());
    let mut dashboard = collector.traced(&home);
    let calls = collector.wait_for(3);
    assert!(calls.iter().all(|call| call.body == calls[0].body));
    assert!(calls.iter().all(|call| call.connection == 0));

    assert!(dashboard.terminate().success());
    assert!(!dashboard.log().contains(LOSS), "{}", dashboard.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn spans_that_are_not_taken_are_named_at_the_first_attempt() {
    let ok: Fields = &[("grpc-status", "0")];
    for (reply, why) in [
        (
            Reply::with_trailers(b"", &[("grpc-status", "3")]),
            "answered INVALID_ARGUMENT",
        ),
        (
            Reply::with_head(200, &[("grpc-status", "16")]),
            "answered UNAUTHENTICATED",
        ),
        (
            Reply::with_trailers(b"", &[("grpc-status", "8")]),
            "answered RESOURCE_EXHAUSTED",
        ),
        (
            Reply::with_trailers(&[0; 5], &[("x-other", "0")]),
            "no grpc-status",
        ),
        (Reply::with_head(200, &[]), "no grpc-status"),
        (Reply::with_head(404, &[]), "answered 404"),
        (Reply::with_trailers(TOO_LONG, ok), "longer than 64 KiB"),
        (Reply::with_trailers(ONE_REJECTED, ok), "rejected them"),
    ] {
        let (collector, home) = (Collector::start(&[Some(reply)]).await, Home::new());
        let dashboard = collector.traced(&home);
        let line = eventually(why, SOON, || {
            let log = dashboard.log();
            log.lines()
                .find(|line| line.contains(LOSS))
                .map(str::to_owned)
        });
        assert!(line.contains(why), "{why}: {line}");
        assert_eq!(collector.calls().len(), 1, "{why}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn next_attempt_leaves_a_connection_that_does_not_answer() {
    let (collector, home) = (Collector::start(&[None, Some(TAKEN)]).await, Home::new());
    let mut dashboard = collector.traced(&home);
    let calls = collector.wait_for(2);
    assert_eq!(calls[0].body, calls[1].body);
    assert_ne!(calls[0].connection, calls[1].connection);

    assert!(dashboard.terminate().success());
    assert!(!dashboard.log().contains(LOSS), "{}", dashboard.log());
}
