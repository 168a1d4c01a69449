//! Requests of a provider: only to granted origins, only to addresses that these may have, and
//! within bounds.

mod body;
mod cause;
mod report;
mod resolver;
mod tls;

pub use resolver::address_not_granted;
pub(crate) use tls::PublicTls;

use self::cause::Cause;
use self::report::{Failures, RequestedOrigin};
use self::resolver::GuardedResolver;
use crate::call::record::CallRecord;
use crate::guest_text::words;
use crate::host::grants::{HttpGrant, Origin};
use http::header::{AUTHORIZATION, HOST};
use http::{HeaderValue, Method, Request, Response, Uri};
use http_body_util::{BodyExt, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::{HttpConnector, capture_connection};
use hyper_util::client::legacy::{Client, Error as ClientError};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use portcullis_auth::ProviderName;
use rustls::{ClientConfig, RootCertStore};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use wasmtime_wasi_http::{Error, RequestOptions, WasiBody, WasiHttpHooks};

/// Requests of one call.
pub const MAX_REQUESTS: usize = 8;
/// The body of one request.
pub const MAX_REQUEST_BYTES: usize = 64 * 1024;
/// The body of one response.
pub const MAX_RESPONSE_BYTES: usize = 1024 * 1024;
/// One write to a body, and so what one host call lifts out of the guest.
const CHUNK_BYTES: usize = 16 * 1024;
/// The head of a response on the wire.
const MAX_HEAD_BYTES: usize = 32 * 1024;
const CONNECT_TIMEOUT: Duration = Duration::from_millis(1_000);
/// Connections that are kept open to one origin.
const MAX_IDLE: usize = 4;
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);

type HttpClient = Client<HttpsConnector<HttpConnector<GuardedResolver>>, WasiBody>;

/// What all calls of one provider share: its grants, and the connections that are kept open.
pub(crate) struct HttpCapability {
    granted: Vec<GrantedOrigin>,
    failures: Arc<Failures>,
}

/// A granted origin, and the client that trusts its authorities.
struct GrantedOrigin {
    grant: HttpGrant,
    client: HttpClient,
}

impl HttpCapability {
    /// Prepares the clients. Blocks while it reads the system's authorities, if an https origin has
    /// none of its own.
    pub(crate) fn new(
        provider: ProviderName,
        grants: &[HttpGrant],
        public_tls: &PublicTls,
    ) -> Self {
        let resolver = GuardedResolver::new(grants);
        let needs_public = grants
            .iter()
            .any(|grant| grant.origin.is_https() && grant.ca.is_none());
        let shared_tls = match needs_public {
            true => public_tls.settings(),
            false => tls::trusting(RootCertStore::empty()),
        };
        let shared = client(resolver.clone(), shared_tls);

        let with_client = |grant: &HttpGrant| {
            let client = match &grant.ca {
                Some(ca) => client(resolver.clone(), tls::trusting(ca.store())),
                None => shared.clone(),
            };
            GrantedOrigin {
                grant: grant.clone(),
                client,
            }
        };

        let granted = grants.iter().map(with_client).collect();
        Self {
            granted,
            failures: Arc::new(Failures::new(provider)),
        }
    }

    fn granted(&self, origin: &Origin) -> Option<&GrantedOrigin> {
        self.granted
            .iter()
            .find(|granted| granted.grant.origin == *origin)
    }

    pub(crate) fn grants(&self, origin: &Origin) -> bool {
        self.granted(origin).is_some()
    }
}

fn client(resolver: GuardedResolver, tls: ClientConfig) -> HttpClient {
    let mut connector = HttpConnector::new_with_resolver(resolver);
    connector.enforce_http(false);
    connector.set_nodelay(true);
    connector.set_connect_timeout(Some(CONNECT_TIMEOUT));

    let connector = HttpsConnectorBuilder::new()
        .with_tls_config(tls)
        .https_or_http()
        .enable_http1()
        .wrap_connector(connector);

    Client::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(IDLE_TIMEOUT)
        .pool_max_idle_per_host(MAX_IDLE)
        .http1_max_buf_size(MAX_HEAD_BYTES)
        .build(connector)
}

/// What one call may still send.
pub(crate) struct Outbound {
    capability: Option<Arc<HttpCapability>>,
    sent: usize,
    record: CallRecord,
}

/// A request that may go out, and how.
struct GrantedRequest {
    client: HttpClient,
    request: Request<WasiBody>,
    asked: RequestedOrigin,
    record: CallRecord,
    limits: WaitLimits,
}

/// How long the provider wants to wait.
#[derive(Clone, Copy)]
struct WaitLimits {
    connect: Duration,
    first_byte: Duration,
    between_bytes: Duration,
}

impl WaitLimits {
    /// What the provider leaves open is bounded by the deadline of its call.
    fn of(options: Option<RequestOptions>) -> Self {
        let given = |limit: fn(&RequestOptions) -> Option<Duration>| {
            options.as_ref().and_then(limit).unwrap_or(Duration::MAX)
        };
        Self {
            connect: given(|options| options.connect_timeout),
            first_byte: given(|options| options.first_byte_timeout),
            between_bytes: given(|options| options.between_bytes_timeout),
        }
    }
}

impl Outbound {
    pub(crate) fn new(capability: Option<Arc<HttpCapability>>, record: CallRecord) -> Self {
        Self {
            capability,
            sent: 0,
            record,
        }
    }

