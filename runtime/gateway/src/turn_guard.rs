//! The process between the gateway and a turn's command. Every process that the command starts
//! becomes a child of this process when its parent ends, also from another process group or
//! session. So all of a turn ends when its command ends, and when the gateway dies.
//!
//! The command has a process group of its own, so `kill 0` in it reaches the turn and not this
//! process.

use super::children::children;
use portcullis_home::parent_watch::watch_parent;
use rustix::process::{
    Pid, Signal, WaitOptions, getpid, kill_process, kill_process_group, set_child_subreaper, wait,
};
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::thread;
use std::time::Duration;
use tokio::process::{Child, Command};
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::timeout;

/// Asks a guard to end its turn.
pub(super) const END_TURN: Signal = Signal::USR1;

/// Time between the SIGTERM to a command's process group and the SIGKILL to all that is left of the
/// turn.
pub(super) const END_GRACE: Duration = Duration::from_secs(5);

/// The exit code of a command that ignored the SIGTERM.
const KILLED: i32 = 128 + Signal::KILL.as_raw();

/// Runs the command and returns its exit code (128 and the signal when it was killed), once nothing
/// of the turn is left. When `parent` dies first, the turn is killed and so is this process.
///
/// # Errors
/// The command cannot be started, or the parent is gone already.
pub fn guard_turn(parent: u32, command: &[OsString]) -> io::Result<i32> {
    let (program, arguments) = command
        .split_first()
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "no command"))?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    set_child_subreaper(Some(getpid()))?;
    watch_parent(parent, || {
        kill_descendants();
        let _ = kill_process(getpid(), Signal::KILL);
    })?;
    let code = runtime.block_on(run(program, arguments));
    kill_descendants();

    code
}

/// Runs the command until it ends or the gateway asks for its end, and returns its exit code.
async fn run(program: &OsStr, arguments: &[OsString]) -> io::Result<i32> {
    let mut end_requests = outlive_signals()?;
    let mut child = Command::new(program)
        .args(arguments)
        .process_group(0)
        .spawn()?;
    let status = tokio::select! {
        status = child.wait() => Some(status?),
        _ = end_requests.recv() => end(&mut child).await?,
    };
    Ok(status.map_or(KILLED, exit_code))
}

/// Handles every signal that would end this process, and returns the stream of the gateway's
/// requests to end the turn.
///
/// A SIGTERM to a whole control group, which is systemd's default, reaches the guards as well; but
/// only the gateway may act on it, since it lets turns finish. Handlers are the one safe way to
/// pass none of this on: exec resets a handled signal to its default action, while an ignored or a
/// blocked signal would stay so in the command.
fn outlive_signals() -> io::Result<tokio::signal::unix::Signal> {
    for kind in [
        SignalKind::terminate(),
        SignalKind::interrupt(),
        SignalKind::hangup(),
        SignalKind::quit(),
        SignalKind::alarm(),
        SignalKind::user_defined2(),
    ] {
        // Tokio's handler stays after the stream is dropped.
        let _ = signal(kind)?;
    }
    signal(SignalKind::from_raw(END_TURN.as_raw()))
}

/// Sends the command's process group a SIGTERM and returns the command's status; `None` when it
/// outlived the grace.
async fn end(child: &mut Child) -> io::Result<Option<ExitStatus>> {
    if let Some(group) = child.id().and_then(|id| Pid::from_raw(id.cast_signed())) {
        let _ = kill_process_group(group, Signal::TERM);
    }
    timeout(END_GRACE, child.wait()).await.ok().transpose()
}

fn exit_code(status: ExitStatus) -> i32 {
    status
        .code()
        .unwrap_or_else(|| 128 + status.signal().unwrap_or_default())
}

/// Kills children until there are none: the children of a child that ends become children of this
/// process.
fn kill_descendants() {
    loop {
        for child in children() {
            let _ = kill_process(child, Signal::KILL);
        }
        match wait(WaitOptions::NOHANG) {
            Ok(Some(_)) => {}
            // Children are left, perhaps one that was handed to us after the list was made.
            Ok(None) => thread::park_timeout(Duration::from_millis(1)),
            Err(_) => return,
        }
    }
}
