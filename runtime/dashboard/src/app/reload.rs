//! Putting another set of providers in the place of the present one, without a restart.
//!
//! **Invariant:** nothing is replaced until everything new has been loaded and tried out; any
//! mistake keeps what serves, and says why.

use super::StartError;
use super::certificate::Certificate;
use super::drain_secret::drain_secrets;
use super::file_watch::FileWatch;
use super::gate::live_gate;
use super::people_access::PeopleAccess;
use super::providers::{self, ProviderLoader, Providers};
use super::reloadable::{Reloadable, reloadable, taken_over};
use super::session_key::{self, SessionKeys};
use crate::audit::{AuditLog, EventName, Record};
use crate::config::{self, ComponentRef, Config, ConfigError, DashboardConfig, Overrides};
use crate::web::{AppTable, CookieSealer, Live, Metrics};
use futures_util::FutureExt;
use portcullis_auth::secret_strength::generate_secret;
use portcullis_auth::{BearerToken, ProviderName};
use portcullis_sandbox::{LoadError, SandboxError, Unloadable};
use std::collections::BTreeSet;
use std::fmt;
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Notify, watch};

/// Until a reload for which the system gave no thread or process is tried again.
const RETRY_PAUSE: Duration = Duration::from_secs(10);
/// Between two looks at a certificate that nothing renews.
const DAY: Duration = Duration::from_secs(86_400);

/// Asks for a reload, whether a file has changed or not.
#[derive(Clone, Default)]
pub struct ReloadRequest(Arc<ReloadState>);

#[derive(Default)]
struct ReloadState {
    asked: Notify,
    is_pending: watch::Sender<bool>,
}

impl ReloadRequest {
    /// Asks for a reload.
    pub fn ask(&self) {
        self.0.is_pending.send_replace(true);
        self.0.asked.notify_one();
    }

    /// Waits until the reload that was asked for is over, whether it was done or refused. Returns
    /// at once if none is asked for.
    pub async fn ended(&self) {
        // The sender lives as long as this request, so there is no error.
        let _ = self
            .0
            .is_pending
            .subscribe()
            .wait_for(|is_pending| !is_pending)
            .await;
    }

    /// Waits until it is asked for.
    pub(super) async fn asked(&self) {
        self.0.asked.notified().await;
    }

    /// Notes that a reload is over.
    fn note_end(&self) {
        self.0.is_pending.send_replace(false);
    }
}

