//! How a route is described.

use serde_json::{Value, json};

/// What a path answers to some methods.
#[derive(Clone, Copy, Debug)]
pub(super) struct Operation {
    pub(super) path: &'static str,
    /// The methods, in lower case.
    pub(super) methods: &'static [&'static str],
    /// What the operation does, in sentences for people.
    pub(super) about: &'static str,
    pub(super) guard: Guard,
    pub(super) parameters: &'static [Parameter],
    pub(super) body: Body,
    /// Beside those that the guard gives.
    pub(super) answers: &'static [Answer],
}

/// What a caller has to present.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Guard {
    Public,
    /// A session, or the token of the process on a loopback bind.
    People,
    /// The same for pages: a browser without a session is sent to the sign-in page.
    Page,
    /// A person who operates, or the token of the process.
    Operators,
    /// The same for `/metrics`, which may also be a token route.
    Metrics,
    /// The drain secret, as a bearer token.
    DrainSecret,
    /// A bearer token that a provider recognizes.
    BearerToken,
    /// A bearer token or a session, for a reverse proxy that asks.
    Proxy,
    /// A ticket in the query.
    Ticket,
}

/// A parameter of the path, the query or a header.
#[derive(Clone, Copy, Debug)]
pub(super) struct Parameter {
    pub(super) name: &'static str,
    /// `path`, `query` or `header`.
    pub(super) place: &'static str,
    pub(super) about: &'static str,
    pub(super) kind: Kind,
}

/// The body of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Body {
    None,
    Json(&'static [Field]),
    Form(&'static [Field]),
    JsonOrForm(&'static [Field]),
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) about: &'static str,
    pub(super) content: Content,
}

/// The body of an answer.
#[derive(Clone, Copy, Debug)]
pub(super) enum Content {
    Empty,
    /// Text of this media type.
    Text(&'static str),
    Json(&'static [Field]),
    /// A JSON object of a standard of its own.
    Object,
}

/// A key of a JSON object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Field {
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    pub(super) is_nullable: bool,
    pub(super) is_optional: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Boolean,
    Integer,
    Number,
    Text,
    /// A time in RFC 3339.
    Time,
    Object,
    Texts,
    Objects,
}

impl Body {
    pub(super) fn fields(self) -> &'static [Field] {
        match self {
            Self::None => &[],
            Self::Json(fields) | Self::Form(fields) | Self::JsonOrForm(fields) => fields,
        }
    }

    /// What only a form gets.
    pub(super) fn answers(self) -> &'static [Answer] {
        const BACK: Answer =
            answer(303, "The answer to a form of the page: back to the page.", Content::Empty);
        match self {
            Self::JsonOrForm(_) => &[BACK],
            Self::None | Self::Json(_) | Self::Form(_) => &[],
        }
    }
}

pub(super) const fn field(name: &'static str, kind: Kind) -> Field {
    Field { name, kind, is_nullable: false, is_optional: false }
}

pub(super) const fn answer(status: u16, about: &'static str, content: Content) -> Answer {
    Answer { status, about, content }
}

pub(super) const fn query(name: &'static str, about: &'static str, kind: Kind) -> Parameter {
    Parameter { name, place: "query", about, kind }
}

impl Field {
    /// The value may be null.
    pub(super) const fn or_null(self) -> Self {
        Self { is_nullable: true, ..self }
    }

    /// The key may be absent.
    pub(super) const fn optional(self) -> Self {
        Self { is_optional: true, ..self }
    }

    pub(super) fn schema(&self) -> Value {
        let mut schema = self.kind.schema();
        if self.is_nullable {
            schema["type"] = json!([schema["type"], "null"]);
        }
        schema
    }
}

impl Kind {
    pub(super) fn schema(self) -> Value {
        match self {
            Self::Boolean => json!({"type": "boolean"}),
            Self::Integer => json!({"type": "integer"}),
            Self::Number => json!({"type": "number"}),
            Self::Text => json!({"type": "string"}),
            Self::Time => json!({"type": "string", "format": "date-time"}),
            Self::Object => json!({"type": "object"}),
            Self::Texts => json!({"type": "array", "items": {"type": "string"}}),
            Self::Objects => json!({"type": "array", "items": {"type": "object"}}),
        }
    }
}
