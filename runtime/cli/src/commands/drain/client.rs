//! One dashboard over HTTP, and what its answers mean.
//!
//! **Invariant:** the secret goes to the address that was given and to no other: no redirect is
//! followed and no proxy is used.

use super::failure::{DrainFailure, FailureKind};
use super::status::DashboardStatus;
use crate::commands::tls_failure::TlsFailure;
use portcullis_dashboard::config::Secret;
use serde::Deserialize;
use serde_json::Value;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;
use ureq::http::Response;
use ureq::http::header::LOCATION;
use ureq::tls::TlsConfig;
use ureq::{Agent, Body};

/// Longest time that one request may take.
pub(super) const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest time for the question how old the turns are, which decides nothing.
const AGES_TIMEOUT: Duration = Duration::from_secs(2);
/// Largest answer that is read. A status has some 500 bytes.
const MAX_ANSWER_BYTES: u64 = 1024 * 1024;
/// Longest text of a dashboard that is repeated to a person, in characters.
const MAX_ECHO: usize = 300;

/// The HTTP client of one dashboard.
pub(super) struct DashboardClient {
    agent: Agent,
    url: String,
    /// The gateway of this machine, if the dashboard is the local one.
    gateway: Option<LocalGateway>,
    /// The sentence says why there is none: not every request needs it.
    secret: Result<Secret, String>,
    slots: Option<Arc<RequestSlots>>,
}

/// Bounds how many requests the clients of a fleet have under way at a time.
pub(super) struct RequestSlots {
    free: Mutex<usize>,
    freed: Condvar,
}

impl RequestSlots {
    pub(super) fn new(count: usize) -> Arc<Self> {
        Arc::new(Self {
            free: Mutex::new(count),
            freed: Condvar::new(),
        })
    }

    /// Waits for a free slot and holds it until the guard is dropped. `None`: none became free in
    /// time.
    fn take(&self, within: Duration) -> Option<RequestSlot<'_>> {
        let free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self
            .freed
            .wait_timeout_while(free, within, |free| *free == 0);
        let (mut free, _) = waited.unwrap_or_else(PoisonError::into_inner);
        *free = free.checked_sub(1)?;
        Some(RequestSlot(self))
    }
}

struct RequestSlot<'a>(&'a RequestSlots);

impl Drop for RequestSlot<'_> {
    fn drop(&mut self) {
        *self.0.free.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        self.0.freed.notify_one();
    }
}

/// The gateway over the same home as the dashboard.
pub(super) struct LocalGateway {
    pub(super) url: String,
    pub(super) api_key: Option<Secret>,
}

#[derive(Deserialize)]
struct TurnList {
    turns: Vec<TurnAge>,
}

#[derive(Deserialize)]
struct TurnAge {
    seconds: Option<u64>,
}

impl DashboardClient {
    pub(super) fn new(
        url: &str,
        gateway: Option<LocalGateway>,
        secret: Result<Secret, String>,
        tls: Option<TlsConfig>,
    ) -> Self {
        let mut config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .proxy(None)
            .timeout_global(Some(REQUEST_TIMEOUT));
        if let Some(tls) = tls {
            config = config.tls_config(tls);
        }

        Self {
            agent: config.build().into(),
            url: url.trim_end_matches('/').to_owned(),
            gateway,
            secret,
            slots: None,
        }
    }

    /// The same, which shares these slots with other clients.
    pub(super) fn with_slots(self, slots: &Arc<RequestSlots>) -> Self {
        Self {
            slots: Some(slots.clone()),
            ..self
        }
    }

