//! One accepted connection until its end: the TLS handshake, and then HTTP/1.1 or HTTP/2.

use super::connections::{
    Connection, ConnectionSlot, Exchange, Look, Patience, WatchedAnswerBody, WatchedRequestBody,
    WatchedStream,
};
use super::protocol_change::ProtocolChange;
use super::web_socket::Opening;
use super::{Answering, ConnectionLimits, OverTls, Peer, ResponseBody};
use crate::tls::{CHALLENGE_PROTOCOL, ClientCertificate, TlsServer};
use crate::tls_error::cause_in_words;
use http::header::{CONNECTION, EXPECT, HOST, UPGRADE};
use http::uri::{PathAndQuery, Scheme};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, Uri, Version};
use hyper::body::{Body, Incoming};
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::sync::watch;
use tokio_io_timeout::TimeoutStream;
use tower::ServiceExt;

/// Longest head of a request over HTTP/1.1, and most that is buffered of one.
const MAX_HEAD_BYTES: usize = 128 * 1024;
/// The same for the decompressed fields of an HTTP/2 request, each counted with 32 bytes more (RFC
/// 9113 section 6.5.2).
const MAX_HEADER_LIST_BYTES: u32 = 64 * 1024;
/// Most requests at once on one HTTP/2 connection.
const MAX_STREAMS: u32 = 128;
/// What an HTTP/2 peer may send ahead of the handlers: of one body, and of all bodies of a
/// connection.
const STREAM_WINDOW_BYTES: u32 = 64 * 1024;
const CONNECTION_WINDOW_BYTES: u32 = 256 * 1024;
/// Most of one answer that waits for the HTTP/2 peer.
const MAX_SEND_BUFFER_BYTES: usize = 64 * 1024;
/// Between two pings while HTTP/2 requests are in flight, and how long an answer to one may take.
const PING_INTERVAL: Duration = Duration::from_secs(20);
/// How an HTTP/2 client names the protocol in its TLS handshake (RFC 9113 section 3.2).
const H2: &[u8] = b"h2";

/// The settings of HTTP/1.1 and HTTP/2 on a connection.
pub(super) struct HttpProtocol {
    one: http1::Builder,
    two: http2::Builder<TokioExecutor>,
    header_timeout: Duration,
    idle_timeout: Duration,
    write_timeout: Duration,
}

impl HttpProtocol {
    pub(super) fn new(limits: &ConnectionLimits) -> Self {
        let mut one = http1::Builder::new();
        // It begins at the end of the last answer, so it bounds the wait for the next request.
        let read_timeout = limits.idle_timeout.max(limits.header_timeout);
        one.timer(TokioTimer::new())
            .header_read_timeout(read_timeout)
            .max_buf_size(MAX_HEAD_BYTES);

        // hyper and h2 bound floods of resets themselves (CVE-2023-44487, CVE-2025-8671).
        let mut two = http2::Builder::new(TokioExecutor::new());
        two.timer(TokioTimer::new())
            .max_concurrent_streams(MAX_STREAMS)
            .max_header_list_size(MAX_HEADER_LIST_BYTES)
            .initial_stream_window_size(STREAM_WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
            .max_send_buf_size(MAX_SEND_BUFFER_BYTES)
            .enable_connect_protocol()
            .keep_alive_interval(PING_INTERVAL)
            .keep_alive_timeout(PING_INTERVAL);
        Self {
            one,
            two,
            header_timeout: limits.header_timeout,
            idle_timeout: limits.idle_timeout,
            write_timeout: limits.write_timeout,
        }
    }
}

/// A connection that has a slot.
pub(super) struct Accepted<S> {
    pub(super) http: Arc<HttpProtocol>,
    pub(super) service: S,
    pub(super) peer: Peer,
    pub(super) place: Arc<ConnectionSlot>,
    pub(super) closed: watch::Receiver<bool>,
}

/// What the requests of a connection share.
struct ConnectionShared {
    peer: Peer,
    is_over_tls: bool,
    client: Option<ClientCertificate>,
    place: Arc<ConnectionSlot>,
    closed: watch::Receiver<bool>,
}

/// Why a connection ends before its peer ends it.
enum Cut {
    /// Another one needs the room, or the peer is too slow.
    AtOnce,
    /// It has been idle for too long.
    Idle,
}

impl<S> Accepted<S> {
    /// Serves the connection until its end.
    pub(super) async fn run<IO, B>(mut self, stream: IO, tls: Option<TlsServer>)
    where
        IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
        S: Answering<B>,
        B: ResponseBody,
    {
        let mut stream = TimeoutStream::new(stream);
        stream.set_write_timeout(Some(self.http.write_timeout));
        let stream = Box::pin(stream);
        let mut shared = ConnectionShared {
            peer: self.peer,
            is_over_tls: false,
            client: None,
            place: self.place.clone(),
            closed: self.closed.clone(),
        };
        let Some(tls) = tls else {
            return self.speak_http1(stream, shared).await;
        };

        let patience = Patience {
            head: self.http.header_timeout,
            stall: None,
        };
        let shaken = tokio::select! {
            shaken = tls.accept(stream) => shaken,
            _ = cut_off(self.place.connection(), patience) => return,
            () = turned(&mut self.closed) => return,
        };
        let mut stream = match shaken {
            Ok(stream) => stream,
            Err(error) => {
                let why = cause_in_words(&error).unwrap_or_else(|| error.to_string());
                tracing::debug!(error = why, "a TLS handshake failed");
                return;
            }
        };
        if stream.get_ref().1.alpn_protocol() == Some(CHALLENGE_PROTOCOL) {
            tracing::debug!("a client looked at the answer to an ACME challenge");
            let _ = stream.shutdown().await;
            return;
        }
        let (_, session) = stream.get_ref();
        shared.is_over_tls = true;
        shared.client = session.peer_certificates().and_then(ClientCertificate::of);
        if let Some(client) = &shared.client {
            tracing::debug!(
                subject = client.subject,
                sha256 = client.sha256,
                "a client presented a certificate"
            );
        }
        let is_http2 = session.alpn_protocol() == Some(H2);
        match is_http2 {
            true => self.speak_http2(stream, shared).await,
            false => self.speak_http1(stream, shared).await,
        }
    }

