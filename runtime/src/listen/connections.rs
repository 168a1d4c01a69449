//! The open connections of a server: what each waits for, and which one ends to make room for another.

use http::{Response, StatusCode};
use hyper::body::{Body, Bytes, Frame, Incoming, SizeHint};
use std::io::{self, IoSlice};
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::Notify;
use tokio::time::Instant;

/// What a connection does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Nothing has arrived since the last answer.
    Idle,
    /// A head is arriving, or the first one is due.
    Head,
    /// The handler waits for the rest of the body.
    Body,
    /// The request is worked on, or its answer is written.
    Working,
    /// It was told to end.
    Ending,
}

/// One connection.
pub(super) struct Connection {
    stage: Mutex<(Stage, Instant)>,
    /// The address or network that it counts for. `None`: it counts for none.
    network: Option<IpAddr>,
    end: Notify,
}

impl Connection {
    fn new(network: Option<IpAddr>) -> Self {
        Self { stage: Mutex::new((Stage::Head, Instant::now())), network, end: Notify::new() }
    }

    fn stage(&self) -> MutexGuard<'_, (Stage, Instant)> {
        self.stage.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn enter(&self, stage: Stage) {
        *self.stage() = (stage, Instant::now());
    }

    /// Enters a stage, but only from another.
    fn leave(&self, from: Stage, to: Stage) {
        let mut stage = self.stage();
        if stage.0 == from {
            *stage = (to, Instant::now());
        }
    }

    /// The instant since which the connection waits for its peer. `None`: it does not.
    fn waits_since(&self) -> Option<Instant> {
        let (stage, since) = *self.stage();
        matches!(stage, Stage::Idle | Stage::Head | Stage::Body).then_some(since)
    }

    /// When to look again whether a head takes longer than `timeout`. `None`: it does.
    pub(super) fn next_look(&self, timeout: Duration) -> Option<Instant> {
        let (stage, since) = *self.stage();
        let now = Instant::now();
        match stage {
            Stage::Head => Some(since + timeout).filter(|deadline| *deadline > now),
            _ => Some(now + timeout),
        }
    }

    /// Waits until another connection needs the room.
    pub(super) async fn must_end(&self) {
        self.end.notified().await;
    }
}

/// The open connections.
#[derive(Default)]
pub(super) struct Connections(Mutex<Vec<Arc<Connection>>>);

impl Connections {
    fn open(&self) -> MutexGuard<'_, Vec<Arc<Connection>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a connection, until the entry is dropped.
    pub(super) fn add(self: &Arc<Self>, network: Option<IpAddr>) -> Entry {
        let connection = Arc::new(Connection::new(network));
        self.open().push(connection.clone());
        Entry { connections: self.clone(), connection }
    }

    /// Returns how many connections count for a network.
    pub(super) fn count(&self, network: IpAddr) -> usize {
        self.open().iter().filter(|open| open.network == Some(network)).count()
    }

    /// Ends the connection that has waited for its peer the longest: of this network, or of all. Returns whether there is
    /// one. A connection whose request is worked on is never ended.
    pub(super) fn make_room(&self, network: Option<IpAddr>) -> bool {
        let open = self.open();
        let of_network = open.iter().filter(|open| network.is_none() || open.network == network);
        let waiting = of_network.filter_map(|open| Some((open.waits_since()?, open)));
        let Some((_, longest)) = waiting.min_by_key(|(since, _)| *since) else { return false };
        longest.enter(Stage::Ending);
        longest.end.notify_one();
        true
    }
}

/// A connection that is open.
pub(super) struct Entry {
    connections: Arc<Connections>,
    pub(super) connection: Arc<Connection>,
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.connections.open().retain(|open| !Arc::ptr_eq(open, &self.connection));
    }
}

/// Notices when the head of a request begins to arrive.
pub(super) struct WatchedStream<S> {
    stream: S,
    connection: Arc<Connection>,
}