    fn slot(&self, within: Duration) -> Result<Option<RequestSlot<'_>>, DrainFailure> {
        let Some(slots) = &self.slots else {
            return Ok(None);
        };
        let busy = || {
            DrainFailure::unreachable(
                "too many requests to other agents are under way: raise --parallel",
            )
        };
        slots.take(within).map(Some).ok_or_else(busy)
    }

    /// Fails without a secret, so that a command can check it before it does anything.
    pub(super) fn secret(&self) -> Result<&Secret, DrainFailure> {
        self.secret
            .as_ref()
            .map_err(|missing| DrainFailure::usage(missing.as_str()))
    }

    /// The dashboard's answer to a begin. It says that the drain is on.
    pub(super) fn begin(&self, body: &Value, within: Duration) -> Result<Value, DrainFailure> {
        let answer = self.control(body, within)?;
        match answer["draining"] == true {
            true => Ok(answer),
            false => Err(DrainFailure::failed(format!(
                "{} answered without `\"draining\": true`: the drain is not on",
                self.url
            ))),
        }
    }

    /// The dashboard's answer to a cancel. It says `"ok": true`.
    pub(super) fn cancel(&self, body: &Value, within: Duration) -> Result<Value, DrainFailure> {
        self.control(body, within)
    }

    fn control(&self, body: &Value, within: Duration) -> Result<Value, DrainFailure> {
        let secret = self.secret()?;
        // Every agent gets its turn: without an answer a request ends by itself.
        let _slot = self.slot(Duration::MAX)?;
        let url = format!("{}/api/gateway/drain", self.url);
        let response = self
            .agent
            .post(url.as_str())
            .header("Authorization", bearer(secret))
            .header("Content-Type", "application/json")
            .config()
            .timeout_global(Some(within))
            .build()
            .send(body.to_string())
            .map_err(|error| no_answer(&url, &error))?;

        let answer = read(response, &url, true)?;
        match answer["ok"].as_bool() {
            Some(true) => Ok(answer),
            Some(false) => {
                let detail = answer["detail"].as_str().unwrap_or("it gives no reason");
                Err(DrainFailure::failed(format!(
                    "{url} answered `\"ok\": false`: {}",
                    shown(detail)
                )))
            }
            None => Err(not_a_dashboard(&url, "the answer has no `ok`")),
        }
    }

    /// The status as the dashboard sends it.
    pub(super) fn status_json(&self, within: Duration) -> Result<Value, DrainFailure> {
        let url = format!("{}/api/status", self.url);
        let answer = self.get(&url, None, within)?;
        if answer.get("gateway_state").is_none() {
            return Err(not_a_dashboard(&url, "the answer has no `gateway_state`"));
        }
        Ok(answer)
    }

    /// The keys of the status that a wait judges by.
    pub(super) fn status(&self, within: Duration) -> Result<DashboardStatus, DrainFailure> {
        let answer = self.status_json(within)?;
        DashboardStatus::deserialize(answer).map_err(|error| {
            not_a_dashboard(&self.url, &format!("the status cannot be read: {error}"))
        })
    }

    /// How many turns the gateway of this machine has in flight. `None` when the dashboard is not
    /// the local one, or the gateway cannot be asked.
    pub(super) fn local_turns(&self, within: Duration) -> Option<usize> {
        Some(self.local_turn_list(within)?.turns.len())
    }

    /// Seconds since the oldest turn in flight began; `None` when neither the local gateway nor the
    /// dashboard can be asked.
    pub(super) fn oldest_turn(&self, within: Duration) -> Option<u64> {
        let within = within.min(AGES_TIMEOUT);
        let list = self.local_turn_list(within).or_else(|| {
            let secret = self.secret.as_ref().ok()?;
            // Servers before the leases answer 404 or 405.
            let url = format!("{}/api/gateway/drain", self.url);
            turn_list(self.get(&url, Some(secret), within).ok()?)
        })?;
        list.turns.iter().filter_map(|turn| turn.seconds).max()
    }

    fn local_turn_list(&self, within: Duration) -> Option<TurnList> {
        let gateway = self.gateway.as_ref()?;
        let url = format!("{}/v1/turns", gateway.url);
        turn_list(self.get(&url, gateway.api_key.as_ref(), within).ok()?)
    }

    fn get(
        &self,
        url: &str,
        secret: Option<&Secret>,
        within: Duration,
    ) -> Result<Value, DrainFailure> {
        let _slot = self.slot(within)?;
        let mut request = self.agent.get(url);
        if let Some(secret) = secret {
            request = request.header("Authorization", bearer(secret));
        }

        let response = request
            .config()
            .timeout_global(Some(within))
            .build()
            .call()
            .map_err(|error| no_answer(url, &error))?;
        read(response, url, secret.is_some())
    }
}

fn bearer(secret: &Secret) -> String {
    format!("Bearer {}", secret.expose())
}

