//! The process between the gateway and a turn's command. Whatever the command starts, and wherever that moves
//! itself, becomes a child of this process when its parent ends; so a turn ends whole, when its command ends
//! and when the gateway dies.

use crate::parent_watch::watch_parent;
use rustix::process::{Pid, Signal, WaitOptions, getpid, kill_process, set_child_subreaper, wait};
use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::process::Command;
use std::thread;
use std::time::Duration;

/// Runs the command and returns its exit code (128 and the signal when it was killed), once nothing of the
/// turn is left. When `parent` dies first, the turn is killed and so is this process.
///
/// # Errors
/// The command cannot be started, or the parent is gone already.
pub fn guard_turn(parent: u32, command: &[OsString]) -> io::Result<i32> {
    let (program, arguments) =
        command.split_first().ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "no command"))?;
    set_child_subreaper(Some(getpid()))?;
    watch_parent(parent, || {
        kill_descendants();
        let _ = kill_process(getpid(), Signal::KILL);
    })?;
    let status = Command::new(program).args(arguments).status();
    kill_descendants();
    let status = status?;
    Ok(status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or_default()))
}

/// Kills children until there are none: those of a child that dies become ours.
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

fn children() -> Vec<Pid> {
    let Ok(threads) = fs::read_dir("/proc/self/task") else { return Vec::new() };
    let lists =
        threads.flatten().filter_map(|thread| fs::read_to_string(thread.path().join("children")).ok());
    let pids = lists.flat_map(|list| list.split_whitespace().map(str::to_owned).collect::<Vec<_>>());
    pids.filter_map(|pid| Pid::from_raw(pid.parse().ok()?)).collect()
}
