//! The gateway's process: start, watcher, listeners, status file and shutdown.

use super::ApiKey;
use super::custody::Custody;
use super::leftovers::Leftovers;
use super::metrics::{GatewayMetrics, LifeView};
use super::records::TurnRecords;
use super::restart_watch::RestartWatch;
use super::runner::TurnCommand;
use super::server::{INTERNAL_SOCKET, ListenerKind, TurnService, router};
use super::turns::{Admittance, Snapshot, Turns};
use super::watcher::{MarkerWatch, Signal, stop_channel};
use jiff::Timestamp;
use portcullis_home::RestartRequest;
use portcullis_home::home_lock::{GATEWAY_LOCK, HomeLock};
use portcullis_home::{Demand, ExitReason, GatewayState, Status, StatusFile, TurnInFlight};
use portcullis_home::{DrainVerdict, MarkerFile, has_own_proc, process_start_time};
use portcullis_home::{RUN_LOCKS, RunLock};
use portcullis_net::listen::{self, ConnectionLimits};
use serde_json::json;
use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs::{self, DirBuilder, File};
use std::io;
use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::mpsc::SyncSender;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::{Notify, mpsc, watch};

/// Maximum time that killed turns may take to end.
const KILL_PATIENCE: Duration = Duration::from_secs(5);
/// Pause before a failed write of the status is retried.
const STATUS_RETRY: Duration = Duration::from_millis(250);

/// Settings of a gateway.
#[derive(Clone, Debug)]
pub struct GatewaySettings {
    /// Directory with the marker, the status file and the internal channel.
    pub home: PathBuf,
    /// Address of the HTTP port. Port 0 picks one.
    pub listen: SocketAddr,
    /// Command of a turn. If it is empty, turns are refused.
    pub command: Vec<OsString>,
    /// Environment variables that are removed from the environment of turns.
    pub secret_variables: BTreeSet<OsString>,
    /// Maximum number of turns in flight.
    pub max_turns: usize,
    /// Maximum duration of a turn. `None`: no limit.
    pub turn_timeout: Option<Duration>,
    /// How long turns in flight may run on after the process was asked to end.
    pub shutdown_grace: Duration,
    /// Key that callers of the HTTP port present. `None`: none is needed, and `listen` must be a
    /// loopback address.
    pub api_key: Option<ApiKey>,
    /// Maximum age of a marker without `expires_at`; zero: no limit.
    pub max_marker_age: Duration,
    /// Path of this binary, which is also each turn's guard.
    pub binary: PathBuf,
}

/// Why the gateway did not start.
#[derive(Debug, thiserror::Error)]
pub enum GatewayError {
    /// The address is not loopback, and there is no key.
    #[error(
        "gateway.listen is {0}, which other machines reach: set gateway.api_key (portcullis secret generate makes one), \
         or listen on 127.0.0.1"
    )]
    KeyMissing(SocketAddr),
    /// Another gateway holds the home.
    #[error("another gateway runs over {0}: end it first, or use another --home")]
    HomeTaken(PathBuf),
    /// A turn's processes could not be counted.
    #[error(
        "/proc is that of another pid namespace: mount one for this namespace (unshare --mount-proc), since the processes of \
         turns are counted by it"
    )]
    ForeignProc,
    /// The address is taken or not ours.
    #[error("cannot listen on {address} (gateway.listen): {cause}")]
    Listen {
        /// The address that cannot be bound.
        address: SocketAddr,
        /// Error of the operating system.
        cause: io::Error,
    },
    /// A file in the home cannot be used.
    #[error("cannot use {path}: {cause}")]
    Home {
        /// Path of the file.
        path: PathBuf,
        /// Error of the operating system.
        cause: io::Error,
    },
}

impl GatewayError {
    /// Returns whether it is a mistake in the settings.
    pub fn is_usage(&self) -> bool {
        matches!(self, Self::KeyMissing(_))
    }
}

/// Checks that the address is one that this machine alone reaches, or that callers present a key.
///
/// # Errors
/// Other machines reach the address, and there is no key.
pub fn check_listen(listen: SocketAddr, has_key: bool) -> Result<(), GatewayError> {
    if listen.ip().is_loopback() || has_key {
        Ok(())
    } else {
        Err(GatewayError::KeyMissing(listen))
    }
}

