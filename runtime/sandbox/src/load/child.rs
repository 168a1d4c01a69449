//! The compiler's process: the same binary, started for one component, with limits on its memory
//! and time.
//!
//! The dashboard writes the component's length and bytes to the child's standard input and keeps it
//! open; the child answers on its standard output and ends. A child whose input is closed early
//! ends at once: its answer would not be read.

use super::artifact::{Artifact, UNNAMED};
use super::cache::MAX_ARTIFACT_BYTES;
use super::compile::compile;
use super::compiler::CompilerProcess;
use super::error::Unloadable;
use super::source::MAX_FILE_BYTES;
use crate::engine::{Codegen, compiler_engine};
use crate::guest_text::words;
use rustix::process::{
    Resource, Rlimit, Signal, getpid, getrlimit, kill_process, setpriority_process, setrlimit,
};
use std::fs;
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::process::{ExitStatus, Stdio};
use std::thread;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, Command};

/// What one compilation may take.
#[derive(Clone, Copy, Debug)]
pub struct ChildLimits {
    /// Address space of the child, in bytes. CPython and StarlingMonkey need a quarter of the
    /// default.
    pub memory_bytes: u64,
    /// Processor time of the child, over all its threads. CPython takes 8 s of one core.
    pub cpu: Duration,
    /// Wall-clock time, after which the child is killed. Much more than the processor time: the
    /// child has a low priority, so that a busy machine can keep it from running.
    pub wall: Duration,
}

impl Default for ChildLimits {
    fn default() -> Self {
        Self {
            memory_bytes: 1536 * 1024 * 1024,
            cpu: Duration::from_secs(120),
            wall: Duration::from_secs(600),
        }
    }
}

/// How much lower (nice value) the compiler stands than the threads that serve requests. At 15, a
/// first start beside three busy programs on two cores took over 30 s, for bundled components that
/// compile in half a second.
const NICE: i32 = 5;
/// Threads of one compilation. More would reserve more memory without being given more cores.
const MAX_THREADS: usize = 4;
/// What is kept of the child's standard error.
const MAX_STDERR_BYTES: u64 = 4 * 1024;
/// First byte of the child's answer: an artifact follows.
const COMPILED: u8 = b'A';
/// First byte of the child's answer: a reason follows, as JSON.
const REFUSED: u8 = b'R';

/// Compiles a component in a child, which first links its core modules if `link_modules` is set.
///
/// # Errors
/// The component is refused, or the child cannot be started or is ended by one of its limits.
pub(super) async fn compile_in_child(
    process: &CompilerProcess,
    codegen: Codegen,
    bytes: &[u8],
    link_modules: bool,
    threads: usize,
) -> Result<Artifact, Unloadable> {
    let limits = process.limits;
    let mut child = start(process, codegen, link_modules, threads).map_err(|error| {
        let program = process.program.display();
        match error.kind() {
            // A limit on processes or memory.
            ErrorKind::WouldBlock | ErrorKind::OutOfMemory => {
                Unloadable::NotStarted(format!("{program}: {error}"))
            }
            _ => {
                Unloadable::CompilerFailed(format!("its process, {program}, cannot start: {error}"))
            }
        }
    })?;

    match tokio::time::timeout(limits.wall, talk(&mut child, bytes)).await {
        // Taking in and checking tens of megabytes is nothing for a thread that serves requests.
        Ok(Ok(heard)) => tokio::task::spawn_blocking(move || heard.into_outcome(&limits))
            .await
            .unwrap_or_else(|lost| Err(Unloadable::CompilerFailed(words(lost)))),
        Ok(Err(error)) => Err(Unloadable::CompilerFailed(format!(
            "its process cannot be talked to: {error}"
        ))),
        Err(_) => {
            let _ = child.kill().await;
            Err(Unloadable::TooSlow {
                seconds: limits.wall.as_secs(),
            })
        }
    }
}

