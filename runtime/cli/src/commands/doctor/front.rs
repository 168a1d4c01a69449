//! How people reach the dashboard.

use super::Finding;
use crate::commands::start_mistakes::{NobodySignsIn, SIGN_IN_REMEDY};
use portcullis_auth::Registered;
use portcullis_dashboard::config::{Config, Survey};

const CHECK: &str = "front";

/// Checks how people reach the dashboard. If settings have mistakes, the only finding is that no
/// provider can sign people in, since the others depend on several settings.
pub(super) fn check(survey: &Survey, loaded: &[Registered]) -> Vec<Finding> {
    let nobody_signs_in = NobodySignsIn::find(survey, loaded);
    let config = &survey.config;
    if survey.error.is_some() {
        return nobody_signs_in
            .as_ref()
            .map(of_nobody)
            .into_iter()
            .collect();
    }
    vec![
        gate(config, nobody_signs_in.as_ref()),
        cookies(config),
        name(config),
        proxies(config),
    ]
}

fn gate(config: &Config, nobody_signs_in: Option<&NobodySignsIn>) -> Finding {
    match (nobody_signs_in, config.dashboard.gate_reason()) {
        (Some(found), _) => of_nobody(found),
        (None, Some(reason)) => Finding::ok(CHECK, format!("people must sign in: {reason}")),
        (None, None) => Finding::ok(
            CHECK,
            "people need not sign in: the page is for this machine alone",
        ),
    }
}

fn of_nobody(found: &NobodySignsIn) -> Finding {
    Finding::error(CHECK, "`serve` will not start")
        .because(found.sentence())
        .mended_by(SIGN_IN_REMEDY)
}

fn cookies(config: &Config) -> Finding {
    if config.dashboard.is_reached_in_clear() {
        return Finding::warn(CHECK, "cookies are not Secure: people come over plain http")
            .because("passwords and sessions can be read on the way")
            .mended_by(
                "set dashboard.tls, or put a proxy that ends TLS in front and set dashboard.public_url to its https address",
            );
    }

    match &config.dashboard.public_url {
        Some(url) if url.https => {
            Finding::ok(CHECK, "cookies are Secure: dashboard.public_url is https")
        }
        _ if config.dashboard.tls.is_some() => {
            Finding::ok(CHECK, "cookies are Secure: dashboard.tls is set")
        }
        _ if config.dashboard.is_gated() => {
            Finding::unknown(CHECK, "whether cookies are Secure depends on each request")
                .because(
                    "a trusted proxy says by X-Forwarded-Proto whether a request came over https",
                )
                .mended_by("set dashboard.public_url to the https address")
        }
        _ => Finding::ok(CHECK, "cookies stay on this machine"),
    }
}

fn name(config: &Config) -> Finding {
    match config.dashboard.answers_to_every_name() {
        true => Finding::warn(CHECK, "the dashboard answers to every name in Host")
            .because("an identity provider is asked to send people back to the name in the request")
            .mended_by("set dashboard.public_url"),
        false => Finding::ok(CHECK, "the dashboard answers to its own names"),
    }
}

fn proxies(config: &Config) -> Finding {
    let count = config.dashboard.trusted_proxies.len();
    if count > 0 {
        return Finding::ok(
            CHECK,
            format!("dashboard.trusted_proxies has {count} entries"),
        );
    }

    if !config.dashboard.is_gated() {
        return Finding::ok(
            CHECK,
            "no proxy is trusted, and none is needed on this machine",
        );
    }

    Finding::unknown(
        CHECK,
        "whether a proxy that is not trusted forwards requests cannot be seen here",
    )
    .because("the log of a running dashboard names its address")
    .mended_by("set dashboard.trusted_proxies to that address")
}
