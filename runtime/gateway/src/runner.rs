//! Runs a turn's command: the message on its stdin, the reply from its stdout.

use super::custody::{Custody, GuardProcess, Pipes};
use super::records::TurnRecord;
use super::turn_end::TurnEnd;
use super::turn_log::log_stderr;
use super::turns::{TurnId, TurnPermit};
use futures_util::FutureExt;
use futures_util::future::{Either, pending, select};
use jiff::Timestamp;
use portcullis_observe::trace_context::TraceContext;
use std::collections::BTreeSet;
use std::ffi::OsString;
use std::io;
use std::panic::AssertUnwindSafe;
use std::path::PathBuf;
use std::pin::pin;
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::{ChildStdout, Command};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{sleep, timeout};

/// How long a listener may leave the output unread before the turn continues without it.
const LISTENER_PATIENCE: Duration = Duration::from_secs(30);

/// How long an empty pipe is read after the turn has ended.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// The variables by which programs get the trace of their caller
/// ([OpenTelemetry](https://opentelemetry.io/docs/specs/otel/context/env-carriers/)).
const TRACEPARENT_VARIABLE: &str = "TRACEPARENT";
const TRACESTATE_VARIABLE: &str = "TRACESTATE";

/// An event of a turn.
#[derive(Debug)]
pub(super) enum TurnEvent {
    /// Bytes that the command wrote.
    Output(Vec<u8>),
    /// The turn has ended, in this way.
    Ended(TurnEnd),
}

/// What every turn runs.
#[derive(Clone, Debug)]
pub(super) struct TurnCommand {
    /// Path of this binary, which is also the turn's guard.
    pub guard: PathBuf,
    pub command: Vec<OsString>,
    /// Variables that are removed from the environment of turns.
    pub secret_variables: BTreeSet<OsString>,
    /// Maximum duration of a turn. `None`: no limit.
    pub time_limit: Option<Duration>,
    pub custody: Custody,
}

/// A turn that was admitted and is to be run.
pub(super) struct AdmittedTurn {
    pub permit: TurnPermit<Timestamp>,
    pub record: TurnRecord,
    /// Gets the request to end the turn.
    pub stopped: oneshot::Receiver<()>,
    pub session: String,
    pub text: String,
    /// The caller's place in a trace. `None`: it named none.
    pub trace: Option<TraceContext>,
}

