//! The end of a stream or socket of an application: that of the session which opened it.
//!
//! A session is refreshed by requests, and a stream makes none. It therefore continues with the
//! newest access token that a request of its session brought, and ends soon after the last one.

use super::super::Dashboard;
use super::super::sign_in::now;
use super::body::AccessEnd;
use super::failure::Failure;
use super::table::App;
use portcullis_auth::{Followed, Session};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// The provider is asked about the session again: an account can be closed while a stream is open.
const VERIFY_EVERY: Duration = Duration::from_secs(30);
/// How long the provider may take for that.
const VERIFY_DEADLINE: Duration = Duration::from_secs(5);
/// How long, in seconds, a stream waits for a refresh after its access token has ended: a request
/// refreshes the session only then. The page of the original Hermes asks for its status every ten
/// seconds, and does not open all of its sockets again.
const REFRESH_GRACE_SECONDS: u64 = 15;

struct SessionWatch {
    dashboard: Arc<Dashboard>,
    app: Arc<App>,
    session: Arc<Session>,
    is_over: Followed,
    /// Changes when the roles or the applications may have changed.
    gates: watch::Receiver<()>,
}

/// Follows the session of a caller.
///
/// # Errors
/// The session has too many streams.
pub(super) fn follow(
    dashboard: &Arc<Dashboard>,
    app: &Arc<App>,
    session: &Arc<Session>,
) -> Result<AccessEnd, Failure> {
    let gates = dashboard.live.replacements();
    let serving = dashboard.live.now();
    let is_over = serving
        .gate
        .people()
        .sessions
        .follow_stream(session)
        .ok_or(Failure::TooManyStreams)?;
    let watch = SessionWatch {
        dashboard: dashboard.clone(),
        app: app.clone(),
        session: session.clone(),
        is_over,
        gates,
    };

    Ok(Box::pin(watch.ended()))
}

impl SessionWatch {
    /// Waits until the session is over, or no longer admitted to the application.
    async fn ended(mut self) {
        let mut verify =
            tokio::time::interval_at((Instant::now() + VERIFY_EVERY).into(), VERIFY_EVERY);
        loop {
            let left = Duration::from_secs(self.ends_at().saturating_sub(now()));
            let goes_on = tokio::select! {
                biased;
                () = over(&mut self.is_over) => false,
                replaced = self.gates.changed() => replaced.is_ok() && self.is_admitted(),
                () = tokio::time::sleep(left) => self.take_newest(),
                _ = verify.tick() => self.take_newest() && self.still_holds().await,
            };
            if !goes_on {
                return;
            }
        }
    }

    /// When the stream ends without another access token, in seconds since the Unix epoch.
    fn ends_at(&self) -> u64 {
        self.session
            .claims()
            .expires_at
            .saturating_add(REFRESH_GRACE_SECONDS)
    }

    /// Continues with the newest access token. Returns whether that ended no longer ago than a
    /// refresh may take, and its groups still admit the person.
    fn take_newest(&mut self) -> bool {
        let serving = self.dashboard.live.now();
        if let Some(newest) = serving.gate.people().sessions.newest(self.session.id()) {
            self.session = newest;
        }
        self.ends_at() > now() && self.is_admitted()
    }

    /// Returns whether the rules that hold now admit the person.
    fn is_admitted(&self) -> bool {
        let serving = self.dashboard.live.now();
        let app = serving.apps.named(self.app.name());
        app.is_some_and(|app| app.admits(serving.gate.access(), &self.session))
    }

    /// Returns whether the provider still vouches for the session. A provider that cannot answer
    /// does not end the stream, and one that takes long does not hold up the end of the session.
    /// One that is asked about an access token that has ended knows it no longer.
    async fn still_holds(&mut self) -> bool {
        if self.session.claims().expires_at <= now() {
            return true;
        }
        let serving = self.dashboard.live.now();
        let deadline = Instant::now() + VERIFY_DEADLINE;
        tokio::select! {
            biased;
            () = over(&mut self.is_over) => false,
            is_over = serving.gate.is_over(&self.session, deadline) => !is_over,
        }
    }
}

/// Waits until the session was ended. The sender is gone when nothing follows it any more, which is
/// an end as well.
async fn over(is_over: &mut Followed) {
    let _ = is_over.wait_for(|is_over| *is_over).await.is_ok();
}
