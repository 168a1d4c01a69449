//! `portcullis doctor`: what is wrong with the configuration, the home and the machine, and how to
//! repair it. One file per group of checks; each check gives one finding.
//!
//! **Invariant:** without `--fix` nothing is changed. What a check writes in order to try the home
//! is removed again.

mod audit;
pub(super) mod certificate;
mod clock;
mod configuration;
mod filesystem;
mod finding;
mod front;
mod home;
mod leftovers;
mod limits;
pub(super) mod online;
mod ordered_certificate;
mod processes;
mod sandbox;

pub(super) use finding::{Finding, Severity};

use super::Common;
use anyhow::Result;
use clap::Args;
use portcullis_dashboard::config::{self, ConfigError, Environment, Survey};
use std::path::Path;
use std::process::ExitCode;

#[derive(Debug, Args)]
#[command(after_help = "\
Exit codes: 0 no error, 1 at least one error. A configuration that cannot be read is one of them; `config check` \
then exits with 64.")]
pub(super) struct DoctorArgs {
    /// Set the mode of files that others may read or write to 0600, and remove stale temporary
    /// files, if this user owns them
    #[arg(long)]
    fix: bool,
    /// Ask the issuers of builtin:oidc, builtin:nous and builtin:jwt for what a sign-in needs
    #[arg(long)]
    online: bool,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

pub(super) fn run(common: &Common, arguments: &DoctorArgs) -> Result<ExitCode> {
    let environment = Environment::read();
    let home = common.home(&environment)?;
    let read = config::survey(home.clone(), common.config.clone(), environment);

    let mut findings = configuration::check(&read, &home, arguments.fix);
    findings.extend(of_the_machine(&home, arguments.fix));
    match &read {
        Ok(survey) => {
            findings.extend(of_the_settings(survey));
            if arguments.online {
                findings.extend(online::check(&survey.config));
            }
        }
        Err(_) => findings.push(
            Finding::unknown("providers", "the providers were not loaded")
                .because("the configuration cannot be read"),
        ),
    }

    if arguments.json {
        out!("{}", finding::to_json(&findings));
    } else {
        for finding in &findings {
            out!("{finding}");
        }
    }
    let is_sound = findings
        .iter()
        .all(|finding| finding.severity != Severity::Error);
    Ok(if is_sound {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn of_the_machine(home: &Path, fix: bool) -> Vec<Finding> {
    let mut findings = home::check(home);
    if home.is_dir() {
        findings.extend(filesystem::check(home));
        findings.extend(processes::check(home));
        findings.extend(leftovers::check(home, fix));
        findings.extend(audit::check(home));
        findings.extend(sandbox::check_cache(home));
    }
    findings.extend(clock::check(home));
    findings.extend(limits::check());
    findings
}

fn of_the_settings(survey: &Survey) -> Vec<Finding> {
    let config = &survey.config;
    let mut findings = sandbox::check_machine(config);
    let providers = sandbox::check_providers(config);
    findings.extend(providers.findings);
    if !survey.has_every_provider {
        findings.push(
            Finding::unknown("providers", "some providers were not loaded")
                .because("their entries have mistakes"),
        );
    }

    findings.extend(front::check(survey, &providers.registered));
    findings.extend(
        providers
            .shared_names
            .into_iter()
            .map(|warning| Finding::warn("access", warning)),
    );
    let certificate = certificate::check(&config.dashboard);
    findings.extend(certificate.filter(|_| !names_tls(survey.error.as_ref())));
    findings
}

/// Returns whether one of the mistakes is in `dashboard.tls`, so that nothing more is to be said of
/// it.
pub(super) fn names_tls(error: Option<&ConfigError>) -> bool {
    error.is_some_and(|error| error.concerns("dashboard.tls"))
}