/// A gateway that has started: its listeners are bound, and the marker has been read.
pub struct Gateway {
    tcp: TcpListener,
    unix: UnixListener,
    socket_path: PathBuf,
    service: TurnService,
    lifecycle: Arc<Lifecycle>,
    watch: MarkerWatch,
    restart: RestartWatch,
    status_landed: bool,
    shutdown_grace: Duration,
    lock: HomeLock,
    leftovers: Leftovers,
    run_lock: RunLock,
}

impl Gateway {
    /// Takes the lock, ends what an earlier run left of its turns, binds both listeners and reads
    /// the marker. No turn is accepted before the marker has been read.
    ///
    /// # Errors
    /// The address is not loopback and there is no key, another gateway holds the home, or a
    /// listener cannot be bound. In the last case the status file says `startup_failed`.
    pub async fn start(settings: GatewaySettings) -> Result<Self, GatewayError> {
        check_listen(settings.listen, settings.api_key.is_some())?;
        if !has_own_proc() {
            return Err(GatewayError::ForeignProc);
        }

        let home = settings.home.clone();
        let lock = take_home(&home)?;
        let status_file = StatusFile::new(&home);
        status_file.sweep();
        let restarts = status_file.restarts();
        let status = |state, exit_reason| {
            Status::of_this_process(state, 0, exit_reason).after_restarts(restarts)
        };
        if let Err(error) = status_file.write(&status(GatewayState::Starting, None)) {
            tracing::warn!(%error, "the status file could not be written yet");
        }

        Self::bind(settings, status_file.clone(), lock, restarts)
            .await
            .inspect_err(|error| {
                let _ = status_file.write(&status(
                    GatewayState::StartupFailed,
                    Some(error.to_string()),
                ));
            })
    }

    async fn bind(
        settings: GatewaySettings,
        status_file: StatusFile,
        lock: HomeLock,
        restarts: u64,
    ) -> Result<Self, GatewayError> {
        let run_locks = settings.home.join(RUN_LOCKS);
        let (mut leftovers, run_lock) =
            take_turns(&run_locks)
                .await
                .map_err(|cause| GatewayError::Home {
                    path: run_locks.clone(),
                    cause,
                })?;

        let socket_path = settings.home.join(INTERNAL_SOCKET);
        let unix = bind_internal(&settings.home).map_err(|cause| GatewayError::Home {
            path: socket_path.clone(),
            cause,
        })?;

        let address = settings.listen;
        let tcp = TcpListener::bind(address)
            .await
            .map_err(|cause| GatewayError::Listen { address, cause })?;

        let command = TurnCommand {
            guard: settings.binary,
            command: settings.command,
            secret_variables: settings.secret_variables,
            time_limit: settings.turn_timeout,
            custody: Custody::start(),
        };
        let service = TurnService {
            turns: Turns::new(settings.max_turns),
            command: (!command.command.is_empty()).then(|| Arc::new(command)),
            changed: Arc::new(Notify::new()),
            records: TurnRecords::default(),
            metrics: Arc::default(),
            api_key: settings.api_key,
        };

        service.metrics.restarted(restarts);
        let lifecycle = Lifecycle::new(&service, status_file, restarts, leftovers.count());
        let restart = RestartWatch::start(&settings.home);
        let mut watch = MarkerWatch::new(MarkerFile::new(&settings.home), settings.max_marker_age);
        lifecycle.apply_verdict(&watch.look());

        // The status is written before READY is printed, so a reader that has seen READY finds it
        // in the file.
        let status_landed = lifecycle.write(lifecycle.status()).await;
        let shutdown_grace = settings.shutdown_grace;

        Ok(Self {
            tcp,
            unix,
            socket_path,
            service,
            lifecycle,
            watch,
            restart,
            status_landed,
            shutdown_grace,
            lock,
            leftovers,
            run_lock,
        })
    }

    /// Returns the HTTP port.
    ///
    /// # Errors
    /// The system does not report the address.
    pub fn port(&self) -> io::Result<u16> {
        Ok(self.tcp.local_addr()?.port())
    }