fn turn_list(answer: Value) -> Option<TurnList> {
    TurnList::deserialize(answer).ok()
}

/// The JSON object of a 2xx answer. Everything else is a failure of the kind that its status means.
fn read(mut response: Response<Body>, url: &str, has_secret: bool) -> Result<Value, DrainFailure> {
    let status = response.status();
    let code = status.as_u16();
    if status.is_redirection() {
        let location = response
            .headers()
            .get(LOCATION)
            .and_then(|to| to.to_str().ok());
        let to = location
            .map(|to| format!(" to {}", shown(to)))
            .unwrap_or_default();
        return Err(not_a_dashboard(
            url,
            &format!("it answered {code}, a redirect{to}"),
        ));
    }

    let body = read_object(&mut response);
    let detail = body
        .as_ref()
        .ok()
        .and_then(|body| body["detail"].as_str())
        .map(shown);

    match (code, body) {
        (401, _) => {
            let why = match has_secret {
                true => "does not accept the drain secret (401): is it this agent's?",
                false => "asks for a sign-in (401), but a dashboard shows its status to everyone",
            };
            Err(DrainFailure::new(
                FailureKind::Refused,
                format!("{url} {why}"),
            ))
        }
        (403, _) => {
            let detail = detail.unwrap_or_else(|| "it gives no reason".to_owned());
            Err(DrainFailure::new(
                FailureKind::Refused,
                format!("{url} refused the request (403): {detail}"),
            ))
        }
        (_, Ok(body)) if status.is_success() => Ok(body),
        (_, Err(why)) if status.is_success() => Err(not_a_dashboard(url, &why)),
        _ => match detail {
            Some(detail) => Err(DrainFailure::failed(format!(
                "{url} answered {code}: {detail}"
            ))),
            None => Err(not_a_dashboard(
                url,
                &format!("it answered {code} without a `detail`"),
            )),
        },
    }
}

fn read_object(response: &mut Response<Body>) -> Result<Value, String> {
    // The reader reports an error when it reaches its limit, so a body of exactly the limit needs
    // one byte more.
    let limited = response
        .body_mut()
        .with_config()
        .limit(MAX_ANSWER_BYTES + 1);
    let bytes = limited.read_to_vec().map_err(|error| match error {
        ureq::Error::BodyExceedsLimit(_) => {
            format!("the answer has more than {MAX_ANSWER_BYTES} bytes")
        }
        error => format!("the answer is cut short: {}", described(&error)),
    })?;
    if bytes.trim_ascii().is_empty() {
        return Err(format!(
            "it answered {} without a body",
            response.status().as_u16()
        ));
    }

    match serde_json::from_slice::<Value>(&bytes) {
        Ok(body) if body.is_object() => Ok(body),
        _ => Err("the answer is not a JSON object".to_owned()),
    }
}

fn not_a_dashboard(url: &str, why: &str) -> DrainFailure {
    DrainFailure::unreachable(format!(
        "{url} is not a Portcullis or Hermes dashboard: {why}"
    ))
}

fn no_answer(url: &str, error: &ureq::Error) -> DrainFailure {
    DrainFailure::unreachable(format!("cannot reach {url}: {}", described(error)))
}

fn described(error: &ureq::Error) -> String {
    if let Some(TlsFailure {
        text,
        is_unknown_issuer,
    }) = TlsFailure::of(error)
    {
        return match is_unknown_issuer {
            true => {
                format!("{text} (--cacert FILE names the authority that signed its certificate)")
            }
            false => text,
        };
    }

    match error {
        ureq::Error::Timeout(_) => "no answer in time".to_owned(),
        ureq::Error::Io(error) => error.to_string(),
        error => error.to_string(),
    }
}

/// Text of a server, fit for a terminal.
pub(super) fn shown(text: &str) -> String {
    let plain = |c: char| if c.is_control() { ' ' } else { c };
    text.chars().take(MAX_ECHO).map(plain).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_of_a_server_moves_no_cursor() {
        assert_eq!(shown("a\x1b[2Jb\nc"), "a [2Jb c");
        assert_eq!(shown(&"x".repeat(1_000)).len(), MAX_ECHO);
    }
}
