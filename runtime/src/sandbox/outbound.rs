//! What a provider sends out: only to origins it was granted, only to addresses they may have, and only so much.

use super::address::is_public;
use super::blocking::BlockingShare;
use super::fault::words;
use super::grants::{HttpGrant, Origin};
use super::record::CallRecord;
use http::header::HOST;
use http::{Method, Request, Response};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::dns::Name;
use hyper_util::client::legacy::{Client, Error as ClientError};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use ipnet::IpNet;
use std::error::Error as _;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tower::Service;
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
pub(super) struct HttpPower {
    grants: Arc<[HttpGrant]>,
    client: HttpClient,
}

impl HttpPower {
    pub(super) fn new(grants: &[HttpGrant]) -> Self {
        let grants: Arc<[HttpGrant]> = grants.into();
        let mut connector = HttpConnector::new_with_resolver(GuardedResolver {
            grants: grants.clone(),
            threads: BlockingShare::default(),
        });
        connector.enforce_http(false);
        connector.set_nodelay(true);
        connector.set_connect_timeout(Some(CONNECT_TIMEOUT));
        let connector = HttpsConnectorBuilder::new()
            .with_webpki_roots()
            .https_or_http()
            .enable_http1()
            .wrap_connector(connector);
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_TIMEOUT)
            .pool_max_idle_per_host(MAX_IDLE)
            .http1_max_buf_size(MAX_HEAD_BYTES)
            .build(connector);
        Self { grants, client }
    }

    pub(super) fn grants(&self, origin: &Origin) -> bool {
        self.grants.iter().any(|grant| grant.origin == *origin)
    }
}

/// What one call may still send.
pub(super) struct Outbound {
    power: Option<Arc<HttpPower>>,
    sent: usize,
    record: CallRecord,
}

impl Outbound {
    pub(super) fn new(power: Option<Arc<HttpPower>>, record: CallRecord) -> Self {
        Self { power, sent: 0, record }
    }

    /// May this request go out, and as what? A refusal is told in the call's log field.
    fn admit(&mut self, request: Request<WasiBody>) -> Result<(HttpClient, Request<WasiBody>), Error> {
        let power = self.power.clone().ok_or(Error::HttpRequestDenied)?;
        let refused = |why: &str, error: Error| {
            self.record.refuse(&words(format_args!("refused a request to {}: {why}", request.uri())));
            Err(error)
        };
        if self.sent >= MAX_REQUESTS {
            return refused(&format!("{MAX_REQUESTS} requests a call"), Error::ConnectionLimitReached);
        }
        // Tunnels, and the forms of a request line that a proxy would forward.
        let path = request.uri().path();
        if request.method() == Method::CONNECT || !(path.starts_with('/') || path == "*") {
            return refused("no tunnel, no absolute form", Error::HttpRequestUriInvalid);
        }
        let Some(origin) = Origin::of(request.uri()) else {
            return refused("it has no plain origin", Error::HttpRequestUriInvalid);
        };
        let Some(grant) = power.grants.iter().find(|grant| grant.origin == origin) else {
            return refused("its origin is not among grants.http", Error::HttpRequestDenied);
        };
        self.sent += 1;
        Ok((power.client.clone(), prepare(request, grant)))
    }
}

/// The host's own headers replace the guest's of the same name; the authority that is sent is the one that was
/// checked.
fn prepare(request: Request<WasiBody>, grant: &HttpGrant) -> Request<WasiBody> {
    let (mut parts, body) = request.into_parts();
    parts.headers.remove(HOST);
    for (name, value) in &grant.headers {
        parts.headers.insert(name, value.clone());
    }
    let body = Limited::new(body, MAX_REQUEST_BYTES).map_err(|error| match error.downcast::<Error>() {
        Ok(error) => *error,
        Err(_) => Error::HttpRequestBodySize(Some(MAX_REQUEST_BYTES as u64)),
    });
    Request::from_parts(parts, body.boxed_unsync())
}

async fn send(client: HttpClient, request: Request<WasiBody>) -> Result<Response<WasiBody>, Error> {
    let response = client.request(request).await.map_err(|error| name(&error))?;
    Ok(response.map(|body| {
        let bounded = Limited::new(body, MAX_RESPONSE_BYTES);
        bounded.map_err(|error| response_error(error.as_ref())).boxed_unsync()
    }))
}

fn response_error(error: &(dyn std::error::Error + 'static)) -> Error {
    if error.is::<LengthLimitError>() {
        return Error::HttpResponseBodySize(Some(MAX_RESPONSE_BYTES as u64));
    }
    Error::HttpResponseIncomplete
}

/// What a guest is told of a request that failed.
fn name(error: &ClientError) -> Error {
    let mut source = error.source();
    while let Some(cause) = source {
        if cause.is::<PrivateAddress>() {
            return Error::DestinationIpProhibited;
        }
        source = match cause.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
            Some(inner) => Some(inner),
            None => cause.source(),
        };
    }
    if error.is_connect() { Error::ConnectionRefused } else { Error::ConnectionTerminated }
}

type Sent = (Response<WasiBody>, Box<dyn Future<Output = Result<(), Error>> + Send>);

