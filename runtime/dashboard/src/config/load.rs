//! From the file's text to [`Config`].

use super::dashboard::read_dashboard;
use super::drain_secrets::default_drain_secret;
use super::finding::{SettingFinding, exposed_files, exposed_secrets, of_file, weak_home_key};
use super::gateway::read_gateway;
use super::original::{self, VariablesRead};
use super::section::{Reader, References, Section, collect_variables};
use super::{Config, ConfigError, DashboardConfig, Environment, GatewayConfig, GatewayView};
use crate::yaml::{Node, Position};
use portcullis_home::atomic_file;
use portcullis_net::acme::CERTIFICATE_FILE;
use std::collections::BTreeSet;
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};

/// Longest configuration file, in bytes.
const MAX_FILE_BYTES: u64 = 16 * 1024 * 1024;

/// Reads the settings of a home. No file at the usual place: the defaults. `gateway.api_key` is not
/// read.
///
/// # Errors
/// Every mistake in the file, or that it cannot be read.
pub fn load(
    home: PathBuf,
    file: Option<PathBuf>,
    environment: Environment,
) -> Result<Config, ConfigError> {
    let (file, text) = read_file(&home, file)?;
    load_text(home, file, &text, environment)
}

/// Reads the gateway's settings of a home. The whole file is checked, but references to secrets
/// outside `gateway` are not followed.
///
/// # Errors
/// Every mistake in the file, or that it cannot be read.
pub fn load_for_gateway(
    home: PathBuf,
    file: Option<PathBuf>,
    environment: Environment,
) -> Result<GatewayView, ConfigError> {
    let (file, text) = read_file(&home, file)?;
    let shown = file.unwrap_or_else(|| default_file(&home));
    let settings = read_settings(&shown, &text, Process::Gateway)?;
    let findings =
        exposed_secrets(&home, settings.secret_files.intersection(&settings.files)).collect();
    let FileSettings {
        dashboard,
        gateway,
        mut variables,
        ..
    } = settings;
    variables.extend(environment.dashboard_variables);

    Ok(GatewayView {
        home,
        gateway,
        max_marker_age: dashboard.max_marker_age,
        secret_variables: variables,
        findings,
    })
}

/// Reads the file. Returns at once if it is a FIFO or a device: a reload must not wait for a
/// writer.
fn read_text(file: &Path) -> io::Result<String> {
    text_of(atomic_file::read_at_most(file, MAX_FILE_BYTES)?)
}

/// The text of a file that an operator wrote.
pub(super) fn text_of(text: Vec<u8>) -> io::Result<String> {
    // An editor that saves as "Unicode" puts a byte order mark before the text.
    if text.starts_with(&[0xff, 0xfe]) || text.starts_with(&[0xfe, 0xff]) {
        let what = "it is UTF-16 text: save it as UTF-8";
        return Err(io::Error::new(io::ErrorKind::InvalidData, what));
    }
    // Without a mark, every second byte of ASCII text is zero.
    if matches!(text.as_slice(), [0, first, ..] | [first, 0, ..] if *first != 0) {
        let what = "it looks like UTF-16 text: save it as UTF-8";
        return Err(io::Error::new(io::ErrorKind::InvalidData, what));
    }
    String::from_utf8(text).map_err(|error| {
        let good = error.utf8_error().valid_up_to();
        let line = error
            .as_bytes()
            .iter()
            .take(good)
            .filter(|byte| **byte == b'\n')
            .count()
            + 1;
        let what = format!("it is not UTF-8 text: byte {good}, in line {line}, is no character");
        io::Error::new(io::ErrorKind::InvalidData, what)
    })
}

