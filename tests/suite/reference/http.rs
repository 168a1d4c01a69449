//! `docs/reference/http.md`, from the OpenAPI document, and whether the dashboard answers as the
//! document says.

use super::{cell, check_page, contents, printed};
use crate::people::{gated, signed_in};
use portcullis_dashboard::web::{BUILT_IN_TOKEN_ROUTES, DRAIN_PATH, PEOPLE_PATHS, SERVED_PATHS};
use portcullis_tests::{Browser, DRAIN_SECRET, Process, Reply, get, request};
use serde_json::{Map, Value};
use std::collections::BTreeSet;
use std::fmt::Write;

const METHODS: [&str; 5] = ["get", "post", "put", "patch", "delete"];
/// Without a ticket it refuses every method.
const SOCKET: &str = "/api/ws";

fn map(value: &Value) -> &Map<String, Value> {
    value.as_object().expect("a JSON object")
}

/// The answer of an operation with this status. Many operations share some, by reference.
fn described<'a>(document: &'a Value, operation: &'a Value, status: u16) -> &'a Value {
    let answer = &operation["responses"][status.to_string()];
    match answer["$ref"].as_str() {
        Some(reference) => document
            .pointer(reference.trim_start_matches('#'))
            .expect("what is referred to"),
        None => answer,
    }
}

/// Checks an answer's status, the type of its body and the keys of JSON against an operation.
fn check(document: &Value, operation: &Value, call: &str, reply: &Reply) {
    let answer = described(document, operation, reply.status);
    assert!(
        !answer.is_null(),
        "{call}: the document lacks the status of {reply:?}"
    );
    let kind = reply
        .header("content-type")
        .map(|kind| kind.split(';').next().unwrap_or_default().to_owned());
    if let Some(kind) = kind.as_deref().filter(|_| !reply.body.is_empty()) {
        assert!(
            !answer["content"][kind].is_null(),
            "{call}: the document lacks {kind} of {reply:?}"
        );
    }
    if kind.as_deref() != Some("application/json") {
        return;
    }
    let schema = &answer["content"]["application/json"]["schema"];
    let Some(properties) = schema["properties"].as_object() else {
        assert_eq!(
            schema["type"], "object",
            "{call}: the document has no JSON for {reply:?}"
        );
        return;
    };
    let body = reply.json();
    let unknown: Vec<_> = map(&body)
        .keys()
        .filter(|key| !properties.contains_key(*key))
        .collect();
    assert!(
        unknown.is_empty(),
        "{call}: {unknown:?} is not in the document: {reply:?}"
    );
    let required = schema["required"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str);
    let missing: Vec<_> = required.filter(|key| body.get(key).is_none()).collect();
    assert!(
        missing.is_empty(),
        "{call}: {missing:?} is missing in {reply:?}"
    );
    for (key, value) in map(&body) {
        assert!(
            fits(&properties[key], value),
            "{call}: {key} has another type in {reply:?}"
        );
    }
}

/// Whether a value has the type, or one of the types, that a schema names.
fn fits(schema: &Value, value: &Value) -> bool {
    let names = match &schema["type"] {
        Value::Array(names) => names.clone(),
        name => vec![name.clone()],
    };
    names
        .iter()
        .filter_map(Value::as_str)
        .any(|name| match name {
            "null" => value.is_null(),
            "boolean" => value.is_boolean(),
            "integer" => value.is_i64() || value.is_u64(),
            "number" => value.is_number(),
            "string" => value.is_string(),
            "array" => value.is_array(),
            "object" => value.is_object(),
            other => unreachable!("the document names no type {other}"),
        })
}

/// Calls a path with what opens it: the drain secret, or else the cookies of the browser.
fn call(dashboard: &Process, browser: &mut Browser, method: &str, path: &str, body: &str) -> Reply {
    let url = dashboard.url(path);
    let json = ("content-type", "application/json");
    let method = method.to_uppercase();
    match BUILT_IN_TOKEN_ROUTES
        .iter()
        .any(|route| path.starts_with(route))
    {
        true => {
            let bearer = format!("Bearer {DRAIN_SECRET}");
            request(&method, &url, &[("authorization", &bearer), json], body)
        }
        false => browser.request(&method, &url, &[json], body),
    }
}

