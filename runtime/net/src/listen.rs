//! Accepting connections: HTTP/1.1, and over TLS also HTTP/2, with slow peers timed out (both
//! ways), their number capped, and a graceful end.
//!
//! **Invariant:** a peer that sends nothing, or sends slowly, costs one bounded slot for a bounded
//! time, and the slot goes to a new connection as soon as one needs it. A TLS handshake is a part
//! of the first head.

mod connections;
mod linger;
mod protocol_change;
mod speak;
mod web_socket;

pub use connections::WatchedRequestBody;
pub use protocol_change::ProtocolChange;
pub use web_socket::WebSocketProof;

use crate::tls::TlsServer;
use connections::{ConnectionSlot, Connections};
use http::Request;
use hyper::body::Body;
use ipnet::IpNet;
use rustix::process::{Resource, getrlimit};
use speak::{Accepted, HttpProtocol};
use std::error::Error;
use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tower::Service;

type BoxError = Box<dyn Error + Send + Sync>;

/// Bounds on the connections of one listener.
#[derive(Clone, Debug)]
pub struct ConnectionLimits {
    /// Most connections at once. One more ends the one that has waited for its peer the longest; if
    /// none does, it waits.
    pub connections: usize,
    /// Most connections of one address (IPv6: of one /64).
    pub connections_per_address: usize,
    /// Peers that stand for many clients, so that they have no limit of their own. Loopback has
    /// none either.
    pub proxies: Vec<IpNet>,
    /// How long the head of a request may take to arrive. It is looked at once in that time, so it
    /// may take twice as long.
    pub header_timeout: Duration,
    /// How long a connection may wait for its next request.
    pub idle_timeout: Duration,
    /// How long a peer may leave what is written to it unread; any progress starts it anew.
    pub write_timeout: Duration,
    /// How long new connections are still answered once the server ends, while any is open. Zero:
    /// none is.
    pub shutdown_notice: Duration,
    /// How long requests in flight may take after that.
    pub shutdown_grace: Duration,
}

/// Most connections where there are descriptors enough.
const MAX_CONNECTIONS: usize = 1024;

/// Longer than nginx and most load balancers keep a connection that they do not use (60 s): the end
/// that closes first must be theirs, or a request is lost that they send at that moment.
const IDLE_TIMEOUT: Duration = Duration::from_secs(75);

/// Between two attempts to make room for a connection.
const ROOM_INTERVAL: Duration = Duration::from_millis(50);

/// Half of the descriptors are for connections. The rest is for files: without any left, the
/// dashboard could not read how the gateway is.
fn room() -> usize {
    let descriptors = getrlimit(Resource::Nofile)
        .current
        .and_then(|limit| usize::try_from(limit).ok());
    descriptors.map_or(usize::MAX, |descriptors| (descriptors / 2).max(1))
}

impl Default for ConnectionLimits {
    fn default() -> Self {
        let connections = MAX_CONNECTIONS.min(room());
        Self {
            connections,
            connections_per_address: quarter(connections),
            proxies: Vec::new(),
            header_timeout: Duration::from_secs(10),
            idle_timeout: IDLE_TIMEOUT,
            write_timeout: Duration::from_secs(20),
            shutdown_notice: Duration::ZERO,
            shutdown_grace: Duration::from_secs(5),
        }
    }
}

fn quarter(connections: usize) -> usize {
    (connections / 4).max(1)
}

impl ConnectionLimits {
    /// The defaults with these numbers of connections, in all and per address, where they are
    /// given.
    ///
    /// Half of the file descriptors is the most in all, and one less than all the most per address,
    /// so that no address shuts out the others.
    pub fn with_connections(in_all: Option<usize>, per_address: Option<usize>) -> Self {
        let defaults = Self::default();
        let wanted = in_all.unwrap_or(defaults.connections);
        let connections = wanted.min(room());
        if connections < wanted {
            tracing::warn!(
                wanted,
                connections,
                "the limit on open files allows fewer connections: half of it is for them"
            );
        }

        let most_per_address = (connections - 1).max(1);
        let per_address = per_address.unwrap_or_else(|| quarter(connections));

        Self {
            connections,
            connections_per_address: per_address.min(most_per_address),
            ..defaults
        }
    }