    /// Decides whether a request may go out, and in which form. A refusal is written to the call's
    /// log field.
    fn admit(
        &mut self,
        request: Request<WasiBody>,
        limits: WaitLimits,
    ) -> Result<GrantedRequest, Error> {
        let capability = self.capability.clone().ok_or(Error::HttpRequestDenied)?;
        let refused = |why: &str, cause: &Cause| {
            self.record.refuse(&words(format_args!(
                "refused a request to {}: {why}",
                request.uri()
            )));
            RequestedOrigin::new(&capability.failures, &target_of(request.uri()), false).fail(cause)
        };

        if self.sent >= MAX_REQUESTS {
            return Err(refused(
                &format!("{MAX_REQUESTS} requests per call"),
                &Cause::TooManyRequests,
            ));
        }
        // Tunnels, and the forms of a request line that a proxy would forward.
        let path = request.uri().path();
        if request.method() == Method::CONNECT || !(path.starts_with('/') || path == "*") {
            let why = "no tunnel, no absolute form";
            return Err(refused(why, &Cause::BadForm(why)));
        }

        let Some(origin) = Origin::of(request.uri()) else {
            let why = "it has no plain origin";
            return Err(refused(why, &Cause::BadForm(why)));
        };
        let Some(granted) = capability.granted(&origin) else {
            return Err(refused(
                "its origin is not among grants.http",
                &Cause::NotGranted,
            ));
        };

        self.sent += 1;
        Ok(GrantedRequest {
            client: granted.client.clone(),
            asked: RequestedOrigin::new(
                &capability.failures,
                &target_of(request.uri()),
                granted.grant.ca.is_some(),
            ),
            request: prepare(request, &granted.grant),
            record: self.record.clone(),
            limits,
        })
    }
}

/// The origin of an address, as it is shown to people.
fn target_of(uri: &Uri) -> String {
    match (Origin::of(uri), uri.host()) {
        (Some(origin), _) => words(origin),
        (None, Some(host)) => words(host),
        (None, None) => "an address without a host".to_owned(),
    }
}

fn is_bearer(authorization: &HeaderValue) -> bool {
    let scheme = authorization.as_bytes().get(..7);
    scheme.is_some_and(|scheme| scheme.eq_ignore_ascii_case(b"bearer "))
}

/// The host's own headers replace the guest's of the same name, but for a bearer token: an endpoint
/// that takes the token of a person (userinfo) may stand at the origin where the host proves who
/// the client is. The authority that is sent is the one that was checked.
fn prepare(request: Request<WasiBody>, grant: &HttpGrant) -> Request<WasiBody> {
    let (mut parts, body) = request.into_parts();
    parts.headers.remove(HOST);

    let has_bearer = parts.headers.get(AUTHORIZATION).is_some_and(is_bearer);
    for (name, value) in &grant.headers {
        let is_outdone = has_bearer && *name == AUTHORIZATION && !is_bearer(value);
        if !is_outdone {
            parts.headers.insert(name, value.clone());
        }
    }

    let body =
        Limited::new(body, MAX_REQUEST_BYTES).map_err(|error| match error.downcast::<Error>() {
            Ok(error) => *error,
            Err(_) => Error::HttpRequestBodySize(Some(MAX_REQUEST_BYTES as u64)),
        });
    Request::from_parts(parts, body.boxed_unsync())
}

impl GrantedRequest {
    /// Sends the request. A failure is reported to the operator.
    async fn send(self) -> Result<Response<WasiBody>, Error> {
        let target = self.request.uri().to_string();
        let wait = self.asked.wait();
        let response = exchange(&self.client, self.request, self.limits).await;
        wait.over();
        let response = response.map_err(|cause| {
            if matches!(cause, Cause::PrivateAddress(_)) {
                let why = "its name leads to an address that is not public (see `networks`)";
                self.record
                    .refuse(&words(format_args!("refused a request to {target}: {why}")));
            }
            self.asked.fail(&cause)
        })?;

        Ok(response.map(|body| body::bounded(body, self.limits.between_bytes, self.asked.clone())))
    }
}

/// One request and the head of its response.
async fn exchange(
    client: &HttpClient,
    mut request: Request<WasiBody>,
    limits: WaitLimits,
) -> Result<Response<body::Received>, Cause> {
    let mut connection = capture_connection(&mut request);
    let mut response = pin!(client.request(request));

    let connected = async { drop(connection.wait_for_connection_metadata().await) };
    let early = tokio::select! {
        biased;
        response = &mut response => Some(response),
        () = connected => None,
        () = tokio::time::sleep(limits.connect) => return Err(Cause::SlowConnection),
    };

    let response = match early {
        Some(response) => response,
        None => tokio::time::timeout(limits.first_byte, response)
            .await
            .map_err(|_| Cause::SlowHead)?,
    };

    let response = response.map_err(|error| Cause::of_request(&error))?;
    Ok(response.map(|body| body.map_err(Into::into).boxed_unsync()))
}

type Sent = (
    Response<WasiBody>,
    Box<dyn Future<Output = Result<(), Error>> + Send>,
);

impl WasiHttpHooks for Outbound {
    fn send_request(
        &mut self,
        request: Request<WasiBody>,
        options: Option<RequestOptions>,
        _: Box<dyn Future<Output = Result<(), Error>> + Send>,
    ) -> Box<dyn Future<Output = Result<Sent, Error>> + Send> {
        let admitted = self.admit(request, WaitLimits::of(options));
        Box::new(async move {
            let response = admitted?.send().await?;
            let nothing_more: Box<dyn Future<Output = Result<(), Error>> + Send> =
                Box::new(async { Ok(()) });
            Ok((response, nothing_more))
        })
    }

    fn p2_outgoing_body_chunk_size(&mut self) -> usize {
        CHUNK_BYTES
    }
}
