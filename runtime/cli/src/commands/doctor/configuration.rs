//! Whether the configuration loads, and what the operator has to know of it.

use super::Finding;
use crate::commands::start_mistakes;
use portcullis_dashboard::app::{DrainRegistration, drain_registration};
use portcullis_dashboard::config::{self, Config, ConfigError, Mistake, Survey, exposed_in_home};
use portcullis_home::atomic_file::open_own;
use rustix::process::geteuid;
use std::fs::{OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

const CHECK: &str = "configuration";
/// Read and written by its owner alone.
const PRIVATE: u32 = 0o600;

pub(super) fn check(read: &Result<Survey, ConfigError>, home: &Path, fix: bool) -> Vec<Finding> {
    match read {
        Ok(survey) => of_survey(survey, fix),
        Err(error) => {
            let mut findings = of_mistakes(error);
            // Which files the configuration names is not known, unlike those of the home.
            let exposed = exposed_in_home(home);
            findings.extend(exposed.iter().map(|finding| of_finding(finding, fix)));
            findings
        }
    }
}

fn of_mistakes(error: &ConfigError) -> Vec<Finding> {
    error
        .mistakes
        .iter()
        .map(|mistake| of_mistake(error, mistake))
        .collect()
}

fn of_mistake(error: &ConfigError, mistake: &Mistake) -> Finding {
    let alone = ConfigError {
        mistakes: vec![mistake.clone()],
        ..error.clone()
    };
    Finding::error(CHECK, alone.to_string())
}

fn of_survey(survey: &Survey, fix: bool) -> Vec<Finding> {
    let config = &survey.config;
    let mut findings = match &survey.error {
        Some(error) => of_mistakes(error),
        None => vec![Finding::ok(CHECK, of_read_file(config))],
    };
    findings.extend(
        config
            .findings
            .iter()
            .map(|finding| of_finding(finding, fix)),
    );
    findings.extend(
        start_mistakes::of_gateway(survey)
            .map(|mistake| Finding::error(CHECK, "`gateway` will not start").because(mistake)),
    );
    findings.extend(of_drain_secret(survey));
    findings
}

fn of_read_file(config: &Config) -> String {
    match &config.file {
        Some(file) => format!("{}: read", file.display()),
        None => format!(
            "no {}: the defaults hold",
            config.home.join("portcullis.yaml").display()
        ),
    }
}

fn of_finding(finding: &config::SettingFinding, fix: bool) -> Finding {
    match &finding.exposed_file {
        Some(file) if fix => match make_private(file) {
            Ok(()) => Finding::ok(
                "modes",
                format!("{}: the mode is now {PRIVATE:04o}", file.display()),
            ),
            Err(error) => Finding::warn("modes", finding.text.as_str())
                .because(format!("the mode was not changed: {error}")),
        },
        Some(_) => {
            Finding::warn("modes", finding.text.as_str()).mended_by("portcullis doctor --fix")
        }
        None if finding.is_mistake => Finding::error(CHECK, finding.text.as_str()),
        None => Finding::warn(CHECK, finding.text.as_str()),
    }
}

/// Gives a file the mode 0600, unless that could touch what is not this user's alone: a link, a
/// file of another user, or one with a second name.
fn make_private(path: &Path) -> io::Result<()> {
    let file = open_own(OpenOptions::new().read(true), path)?;
    let found = file.metadata()?;
    if found.uid() != geteuid().as_raw() {
        return Err(io::Error::other("it belongs to another user"));
    }
    if found.nlink() > 1 {
        return Err(io::Error::other("it has another name (a hard link)"));
    }
    file.set_permissions(Permissions::from_mode(PRIVATE))
}

fn of_drain_secret(survey: &Survey) -> Option<Finding> {
    let config = &survey.config;
    Some(match drain_registration(config) {
        // A secret in the file that has a mistake is named among the mistakes.
        DrainRegistration::Registered if survey.error.is_some() => return None,
        DrainRegistration::Registered => Finding::ok("drain-secret", "registered"),
        DrainRegistration::Skipped(reason) if config.dashboard.drain_secrets.source.is_some() => {
            // The reason says what to do.
            Finding::error("drain-secret", reason)
        }
        DrainRegistration::Skipped(reason) => {
            Finding::warn("drain-secret", reason).because("no service can drain this agent")
        }
    })
}