    async fn speak_http1<IO, B>(mut self, stream: IO, shared: ConnectionShared)
    where
        IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
        S: Answering<B>,
        B: ResponseBody,
    {
        let patience = Patience {
            head: self.http.header_timeout,
            stall: None,
        };
        let stream = TokioIo::new(WatchedStream::new(stream, self.place.connection().clone()));
        let service = answering(self.service, shared);
        let served = self.http.one.serve_connection(stream, service);
        let mut served = pin!(served.with_upgrades());
        let ended = tokio::select! {
            ended = served.as_mut() => ended,
            _ = cut_off(self.place.connection(), patience) => Ok(()),
            () = turned(&mut self.closed) => {
                self.place.connection().stop_lingering();
                served.as_mut().graceful_shutdown();
                served.await
            }
        };

        note(ended);
    }

    async fn speak_http2<IO, B>(mut self, stream: IO, shared: ConnectionShared)
    where
        IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
        S: Answering<B>,
        B: ResponseBody,
    {
        let idle_timeout = self.http.idle_timeout;
        let patience = Patience {
            head: self.http.header_timeout,
            stall: Some(idle_timeout),
        };
        let service = answering(self.service, shared);
        let mut served = pin!(
            self.http
                .two
                .serve_connection(TokioIo::new(stream), service)
        );
        let is_idle = tokio::select! {
            ended = served.as_mut() => return note(ended),
            cut = cut_off(self.place.connection(), patience) => match cut {
                Cut::AtOnce => return,
                Cut::Idle => true,
            },
            () = turned(&mut self.closed) => {
                self.place.connection().stop_lingering();
                false
            }
        };

        // GOAWAY: the client starts no further request, and those in flight are answered (RFC 9113
        // section 6.8).
        served.as_mut().graceful_shutdown();
        if !is_idle {
            return note(served.await);
        }
        tokio::select! {
            // The end of an answer may still be on its way to a slow peer.
            ended = tokio::time::timeout(idle_timeout, served) => note(ended.unwrap_or(Ok(()))),
            () = self.place.connection().must_end() => {}
        }
    }
}

fn note(ended: Result<(), hyper::Error>) {
    if let Err(error) = ended {
        tracing::debug!(%error, "connection ended");
    }
}

/// The service of one connection: counts its requests, and attaches to each what is known of the
/// connection.
fn answering<S, B>(
    service: S,
    shared: ConnectionShared,
) -> impl hyper::service::Service<
    Request<Incoming>,
    Response = Response<WatchedAnswerBody<B>>,
    Error = S::Error,
    Future: Send + 'static,
> + Send
+ 'static
where
    S: Answering<B>,
    B: Body + Send + Unpin + 'static,
{
    service_fn(move |mut request: Request<Incoming>| {
        shared.attach_to(&mut request);
        let is_http1 = request.version() < Version::HTTP_2;
        let opening = Opening::of(&mut request);
        let exchange = Exchange::begin(shared.place.connection(), request.body().is_end_stream());
        shared.attach_change(&mut request, &exchange);
        let awaits_continue =
            request.version() < Version::HTTP_2 && request.headers().contains_key(EXPECT);
        let request = request
            .map(|incoming| WatchedRequestBody::new(incoming, awaits_continue, exchange.clone()));
        let answer = service.clone().oneshot(request);
        async move {
            let mut answer = answer.await?;
            if is_http1 && exchange.ends_connection() {
                announce_end(answer.status(), answer.headers_mut());
            }
            let answer = WatchedAnswerBody::of(answer, exchange);
            Ok::<_, S::Error>(match opening {
                Some(opening) => opening.answer(answer),
                None => answer,
            })
        }
    })
}

/// Says that the connection ends after an answer (RFC 9112 section 9.6), which a client cannot see
/// while it sends a body. After a change of the protocol, another protocol ends it.
fn announce_end(status: StatusCode, headers: &mut HeaderMap) {
    if status != StatusCode::SWITCHING_PROTOCOLS {
        headers.append(CONNECTION, HeaderValue::from_static("close"));
    }
}

impl ConnectionShared {
    fn attach_to(&self, request: &mut Request<Incoming>) {
        name_host(request);
        let extensions = request.extensions_mut();
        extensions.insert(self.peer);
        if self.is_over_tls {
            extensions.insert(OverTls);
        }
        if let Some(client) = &self.client {
            extensions.insert(client.clone());
        }
    }

