//! How people reach the dashboard.

use super::Finding;
use portcullis_dashboard::config::Config;

const CHECK: &str = "front";

pub(super) fn check(config: &Config, providers_sign_people_in: bool) -> Vec<Finding> {
    vec![
        gate(config, providers_sign_people_in),
        cookies(config),
        name(config),
        proxies(config),
    ]
}

fn gate(config: &Config, providers_sign_people_in: bool) -> Finding {
    match config.dashboard.gate_reason() {
        None => Finding::ok(
            CHECK,
            "people need not sign in: the page is for this machine alone",
        ),
        Some(reason) if providers_sign_people_in => {
            Finding::ok(CHECK, format!("people must sign in: {reason}"))
        }
        Some(reason) => Finding::error(CHECK, "`serve` will not start")
            .because(format!("{reason}, but no provider can sign a person in"))
            .mended_by("add builtin:basic or builtin:oidc to dashboard.providers (docs/people.md)"),
    }
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