fn start(
    process: &CompilerProcess,
    codegen: Codegen,
    link_modules: bool,
    threads: usize,
) -> io::Result<Child> {
    Command::new(&process.program)
        .arg0("portcullis")
        .arg("compile-component")
        .args(["--memory", &process.limits.memory_bytes.to_string()])
        .args(["--cpu", &process.limits.cpu.as_secs().to_string()])
        .args(
            codegen
                .reservation
                .map(|bytes| format!("--reservation={bytes}")),
        )
        .args(link_modules.then_some("--link-modules"))
        // The environment may hold secrets.
        .env_clear()
        .env("RAYON_NUM_THREADS", threads.min(MAX_THREADS).to_string())
        // Each arena of glibc's allocator reserves 64 MiB of the address space that is limited.
        .env("MALLOC_ARENA_MAX", "2")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
}

/// All that a child has said.
struct Heard {
    answer: Vec<u8>,
    stderr: Vec<u8>,
    status: ExitStatus,
}

async fn talk(child: &mut Child, bytes: &[u8]) -> io::Result<Heard> {
    let missing = || io::Error::other("a pipe is missing");
    let mut stdin = child.stdin.take().ok_or_else(missing)?;
    let stdout = child.stdout.take().ok_or_else(missing)?;
    let stderr = child.stderr.take().ok_or_else(missing)?;

    let write = async {
        // A child that has ended does not read: how it ended says why.
        let _ = stdin.write_all(&(bytes.len() as u64).to_le_bytes()).await;
        let _ = stdin.write_all(bytes).await;
        Ok(())
    };

    let ((), answer, stderr) = tokio::try_join!(
        write,
        read_all(stdout, MAX_ARTIFACT_BYTES),
        read_all(stderr, MAX_STDERR_BYTES)
    )?;

    let status = child.wait().await?;
    drop(stdin);
    Ok(Heard {
        answer,
        stderr,
        status,
    })
}

async fn read_all(from: impl AsyncRead + Unpin, most: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut from = from;
    (&mut from).take(most).read_to_end(&mut bytes).await?;
    // What is beyond the bound is read and dropped, so that the writer can end.
    tokio::io::copy(&mut from, &mut tokio::io::sink()).await?;
    Ok(bytes)
}

impl Heard {
    fn into_outcome(mut self, limits: &ChildLimits) -> Result<Artifact, Unloadable> {
        match self.answer.first() {
            Some(&COMPILED) if self.status.success() => {
                self.answer.remove(0);
                Artifact::read(self.answer, UNNAMED)
                    .map_err(|bad| Unloadable::CompilerFailed(bad.to_string()))
            }
            Some(&REFUSED) => match serde_json::from_slice(&self.answer[1..]) {
                Ok(Unloadable::Invalid(why) | Unloadable::NotLinked(why))
                    if is_for_want_of_memory(&why) =>
                {
                    Err(too_much_memory(limits))
                }
                Ok(refused) => Err(refused),
                Err(error) => Err(Unloadable::CompilerFailed(words(error))),
            },
            _ => Err(self.why_it_ended(limits)),
        }
    }

    fn why_it_ended(&self, limits: &ChildLimits) -> Unloadable {
        let stderr = String::from_utf8_lossy(&self.stderr);
        let signal = self.status.signal().map(Signal::from_named_raw);

        match signal {
            Some(Some(Signal::XCPU)) => Unloadable::TooSlow {
                seconds: limits.cpu.as_secs(),
            },
            // The host sends none: the system ends the process that needs most when memory is short,
            // of the machine or of the control group.
            Some(Some(Signal::KILL)) => Unloadable::Killed,
            _ if is_for_want_of_memory(&stderr) => too_much_memory(limits),
            _ => Unloadable::CompilerFailed(words(format_args!(
                "{}: {}",
                self.status,
                stderr.trim()
            ))),
        }
    }
}

