//! From the file's text to [`Config`].

use super::access::read_access;
use super::apps::{app_scopes, read_apps, unreachable_apps};
use super::finding::{Finding, exposed_files, exposed_secrets, of_file, unmet_routes, weak_home_key};
use super::forms::{cookie_name, host_name, network, parse_bind_host, public_url, served_path};
use super::original::{self, Outcome};
use super::providers::read_providers;
use super::secret_value::{read_judged, take_judged_list};
use super::section::{Reader, References, Section, collect_variables, values};
use super::tls::{Front, read_front};
use super::yaml::{Node, Place, Yaml};
use super::{
    Config, ConfigError, DRAIN_SECRET_FILE, DashboardConfig, DrainSecrets, Environment, GatewayConfig,
    GatewayView, Mistake, Secret,
};
use crate::atomic_file;
use crate::auth::Scope;
use crate::secret_strength::Strength;
use crate::web::DEFAULT_COOKIE_NAME;
use std::collections::BTreeSet;
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Longest configuration file, in bytes.
const MAX_FILE_BYTES: u64 = 16 * 1024 * 1024;
const DEFAULT_PORT: u16 = 9119;
const DEFAULT_GATEWAY: &str = "127.0.0.1:8642";
const DEFAULT_MAX_TURNS: usize = 64;
const DEFAULT_GRACE_SECONDS: u64 = 60;
/// A day: the longest time that may be set for turns.
const MAX_TURN_SECONDS: i64 = 86_400;
const DEFAULT_MIN_SECRET_CHARS: usize = 43;
/// The session key that seals, and those of before that still open cookies.
const MAX_SESSION_KEYS: usize = 16;
/// The present drain secret, and the one before or after it.
const MAX_DRAIN_SECRETS: usize = 2;
const DEFAULT_MAX_AGE_SECONDS: u64 = 3600;

/// Reads the settings of a home. No file at the usual place: the defaults. `gateway.api_key` is not read.
///
/// # Errors
/// Every mistake in the file, or that it cannot be read.
pub fn load(home: PathBuf, file: Option<PathBuf>, environment: Environment) -> Result<Config, ConfigError> {
    let (file, text) = read_file(&home, file)?;
    load_text(home, file, &text, environment)
}

/// Reads the gateway's settings of a home. The whole file is checked, but references to secrets outside `gateway` are not
/// followed.
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
    let findings = exposed_secrets(settings.secret_files.intersection(&settings.files)).collect();
    let Settings { dashboard, gateway, mut variables, .. } = settings;
    variables.extend(environment.dashboard_variables);
    Ok(GatewayView {
        home,
        gateway,
        max_marker_age: dashboard.max_marker_age,
        secret_variables: variables,
        findings,
    })
}

