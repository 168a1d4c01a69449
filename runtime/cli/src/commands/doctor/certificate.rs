//! The certificate and key of `dashboard.tls`.

use super::{Finding, ordered_certificate};
use jiff::Timestamp;
use portcullis_dashboard::config::DashboardConfig;
use portcullis_net::tls::{Identity, TlsServer, TlsSettings};

pub(super) const CHECK: &str = "certificate";

/// Reads what `dashboard.tls` names, as `serve` would. `None`: there is no `dashboard.tls`.
pub(in crate::commands) fn check(dashboard: &DashboardConfig) -> Option<Finding> {
    let settings = dashboard.tls.as_ref()?;
    if let Some(acme) = &dashboard.acme {
        return Some(ordered_certificate::check(
            acme,
            settings,
            dashboard,
            Timestamp::now(),
        ));
    }

    let read = Identity::read(settings);
    let checked = read.and_then(|identity| TlsServer::new(settings, &identity).map(|_| identity));

    Some(match checked {
        Ok(identity) => judge(&identity, settings, dashboard),
        Err(error) => Finding::error(CHECK, error.to_string()).because("`serve` will not start"),
    })
}

fn judge(identity: &Identity, settings: &TlsSettings, dashboard: &DashboardConfig) -> Finding {
    let now = Timestamp::now();
    let host = dashboard.public_url.as_ref().map(|url| url.host.as_str());
    if let Some(problem) = identity.problem(host, now) {
        return Finding::error(CHECK, problem.to_string())
            .because("browsers refuse it")
            .mended_by("replace the files: a running dashboard takes them over at once");
    }

    if let Some(warning) = identity.expires_soon(now) {
        return Finding::warn(CHECK, warning)
            .mended_by("look why the ACME client has not renewed it");
    }

    let file = settings.certificate.display();
    Finding::ok(
        CHECK,
        format!("{file} is valid until {}", identity.expires_at()),
    )
}
