//! Builds guest components from a build script: with a target folder of their own, and with an
//! environment in which nothing of the outer build is left.

mod bindings;
mod frozen;
mod linked;
mod text;

pub use bindings::write_bindings;
pub use linked::{link, linked_dir};
pub use text::build_text;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Where a component is meant to run.
#[derive(Clone, Copy, Debug)]
pub enum Target {
    /// `wasm32-unknown-unknown`: no WASI import but those the provider asks for, so the cheapest
    /// call.
    Bare,
    /// `wasm32-wasip2`: Rust's whole standard library, with the WASI imports that it brings.
    Wasi,
}

impl Target {
    fn triple(self) -> &'static str {
        match self {
            Self::Bare => "wasm32-unknown-unknown",
            Self::Wasi => "wasm32-wasip2",
        }
    }
}

/// Variables of the outer build that would leak into the guests' build: its flags, its wrapper
/// (clippy, coverage), its profile and its target folder.
const LEAKS: &[&str] = &[
    "RUSTFLAGS",
    "CARGO_ENCODED_RUSTFLAGS",
    "RUSTC_WRAPPER",
    "RUSTC_WORKSPACE_WRAPPER",
    "CLIPPY_ARGS",
    "CARGO_TARGET_DIR",
    "CARGO_BUILD_TARGET",
    "CARGO_MAKEFLAGS",
    "MAKEFLAGS",
    "RUSTC",
    "RUSTDOC",
    "RUSTDOCFLAGS",
    "TARGET",
    "PROFILE",
    "DEBUG",
    "OPT_LEVEL",
    "LLVM_PROFILE_FILE",
];

/// Builds `arguments` (say `-p service-keys`) of the workspace at `workspace` and returns the
/// folder that holds the components.
///
/// The guests' target folder is shared by every build of the workspace (`<target>/guests`), so a
/// guest is built once however many profiles ask for it.
///
/// # Panics
/// A build script can only fail by panicking: without the target, or when the guest does not
/// compile.
#[expect(
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a build script has no other way to fail, or to be told"
)]
pub fn build(workspace: &Path, target: Target, arguments: &[&str]) -> PathBuf {
    let target_dir = shared_target_dir();
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    for name in LEAKS {
        cargo.env_remove(name);
    }

    let status = cargo
        .current_dir(workspace)
        // The linker that turns a core module into a component; it ships with the toolchain.
        .env(
            "CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER",
            "wasm-component-ld",
        )
        // After every call the host looks through the memory that there is: a stack of 1 MiB, which
        // is usual, is most of it.
        .env(
            "CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_RUSTFLAGS",
            "-C link-arg=-zstack-size=131072",
        )
        .args([
            "build",
            "--quiet",
            "--profile",
            "guest",
            "--target",
            target.triple(),
        ])
        .arg("--target-dir")
        .arg(&target_dir)
        .args(arguments)
        .status()
        .unwrap_or_else(|error| panic!("cannot run cargo for the guests: {error}"));

    assert!(
        status.success(),
        "building the guests failed; if the target is missing: rustup target add {}",
        target.triple()
    );
    target_dir.join(target.triple()).join("guest")
}

/// `<target>/guests`, found from the build script's own `OUT_DIR`
/// (`<target>/<profile>/build/<package>/out`).
fn shared_target_dir() -> PathBuf {
    let out = out_dir();
    out.ancestors().nth(4).unwrap_or(&out).join("guests")
}

#[expect(
    clippy::disallowed_methods,
    reason = "the build script's own environment"
)]
fn out_dir() -> PathBuf {
    PathBuf::from(std::env::var_os("OUT_DIR").expect("cargo sets OUT_DIR for a build script"))
}

/// The names of the guests that are one file each in a folder, sorted.
///
/// # Panics
/// The folder is not there.
pub fn guests_in(folder: &Path, ending: &str) -> Vec<String> {
    let entries = fs::read_dir(folder).expect("the folder of the guests is there");
    let paths = entries.map(|entry| entry.expect("a readable folder").path());
    let mut names: Vec<_> = paths
        .filter(|path| path.extension().is_some_and(|found| found == ending))
        .filter_map(|path| Some(path.file_stem()?.to_str()?.to_owned()))
        .collect();
    names.sort();
    names
}

/// Makes cargo run the build script again when a file below one of these changes.
pub fn rerun_if_changed(workspace: &Path, paths: &[&str]) {
    for path in paths {
        println!("cargo::rerun-if-changed={}", workspace.join(path).display());
    }
}