/// Also when the file became a FIFO or a device, this returns at once: a reload must not wait for a writer.
fn read_text(file: &Path) -> io::Result<String> {
    let text = atomic_file::read_at_most(file, MAX_FILE_BYTES)?;
    String::from_utf8(text).map_err(|error| {
        let good = error.utf8_error().valid_up_to();
        let line = error.as_bytes().iter().take(good).filter(|byte| **byte == b'\n').count() + 1;
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
    findings.extend(of_file(&shown, &settings.findings));
    let Settings { mut dashboard, gateway, mut files, variables, .. } = settings;
    if dashboard.session_keys.is_empty() {
        findings.extend(weak_home_key(&home));
    }
    if dashboard.drain_secrets.source.is_none() {
        dashboard.drain_secrets = default_drain_secret(&home, &environment, &mut files);
    }
    let Outcome { mistakes: unfit, warnings } = original::fill(&mut dashboard, &environment.original);
    mistakes.extend(unfit);
    if !mistakes.is_empty() {
        return Err(ConfigError { file: shown, mistakes, files });
    }
    let unfit = environment.weak_session_token().into_iter().chain(environment.unread(&variables));
    findings.extend(warnings.into_iter().chain(unfit).map(Finding::warning));
    Ok(Config { home, file, files, dashboard, gateway, environment, findings })
}

fn default_file(home: &Path) -> PathBuf {
    home.join("portcullis.yaml")
}

/// The text of the file, and where it was found. `None` and no text when there is none at the usual place.
fn read_file(home: &Path, file: Option<PathBuf>) -> Result<(Option<PathBuf>, String), ConfigError> {
    let must_exist = file.is_some();
    let file = file.unwrap_or_else(|| default_file(home));
    match read_text(&file) {
        Ok(text) => Ok((Some(file), text)),
        // A link that leads nowhere is not the absence of a configuration.
        Err(error)
            if error.kind() == io::ErrorKind::NotFound && !must_exist && file.symlink_metadata().is_err() =>
        {
            Ok((None, String::new()))
        }
        Err(error) => {
            let what = if file.is_symlink() { "the symbolic link " } else { "" };
            let text = format!("{what}cannot be read: {error}");
            let mistake = Mistake { place: Some(Place::default()), text };
            Err(ConfigError { files: [file.clone()].into(), file, mistakes: vec![mistake] })
        }
    }
}

/// Which process reads. Each follows the references to its own secrets alone, so it starts without the other's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Process {
    Dashboard,
    Gateway,
}

/// What a file says.
pub(super) struct Settings {
    dashboard: DashboardConfig,
    gateway: GatewayConfig,
    files: BTreeSet<PathBuf>,
    /// The files that hold a secret, also those that were left unread.
    pub(super) secret_files: BTreeSet<PathBuf>,
    /// Whether a secret stands in the file itself.
    pub(super) holds_secrets: bool,
    findings: Vec<(Place, String)>,
    /// The variables that it names.
    variables: BTreeSet<OsString>,
}

fn read_settings(file: &Path, text: &str, process: Process) -> Result<Settings, ConfigError> {
    let base = file.parent().unwrap_or(Path::new("."));
    let (of_dashboard, of_gateway) = match process {
        Process::Dashboard => (References::Follow, References::Leave),
        Process::Gateway => (References::Leave, References::Follow),
    };
    let root = Node::parse(text).map_err(|(place, text)| ConfigError {
        files: [file.to_owned()].into(),
        file: file.to_owned(),
        mistakes: vec![Mistake { place: Some(place), text }],
    })?;
    let mut variables = BTreeSet::new();
    collect_variables(&root, &mut variables);

    let mut reader = Reader::new(base, file, of_dashboard);
    let (dashboard, gateway) = read_root(root, file, of_gateway, &mut reader);

    let Reader { files, mistakes, secret_files, holds_secrets, findings, .. } = reader;
    let mistakes = mistakes.into_sorted();
    if mistakes.is_empty() {
        return Ok(Settings { dashboard, gateway, files, secret_files, holds_secrets, findings, variables });
    }
    Err(ConfigError { file: file.to_owned(), mistakes, files })
}

/// Reads the whole file. `of_gateway` is for the gateway's secrets; the reader says it for everything else.
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

fn read_dashboard(root: &mut Section, file: &Path, reader: &mut Reader<'_>) -> DashboardConfig {
    let mut section = root.section("dashboard", reader);
    let mut drain_auth = section.section("drain_auth", reader);
    let drain_scope = drain_auth.parsed("scope", reader, Scope::new).unwrap_or_else(default_drain_scope);
    let min_secret_chars = drain_auth.integer("min_secret_chars", reader, 1..=4096);
    let min_secret_chars = min_secret_chars.unwrap_or(DEFAULT_MIN_SECRET_CHARS);
    let drain_secrets = read_drain_secrets(&mut drain_auth, min_secret_chars, reader);
    drain_auth.finish(reader);
    let mut drain = section.section("drain", reader);
    let max_age = drain.integer("max_age_seconds", reader, 0..=31_536_000);
    drain.finish(reader);
    let mut sandbox = section.section("sandbox", reader);
    let memory_mib: Option<usize> = sandbox.integer("memory_mib", reader, 16..=16_777_216);
    sandbox.finish(reader);
    let providers = read_providers(&mut section, &drain_scope, file, reader);
    let access = read_access(&mut section, &providers, reader);
    let apps = read_apps(&mut section, &drain_scope, reader);
    let token_routes = read_token_routes(&mut section, reader);
    reader.findings.extend(unmet_routes(&token_routes, &providers, &drain_scope));
    reader.findings.extend(unmet_routes(&app_scopes(&apps), &providers, &drain_scope));
    let public_url = section.parsed("public_url", reader, public_url);
    let Front { tls, redirect_http } = read_front(&mut section, public_url.as_ref(), reader);
    let config = DashboardConfig {
        host: section.parsed("host", reader, parse_bind_host).unwrap_or_else(|| "127.0.0.1".to_owned()),
        port: section.integer("port", reader, 0..=65535).unwrap_or(DEFAULT_PORT),
        tls,
        redirect_http,
        public_url,
        allowed_hosts: values(section.parsed_list("allowed_hosts", reader, host_name)),
        trusted_proxies: values(section.parsed_list("trusted_proxies", reader, network)),
        cookie_name: section
            .parsed("cookie_name", reader, cookie_name)
            .unwrap_or_else(|| DEFAULT_COOKIE_NAME.to_owned()),
        session_keys: take_judged_list(&mut section, "session_key", MAX_SESSION_KEYS, Strength::KEY, reader),
        min_secret_chars,
        drain_secrets,
        max_marker_age: Duration::from_secs(max_age.unwrap_or(DEFAULT_MAX_AGE_SECONDS)),
        guest_memory_bytes: memory_mib.map(|mib| mib * 1024 * 1024),
        providers,
        token_routes: token_routes.into_iter().map(|(_, path, scope)| (path, scope)).collect(),
        access,
        apps: apps.iter().map(|(_, app)| app.clone()).collect(),
        drain_scope,
    };
    reader.findings.extend(unreachable_apps(&apps, &config));
    section.finish(reader);
    config
}

/// One secret, or a list of two: the old one stays good while the new one is handed out.
fn read_drain_secrets(section: &mut Section, min_chars: usize, reader: &mut Reader<'_>) -> DrainSecrets {
    let is_set = section.look_at("secret").is_some_and(|node| !matches!(node.value, Yaml::Null));
    let source = is_set.then(|| section.full("secret"));
    let strength = Strength::drain(min_chars);
    let secrets = take_judged_list(section, "secret", MAX_DRAIN_SECRETS, strength, reader);
    DrainSecrets { source, read: Ok(secrets.iter().map(Secret::trimmed).collect()) }
}

/// The environment's, else the one in the home.
fn default_drain_secret(
    home: &Path,
    environment: &Environment,
    files: &mut BTreeSet<PathBuf>,
) -> DrainSecrets {
    if let Some(secret) = &environment.drain_secret {
        let source = Some("HERMES_DASHBOARD_DRAIN_SECRET".to_owned());
        return DrainSecrets { source, read: Ok(vec![secret.clone()]) };
    }

    let path = home.join(DRAIN_SECRET_FILE);
    let source = Some(path.display().to_string());
    let read = match atomic_file::read(&path) {
        Ok(text) => Ok(vec![Secret::new(String::from_utf8_lossy(&text).trim().to_owned())]),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            files.insert(path);
            return DrainSecrets { source: None, read: Ok(Vec::new()) };
        }
        Err(error) => Err(format!("it cannot be read: {error}")),
    };
    files.insert(path);
    DrainSecrets { source, read }
}

