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
    /// A head is arriving, or the first one is due. A TLS handshake belongs to the first one.
    Head,
    /// A handler waits for the rest of a body.
    Body,
    /// A request is worked on, or its answer is written.
    Working,
    /// All that is left to do is to write answers, and the peer takes nothing of them.
    Sending,
    /// The connection was asked to end.
    Ending,
}

/// How long a connection waits for its peer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    /// The longest wait for the head of a request.
    pub(super) head: Duration,
    /// For the next request, and for room to write more of an answer. `None`: hyper and the write timeout see to both, as they do
    /// for HTTP/1.1.
    pub(super) stall: Option<Duration>,
}

/// What a look at a connection finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Look {
    /// Nothing. The next look is due then.
    Next(Instant),
    /// The peer is too slow.
    TooSlow,
    /// No request has come for too long.
    TooLongIdle,
}

/// The state of one open connection.
pub(super) struct Connection {
    state: Mutex<State>,
    /// The address or network that it counts for. `None`: it counts for none.
    network: Option<IpAddr>,
    end: Notify,
}

/// HTTP/2 has many requests at once, so they are counted by what each does.
struct State {
    /// Between requests: idle, a head or ending.
    between: Stage,
    arriving: usize,
    working: usize,
    sending: usize,
    /// The last change of any of these.
    since: Instant,
}

impl State {
    fn stage(&self) -> Stage {
        match (self.working, self.sending, self.arriving) {
            _ if self.between == Stage::Ending => Stage::Ending,
            (0, 0, 0) => self.between,
            (0, 0, _) => Stage::Body,
            (0, _, _) => Stage::Sending,
            _ => Stage::Working,
        }
    }

    fn count(&mut self, step: Step) -> Option<&mut usize> {
        match step {
            Step::Arriving => Some(&mut self.arriving),
            Step::Working | Step::Upgraded => Some(&mut self.working),
            Step::Sending => Some(&mut self.sending),
            Step::Over => None,
        }
    }
}

impl Connection {
    fn new(network: Option<IpAddr>) -> Self {
        let state =
            State { between: Stage::Head, arriving: 0, working: 0, sending: 0, since: Instant::now() };
        Self { state: Mutex::new(state), network, end: Notify::new() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The first bytes of a head have arrived.
    fn head_begins(&self) {
        let mut state = self.state();
        if state.stage() == Stage::Idle {
            (state.between, state.since) = (Stage::Head, Instant::now());
        }
    }

    /// Ends it, as soon as the task that serves it notices.
    fn make_end(&self) {
        let mut state = self.state();
        (state.between, state.since) = (Stage::Ending, Instant::now());
        self.end.notify_one();
    }

    /// A request goes from one step to another.
    fn step(&self, from: Step, to: Step) {
        let mut state = self.state();
        if let Some(count) = state.count(from) {
            *count -= 1;
        }
        if let Some(count) = state.count(to) {
            *count += 1;
        }
        // A head that has arrived is no longer waited for.
        if state.between == Stage::Head {
            state.between = Stage::Idle;
        }
        state.since = Instant::now();
    }

    /// The instant since which the connection waits for its peer. `None`: it does not.
    fn waits_since(&self) -> Option<Instant> {
        let state = self.state();
        matches!(state.stage(), Stage::Idle | Stage::Head | Stage::Body).then_some(state.since)
    }

    /// Looks whether the peer takes too long.
    pub(super) fn look(&self, patience: Patience) -> Look {
        let state = self.state();
        let now = Instant::now();
        let next = now + patience.head;
        let (limit, end) = match (state.stage(), patience.stall) {
            (Stage::Head, _) => (patience.head, Look::TooSlow),
            (Stage::Sending, Some(stall)) => (stall, Look::TooSlow),
            (Stage::Idle, Some(stall)) => (stall, Look::TooLongIdle),
            _ => return Look::Next(next),
        };
        let due = state.since + limit;
        if due > now { Look::Next(due.min(next)) } else { end }
    }

    /// Waits until another connection needs the room.
    pub(super) async fn must_end(&self) {
        self.end.notified().await;
    }
}

/// The open connections of one listener.
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
        longest.make_end();
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

/// Notices when the head of a request begins to arrive. It is for HTTP/1.1: between requests of HTTP/2 other frames arrive.
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
            self.connection.head_begins();
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

/// What one request does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// The body of the request arrives.
    Arriving,
    /// It is worked on, or more of its answer is awaited.
    Working,
    /// A part of its answer waits for the peer to read.
    Sending,
    /// It is answered, or was given up.
    Over,
    /// Its connection changed the protocol and is no longer one of HTTP.
    Upgraded,
}

/// One request and its answer. Without a body or an answer that is left, it is over.
pub(super) struct Exchange {
    connection: Arc<Connection>,
    step: Mutex<Step>,
}

impl Exchange {
    /// A request has arrived up to its body, or with all of it.
    pub(super) fn begin(connection: &Arc<Connection>, is_complete: bool) -> Arc<Self> {
        let step = if is_complete { Step::Working } else { Step::Arriving };
        connection.step(Step::Over, step);
        Arc::new(Self { connection: connection.clone(), step: Mutex::new(step) })
    }

