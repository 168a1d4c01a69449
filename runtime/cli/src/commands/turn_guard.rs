use anyhow::Result;
use clap::Args;
use portcullis_gateway::guard_turn;
use std::ffi::OsString;
use std::process::ExitCode;

#[derive(Debug, Args)]
pub(super) struct TurnGuardArgs {
    /// Process id of the gateway
    parent: u32,
    /// Program that the turn runs, with its arguments
    #[arg(last = true, required = true)]
    command: Vec<OsString>,
}

pub(super) fn run(arguments: &TurnGuardArgs) -> Result<ExitCode> {
    let code = guard_turn(arguments.parent, &arguments.command)?;
    Ok(ExitCode::from(u8::try_from(code).unwrap_or(1)))
}
