//! Bodies on their way: streamed, with bounds on size and silence.
//!
//! Trailers do not pass, over HTTP/1.1 and HTTP/2 alike: recipients may merge them into the headers
//! (RFC 9110 section 6.5.1), past the rules for those.

use super::activity::Activity;
use super::slots::Slot;
use axum::BoxError;
use axum::body::{Body, Bytes};
use http_body_util::Limited;
use hyper::body::{Body as HttpBody, Frame, Incoming, SizeHint};
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::time::{Instant, Sleep, sleep};

/// The body of a request, with a bound on its bytes. Each part that passes counts as activity.
pub(super) fn to_upstream(body: Body, most: usize, activity: &Activity) -> Body {
    if body.is_end_stream() {
        return Body::empty();
    }
    let activity = activity.clone();
    Body::new(RequestBody {
        body: Limited::new(body, most),
        activity,
    })
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
        match polled {
            Poll::Ready(_) => self.activity.note(),
            Poll::Pending => self.activity.wait_for_client(),
        }
        polled.map(without_trailers)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// The next part of a body, which ends where its trailers begin.
fn without_trailers<E>(frame: Option<Result<Frame<Bytes>, E>>) -> Option<Result<Frame<Bytes>, E>> {
    frame.filter(|frame| !frame.as_ref().is_ok_and(Frame::is_trailers))
}

/// Ready when the caller of a stream or socket is no longer let in.
pub(super) type AccessEnd = Pin<Box<dyn Future<Output = ()> + Send>>;

/// The body of an answer. It breaks off when the application is silent for too long, and when its
/// caller is no longer let in.
pub(super) struct AnswerBody {
    body: Incoming,
    limit: Duration,
    silence: Silence,
    access_end: Option<AccessEnd>,
    /// Held until the answer is complete.
    _slot: Slot,
}

impl AnswerBody {
    pub(super) fn new(
        body: Incoming,
        limit: Duration,
        access_end: Option<AccessEnd>,
        slot: Slot,
    ) -> Self {
        Self {
            body,
            limit,
            silence: Silence::default(),
            access_end,
            _slot: slot,
        }
    }
}

/// The time for which an application has sent nothing. Most answers are complete at the first look,
/// and set no timer.
#[derive(Default)]
struct Silence {
    timer: Option<Pin<Box<Sleep>>>,
    /// Whether the timer counts since the last part.
    is_counting: bool,
}

impl Silence {
    fn end(&mut self) {
        self.is_counting = false;
    }

    /// Ready when it has lasted for this long. It begins with the first call after
    /// [`end`](Self::end).
    fn poll_limit(&mut self, limit: Duration, cx: &mut Context<'_>) -> Poll<()> {
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep(limit)));
        if !self.is_counting {
            timer.as_mut().reset(Instant::now() + limit);
            self.is_counting = true;
        }
        timer.as_mut().poll(cx)
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
        if let Some(end) = &mut this.access_end
            && end.as_mut().poll(cx).is_ready()
        {
            this.access_end = None;
            return Poll::Ready(Some(Err("the caller is no longer let in".into())));
        }

        if let Poll::Ready(frame) = Pin::new(&mut this.body).poll_frame(cx) {
            this.silence.end();
            let frame = frame.map(|frame| frame.map_err(Into::into));
            return Poll::Ready(without_trailers(frame));
        }

        match this.silence.poll_limit(this.limit, cx) {
            Poll::Ready(()) => {
                Poll::Ready(Some(Err(io::Error::from(io::ErrorKind::TimedOut).into())))
            }
            Poll::Pending => Poll::Pending,
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    /// Unknown where no body follows: the length of an answer to HEAD, and of a 304, is in its head
    /// alone, and zero is wrong (RFC 9110 section 8.6).
    fn size_hint(&self) -> SizeHint {
        if self.body.is_end_stream() {
            SizeHint::default()
        } else {
            self.body.size_hint()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderMap;

    #[test]
    fn body_ends_where_its_trailers_begin() {
        let data: Result<_, BoxError> = Ok(Frame::data(Bytes::from_static(b"a")));
        assert!(without_trailers(Some(data)).is_some_and(|frame| frame.is_ok()));
        let trailers: Result<_, BoxError> = Ok(Frame::trailers(HeaderMap::new()));
        assert!(without_trailers(Some(trailers)).is_none());
        let failed: Result<Frame<Bytes>, BoxError> = Err("broken".into());
        assert!(without_trailers(Some(failed)).is_some());
    }
}