    /// Serves until `shutdown` or a restart request, then lets the turns in flight finish, and
    /// leaves `stopped` in the status file. A second `shutdown` event ends the wait, and the turns
    /// still in flight are killed. Returns why it ended: after [`ExitReason::Restart`] the
    /// supervisor of the process has to start it again.
    ///
    /// # Errors
    /// The watcher's thread cannot be started.
    pub async fn serve(self, mut shutdown: watch::Receiver<u32>) -> io::Result<ExitReason> {
        let Self {
            tcp,
            unix,
            socket_path,
            service,
            lifecycle,
            watch,
            mut restart,
            status_landed,
            shutdown_grace,
            lock,
            mut leftovers,
            run_lock,
        } = self;
        let listener = ListenerKind::at(tcp.local_addr()?);
        let command = service.command.clone();
        let (closing, closed) = watch::channel(false);
        let publisher = tokio::spawn(lifecycle.clone().publish(status_landed, closed.clone()));
        let (stop_watch, stop) = stop_channel();
        let on_verdict = lifecycle.clone();
        // Held until the status file says that the gateway has stopped.
        let lock = Arc::new(Mutex::new(lock));
        let kept = lock.clone();
        let (ask_restart, mut restarts) = mpsc::channel(1);
        let mut refused = 0;
        let watcher = watch.run(stop, move |verdict| {
            on_verdict.apply_verdict(verdict);
            on_verdict.refresh_status(&mut refused);
            on_verdict.set_leftovers(leftovers.count());
            if let Some(request) = restart.look() {
                // Full: another request waits to be acted on.
                let _ = ask_restart.try_send(request);
            }
            keep_home(&mut kept.lock().unwrap_or_else(PoisonError::into_inner));
        })?;
        let http = tokio::spawn(listen::serve(
            tcp,
            None,
            router(service.clone(), listener),
            ConnectionLimits::default(),
            closed.clone(),
        ));
        let internal = tokio::spawn(listen::serve(
            unix,
            None,
            router(service, ListenerKind::Internal),
            ConnectionLimits::default(),
            closed,
        ));

        let mut ending = EndSignals {
            shutdown: &mut shutdown,
            restarts: &mut restarts,
            shutdown_grace,
        };
        let exit_reason = ending.wait(&lifecycle).await;
        if let Some(command) = command {
            command.kill_turns();
            let _ = tokio::time::timeout(KILL_PATIENCE, lifecycle.wait_for_turns()).await;
        }
        let _ = tokio::task::spawn_blocking(move || end_watcher(&stop_watch, watcher)).await;
        closing.send_replace(true);
        let _ = tokio::join!(http, internal, publisher);
        let _ = fs::remove_file(&socket_path);
        // Before the status says `stopped`: its readers then look at the locks, and this one would
        // be held.
        run_lock.end();
        // A signal wins over a restart to the last moment.
        let exit_reason = if *shutdown.borrow() > 0 {
            ExitReason::Signal
        } else {
            exit_reason
        };
        lifecycle.finish(exit_reason).await;
        drop(lock);
        Ok(exit_reason)
    }
}

/// What may end a gateway.
struct EndSignals<'a> {
    /// The number of signals so far.
    shutdown: &'a mut watch::Receiver<u32>,
    restarts: &'a mut mpsc::Receiver<RestartRequest>,
    shutdown_grace: Duration,
}

impl EndSignals<'_> {
    /// Waits until the gateway has to end, and then until no turn is in flight or the turns have
    /// had their grace. A signal wins over a restart, and a later restart request over an earlier
    /// one.
    async fn wait(&mut self, lifecycle: &Lifecycle) -> ExitReason {
        let Self {
            shutdown,
            restarts,
            shutdown_grace,
        } = self;
        let mut restart = tokio::select! {
            biased;
            _ = shutdown.wait_for(|signals| *signals >= 1) => None,
            Some(request) = restarts.recv() => Some(request),
        };
        while let Some(request) = restart {
            let grace = request.grace().unwrap_or(*shutdown_grace);
            tracing::warn!(
                id = request.id(),
                principal = request.principal(),
                reason = request.reason(),
                grace_seconds = grace.as_secs(),
                "ending for a restart"
            );
            lifecycle.begin_shutdown(ExitReason::Restart);
            restart = tokio::select! {
                biased;
                _ = shutdown.wait_for(|signals| *signals >= 1) => None,
                Some(later) = restarts.recv() => Some(later),
                () = lifecycle.wait_for_turns() => return ExitReason::Restart,
                () = tokio::time::sleep(grace) => {
                    tracing::warn!("turns outlived the grace of the restart: killing them");
                    return ExitReason::Restart;
                }
            };
        }

        lifecycle.begin_shutdown(ExitReason::Signal);
        tokio::select! {
            () = lifecycle.wait_for_turns() => {}
            _ = shutdown.wait_for(|signals| *signals >= 2) => tracing::warn!("second signal: killing the turns in flight"),
            () = tokio::time::sleep(*shutdown_grace) => tracing::warn!("turns outlived the grace: killing them"),
        }
        ExitReason::Signal
    }
}

