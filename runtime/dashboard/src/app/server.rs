//! The dashboard that is bound and serves.

use super::certificates::Certificates;
use super::ended_people::{self, EndedPeople};
use super::file_watch::FileWatch;
use super::gate::{first_live, require_sign_in};
use super::home::{drain_control, gateway_view, prepare_home};
use super::loading::Loading;
use super::ordered_certificate::OrderedCertificate;
use super::people_access::{OpenedPeople, must_sign_in};
use super::providers::{Observers, ProviderLoader, Touch, load_providers};
use super::reload::{ReloadRequest, Reloader, files_of};
use super::session_key::{self, SessionKeys};
use super::session_list::SessionListKeeper;
use super::sockets::Sockets;
use super::warnings::{warn_of_findings, warn_of_settings};
use super::web_settings::{
    connection_limits, cookie_sealer, few_connections, has_https_alone, host_policy, https_port,
    sites,
};
use super::{StartError, start};
use crate::audit::AuditLog;
use crate::config::{Config, Overrides};
use crate::web::{
    AccessLog, AccessLogTarget, AppTable, Dashboard, FaultLog, Feed, FeedSources, Live,
    MAX_SOCKETS, Metrics, PageSettings, Rechecks, SecurityHeaders, SignIns, https_redirect, router,
};
use axum::Router;
use portcullis_auth::BearerToken;
use portcullis_auth::secret_strength::generate_secret;
use portcullis_home::home_lock::HomeLock;
use portcullis_net::listen;
use portcullis_net::tls::TlsServer;
use portcullis_observe::telemetry::Telemetry;
use std::io;
use std::sync::Arc;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinHandle;

/// A dashboard that is bound and can serve.
pub struct Server {
    sockets: Sockets,
    tls: Option<TlsServer>,
    /// `None`: there is no `dashboard.tls.acme`.
    ordered: Option<OrderedCertificate>,
    router: Router,
    redirect: Router,
    audit: AuditLog,
    access_log: Option<AccessLog>,
    telemetry: Option<Arc<Telemetry>>,
    feed: Feed,
    reloader: Reloader,
    files: FileWatch,
    loading: Loading,
    ended_people: EndedPeople,
    closed: watch::Receiver<bool>,
    lock: Option<HomeLock>,
}

impl Server {
    /// Binds the address, puts the gate together and begins to load the providers. The server ends
    /// when `closed` turns true.
    ///
    /// # Errors
    /// The dashboard cannot come up.
    pub async fn build(
        config: Config,
        overrides: Overrides,
        insecure: bool,
        access_log: Option<AccessLogTarget>,
        closed: watch::Receiver<bool>,
    ) -> Result<Self, StartError> {
        let config = &config.with(&overrides);
        let dashboard = &config.dashboard;
        let must_sign_in = must_sign_in(dashboard, insecure);
        warn_of_findings(config);
        if dashboard.providers.is_empty() {
            // Before an address is bound: another address would not help.
            require_sign_in(dashboard, must_sign_in, &[])?;
        }

        // Before the files are read, so that no change goes unseen between reading a file and watching it.
        let mut files = FileWatch::start(files_of(config));
        let lock = prepare_home(&config.home)?;
        let keys = SessionKeys::load(config)?;
        if keys.is_new {
            files.note_own(&session_key::file(config));
        }

        let audit = AuditLog::start(&config.home).map_err(StartError::Thread)?;
        let access_log = access_log.map(start_access_log).transpose()?;
        let metrics = Arc::new(Metrics::default());
        let certificates = Certificates::load(config, &metrics)?;
        let tls = certificates.server();

        let sockets = match Sockets::open(dashboard).await {
            Err(error @ StartError::Listen { .. }) if must_sign_in => {
                return Err(reason_not_to_listen(config, error).await);
            }
            opened => opened?,
        };
        let port = sockets.address().ok().map(|address| address.port());
        let sealer = cookie_sealer(dashboard, &keys, port);

        let observers = Observers {
            metrics: metrics.clone(),
            audit: audit.clone(),
        };
        let mut loader = ProviderLoader::new(config, Some(observers));
        let loading = loader.begin(config)?;

        let process_token = process_token(config)?;
        let OpenedPeople {
            people_access,
            ended,
            ended_people,
        } = OpenedPeople::open(config, insecure, &process_token)?;
        let (auth_required, is_open) = (people_access.must_sign_in, people_access.is_open);

        let roots = &config.environment.system_roots;
        let apps = Arc::new(AppTable::build(
            &dashboard.apps,
            roots,
            &AppTable::default(),
        ));
        let telemetry = dashboard
            .telemetry
            .as_ref()
            .map(|otlp| Arc::new(Telemetry::start(otlp, roots)));
        let live = first_live(config, &loader, &loading, &people_access, &apps)?;
        warn_of_settings(config, auth_required, insecure);

        let drain = drain_control(config).map_err(StartError::Thread)?;
        let gateway = gateway_view(config, &drain);
        let feed = Feed::new(FeedSources {
            gateway: gateway.clone(),
            live: live.clone(),
            auth_required,
        });
        let answers = certificates
            .ordered
            .as_ref()
            .map(OrderedCertificate::http_answers)
            .unwrap_or_default();
        let redirect = https_redirect(host_policy(dashboard), https_port(dashboard, port), answers);

        let home = config.home.clone();
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
            cut_off: Arc::new(move |cut_off| {
                Box::pin(ended_people::remember(home.clone(), cut_off))
            }),
            feed: feed.clone(),
            sockets: Arc::new(Semaphore::new(MAX_SOCKETS)),
            rechecks: Rechecks::default(),
            audit: audit.clone(),
            access_log: access_log.clone(),
            telemetry: telemetry.clone(),
            metrics: metrics.clone(),
            drain,
            gateway,
            page: PageSettings {
                process_token,
                auth_required,
                insecure: is_open,
                machine: machine(),
            },
            headers: SecurityHeaders {
                https: has_https_alone(dashboard),
            },
            faults: FaultLog::default(),
            closed: closed.clone(),
        };
        let router = router(Arc::new(state));

