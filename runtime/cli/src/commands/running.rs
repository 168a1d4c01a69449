//! What a running dashboard says of its providers.
//!
//! **Invariant:** no secret is sent, no redirect is followed and no proxy is used. Without an
//! answer, everything is unknown.

use super::drain::{local_url, tls};
use portcullis_dashboard::config::Config;
use portcullis_home::home_lock::{DASHBOARD_LOCK, LockState, probe};
use serde_json::Value;
use std::time::Duration;
use ureq::Agent;

/// Longest time that the dashboard may take to answer: what it says is only more of a list.
const TIMEOUT: Duration = Duration::from_secs(2);
/// Largest answer that is read.
const MAX_ANSWER_BYTES: u64 = 1024 * 1024;

/// The providers of a dashboard as its `/readyz` shows them. None, if it shows no names to this
/// caller.
#[derive(Default)]
pub(super) struct Running {
    providers: Vec<Value>,
}

impl Running {
    /// Asks the dashboard at this URL, else the one that runs over the home, at its configured
    /// address.
    pub(super) fn ask(config: &Config, url: Option<&str>) -> Self {
        let url = match url {
            Some(url) => url.trim_end_matches('/').to_owned(),
            None if runs_over(config) => local_url(&config.dashboard, config.dashboard.port),
            None => return Self::default(),
        };
        readiness(&url)
            .map(|answer| Self {
                providers: detail(&answer),
            })
            .unwrap_or_default()
    }

    /// Seconds of processor time that a provider has had since it was loaded. `None`: it is not
    /// known, or the dashboard has another component under this name.
    pub(super) fn cpu_seconds(&self, name: &str, sha256: &str) -> Option<f64> {
        let provider = self
            .providers
            .iter()
            .find(|provider| provider["name"] == name)?;
        let is_same = provider["component"] == sha256;
        provider["health"]["spent"]["cpu_seconds"]
            .as_f64()
            .filter(|_| is_same)
    }
}

fn runs_over(config: &Config) -> bool {
    matches!(probe(&config.home.join(DASHBOARD_LOCK)), LockState::Held(_))
}

fn readiness(url: &str) -> Option<Value> {
    let mut settings = Agent::config_builder()
        .http_status_as_error(false)
        .max_redirects(0)
        .proxy(None)
        .timeout_global(Some(TIMEOUT));
    if let Some(tls) = tls(url, None).ok()? {
        settings = settings.tls_config(tls);
    }

    let agent: Agent = settings.build().into();
    let mut response = agent.get(format!("{url}/readyz")).call().ok()?;
    let body = response
        .body_mut()
        .with_config()
        .limit(MAX_ANSWER_BYTES)
        .read_to_vec()
        .ok()?;
    serde_json::from_slice(&body).ok()
}

fn detail(answer: &Value) -> Vec<Value> {
    answer["providers"]["detail"]
        .as_array()
        .cloned()
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn time_of_another_component_is_not_shown() {
        let health = json!({"spent": {"cpu_seconds": 1.5, "held_up_seconds": 0.0}});
        let answer = json!({"providers": {"detail": [{"name": "keys", "component": "ab", "health": health}]}});
        let running = Running {
            providers: detail(&answer),
        };
        for (name, sha256, expected) in [
            ("keys", "ab", Some(1.5)),
            ("keys", "cd", None),
            ("other", "ab", None),
        ] {
            assert_eq!(
                running.cpu_seconds(name, sha256),
                expected,
                "{name} {sha256}"
            );
        }
        assert!(detail(&json!({"ready": true, "providers": {"loaded": 1}})).is_empty());
        assert!(detail(&json!("no dashboard")).is_empty());
    }
}
