use super::{DRAIN_SECRET, Process};
use serde_json::Value;
use std::fs;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// The component of one of `tests/guests`.
pub fn guest(name: &str) -> PathBuf {
    Path::new(env!("TEST_GUESTS")).join(format!("{name}.wasm"))
}

/// The component of one of the guests whose calls are measured (`MEASURED` in `tests/build.rs`),
/// linked as `portcullis provider link` does.
pub fn linked_guest(name: &str) -> PathBuf {
    Path::new(env!("LINKED_GUESTS")).join(format!("{name}.wasm"))
}

/// The component of `tests/guests/minimal.rs` without the standard library's imports, linked.
pub fn bare_guest() -> PathBuf {
    PathBuf::from(env!("BARE_GUEST"))
}

/// A home in a temporary folder.
pub struct Home {
    folder: TempDir,
}

impl Home {
    /// An empty one, whose compiled components are shared with the other tests' homes.
    ///
    /// # Panics
    /// The folder cannot be made.
    pub fn new() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let cache = super::binary().with_file_name("test-cache");
        let made = fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&cache);
        made.expect("a folder beside the binary");
        std::os::unix::fs::symlink(cache, folder.path().join("cache")).expect("a link in the home");
        Self { folder }
    }

    /// One with this configuration.
    pub fn with_config(yaml: &str) -> Self {
        let home = Self::new();
        home.write("portcullis.yaml", yaml);
        home
    }

    /// One whose dashboard loads these guests, all with the scope `metrics.read`, for `/metrics`.
    pub fn with_guests(names: &[&str]) -> Self {
        Self::with_config(&Self::guests_config(names))
    }

    /// The configuration of [`with_guests`](Self::with_guests).
    pub fn guests_config(names: &[&str]) -> String {
        let provider = |(index, name): (usize, &&str)| {
            // Those that only a clock stops are stopped soon; the others are given time on a busy
            // machine.
            let (memory, deadline) = match *name {
                "loops" | "sleeps" => (64, 300),
                "dozes" => (64, 1_000),
                "hoards" => (16, 2_000),
                "shouts" => (256, 2_000),
                _ => (64, 2_000),
            };
            format!(
                "    - {{name: {name}-{index}, component: {}, grants: {{scopes: [metrics.read]}}, \
                 limits: {{memory_mib: {memory}, deadline_ms: {deadline}}}}}\n",
                guest(name).display()
            )
        };
        let providers: String = names.iter().enumerate().map(provider).collect();
        format!(
            "dashboard:\n  token_routes: [{{path: /metrics, scope: metrics.read}}]\n  providers:\n{providers}{}",
            if names.is_empty() { "    []\n" } else { "" }
        )
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// A file in it.
    pub fn file(&self, name: &str) -> PathBuf {
        self.path().join(name)
    }

    /// Writes a file in it.
    ///
    /// # Panics
    /// It cannot be written.
    pub fn write(&self, name: &str, text: &str) {
        fs::write(self.file(name), text).expect("a file in the home");
    }

    /// Puts a folder in a file's place, also while a process writes that file. Every rename onto it
    /// then fails, for root as well.
    pub fn block(&self, name: &str) {
        super::eventually("a folder stands in the file's place", super::SOON, || {
            let _ = fs::remove_file(self.file(name));
            fs::create_dir(self.file(name)).ok()
        });
    }

    /// Reads a JSON file in it; null while there is none.
    pub fn json(&self, name: &str) -> Value {
        fs::read(self.file(name))
            .ok()
            .and_then(|text| serde_json::from_slice(&text).ok())
            .unwrap_or_default()
    }

    /// The audit lines so far.
    pub fn audit(&self) -> Vec<Value> {
        let text = fs::read_to_string(self.file("logs/dashboard-auth.log")).unwrap_or_default();
        text.lines()
            .filter_map(|line| serde_json::from_str(line).ok())
            .collect()
    }

    /// A dashboard over it, with the drain secret.
    pub fn dashboard(&self) -> Process {
        self.dashboard_with(
            &["--port", "0"],
            &[("HERMES_DASHBOARD_DRAIN_SECRET", DRAIN_SECRET)],
        )
    }

    /// A dashboard with other flags and variables.
    pub fn dashboard_with(&self, flags: &[&str], variables: &[(&str, &str)]) -> Process {
        let arguments: Vec<&str> = ["serve"].iter().chain(flags).copied().collect();
        Process::start(self, &arguments, variables).ready("dashboard")
    }

    /// A gateway over it.
    pub fn gateway(&self) -> Process {
        Process::start(self, &["gateway", "--listen", "127.0.0.1:0"], &[]).ready("gateway")
    }
}

impl Default for Home {
    fn default() -> Self {
        Self::new()
    }
}