/// Reads settings from text that stands, or would stand, in `file`.
///
/// # Errors
/// Every mistake in the text.
pub fn load_text(
    home: PathBuf,
    file: Option<PathBuf>,
    text: &str,
    environment: Environment,
) -> Result<Config, ConfigError> {
    let shown = file.clone().unwrap_or_else(|| default_file(&home));
    let mut mistakes = environment.mistakes();
    let settings = match read_settings(&shown, text, Process::Dashboard) {
        Ok(settings) => settings,
        Err(mut error) => {
            error.mistakes.append(&mut mistakes);
            return Err(error);
        }
    };

    let mut findings = exposed_files(&home, file.as_deref(), &settings);
    findings.extend(of_file(&shown, &settings.findings, true));
    findings.extend(of_file(&shown, &settings.warnings, false));
    let FileSettings {
        mut dashboard,
        gateway,
        mut files,
        variables,
        is_blank,
        ..
    } = settings;

    if let Some(tls) = dashboard.tls.as_mut().filter(|_| dashboard.acme.is_some()) {
        let file = home.join(CERTIFICATE_FILE);
        (tls.certificate, tls.key) = (file.clone(), file);
    }
    if dashboard.session_keys.is_empty() {
        findings.extend(weak_home_key(&home));
    }
    if dashboard.drain_secrets.source.is_none() {
        dashboard.drain_secrets = default_drain_secret(&home, &environment, &mut files);
    }

    let VariablesRead {
        mistakes: unfit,
        warnings,
    } = original::fill(&mut dashboard, &environment.original, &variables);
    mistakes.extend(unfit);
    if !mistakes.is_empty() {
        return Err(ConfigError {
            file: shown,
            mistakes,
            files,
        });
    }

    let unfit = environment
        .weak_session_token()
        .into_iter()
        .chain(environment.unread(&variables));
    findings.extend(
        warnings
            .into_iter()
            .chain(unfit)
            .map(SettingFinding::warning),
    );
    Ok(Config {
        home,
        file,
        files,
        is_blank,
        dashboard,
        gateway,
        environment,
        findings,
    })
}

fn default_file(home: &Path) -> PathBuf {
    home.join("portcullis.yaml")
}

/// The text of the file, and where it was found. `None` and no text when there is none at the usual
/// place.
fn read_file(home: &Path, file: Option<PathBuf>) -> Result<(Option<PathBuf>, String), ConfigError> {
    let must_exist = file.is_some();
    let file = file.unwrap_or_else(|| default_file(home));

    match read_text(&file) {
        Ok(text) => Ok((Some(file), text)),
        // A link that leads nowhere is not the absence of a configuration.
        Err(error)
            if error.kind() == io::ErrorKind::NotFound
                && !must_exist
                && file.symlink_metadata().is_err() =>
        {
            Ok((None, String::new()))
        }
        Err(error) => Err(ConfigError::unreadable(&file, &error)),
    }
}

/// Which process reads. Each follows the references to its own secrets alone, so it starts without
/// the other's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Process {
    Dashboard,
    Gateway,
}

/// What a file says.
pub(super) struct FileSettings {
    dashboard: DashboardConfig,
    gateway: GatewayConfig,
    files: BTreeSet<PathBuf>,
    /// The files that hold a secret, also those that were left unread.
    pub(super) secret_files: BTreeSet<PathBuf>,
    /// Whether a secret stands in the file itself.
    pub(super) holds_secrets: bool,
    /// What never works.
    findings: Vec<(Position, String)>,
    /// What works, and weakens the dashboard.
    warnings: Vec<(Position, String)>,
    /// Whether no key has a value.
    is_blank: bool,
    /// The variables that it names.
    variables: BTreeSet<OsString>,
}

fn read_settings(file: &Path, text: &str, process: Process) -> Result<FileSettings, ConfigError> {
    let base = file.parent().unwrap_or(Path::new("."));
    let (of_dashboard, of_gateway) = match process {
        Process::Dashboard => (References::Follow, References::Leave),
        Process::Gateway => (References::Leave, References::Follow),
    };
    let root = Node::parse(text).map_err(|(place, text)| ConfigError::single(file, place, text))?;
    let mut variables = BTreeSet::new();
    collect_variables(&root, &mut variables);
    let is_blank = root.is_blank();

    let mut reader = Reader::new(base, file, of_dashboard);
    let (dashboard, gateway) = read_root(root, file, of_gateway, &mut reader);

    let Reader {
        files,
        mistakes,
        secret_files,
        holds_secrets,
        findings,
        warnings,
        ..
    } = reader;
    let mistakes = mistakes.into_sorted();
    if mistakes.is_empty() {
        return Ok(FileSettings {
            dashboard,
            gateway,
            files,
            secret_files,
            holds_secrets,
            findings,
            warnings,
            is_blank,
            variables,
        });
    }
    Err(ConfigError {
        file: file.to_owned(),
        mistakes,
        files,
    })
}

