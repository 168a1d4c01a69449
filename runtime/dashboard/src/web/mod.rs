//! The dashboard over HTTP: what a request passes on its way in, and the handlers behind.
//!
//! **Invariant:** every request passes the guard, then the gate, before any handler; a handler that
//! needs a permit and finds none answers 500. Nothing here knows whether a provider is native or in
//! a sandbox.

mod access_log;
mod account;
mod apps;
mod authority;
mod body;
mod branding;
mod client;
mod context;
mod cookie_name;
mod drain;
mod excerpt;
mod fault_log;
mod fields;
mod forward_auth;
mod forwarded;
mod gate_layer;
mod guard;
mod host_policy;
mod https_redirect;
mod live;
mod live_page;
mod metrics;
mod openapi;
mod outer_layer;
mod outside;
mod page;
mod page_action;
mod parameters;
mod plain_target;
mod rechecks;
mod request_cookies;
mod request_id;
mod respond;
mod restart;
mod routes;
mod sent_credentials;
mod session_cookie;
mod sessions;
mod sign_in;
mod site;
mod spans;
mod status;
mod view;
mod whoami;

pub use access_log::{AccessLog, AccessLogTarget};
pub use apps::{
    AppLimits, AppSettings, AppTable, Preset, Upstream, below_own_prefix, is_always_own,
    is_of_the_host as is_header_of_the_host, owner_of_path, why_unreachable,
};
pub use branding::{Accent, BadAccent, BadLogo, Branding, Logo, MAX_LOGO_BYTES};
pub use client::TrustedProxies;
pub use cookie_name::{CookieNames, DEFAULT_COOKIE_NAME};
pub use fault_log::FaultLog;
pub use host_policy::HostPolicy;
pub use https_redirect::https_redirect;
pub use live::{Feed, FeedSources, Live, RefusedProvider, Serving};
pub use metrics::Metrics;
pub use openapi::openapi;
pub use rechecks::Rechecks;
pub use respond::SecurityHeaders;
pub use routes::{
    BUILT_IN_TOKEN_ROUTES, DRAIN_PATH, PAGE_DRAIN_PATH, PAGE_RESTART_PATH, PEOPLE_PATHS,
    RESTART_PATH, SERVED_PATHS, WHOAMI_PATH, router,
};
pub use session_cookie::CookieSealer;
pub use sign_in::SignIns;
pub use site::{PublicSite, Sites, is_plain_prefix};

use crate::audit::AuditLog;
use crate::drain::DrainControl;
use portcullis_auth::{BoxFuture, CallFault, CutOff, Registered, SessionId};
use portcullis_home::MarkerFile;
use portcullis_home::{RestartFile, StatusFile};
use portcullis_observe::telemetry::Telemetry;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::{Semaphore, watch};

/// What the handlers share.
pub struct Dashboard {
    /// The gate and the providers, which a reload swaps together.
    pub live: Live,
    /// Which names the dashboard answers to.
    pub hosts: HostPolicy,
    /// How requests reach the dashboard, and whose forwarding headers are believed.
    pub sites: Sites,
    /// Seals and opens cookies.
    pub sealer: CookieSealer,
    /// The state that all sign-ins share.
    pub sign_ins: SignIns,
    /// Bounds the checks of sessions and tokens that no request waits for.
    pub rechecks: Rechecks,
    /// Writes down that a session is over. Waits for the disk, and returns whether it is there.
    pub ended: Arc<dyn Fn(SessionId) -> BoxFuture<'static, bool> + Send + Sync>,
    /// The same for a cut-off.
    pub cut_off: Arc<dyn Fn(CutOff) -> BoxFuture<'static, bool> + Send + Sync>,
    /// What is shown as it happens.
    pub feed: Feed,
    /// Web sockets that may be open at once.
    pub sockets: Arc<Semaphore>,
    /// The audit log, which takes all events.
    pub audit: AuditLog,
    /// Where answered requests are logged. `None`: nowhere.
    pub access_log: Option<AccessLog>,
    /// Makes the spans of requests. `None`: there are none.
    pub telemetry: Option<Arc<Telemetry>>,
    /// The metrics of the process.
    pub metrics: Arc<Metrics>,
    /// Begins and cancels drains.
    pub drain: DrainControl,
    /// What is shown of the gateway.
    pub gateway: GatewayFiles,
    /// What the page at `/` shows and carries.
    pub page: PageSettings,
    /// What every answer says to browsers.
    pub headers: SecurityHeaders,
    /// Bounds how often a provider's faults are logged.
    pub faults: FaultLog,
    /// Turns true when the dashboard ends. Requests that wait for a change are then answered as
    /// things are, since the listener drops what is in flight after a few seconds.
    pub closed: watch::Receiver<bool>,
}

/// Web sockets that may be open at once.
pub const MAX_SOCKETS: usize = 256;

impl Dashboard {
    /// Returns whether the dashboard ends, so that no request should wait.
    fn is_closing(&self) -> bool {
        *self.closed.borrow()
    }

    /// Waits until the dashboard ends.
    async fn closes(&self) {
        let mut closed = self.closed.clone();
        // An error means that the sender is gone: the process is ending.
        let _ = closed.wait_for(|closed| *closed).await;
    }

    /// Counts a provider's fault, and logs it.
    fn tell_fault(&self, registered: &Registered, fault: &CallFault) {
        self.metrics.fault(&registered.name, &fault.fault);
        self.faults.tell(
            &registered.name,
            registered.component.as_deref(),
            fault,
            &self.audit,
        );
    }
}

/// Where the state of the gateway is read.
#[derive(Clone)]
pub struct GatewayFiles {
    /// The gateway's own word.
    pub status: StatusFile,
    /// The file with the drain marker.
    pub marker: MarkerFile,
    /// Where a restart is requested.
    pub restart: RestartFile,
    /// How old a marker may get.
    pub max_marker_age: Duration,
    /// How many changes of the drain there were.
    pub generation: watch::Receiver<u64>,
    /// How long turns in flight may run on after the gateway received SIGTERM.
    pub shutdown_grace: Duration,
    /// Why the gateway's state was unknown at the last look, so that each reason is logged once.
    pub last_trouble: Arc<Mutex<Option<String>>>,
}

/// What the page needs to know.
pub struct PageSettings {
    /// This process's token, which the page at `/` carries, and only that.
    pub process_token: portcullis_auth::BearerToken,
    /// Whether people must sign in.
    pub auth_required: bool,
    /// Whether the operator removed the gate with `--insecure`.
    pub insecure: bool,
    /// The name of the machine that the dashboard runs on.
    pub machine: String,
}

impl PageSettings {
    /// Returns whether the dashboard is for this machine alone: the address alone protects the
    /// page's token.
    fn is_local(&self) -> bool {
        !self.auth_required && !self.insecure
    }
}
