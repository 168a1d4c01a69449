//! Putting the parts together: from settings to a dashboard that serves.

mod certificate;
mod drain_secret;
mod ended_people;
mod ended_sessions;
mod file_watch;
mod loading;
mod providers;
mod reload;
mod session_key;
mod session_list;
mod sockets;
mod start;

pub use drain_secret::{DrainRegistration, drain_registration};
pub use ended_people::{read_ended_people, record_ended_people};
pub use providers::{COMPONENT_CACHE, ProviderReport, Providers, Touch, load_providers};
pub use reload::ReloadRequest;
pub use session_key::SessionKeyError;
pub use session_list::{SessionList, read_session_list};

pub use crate::web::AccessLogTarget;

use crate::audit::{AuditLog, EventName, Record};
use crate::auth::{
    BearerToken, Gate, People, PeopleGate, Registered, Registry, RegistryError, Required, SecretDigest,
    Sessions, TokenRoutes,
};
use crate::config::{Config, DashboardConfig, GateReason, Overrides, PublicUrl, is_loopback_name};
use crate::drain::{DrainControl, MarkerFile};
use crate::gateway::{RestartFile, StatusFile};
use crate::home_lock::{DASHBOARD_LOCK, HomeLock};
use crate::listen::{self, Limits};
use crate::sandbox::SandboxError;
use crate::secret_strength::generate_secret;
use crate::tls::{IdentityError, TlsServer};
use crate::web::{
    AccessLog, AppTable, CookieNames, CookieSealer, DRAIN_PATH, Dashboard, FaultLog, Feed, FeedSources,
    GatewayView, HostPolicy, Live, MAX_SOCKETS, Metrics, PAGE_DRAIN_PATH, PAGE_RESTART_PATH, PageSettings,
    PublicSite, RESTART_PATH, SecurityHeaders, Serving, SignIns, Sites, TrustedProxies, WHOAMI_PATH,
    https_redirect, router,
};
use axum::Router;
use certificate::Certificate;
use drain_secret::{drain_provider, drain_secrets};
use ended_people::EndedPeople;
use ended_sessions::EndedSessions;
use file_watch::FileWatch;
use loading::Loading;
use providers::{Observers, ProviderLoader};
use reload::{Reloader, files_of};
use session_key::SessionKeys;
use session_list::SessionListKeeper;
use sockets::Sockets;
use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinHandle;

