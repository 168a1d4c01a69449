//! The OpenAPI 3.1 document of the dashboard's routes: `GET /_portcullis/openapi.json` and `portcullis openapi`.

mod operation;
mod operations;

use super::cookie_name::DEFAULT_COOKIE_NAME;
use axum::Json;
use operation::{Answer, Body, Content, Field, Guard, Operation, Parameter, answer};
use operations::{OPERATIONS, PROBLEM};
use serde_json::{Map, Value, json};

pub(super) async fn document() -> Json<Value> {
    Json(openapi())
}

/// Returns the OpenAPI 3.1 document of every route of the dashboard.
pub fn openapi() -> Value {
    let mut paths = Map::new();
    for operation in OPERATIONS {
        let path = paths.entry(operation.path).or_insert_with(|| json!({}));
        for method in operation.methods {
            path[*method] = describe(operation);
        }
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Portcullis dashboard",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Errors are JSON with `detail`, a sentence for people, and mostly `error`, a code for programs.",
        },
        "paths": paths,
        "components": {"securitySchemes": {
            "bearer": {
                "type": "http",
                "scheme": "bearer",
                "description": "The drain secret, a token that a provider recognizes, or on a loopback bind the token of the process.",
            },
            "session": {
                "type": "apiKey",
                "in": "cookie",
                "name": format!("{DEFAULT_COOKIE_NAME}_at"),
                "description": "The session of a person. The name begins with `dashboard.cookie_name`, and over https with `__Host-` or `__Secure-`.",
            },
            "processToken": {
                "type": "apiKey",
                "in": "header",
                "name": "X-Hermes-Session-Token",
                "description": "The token of the process, on a loopback bind and on this machine alone.",
            },
        }},
    })
}

fn describe(operation: &Operation) -> Value {
    let mut responses = Map::new();
    for answer in operation.answers.iter().chain(operation.body.answers()).chain(operation.guard.answers()) {
        responses.entry(answer.status.to_string()).or_insert_with(|| response(answer));
    }
    let refusal = "Refused before the route: an unknown `Host`, a page of another origin, too large a body.";
    responses.insert("default".to_owned(), response(&answer(0, refusal, PROBLEM)));
    let mut described = json!({"summary": operation.about});
    if !operation.parameters.is_empty() {
        described["parameters"] = operation.parameters.iter().map(parameter).collect();
    }
    if let Some(body) = request_body(operation.body) {
        described["requestBody"] = body;
    }
    described["responses"] = responses.into();
    described["security"] = operation.guard.security().iter().map(|scheme| scheme_alone(scheme)).collect();
    described
}

/// A requirement of one security scheme.
fn scheme_alone(scheme: &str) -> Value {
    let mut requirement = Map::new();
    requirement.insert(scheme.to_owned(), json!([]));
    requirement.into()
}

fn parameter(parameter: &Parameter) -> Value {
    json!({
        "name": parameter.name,
        "in": parameter.place,
        "description": parameter.about,
        "required": parameter.place == "path",
        "schema": parameter.kind.schema(),
    })
}

fn request_body(body: Body) -> Option<Value> {
    const JSON: &str = "application/json";
    const FORM: &str = "application/x-www-form-urlencoded";
    let media: &[&str] = match body {
        Body::None => return None,
        Body::Json(_) => &[JSON],
        Body::Form(_) => &[FORM],
        Body::JsonOrForm(_) => &[JSON, FORM],
    };
    let fields = body.fields();
    let content: Map<_, _> =
        media.iter().map(|media| ((*media).to_owned(), json!({"schema": object(fields)}))).collect();
    Some(json!({"required": fields.iter().any(|field| !field.is_optional), "content": content}))
}

fn response(answer: &Answer) -> Value {
    let content = match answer.content {
        Content::Empty => return json!({"description": answer.about}),
        Content::Text(media) => (media, json!({"type": "string"})),
        Content::Json(fields) => ("application/json", object(fields)),
        Content::Object => ("application/json", json!({"type": "object"})),
    };
    let (media, schema) = content;
    let mut content = Map::new();
    content.insert(media.to_owned(), json!({"schema": schema}));
    json!({"description": answer.about, "content": content})
}

fn object(fields: &[Field]) -> Value {
    let properties: Map<_, _> = fields.iter().map(|field| (field.name.to_owned(), field.schema())).collect();
    let required: Vec<_> = fields.iter().filter(|field| !field.is_optional).map(|field| field.name).collect();
    json!({"type": "object", "properties": properties, "required": required})
}

impl Guard {
    /// The security schemes, of which one is enough.
    fn security(self) -> &'static [&'static str] {
        match self {
            Self::Public | Self::Ticket => &[],
            Self::Page => &["session"],
            Self::People | Self::Operators | Self::Metrics => &["session", "processToken", "bearer"],
            Self::DrainSecret | Self::BearerToken => &["bearer"],
            Self::Proxy => &["bearer", "session"],
        }
    }

    /// What those get who present nothing, or something else.
    fn answers(self) -> &'static [Answer] {
        const NO_SESSION: Answer = answer(
            401,
            "No session. `reason` says why, `login_url` where to sign in.",
            Content::Json(&[
                operation::field("error", operation::Kind::Text),
                operation::field("detail", operation::Kind::Text),
                operation::field("reason", operation::Kind::Text).optional(),
                operation::field("login_url", operation::Kind::Text).optional(),
            ]),
        );
        const NO_TOKEN: Answer = answer(401, "No token that is recognized.", PROBLEM);
        const TO_SIGN_IN: Answer = answer(302, "No session: to the sign-in page.", Content::Empty);
        const NOT_ALLOWED: Answer =
            answer(403, "The role or the scope is missing; `detail` names it.", PROBLEM);
        const NO_ROLE: Answer = answer(403, "The person has no role.", Content::Text("text/html"));
        const NO_ANSWER: Answer = answer(503, "A provider gave no answer about the caller.", PROBLEM);
        match self {
            Self::Public => &[],
            Self::People | Self::Operators => &[NO_SESSION, NOT_ALLOWED, NO_ANSWER],
            Self::Page => &[TO_SIGN_IN, NO_ROLE, NO_ANSWER],
            Self::Metrics => &[TO_SIGN_IN, NO_TOKEN, NOT_ALLOWED, NO_ANSWER],
            Self::DrainSecret | Self::BearerToken => &[NO_TOKEN, NOT_ALLOWED, NO_ANSWER],
            Self::Proxy => &[TO_SIGN_IN, NO_SESSION, NOT_ALLOWED, NO_ANSWER],
            Self::Ticket => &[NO_SESSION],
        }
    }
}

/// Every path that is described.
#[cfg(test)]
pub(super) fn paths() -> impl Iterator<Item = &'static str> {
    OPERATIONS.iter().map(|operation| operation.path)
}
