use super::{Mistake, Secret, original};
use portcullis_auth::secret_strength::{Strength, WeakSecret, is_placeholder};
use portcullis_net::trust::SystemRoots;
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::path::PathBuf;

const PREFIX: &str = "HERMES_DASHBOARD_";
const DRAIN_SECRET: &str = "HERMES_DASHBOARD_DRAIN_SECRET";
const SESSION_TOKEN: &str = "HERMES_DASHBOARD_SESSION_TOKEN";

/// What the environment says, read once.
#[derive(Clone, Debug, Default)]
pub struct Environment {
    /// `HERMES_HOME`: the home, unless the command line names one.
    pub hermes_home: Option<PathBuf>,
    /// `HOME`: the folder of `.hermes`, the default home.
    pub user_home: Option<PathBuf>,
    /// `HERMES_DASHBOARD_DRAIN_SECRET`, without white space around it; never empty.
    pub drain_secret: Option<Secret>,
    /// `HERMES_DASHBOARD_SESSION_TOKEN`: the token of the process; never empty.
    pub session_token: Option<Secret>,
    /// `RUST_LOG`: what is logged.
    pub log_filter: Option<String>,
    /// `SSL_CERT_FILE` and `SSL_CERT_DIR`: where the system's certificate authorities are.
    pub system_roots: SystemRoots,
    /// The names of all variables that start with `HERMES_DASHBOARD_`.
    pub dashboard_variables: BTreeSet<OsString>,
    /// The original's variables that have a counterpart in the configuration, by name; never empty.
    pub original: BTreeMap<&'static str, Secret>,
}

impl Environment {
    /// Reads the variables of this process.
    pub fn read() -> Self {
        Self {
            hermes_home: path("HERMES_HOME"),
            user_home: path("HOME"),
            drain_secret: secret(DRAIN_SECRET),
            session_token: secret(SESSION_TOKEN),
            log_filter: variable("RUST_LOG"),
            system_roots: SystemRoots {
                file: path("SSL_CERT_FILE"),
                folders: paths("SSL_CERT_DIR"),
            },
            dashboard_variables: names_that_start_with(PREFIX.as_bytes()),
            original: original::VARIABLES
                .iter()
                .filter_map(|name| secret(name).map(|value| (*name, value)))
                .collect(),
        }
    }

    /// Returns the home: `--home`, else `$HERMES_HOME`, else `~/.hermes`.
    pub fn home(&self, flag: Option<PathBuf>) -> PathBuf {
        let fallback = || {
            self.user_home
                .clone()
                .unwrap_or_else(|| ".".into())
                .join(".hermes")
        };
        flag.or_else(|| self.hermes_home.clone())
            .unwrap_or_else(fallback)
    }

    /// Values that cannot be used. The drain secret is not among them: a weak one is never used,
    /// and the dashboard starts without.
    pub(super) fn mistakes(&self) -> Vec<Mistake> {
        let token = self
            .session_token
            .iter()
            .filter(|token| is_placeholder(token.expose()));
        token
            .map(|_| {
                let weak = WeakSecret::Placeholder;
                let text = format!(
                    "{SESSION_TOKEN} is refused: {weak}: make one with `portcullis secret generate`"
                );
                Mistake { place: None, text }
            })
            .collect()
    }

    /// A warning about a weak session token. It is used all the same: the original takes any, and
    /// it works on this machine alone.
    pub(super) fn weak_session_token(&self) -> Option<String> {
        let weak = Strength::TOKEN
            .judge(self.session_token.as_ref()?.expose())
            .err()?;
        Some(format!(
            "{SESSION_TOKEN} is weak: {weak}: {}",
            weak.advice()
        ))
    }

    /// A warning that names the dashboard's variables that nothing reads. `named` are those that
    /// the configuration names.
    pub(super) fn unread(&self, named: &BTreeSet<OsString>) -> Option<String> {
        let is_read = |name: &str| {
            [DRAIN_SECRET, SESSION_TOKEN].contains(&name) || original::VARIABLES.contains(&name)
        };

        let unread: Vec<_> = self
            .dashboard_variables
            .iter()
            .filter(|name| !named.contains(*name))
            .map(|name| name.to_string_lossy())
            .filter(|name| !is_read(name))
            .collect();

        (!unread.is_empty()).then(|| {
            format!(
                "set in the environment, but not read: {}. docs/environment.md lists the variables that are read",
                unread.join(", ")
            )
        })
    }

    /// A secret from the variable that a file outside the configuration names, without white space
    /// around it. `None` when the variable is unset or empty.
    pub fn secret_named(name: &str) -> Option<Secret> {
        secret(name)
    }
}

/// A variable that a secret in the configuration refers to.
#[expect(
    clippy::disallowed_methods,
    reason = "config is the one reader of the environment"
)]
pub(super) fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

fn names_that_start_with(prefix: &[u8]) -> BTreeSet<OsString> {
    let names = std::env::vars_os().map(|(name, _)| name);
    names
        .filter(|name| name.as_encoded_bytes().starts_with(prefix))
        .collect()
}

fn path(name: &str) -> Option<PathBuf> {
    variable(name)
        .filter(|value| !value.is_empty())
        .map(PathBuf::from)
}

/// The folders of a list with colons, as in `PATH`.
fn paths(name: &str) -> Vec<PathBuf> {
    let list = variable(name).unwrap_or_default();
    std::env::split_paths(&list)
        .filter(|path| !path.as_os_str().is_empty())
        .collect()
}

fn secret(name: &str) -> Option<Secret> {
    let value = variable(name)?;
    let value = value.trim();
    (!value.is_empty()).then(|| Secret::new(value.to_owned()))
}
