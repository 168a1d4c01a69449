//! The OpenAPI 3.1 document of the dashboard's routes: `GET /_portcullis/openapi.json` and
//! `portcullis openapi`.

mod operation;
mod operations;

use super::cookie_name::DEFAULT_COOKIE_NAME;
use super::routes::SERVED_PATHS;
use axum::Json;
use operation::{
    AnswerSpec, BodySpec, ContentSpec, Field, Link, OperationSpec, Parameter, SecurityRequirement,
    answer,
};
use operations::{OPERATIONS, PROBLEM, PROBLEM_FIELDS};
use serde_json::{Map, Value, json};

const JSON: &str = "application/json";
const HTML: &str = "text/html";
const ABOUT: &str = "Errors are JSON with `detail`, a sentence for people, and mostly `error`, a code for programs. Every \
                     answer to a request that can be read has `X-Request-Id`. What is not HTTP/1.1 (400), has a target \
                     that is too long (414) or a head that is too large (431) is refused before it is a request: that \
                     answer has neither a body nor an id.";

pub(super) async fn document() -> Json<Value> {
    Json(openapi())
}

/// Returns the OpenAPI 3.1 document of every route of the dashboard.
pub fn openapi() -> Value {
    let mut paths = Map::new();

    for operation in OPERATIONS {
        let path = paths.entry(operation.path).or_insert_with(|| json!({}));
        for method in operation.methods {
            path[*method] = describe(operation, method);
        }
    }

    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Portcullis dashboard",
            "version": env!("CARGO_PKG_VERSION"),
            "description": ABOUT,
        },
        "paths": paths,
        "components": {"responses": common_responses(), "securitySchemes": security_schemes()},
    })
}

fn security_schemes() -> Value {
    json!({
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
    })
}

fn describe(operation: &OperationSpec, method: &str) -> Value {
    let mut responses = Map::new();

    for answer in operation
        .answers
        .iter()
        .chain(operation.body.answers())
        .chain(operation.guard.answers())
    {
        responses
            .entry(answer.status.to_string())
            .or_insert_with(|| response(answer));
    }
    if SERVED_PATHS.contains(&operation.path) {
        for answer in SecurityRequirement::BearerToken.answers() {
            responses
                .entry(answer.status.to_string())
                .or_insert_with(|| response(answer));
        }
    }
    for refusal in COMMON
        .iter()
        .filter(|refusal| refusal.is_possible(operation, method))
    {
        let reference = || json!({"$ref": format!("#/components/responses/{}", refusal.name)});
        responses
            .entry(refusal.answer.status.to_string())
            .or_insert_with(reference);
    }

    if let Some(good) = responses.get_mut("200")
        && !operation.links.is_empty()
    {
        good["links"] = links(operation.links);
    }

    let mut described =
        json!({"operationId": operation_id(method, operation.path), "summary": operation.about});
    if !operation.parameters.is_empty() {
        described["parameters"] = operation.parameters.iter().map(parameter).collect();
    }
    if let Some(body) = request_body(operation.body) {
        described["requestBody"] = body;
    }

    described["responses"] = responses.into();
    described["security"] = operation
        .guard
        .security()
        .iter()
        .map(|scheme| scheme_alone(scheme))
        .collect();
    described
}

/// The method and the words of the path, such as `delete_api_sessions_id`.
fn operation_id(method: &str, path: &str) -> String {
    let words = path
        .split(|letter: char| !letter.is_ascii_alphanumeric())
        .filter(|word| !word.is_empty());
    words.fold(method.to_owned(), |id, word| format!("{id}_{word}"))
}

fn links(links: &[Link]) -> Value {
    let link = |link: &Link| {
        let (method, path) = link.to;
        let mut parameters = Map::new();
        parameters.insert(
            link.parameter.to_owned(),
            json!(format!("$response.body#{}", link.value)),
        );
        let link_object =
            json!({"operationId": operation_id(method, path), "parameters": parameters});
        (link.name.to_owned(), link_object)
    };
    Value::Object(links.iter().map(link).collect())
}

/// A refusal before or beside the handler, which many operations share.
struct CommonRefusal {
    /// In `components.responses`.
    name: &'static str,
    answer: AnswerSpec,
}