fn end_watcher(stop: &SyncSender<Signal>, watcher: std::thread::JoinHandle<()>) {
    let _ = stop.send(Signal::Stop);
    if watcher.join().is_err() {
        tracing::error!("the drain watcher had panicked");
    }
}

/// Takes the home's lock. Two gateways, ours or the original, would both write the status file and
/// admit turns.
fn take_home(home: &Path) -> Result<HomeLock, GatewayError> {
    let path = home.join(GATEWAY_LOCK);
    let failed = |cause| GatewayError::Home {
        path: path.clone(),
        cause,
    };
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(home)
        .map_err(failed)?;
    let lock = HomeLock::take(&path, &lock_record()).map_err(failed)?;
    let lock = lock.ok_or_else(|| GatewayError::HomeTaken(home.to_owned()))?;

    // The original's dashboard removes the lock file of a gateway that it does not recognise.
    match StatusFile::new(home).read().is_up() {
        Some(true) => Err(GatewayError::HomeTaken(home.to_owned())),
        Some(false) | None => Ok(lock),
    }
}

/// Ends what earlier runs left of their turns, and takes the lock of this run.
async fn take_turns(run_locks: &Path) -> io::Result<(Leftovers, RunLock)> {
    let leftovers = Leftovers::end(run_locks).await?;
    Ok((leftovers, RunLock::take(run_locks)?))
}

/// Returns the record that the original writes into the lock file, so that its tools can identify
/// the holder.
fn lock_record() -> Vec<u8> {
    let pid = std::process::id();
    let record = json!({"pid": pid, "kind": "hermes-gateway", "argv": [], "start_time": process_start_time(pid)});
    record.to_string().into_bytes()
}

/// Takes the lock again if its file was removed.
fn keep_home(lock: &mut HomeLock) {
    match lock.renew(&lock_record()) {
        Ok(true) => {}
        Ok(false) => {
            tracing::error!("{GATEWAY_LOCK} was removed, and another gateway has taken the home");
        }
        Err(error) => tracing::warn!(%error, "{GATEWAY_LOCK} was removed and cannot be made again"),
    }
}

/// Binds the internal channel. The socket is renamed into place after its mode was set to 0600. It
/// is bound through the folder's descriptor: a socket's address holds 108 bytes, and a home's path
/// may be longer.
fn bind_internal(home: &Path) -> io::Result<UnixListener> {
    let folder = File::open(home)?;
    let short = PathBuf::from(format!("/proc/self/fd/{}", folder.as_raw_fd()));
    let staging = short.join("gateway.sock.new");
    let _ = fs::remove_file(&staging);
    let listener = UnixListener::bind(&staging)?;
    fs::set_permissions(&staging, fs::Permissions::from_mode(0o600))?;
    fs::rename(&staging, home.join(INTERNAL_SOCKET))?;
    Ok(listener)
}

/// The gateway's state, and the one place that changes it.
struct Lifecycle {
    turns: Turns<Timestamp>,
    changed: Arc<Notify>,
    metrics: Arc<GatewayMetrics>,
    state: watch::Sender<GatewayLife>,
    status_file: StatusFile,
    /// Restarts by request up to the start of this process.
    restarts: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct GatewayLife {
    state: GatewayState,
    demand: Demand,
    /// Whether it ends in order to be started again.
    is_restart: bool,
    /// The time of the marker that is acted on.
    drain: Option<Timestamp>,
    /// Owners of that drain.
    holders: usize,
    /// Number of earlier runs that may have left a process of a turn; each counts as a turn.
    leftovers: usize,
}

impl GatewayLife {
    fn view(self) -> LifeView {
        LifeView {
            state: self.state,
            drain_active: self.demand.drain,
            drain_holders: self.holders,
            leftovers: self.leftovers,
        }
    }
}

impl Lifecycle {
    fn new(
        service: &TurnService,
        status_file: StatusFile,
        restarts: u64,
        leftovers: usize,
    ) -> Arc<Self> {
        let (state, demand) = (GatewayState::Starting, Demand::default());
        let life = GatewayLife {
            state,
            demand,
            is_restart: false,
            drain: None,
            holders: 0,
            leftovers,
        };

        Arc::new(Self {
            turns: service.turns.clone(),
            changed: service.changed.clone(),
            metrics: service.metrics.clone(),
            state: watch::Sender::new(life),
            status_file,
            restarts,
        })
    }