        let reloader = Reloader {
            running: config.clone(),
            overrides,
            loader,
            people_access,
            apps,
            live,
            sealer,
            certificate: certificates.of_files,
            audit: audit.clone(),
            metrics,
            must_retry: false,
        };
        Ok(Self {
            sockets,
            tls,
            ordered: certificates.ordered,
            router,
            redirect,
            audit,
            access_log,
            telemetry,
            feed,
            reloader,
            files,
            loading,
            ended_people,
            closed,
            lock,
        })
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

    /// Serves until the `closed` of [`Server::build`] turns true, then lets requests in flight
    /// finish. Calls `announce` when requests are answered. Reloads the providers when asked to,
    /// and when one of their files changes.
    ///
    /// # Errors
    /// People must sign in, and none of the providers that were loaded can sign a person in.
    pub async fn serve(
        self,
        reload: ReloadRequest,
        announce: impl FnOnce() + Send,
    ) -> Result<(), StartError> {
        let Self {
            sockets,
            tls,
            ordered,
            router,
            redirect,
            audit,
            access_log,
            telemetry,
            feed,
            mut reloader,
            files,
            loading,
            ended_people,
            closed,
            lock,
        } = self;

        let people = reloader.people_access.people.clone();
        let keeper = SessionListKeeper::new(&reloader.running.home, people.clone());
        let keeper = reloader
            .people_access
            .must_sign_in
            .then(|| tokio::spawn(keeper.run(closed.clone())));
        tokio::spawn(ended_people.follow(people, closed.clone()));
        tokio::spawn(feed.run());

        let (close, listening) = watch::channel(false);
        let limits = connection_limits(&reloader.running.dashboard);
        let few = few_connections(&limits);
        let served = tokio::spawn(listen::serve(
            sockets.main,
            tls,
            router,
            limits,
            listening.clone(),
        ));
        if let Some(ordered) = ordered {
            // The directory connects to the listener, which is there by now.
            tokio::spawn(ordered.run(closed.clone()));
        }
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
        if let Some(telemetry) = telemetry {
            telemetry.close().await;
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

/// Returns why a dashboard whose people must sign in cannot start, after `error` kept it from
/// listening. What a provider can do is known once it is loaded. That none can sign people in is the
/// more useful reason: with another address the dashboard would not start either.
async fn reason_not_to_listen(config: &Config, error: StartError) -> StartError {
    let Ok(providers) = load_providers(config, Touch::Nothing).await else {
        return error;
    };
    let judged = require_sign_in(&config.dashboard, true, &providers.registered);
    judged.err().unwrap_or(error)
}

fn start_access_log(target: AccessLogTarget) -> Result<AccessLog, StartError> {
    AccessLog::start(&target).map_err(|cause| StartError::AccessLog { target, cause })
}

/// Writes the list of sessions for the last time. A start that failed ends without `closed`, which
/// the keeper waits for.
async fn finish(keeper: JoinHandle<SessionListKeeper>, is_aborted: bool) {
    if is_aborted {
        keeper.abort();
    }
    if let Ok(keeper) = keeper.await {
        keeper.finish().await;
    }
}

/// The name of the machine, for people: several dashboards can have the same address, each at the
/// end of a tunnel.
fn machine() -> String {
    rustix::system::uname()
        .nodename()
        .to_string_lossy()
        .into_owned()
}

/// The token that the page at `/` carries: from the environment, or made for this process.
fn process_token(config: &Config) -> Result<BearerToken, StartError> {
    let text = match &config.environment.session_token {
        Some(token) => token.expose().to_owned(),
        None => generate_secret().map_err(StartError::Random)?,
    };
    Ok(BearerToken::by_hand(text))
}