impl TurnCommand {
    /// Starts the turn and returns its events. The turn runs to its end with or without a listener.
    /// The permit is dropped when no process of the turn is left. If the events end without an end
    /// event, the listener has missed output.
    pub(super) fn start(
        &self,
        turn: AdmittedTurn,
        on_end: impl FnOnce() + Send + 'static,
    ) -> mpsc::Receiver<TurnEvent> {
        let AdmittedTurn {
            permit,
            record,
            stopped,
            session,
            text,
            trace,
        } = turn;
        let (events, listener) = mpsc::channel(16);
        let spawned = self.spawn(&session, trace.as_ref());
        let limits = TurnLimits {
            time: self.time_limit,
            stopped,
        };

        tokio::spawn(async move {
            let id = permit.id();
            let mut output = TurnOutput {
                listener: Some(events),
                record,
            };
            // A panic of the gateway must not keep the turn counted for ever.
            let run = AssertUnwindSafe(run(id, spawned, text, &mut output, limits))
                .catch_unwind()
                .await;
            let end = run.unwrap_or_else(|_| TurnEnd::NotRun("internal error".into()));
            tracing::info!(turn = id, %end, "turn ended");
            output.record.end(end.clone());
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

    fn spawn(&self, session: &str, trace: Option<&TraceContext>) -> io::Result<GuardProcess> {
        let mut command = Command::new(&self.guard);
        for secret in &self.secret_variables {
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
            .stderr(Stdio::piped())
            // Ctrl-C in a terminal is for the gateway, which lets turns finish.
            .process_group(0);

        set_trace(&mut command, trace);
        self.custody.spawn(&mut command)
    }
}

/// Names the trace in the turn's environment. Without one, what the gateway itself was started with
/// does not pass on: it is another trace.
fn set_trace(command: &mut Command, trace: Option<&TraceContext>) {
    command
        .env_remove(TRACEPARENT_VARIABLE)
        .env_remove(TRACESTATE_VARIABLE);
    let Some(trace) = trace else { return };
    command.env(TRACEPARENT_VARIABLE, trace.parent());
    if !trace.state().is_empty() {
        command.env(TRACESTATE_VARIABLE, trace.state());
    }
}

/// What may end a turn before its command does.
struct TurnLimits {
    time: Option<Duration>,
    stopped: oneshot::Receiver<()>,
}

impl TurnLimits {
    /// Waits until the turn has to be ended, and returns the reason.
    async fn reached(self) -> TurnEnd {
        let Self { time, stopped } = self;

        let overtime = async {
            let Some(limit) = time else {
                return pending::<TurnEnd>().await;
            };
            sleep(limit).await;
            TurnEnd::TimedOut(limit)
        };
        let requested = async {
            if stopped.await.is_err() {
                // Without a sender there is no such request.
                pending::<()>().await;
            }
            TurnEnd::Stopped
        };

        tokio::select! {
            reason = overtime => reason,
            reason = requested => reason,
        }
    }
}

/// Runs the turn until nothing of it is left.
async fn run(
    id: TurnId,
    spawned: io::Result<GuardProcess>,
    text: String,
    output: &mut TurnOutput,
    limits: TurnLimits,
) -> TurnEnd {
    let mut guard = match spawned {
        Ok(guard) => guard,
        Err(error) => return TurnEnd::NotRun(error.to_string()),
    };

    let Pipes {
        stdin,
        stdout,
        stderr,
    } = guard.take_pipes();
    let mut log = tokio::spawn(log_stderr(id, stderr));
    let feed = async move {
        if let Some(mut stdin) = stdin {
            // A command may end without reading its input.
            let _ = stdin.write_all(text.as_bytes()).await;
        }
    };

    let is_empty = AtomicBool::new(false);
    let (ended, listen) = (
        pin!(end_of(&mut guard, limits)),
        pin!(forward(stdout, output, &is_empty)),
    );
    let finish = async {
        match select(ended, listen).await {
            Either::Left((end, mut listen)) => {
                // The content of the pipe is still passed on, also to a slow listener. But another
                // process that has inherited the pipe must not keep the turn in flight by keeping
                // the pipe open.
                while timeout(LAST_WORDS, &mut listen).await.is_err()
                    && !is_empty.load(Ordering::Relaxed)
                {}
                end
            }
            Either::Right(((), ended)) => ended.await,
        }
    };

    let end = match select(pin!(finish), pin!(feed)).await {
        Either::Left((end, _)) => end,
        Either::Right(((), finish)) => finish.await,
    };
    if timeout(LAST_WORDS, &mut log).await.is_err() {
        log.abort();
    }
    end
}

/// Waits until nothing of the turn is left. A turn that reaches a limit is ended.
async fn end_of(guard: &mut GuardProcess, limits: TurnLimits) -> TurnEnd {
    let reason = tokio::select! {
        biased;
        status = guard.wait() => return TurnEnd::of_guard(status),
        reason = limits.reached() => reason,
    };
    if let Err(error) = guard.end().await {
        tracing::warn!(%error, "the status of a turn's guard is not known");
    }
    reason
}

/// The receivers of a turn's output: its record, and the listener for as long as it reads.
struct TurnOutput {
    listener: Option<mpsc::Sender<TurnEvent>>,
    record: TurnRecord,
}

impl TurnOutput {
    async fn pass_on(&mut self, bytes: &[u8]) {
        self.record.keep(bytes);
        self.send(TurnEvent::Output(bytes.to_vec())).await;
    }

    /// Sends an event to the listener. A listener that disconnects or does not read for
    /// [`LISTENER_PATIENCE`] is dropped. It gets no end event, since its part of the output would
    /// then look complete.
    async fn send(&mut self, event: TurnEvent) {
        let Some(listener) = &self.listener else {
            return;
        };
        if listener
            .send_timeout(event, LISTENER_PATIENCE)
            .await
            .is_err()
        {
            self.listener = None;
        }
    }
}

/// Passes output on until its end. `is_empty` is true while there is nothing in the pipe.
async fn forward(stdout: Option<ChildStdout>, output: &mut TurnOutput, is_empty: &AtomicBool) {
    let Some(mut stdout) = stdout else { return };
    let mut buffer = vec![0; 16 * 1024];
    loop {
        is_empty.store(true, Ordering::Relaxed);
        let Ok(read @ 1..) = stdout.read(&mut buffer).await else {
            return;
        };
        is_empty.store(false, Ordering::Relaxed);
        output.pass_on(&buffer[..read]).await;
    }
}
