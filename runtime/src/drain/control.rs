use super::verdict::expiry_after;
use super::{Epoch, Marker, MarkerFile, judge};
use crate::auth::Permit;
use jiff::{Timestamp, Unit};
use std::io;
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;
use tokio::sync::oneshot;

/// Longest life that a caller may ask for, in seconds.
pub const MAX_TTL_SECONDS: u64 = 86_400;

/// What a caller may ask of a drain.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BeginRequest {
    /// This drain's life instead of the greatest age, 1 to [`MAX_TTL_SECONDS`] seconds.
    pub ttl: Option<Duration>,
    /// Should people be spared a message about it?
    pub suppress_notification: bool,
}

/// A drain that stands on the disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Begun {
    /// When it was asked for.
    pub requested_at: Timestamp,
    /// When it ends by itself.
    pub expires_at: Option<Timestamp>,
    /// As asked.
    pub suppress_notification: bool,
}

/// A drain that stands no longer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cancelled {
    /// Was one on?
    pub was_draining: bool,
}

/// The marker is not as the caller asked for it.
#[derive(Clone, Debug, thiserror::Error)]
pub enum DrainError {
    /// The marker could not be written.
    #[error("the drain marker could not be written: {0}")]
    NotWritten(Arc<io::Error>),
    /// The marker could not be removed.
    #[error("the drain marker could not be removed: {0}")]
    NotRemoved(Arc<io::Error>),
    /// The process is ending.
    #[error("the drain control has stopped")]
    Stopped,
}

/// Begins and cancels drains, for whoever holds a permit.
///
/// One thread owns the marker. What arrives while it waits for the disk is done together: consecutive
/// begins share one write, since each refreshes the one before it and the sync is what costs.
#[derive(Clone, Debug)]
pub struct DrainControl {
    operations: mpsc::Sender<Operation>,
}

#[derive(Debug)]
enum Operation {
    Begin { principal: String, request: BeginRequest, reply: oneshot::Sender<Result<Begun, DrainError>> },
    Cancel { reply: oneshot::Sender<Result<Cancelled, DrainError>> },
}

impl DrainControl {
    /// Control over this marker. `max_age` of zero: a drain without a life of its own never ends by itself.
    pub fn start(marker: MarkerFile, max_age: Duration) -> Self {
        let (operations, inbox) = mpsc::channel();
        let keeper = MarkerKeeper { marker, max_age, epoch: Epoch::present() };
        thread::Builder::new()
            .name("drain-marker".into())
            .spawn(move || keeper.run(&inbox))
            .expect("a process that cannot start a thread cannot serve");
        Self { operations }
    }

    /// Begins a drain, or refreshes the one that is on. When this returns, the marker is on the disk.
    ///
    /// # Errors
    /// The marker is not as asked: nobody may be told that it drains.
    pub async fn begin(&self, permit: &Permit, request: BeginRequest) -> Result<Begun, DrainError> {
        let (reply, answer) = oneshot::channel();
        let principal = permit.name().to_owned();
        self.operations
            .send(Operation::Begin { principal, request, reply })
            .map_err(|_| DrainError::Stopped)?;
        answer.await.unwrap_or(Err(DrainError::Stopped))
    }

    /// Cancels the drain, if one is on.
    ///
    /// # Errors
    /// The marker is still there.
    pub async fn cancel(&self, _permit: &Permit) -> Result<Cancelled, DrainError> {
        let (reply, answer) = oneshot::channel();
        self.operations.send(Operation::Cancel { reply }).map_err(|_| DrainError::Stopped)?;
        answer.await.unwrap_or(Err(DrainError::Stopped))
    }
}

/// The thread that owns the marker.
struct MarkerKeeper {
    marker: MarkerFile,
    max_age: Duration,
    epoch: Option<Epoch>,
}

type BeginReply = (oneshot::Sender<Result<Begun, DrainError>>, Begun);

impl MarkerKeeper {
    fn run(&self, inbox: &mpsc::Receiver<Operation>) {
        self.marker.sweep();
        while let Ok(first) = inbox.recv() {
            let mut begins: Vec<BeginReply> = Vec::new();
            let mut last: Option<Marker> = None;
            for operation in std::iter::once(first).chain(inbox.try_iter()) {
                match operation {
                    Operation::Begin { principal, request, reply } => {
                        let begun = self.begun(request);
                        last = Some(self.marker_for(principal, &begun));
                        begins.push((reply, begun));
                    }
                    Operation::Cancel { reply } => {
                        self.finish_begins(last.take(), &mut begins);
                        let _ = reply.send(self.cancel());
                    }
                }
            }
            self.finish_begins(last, &mut begins);
        }
    }

    fn begun(&self, request: BeginRequest) -> Begun {
        let now = Timestamp::now();
        // Microseconds, as the original writes them.
        let requested_at = now.round(Unit::Microsecond).unwrap_or(now);
        let life = request.ttl.unwrap_or(self.max_age);
        let expires_at = if life.is_zero() { None } else { expiry_after(requested_at, life) };
        Begun { requested_at, expires_at, suppress_notification: request.suppress_notification }
    }

    fn marker_for(&self, principal: String, begun: &Begun) -> Marker {
        let epoch = self.epoch.as_ref().map(|epoch| epoch.as_str().to_owned());
        Marker::begin(begun.requested_at, principal, epoch, begun.suppress_notification, begun.expires_at)
    }

    /// One write for all the begins since the last cancel.
    fn finish_begins(&self, last: Option<Marker>, begins: &mut Vec<BeginReply>) {
        let Some(last) = last else { return };
        let written = self.marker.write(&last).map_err(|error| DrainError::NotWritten(Arc::new(error)));
        for (reply, begun) in begins.drain(..) {
            // Whoever asked may have gone; the drain stands all the same.
            let _ = reply.send(written.clone().map(|()| begun));
        }
    }

    fn cancel(&self) -> Result<Cancelled, DrainError> {
        let verdict = judge(&self.marker.read(), self.epoch.as_ref(), self.max_age, Timestamp::now());
        self.marker.clear().map_err(|error| DrainError::NotRemoved(Arc::new(error)))?;
        Ok(Cancelled { was_draining: verdict.is_draining() })
    }
}
