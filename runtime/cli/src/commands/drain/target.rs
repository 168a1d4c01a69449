//! Which dashboard a command speaks to, and with which secret.

use super::client::{DashboardClient, LocalGateway};
use super::failure::DrainFailure;
use super::{SECRET_FILE, local_url, roots};
use crate::commands::Common;
use clap::Args;
use portcullis_dashboard::config::{ConfigError, Environment, Secret};
use std::fs;
use std::path::{Path, PathBuf};
use ureq::http::Uri;

#[derive(Clone, Debug, Args)]
pub(super) struct DashboardTarget {
    /// URL of the dashboard [default: the address in the configuration]
    #[arg(long)]
    pub(super) url: Option<String>,
    /// File with the drain secret [default: without --url the configured one, else
    /// $HERMES_DASHBOARD_DRAIN_SECRET, else drain-secret in the home]
    #[arg(long, value_name = "FILE")]
    pub(super) secret_file: Option<PathBuf>,
    /// PEM file with certificate authorities to trust besides the system's
    #[arg(long, value_name = "FILE")]
    pub(super) cacert: Option<PathBuf>,
    /// Print one JSON object, also when the command fails
    #[arg(long)]
    pub(super) json: bool,
}

impl DashboardTarget {
    /// The client for this dashboard. The configuration is read only when `--url` is absent.
    pub(super) fn client(&self, common: &Common) -> Result<DashboardClient, DrainFailure> {
        let mut configured = None;
        let (url, gateway) = match &self.url {
            Some(url) => (url.clone(), None),
            None => {
                let config = common
                    .load()
                    .map_err(|error| match error.is::<ConfigError>() {
                        true => DrainFailure::usage(format!("{error:#}")),
                        false => DrainFailure::failed(format!("{error:#}")),
                    })?;
                let url = local_url(&config.dashboard, config.dashboard.port);
                let gateway = LocalGateway {
                    url: format!("http://{}", config.gateway.listen),
                    api_key: common
                        .load_for_gateway()
                        .ok()
                        .and_then(|view| view.gateway.api_key),
                };
                configured = config
                    .dashboard
                    .drain_secrets
                    .read
                    .ok()
                    .and_then(|all| all.into_iter().next());
                (url, Some(gateway))
            }
        };

        check_address(&url).map_err(|mistake| DrainFailure::usage(format!("--url: {mistake}")))?;
        let tls = roots::tls(&url, self.cacert.as_deref())
            .map_err(|mistake| DrainFailure::usage(format!("--cacert: {mistake}")))?;

        Ok(DashboardClient::new(
            &url,
            gateway,
            self.secret(common, configured),
            tls,
        ))
    }

    /// `configured`: the secret of the dashboard whose configuration was read.
    fn secret(&self, common: &Common, configured: Option<Secret>) -> Result<Secret, String> {
        if let Some(path) = &self.secret_file {
            return read_secret(path);
        }

        if let Some(secret) = configured {
            return checked_secret(secret.expose())
                .map_err(|mistake| format!("the drain secret: {mistake}"));
        }

        let environment = Environment::read();
        if let Some(secret) = &environment.drain_secret {
            return checked_secret(secret.expose())
                .map_err(|mistake| format!("HERMES_DASHBOARD_DRAIN_SECRET: {mistake}"));
        }

        read_secret(&environment.home(common.home.clone()).join(SECRET_FILE)).map_err(|error| {
            format!("no drain secret: set HERMES_DASHBOARD_DRAIN_SECRET, or pass --secret-file ({error})")
        })
    }
}

/// An absolute http or https address.
pub(in crate::commands) fn check_address(url: &str) -> Result<(), String> {
    let has_scheme = ["http://", "https://"]
        .iter()
        .any(|scheme| url.starts_with(scheme));
    let parsed = url.parse::<Uri>().ok();
    let has_host = parsed
        .as_ref()
        .and_then(Uri::host)
        .is_some_and(|host| !host.is_empty());

    let is_plain = !url.contains(['@', '?', '#']);
    match has_scheme && has_host && is_plain {
        true => Ok(()),
        false => Err(format!("{url:?} is no address like http://127.0.0.1:9119")),
    }
}

/// A secret from a file, without white space around it.
pub(super) fn read_secret(path: &Path) -> Result<Secret, String> {
    let text = fs::read_to_string(path)
        .map_err(|error| format!("cannot read {}: {error}", path.display()))?;
    checked_secret(&text).map_err(|mistake| format!("{}: {mistake}", path.display()))
}

/// A secret that an HTTP header can carry.
pub(super) fn checked_secret(text: &str) -> Result<Secret, String> {
    let text = text.trim();
    if text.is_empty() {
        return Err("the secret is empty".to_owned());
    }
    match text.bytes().all(|byte| byte.is_ascii_graphic()) {
        true => Ok(Secret::new(text.to_owned())),
        false => Err("the secret must be one word of visible ASCII characters".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_have_a_scheme_and_a_host() {
        for good in [
            "http://127.0.0.1:9119",
            "https://agent.example.com/base/",
            "http://[::1]:1",
        ] {
            assert_eq!(check_address(good), Ok(()), "{good}");
        }
        for bad in [
            "",
            "127.0.0.1:9119",
            "ftp://a",
            "http://",
            "http://a b",
            "http://u:p@a",
            "http://a/?b",
        ] {
            assert!(check_address(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn secret_is_one_word() {
        assert_eq!(
            checked_secret(" abc\n").map(|secret| secret.expose().to_owned()),
            Ok("abc".to_owned())
        );
        for bad in ["", " \n", "a b", "a\nb", "\u{e9}"] {
            assert!(checked_secret(bad).is_err(), "{bad:?}");
        }
    }
}
