//! Web sockets of applications: two connections that are joined, byte for byte.

use super::activity::Activity;
use super::body::AccessEnd;
use super::slots::Slot;
use axum::body::HttpBody;
use axum::extract::Request;
use axum::http::header::{CONNECTION, UPGRADE};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Version};
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use portcullis_net::listen::{ProtocolChange, WebSocketProof};
use std::future::pending;
use std::io;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// One read of a connection.
const BUFFER_BYTES: usize = 16 * 1024;
/// How long a client may take for one buffer. Over HTTP/2 the window of its stream alone holds data
/// back, which no timeout of the connection sees.
const CLIENT_TIMEOUT: Duration = Duration::from_secs(60);
/// How long both ends may take for the remaining messages when a socket ends.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

/// Returns whether the request opens a web socket (RFC 6455 section 4.1). Other protocols are not
/// changed to, and neither is one after a body: what follows the head would be a body to one
/// reader, and frames to another.
fn is_opening(request: &Request) -> bool {
    let mut protocols = request.headers().get_all(UPGRADE).iter();
    let protocol = protocols.next();
    let connection = request.headers().get_all(CONNECTION).iter();
    let mut options = connection.flat_map(|line| line.as_bytes().split(|byte| *byte == b','));
    request.method() == Method::GET
        && request.version() == Version::HTTP_11
        && request.body().is_end_stream()
        && options.any(|option| option.trim_ascii().eq_ignore_ascii_case(b"upgrade"))
        && protocols.next().is_none()
        && protocol.is_some_and(is_web_socket)
}

fn is_web_socket(protocol: &HeaderValue) -> bool {
    protocol
        .as_bytes()
        .trim_ascii()
        .eq_ignore_ascii_case(b"websocket")
}

/// The client's end of a web socket that is being opened.
pub(super) struct ClientEnd {
    stream: OnUpgrade,
    /// `None`: the request did not come through a listener.
    change: Option<ProtocolChange>,
    /// What the answer must prove. `None`: the client checks it itself, as over HTTP/1.1.
    proof: Option<WebSocketProof>,
}

impl ClientEnd {
    /// Takes the client's end from a request. `None`: the request opens no web socket.
    pub(super) fn take(request: &mut Request) -> Option<Self> {
        is_opening(request).then(|| Self {
            stream: hyper::upgrade::on(&mut *request),
            change: request.extensions_mut().remove::<ProtocolChange>(),
            proof: request.extensions_mut().remove::<WebSocketProof>(),
        })
    }

    /// Returns whether an answer changes the protocol to web sockets, and to nothing else (RFC 6455
    /// section 4.1).
    pub(super) fn is_opened_by(&self, status: StatusCode, headers: &HeaderMap) -> bool {
        let mut protocols = headers.get_all(UPGRADE).iter();
        status == StatusCode::SWITCHING_PROTOCOLS
            && protocols.next().is_some_and(is_web_socket)
            && protocols.next().is_none()
            && self.proof.as_ref().is_none_or(|proof| proof.is_in(headers))
    }

    /// Returns whether the client takes every success for an open web socket, as over HTTP/2.
    pub(super) fn believes_a_success(&self) -> bool {
        self.proof.is_some()
    }
}

/// Marks a request, or its answer, as a change to web sockets.
pub(super) fn mark(headers: &mut HeaderMap) {
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
}

/// The two ends of a web socket, and what ends it from outside.
pub(super) struct Joint {
    pub(super) client: ClientEnd,
    pub(super) upstream: OnUpgrade,
    pub(super) access_end: Option<AccessEnd>,
    /// How long neither end may send anything.
    pub(super) idle: Duration,
    pub(super) slot: Slot,
}

impl Joint {
    /// Passes on what each end sends until one closes, both are silent for too long, the caller is
    /// no longer let in, or the dashboard ends.
    pub(super) async fn run(self) {
        let Self {
            client: ClientEnd { stream, change, .. },
            upstream,
            access_end,
            idle,
            slot,
        } = self;

        match tokio::try_join!(stream, upstream) {
            Ok((client, upstream)) => {
                relay(client, upstream, ended(access_end, change.clone()), idle).await;
            }
            Err(error) => tracing::debug!(%error, "a web socket was not opened"),
        }

        drop((change, slot));
    }
}

/// Waits for what ends a socket from neither of its ends. Returns its name.
async fn ended(access_end: Option<AccessEnd>, change: Option<ProtocolChange>) -> &'static str {
    let access_over = async {
        match access_end {
            Some(end) => end.await,
            None => pending().await,
        }
    };
    let server_over = async {
        match change {
            Some(mut change) => change.server_ends().await,
            None => pending().await,
        }
    };

    tokio::select! {
        biased;
        () = access_over => "its caller is no longer let in",
        () = server_over => "the dashboard ends",
    }
}

async fn relay(
    client: Upgraded,
    upstream: Upgraded,
    ended: impl Future<Output = &'static str>,
    idle: Duration,
) {
    let activity = Activity::begin();
    let (mut from_client, mut to_client) = tokio::io::split(TokioIo::new(client));
    let (mut from_upstream, mut to_upstream) = tokio::io::split(TokioIo::new(upstream));
    let why = tokio::select! {
        biased;
        why = ended => why,
        () = activity.idle_for(idle) => "it was silent for too long",
        _ = copy(&mut from_client, &mut to_upstream, &activity, idle) => "the way from the client has ended",
        _ = copy(&mut from_upstream, &mut to_client, &activity, CLIENT_TIMEOUT) => {
            "the way from the application has ended"
        }
    };

    tracing::debug!(why, "a web socket has ended");
    // A half that is open after this has nothing to say: the protocol has closed both.
    let closed = async { tokio::join!(to_client.shutdown(), to_upstream.shutdown()) };
    let _ = tokio::time::timeout(CLOSE_TIMEOUT, closed).await;
}

/// Passes on what one end sends.
///
/// # Errors
/// An end is gone, or the other one took longer than `patience` for what one read brought.
async fn copy(
    from: &mut (impl AsyncRead + Unpin),
    to: &mut (impl AsyncWrite + Unpin),
    activity: &Activity,
    patience: Duration,
) -> io::Result<()> {
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        let read = from.read(&mut buffer).await?;
        if read == 0 {
            return Ok(());
        }
        activity.note();
        let passed = async {
            to.write_all(&buffer[..read]).await?;
            to.flush().await
        };
        tokio::time::timeout(patience, passed).await??;
    }
}
