use super::Common;
use anyhow::{Context, Result};
use clap::Subcommand;
use portcullis_auth::secret_strength::generate_secret_of;
use std::process::ExitCode;

#[derive(Debug, Subcommand)]
pub(super) enum SecretCommand {
    /// Print a secret that passes the strength gate
    Generate,
}

pub(super) fn run(common: &Common, command: &SecretCommand) -> Result<ExitCode> {
    match command {
        SecretCommand::Generate => {
            let secret = generate_secret_of(min_chars(common));
            out!("{}", secret.context("the system gives no random numbers")?);
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// How long the home wants a drain secret to be. A configuration that cannot be read wants nothing.
fn min_chars(common: &Common) -> usize {
    common
        .survey()
        .map_or(0, |survey| survey.config.dashboard.min_secret_chars)
}