const COMMON: [CommonRefusal; 5] = [
    CommonRefusal {
        name: "NotForHere",
        answer: answer(
            400,
            "The `Host` is unknown, or the path is not plain.",
            PROBLEM,
        ),
    },
    CommonRefusal {
        name: "OtherOrigin",
        answer: answer(
            403,
            "A page of another origin asked, or the token of the process came from elsewhere.",
            PROBLEM,
        ),
    },
    CommonRefusal {
        name: "TooSlow",
        answer: answer(408, "The body did not arrive in time.", PROBLEM),
    },
    CommonRefusal {
        name: "TooLarge",
        answer: answer(413, "The body is too large.", PROBLEM),
    },
    CommonRefusal {
        name: "Failed",
        answer: answer(500, "The dashboard failed. The log says why.", PROBLEM),
    },
];

impl CommonRefusal {
    fn is_possible(&self, operation: &OperationSpec, method: &str) -> bool {
        match self.answer.status {
            403 => {
                !matches!(method, "get" | "head" | "options" | "trace")
                    || operation.guard == SecurityRequirement::Ticket
            }
            408 | 413 => operation.body != BodySpec::None,
            _ => true,
        }
    }
}

fn common_responses() -> Value {
    let named = |refusal: &CommonRefusal| (refusal.name.to_owned(), response(&refusal.answer));
    Value::Object(COMMON.iter().map(named).collect())
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

fn request_body(body: BodySpec) -> Option<Value> {
    const FORM: &str = "application/x-www-form-urlencoded";
    let media: &[&str] = match body {
        BodySpec::None => return None,
        BodySpec::Json(_) => &[JSON],
        BodySpec::Form(_) => &[FORM],
        BodySpec::JsonOrForm(_) => &[JSON, FORM],
    };
    let fields = body.fields();
    let content: Map<_, _> = media
        .iter()
        .map(|media| ((*media).to_owned(), json!({"schema": object(fields)})))
        .collect();

    Some(json!({"required": fields.iter().any(|field| !field.is_optional), "content": content}))
}

fn response(answer: &AnswerSpec) -> Value {
    let text = json!({"type": "string"});
    let kinds: Vec<(&str, Value)> = match answer.content {
        ContentSpec::Empty => return json!({"description": answer.about}),
        ContentSpec::Text(media) => media.iter().map(|media| (*media, text.clone())).collect(),
        ContentSpec::Json(fields) => vec![(JSON, object(fields))],
        ContentSpec::JsonOrPage(fields) => vec![(JSON, object(fields)), (HTML, text)],
        ContentSpec::Object => vec![(JSON, json!({"type": "object"}))],
    };

    let content: Map<_, _> = kinds
        .into_iter()
        .map(|(media, schema)| (media.to_owned(), json!({"schema": schema})))
        .collect();
    json!({"description": answer.about, "content": content})
}

fn object(fields: &[Field]) -> Value {
    let properties: Map<_, _> = fields
        .iter()
        .map(|field| (field.name.to_owned(), field.schema()))
        .collect();
    let required: Vec<_> = fields
        .iter()
        .filter(|field| !field.is_optional)
        .map(|field| field.name)
        .collect();
    json!({"type": "object", "properties": properties, "required": required})
}

impl SecurityRequirement {
    /// The security schemes, of which one is enough.
    fn security(self) -> &'static [&'static str] {
        match self {
            Self::Public | Self::Ticket => &[],
            Self::Page => &["session"],
            Self::People | Self::Operators | Self::Metrics => {
                &["session", "processToken", "bearer"]
            }
            Self::DrainSecret | Self::BearerToken => &["bearer"],
            Self::Proxy => &["bearer", "session"],
        }
    }

    /// What those get who present nothing, or something else.
    fn answers(self) -> &'static [AnswerSpec] {
        const NO_SESSION: AnswerSpec = answer(
            401,
            "No session. `reason` says why, `login_url` where to sign in.",
            ContentSpec::Json(&[
                operation::field("error", operation::FieldType::Text),
                operation::field("detail", operation::FieldType::Text),
                operation::field("reason", operation::FieldType::Text).optional(),
                operation::field("login_url", operation::FieldType::Text).optional(),
            ]),
        );
        const NO_TOKEN: AnswerSpec = answer(401, "No token that is recognized.", PROBLEM);
        const TO_SIGN_IN: AnswerSpec =
            answer(302, "No session: to the sign-in page.", ContentSpec::Empty);
        const NOT_ALLOWED: AnswerSpec = answer(
            403,
            "The role or the scope is missing; `detail` names it.",
            PROBLEM,
        );
        const NO_ROLE: AnswerSpec = answer(
            403,
            "The role or the scope is missing.",
            ContentSpec::JsonOrPage(PROBLEM_FIELDS),
        );
        const NO_ANSWER: AnswerSpec =
            answer(503, "A provider gave no answer about the caller.", PROBLEM);

        match self {
            Self::Public => &[],
            Self::People | Self::Operators => &[NO_SESSION, NOT_ALLOWED, NO_ANSWER],
            Self::Page => &[TO_SIGN_IN, NO_ROLE, NO_ANSWER],
            Self::Metrics => &[TO_SIGN_IN, NO_TOKEN, NO_ROLE, NO_ANSWER],
            Self::DrainSecret | Self::BearerToken => &[NO_TOKEN, NOT_ALLOWED, NO_ANSWER],
            Self::Proxy => &[TO_SIGN_IN, NO_SESSION, NO_ROLE, NO_ANSWER],
            Self::Ticket => &[NO_SESSION],
        }
    }
}

