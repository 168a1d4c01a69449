//! Runs a turn's command: the message on its stdin, the reply from its stdout.

use super::custody::{Custody, Guard, Pipes};
use super::turns::TurnPermit;
use futures_util::FutureExt;
use futures_util::future::{Either, select};
use jiff::Timestamp;
use std::ffi::OsString;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::panic::AssertUnwindSafe;
use std::path::PathBuf;
use std::pin::pin;
use std::process::{ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::{ChildStdout, Command};
use tokio::sync::mpsc;
use tokio::time::timeout;

/// How long a listener may leave the output unread before the turn goes on without it.
const LISTENER_PATIENCE: Duration = Duration::from_secs(30);

/// How long an empty pipe is looked at once the turn has ended.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// Variables of the dashboard that no turn may see.
const SECRETS: &[&str] =
    &["HERMES_DASHBOARD_DRAIN_SECRET", "HERMES_DASHBOARD_SESSION_KEY", "HERMES_DASHBOARD_SESSION_TOKEN"];

/// A piece of a turn, as it happens.
#[derive(Debug)]
pub(super) enum TurnEvent {
    /// Bytes that the command wrote.
    Output(Vec<u8>),
    /// The command ended.
    Ended(TurnEnd),
}

/// How a turn ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum TurnEnd {
    /// With this exit code.
    Exited(i32),
    /// It could not be run.
    NotRun(String),
    /// This signal killed its guard, and what was left of the turn was killed.
    GuardKilled(i32),
}

/// What every turn runs.
#[derive(Clone, Debug)]
pub(super) struct TurnCommand {
    /// This very binary, which guards the turn.
    pub guard: PathBuf,
    pub command: Vec<OsString>,
    pub custody: Custody,
}

impl TurnCommand {
    /// Starts the turn and returns its events. The turn runs to its end whether or not anyone listens; the
    /// permit is given back only after nothing of the turn is left. Without an end event, the listener missed
    /// something.
    pub(super) fn start(
        &self,
        permit: TurnPermit<Timestamp>,
        session: &str,
        text: String,
        on_end: impl FnOnce() + Send + 'static,
    ) -> mpsc::Receiver<TurnEvent> {
        let (events, listener) = mpsc::channel(16);
        let spawned = self.spawn(session);
        tokio::spawn(async move {
            let id = permit.id();
            let mut output = Output { listener: Some(events) };
            // A panic of ours must not keep the turn counted for ever.
            let run = AssertUnwindSafe(run(spawned, text, &mut output)).catch_unwind().await;
            let end = run.unwrap_or_else(|_| TurnEnd::NotRun("internal error".into()));
            tracing::info!(turn = id, ?end, "turn ended");
            drop(permit);
            on_end();
            output.send(TurnEvent::Ended(end)).await;
        });
        listener
    }

    /// Kills every turn in flight.
    pub(super) fn kill_turns(&self) {
        self.custody.kill_guards();
    }

    fn spawn(&self, session: &str) -> io::Result<Guard> {
        let mut command = Command::new(&self.guard);
        for secret in SECRETS {
            command.env_remove(secret);
        }
        command
            .arg("turn-guard")
            .arg(std::process::id().to_string())
            .arg("--")
            .args(&self.command)
            .env("HERMES_SESSION", session)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            // Ctrl-C in a terminal is for the gateway, which lets turns finish.
            .process_group(0);
        self.custody.spawn(&mut command)
    }
}

/// Runs the turn until nothing of it is left.
async fn run(spawned: io::Result<Guard>, text: String, output: &mut Output) -> TurnEnd {
    let mut guard = match spawned {
        Ok(guard) => guard,
        Err(error) => return TurnEnd::NotRun(error.to_string()),
    };
    let Pipes { stdin, stdout } = guard.take_pipes();
    let feed = async move {
        if let Some(mut stdin) = stdin {
            // A command that does not read its input is a command that does not want it.
            let _ = stdin.write_all(text.as_bytes()).await;
        }
    };
    let is_empty = AtomicBool::new(false);
    let (ended, listen) = (pin!(guard.wait()), pin!(forward(stdout, output, &is_empty)));
    let finish = async {
        match select(ended, listen).await {
            Either::Left((status, mut listen)) => {
                // What is in the pipe is still passed on, however slowly it is taken. But whoever else was handed
                // the pipe must not keep the turn in flight by keeping it open.
                while timeout(LAST_WORDS, &mut listen).await.is_err() && !is_empty.load(Ordering::Relaxed) {}
                status
            }
            Either::Right(((), ended)) => ended.await,
        }
    };
    let status = match select(pin!(finish), pin!(feed)).await {
        Either::Left((status, _)) => status,
        Either::Right(((), finish)) => finish.await,
    };
    match status {
        Ok(status) => end_of_guard(status),
        Err(error) => TurnEnd::NotRun(error.to_string()),
    }
}

/// Where a turn's events go, for as long as somebody takes them.
struct Output {
    listener: Option<mpsc::Sender<TurnEvent>>,
}

impl Output {
    /// A listener that leaves, or does not read for too long, is given up: it never sees an end that would
    /// make the part it has look whole.
    async fn send(&mut self, event: TurnEvent) {
        let Some(listener) = &self.listener else { return };
        if listener.send_timeout(event, LISTENER_PATIENCE).await.is_err() {
            self.listener = None;
        }
    }
}

/// Passes output on until its end. `is_empty` is true while there is nothing in the pipe.
async fn forward(stdout: Option<ChildStdout>, output: &mut Output, is_empty: &AtomicBool) {
    let Some(mut stdout) = stdout else { return };
    let mut buffer = vec![0; 16 * 1024];
    loop {
        is_empty.store(true, Ordering::Relaxed);
        let Ok(read @ 1..) = stdout.read(&mut buffer).await else { return };
        is_empty.store(false, Ordering::Relaxed);
        output.send(TurnEvent::Output(buffer[..read].to_vec())).await;
    }
}

/// A guard exits with the command's exit code.
fn end_of_guard(status: ExitStatus) -> TurnEnd {
    match status.signal() {
        Some(signal) => TurnEnd::GuardKilled(signal),
        None => TurnEnd::Exited(status.code().unwrap_or_default()),
    }
}
