use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Map, Value};

/// Everything that is ever audited.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the names are the documentation: they are those of the log")]
pub enum EventName {
    LoginStart,
    LoginSuccess,
    LoginFailure,
    Logout,
    RefreshSuccess,
    RefreshFailure,
    Revoke,
    SessionVerifyFailure,
    WsTicketMinted,
    WsTicketRejected,
    TokenAuthSuccess,
    TokenAuthFailure,
    DrainBegin,
    DrainCancel,
    ProviderLoaded,
    ProviderRefused,
    ProviderFault,
    ProviderQuarantined,
}

/// One line of the log.
#[derive(Clone, Debug, Serialize)]
pub struct Record {
    ts: Timestamp,
    event: EventName,
    #[serde(flatten)]
    fields: Map<String, Value>,
}

impl Record {
    /// An event that happened now.
    pub fn now(event: EventName) -> Self {
        Self { ts: Timestamp::now(), event, fields: Map::new() }
    }

    /// The same with one more field. `ts` and `event` are taken.
    #[must_use]
    pub fn with(mut self, key: &str, value: impl Into<Value>) -> Self {
        if key != "ts" && key != "event" {
            self.fields.insert(key.to_owned(), value.into());
        }
        self
    }

    /// What is written: without any field that may hold a secret.
    pub(super) fn redacted(mut self) -> Value {
        super::redact(&mut self.fields);
        // A map with text keys and plain values always serialises.
        serde_json::to_value(&self).unwrap_or_default()
    }
}
