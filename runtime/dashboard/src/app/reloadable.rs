//! Which settings a reload takes over, and which belong to the process.

use crate::config::DashboardConfig;
use portcullis_net::tls::TlsSettings;

/// What a reload can do about the settings that have changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reloadable {
    /// It takes over all of them.
    Whole,
    /// It takes over some of them. The others wait for a restart.
    Partly,
    /// It is refused, since this key of `dashboard` has changed.
    Not(&'static str),
}

/// Compares the settings that belong to the process. Every setting is named, so that the compiler
/// asks what a reload does with a new one.
pub(super) fn reloadable(old: &DashboardConfig, new: &DashboardConfig) -> Reloadable {
    let DashboardConfig {
        drain_scope,
        min_secret_chars,
        public_url,
        host,
        port,
        tls,
        acme,
        redirect_http,
        allowed_hosts,
        trusted_proxies,
        connections,
        cookie_name,
        max_marker_age,
        guest_memory_bytes,
        telemetry,
        // `taken_over` takes these.
        session_keys: _,
        drain_secrets: _,
        providers: _,
        token_routes: _,
        access: _,
        apps: _,
        branding: _,
    } = new;

    // A scope that is no longer the drain scope in the file still is in this process.
    if *drain_scope != old.drain_scope || *min_secret_chars != old.min_secret_chars {
        return Reloadable::Not("drain_auth");
    }
    if *public_url != old.public_url {
        return Reloadable::Not("public_url");
    }

    let is_waiting = *host != old.host
        || *port != old.port
        || changes_tls(old.tls.as_ref(), tls.as_ref())
        || *acme != old.acme
        || *redirect_http != old.redirect_http
        || *allowed_hosts != old.allowed_hosts
        || *trusted_proxies != old.trusted_proxies
        || *connections != old.connections
        || *cookie_name != old.cookie_name
        || *max_marker_age != old.max_marker_age
        || *guest_memory_bytes != old.guest_memory_bytes
        || *telemetry != old.telemetry;

    if is_waiting {
        Reloadable::Partly
    } else {
        Reloadable::Whole
    }
}

/// Returns the settings that run, with those of `new` that a reload takes over.
pub(super) fn taken_over(old: &DashboardConfig, new: DashboardConfig) -> DashboardConfig {
    let are_files = old.acme.is_none() && new.acme.is_none();
    let mut tls = old.tls.clone();
    if let Some((tls, new)) = tls.as_mut().zip(new.tls)
        && are_files
    {
        (tls.certificate, tls.key) = (new.certificate, new.key);
    }

    DashboardConfig {
        tls,
        session_keys: new.session_keys,
        drain_secrets: new.drain_secrets,
        providers: new.providers,
        token_routes: new.token_routes,
        access: new.access,
        apps: new.apps,
        branding: new.branding,
        ..old.clone()
    }
}

/// Returns whether more of `dashboard.tls` has changed than where certificate and key are.
fn changes_tls(old: Option<&TlsSettings>, new: Option<&TlsSettings>) -> bool {
    let rest = |tls: &TlsSettings| {
        let TlsSettings {
            certificate: _,
            key: _,
            client_ca,
            min_version,
        } = tls;
        (client_ca.clone(), *min_version)
    };
    old.map(rest) != new.map(rest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Environment, load_text};

    fn settings(text: &str) -> DashboardConfig {
        load_text("/home".into(), None, text, Environment::default())
            .unwrap()
            .dashboard
    }

    #[test]
    fn settings_of_the_process_wait_for_a_restart_or_refuse_the_reload() {
        let old = settings("dashboard: {port: 9119}");
        for (text, expected) in [
            ("dashboard: {port: 9119}", Reloadable::Whole),
            (
                "dashboard: {port: 9119, branding: {title: Acme}}",
                Reloadable::Whole,
            ),
            ("dashboard: {port: 9120}", Reloadable::Partly),
            (
                "dashboard: {port: 9120, branding: {title: Acme}}",
                Reloadable::Partly,
            ),
            (
                "dashboard: {port: 9119, public_url: 'https://agent.example'}",
                Reloadable::Not("public_url"),
            ),
        ] {
            assert_eq!(reloadable(&old, &settings(text)), expected, "{text}");
        }
    }

    #[test]
    fn reload_takes_over_the_branding_and_not_the_port() {
        let old = settings("dashboard: {port: 9119}");
        let merged = taken_over(
            &old,
            settings("dashboard: {port: 9120, branding: {title: Acme}}"),
        );
        assert_eq!(
            (merged.port, merged.branding.title.as_deref()),
            (9119, Some("Acme"))
        );
    }
}
