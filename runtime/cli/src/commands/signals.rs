use portcullis_home::parent_watch::watch_parent;
use rustix::process::Signal;
use std::io;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

/// Counts SIGTERM and SIGINT: the first asks for a graceful end, a second for a quick one. These
/// count as well: the death of `parent`, which started this process and would end it, and the end
/// of the processor time that a limit allows.
///
/// With a parent, a second SIGTERM does not count. A SIGTERM to a whole control group (systemd's
/// default) arrives twice: from the system, and from the parent, which passes on its own. The
/// parent asks for the quick end with a SIGINT.
pub(super) fn count(parent: Option<u32>) -> io::Result<watch::Receiver<u32>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut out_of_time = signal(SignalKind::from_raw(Signal::XCPU.as_raw()))?;
    // With a handler, a write beyond a limit on file sizes is an error; without one, it ends the
    // process.
    let mut file_too_large = signal(SignalKind::from_raw(Signal::XFSZ.as_raw()))?;
    let (sender, receiver) = watch::channel(0);
    let has_parent = parent.is_some();

    if let Some(parent) = parent {
        let sender = sender.clone();
        watch_parent(parent, move || {
            tracing::warn!("the parent process has ended: this one ends as well");
            sender.send_modify(|signals| *signals += 1);
        })?;
    }

    tokio::spawn(async move {
        loop {
            tokio::select! {
                _ = terminate.recv() => {
                    let is_repetition = has_parent && *sender.borrow() > 0;
                    if is_repetition {
                        continue;
                    }
                }
                _ = interrupt.recv() => {}
                _ = out_of_time.recv() => {
                    tracing::error!("the limit on this process's processor time (RLIMIT_CPU) is reached");
                }
                _ = file_too_large.recv() => {
                    tracing::warn!("a file would be larger than this process may write (RLIMIT_FSIZE)");
                    continue;
                }
            }
            sender.send_modify(|signals| *signals += 1);
        }
    });

    Ok(receiver)
}

/// Returns when `count` signals have arrived.
pub(super) async fn reached(mut signals: watch::Receiver<u32>, count: u32) {
    // An error means that the counting task is gone: the process is ending.
    let _ = signals.wait_for(|signals| *signals >= count).await;
}

/// Calls `then` at every SIGHUP.
pub(super) fn on_hangup(then: impl Fn() + Send + 'static) -> io::Result<()> {
    let mut hangup = signal(SignalKind::hangup())?;
    tokio::spawn(async move {
        while hangup.recv().await.is_some() {
            then();
        }
    });
    Ok(())
}
