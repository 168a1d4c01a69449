//! Other processes of this same program: the upstream, the load generators and the holder of
//! connections.
//!
//! Each gets a plan as JSON and prints lines. Load generators end by themselves; the others end
//! when their stdin does, so none outlives the process that started it.

use super::{generator, handshakes, holder, upstream};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::io::{self, BufRead, BufReader};
use std::process::{ChildStdin, ChildStdout, Command, Stdio};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::oneshot;

/// The first argument of such a process.
pub(crate) const ROLE: &str = "role";

/// What such a process does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    Upstream,
    Generator,
    Handshakes,
    Holder,
}

impl Role {
    const ALL: [Self; 4] = [
        Self::Upstream,
        Self::Generator,
        Self::Handshakes,
        Self::Holder,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Upstream => "upstream",
            Self::Generator => "generator",
            Self::Handshakes => "handshakes",
            Self::Holder => "holder",
        }
    }
}

/// Does in this process what its arguments say.
pub(crate) fn play(role: &str, plan: &str) {
    super::process::raise_open_files();
    let role = Role::ALL
        .into_iter()
        .find(|known| known.name() == role)
        .expect("a role of this program");
    let runtime = one_thread();
    match role {
        Role::Upstream => runtime.block_on(upstream::serve()),
        Role::Generator => runtime.block_on(generator::run(&parsed(plan))),
        Role::Handshakes => runtime.block_on(handshakes::run(&parsed(plan))),
        Role::Holder => runtime.block_on(holder::run(parsed(plan))),
    }
}

fn parsed<T: DeserializeOwned>(plan: &str) -> T {
    serde_json::from_str(plan).expect("the plan is of this program")
}

/// One thread, so that a child takes one core at most.
fn one_thread() -> Runtime {
    Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime")
}

/// Ready when the process that started this one closes the pipe, or ends.
pub(crate) async fn is_dismissed() {
    let (ends, ended) = oneshot::channel();
    std::thread::spawn(move || {
        let _ = io::copy(&mut io::stdin().lock(), &mut io::sink());
        let _: Result<(), ()> = ends.send(());
    });
    let _ = ended.await;
}

/// A process that was started, ended when it is dropped.
pub(crate) struct Child {
    process: std::process::Child,
    stdin: Option<ChildStdin>,
    stdout: BufReader<ChildStdout>,
}

impl Child {
    pub(crate) fn start(role: Role, plan: &impl Serialize) -> Self {
        let itself = std::env::current_exe().expect("the path of this program");
        let plan = serde_json::to_string(plan).expect("a plan is JSON");
        let mut process = Command::new(itself)
            .args([ROLE, role.name(), &plan])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("this program starts");
        let stdin = process.stdin.take();
        let stdout = BufReader::new(process.stdout.take().expect("stdout is piped"));
        Self {
            process,
            stdin,
            stdout,
        }
    }

    /// Waits for the next line that it prints, and reads it as JSON.
    pub(crate) fn read<T: DeserializeOwned>(&mut self) -> T {
        let mut line = String::new();
        self.stdout.read_line(&mut line).expect("stdout is text");
        serde_json::from_str(&line).expect("the child says what it found; why not is on stderr")
    }

    /// Closes its stdin: a process that holds something says what is left of it, and ends.
    pub(crate) fn dismiss(&mut self) {
        drop(self.stdin.take());
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Prints a line for the process that started this one.
pub(crate) fn say(value: &impl Serialize) {
    println!(
        "{}",
        serde_json::to_string(value).expect("what is said is JSON")
    );
}