    /// The address or network whose connections are counted together. `None`: they are not counted.
    fn network_of(&self, peer: Peer) -> Option<IpAddr> {
        let address = peer.0?.ip().to_canonical();
        if address.is_loopback()
            || self
                .proxies
                .iter()
                .any(|network| network.contains(&address))
        {
            return None;
        }

        match address {
            IpAddr::V4(_) => Some(address),
            IpAddr::V6(address) => {
                let [a, b, c, d, ..] = address.segments();
                Some(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into())
            }
        }
    }
}

/// The request came over TLS that ends here. An extension of each such request.
#[derive(Clone, Copy, Debug)]
pub struct OverTls;

/// The other end of a connection; `None` on a Unix socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer(pub Option<SocketAddr>);

/// Something to accept connections from.
pub trait Listener: Send + 'static {
    /// What a connection is read from and written to.
    type Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static;

    /// Waits for the next connection.
    fn accept_one(&self) -> impl Future<Output = io::Result<(Self::Stream, Peer)>> + Send;
}

impl Listener for TcpListener {
    type Stream = tokio::net::TcpStream;

    async fn accept_one(&self) -> io::Result<(Self::Stream, Peer)> {
        let (stream, peer) = self.accept().await?;
        // Answers are small; waiting to fill a packet only delays them.
        stream.set_nodelay(true)?;
        Ok((stream, Peer(Some(peer))))
    }
}

impl Listener for UnixListener {
    type Stream = tokio::net::UnixStream;

    async fn accept_one(&self) -> io::Result<(Self::Stream, Peer)> {
        Ok((self.accept().await?.0, Peer(None)))
    }
}

/// The body of an answer.
pub trait ResponseBody: Body<Data: Send, Error: Into<BoxError>> + Send + Unpin + 'static {}

impl<B: Body<Data: Send, Error: Into<BoxError>> + Send + Unpin + 'static> ResponseBody for B {}

/// A service that answers the requests of connections.
pub trait Answering<B>:
    Service<
        Request<WatchedRequestBody>,
        Response = http::Response<B>,
        Future: Send,
        Error: Into<BoxError>,
    > + Clone
    + Send
    + 'static
{
}

impl<S, B> Answering<B> for S where
    S: Service<
            Request<WatchedRequestBody>,
            Response = http::Response<B>,
            Future: Send,
            Error: Into<BoxError>,
        > + Clone
        + Send
        + 'static
{
}