/// The dashboard did not come up.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// People must sign in, and no provider can sign them in.
    #[error(
        "{0}, so people must sign in, but no provider can sign anyone in. Add a password or redirect provider to \
         dashboard.providers, or bind 127.0.0.1 without another name, or (for a test, with no gate at all) pass \
         --insecure"
    )]
    NobodySignsIn(GateReason),
    /// The address is taken or not ours.
    #[error("cannot listen on {host}:{port}: {cause}")]
    Listen {
        /// The name or address to bind.
        host: String,
        /// The port to bind.
        port: u16,
        /// What the system says.
        cause: io::Error,
    },
    /// A socket that was handed over cannot be used.
    #[error("a socket that was handed over (LISTEN_FDS) cannot be used: {0}")]
    HandedSocket(String),
    /// The certificate or its key cannot be used.
    #[error("dashboard.tls: {0}")]
    Certificate(IdentityError),
    /// The key that seals cookies cannot be kept.
    #[error(transparent)]
    SessionKey(#[from] SessionKeyError),
    /// Another dashboard serves the home.
    #[error("another dashboard runs over {0}: end it first, or use another --home")]
    HomeTaken(PathBuf),
    /// The home cannot be used.
    #[error("cannot use {home}: {cause}")]
    Home {
        /// The folder that was to be used.
        home: PathBuf,
        /// What the system says.
        cause: io::Error,
    },
    /// The access log cannot be written.
    #[error("cannot write the access log to {target}: {cause}")]
    AccessLog {
        /// Where it should be written.
        target: AccessLogTarget,
        /// What the system says.
        cause: io::Error,
    },
    /// The sandbox did not come up.
    #[error(transparent)]
    Sandbox(#[from] SandboxError),
    /// Two providers share a name.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// The system has no random numbers.
    #[error("the system gives no random numbers: {0}")]
    Random(getrandom::Error),
    /// A thread could not be started.
    #[error("a thread cannot start: {0}")]
    Thread(io::Error),
}

impl AppError {
    /// Returns whether the command line or the configuration is wrong.
    pub fn is_usage(&self) -> bool {
        matches!(
            self,
            Self::NobodySignsIn(_) | Self::Registry(_) | Self::HandedSocket(_) | Self::Certificate(_)
        )
    }
}

/// The port that addresses with https leave out.
const HTTPS_PORT: u16 = 443;

/// A dashboard that is bound and can serve.
pub struct App {
    sockets: Sockets,
    tls: Option<TlsServer>,
    router: Router,
    redirect: Router,
    audit: AuditLog,
    access_log: Option<AccessLog>,
    feed: Feed,
    reloader: Reloader,
    files: FileWatch,
    loading: Loading,
    ended_people: EndedPeople,
    lock: Option<HomeLock>,
}

/// How people are let in: settled when the process starts.
struct Entry {
    people: Arc<People>,
    must_sign_in: bool,
    /// `--insecure` on an address where they would have to.
    is_open: bool,
}

impl App {
    /// Binds the address, puts the gate together and begins to load the providers.
    ///
    /// # Errors
    /// The dashboard cannot come up.
    pub async fn build(
        config: Config,
        overrides: Overrides,
        insecure: bool,
        access_log: Option<AccessLogTarget>,
    ) -> Result<Self, AppError> {
        let config = &config.with(&overrides);
        // First, so that no change goes unseen between reading a file and watching it.
        let mut files = FileWatch::start(files_of(config));
        let home_failed = |cause| AppError::Home { home: config.home.clone(), cause };
        DirBuilder::new().recursive(true).mode(0o700).create(&config.home).map_err(home_failed)?;
        let lock = take_home(&config.home)?;
        let keys = SessionKeys::load(config)?;
        if keys.is_new {
            files.note_own(&session_key::file(config));
        }
        let dashboard = &config.dashboard;
        let auth_required = dashboard.is_gated() && !insecure;
        let audit = AuditLog::start(&config.home).map_err(AppError::Thread)?;
        let access_log = access_log.map(start_access_log).transpose()?;
        let metrics = Arc::new(Metrics::default());
        let observers = Observers { metrics: metrics.clone(), audit: audit.clone() };
        let certificate = Certificate::load(dashboard, metrics.clone()).map_err(AppError::Certificate)?;
        let tls = certificate.as_ref().map(Certificate::server);
        let sockets = Sockets::open(dashboard).await?;
        let port = sockets.address().ok().map(|address| address.port());
        let names = CookieNames::new(dashboard.cookie_name.as_str(), port);
        let sealer = CookieSealer::new(keys.secrets()).with_names(names);
        let mut loader = ProviderLoader::new(config, Some(observers));
        let loading = loader.begin(config)?;
        let process_token = process_token(config)?;
        let gate = match auth_required {
            true => PeopleGate::Sessions,
            false => PeopleGate::ProcessToken(SecretDigest::of(process_token.expose().as_bytes())),
        };
        let is_open = insecure && dashboard.is_gated();
        let (over, ended) = EndedSessions::open(&config.home).map_err(AppError::Thread)?;
        let (cut_offs, ended_people) = EndedPeople::open(&config.home);
        let sessions = Sessions::with_ended(over, cut_offs);
        let people = Arc::new(People::with_sessions(gate, sessions, session_list::open(&config.home)));
        let entry = Entry { people, must_sign_in: auth_required, is_open };
        let nothing_loaded = loader.collect(config, &loading);
        let roots = &config.environment.system_roots;
        let apps = Arc::new(AppTable::build(&dashboard.apps, roots, &AppTable::default()));
        let serving = live_gate(config, &nothing_loaded, loading.left(), &entry, &apps)?;
        let live = Live::new(Serving { is_ready: false, ..serving });
        warn_of_findings(config);
        tell_of_drain_secret(config);
        if auth_required && dashboard.access.is_unrestricted() {
            tracing::warn!("dashboard.access is not set: everyone who can sign in is an operator");
        }
        if let Some(reason) = dashboard.gate_reason().filter(|_| insecure) {
            tracing::warn!("--insecure: the gate for people is off, although {reason}");
        }
        warn_of_plain_http(dashboard);
        warn_of_any_name(dashboard);
        let drain = drain_control(config);
        let restart = RestartFile::new(&config.home);
        restart.sweep();
        let gateway = GatewayView {
            status: StatusFile::new(&config.home),
            marker: MarkerFile::new(&config.home),
            restart,
            max_marker_age: dashboard.max_marker_age,
            generation: drain.generation(),
            shutdown_grace: config.gateway.shutdown_grace,
            last_trouble: Arc::default(),
        };
        let feed = Feed::new(FeedSources { gateway: gateway.clone(), live: live.clone(), auth_required });
        let home = config.home.clone();
        let https = has_https_alone(dashboard);
        let redirect = https_redirect(host_policy(dashboard), https_port(dashboard, port));
        let state = Dashboard {
            live: live.clone(),
            hosts: host_policy(dashboard),
            sites: sites(dashboard),
            sealer: sealer.clone(),
            sign_ins: SignIns::default(),
            ended: Arc::new(move |id| {
                let ended = ended.clone();
                Box::pin(async move { ended.remember(id).await })
            }),
            cut_off: Arc::new(move |cut_off| Box::pin(ended_people::remember(home.clone(), cut_off))),
            feed: feed.clone(),
            sockets: Arc::new(Semaphore::new(MAX_SOCKETS)),
            audit: audit.clone(),
            access_log: access_log.clone(),
            metrics: metrics.clone(),
            drain,
            gateway,
            page: PageSettings { process_token, auth_required, insecure: is_open },
            headers: SecurityHeaders { https },
            faults: FaultLog::default(),
        };
        let router = router(Arc::new(state));
        let reloader = Reloader {
            running: config.clone(),
            overrides,
            loader,
            entry,
            apps,
            live,
            sealer,
            certificate,
            audit: audit.clone(),
            metrics,
        };
        let app = Self {
            sockets,
            tls,
            router,
            redirect,
            audit,
            access_log,
            feed,
            reloader,
            files,
            loading,
            ended_people,
            lock,
        };
        Ok(app)
    }

    /// The port that was bound.
    ///
    /// # Errors
    /// The system does not report the address.
    pub fn port(&self) -> io::Result<u16> {
        Ok(self.sockets.address()?.port())
    }

    /// Returns the gate that requests pass, also for the end: see [`Live::begin_end`].
    pub fn live(&self) -> Live {
        self.reloader.live.clone()
    }

    /// Serves until `closed` turns true, then lets requests in flight finish. Calls `announce` when requests are answered.
    /// Reloads the providers when asked to, and when one of their files changes.
    ///
    /// # Errors
    /// People must sign in, and none of the providers that were loaded can sign a person in.
    pub async fn serve(
        self,
        reload: ReloadRequest,
        closed: watch::Receiver<bool>,
        announce: impl FnOnce() + Send,
    ) -> Result<(), AppError> {
        let Self {
            sockets,
            tls,
            router,
            redirect,
            audit,
            access_log,
            feed,
            mut reloader,
            files,
            loading,
            ended_people,
            lock,
        } = self;
        let people = reloader.entry.people.clone();
        let keeper = SessionListKeeper::new(&reloader.running.home, people.clone());
        let keeper = reloader.entry.must_sign_in.then(|| tokio::spawn(keeper.run(closed.clone())));
        tokio::spawn(ended_people.follow(people, closed.clone()));
        tokio::spawn(feed.run());
        let (close, listening) = watch::channel(false);
        let proxies = reloader.running.dashboard.trusted_proxies.clone();
        let limits = Limits { proxies, ..Limits::default() };
        let few = few_connections(&limits);
        let served = tokio::spawn(listen::serve(sockets.main, tls, router, limits, listening.clone()));
        let led = sockets
            .redirect
            .map(|socket| tokio::spawn(listen::serve(socket, None, redirect, few, listening)));
        let mut asked = closed.clone();
        let started = start::start(&mut reloader, loading, closed.clone(), announce).await;
        if started.is_ok() {
            tokio::spawn(reloader.run(files, reload, closed));
            // An error means that the sender is gone: the process is ending.
            let _ = asked.wait_for(|closed| *closed).await;
        }
        close.send_replace(true);
        let _ = served.await;
        if let Some(led) = led {
            let _ = led.await;
        }
        if let Some(keeper) = keeper {
            finish(keeper, started.is_err()).await;
        }
        // Joining the writers waits for a disk.
        let end_logs = move || {
            audit.close();
            access_log.iter().for_each(AccessLog::close);
        };
        let _ = tokio::task::spawn_blocking(end_logs).await;
        drop(lock);
        started
    }
}

fn start_access_log(target: AccessLogTarget) -> Result<AccessLog, AppError> {
    AccessLog::start(&target).map_err(|cause| AppError::AccessLog { target, cause })
}

/// Writes the list of sessions for the last time. A start that failed ends without `closed`, which the keeper waits for.
async fn finish(keeper: JoinHandle<SessionListKeeper>, is_aborted: bool) {
    if is_aborted {
        keeper.abort();
    }
    if let Ok(keeper) = keeper.await {
        keeper.finish().await;
    }
}

/// One dashboard a home: a second one would not know who signed out at the first. `None`: nothing can be written to the
/// home, so there is nothing to share.
fn take_home(home: &Path) -> Result<Option<HomeLock>, AppError> {
    match HomeLock::take(&home.join(DASHBOARD_LOCK), &[]) {
        Ok(Some(lock)) => Ok(Some(lock)),
        Ok(None) => Err(AppError::HomeTaken(home.to_owned())),
        Err(error) if error.kind() == io::ErrorKind::ReadOnlyFilesystem => {
            tracing::warn!(home = %home.display(), "the home is on a read-only file system");
            Ok(None)
        }
        Err(cause) => Err(AppError::Home { home: home.join(DASHBOARD_LOCK), cause }),
    }
}

/// Markers get the epoch of the gateway that runs over the home.
fn drain_control(config: &Config) -> DrainControl {
    let status = StatusFile::new(&config.home);
    let epoch = Box::new(move || status.read().epoch);
    DrainControl::start(MarkerFile::new(&config.home), config.dashboard.max_marker_age, epoch)
}

/// For a listener that only leads elsewhere: what it answers takes no time.
fn few_connections(limits: &Limits) -> Limits {
    Limits {
        connections: (limits.connections / 8).max(1),
        connections_per_address: (limits.connections_per_address / 8).max(1),
        ..limits.clone()
    }
}

/// Returns whether answers carry `Strict-Transport-Security`. On a loopback name, browsers would then refuse every other
/// application of the machine.
fn has_https_alone(dashboard: &DashboardConfig) -> bool {
    match &dashboard.public_url {
        Some(url) => url.https,
        None => dashboard.tls.is_some() && !is_loopback_name(&dashboard.host),
    }
}

/// The port by which people reach the dashboard over https: of `public_url`, else the one that was bound.
fn https_port(dashboard: &DashboardConfig, bound: Option<u16>) -> u16 {
    let public = dashboard.public_url.as_ref().map(|url| url.port.unwrap_or(HTTPS_PORT));
    public.or(bound).unwrap_or(HTTPS_PORT)
}

fn warn_of_plain_http(dashboard: &DashboardConfig) {
    if dashboard.is_reached_in_clear() {
        tracing::warn!(
            host = dashboard.host,
            "people reach this dashboard by plain http, so passwords and sessions can be read on the way: set \
             dashboard.tls; or put a proxy that ends TLS in front, and set dashboard.public_url to its https address or \
             dashboard.trusted_proxies to its own"
        );
    }
}

fn warn_of_any_name(dashboard: &DashboardConfig) {
    if dashboard.answers_to_every_name() {
        tracing::warn!(
            host = dashboard.host,
            "the dashboard answers to every name, and an identity provider is told to send people back to the name in the \
             request's Host: set dashboard.public_url"
        );
    }
}

/// The token that the page at `/` carries: from the environment, or made for this process.
fn process_token(config: &Config) -> Result<BearerToken, AppError> {
    let text = match &config.environment.session_token {
        Some(token) => token.expose().to_owned(),
        None => generate_secret().map_err(AppError::Random)?,
    };
    Ok(BearerToken::by_hand(text))
}

fn host_policy(dashboard: &DashboardConfig) -> HostPolicy {
    let public = dashboard.public_url.as_ref();
    let names = dashboard.allowed_hosts.iter().cloned().chain(public.map(|url| url.host.clone()));
    HostPolicy::new(&dashboard.host, names, public.map(origin))
}

fn sites(dashboard: &DashboardConfig) -> Sites {
    let public = dashboard.public_url.as_ref();
    let public = public.map(|url| PublicSite {
        origin: origin(url).into(),
        prefix: url.path.clone(),
        https: url.https,
    });
    let proxies = Arc::new(TrustedProxies::new(dashboard.trusted_proxies.clone()));
    Sites { public, proxies }
}

fn origin(url: &PublicUrl) -> String {
    let scheme = if url.https { "https" } else { "http" };
    let host = if url.host.contains(':') { format!("[{}]", url.host) } else { url.host.clone() };
    let port = url.port.map(|port| format!(":{port}")).unwrap_or_default();
    format!("{scheme}://{host}{port}")
}

/// Builds what requests pass: everything that a reload replaces. `loading` is the number of providers that are still being
/// loaded, one of which may be able to sign people in.
fn live_gate(
    config: &Config,
    providers: &Providers,
    loading: usize,
    entry: &Entry,
    apps: &Arc<AppTable>,
) -> Result<Serving, AppError> {
    let nobody_signs_in = loading == 0 && !providers.registered.iter().any(Registered::signs_people_in);
    if let Some(reason) = config.dashboard.gate_reason().filter(|_| entry.must_sign_in && nobody_signs_in) {
        return Err(AppError::NobodySignsIn(reason));
    }
    let refused = providers.reports.iter().filter_map(ProviderReport::refused).collect();
    let gate = build_gate(config, providers.registered.clone(), entry)?;
    Ok(Serving { gate, apps: apps.clone(), refused, loading, is_ready: loading == 0 })
}

/// The drain secret's provider stands before every other, so no guest ever sees a drain token that matches.
///
/// Where the gate for people is open, anyone can read this process's token: the drain routes then are token routes
/// even without a secret, and so shut. The restart routes are shut there for the drain secret as well, unless the
/// configuration makes one a token route.
fn build_gate(config: &Config, mut providers: Vec<Registered>, entry: &Entry) -> Result<Gate, AppError> {
    let scope = &config.dashboard.drain_scope;
    let mut routes = TokenRoutes::default().with(WHOAMI_PATH, Required::NoScope);
    if entry.is_open {
        for path in [DRAIN_PATH, PAGE_DRAIN_PATH] {
            routes = routes.with(path, Required::Scope(scope.clone()));
        }
        for path in [RESTART_PATH, PAGE_RESTART_PATH] {
            routes = routes.with(path, Required::Closed);
        }
    }
    for (path, scope) in &config.dashboard.token_routes {
        routes = routes.with(path, Required::Scope(scope.clone()));
    }
    if let Ok(secrets) = drain_secrets(config) {
        providers.insert(0, drain_provider(secrets, scope));
        routes = routes.with(DRAIN_PATH, Required::Scope(scope.clone()));
    }
    let gate = Gate::new(routes, Registry::new(providers)?, entry.people.clone());
    Ok(gate.with_access(config.dashboard.access.clone()))
}

fn warn_of_findings(config: &Config) {
    for finding in &config.findings {
        tracing::warn!("{}", finding.text);
    }
}

fn tell_of_drain_secret(config: &Config) {
    if let Err(reason) = drain_secrets(config) {
        tracing::warn!(reason, "no drain secret: the drain route stays behind the gate");
    }
}

fn report(report: &ProviderReport, audit: &AuditLog) {
    match &report.outcome {
        Ok(inspection) => {
            tracing::info!(provider = %report.name, sha256 = inspection.sha256, "provider loaded");
            let record = Record::now(EventName::ProviderLoaded)
                .with("provider", report.name.as_str())
                .with("sha256", inspection.sha256.as_str());
            audit.write(record);
        }
        Err(error) => {
            tracing::error!(provider = %report.name, place = report.place, %error, "provider refused");
            let record = Record::now(EventName::ProviderRefused)
                .with("provider", report.name.as_str())
                .with("reason", error.to_string());
            audit.write(record);
        }
    }
}
