//! Bodies on their way: streamed, with bounds on size and silence.

use super::activity::Activity;
use axum::body::{Body, Bytes};
use http_body_util::Limited;
use hyper::body::{Body as HttpBody, Frame, Incoming, SizeHint};
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, Sleep, sleep};

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// The body of a request, with a bound on its bytes. Each part that passes counts as activity.
pub(super) fn to_upstream(body: Body, most: usize, activity: Activity) -> Body {
    Body::new(RequestBody { body: Limited::new(body, most), activity })
}

struct RequestBody {
    body: Limited<Body>,
    activity: Activity,
}

impl HttpBody for RequestBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        if polled.is_ready() {
            self.activity.note();
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

/// Ready when the session of a stream is over.
pub(super) type SessionEnd = Pin<Box<dyn Future<Output = ()> + Send>>;

/// The body of an answer. It breaks off when the application is silent for too long, and when the session ends that it
/// follows.
pub(super) struct AnswerBody {
    body: Incoming,
    limit: Duration,
    silence: Pin<Box<Sleep>>,
    session_end: Option<SessionEnd>,
    /// Held until the answer is complete.
    _slot: OwnedSemaphorePermit,
}

impl AnswerBody {
    pub(super) fn new(
        body: Incoming,
        limit: Duration,
        session_end: Option<SessionEnd>,
        slot: OwnedSemaphorePermit,
    ) -> Self {
        Self { body, limit, silence: Box::pin(sleep(limit)), session_end, _slot: slot }
    }
}

impl HttpBody for AnswerBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = &mut *self;
        if let Some(end) = &mut this.session_end
            && end.as_mut().poll(cx).is_ready()
        {
            this.session_end = None;
            return Poll::Ready(Some(Err("the session is over".into())));
        }
        if let Poll::Ready(frame) = Pin::new(&mut this.body).poll_frame(cx) {
            this.silence.as_mut().reset(Instant::now() + this.limit);
            return Poll::Ready(frame.map(|frame| frame.map_err(Into::into)));
        }
        match this.silence.as_mut().poll(cx) {
            Poll::Ready(()) => Poll::Ready(Some(Err(io::Error::from(io::ErrorKind::TimedOut).into()))),
            Poll::Pending => Poll::Pending,
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    /// Unknown where no body follows: the length of an answer to HEAD, and of a 304, is in its head alone, and zero is wrong
    /// (RFC 9110 section 8.6).
    fn size_hint(&self) -> SizeHint {
        if self.body.is_end_stream() { SizeHint::default() } else { self.body.size_hint() }
    }
}
