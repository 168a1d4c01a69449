use jiff::Timestamp;
use serde::de::IntoDeserializer;
use serde::de::value::{Error as ValueError, StrDeserializer};
use serde::ser::SerializeMap;
use serde::{Deserialize, Serialize, Serializer};
use serde_json::Value;

/// Everything that is ever audited.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(
    missing_docs,
    reason = "the names are the documentation: they are those of the log"
)]
pub enum EventName {
    LoginStart,
    LoginSuccess,
    LoginFailure,
    Logout,
    LogoutTokenRejected,
    RefreshSuccess,
    RefreshFailure,
    Revoke,
    SessionHandedOver,
    SessionVerifyFailure,
    WsTicketMinted,
    WsTicketRejected,
    TokenAuthSuccess,
    TokenAuthFailure,
    DrainBegin,
    DrainCancel,
    GatewayRestart,
    ProviderLoaded,
    ProviderRefused,
    ProviderFault,
    ProviderQuarantined,
    ChainStarted,
    ChainRestarted,
    ChainContinued,
    Checkpoint,
}

impl EventName {
    /// Every event, in the order in which the documentation lists them.
    pub const ALL: [Self; 25] = [
        Self::LoginStart,
        Self::LoginSuccess,
        Self::LoginFailure,
        Self::Logout,
        Self::LogoutTokenRejected,
        Self::RefreshSuccess,
        Self::RefreshFailure,
        Self::Revoke,
        Self::SessionHandedOver,
        Self::SessionVerifyFailure,
        Self::WsTicketMinted,
        Self::WsTicketRejected,
        Self::TokenAuthSuccess,
        Self::TokenAuthFailure,
        Self::DrainBegin,
        Self::DrainCancel,
        Self::GatewayRestart,
        Self::ProviderLoaded,
        Self::ProviderRefused,
        Self::ProviderFault,
        Self::ProviderQuarantined,
        Self::ChainStarted,
        Self::ChainRestarted,
        Self::ChainContinued,
        Self::Checkpoint,
    ];

    /// What happened, in one sentence for the documentation.
    pub fn about(self) -> &'static str {
        match self {
            Self::LoginStart => "A person was sent to an identity provider.",
            Self::LoginSuccess => "A person signed in.",
            Self::LoginFailure => "A sign-in failed; `reason` says why.",
            Self::Logout => {
                "A session, or the sessions of a person, a provider or everyone, ended."
            }
            Self::LogoutTokenRejected => {
                "A logout token of an identity provider was refused; `reason` says why."
            }
            Self::RefreshSuccess => "An access token was refreshed.",
            Self::RefreshFailure => "An access token could not be refreshed; `reason` says why.",
            Self::Revoke => "A provider was asked to revoke a refresh token.",
            Self::SessionHandedOver => "A session of the public host was opened at another host.",
            Self::SessionVerifyFailure => {
                "A request came with a session that is not good; `reason` says why."
            }
            Self::WsTicketMinted => "A ticket for a web socket was made.",
            Self::WsTicketRejected => "A ticket for a web socket was refused.",
            Self::TokenAuthSuccess => "A bearer token opened a route.",
            Self::TokenAuthFailure => "A bearer token was refused; `reason` says why.",
            Self::DrainBegin => "A drain was begun or renewed, or could not be.",
            Self::DrainCancel => "A drain was cancelled, or could not be.",
            Self::GatewayRestart => "A restart of the gateway was requested.",
            Self::ProviderLoaded => "A provider was loaded, under `limits` and with `grants`.",
            Self::ProviderRefused => "A provider was not loaded; `reason` says why.",
            Self::ProviderFault => "A call of a provider failed; `fault` says how.",
            Self::ProviderQuarantined => {
                "A provider was put into quarantine, or came out of it; `quarantine` says which."
            }
            Self::ChainStarted => "A chain of lines begins.",
            Self::ChainRestarted => "The writer found the log not as it was left.",
            Self::ChainContinued => "The first line of a file after a rotation.",
            Self::Checkpoint => "A signature over the lines before.",
        }
    }

    /// Returns whether a caller can cause the event again and again: by each call, each attempt, or
    /// each fault of a provider.
    pub fn can_flood(self) -> bool {
        match self {
            Self::LoginStart
            | Self::LoginFailure
            | Self::LogoutTokenRejected
            | Self::RefreshSuccess
            | Self::RefreshFailure
            | Self::SessionHandedOver
            | Self::SessionVerifyFailure
            | Self::WsTicketMinted
            | Self::WsTicketRejected
            | Self::TokenAuthSuccess
            | Self::TokenAuthFailure
            | Self::ProviderFault => true,
            Self::LoginSuccess
            | Self::Logout
            | Self::Revoke
            | Self::DrainBegin
            | Self::DrainCancel
            | Self::GatewayRestart
            | Self::ProviderLoaded
            | Self::ProviderRefused
            | Self::ProviderQuarantined
            | Self::ChainStarted
            | Self::ChainRestarted
            | Self::ChainContinued
            | Self::Checkpoint => false,
        }
    }

    /// Returns whether the log can have an event of this name.
    pub fn is_known(name: &str) -> bool {
        let text: StrDeserializer<'_, ValueError> = name.into_deserializer();
        Self::deserialize(text).is_ok()
    }

    /// Returns the name of the event that this one was probably meant to be.
    pub fn nearest(name: &str) -> Option<String> {
        let names = Self::ALL.into_iter().filter_map(|event| {
            serde_json::to_value(event)
                .ok()?
                .as_str()
                .map(str::to_owned)
        });
        let likeness = |known: &str| strsim::jaro_winkler(known, name);
        names
            .filter(|known| likeness(known) > 0.8)
            .max_by(|a, b| likeness(a).total_cmp(&likeness(b)))
    }

    /// Returns whether the event must be found weeks later, however many others came meanwhile.
    pub fn is_important(self) -> bool {
        !self.can_flood() || matches!(self, Self::LoginFailure | Self::ProviderFault)
    }
}

