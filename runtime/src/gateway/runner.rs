//! Runs a turn's command: the message on its stdin, the reply from its stdout.

use super::turns::TurnPermit;
use futures_util::FutureExt;
use jiff::Timestamp;
use rustix::process::{Pid, Signal, kill_process_group};
use std::ffi::OsString;
use std::io;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, ChildStdin, Command};
use tokio::sync::mpsc;

/// How long a listener may leave the output unread before the turn goes on without it.
const LISTENER_PATIENCE: Duration = Duration::from_secs(30);

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
}

/// What every turn runs.
#[derive(Clone, Debug)]
pub(super) struct TurnCommand {
    /// This very binary, which guards the turn.
    pub guard: PathBuf,
    pub command: Vec<OsString>,
}

impl TurnCommand {
    /// Starts the turn and returns its events. The turn runs to its end whether or not anyone listens; the
    /// permit is given back only after the whole process group is gone.
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
            // A panic of ours must neither keep the turn counted for ever nor end the listener's stream
            // as if all were well.
            let run = std::panic::AssertUnwindSafe(run(spawned, text, &events)).catch_unwind().await;
            let end = run.unwrap_or_else(|_| TurnEnd::NotRun("internal error".into()));
            tracing::info!(turn = id, ?end, "turn ended");
            drop(permit);
            on_end();
            let _ = events.send(TurnEvent::Ended(end)).await;
        });
        listener
    }

    fn spawn(&self, session: &str) -> io::Result<Child> {
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
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
    }
}

async fn run(spawned: io::Result<Child>, text: String, events: &mpsc::Sender<TurnEvent>) -> TurnEnd {
    let mut child = match spawned {
        Ok(child) => child,
        Err(error) => return TurnEnd::NotRun(error.to_string()),
    };
    let group = ProcessGroup::of(&child);
    let feed = child.stdin.take().map(|stdin| feed(stdin, text));
    let stdout = child.stdout.take();
    let wait_and_clear = async {
        let status = child.wait().await;
        // Whatever the command left running in the background belongs to the turn and ends with it.
        drop(group);
        status
    };
    let listen = async {
        if let Some(stdout) = stdout {
            forward(stdout, events).await;
        }
    };
    let feed = async { if let Some(feed) = feed { feed.await } };
    let (status, (), ()) = tokio::join!(wait_and_clear, listen, feed);
    match status {
        Ok(status) => TurnEnd::Exited(exit_code(status)),
        Err(error) => TurnEnd::NotRun(error.to_string()),
    }
}

/// A command that does not read its input is a command that does not want it.
async fn feed(mut stdin: ChildStdin, text: String) {
    let _ = stdin.write_all(text.as_bytes()).await;
}

async fn forward(mut stdout: impl tokio::io::AsyncRead + Unpin, events: &mpsc::Sender<TurnEvent>) {
    let mut buffer = vec![0; 16 * 1024];
    let mut listening = true;
    while let Ok(read @ 1..) = stdout.read(&mut buffer).await {
        if listening {
            let output = TurnEvent::Output(buffer[..read].to_vec());
            listening = events.send_timeout(output, LISTENER_PATIENCE).await.is_ok();
        }
    }
}

fn exit_code(status: ExitStatus) -> i32 {
    use std::os::unix::process::ExitStatusExt;
    status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or_default())
}

/// A turn's process group, which is killed whole when this is dropped.
struct ProcessGroup(Option<Pid>);

impl ProcessGroup {
    fn of(leader: &Child) -> Self {
        Self(leader.id().and_then(|id| Pid::from_raw(id.cast_signed())))
    }
}

impl Drop for ProcessGroup {
    fn drop(&mut self) {
        if let Some(group) = self.0 {
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}