/// Serves until `closed` turns true and the notice is over, then lets requests in flight finish
/// within the grace. With `tls`, nothing but TLS is understood.
///
/// Each request carries its [`Peer`] as an extension; over TLS also [`OverTls`], and the
/// [`ClientCertificate`](crate::tls::ClientCertificate) if the client presented one. One that asks
/// for another protocol carries a [`ProtocolChange`], and one that opens a web socket over HTTP/2
/// also a [`WebSocketProof`].
pub async fn serve<L, S, B>(
    listener: L,
    tls: Option<TlsServer>,
    service: S,
    limits: ConnectionLimits,
    mut closed: watch::Receiver<bool>,
) where
    L: Listener,
    S: Answering<B>,
    B: ResponseBody,
{
    let slots = Arc::new(Semaphore::new(limits.connections));
    let open = Arc::new(Connections::default());
    let http = Arc::new(HttpProtocol::new(&limits));
    let (end, ended) = watch::channel(false);
    let mut notice_is_over = pin!(async {
        let _ = closed.wait_for(|closed| *closed).await;
        let _ = tokio::time::timeout(limits.shutdown_notice, open.none_is_left()).await;
    });

    loop {
        let accepted = tokio::select! {
            accepted = listener.accept_one() => accepted,
            () = notice_is_over.as_mut() => break,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of descriptors, usually: a moment's pause instead of a busy loop.
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        let network = limits.network_of(peer);
        let has_too_many =
            network.is_some_and(|network| open.count(network) >= limits.connections_per_address);
        if has_too_many && !open.make_room(network) {
            tracing::debug!(
                network = network.map(tracing::field::display),
                "one address has too many connections"
            );
            continue;
        }
        let slot = tokio::select! {
            slot = take_slot(&slots, &open) => slot,
            () = notice_is_over.as_mut() => break,
        };
        let accepted = Accepted {
            http: http.clone(),
            service: service.clone(),
            peer,
            place: Arc::new(ConnectionSlot::new(open.add(network), slot)),
            closed: ended.clone(),
        };
        tokio::spawn(accepted.run(stream, tls.clone()));
    }

    drop(listener);
    end.send_replace(true);
    // All slots are free when no connection is left.
    let all = u32::try_from(limits.connections).unwrap_or(u32::MAX);
    if tokio::time::timeout(limits.shutdown_grace, slots.acquire_many(all))
        .await
        .is_err()
    {
        tracing::warn!("requests in flight outlived the grace");
    }
}

/// Takes a slot. While there is none, connections that wait for their peers make room.
async fn take_slot(slots: &Arc<Semaphore>, open: &Connections) -> Option<OwnedSemaphorePermit> {
    loop {
        if let Ok(slot) = slots.clone().try_acquire_owned() {
            return Some(slot);
        }
        open.make_room(None);
        // If all of them work, one may wait a moment later.
        if let Ok(slot) = tokio::time::timeout(ROOM_INTERVAL, slots.clone().acquire_owned()).await {
            // The semaphore is never closed.
            return slot.ok();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::{Response, StatusCode};
    use http_body_util::Full;
    use hyper::body::Bytes;
    use hyper_util::rt::TokioIo;
    use std::convert::Infallible;
    use std::sync::Mutex;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;
    use tokio::task::JoinHandle;

    const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";

    /// A server of one slot whose every answer is far larger than the buffers between it and its
    /// peer.
    async fn start(limits: ConnectionLimits) -> (SocketAddr, watch::Sender<bool>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (close, closed) = watch::channel(false);
        let service = tower::service_fn(|_| async {
            Ok::<_, Infallible>(Response::new(Full::new(Bytes::from(vec![b'x'; 32 << 20]))))
        });
        tokio::spawn(serve(listener, None, service, limits, closed));
        (address, close)
    }

    async fn read_whole_answer(address: SocketAddr) -> usize {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(REQUEST).await.unwrap();
        let mut answer = Vec::new();
        // Without a free slot there is no answer.
        let read = stream.read_to_end(&mut answer);
        tokio::time::timeout(Duration::from_secs(30), read)
            .await
            .expect("a slot is free")
            .unwrap();
        answer.len()
    }

    #[tokio::test]
    async fn peers_that_do_not_read_or_do_not_write_give_their_slot_back() {
        let limits = ConnectionLimits {
            connections: 1,
            header_timeout: Duration::from_millis(200),
            write_timeout: Duration::from_millis(200),
            ..ConnectionLimits::default()
        };
        let (address, _close) = start(limits).await;
        let mut deaf = TcpStream::connect(address).await.unwrap();
        deaf.write_all(REQUEST).await.unwrap();
        assert!(
            read_whole_answer(address).await > 32 << 20,
            "the deaf peer's slot is free"
        );
        let mut mute = TcpStream::connect(address).await.unwrap();
        mute.write_all(b"GET / HT").await.unwrap();
        assert!(
            read_whole_answer(address).await > 32 << 20,
            "the mute peer's slot is free"
        );
    }

    #[tokio::test]
    async fn connection_that_waits_for_its_peer_makes_room_for_another_at_once() {
        let limits = ConnectionLimits {
            connections: 2,
            ..ConnectionLimits::default()
        };
        let (address, _close) = start(limits).await;
        let mut waiting = Vec::new();
        for start_of_request in [
            "GET / HT",
            "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n",
            "",
        ] {
            let mut stream = TcpStream::connect(address).await.unwrap();
            stream.write_all(start_of_request.as_bytes()).await.unwrap();
            waiting.push(stream);
        }
        // Far shorter than the timeouts of the connections that wait.
        let read = tokio::time::timeout(Duration::from_secs(5), read_whole_answer(address));
        assert!(read.await.expect("there is room") > 32 << 20);
    }

    /// Answers without a look at the body of the request.
    async fn refuse(_: Request<WatchedRequestBody>) -> Result<Response<Full<Bytes>>, Infallible> {
        let mut answer = Response::new(Full::new(Bytes::from_static(b"no")));
        *answer.status_mut() = StatusCode::UNAUTHORIZED;
        Ok(answer)
    }

    #[tokio::test]
    async fn client_that_reads_after_it_has_sent_all_gets_an_early_answer() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (_close, closed) = watch::channel(false);
        let limits = ConnectionLimits::default();
        tokio::spawn(serve(
            listener,
            None,
            tower::service_fn(refuse),
            limits,
            closed,
        ));

        // Far more than the buffers between both ends take.
        let body = vec![b'x'; 12 << 20];
        for head in [
            "POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 12582912\r\n\r\n",
            // The end of this one never comes.
            "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 12582913\r\n\r\n",
            "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nno chunk",
            "POST / HTTP/1.1\r\nHost: x\r\nno field\r\n\r\n",
        ] {
            let mut stream = TcpStream::connect(address).await.unwrap();
            stream.write_all(head.as_bytes()).await.unwrap();
            stream.write_all(&body).await.unwrap();
            let mut answer = Vec::new();
            let read = stream.read_to_end(&mut answer);
            tokio::time::timeout(Duration::from_secs(30), read)
                .await
                .expect("the connection ends")
                .unwrap();
            assert!(answer.starts_with(b"HTTP/1.1 40"), "{head}");
        }
    }

    #[tokio::test]
    async fn client_that_still_sends_holds_up_no_end() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (close, closed) = watch::channel(false);
        let served = tokio::spawn(serve(
            listener,
            None,
            tower::service_fn(refuse),
            ConnectionLimits::default(),
            closed,
        ));
        let mut stream = TcpStream::connect(address).await.unwrap();
        let head = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n";
        stream.write_all(head).await.unwrap();
        assert_eq!(stream.read_u8().await.unwrap(), b'H');

        let begun = std::time::Instant::now();
        close.send_replace(true);
        served.await.unwrap();
        assert!(begun.elapsed() < Duration::from_secs(1));
    }

    /// Starts a server that gives 30 seconds of notice, and opens a connection that waits.
    async fn start_with_notice() -> (TcpStream, SocketAddr, watch::Sender<bool>, JoinHandle<()>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (close, closed) = watch::channel(false);
        let limits = ConnectionLimits {
            shutdown_notice: Duration::from_secs(30),
            ..ConnectionLimits::default()
        };
        let service = tower::service_fn(refuse);
        let served = tokio::spawn(serve(listener, None, service, limits, closed));
        let waiting = TcpStream::connect(address).await.unwrap();
        // Connections are accepted in their order, so the first one is open after this.
        let _ = ask(address).await;
        (waiting, address, close, served)
    }

    /// One request on a connection of its own: the start of the answer.
    async fn ask(address: SocketAddr) -> Option<u8> {
        let mut stream = TcpStream::connect(address).await.ok()?;
        stream.write_all(REQUEST).await.ok()?;
        stream.read_u8().await.ok()
    }

    #[tokio::test]
    async fn new_connections_are_answered_at_the_end_while_others_are_open() {
        let (waiting, address, close, served) = start_with_notice().await;
        close.send_replace(true);
        for _ in 0..3 {
            assert_eq!(ask(address).await, Some(b'H'));
        }

        drop(waiting);
        let ended = tokio::time::timeout(Duration::from_secs(20), served).await;
        ended.expect("no connection is left").unwrap();
        assert_eq!(ask(address).await, None);
    }

    /// A listener whose next peers have this address.
    struct Named {
        listener: TcpListener,
        peer: Arc<Mutex<IpAddr>>,
    }

    impl Listener for Named {
        type Stream = TcpStream;

        async fn accept_one(&self) -> io::Result<(TcpStream, Peer)> {
            let (stream, _) = self.listener.accept().await?;
            let peer = *self.peer.lock().unwrap();
            Ok((stream, Peer(Some((peer, 1).into()))))
        }
    }

    /// Changes the protocol where a request asks for that, and reads until the peer closes.
    async fn change_protocol(
        mut request: Request<WatchedRequestBody>,
    ) -> Result<Response<Full<Bytes>>, Infallible> {
        let mut answer = Response::new(Full::default());
        let Some(change) = request.extensions_mut().remove::<ProtocolChange>() else {
            return Ok(answer);
        };
        let stream = hyper::upgrade::on(request);
        tokio::spawn(async move {
            let mut stream = TokioIo::new(stream.await.expect("the protocol is changed"));
            let _ = tokio::io::copy(&mut stream, &mut tokio::io::sink()).await;
            drop(change);
        });
        *answer.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        for (name, value) in [("connection", "upgrade"), ("upgrade", "other")] {
            answer.headers_mut().insert(name, value.parse().unwrap());
        }
        Ok(answer)
    }

    /// Opens a connection that speaks another protocol. `None`: the server closed it.
    async fn other_protocol(address: SocketAddr) -> Option<TcpStream> {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let request = b"GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: other\r\n\r\n";
        stream.write_all(request).await.ok()?;
        let mut answer = Vec::new();
        while !answer.ends_with(b"\r\n\r\n") {
            answer.push(stream.read_u8().await.ok()?);
        }
        answer.starts_with(b"HTTP/1.1 101 ").then_some(stream)
    }

    #[tokio::test]
    async fn connection_of_another_protocol_counts_for_its_address_until_it_ends() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let peer = Arc::new(Mutex::new("192.0.2.1".parse().unwrap()));
        let (close, closed) = watch::channel(false);
        let limits = ConnectionLimits::with_connections(Some(4), Some(2));
        let named = Named {
            listener,
            peer: peer.clone(),
        };
        let served = tokio::spawn(serve(
            named,
            None,
            tower::service_fn(change_protocol),
            limits,
            closed,
        ));

        let first = other_protocol(address).await.expect("there is room");
        let second = other_protocol(address).await.expect("there is room");
        assert!(
            other_protocol(address).await.is_none(),
            "one address has too many"
        );
        *peer.lock().unwrap() = "192.0.2.2".parse().unwrap();
        let other = other_protocol(address)
            .await
            .expect("another address has room");

        *peer.lock().unwrap() = "192.0.2.1".parse().unwrap();
        drop(first);
        let again = async {
            loop {
                if let Some(stream) = other_protocol(address).await {
                    return stream;
                }
            }
        };
        let again = tokio::time::timeout(Duration::from_secs(30), again)
            .await
            .expect("the place is free");
        drop((second, other, again));
        close.send_replace(true);
        let ended = tokio::time::timeout(Duration::from_secs(4), served).await;
        ended.expect("no connection is waited for").unwrap();
    }

    #[test]
    fn no_address_may_have_all_connections() {
        let numbers = |in_all, per_address| {
            let limits = ConnectionLimits::with_connections(in_all, per_address);
            (limits.connections, limits.connections_per_address)
        };
        assert_eq!(numbers(Some(8), None), (8, 2));
        assert_eq!(numbers(Some(8), Some(4)), (8, 4));
        assert_eq!(numbers(Some(8), Some(8)), (8, 7));
        assert_eq!(numbers(Some(2), None), (2, 1));
        let (in_all, per_address) = numbers(Some(usize::MAX), None);
        assert!(in_all <= room() && per_address < in_all);
    }

    #[test]
    fn clients_are_counted_by_address_or_network_and_proxies_are_not() {
        let limits = ConnectionLimits {
            proxies: vec!["10.0.0.0/8".parse().unwrap()],
            ..ConnectionLimits::default()
        };
        let network = |address: &str| {
            let address: IpAddr = address.parse().unwrap();
            limits
                .network_of(Peer(Some((address, 1).into())))
                .map(|network| network.to_string())
        };
        assert_eq!(network("192.0.2.1").as_deref(), Some("192.0.2.1"));
        assert_eq!(network("::ffff:192.0.2.1").as_deref(), Some("192.0.2.1"));
        assert_eq!(
            network("2001:db8:1:2:3::4").as_deref(),
            Some("2001:db8:1:2::")
        );
        for exempt in ["127.0.0.1", "::1", "10.1.2.3", "::ffff:10.1.2.3"] {
            assert_eq!(network(exempt), None, "{exempt}");
        }
        assert_eq!(limits.network_of(Peer(None)), None);
    }
}
