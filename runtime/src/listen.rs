//! Accepting connections: HTTP/1.1, and over TLS also HTTP/2, with slow peers timed out (both ways), their number capped, and
//! a graceful end.
//!
//! **Invariant:** a peer that sends nothing, or sends slowly, costs one bounded slot for a bounded time, and the slot goes
//! to a new connection as soon as one needs it. A TLS handshake is a part of the first head.

mod connections;
mod speak;

pub use connections::RequestBody;

use crate::tls::TlsServer;
use connections::Connections;
use http::Request;
use ipnet::IpNet;
use rustix::process::{Resource, getrlimit};
use speak::{Accepted, Http};
use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tower::Service;

/// Bounds on the connections of one listener.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Most connections at once. One more ends the one that has waited for its peer the longest; if none does, it waits.
    pub connections: usize,
    /// Most connections of one address (IPv6: of one /64).
    pub connections_per_address: usize,
    /// Peers that stand for many clients, so that they have no limit of their own. Loopback has none either.
    pub proxies: Vec<IpNet>,
    /// How long the head of a request may take to arrive. It is looked at once in that time, so it may take twice as long.
    pub header_timeout: Duration,
    /// How long a connection may wait for its next request.
    pub idle_timeout: Duration,
    /// How long a peer may leave what is written to it unread; any progress starts it anew.
    pub write_timeout: Duration,
    /// How long requests in flight may take once the server ends.
    pub shutdown_grace: Duration,
}

/// Most connections where there are descriptors enough.
const MAX_CONNECTIONS: usize = 1024;

/// Longer than nginx and most load balancers keep a connection that they do not use (60 s): the end that closes first must
/// be theirs, or a request is lost that they send at that moment.
const IDLE_TIMEOUT: Duration = Duration::from_secs(75);

/// Between two attempts to make room for a connection.
const ROOM_INTERVAL: Duration = Duration::from_millis(50);

/// Half of the descriptors are for connections. The rest is for files: without any left, the dashboard could not read how
/// the gateway is.
fn connections() -> usize {
    let descriptors = getrlimit(Resource::Nofile).current.and_then(|limit| usize::try_from(limit).ok());
    descriptors.map_or(MAX_CONNECTIONS, |descriptors| (descriptors / 2).clamp(1, MAX_CONNECTIONS))
}

impl Default for Limits {
    fn default() -> Self {
        let connections = connections();
        Self {
            connections,
            connections_per_address: (connections / 4).max(1),
            proxies: Vec::new(),
            header_timeout: Duration::from_secs(10),
            idle_timeout: IDLE_TIMEOUT,
            write_timeout: Duration::from_secs(20),
            shutdown_grace: Duration::from_secs(5),
        }
    }
}

impl Limits {
    /// The address or network whose connections are counted together. `None`: they are not counted.
    fn network_of(&self, peer: Peer) -> Option<IpAddr> {
        let address = peer.0?.ip().to_canonical();
        if address.is_loopback() || self.proxies.iter().any(|network| network.contains(&address)) {
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

/// Serves until `closed` turns true, then lets requests in flight finish within the grace. With `tls`, nothing but TLS is
/// understood.
///
/// Each request carries its [`Peer`] as an extension; over TLS also [`OverTls`], and the
/// [`ClientCertificate`](crate::tls::ClientCertificate) if the client presented one.
pub async fn serve<L, S, B>(
    listener: L,
    tls: Option<TlsServer>,
    service: S,
    limits: Limits,
    mut closed: watch::Receiver<bool>,
) where
    L: Listener,
    S: Service<Request<RequestBody>, Response = http::Response<B>> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    B: hyper::body::Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let slots = Arc::new(Semaphore::new(limits.connections));
    let open = Arc::new(Connections::default());
    let http = Arc::new(Http::new(&limits));
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept_one() => accepted,
            _ = closed.wait_for(|closed| *closed) => break,
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
            _ = closed.wait_for(|closed| *closed) => break,
        };
        let entry = open.add(network);

        let accepted = Accepted {
            http: http.clone(),
            service: service.clone(),
            peer,
            connection: entry.connection.clone(),
            closed: closed.clone(),
        };
        let tls = tls.clone();
        tokio::spawn(async move {
            accepted.run(stream, tls).await;
            drop((entry, slot));
        });
    }
    drop(listener);
    // All slots are free when no connection is left.
    let all = u32::try_from(limits.connections).unwrap_or(u32::MAX);
    if tokio::time::timeout(limits.shutdown_grace, slots.acquire_many(all)).await.is_err() {
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
    use http::Response;
    use http_body_util::Full;
    use hyper::body::Bytes;
    use std::convert::Infallible;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;

    const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";

    /// A server of one slot whose every answer is far larger than the buffers between it and its peer.
    async fn start(limits: Limits) -> (SocketAddr, watch::Sender<bool>) {
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
        tokio::time::timeout(Duration::from_secs(30), read).await.expect("a slot is free").unwrap();
        answer.len()
    }

    #[tokio::test]
    async fn peers_that_do_not_read_or_do_not_write_give_their_slot_back() {
        let limits = Limits {
            connections: 1,
            header_timeout: Duration::from_millis(200),
            write_timeout: Duration::from_millis(200),
            ..Limits::default()
        };
        let (address, _close) = start(limits).await;
        let mut deaf = TcpStream::connect(address).await.unwrap();
        deaf.write_all(REQUEST).await.unwrap();
        assert!(read_whole_answer(address).await > 32 << 20, "the deaf peer's slot is free");
        let mut mute = TcpStream::connect(address).await.unwrap();
        mute.write_all(b"GET / HT").await.unwrap();
        assert!(read_whole_answer(address).await > 32 << 20, "the mute peer's slot is free");
    }

    #[tokio::test]
    async fn connection_that_waits_for_its_peer_makes_room_for_another_at_once() {
        let limits = Limits { connections: 2, ..Limits::default() };
        let (address, _close) = start(limits).await;
        let mut waiting = Vec::new();
        for start_of_request in ["GET / HT", "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n", ""] {
            let mut stream = TcpStream::connect(address).await.unwrap();
            stream.write_all(start_of_request.as_bytes()).await.unwrap();
            waiting.push(stream);
        }
        // Far shorter than the timeouts of the connections that wait.
        let read = tokio::time::timeout(Duration::from_secs(5), read_whole_answer(address));
        assert!(read.await.expect("there is room") > 32 << 20);
    }

    #[test]
    fn clients_are_counted_by_address_or_network_and_proxies_are_not() {
        let limits = Limits { proxies: vec!["10.0.0.0/8".parse().unwrap()], ..Limits::default() };
        let network = |address: &str| {
            let address: IpAddr = address.parse().unwrap();
            limits.network_of(Peer(Some((address, 1).into()))).map(|network| network.to_string())
        };
        assert_eq!(network("192.0.2.1").as_deref(), Some("192.0.2.1"));
        assert_eq!(network("::ffff:192.0.2.1").as_deref(), Some("192.0.2.1"));
        assert_eq!(network("2001:db8:1:2:3::4").as_deref(), Some("2001:db8:1:2::"));
        for exempt in ["127.0.0.1", "::1", "10.1.2.3", "::ffff:10.1.2.3"] {
            assert_eq!(network(exempt), None, "{exempt}");
        }
        assert_eq!(limits.network_of(Peer(None)), None);
    }
}