/// One line of the log.
#[derive(Clone, Debug)]
pub struct Record {
    ts: Timestamp,
    event: EventName,
    /// In the order in which they were given; few, and made on the way of a request.
    fields: Vec<(&'static str, Value)>,
}

impl Record {
    /// Makes the record of an event that happened now.
    pub fn now(event: EventName) -> Self {
        Self {
            ts: Timestamp::now(),
            event,
            fields: Vec::with_capacity(6),
        }
    }

    /// The same with one more field, or with another value of it. `ts`, `event`, `seq`, `mac`
    /// and `chain` are taken.
    #[must_use]
    pub fn with(mut self, key: &'static str, value: impl Into<Value>) -> Self {
        match self.fields.iter_mut().find(|(known, _)| *known == key) {
            _ if matches!(key, "ts" | "event" | "seq" | "mac" | "chain") => {}
            Some((_, known)) => *known = value.into(),
            None => self.fields.push((key, value.into())),
        }
        self
    }

    /// The same at another time.
    #[cfg(test)]
    pub(super) fn at(self, ts: Timestamp) -> Self {
        Self { ts, ..self }
    }

    pub(super) fn ts(&self) -> Timestamp {
        self.ts
    }

    pub(super) fn event(&self) -> EventName {
        self.event
    }

    /// A field that is a whole number.
    pub(super) fn number(&self, key: &str) -> Option<u64> {
        let (_, value) = self.fields.iter().find(|(known, _)| *known == key)?;
        value.as_u64()
    }

    /// A field that is text.
    pub(super) fn text(&self, key: &str) -> Option<&str> {
        let (_, value) = self.fields.iter().find(|(known, _)| *known == key)?;
        value.as_str()
    }

    /// What is written: without any field that may hold a secret.
    pub(super) fn redacted(mut self) -> Self {
        self.fields
            .retain(|(key, _)| !super::redact::is_secret(key));
        self.fields
            .iter_mut()
            .for_each(|(_, value)| super::redact::redact(value));
        self
    }

    /// The line as a value, for the live page.
    pub(super) fn to_value(&self) -> Value {
        // Text keys and plain values always serialise.
        serde_json::to_value(self).unwrap_or_default()
    }
}

impl Serialize for Record {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut line = serializer.serialize_map(Some(self.fields.len() + 2))?;
        line.serialize_entry("ts", &self.ts)?;
        line.serialize_entry("event", &self.event)?;
        for (key, value) in &self.fields {
            line.serialize_entry(key, value)?;
        }
        line.end()
    }
}
