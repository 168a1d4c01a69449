use anyhow::{Context, Result};
use clap::Args;
use portcullis_sandbox::{ChildLimits, run_compiler};
use std::process::ExitCode;
use std::time::Duration;

#[derive(Debug, Args)]
pub(super) struct CompileArgs {
    /// Address space of this process, in bytes
    #[arg(long)]
    memory: u64,
    /// Processor time of this process, in seconds
    #[arg(long)]
    cpu: u64,
    /// Addresses that each linear memory reserves, in bytes
    #[arg(long)]
    reservation: Option<u64>,
    /// Link the core modules of the component into one first
    #[arg(long)]
    link_modules: bool,
}

pub(super) fn run(arguments: &CompileArgs) -> Result<ExitCode> {
    let limits = ChildLimits {
        memory_bytes: arguments.memory,
        cpu: Duration::from_secs(arguments.cpu),
        ..ChildLimits::default()
    };
    run_compiler(limits, arguments.reservation, arguments.link_modules)
        .context("the compiler's pipes")?;
    Ok(ExitCode::SUCCESS)
}