/// Why the present providers were kept.
#[derive(Debug, thiserror::Error)]
enum ReloadError {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(
        "{0} has no setting in it any more: restore it, or write {{}} into it to run with the defaults"
    )]
    Blank(PathBuf),
    #[error("{0} has no users in it any more: restore it, or write [] into it to have none")]
    NoUsers(PathBuf),
    #[error("`dashboard.{0}` has changed, which a reload cannot do: restart the dashboard")]
    NeedsRestart(&'static str),
    #[error("{0}: the previous secret stays valid")]
    DrainSecret(String),
    #[error("{0}")]
    Refused(Refusals),
    #[error(transparent)]
    Start(#[from] StartError),
    #[error(transparent)]
    Sandbox(#[from] SandboxError),
    #[error("reading the configuration failed: {0}")]
    Task(#[from] tokio::task::JoinError),
    #[error("it panicked, which is a mistake in this program: see the lines before")]
    Panicked,
}

impl ReloadError {
    /// Returns whether the system refused a thread or a process: the same reload may be done later,
    /// although no file changes.
    fn is_passing(&self) -> bool {
        match self {
            Self::Sandbox(SandboxError::Thread(_)) => true,
            Self::Refused(Refusals(refusals)) => refusals.iter().any(|(_, _, error)| {
                matches!(error, LoadError::Unloadable(Unloadable::NotStarted(_)))
            }),
            _ => false,
        }
    }
}

/// Providers that cannot be loaded, each with its place and reason.
#[derive(Debug)]
struct Refusals(Vec<(ProviderName, String, LoadError)>);

impl fmt::Display for Refusals {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sentences: Vec<_> = self
            .0
            .iter()
            .map(|(name, place, error)| format!("{place}: provider `{name}`: {error}"))
            .collect();
        formatter.write_str(&sentences.join("; "))
    }
}

/// Keeps the providers in step with the configuration.
pub(super) struct Reloader {
    pub(super) running: Config,
    pub(super) overrides: Overrides,
    pub(super) loader: ProviderLoader,
    pub(super) people_access: PeopleAccess,
    pub(super) apps: Arc<AppTable>,
    pub(super) live: Live,
    pub(super) sealer: CookieSealer,
    /// `None`: there is no `dashboard.tls`, or it orders the certificate itself.
    pub(super) certificate: Option<Certificate>,
    pub(super) audit: AuditLog,
    pub(super) metrics: Arc<Metrics>,
    /// The last reload was refused by the system, and is tried again.
    pub(super) must_retry: bool,
}

impl Reloader {
    /// Reloads when asked and when a file changes, until `closed` turns true. A change while a
    /// reload is under way begins it anew: a component that takes minutes to compile does not hold
    /// up its own removal.
    pub(super) async fn run(
        mut self,
        mut files: FileWatch,
        request: ReloadRequest,
        mut closed: watch::Receiver<bool>,
    ) {
        let mut superseding = None;
        let mut days = tokio::time::interval(DAY);
        days.reset();

        loop {
            let cause = match superseding.take() {
                Some(cause) => cause,
                None => tokio::select! {
                    _ = closed.wait_for(|closed| *closed) => return,
                    cause = next_cause(&mut files, &request) => cause,
                    () = tokio::time::sleep(RETRY_PAUSE), if self.must_retry => "tried again",
                    _ = days.tick() => {
                        self.certificate.iter().for_each(Certificate::complain);
                        continue;
                    }
                },
            };
            let next = survive(self.read())
                .await
                .unwrap_or(Err(ReloadError::Panicked));
            // Before they are loaded, so that a change meanwhile causes another reload.
            files.watch(self.files_to_watch(&next));
            tokio::select! {
                outcome = survive(self.reload(next, cause)) => {
                    if outcome.is_none() {
                        self.note_refusal(cause, &ReloadError::Panicked);
                    }
                    request.note_end();
                }
                _ = closed.wait_for(|closed| *closed) => return,
                cause = next_cause(&mut files, &request) => {
                    tracing::info!(cause, "a reload under way begins anew");
                    superseding = Some(cause);
                }
            }
        }
    }

    /// Those of what runs, and those of what is to run or cannot.
    fn files_to_watch(&self, next: &Result<Config, ReloadError>) -> BTreeSet<PathBuf> {
        let next = match next {
            Ok(config) => files_of(config),
            Err(ReloadError::Config(error)) => error.files.clone(),
            Err(_) => BTreeSet::new(),
        };
        files_of(&self.running).into_iter().chain(next).collect()
    }

    async fn reload(&mut self, next: Result<Config, ReloadError>, cause: &str) {
        self.must_retry = false;
        // First, and also if the rest fails: a certificate that ends cannot wait for the compiler.
        self.renew_certificate().await;
        match self.replace(next).await {
            Ok(count) => {
                tracing::info!(cause, providers = count, "providers reloaded");
                self.metrics.reload(true);
            }
            Err(error) => {
                self.must_retry = error.is_passing();
                self.note_refusal(cause, &error);
            }
        }
    }

    fn note_refusal(&self, cause: &str, error: &ReloadError) {
        tracing::error!(cause, %error, "reload refused: the present providers keep serving");
        self.metrics.reload(false);
        self.audit_refusal(error);
    }

    async fn replace(&mut self, next: Result<Config, ReloadError>) -> Result<usize, ReloadError> {
        let next = self.merge(next?)?;
        let keys = self.session_keys(&next).await;
        let providers = self.loader.load(&next).await?;
        let refusals = self.refusals(&providers).await;
        if !refusals.is_empty() {
            return Err(ReloadError::Refused(Refusals(refusals)));
        }
        let changed: Vec<_> = self
            .loader
            .changed(&providers)
            .iter()
            .map(|loaded| loaded.config.name.clone())
            .collect();

        let apps = self.build_apps(&next).await?;

        // The last thing that can fail: from here on the new set serves.
        self.live
            .replace(live_gate(&next, &providers, 0, &self.people_access, &apps)?);
        self.apps = apps;
        if let Some(keys) = keys {
            self.sealer.replace_keys(keys.secrets());
        }

        self.loader.retire_all_but(&providers);
        self.audit_loaded(&providers, &changed);
        let count = providers.reports.len();
        self.loader.adopt(providers);

        let has_moved = self.running.dashboard.tls != next.dashboard.tls;
        self.running = next;
        if has_moved {
            self.renew_certificate().await;
        }

        Ok(count)
    }

    async fn renew_certificate(&mut self) {
        if let Some((certificate, settings)) = self
            .certificate
            .as_mut()
            .zip(self.running.dashboard.tls.as_ref())
        {
            certificate.renew(settings).await;
        }
    }

    /// The applications of the new configuration. Those that did not change keep their connections.
    async fn build_apps(&self, next: &Config) -> Result<Arc<AppTable>, ReloadError> {
        let (settings, before) = (next.dashboard.apps.clone(), self.apps.clone());
        let roots = next.environment.system_roots.clone();
        let build = move || AppTable::build(&settings, &roots, &before);
        Ok(Arc::new(tokio::task::spawn_blocking(build).await?))
    }

    /// `None`: they cannot be read, which is logged, and the present keys stay.
    async fn session_keys(&self, next: &Config) -> Option<SessionKeys> {
        let (running, next) = (self.running.clone(), next.clone());
        let read = tokio::task::spawn_blocking(move || SessionKeys::reload(&running, &next))
            .await
            .ok()?;
        read.inspect_err(|error| tracing::error!(%error, "the present session keys stay"))
            .ok()
    }

    async fn read(&self) -> Result<Config, ReloadError> {
        let (home, file) = (self.running.home.clone(), self.running.file.clone());
        let environment = self.running.environment.clone();
        let read =
            tokio::task::spawn_blocking(move || config::load(home, file, environment)).await??;
        Ok(read.with(&self.overrides))
    }

    /// What runs, with the settings of the new configuration that a reload takes over.
    fn merge(&self, next: Config) -> Result<Config, ReloadError> {
        // An editor or a full disk may leave an empty file: the defaults would take every provider
        // away.
        if let Some(file) = next
            .file
            .as_ref()
            .filter(|_| next.is_blank && !self.running.is_blank)
        {
            return Err(ReloadError::Blank(file.clone()));
        }
        if let Some(file) = emptied_users_file(&self.running.dashboard, &next.dashboard) {
            return Err(ReloadError::NoUsers(file.to_owned()));
        }
        let running = &self.running.dashboard;
        match reloadable(running, &next.dashboard) {
            Reloadable::Whole => {}
            Reloadable::Partly => {
                tracing::warn!(
                    "settings that only a start reads have changed: they wait for a restart"
                );
            }
            Reloadable::Not(key) => return Err(ReloadError::NeedsRestart(key)),
        }
        // A file that is being replaced may be empty for a moment: the secret that is known stays
        // valid.
        if next.dashboard.drain_secrets.source.is_some() && drain_secrets(&self.running).is_ok() {
            drain_secrets(&next).map_err(ReloadError::DrainSecret)?;
        }

        // The home, the file and the environment are those of the process. The gateway reads its
        // settings itself.
        let Config {
            files,
            is_blank,
            dashboard,
            home: _,
            file: _,
            gateway: _,
            environment: _,
            findings: _,
            places: _,
        } = next;
        let dashboard = taken_over(running, dashboard);
        Ok(Config {
            files,
            is_blank,
            dashboard,
            ..self.running.clone()
        })
    }

    /// Everything that speaks against the new set: what did not load, and what fails when it is
    /// tried out.
    async fn refusals(&self, providers: &Providers) -> Vec<(ProviderName, String, LoadError)> {
        let mut refusals = Vec::new();
        for report in &providers.reports {
            if let Err(error) = &report.outcome {
                refusals.push((report.name.clone(), report.place.clone(), error.clone()));
            }
        }

        let Ok(made_up) = generate_secret() else {
            return refusals;
        };
        let made_up = BearerToken::by_hand(made_up);
        for loaded in self.loader.changed(providers) {
            let takes_tokens = providers
                .registered
                .iter()
                .any(|r| r.name == loaded.config.name && r.token.is_some());
            if !takes_tokens {
                continue;
            }
            if let Err(error) = loaded.provider.check_itself(&made_up).await {
                refusals.push((
                    loaded.config.name.clone(),
                    loaded.config.place.clone(),
                    error,
                ));
            }
        }

        refusals
    }

    fn audit_loaded(&self, providers: &Providers, changed: &[ProviderName]) {
        for report in providers
            .reports
            .iter()
            .filter(|report| changed.contains(&report.name))
        {
            providers::report(report, &self.audit);
        }
    }

    fn audit_refusal(&self, error: &ReloadError) {
        let record = Record::now(EventName::ProviderRefused).with("reload", true);
        match error {
            ReloadError::Refused(Refusals(refusals)) => {
                for (name, _, error) in refusals {
                    let record = record.clone().with("provider", name.as_str());
                    self.audit.write(record.with("reason", error.to_string()));
                }
            }
            other => self.audit.write(record.with("reason", other.to_string())),
        }
    }
}

/// The users file in which no list stands any more, although the provider has users from it. An
/// editor or a full disk may have emptied it: all of them would lose their sessions.
fn emptied_users_file<'a>(
    running: &DashboardConfig,
    next: &'a DashboardConfig,
) -> Option<&'a Path> {
    let has_users = |name: &ProviderName| {
        let mut of_name = running.providers.iter().filter(|known| known.name == *name);
        of_name.any(|known| {
            let users = known.settings.get("users_file");
            users.is_some_and(|users| users != "[]")
        })
    };
    next.providers
        .iter()
        .filter(|provider| has_users(&provider.name))
        .find_map(|provider| provider.blank_users_file.as_deref())
}