impl<S> WatchedStream<S> {
    pub(super) fn new(stream: S, connection: Arc<Connection>) -> Self {
        Self { stream, connection }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for WatchedStream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, buffer);
        if buffer.filled().len() > before {
            self.connection.leave(Stage::Idle, Stage::Head);
        }
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for WatchedStream<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, data)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, data)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

/// The body of a request. While it arrives, the connection waits for its peer.
pub struct RequestBody {
    incoming: Incoming,
    connection: Arc<Connection>,
}

impl RequestBody {
    /// A request has arrived up to its body.
    pub(super) fn new(incoming: Incoming, connection: Arc<Connection>) -> Self {
        connection.enter(if incoming.is_end_stream() { Stage::Working } else { Stage::Body });
        Self { incoming, connection }
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let polled = Pin::new(&mut self.incoming).poll_frame(cx);
        // Part of a body does not count as progress: a peer could send one byte at a time.
        if matches!(polled, Poll::Ready(None | Some(Err(_)))) {
            self.connection.leave(Stage::Body, Stage::Working);
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}

impl Drop for RequestBody {
    fn drop(&mut self) {
        self.connection.leave(Stage::Body, Stage::Working);
    }
}

/// The body of an answer. The connection is idle when it is written.
pub(super) struct AnswerBody<B> {
    body: Pin<Box<B>>,
    /// `None`: the connection changes its protocol and is no longer one of HTTP.
    _written: Option<Written>,
}

struct Written(Arc<Connection>);

impl Drop for Written {
    fn drop(&mut self) {
        self.0.leave(Stage::Working, Stage::Idle);
    }
}

impl<B> AnswerBody<B> {
    /// The answer to the connection's request.
    pub(super) fn of(answer: Response<B>, connection: Arc<Connection>) -> Response<Self> {
        let is_http = answer.status() != StatusCode::SWITCHING_PROTOCOLS;
        // A handler may answer before the body has arrived.
        connection.leave(Stage::Body, Stage::Working);
        answer.map(|body| Self { body: Box::pin(body), _written: is_http.then(|| Written(connection)) })
    }
}

impl<B: Body> Body for AnswerBody<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        self.body.as_mut().poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connection_that_waits_longest_makes_room_and_one_that_works_never_does() {
        let connections = Arc::new(Connections::default());
        let open: Vec<_> = (0..3).map(|_| connections.add(None)).collect();
        let is_ending = |entry: &Entry| entry.connection.stage().0 == Stage::Ending;
        open[0].connection.enter(Stage::Working);
        assert!(connections.make_room(None) && is_ending(&open[1]));
        assert!(connections.make_room(None) && is_ending(&open[2]));
        assert!(!connections.make_room(None) && !is_ending(&open[0]));
        drop(open);
        assert!(connections.open().is_empty());
    }

    #[test]
    fn connections_count_for_their_network() {
        let connections = Arc::new(Connections::default());
        let (a, b): (IpAddr, IpAddr) = ("192.0.2.1".parse().unwrap(), "192.0.2.2".parse().unwrap());
        let open = [connections.add(Some(b)), connections.add(Some(a)), connections.add(None)];
        assert_eq!((connections.count(a), connections.count(b)), (1, 1));
        assert!(connections.make_room(Some(a)));
        assert_eq!(open[1].connection.stage().0, Stage::Ending);
        assert!(!connections.make_room(Some(a)));
    }

    #[test]
    fn head_is_looked_for_until_it_takes_too_long() {
        let entry = Arc::new(Connections::default()).add(None);
        assert_eq!(entry.connection.next_look(Duration::ZERO), None);
        assert!(entry.connection.next_look(Duration::from_secs(60)).is_some());
        entry.connection.enter(Stage::Idle);
        assert!(entry.connection.next_look(Duration::ZERO).is_some());
        entry.connection.leave(Stage::Idle, Stage::Head);
        assert_eq!(entry.connection.next_look(Duration::ZERO), None);
    }
}