    fn apply_verdict(&self, verdict: &DrainVerdict) {
        let drain = verdict.drain();
        self.change(|life| {
            life.demand.drain = verdict.is_draining();
            life.drain = drain.and_then(|drain| drain.requested_at);
            // A marker of the original names one owner at most.
            life.holders = drain.map_or(0, |drain| drain.holders.len().max(1));
        });
    }

    /// Has the status written again if its file was removed, or if turns were refused since the
    /// last time.
    fn refresh_status(&self, last_refused: &mut u64) {
        let refused = self.metrics.refused().values().sum();
        if *last_refused != refused || !self.status_file.exists() {
            *last_refused = refused;
            self.changed.notify_one();
        }
    }

    fn set_leftovers(&self, leftovers: usize) {
        self.change(|life| life.leftovers = leftovers);
    }

    fn begin_shutdown(&self, reason: ExitReason) {
        self.change(|life| {
            life.demand.shutdown = true;
            life.is_restart = reason == ExitReason::Restart;
        });
    }

    /// Changes the admission while the state is locked, so that no reader sees `draining` while
    /// turns are admitted.
    fn change(&self, change: impl FnOnce(&mut GatewayLife)) {
        let mut before = None;
        let changed = self.state.send_if_modified(|life| {
            let old = *life;
            change(life);
            life.state = old.state.next(life.demand);
            if life.state != old.state {
                self.turns.set_admittance(admittance(life.state));
                before = Some(old.state);
            }
            self.metrics.set_life(life.view());
            *life != old
        });

        if changed {
            self.changed.notify_one();
        }
        if let Some(from) = before {
            let to = self.state.borrow().state;
            let active = self.turns.snapshot().active;
            tracing::info!(from = %from.as_str(), to = %to.as_str(), active, "gateway state");
        }
    }

    fn status(&self) -> Status {
        let GatewayLife {
            state,
            is_restart,
            drain,
            leftovers,
            ..
        } = *self.state.borrow();

        let Snapshot { active, .. } = self.turns.snapshot();
        let in_flight = self.turns.in_flight().into_iter();
        let turns = in_flight.map(|(_, turn)| TurnInFlight {
            session: turn.session,
            since: turn.since,
        });
        let status =
            Status::of_this_process(state, active + leftovers, None).restarting(is_restart);
        let status = status
            .after_restarts(self.restarts)
            .acting_on(drain)
            .with_turns(turns);

        status.with_refused(self.metrics.refused())
    }

    /// Writes the status on every change, and again until it lands.
    async fn publish(self: Arc<Self>, mut landed: bool, mut closed: watch::Receiver<bool>) {
        loop {
            tokio::select! {
                biased;
                _ = closed.wait_for(|closed| *closed) => return,
                () = self.changed.notified() => {}
                () = tokio::time::sleep(STATUS_RETRY), if !landed => {}
            }
            let has_landed = self.write(self.status()).await;
            if landed && !has_landed {
                tracing::warn!("the status file could not be written: trying again until it can");
            }
            landed = has_landed;
        }
    }

    async fn write(&self, status: Status) -> bool {
        let file = self.status_file.clone();
        let written = tokio::task::spawn_blocking(move || file.write(&status)).await;
        match written {
            Ok(Ok(())) => true,
            Ok(Err(error)) => {
                tracing::debug!(%error, "the status file could not be written");
                false
            }
            Err(_) => false,
        }
    }

    async fn wait_for_turns(&self) {
        // The notification of a turn's end wakes one waiter, which is the publisher, so this polls.
        let mut look = tokio::time::interval(Duration::from_millis(20));
        while self.turns.snapshot().active > 0 {
            look.tick().await;
        }
    }

    async fn finish(&self, reason: ExitReason) {
        let stopped =
            Status::of_this_process(GatewayState::Stopped, 0, Some(reason.as_str().to_owned()))
                .restarting(reason == ExitReason::Restart)
                .after_restarts(self.restarts);
        for _ in 0..20 {
            if self.write(stopped.clone()).await {
                return;
            }
            tokio::time::sleep(STATUS_RETRY).await;
        }
    }
}

fn admittance(state: GatewayState) -> Admittance {
    match state {
        GatewayState::Running => Admittance::Open,
        GatewayState::Starting | GatewayState::Draining => Admittance::Draining,
        GatewayState::Stopping | GatewayState::Stopped | GatewayState::StartupFailed => {
            Admittance::Shut
        }
    }
}
