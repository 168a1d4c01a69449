//! What is made from the definition of the commands and routes: shell completions, man pages, the
//! OpenAPI document.

use super::{Cli, output};
use anyhow::{Context, Result};
use clap::{Args, CommandFactory};
use clap_complete::Shell;
use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

#[derive(Debug, Args)]
pub(super) struct CompletionsArgs {
    /// The shell that reads the script
    #[arg(value_enum)]
    shell: Shell,
}

#[derive(Debug, Args)]
pub(super) struct ManArgs {
    /// Directory for the pages, created if it is missing
    #[arg(value_name = "DIR")]
    directory: PathBuf,
}

pub(super) fn completions(arguments: &CompletionsArgs) -> Result<ExitCode> {
    // The generator panics when it cannot write, so it writes to memory.
    let mut script = Vec::new();
    clap_complete::generate(
        arguments.shell,
        &mut Cli::command(),
        "portcullis",
        &mut script,
    );
    output::stdout()
        .write_all(&script)
        .context("cannot write the script")?;
    Ok(ExitCode::SUCCESS)
}

/// Writes one page per command. Existing pages are replaced.
pub(super) fn man(arguments: &ManArgs) -> Result<ExitCode> {
    let directory = &arguments.directory;
    fs::create_dir_all(directory)
        .with_context(|| format!("cannot create {}", directory.display()))?;
    clap_mangen::generate_to(Cli::command(), directory)
        .with_context(|| format!("cannot write the pages into {}", directory.display()))?;
    Ok(ExitCode::SUCCESS)
}

pub(super) fn openapi() -> Result<ExitCode> {
    out!("{:#}", portcullis_dashboard::web::openapi());
    Ok(ExitCode::SUCCESS)
}
