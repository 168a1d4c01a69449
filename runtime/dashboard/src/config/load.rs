//! From the file's text to [`Config`].

use super::dashboard::read_dashboard;
use super::drain_secrets::default_drain_secret;
use super::exposure::{exposed_files, exposed_secrets};
use super::finding::{SettingFinding, of_file, weak_home_key};
use super::gateway::read_gateway;
use super::original::{self, VariablesRead};
use super::section::{Reader, References, Section, collect_variables};
use super::{
    Config, ConfigError, DashboardConfig, Environment, GatewayConfig, GatewayView, Mistake,
    ProviderConfig,
};
use crate::yaml::{Node, Position};
use portcullis_home::atomic_file;
use portcullis_net::acme::CERTIFICATE_FILE;
use std::collections::{BTreeMap, BTreeSet};
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

/// The settings of a home as far as they could be read, and the mistakes in them.
#[derive(Debug)]
pub struct Survey {
    /// The settings. Where the error names one, the default holds. Providers whose entries have a
    /// mistake are left out.
    pub config: Config,
    /// Every mistake. `None`: there is none, and the settings are whole.
    pub error: Option<ConfigError>,
    /// Whether no provider was left out.
    pub has_every_provider: bool,
}

impl Survey {
    fn whole(self) -> Result<Config, ConfigError> {
        match self.error {
            None => Ok(self.config),
            Some(error) => Err(error),
        }
    }
}

/// Reads the settings of a home for a command that reports every mistake, so also `gateway.api_key`,
/// and what is left where some settings have mistakes.
///
/// # Errors
/// The file cannot be read, or is no YAML.
pub fn survey(
    home: PathBuf,
    file: Option<PathBuf>,
    environment: Environment,
) -> Result<Survey, ConfigError> {
    let (file, text) = read_file(&home, file)?;
    survey_text(home, file, &text, environment, Process::Command)
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
    survey_text(home, file, text, environment, Process::Dashboard)?.whole()
}

