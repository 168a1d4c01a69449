//! Folders that `provider new` writes, built with the tools of their languages.

use super::binary;
use portcullis_author::scaffold::{Language, Project, ProjectName, ProviderKind, Steps};
use std::collections::hash_map::DefaultHasher;
use std::fs::{self, File};
use std::hash::{Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Variables of the build that runs the tests, which would leak into one that a test starts.
const LEAKS: &[&str] = &[
    "CARGO",
    "CARGO_BUILD_TARGET",
    "CARGO_ENCODED_RUSTFLAGS",
    "CARGO_MANIFEST_DIR",
    "CARGO_PKG_NAME",
    "RUSTC",
    "RUSTC_WORKSPACE_WRAPPER",
    "RUSTC_WRAPPER",
    "RUSTFLAGS",
    "RUST_BACKTRACE",
    "LD_LIBRARY_PATH",
];

/// Where the examples are that replace what a scaffold has.
fn examples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../providers/examples")
}

/// `<target>`, which outlives a run of the tests.
fn target() -> PathBuf {
    binary()
        .ancestors()
        .nth(2)
        .expect("target/<profile>/portcullis")
        .to_owned()
}

/// What a language cannot do without, as commands that succeed where it is there.
fn needs(language: Language) -> &'static [&'static str] {
    match language {
        Language::Rust => &["cargo --version"],
        Language::Python => &["make --version", "componentize-py --version"],
        Language::JavaScript | Language::TypeScript | Language::AssemblyScript => {
            &["npm --version"]
        }
        Language::Go => &["make --version", "go version", "wasm-tools --version"],
        Language::C => &[
            "make --version",
            "clang-19 --version",
            "cc --version",
            "wasm-tools --version",
        ],
        Language::Cpp => &[
            "make --version",
            "clang++-19 --version",
            "c++ --version",
            "wasm-tools --version",
        ],
        Language::Zig => &[
            "make --version",
            "python-zig version",
            "wasm-tools --version",
        ],
        Language::Wat => &[
            "make --version",
            "wasm-tools --version",
            "python3 -c 'import wasmtime'",
        ],
    }
}

/// What is missing for this language, if anything is.
pub fn missing(language: Language) -> Option<&'static str> {
    let succeeds = |command: &str| {
        let mut probe = shell(command, Path::new("/"));
        probe
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|status| status.success())
    };
    needs(language)
        .iter()
        .copied()
        .find(|command| !succeeds(command))
}

/// The compiler, and its version.
///
/// # Panics
/// It is not there.
pub fn tool(language: Language, folder: &Path) -> String {
    let command = match language {
        Language::Rust => "rustc --version",
        Language::Python => "componentize-py --version",
        Language::JavaScript | Language::TypeScript => {
            "echo componentize-js $(node -p 'require(\"./node_modules/@bytecodealliance/componentize-js/package.json\").version')"
        }
        Language::AssemblyScript => "echo asc $(npx asc --version)",
        Language::Go => "go version",
        Language::C => "clang-19 --version",
        Language::Cpp => "clang++-19 --version",
        Language::Zig => "echo zig $(python-zig version)",
        Language::Wat => "wasm-tools --version",
    };
    let said = shell(command, folder).output().expect("a shell").stdout;
    let said = String::from_utf8_lossy(&said)
        .lines()
        .next()
        .unwrap_or_default()
        .to_owned();
    // Without the date, the distribution and the commit.
    let words: Vec<_> = said
        .split([' ', '('])
        .filter(|word| !word.is_empty())
        .collect();
    let end = words
        .iter()
        .position(|word| word.contains('.') && word.contains(|c: char| c.is_ascii_digit()));
    words[..end.map_or(words.len(), |at| at + 1)].join(" ")
}

/// A command line, with the tools that the set-up installs before others.
fn shell(line: &str, folder: &Path) -> Command {
    let tools = target().join("tools/bin");
    let mut command = Command::new("sh");
    for name in LEAKS {
        command.env_remove(name);
    }
    #[expect(
        clippy::disallowed_methods,
        reason = "the tools are found where the test's own are"
    )]
    let path = std::env::var("PATH").unwrap_or_default();
    command
        .args(["-ec", line])
        .current_dir(folder)
        .env("PATH", format!("{}:{path}", tools.display()))
        .env("PORTCULLIS", binary())
        // As PyPI's package calls it.
        .env("ZIG", "python-zig")
        // One for all folders, so that what they share is compiled once.
        .env("CARGO_TARGET_DIR", cargo_target());
    command
}

/// Runs a script as an author types it, with the binary on the path and nothing shared with other
/// folders, and returns what it printed.
///
/// # Panics
/// It fails.
pub fn author(script: &str, folder: &Path) -> String {
    let binary = binary();
    let bin = binary.parent().expect("a folder of the binary");
    let script = format!("PATH=\"{}:$PATH\"\n{script}", bin.display());
    let done = shell(&script, folder)
        .env_remove("CARGO_TARGET_DIR")
        .output()
        .expect("a shell");
    let (out, err) = (
        String::from_utf8_lossy(&done.stdout),
        String::from_utf8_lossy(&done.stderr),
    );
    assert!(done.status.success(), "{script}\n{out}\n{err}");
    format!("{out}\n{err}")
}