fn default_drain_scope() -> Scope {
    Scope::new("drain").expect("a constant that is a scope")
}

/// Each with the place of its scope.
fn read_token_routes(section: &mut Section, reader: &mut Reader<'_>) -> Vec<(Place, String, Scope)> {
    let list = section.list("token_routes", reader);
    let mut routes: Vec<(Place, String, Scope)> = Vec::new();
    for (index, node) in list.into_iter().enumerate() {
        let name = format!("dashboard.token_routes[{index}]");
        let place = node.place;
        let mut route = Section::open(&name, node, reader);
        let path = route.parsed("path", reader, served_path);
        let scope_place = route.look_at("scope").map(|node| node.place);
        let scope = route.parsed("scope", reader, Scope::new);
        let path = route.require("path", path, reader);
        let scope = route.require("scope", scope, reader);
        route.finish(reader);
        let (Some(path), Some(scope)) = (path, scope) else { continue };
        if routes.iter().any(|(_, other, _)| *other == path) {
            reader.mistakes.add(place, format!("`{name}.path`: {path} is listed twice"));
        }
        routes.push((scope_place.unwrap_or(place), path, scope));
    }
    routes
}

fn read_gateway(root: &mut Section, secrets: References, reader: &mut Reader<'_>) -> GatewayConfig {
    let mut section = root.section("gateway", reader);
    let listen = section.parsed("listen", reader, |text| {
        text.parse().map_err(|_| format!("{text:?} is no address and port like {DEFAULT_GATEWAY}"))
    });
    let command = section.parsed_list("command", reader, |text| match text {
        "" => Err("must not be empty"),
        text if text.contains('\0') => Err("must not contain NUL"),
        text => Ok(OsString::from(text)),
    });
    let shutdown_grace = section.integer("shutdown_grace_seconds", reader, 0..=MAX_TURN_SECONDS);
    let turn_timeout: Option<u64> = section.integer("turn_timeout_seconds", reader, 1..=MAX_TURN_SECONDS);
    reader.references = secrets;
    let api_key = read_api_key(&mut section, reader);
    reader.references = References::Follow;
    let config = GatewayConfig {
        listen: listen.unwrap_or_else(|| DEFAULT_GATEWAY.parse().expect("a constant that is an address")),
        command: values(command),
        max_turns: section.integer("max_turns", reader, 1..=10_000).unwrap_or(DEFAULT_MAX_TURNS),
        shutdown_grace: Duration::from_secs(shutdown_grace.unwrap_or(DEFAULT_GRACE_SECONDS)),
        turn_timeout: turn_timeout.map(Duration::from_secs),
        api_key,
    };
    section.finish(reader);
    config
}

