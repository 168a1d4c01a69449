//! The dashboard over HTTP: what a request passes on its way in, and the handlers behind.
//!
//! **Invariant:** every request passes the guard, then the gate, before any handler; a handler that needs a
//! permit and finds none answers 500. Nothing here knows whether a provider is native or in a sandbox.

mod body;
mod client;
mod drain;
mod fault_log;
mod gate_layer;
mod guard;
mod live;
mod metrics;
mod page;
mod respond;
mod routes;
mod status;
mod whoami;

pub use client::TrustedProxies;
pub use fault_log::FaultLog;
pub use guard::HostPolicy;
pub use live::{Live, Serving};
pub use metrics::{Measured, Metrics};
pub use respond::SecurityHeaders;
pub use routes::{BUILT_IN_TOKEN_ROUTES, DRAIN_PATH, SERVED_PATHS, WHOAMI_PATH, router};

use crate::audit::AuditLog;
use crate::drain::{DrainControl, Epoch, MarkerFile};
use crate::gateway::StatusFile;
use std::sync::Arc;
use std::time::Duration;

/// What the handlers share.
#[derive(Clone)]
pub struct Dashboard {
    /// Who gets through, and who is asked: swapped as one when providers are reloaded.
    pub live: Live,
    /// Which names the dashboard answers to.
    pub hosts: Arc<HostPolicy>,
    /// Whose forwarding headers are believed.
    pub proxies: Arc<TrustedProxies>,
    /// Where events go.
    pub audit: AuditLog,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// Begins and cancels drains.
    pub drain: DrainControl,
    /// What is shown of the gateway.
    pub gateway: GatewayView,
    /// What the page at `/` shows and carries.
    pub page: Arc<PageSettings>,
    /// What is told of providers' faults.
    pub faults: FaultLog,
}

/// Where the state of the gateway is read.
#[derive(Clone)]
pub struct GatewayView {
    /// The gateway's own word.
    pub status: StatusFile,
    /// The marker.
    pub marker: MarkerFile,
    /// The present epoch.
    pub epoch: Option<Epoch>,
    /// How old a marker may get.
    pub max_marker_age: Duration,
}

/// What the page needs to know.
pub struct PageSettings {
    /// This process's token, which the page at `/` carries, and only that.
    pub process_token: crate::auth::BearerToken,
    /// Must people sign in?
    pub auth_required: bool,
    /// Was the gate taken off by hand?
    pub insecure: bool,
}
