//! Notices to the service manager, after sd_notify(3) of systemd. Nothing is sent where
//! `NOTIFY_SOCKET` is not set.

use super::signals;
use portcullis_dashboard::app::ReloadRequest;
use sd_notify::NotifyState;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};

/// The variables of sd_notify(3), which processes that this one starts do not inherit.
pub(super) const VARIABLES: [&str; 3] = ["NOTIFY_SOCKET", "WATCHDOG_PID", "WATCHDOG_USEC"];

/// Shortest pause between two signs of life.
const SHORTEST_PAUSE: Duration = Duration::from_millis(1);

/// Reports that requests are accepted.
pub(super) fn ready() {
    send(&[NotifyState::Ready]);
}

/// Reports that this process is ending.
pub(super) fn stopping() {
    send(&[NotifyState::Stopping]);
}

/// Reports at the first signal that this process is ending.
pub(super) async fn stopping_at_signal(signals: watch::Receiver<u32>) {
    signals::reached(signals, 1).await;
    stopping();
}

/// Asks for a reload, and reports its begin and its end. Call it within the runtime.
pub(super) fn reload(request: &ReloadRequest) {
    let begin = NotifyState::monotonic_usec_now().map(|now| send(&[NotifyState::Reloading, now]));
    if let Err(error) = begin {
        tracing::warn!(%error, "the clock cannot be read: the service manager does not learn of the reload");
    }
    request.ask();
    let request = request.clone();
    tokio::spawn(async move {
        request.ended().await;
        ready();
    });
}

/// Sends a sign of life twice per watchdog time (`WatchdogSec=`), as long as the runtime runs
/// tasks. Call it within the runtime. Does nothing where the service manager asks for none.
pub(super) fn keep_watchdog() {
    let Some(limit) = sd_notify::watchdog_enabled().filter(|limit| !limit.is_zero()) else {
        return;
    };
    tokio::spawn(async move {
        let mut pauses = interval((limit / 2).max(SHORTEST_PAUSE));
        pauses.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            pauses.tick().await;
            // A service manager that does not read makes the sender wait, which no thread that
            // serves requests may.
            let _ = tokio::task::spawn_blocking(|| send(&[NotifyState::Watchdog])).await;
        }
    });
}

fn send(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::warn!(%error, "the service manager cannot be reached (NOTIFY_SOCKET)");
    }
}
