//! Mistakes of settings that are each right on their own: `gateway` or `serve` will not start with
//! them.

use portcullis_auth::Registered;
use portcullis_dashboard::config::{ConfigError, GateReason, Survey};
use portcullis_gateway::check_listen;

/// What the operator does about a dashboard that has no sign-in and needs one.
pub(super) const SIGN_IN_REMEDY: &str =
    "add builtin:basic or builtin:oidc to dashboard.providers (docs/people.md)";

/// Why people must sign in although no provider can sign a person in.
pub(super) struct NobodySignsIn {
    reason: GateReason,
    place: Option<String>,
}

impl NobodySignsIn {
    /// Judges the providers that were loaded. `None`: nothing is wrong, or it is not known, since
    /// the entries of other providers have mistakes.
    pub(super) fn find(survey: &Survey, loaded: &[Registered]) -> Option<Self> {
        let reason = survey.config.dashboard.gate_reason()?;
        let is_known = survey.has_every_provider && !loaded.iter().any(Registered::signs_people_in);
        is_known.then(|| Self {
            reason,
            place: survey.config.gate_place(),
        })
    }

    /// The reason with its place.
    pub(super) fn sentence(&self) -> String {
        let sentence = format!("{}, but no provider can sign a person in", self.reason);
        placed(self.place.as_deref(), &sentence)
    }
}

/// Why the gateway will not start at its address, with the place of the address. `None`: it will,
/// or its key is named among the mistakes already.
pub(super) fn of_gateway(survey: &Survey) -> Option<String> {
    let names_key = |error: &ConfigError| error.concerns("gateway.api_key");
    if survey.error.as_ref().is_some_and(names_key) {
        return None;
    }

    let gateway = &survey.config.gateway;
    let refusal = check_listen(gateway.listen, gateway.api_key.is_some()).err()?;
    let place = survey.config.gateway_listen_place();
    Some(placed(place.as_deref(), &refusal.to_string()))
}

fn placed(place: Option<&str>, sentence: &str) -> String {
    match place {
        Some(place) => format!("{place}: {sentence}"),
        None => sentence.to_owned(),
    }
}