    /// Goes to another step, but only from these.
    fn go(&self, from: &[Step], to: Step) {
        let mut step = self.step.lock().unwrap_or_else(PoisonError::into_inner);
        if *step != to && from.contains(&step) {
            self.connection.step(*step, to);
            *step = to;
        }
    }

    /// A part of the answer is handed on, which takes the peer to go on.
    fn progress(&self) {
        self.go(&[Step::Working], Step::Sending);
        self.connection.state().since = Instant::now();
    }

    fn end(&self) {
        self.go(&[Step::Arriving, Step::Working, Step::Sending], Step::Over);
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        self.end();
    }
}

/// The body of a request. While it arrives, the connection waits for its peer.
pub struct RequestBody {
    incoming: Incoming,
    exchange: Arc<Exchange>,
}

impl RequestBody {
    pub(super) fn new(incoming: Incoming, exchange: Arc<Exchange>) -> Self {
        Self { incoming, exchange }
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
            self.exchange.go(&[Step::Arriving], Step::Working);
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
        self.exchange.go(&[Step::Arriving], Step::Working);
    }
}

/// The body of an answer. The request is over when it is written.
pub(super) struct AnswerBody<B> {
    body: Pin<Box<B>>,
    exchange: Arc<Exchange>,
}

impl<B: Body> AnswerBody<B> {
    /// The answer to a request.
    pub(super) fn of(answer: Response<B>, exchange: Arc<Exchange>) -> Response<Self> {
        let is_http = answer.status() != StatusCode::SWITCHING_PROTOCOLS;
        let to = match is_http {
            true if answer.body().is_end_stream() => Step::Working,
            // Nothing of the body is asked for before the peer has room for it.
            true => Step::Sending,
            false => Step::Upgraded,
        };
        // A handler may answer before the body has arrived.
        exchange.go(&[Step::Arriving, Step::Working], to);
        answer.map(|body| Self { body: Box::pin(body), exchange })
    }
}

impl<B> Drop for AnswerBody<B> {
    fn drop(&mut self) {
        self.exchange.end();
    }
}

impl<B: Body> Body for AnswerBody<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let polled = self.body.as_mut().poll_frame(cx);
        match polled {
            Poll::Pending => self.exchange.go(&[Step::Sending], Step::Working),
            // It is asked for the next part when the peer has room for it.
            Poll::Ready(_) => self.exchange.progress(),
        }
        polled
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
        let is_ending = |entry: &Entry| entry.connection.state().stage() == Stage::Ending;
        let _exchange = Exchange::begin(&open[0].connection, true);
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
        assert_eq!(open[1].connection.state().stage(), Stage::Ending);
        assert!(!connections.make_room(Some(a)));
    }

    #[test]
    fn head_is_looked_for_until_it_takes_too_long() {
        let patience = |head| Patience { head, stall: None };
        let now = patience(Duration::ZERO);
        let entry = Arc::new(Connections::default()).add(None);
        assert_eq!(entry.connection.look(now), Look::TooSlow);
        assert!(matches!(entry.connection.look(patience(Duration::from_secs(60))), Look::Next(_)));
        drop(Exchange::begin(&entry.connection, true));
        assert!(matches!(entry.connection.look(now), Look::Next(_)));
        entry.connection.head_begins();
        assert_eq!(entry.connection.look(now), Look::TooSlow);
    }

    #[test]
    fn many_requests_of_one_connection_are_counted_together() {
        let entry = Arc::new(Connections::default()).add(None);
        let connection = &entry.connection;
        let stage = || connection.state().stage();
        let upload = Exchange::begin(connection, false);
        assert_eq!(stage(), Stage::Body);
        let other = Exchange::begin(connection, true);
        assert_eq!(stage(), Stage::Working);
        other.progress();
        assert_eq!(stage(), Stage::Sending);
        drop(other);
        assert_eq!(stage(), Stage::Body);
        upload.go(&[Step::Arriving], Step::Working);
        assert_eq!(stage(), Stage::Working);
        upload.end();
        upload.end();
        assert_eq!(stage(), Stage::Idle);

        let upgraded = Exchange::begin(connection, true);
        upgraded.go(&[Step::Working], Step::Upgraded);
        drop(upgraded);
        assert_eq!(stage(), Stage::Working, "the slot stays taken by the other protocol");
    }

    #[test]
    fn peer_that_stalls_is_seen_where_hyper_does_not_look() {
        let patience = |stall| Patience { head: Duration::from_secs(60), stall };
        let entry = Arc::new(Connections::default()).add(None);
        let exchange = Exchange::begin(&entry.connection, true);
        let none = patience(Some(Duration::ZERO));
        assert!(matches!(entry.connection.look(none), Look::Next(_)), "it is worked on");
        exchange.progress();
        assert_eq!(entry.connection.look(none), Look::TooSlow);
        assert!(matches!(entry.connection.look(patience(None)), Look::Next(_)));
        drop(exchange);
        assert_eq!(entry.connection.look(none), Look::TooLongIdle);
    }
}
