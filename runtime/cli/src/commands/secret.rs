use anyhow::{Context, Result};
use clap::Subcommand;
use portcullis_auth::secret_strength::generate_secret;
use std::process::ExitCode;

#[derive(Debug, Subcommand)]
pub(super) enum SecretCommand {
    /// Print a secret that passes the strength gate
    Generate,
}

pub(super) fn run(command: &SecretCommand) -> Result<ExitCode> {
    match command {
        SecretCommand::Generate => {
            out!(
                "{}",
                generate_secret().context("the system gives no random numbers")?
            );
        }
    }
    Ok(ExitCode::SUCCESS)
}