fn survey_text(
    home: PathBuf,
    file: Option<PathBuf>,
    text: &str,
    environment: Environment,
    process: Process,
) -> Result<Survey, ConfigError> {
    let shown = file.clone().unwrap_or_else(|| default_file(&home));
    let (settings, mut mistakes) = match read_whole(&shown, text, process) {
        Ok(read) => read,
        Err(mut error) => {
            error.mistakes.append(&mut environment.mistakes());
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
        places,
        unread,
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

    mistakes.extend(environment.mistakes());
    let VariablesRead {
        mistakes: unfit,
        warnings,
    } = original::fill(&mut dashboard, &environment.original, &variables);
    let has_every_provider = unread.is_empty() && unfit.is_empty();
    // An entry that a variable with a mistake made has no place of its own in the file.
    let is_read = |provider: &ProviderConfig| {
        let is_of_variables = provider.key_places.is_empty();
        !unread.contains(&provider.place) && (unfit.is_empty() || !is_of_variables)
    };
    dashboard.providers.retain(is_read);
    mistakes.extend(unfit);
    let error = (!mistakes.is_empty()).then(|| ConfigError {
        file: shown,
        mistakes,
        files: files.clone(),
    });

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
    let config = Config {
        home,
        file,
        files,
        is_blank,
        dashboard,
        gateway,
        environment,
        findings,
        places,
    };
    Ok(Survey {
        config,
        error,
        has_every_provider,
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
    /// A command that reports the mistakes of both, so it follows the references of both.
    Command,
}

/// What a file says.
pub(super) struct FileSettings {
    dashboard: DashboardConfig,
    gateway: GatewayConfig,
    files: BTreeSet<PathBuf>,
    /// Where the values stand that are judged together with others.
    places: BTreeMap<&'static str, Position>,
    /// The places of the providers' entries that have a mistake of their own.
    unread: BTreeSet<String>,
    /// The files that hold a secret, also those that were left unread.
    pub(super) secret_files: BTreeSet<PathBuf>,
    /// Whether a secret stands in the file itself.
    pub(super) holds_secrets: bool,
    /// What never works.
    findings: Vec<(Position, String)>,
    /// What works in part, or weakens the dashboard.
    warnings: Vec<(Position, String)>,
    /// Whether no key has a value.
    is_blank: bool,
    /// The variables that it names.
    variables: BTreeSet<OsString>,
}

/// Reads the settings of a file that has no mistake.
fn read_settings(file: &Path, text: &str, process: Process) -> Result<FileSettings, ConfigError> {
    let (settings, mistakes) = read_whole(file, text, process)?;
    if mistakes.is_empty() {
        return Ok(settings);
    }
    Err(ConfigError {
        file: file.to_owned(),
        mistakes,
        files: settings.files,
    })
}

/// Reads what can be read of a file, and the mistakes in it.
///
/// # Errors
/// The text is no YAML.
fn read_whole(
    file: &Path,
    text: &str,
    process: Process,
) -> Result<(FileSettings, Vec<Mistake>), ConfigError> {
    let base = file.parent().unwrap_or(Path::new("."));
    let (of_dashboard, of_gateway) = match process {
        Process::Dashboard => (References::Follow, References::Leave),
        Process::Gateway => (References::Leave, References::Follow),
        Process::Command => (References::Follow, References::Follow),
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
        places,
        unread,
        ..
    } = reader;
    let settings = FileSettings {
        dashboard,
        gateway,
        files,
        places,
        unread: unread.entries,
        secret_files,
        holds_secrets,
        findings,
        warnings,
        is_blank,
        variables,
    };
    Ok((settings, mistakes.into_sorted()))
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

    #[test]
    fn survey_keeps_what_could_be_read_beside_the_mistakes() {
        let folder = tempfile::tempdir().unwrap();
        let text = r#"
dashboard:
  host: 0.0.0.0
  drain: {max_age: 1}
  token_routes: [{path: /metrics, scope: metrics.read}]
  providers:
    - {name: wrong, component: x, limit: {}}
    - {name: right, component: y}
    - {name: a b, component: z}
gateway: {listen: "0.0.0.0:8642", api_key: {env: PORTCULLIS_NO_API_KEY}}
"#;
        let read = |text: &str| {
            fs::write(folder.path().join("portcullis.yaml"), text).unwrap();
            survey(folder.path().to_owned(), None, Environment::default()).unwrap()
        };
        let unmet = |found: &Survey| {
            let findings = found.config.findings.iter();
            findings
                .filter(|finding| finding.text.contains("may hand out"))
                .count()
        };

        let found = read(text);
        let names: Vec<_> = found
            .config
            .dashboard
            .providers
            .iter()
            .map(|provider| provider.name.as_str())
            .collect();
        assert_eq!(names, ["right"]);
        assert!(!found.has_every_provider);
        let error = found.error.as_ref().unwrap();
        assert_eq!(error.mistakes.len(), 4, "{error}");
        assert!(error.concerns("gateway.api_key") && !error.concerns("gateway.listen"));
        let place = |place: Option<String>, end: &str| place.is_some_and(|at| at.ends_with(end));
        assert!(place(found.config.gate_place(), "portcullis.yaml:3:9"));
        assert!(place(
            found.config.gateway_listen_place(),
            "portcullis.yaml:10:19"
        ));
        assert_eq!(unmet(&found), 0, "the third provider may be granted it");

        let found = read(&text.replace("    - {name: a b, component: z}\n", ""));
        assert_eq!(found.error.as_ref().unwrap().mistakes.len(), 3);
        assert_eq!(unmet(&found), 1, "{:?}", found.config.findings);

        let found = read("dashboard: {public_url: 'https://agent.test'}");
        assert!(found.error.is_none() && found.has_every_provider);
        assert_eq!(found.config.gateway_listen_place(), None);
    }
}
