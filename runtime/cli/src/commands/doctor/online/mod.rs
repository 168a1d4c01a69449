//! Asks the issuers of the bundled providers what a first sign-in would need of them:
//! `config check --online` and `doctor --online`.
//!
//! **Invariant:** no credential goes to an address that the provider was not granted.

mod client;
mod issuer;
mod keys;
mod token;

use super::Finding;
use client::GrantedClient;
use portcullis_dashboard::config::{ComponentRef, Config, ProviderConfig};
use rustls::pki_types::CertificateDer;

const CHECK: &str = "online";

/// Asks the issuer of each provider that has one.
pub(in crate::commands) fn check(config: &Config) -> Vec<Finding> {
    let system = config.environment.system_roots.load();
    let providers = config.dashboard.providers.iter();
    let findings: Vec<_> = providers
        .flat_map(|provider| of_provider(provider, &system))
        .collect();
    match findings.is_empty() {
        true => vec![Finding::ok(CHECK, "no provider asks an issuer")],
        false => findings,
    }
}

fn of_provider(provider: &ProviderConfig, system: &[CertificateDer<'static>]) -> Vec<Finding> {
    let ComponentRef::Builtin(name) = &provider.component else {
        let what = format!("{}: what it asks is not known", provider.name);
        let is_asking = !provider.grants.http.is_empty();
        return is_asking
            .then(|| Finding::unknown(CHECK, what))
            .into_iter()
            .collect();
    };

    let client = GrantedClient::new(&provider.grants.http, system);
    match name.as_str() {
        "oidc" => issuer::check(provider, &client),
        "nous" => of_nous(provider, &client),
        "jwt" => of_jwt(provider, &client),
        _ => Vec::new(),
    }
}

/// The portal announces nothing: its addresses are fixed.
fn of_nous(provider: &ProviderConfig, client: &GrantedClient<'_>) -> Vec<Finding> {
    let Some(portal) = provider.settings.get("portal_url") else {
        return Vec::new();
    };
    let portal = portal.trim_end_matches('/');
    let keys = keys::check(provider, client, &format!("{portal}/.well-known/jwks.json"));
    let token = token::check(provider, client, &format!("{portal}/api/oauth/token"), &[]);
    vec![keys, token]
}

fn of_jwt(provider: &ProviderConfig, client: &GrantedClient<'_>) -> Vec<Finding> {
    match provider.settings.get("jwks_url") {
        Some(url) => vec![keys::check(provider, client, url)],
        None => vec![Finding::ok(
            CHECK,
            format!("{}: its keys stand in the configuration", provider.name),
        )],
    }
}
