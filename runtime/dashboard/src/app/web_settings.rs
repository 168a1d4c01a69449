//! From the configuration to the settings of the web: names, sites, cookies and connections.

use super::session_key::SessionKeys;
use crate::config::{ConnectionSettings, DashboardConfig, PublicUrl, is_loopback_name};
use crate::web::{CookieNames, CookieSealer, HostPolicy, PublicSite, Sites, TrustedProxies};
use portcullis_net::listen::ConnectionLimits;
use std::sync::Arc;
use std::time::Duration;

/// The port that addresses with https leave out.
const HTTPS_PORT: u16 = 443;

/// How long `/readyz` answers 503 to new connections at the end, so that a load balancer notices
/// it.
const SHUTDOWN_NOTICE: Duration = Duration::from_secs(1);

/// Cookies have names of their own per port, since browsers send the cookies of a host to all its
/// ports.
pub(super) fn cookie_sealer(
    dashboard: &DashboardConfig,
    keys: &SessionKeys,
    port: Option<u16>,
) -> CookieSealer {
    let names = CookieNames::new(dashboard.cookie_name.as_str(), port);
    CookieSealer::new(keys.secrets()).with_names(names)
}

pub(super) fn connection_limits(dashboard: &DashboardConfig) -> ConnectionLimits {
    let ConnectionSettings {
        in_all,
        per_address,
    } = dashboard.connections;
    let proxies = dashboard.trusted_proxies.clone();
    ConnectionLimits {
        proxies,
        shutdown_notice: SHUTDOWN_NOTICE,
        ..ConnectionLimits::with_connections(in_all, per_address)
    }
}

/// The limits of a listener that only redirects: an eighth of the connections, since its answers
/// take no time.
pub(super) fn few_connections(limits: &ConnectionLimits) -> ConnectionLimits {
    ConnectionLimits {
        connections: (limits.connections / 8).max(1),
        connections_per_address: (limits.connections_per_address / 8).max(1),
        ..limits.clone()
    }
}

/// Returns whether answers carry `Strict-Transport-Security`. On a loopback name, browsers would
/// then refuse every other application of the machine.
pub(super) fn has_https_alone(dashboard: &DashboardConfig) -> bool {
    match &dashboard.public_url {
        Some(url) => url.https,
        None => dashboard.tls.is_some() && !is_loopback_name(&dashboard.host),
    }
}

/// The port by which people reach the dashboard over https: of `public_url`, else the one that was
/// bound.
pub(super) fn https_port(dashboard: &DashboardConfig, bound: Option<u16>) -> u16 {
    let public = dashboard
        .public_url
        .as_ref()
        .map(|url| url.port.unwrap_or(HTTPS_PORT));
    public.or(bound).unwrap_or(HTTPS_PORT)
}

pub(super) fn host_policy(dashboard: &DashboardConfig) -> HostPolicy {
    let public = dashboard.public_url.as_ref();
    let names = dashboard
        .allowed_hosts
        .iter()
        .cloned()
        .chain(public.map(|url| url.host.clone()));
    HostPolicy::new(&dashboard.host, names, public.map(origin))
}

pub(super) fn sites(dashboard: &DashboardConfig) -> Sites {
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
    let host = if url.host.contains(':') {
        format!("[{}]", url.host)
    } else {
        url.host.clone()
    };
    let port = url.port.map(|port| format!(":{port}")).unwrap_or_default();
    format!("{scheme}://{host}{port}")
}
