//! The certificate of `dashboard.tls.acme`, which the dashboard orders itself.

use super::Finding;
use super::certificate::CHECK;
use jiff::Timestamp;
use portcullis_dashboard::config::DashboardConfig;
use portcullis_net::acme::{AcmeSettings, KeptCertificate};
use portcullis_net::tls::{TlsServer, TlsSettings};

/// How long a renewal may be overdue, in parts of the lifetime that remains at its due time. Single
/// failures are repaired by the next attempt.
const PATIENCE_PARTS: i64 = 4;
const LOOK_AT_THE_LOG: &str =
    "look why in the log of `portcullis serve`, which says it at each attempt";

/// Reads what the home keeps, as `serve` does.
pub(super) fn check(
    acme: &AcmeSettings,
    settings: &TlsSettings,
    dashboard: &DashboardConfig,
    now: Timestamp,
) -> Finding {
    let kept = match KeptCertificate::read(&settings.certificate) {
        Ok(kept) => kept,
        Err(error) => {
            return Finding::warn(CHECK, error.to_string())
                .because("`serve` orders another one when it starts");
        }
    };

    let identity = kept.as_ref().map(|kept| &kept.identity);
    if let Err(error) = TlsServer::with_challenges(settings, identity) {
        return Finding::error(CHECK, error.to_string()).because("`serve` will not start");
    }

    match kept {
        None => Finding::warn(
            CHECK,
            format!("there is no certificate of {} yet", acme.directory.as_str()),
        )
        .because("`serve` orders it when it starts, and no TLS handshake succeeds until then")
        .mended_by(LOOK_AT_THE_LOG),
        Some(kept) => judge(&kept, acme, settings, dashboard, now),
    }
}

fn judge(
    kept: &KeptCertificate,
    acme: &AcmeSettings,
    settings: &TlsSettings,
    dashboard: &DashboardConfig,
    now: Timestamp,
) -> Finding {
    let identity = &kept.identity;
    let file = settings.certificate.display();
    let host = dashboard.public_url.as_ref().map(|url| url.host.as_str());
    if let Some(problem) = identity.problem(host, now) {
        return Finding::error(CHECK, problem.to_string())
            .because("browsers refuse it")
            .mended_by(LOOK_AT_THE_LOG);
    }

    if !kept.is_as_ordered_by(acme) {
        let what = format!(
            "the certificate in {file} is of another directory, or not for each of the domains"
        );
        return Finding::warn(CHECK, what)
            .because(
                "`serve` presents it until another one is signed, which it orders when it starts",
            )
            .mended_by(LOOK_AT_THE_LOG);
    }

    let (due_at, until) = (identity.renewal_due_at(), identity.expires_at());
    let patience = (until.as_second() - due_at.as_second()) / PATIENCE_PARTS;
    if now.as_second() > due_at.as_second() + patience {
        let what = format!(
            "the certificate in {file} expires at {until}, and should have been renewed at {due_at}"
        );
        return Finding::warn(CHECK, what).mended_by(LOOK_AT_THE_LOG);
    }

    Finding::ok(
        CHECK,
        format!("{file} is valid until {until}, and is renewed from {due_at} on"),
    )
}