#[test]
fn document_has_every_route_and_every_method() {
    let document = printed(&["openapi"]);
    assert_eq!(document["openapi"], "3.1.0");
    let described: BTreeSet<_> = map(&document["paths"]).keys().map(String::as_str).collect();
    let routes: BTreeSet<_> = SERVED_PATHS
        .iter()
        .chain(BUILT_IN_TOKEN_ROUTES)
        .chain(PEOPLE_PATHS)
        .copied()
        .collect();
    assert_eq!(described, routes);

    let home = gated("http://agent.test", "");
    let dashboard = home.dashboard();
    let mut browser = signed_in(&dashboard, "ada");
    // The sign-out comes last, since it ends the session.
    let (last, first): (Vec<_>, Vec<_>) =
        routes.into_iter().partition(|path| *path == "/auth/logout");
    for path in first.into_iter().chain(last).filter(|path| *path != SOCKET) {
        let sent = path.replace("{id}", "0").replace("{provider}", "people");
        for method in METHODS {
            let body = if method == "post" { "{}" } else { "" };
            let reply = call(&dashboard, &mut browser, method, &sent, body);
            let operation = &document["paths"][path][method];
            assert_eq!(
                operation.is_null(),
                reply.status == 405,
                "{method} {path}: {reply:?}"
            );
            if !operation.is_null() {
                check(&document, operation, &format!("{method} {path}"), &reply);
            }
        }
    }
}

