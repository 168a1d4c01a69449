//! Web sockets of applications: two connections that are joined, byte for byte.

use super::activity::Activity;
use super::body::SessionEnd;
use axum::extract::Request;
use axum::http::header::{CONNECTION, UPGRADE};
use axum::http::{HeaderMap, HeaderValue, Method, Version};
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use std::future::pending;
use std::io;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::OwnedSemaphorePermit;

/// One read of a connection.
const BUFFER_BYTES: usize = 16 * 1024;

/// Returns whether the request opens a web socket (RFC 6455 section 4.1). Other protocols are not changed to.
pub(super) fn is_opening(request: &Request) -> bool {
    let mut protocols = request.headers().get_all(UPGRADE).iter();
    let protocol = protocols.next().map(HeaderValue::as_bytes);
    request.method() == Method::GET
        && request.version() == Version::HTTP_11
        && protocols.next().is_none()
        && protocol.is_some_and(|protocol| protocol.trim_ascii().eq_ignore_ascii_case(b"websocket"))
}

/// Marks a request, or its answer, as a change to web sockets.
pub(super) fn mark(headers: &mut HeaderMap) {
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
}

/// Two ends of a web socket, and what ends it.
pub(super) struct Joint {
    pub(super) client: OnUpgrade,
    pub(super) upstream: OnUpgrade,
    pub(super) session_end: Option<SessionEnd>,
    /// How long neither end may send anything.
    pub(super) idle: Duration,
    pub(super) slot: OwnedSemaphorePermit,
}

impl Joint {
    /// Passes on what each end sends until one closes, both are silent for too long, or the session ends.
    pub(super) async fn run(self) {
        let Self { client, upstream, session_end, idle, slot } = self;
        match tokio::try_join!(client, upstream) {
            Ok((client, upstream)) => relay(client, upstream, session_end, idle).await,
            Err(error) => tracing::debug!(%error, "a web socket was not opened"),
        }
        drop(slot);
    }
}

async fn relay(client: Upgraded, upstream: Upgraded, session_end: Option<SessionEnd>, idle: Duration) {
    let activity = Activity::begin();
    let (mut from_client, mut to_client) = tokio::io::split(TokioIo::new(client));
    let (mut from_upstream, mut to_upstream) = tokio::io::split(TokioIo::new(upstream));
    let session_over = async {
        match session_end {
            Some(end) => end.await,
            None => pending().await,
        }
    };
    let why = tokio::select! {
        biased;
        () = session_over => "its session is over",
        () = activity.idle_for(idle) => "it was silent for too long",
        _ = copy(&mut from_client, &mut to_upstream, &activity) => "the client closed it",
        _ = copy(&mut from_upstream, &mut to_client, &activity) => "the application closed it",
    };
    tracing::debug!(why, "a web socket has ended");
    // A half that is open after this has nothing to say: the protocol has closed both.
    let _ = tokio::join!(to_client.shutdown(), to_upstream.shutdown());
}

async fn copy(
    from: &mut (impl AsyncRead + Unpin),
    to: &mut (impl AsyncWrite + Unpin),
    activity: &Activity,
) -> io::Result<()> {
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        let read = from.read(&mut buffer).await?;
        if read == 0 {
            return Ok(());
        }
        activity.note();
        to.write_all(&buffer[..read]).await?;
        to.flush().await?;
    }
}
