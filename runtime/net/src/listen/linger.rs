//! What a client still sends after the answer to its request.
//!
//! A connection that is closed, or a stream of HTTP/2 that is reset, while the client sends takes
//! the answer from many clients: TCP drops what the client has not read (RFC 9112 section 9.6), and
//! curl 7.88 drops the answer to a stream that was reset (RFC 9113 section 8.1 forbids that).
//!
//! **Invariant:** what is read here is dropped. It holds no more than its connection's place, for
//! at most [`LINGER`] after the answer, and a connection that lingers makes room for another.

use super::connections::Connection;
use http_body_util::BodyExt;
use hyper::body::{Bytes, Incoming};
use std::convert::Infallible;
use std::future::pending;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, ReadBuf};
use tokio::sync::oneshot;
use tokio::time::Sleep;

/// How long a client may send after its answer was written.
const LINGER: Duration = Duration::from_secs(2);
/// Most that is read of it. A client that sends more is left waiting until the time is up: it can
/// read its answer meanwhile.
const MAX_DISCARDED_BYTES: usize = 16 << 20;
/// How much is read at once.
const CHUNK_BYTES: usize = 8 * 1024;

/// Reads the rest of a request's body, until its end or until [`LINGER`] after the answer.
///
/// `answered` resolves when the answer is written or was given up: its sender is dropped.
pub(super) async fn discard(
    mut rest: Incoming,
    answered: oneshot::Receiver<Infallible>,
    connection: Arc<Connection>,
) {
    let too_long = async {
        let _ = answered.await;
        let _ = tokio::time::timeout(LINGER, connection.server_ends()).await;
    };

    tokio::select! {
        is_whole = read_to_end(&mut rest) => {
            if is_whole {
                connection.body_is_read();
            }
        }
        () = too_long => {}
    }
}

/// Returns whether the body ended, rather than broke off.
async fn read_to_end(rest: &mut Incoming) -> bool {
    let mut left = MAX_DISCARDED_BYTES;
    while let Some(frame) = rest.frame().await {
        let Ok(frame) = frame else {
            return false;
        };
        left = left.saturating_sub(frame.data_ref().map_or(0, Bytes::len));
        if left == 0 {
            pending::<()>().await;
        }
    }
    true
}

/// Reads what arrives on a connection whose own end is closed.
pub(super) struct Lingering {
    end: Pin<Box<Sleep>>,
    left: usize,
}

impl Lingering {
    pub(super) fn begin() -> Self {
        Self {
            end: Box::pin(tokio::time::sleep(LINGER)),
            left: MAX_DISCARDED_BYTES,
        }
    }

    /// Is ready when the client has closed its end as well, or has had its time or its bytes.
    pub(super) fn poll<S: AsyncRead + Unpin>(
        &mut self,
        stream: &mut S,
        cx: &mut Context<'_>,
    ) -> Poll<()> {
        if self.end.as_mut().poll(cx).is_ready() {
            return Poll::Ready(());
        }

        let mut chunk = [0; CHUNK_BYTES];
        while self.left > 0 {
            let mut buffer = ReadBuf::new(&mut chunk);
            let read = ready!(Pin::new(&mut *stream).poll_read(cx, &mut buffer));
            let length = buffer.filled().len();
            if read.is_err() || length == 0 {
                break;
            }
            self.left = self.left.saturating_sub(length);
        }
        Poll::Ready(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::poll_fn;
    use tokio::io::AsyncWriteExt;

    #[tokio::test]
    async fn connection_lingers_until_the_client_closes_or_its_time_is_up() {
        for closes in [true, false] {
            let (mut client, mut server) = tokio::io::duplex(1024);
            let begun = tokio::time::Instant::now();
            let mut lingering = Lingering::begin();
            let sent = tokio::spawn(async move {
                client.write_all(&[b'x'; 4096]).await.expect("it is read");
                (!closes).then_some(client)
            });
            poll_fn(|cx| lingering.poll(&mut server, cx)).await;
            assert_eq!(begun.elapsed() >= LINGER, !closes);
            drop(sent.await.expect("all was sent"));
        }
    }

    #[tokio::test]
    async fn connection_reads_no_more_than_its_bound() {
        let mut lingering = Lingering::begin();
        let mut endless = tokio::io::repeat(b'x');
        poll_fn(|cx| lingering.poll(&mut endless, cx)).await;
        assert_eq!(lingering.left, 0);
    }
}