/// Takes a step of a reload; `None` if it panics. That must not end the reloader, without which no
/// later change of the configuration would be taken over. Each reload begins with the files, and
/// replaces what serves as its last step.
async fn survive<T>(step: impl Future<Output = T>) -> Option<T> {
    AssertUnwindSafe(step).catch_unwind().await.ok()
}

/// Waits until there is a reason for a reload.
async fn next_cause(files: &mut FileWatch, request: &ReloadRequest) -> &'static str {
    tokio::select! {
        () = request.asked() => {
            files.note();
            "asked"
        }
        () = files.changed() => "a file has changed",
    }
}

/// The configuration, its secrets and certificate, the session keys in the home, and the
/// components.
pub(super) fn files_of(config: &Config) -> BTreeSet<PathBuf> {
    let components =
        config
            .dashboard
            .providers
            .iter()
            .filter_map(|provider| match &provider.component {
                ComponentRef::Path(path) => Some(path.clone()),
                ComponentRef::Builtin(_) => None,
            });

    let own_key = config
        .dashboard
        .session_keys
        .is_empty()
        .then(|| session_key::file(config));
    config
        .files
        .iter()
        .cloned()
        .chain(components)
        .chain(own_key)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusal_of_a_process_is_passing_and_a_bad_component_is_not() {
        let refused = |error: Unloadable| {
            let name = ProviderName::new("p").unwrap();
            ReloadError::Refused(Refusals(vec![(name, String::new(), error.into())]))
        };
        assert!(refused(Unloadable::NotStarted("EAGAIN".to_owned())).is_passing());
        assert!(!refused(Unloadable::Invalid("no component".to_owned())).is_passing());
        assert!(!ReloadError::Panicked.is_passing());
    }

    #[tokio::test]
    async fn step_that_panics_is_over_and_the_next_is_taken() {
        async fn broken() {
            panic!("no thread can be started");
        }
        assert_eq!(survive(broken()).await, None);
        assert_eq!(survive(async { 7 }).await, Some(7));
    }
}
