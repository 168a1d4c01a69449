//! The open connections of a server: what each waits for, and which one ends to make room for
//! another.

use super::linger::{self, Lingering};
use http::{Response, StatusCode};
use hyper::body::{Body, Bytes, Frame, Incoming, SizeHint};
use std::collections::HashMap;
use std::convert::Infallible;
use std::io::{self, IoSlice};
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::runtime::Handle;
use tokio::sync::{Notify, OwnedSemaphorePermit, oneshot, watch};
use tokio::time::Instant;

/// How long an answer may wait for an HTTP/2 peer to read while other requests of the connection
/// continue. A browser reads nothing of a video that is paused, so this is longer than the wait of
/// a connection that does nothing else.
const MAX_STALL: Duration = Duration::from_secs(600);

/// Longest rest of a body that is expected to arrive behind an early answer, so that the connection
/// serves further requests. Most clients send as much at once with the head.
const MAX_SHORT_REST_BYTES: u64 = 64 * 1024;

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
    /// The longest wait for the next request, and for room to write more of an answer. `None`:
    /// hyper and the write timeout bound both, as for HTTP/1.1.
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
    state: Mutex<ConnectionState>,
    /// The address or network that it counts for. `None`: it counts for none.
    network: Option<IpAddr>,
    end: Notify,
    /// Whether the server ends, so that nothing is waited for but answers.
    server_ends: watch::Sender<bool>,
}

/// HTTP/2 has many requests at once, so they are counted by what each does.
struct ConnectionState {
    /// Between requests: idle, a head or ending.
    between: Stage,
    arriving: usize,
    working: usize,
    /// Since when each part of an answer waits for the peer, by the number of its request.
    sending: HashMap<u64, Instant>,
    /// Requests so far.
    requests: u64,
    /// The last request has a body of which not all was read. It is for HTTP/1.1.
    has_unread_body: bool,
    /// The last change of any of these.
    since: Instant,
}

impl ConnectionState {
    fn stage(&self) -> Stage {
        match (self.working, self.sending.len(), self.arriving) {
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
            Step::Sending | Step::Over => None,
        }
    }
}

impl Connection {
    fn new(network: Option<IpAddr>) -> Self {
        let state = ConnectionState {
            between: Stage::Head,
            arriving: 0,
            working: 0,
            sending: HashMap::new(),
            requests: 0,
            has_unread_body: false,
            since: Instant::now(),
        };

        Self {
            state: Mutex::new(state),
            network,
            end: Notify::new(),
            server_ends: watch::Sender::new(false),
        }
    }

    fn state(&self) -> MutexGuard<'_, ConnectionState> {
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

    /// Returns the number of the next request.
    fn next_request(&self) -> u64 {
        let mut state = self.state();
        state.requests += 1;
        state.has_unread_body = false;
        state.requests
    }

    /// The last request's body was given up before its end.
    fn body_is_left(&self) {
        self.state().has_unread_body = true;
    }

    /// All of the last request's body was read after all.
    pub(super) fn body_is_read(&self) {
        self.state().has_unread_body = false;
    }

    /// Returns whether the client may still send, although its request was answered: a body, or a
    /// head that was refused before its end.
    fn may_still_send(&self) -> bool {
        let state = self.state();
        state.has_unread_body || state.between == Stage::Head
    }

    /// The server ends: from here on, no client that still sends is waited for.
    pub(super) fn stop_lingering(&self) {
        self.server_ends.send_replace(true);
    }

    /// Waits until the server ends.
    pub(super) async fn server_ends(&self) {
        let mut ends = self.server_ends.subscribe();
        // The sender lives as long as `self`.
        let _ = ends.wait_for(|ends| *ends).await;
    }

    /// A request goes from one step to another.
    fn step(&self, request: u64, from: Step, to: Step) {
        let mut state = self.state();
        let now = Instant::now();

        if let Some(count) = state.count(from) {
            *count -= 1;
        }
        if let Some(count) = state.count(to) {
            *count += 1;
        }

        match to {
            Step::Sending => state.sending.insert(request, now),
            _ => state.sending.remove(&request),
        };

        // A head that has arrived is no longer waited for.
        if state.between == Stage::Head {
            state.between = Stage::Idle;
        }
        state.since = now;
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

        // `since` says nothing about one answer while other requests continue.
        let is_stalled = |since: &Instant| *since + MAX_STALL <= now;
        if patience.stall.is_some() && state.sending.values().any(is_stalled) {
            return Look::TooSlow;
        }

        let (limit, end) = match (state.stage(), patience.stall) {
            (Stage::Head, _) => (patience.head, Look::TooSlow),
            (Stage::Sending, Some(stall)) => (stall, Look::TooSlow),
            (Stage::Idle, Some(stall)) => (stall, Look::TooLongIdle),
            _ => return Look::Next(next),
        };

        let due = state.since + limit;
        if due > now {
            Look::Next(due.min(next))
        } else {
            end
        }
    }

