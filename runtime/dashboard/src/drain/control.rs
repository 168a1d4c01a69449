use jiff::{Timestamp, Unit};
use portcullis_auth::OperatorPermit;
use portcullis_home::{
    DrainVerdict, Epoch, Lease, Leases, MAX_LEASES, Marker, MarkerFile, MarkerState, StaleReason,
    TooManyLeases, expiry_after, judge, next_generation,
};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;
use tokio::sync::{oneshot, watch};

/// Interval at which the marker is read, for leases that have ended and for changes by other
/// programs.
const TICK: Duration = Duration::from_secs(1);

/// A request to begin or renew a lease.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BeginRequest {
    /// Name of the owner. `None`: the name of the caller's permit.
    pub owner: Option<String>,
    /// Why the owner drains.
    pub reason: Option<String>,
    /// Life of the lease, 1 to [`MAX_TTL_SECONDS`](portcullis_home::MAX_TTL_SECONDS) seconds.
    /// `None`: the maximum age of a marker.
    pub ttl: Option<Duration>,
    /// Whether people get no message about the drain.
    pub suppress_notification: bool,
}

/// Which leases to end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cancel {
    /// The lease of this owner. `None`: of the owner with the name of the caller's permit.
    Own(Option<String>),
    /// End the leases of all owners.
    Force,
}

/// A change that is on the disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changed {
    /// The lease that was begun or renewed; `None` after a cancel.
    pub lease: Option<Lease>,
    /// All leases after the change, the newest last.
    pub holders: Vec<Lease>,
    /// Leases of other owners that were ended by force.
    pub overridden: Vec<Lease>,
    /// Whether the marker file existed before.
    pub was_draining: bool,
    /// Whether the marker file exists now.
    pub is_draining: bool,
    /// Number of changes so far, including this one.
    pub generation: u64,
}

/// The marker was not changed as the caller asked.
#[derive(Clone, Debug, thiserror::Error)]
pub enum DrainError {
    /// The marker could not be written.
    #[error("the drain marker could not be written: {0}")]
    NotWritten(Arc<io::Error>),
    /// The marker could not be removed.
    #[error("the drain marker could not be removed: {0}")]
    NotRemoved(Arc<io::Error>),
    /// As many owners as there are places hold a lease already ([`MAX_LEASES`]).
    #[error("{} owners already hold a lease, which is the maximum", MAX_LEASES - 1)]
    TooManyOwners,
    /// The thread of the marker panicked in the middle of the change, which is on the disk or is
    /// not.
    #[error("the thread of the drain marker failed in the middle of the change")]
    Interrupted,
}

/// Returns the epoch of the gateway that will act on the marker. `None`: it is not known, and the
/// marker then counts in every epoch.
pub type EpochSource = Box<dyn Fn() -> Option<Epoch> + Send>;

/// Begins and cancels drains for holders of a permit, and removes leases that have ended.
///
/// One thread owns the marker. Consecutive begins that arrive while it waits for the disk share one
/// write, since the fsync is what costs.
///
/// A drain takes the permit of an operator:
///
/// ```no_run
/// use portcullis_auth::OperatorPermit;
/// use portcullis_dashboard::drain::{BeginRequest, Changed, DrainControl, DrainError};
///
/// async fn begin(drain: &DrainControl, permit: &OperatorPermit) -> Result<Changed, DrainError> {
///     drain.begin(permit, BeginRequest::default()).await
/// }
/// ```
///
/// The permit of another caller, who may be a viewer, does not compile:
///
/// ```compile_fail,E0308
/// use portcullis_auth::Permit;
/// use portcullis_dashboard::drain::{BeginRequest, Changed, DrainControl, DrainError};
///
/// async fn begin(drain: &DrainControl, permit: &Permit) -> Result<Changed, DrainError> {
///     drain.begin(permit, BeginRequest::default()).await
/// }
/// ```
///
/// Neither does a drain without a permit:
///
/// ```compile_fail,E0061
/// use portcullis_dashboard::drain::{BeginRequest, Changed, DrainControl, DrainError};
///
/// async fn begin(drain: &DrainControl) -> Result<Changed, DrainError> {
///     drain.begin(BeginRequest::default()).await
/// }
/// ```
#[derive(Clone, Debug)]
pub struct DrainControl {
    operations: mpsc::Sender<DrainOperation>,
    generation: watch::Receiver<u64>,
}

type Reply = oneshot::Sender<Result<Changed, DrainError>>;

