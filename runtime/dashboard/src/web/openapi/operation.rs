//! How a route is described.

use serde_json::{Value, json};

/// What a path answers to some methods.
#[derive(Clone, Copy, Debug)]
pub(super) struct OperationSpec {
    pub(super) path: &'static str,
    /// The methods, in lower case.
    pub(super) methods: &'static [&'static str],
    /// What the operation does, in sentences for people.
    pub(super) about: &'static str,
    pub(super) guard: SecurityRequirement,
    pub(super) parameters: &'static [Parameter],
    pub(super) body: BodySpec,
    /// The answers of the operation, beside those that the guard gives.
    pub(super) answers: &'static [AnswerSpec],
    /// Operations that take a value of the answer 200.
    pub(super) links: &'static [Link],
}

/// A value of an answer that another operation takes (OpenAPI 3.1, section 4.8.20).
#[derive(Clone, Copy, Debug)]
pub(super) struct Link {
    pub(super) name: &'static str,
    /// Method and path of the other operation.
    pub(super) to: (&'static str, &'static str),
    /// The parameter of the other operation.
    pub(super) parameter: &'static str,
    /// JSON pointer of the value in the answer.
    pub(super) value: &'static str,
}

/// What a caller has to present.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SecurityRequirement {
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
    pub(super) kind: FieldType,
}

/// The body of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BodySpec {
    None,
    Json(&'static [Field]),
    Form(&'static [Field]),
    JsonOrForm(&'static [Field]),
}

#[derive(Clone, Copy, Debug)]
pub(super) struct AnswerSpec {
    pub(super) status: u16,
    pub(super) about: &'static str,
    pub(super) content: ContentSpec,
}

/// The body of an answer.
#[derive(Clone, Copy, Debug)]
pub(super) enum ContentSpec {
    Empty,
    /// Text of one of these media types.
    Text(&'static [&'static str]),
    Json(&'static [Field]),
    /// JSON for programs, a page for browsers.
    JsonOrPage(&'static [Field]),
    /// A JSON object of a standard of its own.
    Object,
}

/// A key of a JSON object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Field {
    pub(super) name: &'static str,
    pub(super) kind: FieldType,
    pub(super) is_nullable: bool,
    pub(super) is_optional: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FieldType {
    Boolean,
    Integer,
    /// An integer within these bounds.
    Whole(u64, u64),
    Number,
    Text,
    /// Text of this many characters.
    Line(usize, usize),
    /// One of these words.
    OneOf(&'static [&'static str]),
    /// A time in RFC 3339.
    Time,
    Object,
    Texts,
    Objects,
}

impl BodySpec {
    pub(super) fn fields(self) -> &'static [Field] {
        match self {
            Self::None => &[],
            Self::Json(fields) | Self::Form(fields) | Self::JsonOrForm(fields) => fields,
        }
    }

    /// What only a form gets.
    pub(super) fn answers(self) -> &'static [AnswerSpec] {
        const BACK: AnswerSpec = answer(
            303,
            "The answer to a form of the page: back to the page.",
            ContentSpec::Empty,
        );
        match self {
            Self::JsonOrForm(_) => &[BACK],
            Self::None | Self::Json(_) | Self::Form(_) => &[],
        }
    }
}

pub(super) const fn field(name: &'static str, kind: FieldType) -> Field {
    Field {
        name,
        kind,
        is_nullable: false,
        is_optional: false,
    }
}

pub(super) const fn answer(status: u16, about: &'static str, content: ContentSpec) -> AnswerSpec {
    AnswerSpec {
        status,
        about,
        content,
    }
}

pub(super) const fn query(name: &'static str, about: &'static str, kind: FieldType) -> Parameter {
    Parameter {
        name,
        place: "query",
        about,
        kind,
    }
}

impl Field {
    /// The value may be null.
    pub(super) const fn or_null(self) -> Self {
        Self {
            is_nullable: true,
            ..self
        }
    }

    /// The key may be absent.
    pub(super) const fn optional(self) -> Self {
        Self {
            is_optional: true,
            ..self
        }
    }

    pub(super) fn schema(&self) -> Value {
        let mut schema = self.kind.schema();
        if self.is_nullable {
            schema["type"] = json!([schema["type"], "null"]);
        }
        schema
    }
}

impl FieldType {
    pub(super) fn schema(self) -> Value {
        match self {
            Self::Boolean => json!({"type": "boolean"}),
            Self::Integer => json!({"type": "integer"}),
            Self::Whole(min, max) => json!({"type": "integer", "minimum": min, "maximum": max}),
            Self::Number => json!({"type": "number"}),
            Self::Text => json!({"type": "string"}),
            Self::Line(min, max) => json!({"type": "string", "minLength": min, "maxLength": max}),
            Self::OneOf(words) => json!({"type": "string", "enum": words}),
            Self::Time => json!({"type": "string", "format": "date-time"}),
            Self::Object => json!({"type": "object"}),
            Self::Texts => json!({"type": "array", "items": {"type": "string"}}),
            Self::Objects => json!({"type": "array", "items": {"type": "object"}}),
        }
    }
}