    /// Waits until another connection needs the room.
    pub(super) async fn must_end(&self) {
        self.end.notified().await;
    }
}

/// The open connections of one listener.
#[derive(Default)]
pub(super) struct Connections {
    open: Mutex<Vec<Arc<Connection>>>,
    emptied: Notify,
}

impl Connections {
    fn open(&self) -> MutexGuard<'_, Vec<Arc<Connection>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a connection, until the entry is dropped.
    pub(super) fn add(self: &Arc<Self>, network: Option<IpAddr>) -> OpenConnection {
        let connection = Arc::new(Connection::new(network));
        self.open().push(connection.clone());
        OpenConnection {
            connections: self.clone(),
            connection,
        }
    }

    /// Waits until no connection is open.
    pub(super) async fn none_is_left(&self) {
        loop {
            // It notices what happens from here on.
            let emptied = self.emptied.notified();
            if self.open().is_empty() {
                return;
            }
            emptied.await;
        }
    }

    /// Returns how many connections count for a network.
    pub(super) fn count(&self, network: IpAddr) -> usize {
        self.open()
            .iter()
            .filter(|open| open.network == Some(network))
            .count()
    }

    /// Ends the connection that has waited for its peer the longest: of this network, or of all.
    /// Returns whether there is one. A connection whose request is worked on is never ended.
    pub(super) fn make_room(&self, network: Option<IpAddr>) -> bool {
        let open = self.open();
        let of_network = open
            .iter()
            .filter(|open| network.is_none() || open.network == network);
        let waiting = of_network.filter_map(|open| Some((open.waits_since()?, open)));
        let Some((_, longest)) = waiting.min_by_key(|(since, _)| *since) else {
            return false;
        };
        longest.make_end();
        true
    }
}

/// A connection that is open.
pub(super) struct OpenConnection {
    connections: Arc<Connections>,
    connection: Arc<Connection>,
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        let mut open = self.connections.open();
        open.retain(|open| !Arc::ptr_eq(open, &self.connection));
        if open.is_empty() {
            self.connections.emptied.notify_waiters();
        }
    }
}

/// The place of a connection among those that may be open at once: its entry, and its slot.
pub(super) struct ConnectionSlot {
    entry: OpenConnection,
    _slot: Option<OwnedSemaphorePermit>,
}

impl ConnectionSlot {
    pub(super) fn new(entry: OpenConnection, slot: Option<OwnedSemaphorePermit>) -> Self {
        Self { entry, _slot: slot }
    }

    pub(super) fn connection(&self) -> &Arc<Connection> {
        &self.entry.connection
    }
}

/// Notices when the head of a request begins to arrive, and lingers at its end while the client may
/// still send. It is for HTTP/1.1: between requests of HTTP/2 other frames arrive.
pub(super) struct WatchedStream<S> {
    stream: S,
    connection: Arc<Connection>,
    /// Since its own end was closed.
    lingering: Option<Lingering>,
}

impl<S> WatchedStream<S> {
    pub(super) fn new(stream: S, connection: Arc<Connection>) -> Self {
        Self {
            stream,
            connection,
            lingering: None,
        }
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

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for WatchedStream<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, data)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    /// The client gets its answer and the end of the stream at once. If the connection were closed
    /// while the client sends, both could be lost (RFC 9112 section 9.6).
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.lingering.is_none() {
            ready!(Pin::new(&mut this.stream).poll_shutdown(cx))?;
        }
        if !this.connection.may_still_send() || *this.connection.server_ends.borrow() {
            return Poll::Ready(Ok(()));
        }

        let lingering = this.lingering.get_or_insert_with(Lingering::begin);
        lingering.poll(&mut this.stream, cx).map(Ok)
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
    /// Its connection, or its stream of HTTP/2, speaks another protocol.
    Upgraded,
}

/// One request and its answer. It is over when neither has a body that is left, or when nothing
/// holds it any more: after a change of the protocol, the other protocol's task does.
pub(super) struct Exchange {
    connection: Arc<Connection>,
    /// Its number on the connection.
    request: u64,
    progress: Mutex<Progress>,
}

/// How far an exchange is.
struct Progress {
    step: Step,
    /// Dropped when the answer is over. Only a body that was given up makes one.
    answered: Option<oneshot::Sender<Infallible>>,
    /// The body was given up, and its rest is not expected to be read.
    leaves_body: bool,
}

