//! The process between the gateway and a turn's command. It leads the turn's process group and watches its
//! parent: when the gateway dies, by whatever signal, the whole turn dies with it.

use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Pid, PidfdFlags, Signal, getpgrp, getppid, kill_process_group, pidfd_open};
use std::ffi::OsString;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::process::Command;
use std::thread;

/// Runs the command within this process's group and returns its exit code (128 and the signal when it was
/// killed). Never returns when `parent` dies first.
///
/// # Errors
/// The command cannot be started, or this is not the group's leader.
pub fn guard_turn(parent: u32, command: &[OsString]) -> io::Result<i32> {
    let (program, arguments) =
        command.split_first().ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "no command"))?;
    watch_parent(parent)?;
    let status = Command::new(program).args(arguments).status()?;
    Ok(status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or_default()))
}

fn watch_parent(parent: u32) -> io::Result<()> {
    let parent = i32::try_from(parent).ok().and_then(Pid::from_raw);
    let parent = parent.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "no such parent"))?;
    let alive = pidfd_open(parent, PidfdFlags::empty())?;
    // It may have died before the look at it, and its pid have been given away.
    if getppid() != Some(parent) {
        return Err(io::Error::other("the gateway is gone"));
    }
    let watch = move || {
        loop {
            if poll(&mut [PollFd::new(&alive, PollFlags::IN)], None).is_ok() {
                let _ = kill_process_group(getpgrp(), Signal::KILL);
            }
        }
    };
    thread::Builder::new().name("parent-watch".into()).spawn(watch)?;
    Ok(())
}