impl WasiHttpHooks for Outbound {
    fn send_request(
        &mut self,
        request: Request<WasiBody>,
        options: Option<RequestOptions>,
        _: Box<dyn Future<Output = Result<(), Error>> + Send>,
    ) -> Box<dyn Future<Output = Result<Sent, Error>> + Send> {
        let record = self.record.clone();
        let target = request.uri().to_string();
        let admitted = self.admit(request);
        let patience = options.and_then(|options| options.first_byte_timeout).unwrap_or(Duration::MAX);
        Box::new(async move {
            let (client, request) = admitted?;
            let response = match tokio::time::timeout(patience, send(client, request)).await {
                Ok(Err(Error::DestinationIpProhibited)) => {
                    let why = "its name leads to an address that is not public (see `networks`)";
                    record.refuse(&words(format_args!("refused a request to {target}: {why}")));
                    return Err(Error::DestinationIpProhibited);
                }
                Ok(response) => response?,
                Err(_) => return Err(Error::ConnectionReadTimeout),
            };
            let nothing_more: Box<dyn Future<Output = Result<(), Error>> + Send> = Box::new(async { Ok(()) });
            Ok((response, nothing_more))
        })
    }

    fn p2_outgoing_body_chunk_size(&mut self) -> usize {
        CHUNK_BYTES
    }
}

/// A name that leads into a network that was not granted.
#[derive(Debug, thiserror::Error)]
#[error("{name} leads to {address}, which is not on the public Internet (grant the origin with `networks`)")]
struct PrivateAddress {
    name: String,
    address: SocketAddr,
}

/// Resolves a name once, and hands the connector nothing but the addresses that it checked.
#[derive(Clone)]
struct GuardedResolver {
    grants: Arc<[HttpGrant]>,
    threads: BlockingShare,
}

impl Service<Name> for GuardedResolver {
    type Response = std::vec::IntoIter<SocketAddr>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let Self { grants, threads } = self.clone();
        Box::pin(async move {
            let asked = name.clone();
            let resolved = threads.run(move || (asked.as_str(), 0).to_socket_addrs()).await;
            let found: Vec<_> = resolved.map_err(io::Error::other)??.collect();
            let networks = networks_of(&grants, name.as_str());
            match found.iter().find(|address| !may_lead_to(address, &networks)) {
                Some(&address) => {
                    let refused = PrivateAddress { name: name.as_str().to_owned(), address };
                    Err(io::Error::other(refused))
                }
                None => Ok(found.into_iter()),
            }
        })
    }
}

/// Where beside the public Internet a granted name may lead. `localhost` is this machine by definition
/// (RFC 6761 section 6.3): who grants it means just that.
fn networks_of(grants: &[HttpGrant], name: &str) -> Vec<IpNet> {
    let is_named = |grant: &&HttpGrant| grant.origin.name().is_some_and(|own| own.eq_ignore_ascii_case(name));
    let mut networks: Vec<_> =
        grants.iter().filter(is_named).flat_map(|grant| grant.networks.clone()).collect();
    if name.eq_ignore_ascii_case("localhost") && grants.iter().any(|grant| is_named(&grant)) {
        networks
            .extend([IpAddr::from(Ipv4Addr::LOCALHOST), IpAddr::from(Ipv6Addr::LOCALHOST)].map(IpNet::from));
    }
    networks
}

fn may_lead_to(address: &SocketAddr, networks: &[IpNet]) -> bool {
    let ip = address.ip();
    is_public(ip) || networks.iter().any(|network| network.contains(&ip))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grants(networks: &[&str]) -> Vec<HttpGrant> {
        let networks = networks.iter().map(|network| network.parse().unwrap()).collect();
        let idp = HttpGrant { networks, ..HttpGrant::of(Origin::parse("https://idp.example.com").unwrap()) };
        vec![idp, HttpGrant::of(Origin::parse("http://localhost:9000").unwrap())]
    }

    fn may(grants: &[HttpGrant], name: &str, address: &str) -> bool {
        may_lead_to(&SocketAddr::new(address.parse().unwrap(), 0), &networks_of(grants, name))
    }

    #[test]
    fn granted_name_leads_to_the_public_internet_alone() {
        let grants = grants(&[]);
        assert!(may(&grants, "idp.example.com", "8.8.8.8"));
        for private in ["127.0.0.1", "10.0.0.1", "169.254.169.254", "::1", "::ffff:127.0.0.1"] {
            assert!(!may(&grants, "idp.example.com", private), "{private}");
        }
        assert!(may(&grants, "localhost", "127.0.0.1") && may(&grants, "LOCALHOST", "::1"));
        assert!(!may(&grants, "localhost", "10.0.0.1"));
    }

    #[test]
    fn granted_network_opens_that_name_alone() {
        let grants = grants(&["10.0.0.0/8"]);
        assert!(may(&grants, "idp.example.com", "10.1.2.3"));
        assert!(!may(&grants, "idp.example.com", "192.168.0.1"));
        assert!(!may(&grants, "localhost", "10.1.2.3"));
    }
}
