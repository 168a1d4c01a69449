use super::doctor::{Severity, certificate, names_tls, online};
use super::start_mistakes::{self, NobodySignsIn, SIGN_IN_REMEDY};
use super::{Common, USAGE, runtime, shared_names};
use anyhow::Result;
use clap::Subcommand;
use portcullis_dashboard::app::{DrainRegistration, Touch, drain_registration, load_providers};
use portcullis_dashboard::config::{Survey, json_schema};
use std::process::ExitCode;

#[derive(Debug, Subcommand)]
pub(super) enum ConfigCommand {
    /// Read the configuration and load every provider as `serve` does, and report every mistake.
    /// Changes nothing
    Check {
        /// Also ask the issuers of builtin:oidc, builtin:nous and builtin:jwt for what a sign-in
        /// needs
        #[arg(long)]
        online: bool,
    },
    /// Print the JSON Schema of the configuration file, for editors
    Schema,
}

pub(super) fn run(common: &Common, command: &ConfigCommand) -> Result<ExitCode> {
    match command {
        ConfigCommand::Check { online } => check(common, *online),
        ConfigCommand::Schema => {
            out!("{:#}", json_schema());
            Ok(ExitCode::SUCCESS)
        }
    }
}

fn check(common: &Common, asks_issuers: bool) -> Result<ExitCode> {
    let survey = common.survey()?;
    let Survey { config, error, .. } = &survey;
    match &config.file {
        _ if error.is_some() => {}
        Some(file) => out!("{}: read", file.display()),
        None => out!(
            "no {}: the defaults hold",
            config.home.join("portcullis.yaml").display()
        ),
    }

    let mut mistakes = 0;
    if let Some(error) = error {
        tell!("{error}");
        mistakes += error.mistakes.len();
    }

    match drain_registration(config) {
        // A secret in the file that has a mistake is named above.
        DrainRegistration::Registered if error.is_some() => {}
        DrainRegistration::Registered => out!("drain-secret: registered"),
        DrainRegistration::Skipped(reason) => {
            out!("drain-secret: skipped: {reason}");
            // To have none is a choice. One that is never used is a mistake, although `serve`
            // starts.
            mistakes += usize::from(config.dashboard.drain_secrets.source.is_some());
        }
    }

    for finding in &config.findings {
        let weight = if finding.is_mistake { "" } else { "warning: " };
        tell!("{weight}{}", finding.text);
        mistakes += usize::from(finding.is_mistake);
    }

    if let Some(mistake) = start_mistakes::of_gateway(&survey) {
        tell!("{mistake}");
        mistakes += 1;
    }

    let providers = runtime()?.block_on(load_providers(config, Touch::Nothing))?;
    for report in &providers.reports {
        match &report.outcome {
            Ok(inspection) => out!("{}: loaded, sha256 {}", report.name, inspection.sha256),
            Err(error) => {
                tell!("{}: provider `{}`: {error}", report.place, report.name);
                mistakes += 1;
            }
        }
    }

    for warning in shared_names::warnings(config, &providers.registered) {
        tell!("warning: {warning}");
    }

    match (
        NobodySignsIn::find(&survey, &providers.registered),
        config.dashboard.gate_reason(),
    ) {
        (Some(found), _) => {
            let sentence = found.sentence();
            tell!("{sentence}: `serve` will not start: {SIGN_IN_REMEDY}");
            mistakes += 1;
        }
        // What is said of a part of the settings may not hold of the whole.
        _ if error.is_some() => {}
        (None, Some(reason)) => out!("people must sign in: {reason}"),
        (None, None) => out!("people need not sign in: the page is for this machine alone"),
    }

    let asked = if asks_issuers {
        online::check(config)
    } else {
        Vec::new()
    };
    let certificate = certificate::check(&config.dashboard).filter(|_| !names_tls(error.as_ref()));
    for finding in certificate.into_iter().chain(asked) {
        match finding.severity {
            Severity::Ok | Severity::Unknown => out!("{finding}"),
            Severity::Warn => tell!("{finding}"),
            Severity::Error => {
                tell!("{finding}");
                mistakes += 1;
            }
        }
    }

    Ok(if mistakes == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(USAGE)
    })
}
