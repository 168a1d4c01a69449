use super::{Home, SOON, eventually};
use rustix::process::{Pid, Signal, kill_process};
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read};
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};

static STARTED: AtomicUsize = AtomicUsize::new(0);

/// The binary that the suites drive: it stands beside them (`.config/nextest.toml` builds it
/// first).
///
/// # Panics
/// It was not built.
pub fn binary() -> PathBuf {
    let here = std::env::current_exe().expect("a test knows where it is");
    let binary = here
        .ancestors()
        .nth(2)
        .expect("target/<profile>/deps/<test>")
        .join("portcullis");
    assert!(
        binary.exists(),
        "{} is missing: cargo test --workspace --no-run",
        binary.display()
    );
    binary
}

/// A process that the test started, and that ends with it.
pub struct Process {
    child: Child,
    stdout: BufReader<ChildStdout>,
    log: PathBuf,
    port: u16,
}

/// A process that ended by itself.
#[derive(Debug)]
pub struct Finished {
    /// Its exit code.
    pub code: Option<i32>,
    /// What it printed.
    pub stdout: String,
    /// What it logged.
    pub stderr: String,
}

impl Process {
    /// Starts the binary over this home. Nothing of the test's own environment that could matter is
    /// left.
    ///
    /// # Panics
    /// It cannot be started.
    pub fn start(home: &Home, arguments: &[&str], variables: &[(&str, &str)]) -> Self {
        Self::start_by(&[], home, arguments, variables)
    }

    /// Starts the binary by way of another program, such as `prlimit`, which runs what follows its
    /// own arguments.
    ///
    /// # Panics
    /// It cannot be started.
    pub fn start_by(
        wrapper: &[&str],
        home: &Home,
        arguments: &[&str],
        variables: &[(&str, &str)],
    ) -> Self {
        let log = home.file(&format!(
            "stderr.{}",
            STARTED.fetch_add(1, Ordering::Relaxed)
        ));
        let binary = binary();
        let mut words = wrapper.iter().map(OsStr::new).chain([binary.as_os_str()]);
        let mut command = Command::new(words.next().expect("the binary at least"));
        command.args(words);
        let ours = std::env::vars_os().map(|(name, _)| name);
        for name in ours.filter(|name| name.as_encoded_bytes().starts_with(b"HERMES_")) {
            command.env_remove(name);
        }
        command.env_remove("RUST_LOG");
        let mut child = command
            .args(arguments)
            .arg("--home")
            .arg(home.path())
            .envs(variables.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(File::create(&log).expect("a file in the home"))
            .spawn()
            .expect("the binary starts");
        let stdout = BufReader::new(child.stdout.take().expect("stdout is piped"));
        Self {
            child,
            stdout,
            log,
            port: 0,
        }
    }

    /// Runs the binary to its end.
    pub fn run(home: &Home, arguments: &[&str], variables: &[(&str, &str)]) -> Finished {
        Self::start(home, arguments, variables).finish()
    }

    /// Waits for the line that says that it accepts requests.
    ///
    /// # Panics
    /// It ends first, or says something else.
    #[must_use]
    #[expect(clippy::panic, reason = "the test cannot go on")]
    pub fn ready(mut self, component: &str) -> Self {
        let line = self.line();
        let port = line
            .strip_prefix(&format!("PORTCULLIS_READY {component} port="))
            .map(str::trim);
        self.port = port
            .and_then(|port| port.parse().ok())
            .unwrap_or_else(|| panic!("{component} is not ready: {line:?}\n{}", self.log()));
        self
    }

    /// The next line of its stdout; empty at the end.
    ///
    /// # Panics
    /// It is not text.
    pub fn line(&mut self) -> String {
        let mut line = String::new();
        self.stdout.read_line(&mut line).expect("stdout is text");
        line
    }

    /// The address of a path on its port.
    pub fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it logged so far.
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Sends it a signal.
    ///
    /// # Panics
    /// It has no process id.
    pub fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(self.child.id().cast_signed()).expect("a child has an id");
        let _ = kill_process(pid, signal);
    }

    /// Waits for its end.
    ///
    /// # Panics
    /// The process does not end in time.
    pub fn wait(&mut self) -> ExitStatus {
        eventually("the process ends", SOON * 3, || {
            self.child.try_wait().expect("our own child")
        })
    }

    /// Reads it to its end.
    ///
    /// # Panics
    /// The process does not end in time, or does not print text.
    pub fn finish(mut self) -> Finished {
        let mut stdout = String::new();
        self.stdout
            .read_to_string(&mut stdout)
            .expect("stdout is text");
        Finished {
            code: self.wait().code(),
            stdout,
            stderr: self.log(),
        }
    }

    /// Asks it to end, and waits.
    pub fn terminate(&mut self) -> ExitStatus {
        self.signal(Signal::TERM);
        self.wait()
    }

    /// Ends it without asking.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}