#[derive(Debug)]
enum DrainOperation {
    Begin {
        principal: String,
        request: BeginRequest,
        reply: Reply,
    },
    Cancel {
        principal: String,
        cancel: Cancel,
        reply: Reply,
    },
}

impl DrainControl {
    /// Starts the thread that owns this marker. With a `max_age` of zero, a lease without a TTL
    /// never ends by itself.
    ///
    /// # Errors
    /// The thread cannot be started.
    pub fn start(marker: MarkerFile, max_age: Duration, epoch: EpochSource) -> io::Result<Self> {
        let (operations, inbox) = mpsc::channel();
        let (published, generation) = watch::channel(0);
        let keeper = MarkerKeeper::new(marker, max_age, epoch, Box::new(Timestamp::now), published);
        thread::Builder::new()
            .name("drain-marker".into())
            .spawn(move || keeper.run(&inbox))?;
        Ok(Self {
            operations,
            generation,
        })
    }

    /// Returns the number of changes of the drain, as a channel that receives each new number.
    pub fn generation(&self) -> watch::Receiver<u64> {
        self.generation.clone()
    }

    /// Returns whether the thread that owns the marker runs. Without it no drain begins or ends.
    pub fn is_running(&self) -> bool {
        // The thread holds the sender.
        self.generation.has_changed().is_ok()
    }

    /// Begins or renews the caller's lease. Returns when the marker is on the disk.
    ///
    /// # Errors
    /// The marker could not be written, or too many owners hold a lease. The caller must not report
    /// that the agent drains.
    pub async fn begin(
        &self,
        permit: &OperatorPermit,
        request: BeginRequest,
    ) -> Result<Changed, DrainError> {
        let principal = permit.name().to_owned();
        self.carry_out(|reply| DrainOperation::Begin {
            principal,
            request,
            reply,
        })
        .await
    }

    /// Ends the caller's lease, or all leases. The marker is removed with the last lease.
    ///
    /// # Errors
    /// The marker is unchanged, but for [`DrainError::Interrupted`].
    pub async fn cancel(
        &self,
        permit: &OperatorPermit,
        cancel: Cancel,
    ) -> Result<Changed, DrainError> {
        let principal = permit.name().to_owned();
        self.carry_out(|reply| DrainOperation::Cancel {
            principal,
            cancel,
            reply,
        })
        .await
    }

    async fn carry_out(
        &self,
        operation: impl FnOnce(Reply) -> DrainOperation,
    ) -> Result<Changed, DrainError> {
        let (reply, answer) = oneshot::channel();
        self.operations
            .send(operation(reply))
            .map_err(|_| DrainError::Interrupted)?;
        answer.await.unwrap_or(Err(DrainError::Interrupted))
    }
}

/// The thread that owns the marker.
struct MarkerKeeper {
    marker: MarkerFile,
    max_age: Duration,
    epoch: EpochSource,
    now: Box<dyn Fn() -> Timestamp + Send>,
    /// The marker when it was last read, to detect changes by other programs.
    last_seen: MarkerState,
    generation: u64,
    published: watch::Sender<u64>,
}

/// A begin that waits for the shared write.
struct WaitingBegin {
    reply: Reply,
    lease: Lease,
    was_draining: bool,
}

impl MarkerKeeper {
    fn new(
        marker: MarkerFile,
        max_age: Duration,
        epoch: EpochSource,
        now: Box<dyn Fn() -> Timestamp + Send>,
        published: watch::Sender<u64>,
    ) -> Self {
        Self {
            marker,
            max_age,
            epoch,
            now,
            last_seen: MarkerState::Absent,
            generation: 0,
            published,
        }
    }

    fn run(mut self, inbox: &mpsc::Receiver<DrainOperation>) {
        self.survive(Self::begin);
        loop {
            let first = match inbox.recv_timeout(TICK) {
                Ok(first) => Some(first),
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => return,
            };
            if let Some(first) = first {
                let operations = std::iter::once(first).chain(inbox.try_iter());
                self.survive(|keeper| keeper.carry_out(operations));
            }
            // Also after operations: callers that never pause must not keep alive what has ended.
            self.survive(Self::tidy);
        }
    }

    /// Takes one step. A panic in it must not end the thread, without which no drain begins or
    /// ends. The next step reads the marker again, so it works with what is on the disk. The
    /// callers of a step that panicked get [`DrainError::Interrupted`].
    fn survive(&mut self, step: impl FnOnce(&mut Self)) {
        if catch_unwind(AssertUnwindSafe(|| step(self))).is_err() {
            tracing::error!("the thread of the drain marker panicked: it continues");
        }
    }