/// Every path that is described.
#[cfg(test)]
pub(super) fn paths() -> impl Iterator<Item = &'static str> {
    OPERATIONS.iter().map(|operation| operation.path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn ids_of_operations_differ_and_every_link_leads_to_a_parameter() {
        let mut ids = BTreeSet::new();
        for operation in OPERATIONS {
            for method in operation.methods {
                assert!(
                    ids.insert(operation_id(method, operation.path)),
                    "{method} {}",
                    operation.path
                );
            }
        }
        for link in OPERATIONS.iter().flat_map(|operation| operation.links) {
            let (method, path) = link.to;
            let is_target = |operation: &&OperationSpec| {
                operation.path == path && operation.methods.contains(&method)
            };
            let target = OPERATIONS
                .iter()
                .find(is_target)
                .expect("the other operation");
            assert!(
                target
                    .parameters
                    .iter()
                    .any(|known| known.name == link.parameter),
                "{link:?}"
            );
        }
    }

    #[test]
    fn answer_with_the_status_of_a_common_refusal_may_have_its_form() {
        const COMMON_KEYS: [&str; 2] = ["detail", "error"];

        for operation in OPERATIONS {
            let is_common = |answer: &AnswerSpec| {
                COMMON.iter().any(|refusal| {
                    let is_possible = |method: &&str| refusal.is_possible(operation, method);
                    refusal.answer.status == answer.status
                        && operation.methods.iter().any(is_possible)
                })
            };
            let answers = operation
                .answers
                .iter()
                .chain(operation.body.answers())
                .chain(operation.guard.answers());
            for answer in answers.filter(|answer| is_common(answer)) {
                let (ContentSpec::Json(fields) | ContentSpec::JsonOrPage(fields)) = answer.content
                else {
                    panic!("{}: {} is no JSON", operation.path, answer.status);
                };
                let has = |key: &&str| fields.iter().any(|field| field.name == *key);
                let is_met = |field: &Field| field.is_optional || COMMON_KEYS.contains(&field.name);
                assert!(
                    COMMON_KEYS.iter().all(has) && fields.iter().all(is_met),
                    "{}: {}",
                    operation.path,
                    answer.status
                );
            }
        }
    }

    #[test]
    fn no_status_is_described_for_all() {
        let document = openapi();
        let paths = document["paths"].as_object().expect("a map");
        let operations = paths
            .values()
            .filter_map(Value::as_object)
            .flat_map(Map::values);
        for operation in operations {
            assert_eq!(
                operation["responses"]["default"],
                Value::Null,
                "{operation}"
            );
        }
    }
}