#[test]
fn dashboard_answers_as_the_document_says() {
    let document = printed(&["openapi"]);
    let home = gated("http://agent.test", "");
    let dashboard = home.dashboard();
    let mut ada = signed_in(&dashboard, "ada");
    let good = r#"{"provider":"people","username":"ada","password":"good"}"#;
    let wrong = r#"{"provider":"people","username":"ada","password":"wrong"}"#;
    for (method, path, route, body, status) in [
        (
            "post",
            DRAIN_PATH,
            DRAIN_PATH,
            r#"{"action":"drain","later":1}"#,
            200,
        ),
        (
            "post",
            DRAIN_PATH,
            DRAIN_PATH,
            r#"{"action":"cancel"}"#,
            200,
        ),
        ("post", DRAIN_PATH, DRAIN_PATH, r#"{"action":"dance"}"#, 400),
        ("get", "/api/gateway/drain?wait=31", DRAIN_PATH, "", 400),
        ("delete", "/api/sessions?user=eve", "/api/sessions", "", 200),
        ("get", SOCKET, SOCKET, "", 401),
        ("delete", "/api/sessions/%FF", "/api/sessions/{id}", "", 404),
        (
            "post",
            "/auth/backchannel/%FF",
            "/auth/backchannel/{provider}",
            "",
            404,
        ),
        (
            "post",
            "/auth/backchannel/a%2Fb",
            "/auth/backchannel/{provider}",
            "",
            400,
        ),
        (
            "post",
            "/auth/password-login",
            "/auth/password-login",
            good,
            200,
        ),
        (
            "post",
            "/auth/password-login",
            "/auth/password-login",
            wrong,
            401,
        ),
    ] {
        let reply = call(&dashboard, &mut ada, method, path, body);
        assert_eq!(reply.status, status, "{method} {path}: {reply:?}");
        check(&document, &document["paths"][route][method], path, &reply);
    }
    refuses_another_host_as_described(&document, &dashboard);
    for path in map(&document["paths"])
        .keys()
        .filter(|path| !path.contains('{'))
    {
        for method in map(&document["paths"][path])
            .keys()
            .filter(|method| METHODS.contains(&method.as_str()))
        {
            let body = if method == "post" { "{}" } else { "" };
            let reply = request(&method.to_uppercase(), &dashboard.url(path), &[], body);
            check(
                &document,
                &document["paths"][path][method],
                &format!("{method} {path} without credentials"),
                &reply,
            );
        }
    }
}

/// Every operation but the probes refuses a `Host` that is not its own, in the form that the document
/// gives it.
fn refuses_another_host_as_described(document: &Value, dashboard: &Process) {
    const PROBES: [&str; 2] = ["/healthz", "/readyz"];

    let paths = map(&document["paths"]).iter();
    for (path, operations) in paths.filter(|(path, _)| !PROBES.contains(&path.as_str())) {
        let sent = path.replace("{id}", "0").replace("{provider}", "people");
        let methods = map(operations).keys();
        for method in methods.filter(|method| METHODS.contains(&method.as_str())) {
            let reply = request(
                &method.to_uppercase(),
                &dashboard.url(&sent),
                &[("host", "another.test")],
                "",
            );
            let call = format!("{method} {path} of another host");
            assert_eq!(reply.status, 400, "{call}: {reply:?}");
            check(document, &operations[method], &call, &reply);
        }
    }
}

#[test]
fn document_is_served_and_printed_alike() {
    let home = gated("http://agent.test", "");
    let dashboard = home.dashboard();
    let path = "/_portcullis/openapi.json";
    assert_eq!(get(&dashboard.url(path), &[]).status, 302);
    let served = signed_in(&dashboard, "ada")
        .get(&dashboard.url(path))
        .json();
    assert_eq!(served, printed(&["openapi"]));
}

/// The names of an object's keys; those that may be absent have a `?`.
fn keys(schema: &Value) -> String {
    let Some(properties) = schema["properties"].as_object() else {
        return String::new();
    };
    let is_needed = |key: &str| {
        schema["required"]
            .as_array()
            .into_iter()
            .flatten()
            .any(|needed| needed == key)
    };
    let name = |key: &String| {
        if is_needed(key) {
            format!("`{key}`")
        } else {
            format!("`{key}`?")
        }
    };
    properties.keys().map(name).collect::<Vec<_>>().join(", ")
}

/// The media types of a body, and the keys of its JSON.
fn content(of: &Value) -> String {
    let Some(kinds) = of["content"].as_object() else {
        return String::new();
    };
    let names: Vec<_> = kinds.keys().map(String::as_str).collect();
    let keys = kinds
        .values()
        .next()
        .map(|kind| keys(&kind["schema"]))
        .unwrap_or_default();
    if keys.is_empty() {
        names.join(", ")
    } else {
        format!("{}: {keys}", names.join(", "))
    }
}

fn write_operation(
    path: &str,
    methods: &[&str],
    operation: &Value,
    text: &mut String,
) -> std::fmt::Result {
    let methods: Vec<_> = methods.iter().map(|method| method.to_uppercase()).collect();
    writeln!(text, "\n## `{} {path}`\n", methods.join(", "))?;
    writeln!(
        text,
        "{}\n",
        operation["summary"].as_str().unwrap_or_default()
    )?;
    let schemes = operation["security"]
        .as_array()
        .into_iter()
        .flatten()
        .flat_map(|scheme| map(scheme).keys());
    let schemes: Vec<_> = schemes.map(|scheme| format!("`{scheme}`")).collect();
    let needed = if schemes.is_empty() {
        "none".to_owned()
    } else {
        schemes.join(" or ")
    };
    writeln!(text, "- credentials: {needed}")?;
    for parameter in operation["parameters"].as_array().into_iter().flatten() {
        let word = |name: &str| parameter[name].as_str().unwrap_or_default();
        writeln!(
            text,
            "- {} `{}`: {}",
            word("in"),
            word("name"),
            word("description")
        )?;
    }
    let body = content(&operation["requestBody"]);
    if !body.is_empty() {
        writeln!(text, "- body: {body}")?;
    }
    text.write_str("\n| status | | body |\n|---|---|---|\n")?;
    let mut answers: Vec<_> = map(&operation["responses"])
        .iter()
        .filter(|(_, answer)| answer.get("$ref").is_none())
        .collect();
    answers.sort_by_key(|(status, _)| *status);
    for (status, answer) in answers {
        let about = answer["description"].as_str().unwrap_or_default();
        writeln!(
            text,
            "| {status} | {} | {} |",
            cell(about),
            cell(&content(answer))
        )?;
    }
    Ok(())
}

/// Whether two operations differ in their names alone.
fn is_alike(left: &Value, right: &Value) -> bool {
    let unnamed = |operation: &Value| {
        let mut fields = map(operation).clone();
        fields.remove("operationId");
        fields
    };
    unnamed(left) == unnamed(right)
}

#[test]
fn http_page_is_made_of_the_document() {
    let document = printed(&["openapi"]);
    let mut intro = String::from(
        "# Routes of the dashboard\n\nMade from `portcullis openapi` by `tests/suite/reference`; [http.md](../http.md) explains \
         sessions, restarts and the gateway's own\nroutes. Most routes also stand below `/_portcullis`.\n\n\
         A key with `?` may be absent. Every route also refuses an unknown `Host` (400), a page of another \
         origin (403), too large a\nbody (413) and another method (405), with `detail` and mostly `error`.\n\nCredentials:\n\n",
    );
    for (name, scheme) in map(&document["components"]["securitySchemes"]) {
        let about = scheme["description"].as_str().unwrap_or_default();
        writeln!(intro, "- `{name}`: {about}").expect("a string");
    }
    let mut text = String::new();
    for (path, operations) in map(&document["paths"]) {
        let mut written: Vec<&Value> = Vec::new();
        for operation in map(operations).values() {
            if written.iter().any(|other| is_alike(other, operation)) {
                continue;
            }
            let alike = map(operations)
                .iter()
                .filter(|(_, other)| is_alike(other, operation));
            let methods: Vec<_> = alike.map(|(method, _)| method.as_str()).collect();
            write_operation(path, &methods, operation, &mut text).expect("a string");
            written.push(operation);
        }
    }
    check_page(
        "http.md",
        &format!("{intro}\nRoutes:\n\n{}{text}", contents(&text)),
    );
}