    /// Looks at what stands there.
    fn begin(&mut self) {
        self.marker.sweep();
        self.last_seen = self.marker.read();
        // Without a marker nothing says how many changes there were. A change takes longer than a
        // microsecond, so no number comes twice.
        self.generation = u64::try_from((self.now)().as_microsecond()).unwrap_or_default();
        self.count_change();
    }

    fn carry_out(&mut self, operations: impl Iterator<Item = DrainOperation>) {
        self.notice_others();
        let mut leases = self.living_leases();
        let mut waiting = Vec::new();

        for operation in operations {
            match operation {
                DrainOperation::Begin {
                    principal,
                    request,
                    reply,
                } => {
                    let was_draining = self.last_seen != MarkerState::Absent || !waiting.is_empty();
                    let lease = self.lease(principal, request);
                    match leases.begin(lease.clone()) {
                        Ok(()) => waiting.push(WaitingBegin {
                            reply,
                            lease,
                            was_draining,
                        }),
                        Err(TooManyLeases) => answer(reply, Err(DrainError::TooManyOwners)),
                    }
                }
                DrainOperation::Cancel {
                    principal,
                    cancel,
                    reply,
                } => {
                    self.finish_begins(&mut leases, &mut waiting);
                    let cancelled = self.cancel(&mut leases, principal, cancel);
                    answer(reply, cancelled);
                }
            }
        }

        self.finish_begins(&mut leases, &mut waiting);
    }

    /// Removes leases that have ended, also from the disk, since the original ignores `expires_at`.
    fn tidy(&mut self) {
        self.notice_others();
        let now = (self.now)();
        let is_over = match judge(&self.last_seen, (self.epoch)().as_ref(), self.max_age, now) {
            // Every gateway ignores such a marker, the original included.
            DrainVerdict::NotDraining | DrainVerdict::Stale(StaleReason::OtherEpoch(_)) => return,
            DrainVerdict::Stale(StaleReason::Expired(_) | StaleReason::TooOld { .. }) => true,
            DrainVerdict::Draining(_) => false,
        };

        let mut leases = Leases::of(&self.last_seen, self.max_age);
        let ended = leases.expire(now);
        let is_corrected = leases.correct_clock(now);
        if ended.is_empty() && !is_over && !is_corrected {
            return;
        }

        if is_over {
            leases = Leases::default();
        }
        match self.store(&leases) {
            Ok(()) => {
                for lease in &ended {
                    tracing::info!(owner = lease.owner, "a drain lease has ended by itself");
                }
                if is_corrected {
                    tracing::warn!(
                        "the clock was ahead when a drain was begun: it lasts for its length from now on"
                    );
                }
            }
            Err(error) => tracing::warn!(%error, "a drain that is over could not be removed"),
        }
    }

    /// Counts a change that another program made.
    fn notice_others(&mut self) {
        let found = self.marker.read();
        if found != self.last_seen {
            self.last_seen = found;
            self.count_change();
        }
    }

    fn count_change(&mut self) {
        let written = match &self.last_seen {
            MarkerState::Present { content, .. } => content.generation,
            _ => 0,
        };
        self.generation = next_generation(self.generation, written);
        self.published.send_replace(self.generation);
    }

    /// Returns the leases of the marker that are in force. Leases from another epoch are not.
    fn living_leases(&self) -> Leases {
        let now = (self.now)();
        if !judge(&self.last_seen, (self.epoch)().as_ref(), self.max_age, now).is_draining() {
            return Leases::default();
        }
        let mut leases = Leases::of(&self.last_seen, self.max_age);
        leases.expire(now);
        leases
    }

    fn lease(&self, principal: String, request: BeginRequest) -> Lease {
        let now = (self.now)();
        // Microseconds, as the original writes them.
        let requested_at = now.round(Unit::Microsecond).unwrap_or(now);
        let life = request.ttl.unwrap_or(self.max_age);

        Lease {
            owner: request.owner.unwrap_or_else(|| principal.clone()),
            principal,
            reason: request.reason,
            requested_at,
            expires_at: if life.is_zero() {
                None
            } else {
                expiry_after(requested_at, life)
            },
            suppress_notification: request.suppress_notification,
        }
    }