fn read_api_key(section: &mut Section, reader: &mut Reader<'_>) -> Option<Secret> {
    let name = section.full("api_key");
    let node = section.take_secret("api_key", reader)?;
    read_judged(&name, &node, Strength::TOKEN, reader)
}

#[cfg(test)]
mod tests {
    use super::super::ComponentRef;
    use super::*;
    use std::fs;

    fn read(text: &str) -> Result<Config, String> {
        load_text("/home".into(), None, text, Environment::default()).map_err(|error| error.to_string())
    }

    fn mistakes(text: &str) -> Vec<String> {
        let text = read(text).expect_err(text);
        text.lines().map(|line| line.replace("/home/portcullis.yaml:", "")).collect()
    }

    #[test]
    fn no_text_means_the_defaults() {
        for text in ["", "# nothing\n", "dashboard:\n", "---\n"] {
            let config = read(text).unwrap();
            assert_eq!((config.dashboard.host.as_str(), config.dashboard.port), ("127.0.0.1", 9119));
            assert_eq!(config.dashboard.max_marker_age, Duration::from_secs(3600));
            assert_eq!(config.dashboard.cookie_name, "hermes_session");
            assert_eq!(config.gateway.listen.port(), 8642);
            assert!(!config.dashboard.is_gated());
        }
    }