/// Reads the whole file. `of_gateway` is for the gateway's secrets; the reader says it for
/// everything else.
pub(super) fn read_root(
    root: Node,
    file: &Path,
    of_gateway: References,
    reader: &mut Reader<'_>,
) -> (DashboardConfig, GatewayConfig) {
    let mut root = Section::open("", root, reader);
    let dashboard = read_dashboard(&mut root, file, reader);
    reader.references = References::Follow;
    let gateway = read_gateway(&mut root, of_gateway, reader);
    root.finish(reader);
    (dashboard, gateway)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::time::Duration;

    const API_KEY: &str = "9f3c1b7e2d8a4650c1e7b93f60d2a548";

    #[test]
    fn link_that_leads_nowhere_is_no_absent_configuration() {
        let folder = tempfile::tempdir().unwrap();
        let home = folder.path().to_owned();
        assert!(
            load(home.clone(), None, Environment::default())
                .unwrap()
                .file
                .is_none()
        );
        std::os::unix::fs::symlink("no-such", home.join("portcullis.yaml")).unwrap();
        let refusal = load(home, None, Environment::default())
            .unwrap_err()
            .to_string();
        assert!(
            refusal.contains("portcullis.yaml: the symbolic link cannot be read"),
            "{refusal}"
        );
    }

    #[test]
    fn each_process_starts_without_the_secrets_of_the_other() {
        let folder = tempfile::tempdir().unwrap();
        let text = r#"
dashboard:
  session_key: {env: PORTCULLIS_NO_SESSION_KEY}
  drain: {max_age_seconds: 7}
  providers:
    - name: a
      component: x
      config: {secret: {env: PORTCULLIS_NO_SETTING}, list: [{file: no-such}]}
      grants:
        http: [{origin: "https://a", headers: {authorization: {basic: {username: u, password: {env: PORTCULLIS_NO_PASSWORD}}}}}]
gateway: {api_key: {env: PORTCULLIS_NO_API_KEY}}
"#;
        let home = folder.path().to_owned();
        let errors = |error: ConfigError| error.to_string();
        let refusal = load_text(home.clone(), None, text, Environment::default())
            .map_err(errors)
            .unwrap_err();
        assert!(
            refusal.contains("PORTCULLIS_NO_SETTING") && !refusal.contains("NO_API_KEY"),
            "{refusal}"
        );
        fs::write(folder.path().join("portcullis.yaml"), text).unwrap();
        let refusal = load_for_gateway(home.clone(), None, Environment::default())
            .map_err(errors)
            .unwrap_err();
        assert!(
            refusal.contains("PORTCULLIS_NO_API_KEY") && refusal.lines().count() == 1,
            "{refusal}"
        );

        let text = text.replace("{env: PORTCULLIS_NO_API_KEY}", API_KEY);
        fs::write(folder.path().join("portcullis.yaml"), text).unwrap();
        let environment = Environment {
            dashboard_variables: ["HERMES_DASHBOARD_X".into()].into(),
            ..Environment::default()
        };
        let view = load_for_gateway(home, None, environment).unwrap();
        assert_eq!(view.max_marker_age, Duration::from_secs(7));
        assert_eq!(view.gateway.api_key.unwrap().expose(), API_KEY);
        let names: Vec<_> = view
            .secret_variables
            .iter()
            .map(|name| name.to_str().unwrap())
            .collect();
        let expected = [
            "HERMES_DASHBOARD_X",
            "PORTCULLIS_NO_PASSWORD",
            "PORTCULLIS_NO_SESSION_KEY",
            "PORTCULLIS_NO_SETTING",
        ];
        assert_eq!(names, expected);
    }
}
