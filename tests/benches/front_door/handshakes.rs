//! A generator of TLS handshakes: each worker opens a connection, asks for `/healthz` and closes
//! it, over and over.

use super::generator::{Found, Window, exchange, run_workers, speak};
use super::tls_client;
use http_body_util::Empty;
use hyper::Request;
use hyper::body::Bytes;
use rustls::{ClientConfig, HandshakeKind};
use serde::{Deserialize, Serialize};
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// What handshakes are made.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Plan {
    pub(crate) port: u16,
    pub(crate) workers: usize,
    pub(crate) time: Duration,
    /// Whether each handshake resumes a session.
    pub(crate) resumes: bool,
}

/// Makes handshakes, and says what came of them as the load generator does. The times are those of
/// the connection and the handshake, without the request.
pub(crate) async fn run(plan: &Plan) {
    run_workers(plan.workers, plan.time, |number, window| {
        work(plan.clone(), number, window)
    })
    .await;
}

async fn work(plan: Plan, number: usize, window: Window) -> Found {
    let config = if plan.resumes {
        tls_client::with_resumption()
    } else {
        tls_client::without_resumption()
    };
    let wanted = if plan.resumes {
        HandshakeKind::Resumed
    } else {
        HandshakeKind::Full
    };
    let mut found = Found::default();
    loop {
        let start = Instant::now();
        if window.is_over(start) {
            return found;
        }
        let Ok(stream) = connect(source(number), plan.port, config.clone()).await else {
            found.wrong += usize::from(window.counts(start));
            continue;
        };
        let took = start.elapsed();
        let is_wanted = stream.get_ref().1.handshake_kind() == Some(wanted);
        // The tickets for the next handshake come with the answer.
        let is_answered = exchange(&mut speak(stream).await, request())
            .await
            .is_some();
        if window.counts(start) {
            found.times.push(took);
            found.wrong += usize::from(!(is_wanted && is_answered));
        }
    }
}

/// An address for each worker, so that none runs out of ports: closed connections keep theirs for a
/// while.
fn source(number: usize) -> Ipv4Addr {
    Ipv4Addr::new(
        127,
        0,
        1,
        u8::try_from(number + 1).expect("at most 255 workers"),
    )
}

async fn connect(
    source: Ipv4Addr,
    port: u16,
    config: Arc<ClientConfig>,
) -> io::Result<TlsStream<TcpStream>> {
    let socket = TcpSocket::new_v4()?;
    socket.bind(SocketAddr::from((source, 0)))?;
    let stream = socket
        .connect(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))
        .await?;
    stream.set_nodelay(true)?;
    TlsConnector::from(config)
        .connect(tls_client::server_name(), stream)
        .await
}

fn request() -> Request<Empty<Bytes>> {
    let request = Request::builder()
        .uri("/healthz")
        .header("host", "localhost");
    request.body(Empty::new()).expect("a request")
}