    fn attach_change(&self, request: &mut Request<Incoming>, exchange: &Arc<Exchange>) {
        if request.headers().contains_key(UPGRADE) {
            let change =
                ProtocolChange::new(exchange.clone(), self.place.clone(), self.closed.clone());
            request.extensions_mut().insert(change);
        }
    }
}

/// Makes a path of a target that is an http URL: in HTTP/2, or in absolute form (RFC 9112 section
/// 3.2.2). Its authority becomes `Host`. If it differs from a `Host` that was sent, the request has
/// two, and is refused as any with two is.
fn name_host<B>(request: &mut Request<B>) {
    let uri = request.uri();
    let is_http = uri
        .scheme()
        .is_some_and(|scheme| *scheme == Scheme::HTTP || *scheme == Scheme::HTTPS);
    let (Some(authority), Some(path), true) = (uri.authority(), uri.path_and_query(), is_http)
    else {
        return;
    };
    let Ok(host) = HeaderValue::from_str(authority.as_str()) else {
        return;
    };
    // An empty path is the root.
    let is_root = path.as_str() == "/";
    let path = if is_root {
        PathAndQuery::from_static("/")
    } else {
        path.clone()
    };
    *request.uri_mut() = Uri::from(path);

    let headers = request.headers_mut();
    if headers.get(HOST) != Some(&host) {
        headers.append(HOST, host);
    }
}

/// Returns when a connection has to end.
async fn cut_off(connection: &Connection, patience: Patience) -> Cut {
    let looks = async {
        loop {
            match connection.look(patience) {
                Look::Next(look) => tokio::time::sleep_until(look).await,
                Look::TooSlow => return Cut::AtOnce,
                Look::TooLongIdle => return Cut::Idle,
            }
        }
    };

    tokio::select! {
        () = connection.must_end() => Cut::AtOnce,
        cut = looks => cut,
    }
}

/// Waits until the server ends, or its sender is gone.
async fn turned(closed: &mut watch::Receiver<bool>) {
    let _ = closed.wait_for(|closed| *closed).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn authority_of_a_target_is_the_host() {
        let hosts = |uri: &str, host: Option<&str>, version| {
            let mut request = Request::builder().uri(uri).version(version);
            if let Some(host) = host {
                request = request.header(HOST, host);
            }
            let mut request = request.body(()).unwrap();
            name_host(&mut request);
            let hosts = request
                .headers()
                .get_all(HOST)
                .iter()
                .map(|host| host.to_str().unwrap().to_owned());
            (request.uri().to_string(), hosts.collect::<Vec<_>>())
        };
        let two = http::Version::HTTP_2;
        let named = |uri: &str, hosts: &[&str]| {
            (
                uri.to_owned(),
                hosts
                    .iter()
                    .map(|host| (*host).to_owned())
                    .collect::<Vec<_>>(),
            )
        };
        assert_eq!(
            hosts("https://a.test/x?y", None, two),
            named("/x?y", &["a.test"])
        );
        assert_eq!(
            hosts("https://a.test/", Some("a.test"), two),
            named("/", &["a.test"])
        );
        assert_eq!(
            hosts("https://a.test/", Some("b.test"), two),
            named("/", &["b.test", "a.test"])
        );
        assert_eq!(hosts("/x", Some("a.test"), two), named("/x", &["a.test"]));
        let one = http::Version::HTTP_11;
        assert_eq!(hosts("/x", Some("a.test"), one), named("/x", &["a.test"]));
        assert_eq!(
            hosts("http://a.test/x", Some("a.test"), one),
            named("/x", &["a.test"])
        );
        assert_eq!(hosts("HTTPS://a.test", None, one), named("/", &["a.test"]));
        assert_eq!(
            hosts("http://a.test?x", None, one),
            named("/?x", &["a.test"])
        );
        assert_eq!(
            hosts("http://a.test/", Some("b.test"), one),
            named("/", &["b.test", "a.test"])
        );
        assert_eq!(
            hosts("ftp://a.test/", Some("a.test"), one),
            named("ftp://a.test/", &["a.test"])
        );
        assert_eq!(
            hosts("a.test:80", Some("a.test"), one),
            named("a.test:80", &["a.test"])
        );
    }
}
