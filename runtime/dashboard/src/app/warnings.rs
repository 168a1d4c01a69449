//! What the operator has to know of the settings, for the log.

use super::drain_secret::drain_secrets;
use crate::config::{Config, DashboardConfig};

/// Logs what the operator has to know of the settings, beside their findings.
pub(super) fn warn_of_settings(config: &Config, auth_required: bool, insecure: bool) {
    let dashboard = &config.dashboard;
    tell_of_drain_secret(config);
    if auth_required && dashboard.access.is_unrestricted() {
        tracing::warn!("dashboard.access is not set: everyone who can sign in is an operator");
    }
    if let Some(reason) = dashboard.gate_reason().filter(|_| insecure) {
        tracing::warn!("--insecure: the gate for people is off, although {reason}");
    }
    warn_of_plain_http(dashboard);
    warn_of_any_name(dashboard);
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

/// Logs the findings of the settings, which `config check` prints too. This comes before everything
/// that may end the start: a variable that is not used may be the reason for that end.
pub(super) fn warn_of_findings(config: &Config) {
    for finding in &config.findings {
        tracing::warn!("{}", finding.text);
    }
}

fn tell_of_drain_secret(config: &Config) {
    if let Err(reason) = drain_secrets(config) {
        tracing::warn!(
            reason,
            "no drain secret: the drain route stays behind the gate"
        );
    }
}
