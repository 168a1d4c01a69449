//! The providers that are measured: each compares a token with one setting.

use super::dashboard::binary;
use super::server::workspace;
use anyhow::{Context, ensure};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The provider of docs/providers/rust.md, for `wasm32-wasip2`: with all that Rust's standard
/// library imports.
pub(super) fn std() -> &'static Path {
    Path::new(env!("STD_GUEST"))
}

/// The same for `wasm32-unknown-unknown`: no import of WASI's but its settings.
pub(super) fn bare() -> &'static Path {
    Path::new(env!("BARE_GUEST"))
}

/// What an author of a provider in Python has before the first line, made in this folder.
///
/// # Errors
/// A tool is missing (`.ci/run` installs them), or fails.
pub(super) fn python(folder: &Path) -> anyhow::Result<PathBuf> {
    #[expect(
        clippy::disallowed_methods,
        reason = "the tools of the set-up come before those of the machine"
    )]
    let path = std::env::var("PATH").unwrap_or_default();
    let path = format!(
        "{}:{path}",
        workspace("target/tools/bin").canonicalize()?.display()
    );
    let project = folder.join("bench");
    run(Command::new(binary())
        .args(["provider", "new", "bench", "--lang", "python"])
        .current_dir(folder))?;
    run(Command::new("make")
        .current_dir(&project)
        .env("PATH", path)
        .env("PORTCULLIS", binary()))?;

    Ok(project.join("bench.wasm"))
}

fn run(command: &mut Command) -> anyhow::Result<()> {
    let shown = format!("{command:?}");
    let status = command
        .stdout(Stdio::null())
        .status()
        .with_context(|| shown.clone())?;
    ensure!(status.success(), "{shown} fails");
    Ok(())
}