/// Names the limit that the child has reached: its own, or a lower one of this process, which the
/// child inherits.
fn too_much_memory(limits: &ChildLimits) -> Unloadable {
    let inherited = [
        getrlimit(Resource::As).maximum,
        getrlimit(Resource::Data).current,
    ];
    let lowest = inherited.into_iter().flatten().min();
    let bytes = lowest.map_or(limits.memory_bytes, |lowest| {
        lowest.min(limits.memory_bytes)
    });
    Unloadable::TooMuchMemory { mib: bytes >> 20 }
}

/// Returns whether this is what Rust's allocator or the system say when there is no memory.
fn is_for_want_of_memory(text: &str) -> bool {
    ["memory allocation of", "Cannot allocate memory"]
        .iter()
        .any(|sign| text.contains(sign))
}

/// The child's whole life: takes its limits on, reads a component, compiles it, answers.
///
/// # Errors
/// The pipes to the parent fail, or a limit cannot be set.
pub fn run_compiler(
    limits: ChildLimits,
    reservation: Option<u64>,
    link_modules: bool,
) -> io::Result<()> {
    confine(limits)?;
    let mut stdin = io::stdin();
    let mut length = [0; 8];
    stdin.read_exact(&mut length)?;
    let length = u64::from_le_bytes(length).min(MAX_FILE_BYTES);
    let mut bytes = Vec::new();
    stdin.by_ref().take(length).read_to_end(&mut bytes)?;
    thread::Builder::new()
        .name("parent".into())
        .spawn(end_with_the_parent)?;

    let compiled = compiler_engine(Codegen { reservation })
        .map_err(|error| Unloadable::CompilerFailed(words(format_args!("{error:#}"))))
        .and_then(|engine| compile(&engine, &bytes, link_modules));
    let mut stdout = io::stdout().lock();
    match compiled {
        Ok(artifact) => {
            stdout.write_all(&[COMPILED])?;
            stdout.write_all(artifact.bytes())?;
        }
        Err(refused) => {
            stdout.write_all(&[REFUSED])?;
            serde_json::to_writer(&mut stdout, &refused)?;
        }
    }
    stdout.flush()
}

fn confine(limits: ChildLimits) -> io::Result<()> {
    let lower = |resource, soft: u64, hard: u64| {
        let now = getrlimit(resource).maximum.unwrap_or(u64::MAX);
        setrlimit(
            resource,
            Rlimit {
                current: Some(soft.min(now)),
                maximum: Some(hard.min(now)),
            },
        )
    };

    lower(Resource::As, limits.memory_bytes, limits.memory_bytes)?;
    // At the soft limit the system sends SIGXCPU, which says why; at the hard one SIGKILL, which
    // does not.
    let seconds = limits.cpu.as_secs();
    lower(Resource::Cpu, seconds, seconds + 5)?;
    lower(Resource::Core, 0, 0)?;

    // Best effort: who may not lower a priority compiles at the usual one.
    let _ = setpriority_process(None, NICE);
    // When memory is short, this process is the one to end.
    let _ = fs::write("/proc/self/oom_score_adj", "1000");
    Ok(())
}

/// Ends this process when the parent closes its end of the pipe, as it does when it ends.
fn end_with_the_parent() {
    let mut one = [0];
    let _ = io::stdin().read(&mut one);
    let _ = kill_process(getpid(), Signal::KILL);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(wait_status: i32, stderr: &str) -> Unloadable {
        let heard = Heard {
            answer: Vec::new(),
            stderr: stderr.as_bytes().to_vec(),
            status: ExitStatus::from_raw(wait_status),
        };
        heard.into_outcome(&ChildLimits::default()).unwrap_err()
    }

    #[test]
    fn compiler_that_the_system_killed_is_not_said_to_need_more_than_its_limit() {
        let killed = outcome(Signal::KILL.as_raw(), "");
        assert_eq!(killed, Unloadable::Killed);
        let aborted = outcome(
            Signal::ABORT.as_raw(),
            "memory allocation of 1572864 bytes failed",
        );
        assert!(
            matches!(aborted, Unloadable::TooMuchMemory { .. }),
            "{aborted}"
        );
    }
}