impl Exchange {
    /// A request has arrived up to its body, or with all of it.
    pub(super) fn begin(connection: &Arc<Connection>, is_complete: bool) -> Arc<Self> {
        let step = if is_complete {
            Step::Working
        } else {
            Step::Arriving
        };
        let request = connection.next_request();
        connection.step(request, Step::Over, step);
        Arc::new(Self {
            connection: connection.clone(),
            request,
            progress: Mutex::new(Progress {
                step,
                answered: None,
                leaves_body: false,
            }),
        })
    }

    fn progress_now(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Goes to another step, but only from these.
    fn go(&self, from: &[Step], to: Step) {
        let mut progress = self.progress_now();
        if progress.step != to && from.contains(&progress.step) {
            self.connection.step(self.request, progress.step, to);
            progress.step = to;
        }
    }

    /// Returns whether the connection ends after the answer, since the rest of the request's body is
    /// not read. It is for HTTP/1.1.
    pub(super) fn ends_connection(&self) -> bool {
        self.progress_now().leaves_body
    }

    /// Resolves, with an error, when the answer is written or was given up.
    fn answered(&self) -> oneshot::Receiver<Infallible> {
        let (sender, receiver) = oneshot::channel();
        let mut progress = self.progress_now();
        if progress.step != Step::Over {
            progress.answered = Some(sender);
        }
        receiver
    }

    /// Passes a part of the answer on. That happens only when the peer reads.
    fn progress(&self) {
        self.go(&[Step::Working], Step::Sending);
        let mut state = self.connection.state();
        state.since = Instant::now();
        let now = state.since;
        if let Some(since) = state.sending.get_mut(&self.request) {
            *since = now;
        }
    }

    /// The answer is written, or was given up.
    fn end(&self) {
        self.go(&[Step::Arriving, Step::Working, Step::Sending], Step::Over);
        drop(self.progress_now().answered.take());
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        self.go(
            &[Step::Arriving, Step::Working, Step::Sending, Step::Upgraded],
            Step::Over,
        );
    }
}

/// The body of a request. While it arrives, the connection waits for its peer. What is left of it
/// when it is dropped is read and thrown away for a while, so that the client sees its answer.
pub struct WatchedRequestBody {
    /// `None` once its end was reached, or it broke off.
    incoming: Option<Incoming>,
    /// The client sends nothing before it is asked to (RFC 9110 section 10.1.1), which the first
    /// read does.
    awaits_continue: bool,
    exchange: Arc<Exchange>,
}

impl WatchedRequestBody {
    pub(super) fn new(incoming: Incoming, awaits_continue: bool, exchange: Arc<Exchange>) -> Self {
        Self {
            incoming: Some(incoming),
            awaits_continue,
            exchange,
        }
    }
}

impl Body for WatchedRequestBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        self.awaits_continue = false;
        let Some(incoming) = &mut self.incoming else {
            return Poll::Ready(None);
        };
        let polled = Pin::new(incoming).poll_frame(cx);
        // Part of a body does not count as progress: a peer could send one byte at a time.
        if matches!(polled, Poll::Ready(None | Some(Err(_)))) {
            self.exchange.go(&[Step::Arriving], Step::Working);
        }
        match polled {
            Poll::Ready(None) => self.incoming = None,
            Poll::Ready(Some(Err(_))) => {
                self.incoming = None;
                self.exchange.connection.body_is_left();
                self.exchange.progress_now().leaves_body = true;
            }
            Poll::Ready(Some(Ok(_))) | Poll::Pending => {}
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.as_ref().is_none_or(Incoming::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming
            .as_ref()
            .map_or_else(|| SizeHint::with_exact(0), Incoming::size_hint)
    }
}

impl Drop for WatchedRequestBody {
    fn drop(&mut self) {
        self.exchange.go(&[Step::Arriving], Step::Working);
        let Some(rest) = self.incoming.take().filter(|rest| !rest.is_end_stream()) else {
            return;
        };

        let connection = self.exchange.connection.clone();
        connection.body_is_left();
        let is_long = |left| left > MAX_SHORT_REST_BYTES;
        if self.awaits_continue || rest.size_hint().upper().is_none_or(is_long) {
            self.exchange.progress_now().leaves_body = true;
        }
        // Without a runtime, the process ends. A client that awaits `100 Continue` reads the answer
        // before it sends.
        if let (Ok(runtime), false) = (Handle::try_current(), self.awaits_continue) {
            runtime.spawn(linger::discard(rest, self.exchange.answered(), connection));
        }
    }
}

/// The body of an answer. The request is over when it is written.
pub(super) struct WatchedAnswerBody<B> {
    body: B,
    exchange: Arc<Exchange>,
}

impl<B: Body> WatchedAnswerBody<B> {
    /// The answer to a request.
    pub(super) fn of(answer: Response<B>, exchange: Arc<Exchange>) -> Response<Self> {
        let is_http = answer.status() != StatusCode::SWITCHING_PROTOCOLS;
        let to = match is_http {
            true if answer.body().is_end_stream() => Step::Working,
            // The body is polled only when the peer has room for more.
            true => Step::Sending,
            false => Step::Upgraded,
        };
        // A handler may answer before the body has arrived.
        exchange.go(&[Step::Arriving, Step::Working], to);
        answer.map(|body| Self { body, exchange })
    }
}

impl<B> Drop for WatchedAnswerBody<B> {
    fn drop(&mut self) {
        self.exchange.end();
    }
}

impl<B: Body + Unpin> Body for WatchedAnswerBody<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(cx);
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
        let is_ending = |entry: &OpenConnection| entry.connection.state().stage() == Stage::Ending;
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
        let open = [
            connections.add(Some(b)),
            connections.add(Some(a)),
            connections.add(None),
        ];
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
        assert!(matches!(
            entry.connection.look(patience(Duration::from_secs(60))),
            Look::Next(_)
        ));
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
        upgraded.end();
        assert_eq!(stage(), Stage::Working, "the other protocol is spoken");
        drop(upgraded);
        assert_eq!(stage(), Stage::Idle);
    }

    #[test]
    fn client_may_still_send_what_was_not_read() {
        let entry = Arc::new(Connections::default()).add(None);
        let connection = &entry.connection;
        assert!(connection.may_still_send(), "no head was read whole");
        let exchange = Exchange::begin(connection, false);
        assert!(!connection.may_still_send());
        connection.body_is_left();
        drop(exchange);
        assert!(connection.may_still_send());
        assert!(connection.waits_since().is_some(), "it makes room");
        connection.body_is_read();
        assert!(!connection.may_still_send());
        connection.body_is_left();
        drop(Exchange::begin(connection, true));
        assert!(!connection.may_still_send(), "the next head has arrived");
    }

    #[test]
    fn answer_is_over_when_it_was_written_or_given_up() {
        let entry = Arc::new(Connections::default()).add(None);
        let is_over = |answered: &mut oneshot::Receiver<Infallible>| {
            answered.try_recv() == Err(oneshot::error::TryRecvError::Closed)
        };
        for ends in [true, false] {
            let exchange = Exchange::begin(&entry.connection, false);
            let mut answered = exchange.answered();
            assert!(!is_over(&mut answered));
            if ends {
                exchange.end();
                assert!(is_over(&mut answered) && is_over(&mut exchange.answered()));
            }
            drop(exchange);
            assert!(is_over(&mut answered));
        }
    }

    #[test]
    fn peer_that_stalls_is_seen_where_hyper_does_not_look() {
        let patience = |stall| Patience {
            head: Duration::from_secs(60),
            stall,
        };
        let entry = Arc::new(Connections::default()).add(None);
        let exchange = Exchange::begin(&entry.connection, true);
        let none = patience(Some(Duration::ZERO));
        assert!(
            matches!(entry.connection.look(none), Look::Next(_)),
            "it is worked on"
        );
        exchange.progress();
        assert_eq!(entry.connection.look(none), Look::TooSlow);
        assert!(matches!(
            entry.connection.look(patience(None)),
            Look::Next(_)
        ));
        drop(exchange);
        assert_eq!(entry.connection.look(none), Look::TooLongIdle);
    }

    #[test]
    fn answer_that_the_peer_leaves_unread_is_seen_while_other_requests_go_on() {
        let patience = Patience {
            head: Duration::from_secs(60),
            stall: Some(Duration::from_secs(75)),
        };
        let entry = Arc::new(Connections::default()).add(None);
        let unread = Exchange::begin(&entry.connection, true);
        unread.progress();
        let _socket = Exchange::begin(&entry.connection, true);
        assert!(matches!(entry.connection.look(patience), Look::Next(_)));
        entry
            .connection
            .state()
            .sending
            .values_mut()
            .for_each(|since| *since -= MAX_STALL);
        drop(Exchange::begin(&entry.connection, true));
        assert_eq!(entry.connection.look(patience), Look::TooSlow);
        unread.progress();
        assert!(
            matches!(entry.connection.look(patience), Look::Next(_)),
            "it was read on"
        );
    }
}
