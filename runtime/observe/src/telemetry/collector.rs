//! Requests to the collector: OTLP with protobuf, over HTTP (OTLP 1, "OTLP/HTTP") or over gRPC
//! (`grpc.rs`).

use super::failure::ExportFailure;
use super::grpc;
use super::settings::{OtlpSettings, Protocol};
use bytes::Bytes;
use http::header::{CONTENT_TYPE, TE, USER_AGENT};
use http::{HeaderMap, HeaderValue, Method, Request, Uri, response};
use http_body_util::{BodyExt, Collected, Full, LengthLimitError, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::{HttpConnector, capture_connection};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use portcullis_net::trust::SystemRoots;
use prost::Message;
use rustls::{ClientConfig, RootCertStore};
use std::time::Duration;
use tokio::time::{Instant, timeout_at};

/// How long one request may take, with the connection.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);
/// How long a connection is kept open for the next batch.
const KEPT_OPEN: Duration = Duration::from_secs(30);
/// Longest answer that is read, in bytes. It says how many spans were rejected, and why.
pub(super) const MAX_ANSWER_BYTES: usize = 64 * 1024;
const PROTOBUF: &str = "application/x-protobuf";
const AGENT: &str = concat!("portcullis/", env!("CARGO_PKG_VERSION"));

type CollectorClient = Client<HttpsConnector<HttpConnector>, Full<Bytes>>;

/// An answer of the collector.
pub(super) struct Answer {
    pub(super) head: response::Parts,
    /// The body with its trailers, or why it was not read to its end.
    pub(super) body: Result<Collected<Bytes>, ExportFailure>,
}

/// A collector of spans.
pub(super) struct Collector {
    client: CollectorClient,
    protocol: Protocol,
    endpoint: Uri,
    headers: HeaderMap,
}

impl Collector {
    /// Prepares the client. Blocks while it reads the system's authorities, if they are needed.
    pub(super) fn new(settings: &OtlpSettings, roots: &SystemRoots) -> Self {
        let protocol = settings.endpoint.protocol();
        let mut headers: HeaderMap = settings.headers.iter().cloned().collect();
        headers.insert(USER_AGENT, HeaderValue::from_static(AGENT));
        match protocol {
            Protocol::Http => {
                headers.insert(CONTENT_TYPE, HeaderValue::from_static(PROTOBUF));
            }
            Protocol::Grpc => {
                headers.insert(CONTENT_TYPE, HeaderValue::from_static(grpc::GRPC));
                headers.insert(TE, HeaderValue::from_static(grpc::TRAILERS));
            }
        }

        Self {
            client: client(protocol, authorities(settings, roots)),
            protocol,
            endpoint: settings.endpoint.uri().clone(),
            headers,
        }
    }

    /// Returns the address for the log.
    pub(super) fn shown(&self) -> String {
        self.endpoint.to_string()
    }

    /// Returns the body of the request that exports a batch.
    pub(super) fn body_of(&self, batch: &ExportTraceServiceRequest) -> Bytes {
        let message = batch.encode_to_vec();
        match self.protocol {
            Protocol::Http => message.into(),
            Protocol::Grpc => grpc::frame(&message),
        }
    }

    /// Posts a batch once. Returns how many of its spans the collector rejected.
    pub(super) async fn post(&self, body: Bytes) -> Result<u64, ExportFailure> {
        let answer = self.exchange(body).await?;
        match self.protocol {
            Protocol::Http => judge(answer),
            Protocol::Grpc => grpc::judge(answer),
        }
    }

    async fn exchange(&self, body: Bytes) -> Result<Answer, ExportFailure> {
        let deadline = Instant::now() + PATIENCE;
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.endpoint.clone();
        *request.headers_mut() = self.headers.clone();

        let used = capture_connection(&mut request);
        // A request over HTTP/2 that is given up leaves its connection to the next one, which then
        // waits as long if the peer has vanished.
        let give_up = || {
            if let Some(connection) = used.connection_metadata().as_ref() {
                connection.poison();
            }
            ExportFailure::Slow
        };

        let sent = timeout_at(deadline, self.client.request(request))
            .await
            .map_err(|_| give_up())?;
        let (head, body) = sent
            .map_err(|error| ExportFailure::of(&error))?
            .into_parts();
        // Read to the end also where it is not needed, so that the connection stays usable.
        let body = Limited::new(body, MAX_ANSWER_BYTES).collect();
        let body = match timeout_at(deadline, body).await {
            Ok(Ok(body)) => Ok(body),
            Ok(Err(error)) if error.is::<LengthLimitError>() => Err(ExportFailure::TooLong),
            Ok(Err(error)) => Err(ExportFailure::of(&*error)),
            Err(_) => Err(give_up()),
        };
        Ok(Answer { head, body })
    }
}

/// Judges an answer over HTTP. Returns how many spans the collector rejected.
fn judge(answer: Answer) -> Result<u64, ExportFailure> {
    let Answer { head, body } = answer;
    if !head.status.is_success() {
        return Err(ExportFailure::Refused(head.status));
    }
    // The status alone says that the spans were taken. A body that is malformed, too long or late
    // changes nothing.
    Ok(body.map_or(0, |body| rejected_spans(&body.to_bytes())))
}

/// Returns how many spans a message says were rejected. None, if it is malformed.
pub(super) fn rejected_spans(message: &[u8]) -> u64 {
    let answer = ExportTraceServiceResponse::decode(message).ok();
    let partial = answer.and_then(|answer| answer.partial_success);
    partial
        .and_then(|partial| u64::try_from(partial.rejected_spans).ok())
        .unwrap_or_default()
}

fn authorities(settings: &OtlpSettings, roots: &SystemRoots) -> RootCertStore {
    match &settings.ca {
        Some(ca) => ca.store(),
        None if settings.endpoint.is_https() => roots.public_store(),
        None => RootCertStore::empty(),
    }
}

/// Makes the client. For gRPC it speaks HTTP/2 alone, without TLS as well ("prior knowledge", RFC
/// 9113, section 3.3).
fn client(protocol: Protocol, authorities: RootCertStore) -> CollectorClient {
    let tls = ClientConfig::builder()
        .with_root_certificates(authorities)
        .with_no_client_auth();
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    tcp.set_nodelay(true);

    let connector = HttpsConnectorBuilder::new()
        .with_tls_config(tls)
        .https_or_http();
    let connector = match protocol {
        Protocol::Http => connector.enable_http1().wrap_connector(tcp),
        Protocol::Grpc => connector.enable_http2().wrap_connector(tcp),
    };

    Client::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(KEPT_OPEN)
        .pool_max_idle_per_host(1)
        .http2_only(protocol == Protocol::Grpc)
        .build(connector)
}