    /// Stores all begins since the last cancel with one write.
    fn finish_begins(&mut self, leases: &mut Leases, waiting: &mut Vec<WaitingBegin>) {
        if waiting.is_empty() {
            return;
        }

        let stored = self.store(leases);
        if stored.is_err() {
            *leases = self.living_leases();
        }

        for WaitingBegin {
            reply,
            lease,
            was_draining,
        } in waiting.drain(..)
        {
            let changed = stored.clone().map(|()| Changed {
                lease: Some(lease),
                was_draining,
                ..self.changed(leases)
            });
            answer(reply, changed);
        }
    }

    fn cancel(
        &mut self,
        leases: &mut Leases,
        principal: String,
        cancel: Cancel,
    ) -> Result<Changed, DrainError> {
        let was_draining = self.last_seen != MarkerState::Absent;
        let mut left = leases.clone();
        let overridden = match cancel {
            Cancel::Own(owner) => {
                left.cancel(&owner.unwrap_or(principal));
                Vec::new()
            }
            Cancel::Force => {
                left = Leases::default();
                leases
                    .all()
                    .iter()
                    .filter(|lease| lease.owner != principal)
                    .cloned()
                    .collect()
            }
        };

        // A marker without leases belongs to no owner (`Leases::of`): any caller may remove it.
        if left != *leases || left.all().is_empty() {
            self.store(&left)?;
            *leases = left;
        }
        Ok(Changed {
            was_draining,
            overridden,
            ..self.changed(leases)
        })
    }

    fn changed(&self, leases: &Leases) -> Changed {
        Changed {
            lease: None,
            holders: leases.all().to_vec(),
            overridden: Vec::new(),
            was_draining: false,
            is_draining: self.last_seen != MarkerState::Absent,
            generation: self.generation,
        }
    }

    /// Writes a marker with exactly these leases, or removes the marker if there are none.
    fn store(&mut self, leases: &Leases) -> Result<(), DrainError> {
        let epoch = (self.epoch)();
        let next = next_generation(self.generation, 0);
        let stored = match Marker::of(leases, epoch.as_ref(), next) {
            Some(marker) => self
                .marker
                .write(&marker)
                .map_err(|error| DrainError::NotWritten(Arc::new(error))),
            None => self
                .marker
                .clear()
                .map_err(|error| DrainError::NotRemoved(Arc::new(error))),
        };

        let found = self.marker.read();
        if found != self.last_seen {
            self.last_seen = found;
            self.generation = next;
            self.published.send_replace(self.generation);
        }

        stored
    }
}

/// Sends the result. If the caller has disconnected, the change remains.
fn answer(reply: Reply, result: Result<Changed, DrainError>) {
    let _ = reply.send(result);
}

#[cfg(test)]
mod tests {
    use super::*;
    use portcullis_home::MarkerContent;
    use std::collections::BTreeMap;
    use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

