//! `docs/reference/configuration.md`, from the JSON Schema that `portcullis config schema` prints.

use super::{cell, check_page, contents, printed};
use portcullis_tests::{Home, Process};
use serde_json::Value;
use std::collections::BTreeSet;
use std::fmt::Write;
use std::fs;

/// What may stand as a value, in words.
fn form(schema: &Value) -> String {
    if let Some(target) = schema["$ref"].as_str() {
        return target.trim_start_matches("#/$defs/").to_owned();
    }
    if let Some(forms) = schema["anyOf"].as_array() {
        // A reference may stand in the place of every text: the page says so once.
        // So it says that a key without a value counts as absent.
        let is_said = |form: &&Value| form["$ref"] == "#/$defs/reference" || form["type"] == "null";
        let words: Vec<_> = forms
            .iter()
            .filter(|form| !is_said(form))
            .map(form)
            .collect();
        return words.join(" or ");
    }
    if let Some(words) = schema["enum"].as_array() {
        let words: Vec<_> = words
            .iter()
            .filter_map(Value::as_str)
            .map(|word| format!("`{word}`"))
            .collect();
        return words.join(", ");
    }
    let kind = match &schema["type"] {
        Value::Array(kinds) => kinds.first().and_then(Value::as_str),
        kind => kind.as_str(),
    };
    match kind {
        Some("integer" | "number") => format!("{} to {}", schema["minimum"], schema["maximum"]),
        Some("boolean") => "`true` or `false`".to_owned(),
        Some("string") => "text".to_owned(),
        Some("array") => format!("list of {}", form(&schema["items"])),
        Some("object") if !schema["properties"]["file"].is_null() => "`{file: PATH}`".to_owned(),
        None if schema["type"].is_null() => "any".to_owned(),
        _ => "map".to_owned(),
    }
}

/// The maps in the value of a key, each with the name under which its keys stand.
fn maps_below<'a>(name: &str, schema: &'a Value) -> Vec<(String, &'a Value)> {
    if schema["properties"].is_object() && form(schema) == "map" {
        return vec![(name.to_owned(), schema)];
    }
    let alternatives = schema["anyOf"].as_array().into_iter().flatten();
    let mut below: Vec<_> = alternatives
        .flat_map(|form| maps_below(name, form))
        .collect();
    if schema["items"].is_object() {
        below.extend(maps_below(&format!("{name}[]"), &schema["items"]));
    }
    if schema["additionalProperties"].is_object() {
        below.extend(maps_below(
            &format!("{name}.NAME"),
            &schema["additionalProperties"],
        ));
    }
    below
}

fn row(key: &str, schema: &Value, is_needed: bool) -> String {
    let value = match schema["x-unit"].as_str() {
        Some(unit) => format!("{} {unit}", form(schema)),
        None => form(schema),
    };
    let default = match &schema["default"] {
        Value::Null if is_needed => "needed".to_owned(),
        Value::Null => String::new(),
        Value::String(text) => format!("`{text}`"),
        other => format!("`{other}`"),
    };
    let about = schema["description"].as_str().unwrap_or_default();
    format!(
        "| `{key}` | {} | {default} | {} |\n",
        cell(&value),
        cell(about)
    )
}

/// A map's keys as a table, then those of the maps in it. `of` follows the name in each heading.
fn write_map(name: &str, of: &str, schema: &Value, text: &mut String) {
    let shown = if name.is_empty() {
        "portcullis.yaml"
    } else {
        name
    };
    let keys = schema["properties"].as_object().expect("a map has keys");
    let is_needed = |key: &str| {
        schema["required"]
            .as_array()
            .into_iter()
            .flatten()
            .any(|needed| needed == key)
    };
    write!(
        text,
        "\n## `{shown}`{of}\n\n| key | value | default | |\n|---|---|---|---|\n"
    )
    .expect("a string");
    for (key, schema) in keys {
        text.push_str(&row(key, schema, is_needed(key)));
    }
    for (key, below) in keys {
        let full = if name.is_empty() {
            key.clone()
        } else {
            format!("{name}.{key}")
        };
        let mut written: Vec<&Value> = Vec::new();
        for (name, map) in maps_below(&full, below) {
            // A list of it may stand in the place of one map.
            if !written.contains(&map) {
                write_map(&name, of, map, text);
            }
            written.push(map);
        }
    }
    for builtin in schema["allOf"].as_array().into_iter().flatten() {
        let (component, config) = settings(builtin);
        write_map("config", &format!(" of `{component}`"), config, text);
    }
}

/// The component of a condition, and the schema of its settings.
fn settings(condition: &Value) -> (&str, &Value) {
    let component = condition["if"]["properties"]["component"]["const"]
        .as_str()
        .expect("a component");
    (component, &condition["then"]["properties"]["config"])
}

#[test]
fn configuration_page_is_made_of_the_schema() {
    let schema = printed(&["config", "schema"]);
    let intro = "# The configuration file\n\nMade from `portcullis config schema` by `tests/suite/reference`. Editors complete and check \
                 the file with that schema:\n\n```sh\nportcullis config schema > portcullis.schema.json\n```\n\n```yaml\n\
                 # yaml-language-server: $schema=portcullis.schema.json\n```\n\nEvery text may also be `{env: NAME}` or \
                 `{file: PATH}`; a *secret* should be. A key without a value counts as absent.\n";
    let mut text = String::new();
    write_map("", "", &schema, &mut text);
    for expected in [
        "## `dashboard.providers[].limits`",
        "## `config` of `builtin:oidc`",
        "| `max_turns` | 1 to 10000 | `64` |",
    ] {
        assert!(text.contains(expected), "{expected} is not in\n{text}");
    }
    check_page(
        "configuration.md",
        &format!("{intro}\n{}{text}", contents(&text)),
    );
}

#[test]
fn settings_of_builtins_are_those_that_the_providers_take() {
    let schema = printed(&["config", "schema"]);
    let provider = &schema["properties"]["dashboard"]["properties"]["providers"]["items"];
    for condition in provider["allOf"].as_array().expect("the builtins") {
        let (component, config) = settings(condition);
        let described: BTreeSet<_> = config["properties"]
            .as_object()
            .expect("settings")
            .keys()
            .map(String::as_str)
            .collect();
        // Named by its path, since the reader lets no unknown setting of a builtin through.
        let home = Home::with_config(
            "dashboard: {providers: [{name: a, component: own.wasm, config: {nope: x}, grants: {keyvalue: true, \
             http: ['https://idp.example.com']}}]}",
        );
        let name = component.trim_start_matches("builtin:");
        let bytes = portcullis_bundled::component(name).expect("a builtin");
        fs::write(home.file("own.wasm"), bytes).expect("a file in the home");
        let refused = Process::run(&home, &["config", "check"], &[]).stderr;
        let (_, known) = refused
            .split_once("unknown setting `nope`: ")
            .expect(&refused);
        let known = known.lines().next().unwrap_or_default();
        let known = known
            .trim_start_matches("there are ")
            .trim_start_matches("the only one is ");
        let known: BTreeSet<_> = known
            .split(", ")
            .map(|name| name.trim_matches(['`', '.']))
            .collect();
        assert_eq!(
            described, known,
            "{component}: left: runtime/dashboard/src/config/schema/settings.rs, right: the provider"
        );
    }
}