/// Where what is built of Rust goes.
fn cargo_target() -> PathBuf {
    target().join("scaffolds/target")
}

/// A folder that `provider new` wrote.
#[derive(Debug)]
pub struct Scaffold {
    /// Where it is.
    pub folder: PathBuf,
    /// How it is worked on.
    pub steps: Steps,
}

impl Scaffold {
    /// Has the binary write one into this folder.
    ///
    /// # Panics
    /// It does not.
    pub fn new(language: Language, kind: ProviderKind, name: &str, parent: &Path) -> Self {
        let arguments = [
            "provider",
            "new",
            name,
            "--lang",
            language.name(),
            "--kind",
            kind.name(),
        ];
        let made = Command::new(binary())
            .args(arguments)
            .current_dir(parent)
            .output()
            .expect("the binary starts");
        assert!(
            made.status.success(),
            "{}",
            String::from_utf8_lossy(&made.stderr)
        );
        let name = ProjectName::new(name).expect("a name");
        let folder = parent.join(name.as_str());
        Self {
            folder,
            steps: Project {
                name,
                language,
                kind,
            }
            .steps()
            .expect("templates of ours"),
        }
    }

    /// Runs one of its commands, as an author would.
    ///
    /// # Panics
    /// The command fails.
    pub fn run(&self, line: &str) {
        let done = shell(line, &self.folder).output().expect("a shell");
        let (out, err) = (
            String::from_utf8_lossy(&done.stdout),
            String::from_utf8_lossy(&done.stderr),
        );
        assert!(
            done.status.success(),
            "{line}, in {}:\n{out}\n{err}",
            self.folder.display()
        );
    }

    /// What comes of its build.
    pub fn component(&self) -> PathBuf {
        let component = Path::new(&self.steps.component);
        match component.strip_prefix("target") {
            Ok(below) => cargo_target().join(below),
            Err(_) => self.folder.join(component),
        }
    }

    /// Fetches its own packages; programs are on the machine, or the language is skipped.
    fn set_up(&self) {
        for step in self
            .steps
            .setup
            .iter()
            .filter(|step| step.starts_with("npm "))
        {
            self.run(step);
        }
    }

    /// Sets it up and builds it.
    ///
    /// # Panics
    /// A command fails, or nothing comes of it.
    pub fn build(&self) -> PathBuf {
        self.set_up();
        self.make()
    }

    /// Builds what is set up.
    ///
    /// # Panics
    /// As for [`build`](Self::build).
    pub fn make(&self) -> PathBuf {
        self.run(&self.steps.build);
        let component = self.component();
        assert!(component.is_file(), "{} was not built", component.display());
        component
    }
}

/// A scaffold of this language with the example laid over it.
///
/// # Panics
/// It cannot be written.
fn example_scaffold(language: Language, parent: &Path) -> Scaffold {
    let scaffold = Scaffold::new(language, ProviderKind::Token, "example", parent);
    lay_over(&examples().join(language.name()), &scaffold.folder);
    scaffold
}

/// The example in this language, built once for as long as nothing of it changes.
///
/// # Panics
/// It does not build.
pub fn example(language: Language) -> PathBuf {
    let folder = target().join("scaffolds").join(language.name());
    fs::create_dir_all(&folder).expect("a folder in the target folder");
    // Several test processes may want it at once.
    let lock = File::create(folder.join("lock")).expect("a file in the target folder");
    lock.lock().expect("a lock");
    let fresh = tempfile::tempdir_in(&folder).expect("a temporary folder");
    let scaffold = example_scaffold(language, fresh.path());
    let component = folder.join(format!("{:016x}.wasm", fingerprint(&scaffold.folder)));
    if !component.exists() {
        let built = scaffold.build();
        fs::copy(built, &component).expect("a file in the target folder");
    }
    component
}

/// The example in this language, with nothing built before: its packages are fetched, and no more.
///
/// # Panics
/// It cannot be written.
pub fn clean_example(language: Language, parent: &Path) -> Scaffold {
    let scaffold = example_scaffold(language, parent);
    scaffold.set_up();
    if language == Language::Rust {
        let _ = fs::remove_dir_all(cargo_target());
    }
    scaffold
}

fn lay_over(from: &Path, to: &Path) {
    for (path, bytes) in files(from) {
        let path = to.join(path);
        fs::create_dir_all(path.parent().expect("a file has a folder")).expect("a folder");
        fs::write(path, bytes).expect("a file");
    }
}

/// Of all that it is built from. Some builds end with the module linker.
fn fingerprint(folder: &Path) -> u64 {
    let linker = Path::new(env!("CARGO_MANIFEST_DIR")).join("../runtime/module-linker/src");
    let mut hasher = DefaultHasher::new();
    (files(folder), files(&linker)).hash(&mut hasher);
    hasher.finish()
}

/// All files below a folder, by their path from there, sorted.
fn files(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(&next).expect("a readable folder") {
            let path = entry.expect("a readable folder").path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let name = path.strip_prefix(folder).expect("below it").to_owned();
                found.push((name, fs::read(&path).expect("a readable file")));
            }
        }
    }
    found.sort();
    found
}