    /// What may happen to a drain.
    #[derive(Clone, Copy, Debug)]
    enum Step {
        Begin(&'static str, u64),
        Cancel(&'static str),
        Force,
        /// Lets this many seconds pass, and has the keeper look.
        Pass(i64),
        /// The machine or container starts again, in another epoch: no drain of the one before
        /// counts.
        NewEpoch,
        /// The dashboard starts again, and knows only the marker.
        NewDashboard,
    }

    const STEPS: [Step; 10] = [
        Step::Begin("a", 2),
        Step::Begin("a", 5),
        Step::Begin("b", 3),
        Step::Cancel("a"),
        Step::Cancel("b"),
        Step::Force,
        Step::Pass(1),
        Step::Pass(3),
        Step::NewEpoch,
        Step::NewDashboard,
    ];
    const MAX_AGE: Duration = Duration::from_secs(3600);

    /// The keeper over a marker on the disk, and beside it a model of who drains until when.
    struct Rig {
        marker: MarkerFile,
        keeper: MarkerKeeper,
        now: Arc<AtomicI64>,
        epoch: Arc<AtomicI64>,
        generation: u64,
        model: BTreeMap<&'static str, i64>,
    }

    impl Rig {
        fn new(home: &std::path::Path) -> Self {
            let marker = MarkerFile::new(home);
            marker.clear().unwrap();
            let (now, epoch) = (Arc::new(AtomicI64::new(1_000)), Arc::new(AtomicI64::new(1)));
            let keeper = Self::keeper(&marker, &now, &epoch);
            Self {
                marker,
                keeper,
                now,
                epoch,
                generation: 0,
                model: BTreeMap::new(),
            }
        }

        fn keeper(
            marker: &MarkerFile,
            now: &Arc<AtomicI64>,
            epoch: &Arc<AtomicI64>,
        ) -> MarkerKeeper {
            let (now, epoch) = (now.clone(), epoch.clone());
            let mut keeper = MarkerKeeper::new(
                marker.clone(),
                MAX_AGE,
                Box::new(move || Some(epoch_of(epoch.load(Ordering::Relaxed)))),
                Box::new(move || at(now.load(Ordering::Relaxed))),
                watch::channel(0).0,
            );
            keeper.begin();
            keeper
        }

        fn carry_out(&mut self, operation: impl FnOnce(Reply) -> DrainOperation) {
            let (reply, mut answer) = oneshot::channel();
            self.keeper.carry_out(std::iter::once(operation(reply)));
            let changed = answer.try_recv().unwrap().unwrap();
            assert!(changed.generation >= self.generation);
            self.generation = changed.generation;
        }

        fn take(&mut self, step: Step) {
            let now = self.now.load(Ordering::Relaxed);
            let principal = "drain-control".to_owned();
            match step {
                Step::Begin(owner, ttl) => {
                    let owner_name = Some(owner.to_owned());
                    let ttl_given = Some(Duration::from_secs(ttl));
                    let request = BeginRequest {
                        owner: owner_name,
                        ttl: ttl_given,
                        ..BeginRequest::default()
                    };
                    self.carry_out(|reply| DrainOperation::Begin {
                        principal,
                        request,
                        reply,
                    });
                    self.model.insert(owner, now + i64::try_from(ttl).unwrap());
                }
                Step::Cancel(owner) => {
                    let cancel = Cancel::Own(Some(owner.to_owned()));
                    self.carry_out(|reply| DrainOperation::Cancel {
                        principal,
                        cancel,
                        reply,
                    });
                    self.model.remove(owner);
                }
                Step::Force => {
                    let cancel = Cancel::Force;
                    self.carry_out(|reply| DrainOperation::Cancel {
                        principal,
                        cancel,
                        reply,
                    });
                    self.model.clear();
                }
                Step::Pass(seconds) => {
                    self.now.store(now + seconds, Ordering::Relaxed);
                    self.model.retain(|_, end| *end > now + seconds);
                    // A gateway without a dashboard sees it as well.
                    self.check(&[step]);
                    self.keeper.tidy();
                }
                Step::NewEpoch => {
                    self.epoch.fetch_add(1, Ordering::Relaxed);
                    self.model.clear();
                }
                Step::NewDashboard => {
                    self.keeper = Self::keeper(&self.marker, &self.now, &self.epoch);
                    // It counts on from the clock, and no second passes here.
                    self.generation = 0;
                }
            }
        }

        fn check(&self, path: &[Step]) {
            let epoch = epoch_of(self.epoch.load(Ordering::Relaxed));
            let now = at(self.now.load(Ordering::Relaxed));
            let verdict = judge(&self.marker.read(), Some(&epoch), MAX_AGE, now);
            assert_eq!(
                verdict.is_draining(),
                !self.model.is_empty(),
                "{path:?}: {verdict:?}"
            );
        }
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn epoch_of(number: i64) -> Epoch {
        Epoch::known(format!("boot:{number}"))
    }

    fn begin(owner: &str, ttl: u64) -> BeginRequest {
        BeginRequest {
            owner: Some(owner.to_owned()),
            ttl: Some(Duration::from_secs(ttl)),
            ..BeginRequest::default()
        }
    }

    /// What the marker on the disk says.
    fn content_of(marker: &MarkerFile) -> MarkerContent {
        match marker.read() {
            MarkerState::Present { content, .. } => content,
            other => panic!("no content: {other:?}"),
        }
    }

    #[tokio::test]
    async fn panic_ends_one_change_and_not_the_thread() {
        let home = tempfile::tempdir().unwrap();
        let marker = MarkerFile::new(home.path());
        let is_broken = Arc::new(AtomicBool::new(false));
        let breaks = is_broken.clone();
        let epoch = move || {
            assert!(!breaks.load(Ordering::Relaxed), "a fault of the epoch");
            Some(epoch_of(1))
        };
        let control = DrainControl::start(marker.clone(), MAX_AGE, Box::new(epoch)).unwrap();
        let change = |ttl: u64| {
            control.carry_out(move |reply| DrainOperation::Begin {
                principal: "drain-control".to_owned(),
                request: begin("a", ttl),
                reply,
            })
        };

        change(600).await.unwrap();
        is_broken.store(true, Ordering::Relaxed);
        assert!(matches!(change(700).await, Err(DrainError::Interrupted)));
        assert!(control.is_running());
        is_broken.store(false, Ordering::Relaxed);
        let changed = change(800).await.unwrap();
        assert_eq!(content_of(&marker).holders, changed.holders);
    }

    #[test]
    fn control_without_its_thread_does_not_run() {
        let (operations, _) = mpsc::channel();
        let (published, generation) = watch::channel(0);
        let control = DrainControl {
            operations,
            generation,
        };
        assert!(control.is_running());
        drop(published);
        assert!(!control.is_running());
    }

    #[test]
    fn drain_of_no_owner_gives_way_to_the_next_begin() {
        let home = tempfile::tempdir().unwrap();
        let owners_after = |marker: &str| {
            let mut rig = Rig::new(home.path());
            std::fs::write(rig.marker.path(), marker).unwrap();
            rig.take(Step::Begin("a", 5));
            let content = content_of(&rig.marker);
            let owners: Vec<_> = content.holders.into_iter().map(|one| one.owner).collect();
            rig.take(Step::Cancel("a"));
            (owners, rig.marker.read() == MarkerState::Absent)
        };
        for marker in ["", "not json", "{}", r#"{"principal":""}"#] {
            assert_eq!(owners_after(marker), (vec!["a".to_owned()], true));
        }
        let named = owners_after(r#"{"principal":"nas"}"#);
        assert_eq!(named, (vec!["nas".to_owned(), "a".to_owned()], false));
    }

    #[test]
    fn long_texts_of_another_program_do_not_cost_the_leases() {
        let home = tempfile::tempdir().unwrap();
        let mut rig = Rig::new(home.path());
        let foreign = format!(r#"{{"principal":"{}"}}"#, "x".repeat(30_000));
        std::fs::write(rig.marker.path(), foreign).unwrap();
        rig.take(Step::Begin("a", 5));
        let content = content_of(&rig.marker);
        let owners: Vec<_> = content.holders.iter().map(|one| one.owner.len()).collect();
        assert_eq!(owners, [256, 1]);
    }

    #[test]
    fn generation_of_a_restart_is_one_that_was_never_used() {
        let home = tempfile::tempdir().unwrap();
        let mut rig = Rig::new(home.path());
        for _ in 0..20 {
            rig.take(Step::Begin("a", 600));
            rig.take(Step::Cancel("a"));
        }

        let used = rig.keeper.generation;
        rig.now.fetch_add(1, Ordering::Relaxed);
        let restarted = Rig::keeper(&rig.marker, &rig.now, &rig.epoch);
        assert!(
            restarted.generation > used,
            "{} after {used}",
            restarted.generation
        );
    }

    #[test]
    fn generation_that_is_written_is_believed_after_a_restart() {
        const LARGEST: u64 = 1 << 52;
        let home = tempfile::tempdir().unwrap();
        let mut rig = Rig::new(home.path());
        for written in [LARGEST - 1, LARGEST] {
            let foreign = format!(r#"{{"principal":"nas","generation":{written}}}"#);
            std::fs::write(rig.marker.path(), foreign).unwrap();
            rig.keeper = Rig::keeper(&rig.marker, &rig.now, &rig.epoch);
            let mut seen = rig.keeper.generation;
            // Past the largest.
            for ttl in 10..13 {
                let (reply, mut answer) = oneshot::channel();
                rig.keeper.carry_out(std::iter::once(DrainOperation::Begin {
                    principal: "drain-control".to_owned(),
                    request: begin("a", ttl),
                    reply,
                }));
                let changed = answer.try_recv().unwrap().unwrap();
                assert_ne!(changed.generation, seen, "each change has another number");
                assert_eq!(content_of(&rig.marker).generation, changed.generation);
                seen = changed.generation;
            }
        }
    }

    #[test]
    fn drain_is_on_exactly_while_a_lease_lives() {
        const LENGTH: u32 = 4;
        let memory = std::path::Path::new("/dev/shm");
        let home = match memory.is_dir() {
            true => tempfile::tempdir_in(memory).unwrap(),
            false => tempfile::tempdir().unwrap(),
        };
        for number in 0..STEPS.len().pow(LENGTH) {
            let step = |place| STEPS[number / STEPS.len().pow(place) % STEPS.len()];
            let path: Vec<_> = (0..LENGTH).map(step).collect();
            let mut rig = Rig::new(home.path());
            for (taken, step) in path.iter().enumerate() {
                rig.take(*step);
                rig.check(&path[..=taken]);
            }
        }
    }
}