    #[test]
    fn whole_example_of_the_contract_is_read() {
        let text = r#"
dashboard:
  host: 127.0.0.1
  port: 9119
  public_url: https://agent.example.com
  allowed_hosts: [agent.tailnet.example]
  trusted_proxies: [127.0.0.0/8, "::1"]
  session_key: ["9f3c1b7e2d8a4650c1e7b93f60d2a548", "tQ7mX2vK9sB4wE8rY1uI6oA3dF5gH0jL"]
  drain_auth: {scope: drain, min_secret_chars: 43}
  drain: {max_age_seconds: 0}
  providers:
    - name: service-keys
      component: providers/service-keys.wasm
      sha256: "9f2c00000000000000000000000000000000000000000000000000000000abcd"
      display_name: Service keys
      config:
        keys: [{sha256: "5e88", principal: ci-bot, scopes: [metrics.read], expires_at: "2027-01-01T00:00:00Z"}]
        plain: text
      grants: {scopes: [metrics.read], http: ["https://idp.example.com"], keyvalue: true}
      limits: {memory_mib: 32, deadline_ms: 500}
  token_routes:
    - {path: /metrics, scope: metrics.read}
gateway:
  listen: 127.0.0.1:8642
  command: [my-agent, --stdin]
  max_turns: 64
"#;
        let config = read(text).unwrap();
        assert_eq!(config.dashboard.session_keys.len(), 2);
        let provider = &config.dashboard.providers[0];
        assert_eq!(provider.component, ComponentRef::Path("/home/providers/service-keys.wasm".into()));
        assert_eq!(provider.settings["plain"], "text");
        assert!(
            provider.settings["keys"].starts_with(r#"[{"sha256":"5e88""#),
            "{}",
            provider.settings["keys"]
        );
        assert_eq!(provider.limits.memory_bytes, 32 << 20);
        assert!(provider.place.ends_with(":12"), "{}", provider.place);
        assert!(config.dashboard.is_gated());
        assert_eq!(config.gateway.command, ["my-agent", "--stdin"]);
    }

    #[test]
    fn unknown_key_is_named_with_its_place_and_the_nearest() {
        let found = mistakes("dashboard:\n  prot: 1\n  drain_auth: {scop: x}\ngatway: {}\n");
        assert_eq!(found[0], "2:3: unknown key `prot` in `dashboard`; did you mean `port`?");
        assert_eq!(found[1], "3:16: unknown key `scop` in `dashboard.drain_auth`; did you mean `scope`?");
        assert_eq!(found[2], "4:1: unknown key `gatway`; did you mean `gateway`?");
        let found = mistakes("dashboard: {basic_auth: {username: ada}}");
        assert!(found[0].contains("write an entry with `component: builtin:basic` into"), "{found:?}");
    }

    #[test]
    fn every_mistake_is_found_in_one_run() {
        for (text, complaint) in [
            ("dashboard: {port: http}", "`dashboard.port` must be an integer from 0 to 65535"),
            ("dashboard: {port: 65536}", "`dashboard.port` must be"),
            ("dashboard: {host: [a]}", "`dashboard.host` must be a string, not a list"),
            ("dashboard: {host: 'a b'}", "`dashboard.host`: \"a b\" is no host name"),
            ("dashboard: [1]", "`dashboard` must be a map, not a list"),
            ("dashboard: {public_url: example.com}", "is no URL like"),
            ("dashboard: {public_url: 'https://u@h/'}", "must have no user"),
            ("dashboard: {trusted_proxies: [10.0.0.0/33]}", "is no address or network"),
            ("dashboard: {drain_auth: {scope: 'a b'}}", "is no scope"),
            ("dashboard: {drain_auth: {min_secret_chars: 0}}", "must be an integer from 1"),
            ("dashboard: {drain: {max_age_seconds: -1}}", "must be an integer from 0"),
            ("dashboard: {providers: {}}", "`dashboard.providers` must be a list"),
            ("dashboard: {providers: [{component: x}]}", "`dashboard.providers[0].name` is missing"),
            ("dashboard: {providers: [{name: a}]}", "`dashboard.providers[0].component` is missing"),
            ("dashboard: {providers: [{name: A, component: x}]}", "is no provider name"),
            ("dashboard: {providers: [{name: drain-secret, component: x}]}", "built-in drain provider"),
            ("dashboard: {providers: [{name: a, component: 'builtin:x'}]}", "no builtin is named `x`"),
            (
                "dashboard: {providers: [{name: a, component: 'bulitin:basic'}]}",
                "did you mean `builtin:basic`?",
            ),
            (
                "dashboard: {providers: [{name: a, component: 'builtin:basik'}]}",
                "did you mean `builtin:basic`?",
            ),
            (
                "dashboard: {providers: [{name: a, component: x}, {name: a, component: y}]}",
                "another provider",
            ),
            ("dashboard: {providers: [{name: a, component: x, sha256: 12}]}", "put it in quotes"),
            ("dashboard: {providers: [{name: a, component: x, sha256: '12'}]}", "64 hex digits"),
            ("dashboard: {providers: [{name: a, component: x, config: [1]}]}", "config` must be a map"),
            (
                "dashboard: {providers: [{name: a, component: x, grants: {scopes: [drain]}}]}",
                "is the drain scope",
            ),
            (
                "dashboard: {providers: [{name: a, component: x, grants: {http: ['https://a/b']}}]}",
                "without a path",
            ),
            (
                "dashboard: {providers: [{name: a, component: x, grants: {http: [{networks: [10.0.0.0/8]}]}}]}",
                "`dashboard.providers[0].grants.http[0].origin` is missing",
            ),
            (
                "dashboard: {providers: [{name: a, component: x, grants: {http: [{origin: 'https://a', headers: {Host: b}}]}}]}",
                "sets itself",
            ),
            (
                "dashboard: {providers: [{name: a, component: x, grants: {http: [{origin: 'https://a', hedders: {}}]}}]}",
                "did you mean `headers`?",
            ),
            (
                "dashboard: {providers: [{name: a, component: x, grants: {keyvalue: 1}}]}",
                "must be true or false",
            ),
            ("dashboard: {providers: [{name: a, component: x, limits: {memory_mib: 0}}]}", "from 1 to 1024"),
            ("dashboard: {token_routes: [{path: /nowhere, scope: s}]}", "no path that can be a token route"),
            ("dashboard: {token_routes: [{path: /metrics}]}", "`dashboard.token_routes[0].scope` is missing"),
            ("dashboard: {cookie_name: 'a b'}", "is no prefix of cookie names"),
            ("dashboard: {cookie_name: 'a=b;'}", "is no prefix of cookie names"),
            ("dashboard: {cookie_name: ''}", "is no prefix of cookie names"),
            ("dashboard: {cookie_name: __Host-a}", "is no prefix of cookie names"),
            ("dashboard: {session_key: short}", "at least 32 characters"),
            ("dashboard: {session_key: {env: PORTCULLIS_NO_SUCH}}", "PORTCULLIS_NO_SUCH is not set"),
            ("dashboard: {session_key: {file: no-such}}", "cannot read /home/no-such"),
            ("dashboard: {access: }", "`dashboard.access` has no value"),
            ("dashboard: {access: {role: operator}}", "`dashboard.access` must be a list, not a map"),
            ("dashboard: {access: [{users: [ada]}]}", "`dashboard.access[0].role` is missing"),
            ("dashboard: {access: [{role: admin}]}", "must be operator, viewer or none"),
            ("dashboard: {access: [{role: none, user: [ada]}]}", "did you mean `users`?"),
            ("dashboard: {access: [{role: operator, users: }]}", "`dashboard.access[0].users` is empty"),
            ("dashboard: {access: [{role: operator, users: []}]}", "`dashboard.access[0].users` is empty"),
            ("dashboard: {access: [{role: operator, users: [' ada']}]}", "without space around it"),
            (
                "dashboard: {access: [{role: operator, groups: ops}]}",
                "`dashboard.access[0].groups` must be a list",
            ),
            ("dashboard: {access: [{role: none, provider: }]}", "`dashboard.access[0].provider` is empty"),
            ("dashboard: {access: [{role: none, provider: corp}]}", "no provider is named `corp`"),
            ("gateway: {listen: here}", "is no address and port"),
            (
                "gateway: {command: my-agent --stdin}",
                "must be a list, not a string: write [my-agent, --stdin]",
            ),
            ("dashboard: {trusted_proxies: 127.0.0.1}", "must be a list, not a string: write [127.0.0.1]"),
            ("gateway: {max_turns: 0}", "must be an integer from 1"),
            ("gateway: {shutdown_grace_seconds: -1}", "must be an integer from 0 to 86400"),
            ("gateway: {turn_timeout_seconds: 0}", "must be an integer from 1 to 86400"),
            ("gateway: {api_key: short}", "at least 16 characters"),
            ("dashboard: {port: 1, port: 2}", "`port` is there twice (line 1, columns 13 and 22)"),
            ("gateway: {}\ndashboard: {}\ngateway: {}", "`gateway` is there twice (lines 1 and 3)"),
            ("hello", "the file must be a map, not a string"),
            ("dashboard: [", "1:12: unclosed bracket"),
            ("dashboard: {}\n---\ngateway: {}\n", "only single YAML document expected"),
        ] {
            let found = mistakes(text);
            assert_eq!(found.len(), 1, "{text}: {found:?}");
            assert!(found[0].contains(complaint), "{text}: {found:?}");
        }
    }

    #[test]
    fn secrets_in_provider_settings_come_from_files() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("key"), "s3cret\n").unwrap();
        let text = "dashboard: {providers: [{name: a, component: x, config: {one: {file: key}, list: [{file: key}]}}]}";
        let file = folder.path().join("portcullis.yaml");
        let config = load_text("/home".into(), Some(file), text, Environment::default()).unwrap();
        let settings = &config.dashboard.providers[0].settings;
        assert_eq!((settings["one"].as_str(), settings["list"].as_str()), ("s3cret", "[\"s3cret\"]"));
    }

    const API_KEY: &str = "9f3c1b7e2d8a4650c1e7b93f60d2a548";

    #[test]
    fn every_secret_has_one_form_and_one_gate() {
        let all_a = "a".repeat(64);
        let weak = [
            ("'${SESSION_KEY}'", "write {env: SESSION_KEY}"),
            ("$SESSION_KEY", "write {env: SESSION_KEY}"),
            ("'%SESSION_KEY%'", "write {env: NAME} or {file: PATH}"),
            ("'{{ SESSION_KEY }}'", "write {env: NAME} or {file: PATH}"),
            ("'<a session key of at least 32 characters>'", "unexpanded variable or a placeholder"),
            (all_a.as_str(), "distinct characters"),
            ("short", "is too short (5 of at least"),
            ("12345", "put it in quotes"),
            ("{evn: SESSION_KEY}", "did you mean `env`?"),
            ("{env: SESSION_KEY, file: key}", "a value stands in one place"),
            ("{env: [SESSION_KEY]}", "`env` must be a string, not a list"),
            ("{env: SESSION_KEY, default: x}", "write {env: NAME} or {file: PATH}"),
            ("{value: x}", "write {env: NAME} or {file: PATH}"),
        ];
        let basic = "dashboard: {providers: [{name: a, component: 'builtin:basic', config: {secret: X}}]}";
        for (place, text) in [
            ("`dashboard.session_key`", "dashboard: {session_key: X}"),
            ("`dashboard.session_key[0]`", "dashboard: {session_key: [X]}"),
            ("`dashboard.drain_auth.secret`", "dashboard: {drain_auth: {secret: X}}"),
            ("`dashboard.drain_auth.secret[0]`", "dashboard: {drain_auth: {secret: [X]}}"),
            ("`gateway.api_key`", "gateway: {api_key: X}"),
            ("`dashboard.providers[0].config.secret`", basic),
        ] {
            for (value, complaint) in weak {
                let found = mistakes(&text.replace('X', value));
                assert_eq!(found.len(), 1, "{text} {value}: {found:?}");
                assert!(found[0].contains(place), "{text} {value}: {found:?}");
                assert!(found[0].contains(complaint), "{text} {value}: {found:?}");
            }
        }
        for (text, complaint) in [
            ("gateway: {api_key: [a, b]}", "`gateway.api_key` must be a string, not a list"),
            (&basic.replace('X', "[a, b]"), "config.secret` must be a string, not a list"),
            ("dashboard: {session_key: []}", "must be one secret or a list"),
            ("dashboard:\n  session_key:\n  port: 1\n", "2:3: `dashboard.session_key` has no value"),
            ("dashboard: {drain_auth: {secret: ~}}", "`dashboard.drain_auth.secret` has no value"),
            ("gateway: {api_key: }", "`gateway.api_key` has no value"),
            ("dashboard: {drain_auth: {secret: [a, b, c]}}", "a list of up to 2"),
        ] {
            let found = mistakes(text);
            assert!(found.len() == 1 && found[0].contains(complaint), "{text}: {found:?}");
        }
    }

    #[test]
    fn weak_secret_of_a_file_is_named_by_the_file() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("key"), "hunter2hunter2hunter2hunter2hunter2\n").unwrap();
        let text = "dashboard: {session_key: {file: key}}";
        let file = folder.path().join("portcullis.yaml");
        let refusal = load_text("/home".into(), Some(file), text, Environment::default()).unwrap_err();
        let refusal = refusal.to_string();
        assert!(refusal.contains("`dashboard.session_key`: the file key: it "), "{refusal}");
        assert!(!refusal.contains("hunter"), "{refusal}");
    }

    #[test]
    fn settings_of_providers_hold_no_placeholder() {
        let entry =
            |config: &str| format!("dashboard: {{providers: [{{name: a, component: x, config: {config}}}]}}");
        for (config, complaint) in [
            ("{api_token: $API_TOKEN}", "write {env: API_TOKEN}"),
            ("{users: [{password: '<password>'}]}", "config.users[0].password`: it looks like an unexpanded"),
            ("{issuer: '${ISSUER}'}", "write {env: ISSUER}"),
            ("{issuer: {evn: ISSUER}}", "did you mean `env`?"),
            ("{list: [{fiel: x}]}", "config.list[0]`: `fiel` is no source of a value"),
            ("{token: {env: X, default: y}}", "write {env: NAME} or {file: PATH}"),
        ] {
            let found = mistakes(&entry(config));
            assert!(found.len() == 1 && found[0].contains(complaint), "{config}: {found:?}");
        }
        for config in ["{filter: '(uid={user})', titles: {en: x}}", "{secret: plain, template: '{{ name }}'}"]
        {
            assert!(read(&entry(config)).is_ok(), "{config}");
        }
        let header = "dashboard: {providers: [{name: a, component: x, grants: {http: [{origin: 'https://a', headers: \
                      {authorization: 'Bearer ${TOKEN}'}}]}}]}";
        let empty = header.replace("Bearer ${TOKEN}", " ");
        let found = mistakes(&empty);
        assert!(found.len() == 1 && found[0].contains("headers.authorization`: it is empty"), "{found:?}");
        let found = mistakes(header);
        assert!(found.len() == 1 && found[0].contains("unexpanded variable"), "{found:?}");
    }

    #[test]
    fn scopes_that_no_caller_can_have_are_found() {
        let findings = |text: &str| {
            let findings = read(text).unwrap().findings;
            findings.into_iter().map(|finding| (finding.is_mistake, finding.text)).collect::<Vec<_>>()
        };
        let route = "dashboard:\n  token_routes:\n    - path: /metrics\n      scope: metrics.read\n";
        let found = findings(route);
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(
            found[0].0 && found[0].1.contains("portcullis.yaml:4:14: no provider may hand out"),
            "{found:?}"
        );
        let key = "dashboard:\n  providers:\n    - name: a\n      component: builtin:service-keys\n      config:\n        \
                   keys:\n          - scopes: [metrics.read]\n";
        let found = findings(key);
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(
            found[0].0 && found[0].1.contains("portcullis.yaml:7:22: the key has the scope"),
            "{found:?}"
        );
        let granted = format!(
            "{key}      grants: {{scopes: [metrics.read]}}\n  token_routes: [{{path: /metrics, scope: metrics.read}}]\n"
        );
        assert!(findings(&granted).is_empty());
        assert!(findings("dashboard: {token_routes: [{path: /metrics, scope: drain}]}").is_empty());
    }

    #[test]
    fn link_that_leads_nowhere_is_no_absent_configuration() {
        let folder = tempfile::tempdir().unwrap();
        let home = folder.path().to_owned();
        assert!(load(home.clone(), None, Environment::default()).unwrap().file.is_none());
        std::os::unix::fs::symlink("no-such", home.join("portcullis.yaml")).unwrap();
        let refusal = load(home, None, Environment::default()).unwrap_err().to_string();
        assert!(refusal.contains("portcullis.yaml: the symbolic link cannot be read"), "{refusal}");
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
        let refusal =
            load_text(home.clone(), None, text, Environment::default()).map_err(errors).unwrap_err();
        assert!(refusal.contains("PORTCULLIS_NO_SETTING") && !refusal.contains("NO_API_KEY"), "{refusal}");
        fs::write(folder.path().join("portcullis.yaml"), text).unwrap();
        let refusal =
            load_for_gateway(home.clone(), None, Environment::default()).map_err(errors).unwrap_err();
        assert!(refusal.contains("PORTCULLIS_NO_API_KEY") && refusal.lines().count() == 1, "{refusal}");

        let text = text.replace("{env: PORTCULLIS_NO_API_KEY}", API_KEY);
        fs::write(folder.path().join("portcullis.yaml"), text).unwrap();
        let environment = Environment {
            dashboard_variables: ["HERMES_DASHBOARD_X".into()].into(),
            ..Environment::default()
        };
        let view = load_for_gateway(home, None, environment).unwrap();
        assert_eq!(view.max_marker_age, Duration::from_secs(7));
        assert_eq!(view.gateway.api_key.unwrap().expose(), API_KEY);
        let names: Vec<_> = view.secret_variables.iter().map(|name| name.to_str().unwrap()).collect();
        let expected = [
            "HERMES_DASHBOARD_X",
            "PORTCULLIS_NO_PASSWORD",
            "PORTCULLIS_NO_SESSION_KEY",
            "PORTCULLIS_NO_SETTING",
        ];
        assert_eq!(names, expected);
    }

    #[test]
    fn only_three_names_are_loopback() {
        for (host, gated) in [
            ("127.0.0.1", false),
            ("localhost", false),
            ("'::1'", false),
            ("LOCALHOST", true),
            ("localhost.", true),
            ("'0:0:0:0:0:0:0:1'", true),
            ("127.0.0.2", true),
            ("0.0.0.0", true),
            ("'::'", true),
            ("192.168.1.1", true),
            ("100.64.0.1", true),
            ("169.254.1.1", true),
            ("agent.local", true),
        ] {
            let config = read(&format!("dashboard: {{host: {host}}}")).unwrap();
            assert_eq!(config.dashboard.is_gated(), gated, "{host}");
        }
    }

    #[test]
    fn another_name_that_the_dashboard_answers_to_puts_the_gate_on() {
        for (text, reason) in [
            ("allowed_hosts: [localhost, LOCALHOST, 127.0.0.1, '::1']", None),
            ("public_url: 'http://localhost:9119/x'", None),
            (
                "allowed_hosts: [localhost, agent.tailnet.example]",
                Some("allowed_hosts names agent.tailnet.example"),
            ),
            ("allowed_hosts: [127.0.0.2]", Some("allowed_hosts names 127.0.0.2")),
            ("allowed_hosts: [localhost.evil.example]", Some("allowed_hosts names localhost.evil.example")),
            ("public_url: 'https://agent.example.com'", Some("public_url names agent.example.com")),
            ("host: 0.0.0.0", Some("0.0.0.0 is not a loopback address")),
        ] {
            let config = read(&format!("dashboard: {{{text}}}")).unwrap();
            let found = config.dashboard.gate_reason().map(|reason| reason.to_string());
            assert_eq!(found.is_some(), reason.is_some(), "{text}");
            assert!(found.unwrap_or_default().contains(reason.unwrap_or_default()), "{text}");
        }
    }
}
