//! The gateway as the parent of its turns' processes.
//!
//! Each turn has one guard (`turn_guard`), which ends by itself only when no process of its turn is
//! left. `kill -9` and the OOM killer can still kill a guard. The gateway is a child subreaper as
//! the guards are, so the processes that a killed guard leaves become children of the gateway. A
//! child that is not a live guard is then an orphan of a turn.
//!
//! **Invariant:** one lock is held while a guard is started and registered, and while orphans are
//! listed and killed, so a guard is never taken for an orphan.

use super::children::children;
use super::turn_guard::{END_GRACE, END_TURN};
use rustix::process::{
    Pid, Signal, WaitOptions, getpid, kill_process, set_child_subreaper, waitpid,
};
use std::collections::HashSet;
use std::io;
use std::process::ExitStatus;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command};
use tokio::time::{sleep, timeout};

/// Pause between two scans for orphans.
const LOOK_INTERVAL: Duration = Duration::from_millis(5);

/// Consecutive scans without an orphan that prove that none is left: one scan may miss a child (see
/// [`children`]).
const CLEAR_LOOKS: u32 = 3;

/// The guards of all turns in flight.
#[derive(Clone, Debug)]
pub(super) struct Custody {
    guards: Arc<Mutex<HashSet<Pid>>>,
    /// Children from before the first turn. A shell script that starts a process and then becomes
    /// the gateway by `exec` leaves such a child, which belongs to no turn.
    inherited_children: Arc<HashSet<Pid>>,
}

impl Custody {
    /// Makes this process the subreaper of all turns.
    pub(super) fn start() -> Self {
        if let Err(error) = set_child_subreaper(Some(getpid())) {
            tracing::warn!(%error, "not a child subreaper: what a killed guard leaves of its turn is not ended");
        }
        let inherited_children = children().into_iter().collect();
        Self {
            guards: Arc::default(),
            inherited_children: Arc::new(inherited_children),
        }
    }

    /// Starts a guard and registers it.
    ///
    /// # Errors
    /// It cannot be started.
    pub(super) fn spawn(&self, command: &mut Command) -> io::Result<GuardProcess> {
        let mut guards = self.lock();
        let child = command.spawn()?;
        let pid = child.id().and_then(|id| Pid::from_raw(id.cast_signed()));
        let pid = pid.ok_or_else(|| io::Error::other("the guard has no process id"))?;
        guards.insert(pid);
        drop(guards);
        Ok(GuardProcess {
            child,
            pid,
            custody: self.clone(),
        })
    }

    /// Kills every guard. Each turn in flight then ends as soon as nothing of it is left.
    pub(super) fn kill_guards(&self) {
        for guard in self.lock().iter() {
            let _ = kill_process(*guard, Signal::KILL);
        }
    }

    /// Kills orphans until none is left.
    async fn end_orphans(&self) {
        let mut clear_looks = 0;
        while clear_looks < CLEAR_LOOKS {
            clear_looks = if self.kill_orphans() == 0 {
                clear_looks + 1
            } else {
                0
            };
            sleep(LOOK_INTERVAL).await;
        }
    }

    /// Kills all orphans, reaps those that have ended, and returns how many it found.
    fn kill_orphans(&self) -> usize {
        let guards = self.lock();
        let is_orphan =
            |child: &Pid| !guards.contains(child) && !self.inherited_children.contains(child);
        let orphans: Vec<Pid> = children().into_iter().filter(is_orphan).collect();
        for orphan in &orphans {
            let _ = kill_process(*orphan, Signal::KILL);
            // By its id: a wait for any child would reap the guards, which tokio waits for.
            let _ = waitpid(Some(*orphan), WaitOptions::NOHANG);
        }
        orphans.len()
    }

    fn lock(&self) -> MutexGuard<'_, HashSet<Pid>> {
        // A set of process ids is whole after each change, so a panic elsewhere cannot break it.
        self.guards.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a turn's command reads and writes.
pub(super) struct Pipes {
    pub stdin: Option<ChildStdin>,
    pub stdout: Option<ChildStdout>,
    pub stderr: Option<ChildStderr>,
}

/// The guard of one turn. It is registered until it is known to have ended.
pub(super) struct GuardProcess {
    child: Child,
    pid: Pid,
    custody: Custody,
}

impl GuardProcess {
    /// Takes the pipes that it was started with.
    pub(super) fn take_pipes(&mut self) -> Pipes {
        let Child {
            stdin,
            stdout,
            stderr,
            ..
        } = &mut self.child;
        Pipes {
            stdin: stdin.take(),
            stdout: stdout.take(),
            stderr: stderr.take(),
        }
    }

    /// Waits until nothing of the turn is left, and returns the guard's status.
    ///
    /// # Errors
    /// The system does not report the status.
    pub(super) async fn wait(&mut self) -> io::Result<ExitStatus> {
        let status = self.child.wait().await;
        self.custody.lock().remove(&self.pid);
        // A guard with an exit code has ended by itself, so it has left nothing.
        if !status.as_ref().is_ok_and(|status| status.code().is_some()) {
            tracing::warn!(guard = %self.pid, "the guard of a turn was killed: killing what it left of the turn");
            self.custody.end_orphans().await;
        }
        status
    }

    /// Ends the turn, and returns when nothing of it is left. The command's process group gets a
    /// SIGTERM; what is left after [`END_GRACE`] is killed.
    ///
    /// # Errors
    /// The system does not report the guard's status.
    pub(super) async fn end(&mut self) -> io::Result<ExitStatus> {
        // Without an id the guard was reaped already, and another process may have its number.
        if self.child.id().is_some() {
            let _ = kill_process(self.pid, END_TURN);
        }
        let ended = timeout(END_GRACE * 2, self.wait()).await;
        if let Ok(status) = ended {
            return status;
        }
        // A guard that was stopped (SIGSTOP) ends nothing.
        let _ = self.child.start_kill();
        self.wait().await
    }
}

impl Drop for GuardProcess {
    fn drop(&mut self) {
        self.custody.lock().remove(&self.pid);
    }
}
