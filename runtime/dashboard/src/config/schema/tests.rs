use super::super::load::read_root;
use super::super::section::{Reader, References};
use super::super::{DashboardConfig, GatewayConfig};
use super::key::{Form, SchemaKey};
use super::{keys, settings};
use crate::yaml::Node;
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// Passes every strength gate.
const STRONG: &str = "tQ7mX2vK9sB4wE8rY1uI6oA3dF5gH0jLzC2pN7kR4xVb";
/// The name of an entry in a map whose names the operator chooses.
const NAME: &str = "NAME";

struct Read {
    dashboard: DashboardConfig,
    gateway: GatewayConfig,
    mistakes: String,
    known: BTreeSet<String>,
}

/// Reads a file without following its references.
fn read(file: &Value) -> Read {
    let path = Path::new("/home/portcullis.yaml");
    let mut reader = Reader::new(Path::new("/home"), path, References::Leave);
    let root = Node::parse(&format!("{file:#}")).unwrap();
    let (dashboard, gateway) = read_root(root, path, References::Leave, &mut reader);
    let Reader {
        mistakes, known, ..
    } = reader;
    let mistakes = mistakes
        .into_sorted()
        .into_iter()
        .map(|mistake| mistake.text + "\n")
        .collect();
    Read {
        dashboard,
        gateway,
        mistakes,
        known,
    }
}

/// A file with every key but those in whose place another one stands.
fn whole_file() -> Value {
    example(&Form::Map(keys::ROOT))
}

fn example(form: &Form) -> Value {
    match form {
        Form::Text(text) => json!(text),
        Form::Secret => json!(STRONG),
        Form::Integer(low, _) => json!(low),
        Form::Ratio => json!(0.5),
        Form::Boolean => json!(true),
        Form::OneOf(words) => json!(words[0]),
        Form::File => json!({"file": "ca.pem"}),
        Form::List(item) => json!([example(item)]),
        Form::Map(keys) => {
            let keys = keys.iter().filter(|key| key.unless.is_none());
            keys.map(|key| (key.name.to_owned(), example(&key.form)))
                .collect::<Map<_, _>>()
                .into()
        }
        Form::OneKey(keys) => {
            let key = keys.last().unwrap();
            json!({key.name: example(&key.form)})
        }
        Form::Named(value) => json!({NAME: example(value)}),
        Form::Either(forms) => example(forms.last().unwrap()),
        Form::Settings | Form::Any => json!({}),
    }
}

/// Calls `visit` with every key and its full name, in which `[0]` stands for each entry of a list.
fn each_key(
    keys: &'static [SchemaKey],
    name: &str,
    visit: &mut dyn FnMut(&str, &'static SchemaKey),
) {
    for key in keys {
        let full = if name.is_empty() {
            key.name.to_owned()
        } else {
            format!("{name}.{}", key.name)
        };
        visit(&full, key);
        each_below(&key.form, &full, visit);
    }
}

fn each_below(form: &'static Form, name: &str, visit: &mut dyn FnMut(&str, &'static SchemaKey)) {
    match form {
        Form::Map(keys) | Form::OneKey(keys) => each_key(keys, name, visit),
        Form::List(item) => each_below(item, &format!("{name}[0]"), visit),
        Form::Named(value) => each_below(value, &format!("{name}.{NAME}"), visit),
        // As in the example.
        Form::Either(forms) => each_below(forms.last().unwrap(), name, visit),
        _ => {}
    }
}

fn all_keys() -> Vec<(String, &'static SchemaKey)> {
    let mut all = Vec::new();
    each_key(keys::ROOT, "", &mut |name, key| {
        all.push((name.to_owned(), key));
    });
    all
}

/// The place of a key in the file, as a JSON pointer (RFC 6901).
fn pointer(name: &str) -> String {
    format!("/{}", name.replace("[0]", ".0").replace('.', "/"))
}

fn file_with(name: &str, value: Value) -> Value {
    let mut file = whole_file();
    let (map, key) = map_and_key(&mut file, name);
    map.insert(key, value);
    file
}

fn file_without(name: &str) -> Value {
    let mut file = whole_file();
    let (map, key) = map_and_key(&mut file, name);
    map.shift_remove(&key);
    file
}

/// The map in which a key stands, and the key's own name.
fn map_and_key<'a>(file: &'a mut Value, name: &str) -> (&'a mut Map<String, Value>, String) {
    let pointer = pointer(name);
    let (map, key) = pointer.rsplit_once('/').unwrap();
    let map = file
        .pointer_mut(map)
        .and_then(Value::as_object_mut)
        .expect(name);
    (map, key.to_owned())
}

#[test]
fn schema_has_the_keys_that_the_reader_knows() {
    let described: BTreeSet<_> = all_keys().into_iter().map(|(name, _)| name).collect();
    let read = read(&whole_file());
    assert_eq!(
        described, read.known,
        "left: runtime/dashboard/src/config/schema/keys.rs, right: the reader"
    );
    assert_eq!(read.mistakes, "");
}

#[test]
fn ranges_are_those_of_the_reader() {
    for (name, key) in all_keys() {
        let Form::Integer(low, high) = key.form else {
            continue;
        };
        let complaint = format!("`{name}` must be an integer from {low} to {high}");
        for outside in [low - 1, high + 1] {
            let mistakes = read(&file_with(&name, outside.into())).mistakes;
            assert!(
                mistakes.contains(&complaint),
                "{name}: {outside}: {mistakes}"
            );
        }
        for inside in [low, high] {
            let mistakes = read(&file_with(&name, inside.into())).mistakes;
            assert!(
                !mistakes.contains(&format!("`{name}`")),
                "{name}: {inside}: {mistakes}"
            );
        }
    }
}

#[test]
fn words_are_those_of_the_reader() {
    for (name, key) in all_keys() {
        let Form::OneOf(words) = key.form else {
            continue;
        };
        let complaint = format!("`{name}`");
        for word in words {
            assert!(
                !read(&file_with(&name, json!(word)))
                    .mistakes
                    .contains(&complaint),
                "{name}: {word}"
            );
        }
        assert!(
            read(&file_with(&name, json!("another")))
                .mistakes
                .contains(&complaint),
            "{name}"
        );
    }
}

#[test]
fn values_of_another_type_are_refused() {
    for (name, key) in all_keys() {
        let wrong = match key.form {
            Form::Integer(..) | Form::Ratio | Form::List(_) | Form::Map(_) | Form::Named(_) => {
                json!("text")
            }
            Form::Boolean | Form::OneOf(_) | Form::Text(_) | Form::Secret => json!([1]),
            Form::File | Form::Either(_) | Form::OneKey(_) | Form::Settings | Form::Any => continue,
        };
        let mistakes = read(&file_with(&name, wrong)).mistakes;
        assert!(mistakes.contains(&format!("`{name}")), "{name}: {mistakes}");
    }
}

#[test]
fn needed_keys_are_those_that_the_reader_needs() {
    for (name, key) in all_keys() {
        let mistakes = read(&file_without(&name)).mistakes;
        // Without its one key, the map with a basic authorization is read as a reference.
        let is_complained_of = match key.name {
            "basic" => !mistakes.is_empty(),
            _ => mistakes.contains(&format!("`{name}` is missing")),
        };
        assert_eq!(is_complained_of, key.is_required, "{name}: {mistakes}");
    }
}

#[test]
fn defaults_are_those_of_the_reader() {
    for (name, key) in all_keys() {
        let Some(default) = key.default else { continue };
        let (absent, written) = (
            read(&file_without(&name)),
            read(&file_with(&name, default.into())),
        );
        assert_eq!(settings_of(absent), settings_of(written), "{name}");
    }
}

/// The settings without the places where they stand.
fn settings_of(read: Read) -> String {
    let Read {
        mut dashboard,
        gateway,
        ..
    } = read;
    for provider in &mut dashboard.providers {
        provider.place.clear();
        provider.key_places.clear();
    }
    format!("{dashboard:?} {gateway:?}")
}

#[test]
fn keys_in_whose_place_another_stands_are_those_of_the_reader() {
    for (name, key) in all_keys() {
        let Some(other) = key.unless else { continue };
        let (map, _) = name.rsplit_once('.').unwrap();
        let beside = read(&file_with(&name, example(&key.form))).mistakes;
        assert!(
            beside.contains(&format!("`{map}.{other}`")),
            "{name}: {beside}"
        );
        let mut neither = file_without(&format!("{map}.{other}"));
        assert!(
            read(&neither)
                .mistakes
                .contains(&format!("`{name}` is missing")),
            "{name}"
        );
        for (full, key) in all_keys().iter().filter(|(full, _)| full.starts_with(map)) {
            if key.unless == Some(other) {
                let (map, name) = map_and_key(&mut neither, full);
                map.insert(name, example(&key.form));
            }
        }
        assert_eq!(read(&neither).mistakes, "", "{name}");
    }
}

#[test]
fn every_builtin_has_its_settings() {
    let described: BTreeSet<_> = settings::BUILTINS.iter().map(|(name, _)| *name).collect();
    assert_eq!(described, portcullis_bundled::names().collect());
}

#[test]
fn schema_can_be_read_by_editors() {
    let schema = super::json_schema();
    assert_eq!(
        schema["$schema"],
        "https://json-schema.org/draft/2020-12/schema"
    );
    let port = &schema["properties"]["dashboard"]["properties"]["port"];
    let expected = json!({
        "description": "Port to bind. 0 picks a free port.",
        "type": ["integer", "null"], "minimum": 0, "maximum": 65_535, "default": 9119,
    });
    assert_eq!(*port, expected);
    let provider = &schema["properties"]["dashboard"]["properties"]["providers"]["items"];
    let of_basic = &provider["allOf"][1];
    assert_eq!(
        of_basic["if"]["properties"]["component"]["const"],
        "builtin:basic"
    );
    let ttl = &of_basic["then"]["properties"]["config"]["properties"]["session_ttl_seconds"];
    assert_eq!(
        (&ttl["x-unit"], &ttl["default"]),
        (&json!("seconds"), &json!(43_200))
    );
    assert_eq!(ttl["anyOf"][0]["maximum"], 604_800);
}

#[test]
fn examples_of_the_docs_fit_the_schema() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let folders = ["", "docs", "docs/people", "docs/providers"].map(|folder| root.join(folder));
    let pages = folders
        .iter()
        .flat_map(|folder| fs::read_dir(folder).unwrap())
        .map(|page| page.unwrap().path());
    let mut found = 0;
    for page in pages.filter(|page| page.extension().is_some_and(|end| end == "md")) {
        let text = fs::read_to_string(&page).unwrap();
        let blocks = text
            .split("```")
            .skip(1)
            .step_by(2)
            .filter_map(|block| block.strip_prefix("yaml"));
        let is_whole =
            |block: &&str| block.contains("\ndashboard:") || block.contains("\ngateway:");
        for block in blocks.filter(is_whole) {
            let place = page.display().to_string();
            let file =
                Node::parse(block).unwrap_or_else(|(_, why)| panic!("{place}: {why}\n{block}"));
            accepts(&super::json_schema(), &file.to_json(), &place).unwrap();
            found += 1;
        }
    }
    assert!(found > 10, "the docs have examples: {found}");
}

#[test]
fn schema_accepts_and_refuses_what_the_reader_does() {
    let schema = super::json_schema();
    let judge = |file: &Value| accepts(&schema, file, "");
    judge(&whole_file()).unwrap();
    judge(&json!({"dashboard": null})).unwrap();
    judge(
        &json!({"dashboard": {"telemetry": {"otlp": {"endpoint": "http://a", "sample_ratio": 1}}}}),
    )
    .unwrap();
    let provider = |component: &str, config: Value| json!({"dashboard": {"providers": [{"name": "a", "component": component, "config": config}]}});
    judge(&provider("own.wasm", json!({"anything": [1]}))).unwrap();
    judge(&provider(
        "builtin:jwt",
        json!({"issuer": {"env": "ISSUER"}, "audience": "a", "leeway_seconds": 0}),
    ))
    .unwrap();
    for (file, complaint) in [
        (json!({"dashbord": {}}), "unknown key `dashbord`"),
        (json!({"dashboard": {"port": 65_536}}), "out of range"),
        (json!({"dashboard": {"port": "80"}}), "another type"),
        (
            json!({"dashboard": {"telemetry": {"otlp": {"endpoint": "http://a", "sample_ratio": 1.5}}}}),
            "out of range",
        ),
        (
            json!({"dashboard": {"token_routes": [{"path": "/metrics"}]}}),
            "`scope` is missing",
        ),
        (
            json!({"dashboard": {"session_key": {"vault": "x"}}}),
            "no alternative",
        ),
        (
            json!({"dashboard": {"tls": {"certificate": "chain.pem"}}}),
            "no alternative",
        ),
        (
            json!({"dashboard": {"tls": {"acme": {}}}}),
            "`domains` is missing",
        ),
        (
            provider(
                "builtin:jwt",
                json!({"issuer": "a", "audience": "b", "keys": []}),
            ),
            "unknown key `keys`",
        ),
    ] {
        let refused = judge(&file).unwrap_err();
        assert!(refused.contains(complaint), "{file}: {refused}");
    }
}

#[test]
fn keys_without_a_value_are_accepted_where_the_reader_takes_them_for_absent() {
    let schema = super::json_schema();
    let is_in_schema = |file: &Value| accepts(&schema, file, "").is_ok();

    let mut disagreements = Vec::new();
    for (name, key) in all_keys() {
        // With a value it needs `tls`, which no schema says.
        if name != "dashboard.redirect_http" {
            let filled = smallest_with(&name, &example(&key.form));
            assert_eq!(read(&filled).mistakes, "", "{name}: {filled}");
            assert!(is_in_schema(&filled), "{name}: {filled}");
        }

        let smallest = smallest_with(&name, &Value::Null);
        for file in [&smallest, &file_with(&name, Value::Null)] {
            let mistakes = read(file).mistakes;
            if is_in_schema(file) != mistakes.is_empty() {
                disagreements.push(format!("{name}: {mistakes:?}: {file}"));
            }
            let is_named = mistakes.contains(&format!("`{name}"));
            assert!(
                is_named || !key.is_required,
                "{name} is required: {mistakes}"
            );
        }
    }
    assert_eq!(disagreements, Vec::<String>::new());

    for (name, is_accepted) in [
        ("dashboard", true),
        ("dashboard.port", true),
        ("dashboard.redirect_http", true),
        ("dashboard.telemetry.otlp", true),
        ("dashboard.tls", false),
        ("dashboard.tls.certificate", false),
        ("dashboard.tls.acme", false),
        ("dashboard.tls.acme.domains", false),
        ("dashboard.tls.acme.eab", false),
        ("dashboard.access", false),
        ("dashboard.access[0].users", false),
        ("dashboard.apps[0].allow", false),
        ("dashboard.apps[0].allow[0].role", false),
        ("gateway.api_key", false),
    ] {
        let file = smallest_with(name, &Value::Null);
        assert_eq!(read(&file).mistakes.is_empty(), is_accepted, "{name}");
    }
}

/// A file with the key, and beside it only what the maps around it need.
fn smallest_with(name: &str, value: &Value) -> Value {
    let pointer = pointer(name);
    let path: Vec<_> = pointer.split('/').skip(1).collect();
    smallest_below(&Form::Map(keys::ROOT), &path, value)
}

/// The path has an index for each list, and [`NAME`] for each name that the operator chooses.
fn smallest_below(form: &Form, path: &[&str], value: &Value) -> Value {
    let Some((first, rest)) = path.split_first() else {
        return value.clone();
    };
    match form {
        Form::List(item) => json!([smallest_below(item, rest, value)]),
        Form::Named(inner) => json!({NAME: smallest_below(inner, rest, value)}),
        Form::Either(forms) => smallest_below(forms.last().unwrap(), path, value),
        Form::OneKey(keys) => {
            let key = key_named(first, keys);
            json!({key.name: smallest_below(&key.form, rest, value)})
        }
        Form::Map(keys) => {
            let key = key_named(first, keys);
            let mut map = smallest_beside(key, keys);
            map.insert(key.name.to_owned(), smallest_below(&key.form, rest, value));
            map.into()
        }
        _ => panic!("{first} stands in no map"),
    }
}

/// What a map needs beside a key.
fn smallest_beside(key: &SchemaKey, keys: &[SchemaKey]) -> Map<String, Value> {
    // Of two ways to fill a map, the one with the key.
    let other = keys.iter().find_map(|key| key.unless);
    let is_needed = |sibling: &&SchemaKey| match key.unless {
        Some(_) => sibling.is_required || sibling.unless.is_some(),
        None => sibling.is_required || Some(sibling.name) == other,
    };
    keys.iter()
        .filter(is_needed)
        .map(|sibling| (sibling.name.to_owned(), smallest(&sibling.form)))
        .collect()
}

/// An example that has only what it needs.
fn smallest(form: &Form) -> Value {
    let Form::Map(keys) = form else {
        return example(form);
    };
    keys.iter()
        .filter(|key| key.is_required)
        .map(|key| (key.name.to_owned(), smallest(&key.form)))
        .collect::<Map<_, _>>()
        .into()
}

fn key_named<'a>(name: &str, keys: &'a [SchemaKey]) -> &'a SchemaKey {
    keys.iter().find(|key| key.name == name).expect(name)
}

/// Judges a value by a schema, of which it knows the keywords that the configuration's has.
fn accepts(root: &Value, value: &Value, place: &str) -> Result<(), String> {
    judge(root, root, value, place)
}

fn judge(root: &Value, schema: &Value, value: &Value, place: &str) -> Result<(), String> {
    let refuse = |why: &str| Err(format!("{place}: {why}: {value}"));
    if let Some(target) = schema["$ref"].as_str() {
        judge(
            root,
            root.pointer(target.trim_start_matches('#')).expect(target),
            value,
            place,
        )?;
    }
    let types: Vec<_> = match &schema["type"] {
        Value::Array(names) => names.iter().filter_map(Value::as_str).collect(),
        name => name.as_str().into_iter().collect(),
    };
    let is_of = |name: &&str| *name == type_of(value) || *name == "number" && value.is_i64();
    if !types.is_empty() && !types.iter().any(is_of) {
        return refuse("another type");
    }
    if !schema["const"].is_null() && schema["const"] != *value {
        return refuse("another value");
    }
    if schema["enum"]
        .as_array()
        .is_some_and(|words| !words.contains(value))
    {
        return refuse("another word");
    }
    // Bounds hold for numbers alone (JSON Schema Validation, section 6.2).
    if let Some(number) = value.as_f64() {
        let is_low = schema["minimum"].as_f64().is_some_and(|low| number < low);
        let is_high = schema["maximum"].as_f64().is_some_and(|high| number > high);
        if is_low || is_high {
            return refuse("out of range");
        }
    }
    for forms in [&schema["anyOf"], &schema["oneOf"]]
        .into_iter()
        .filter_map(Value::as_array)
    {
        if !forms
            .iter()
            .any(|form| judge(root, form, value, place).is_ok())
        {
            return refuse("no alternative");
        }
    }
    for item in value.as_array().into_iter().flatten() {
        judge(root, &schema["items"], item, &format!("{place}[]"))?;
    }
    judge_keys(root, schema, value, place)
}

fn judge_keys(root: &Value, schema: &Value, value: &Value, place: &str) -> Result<(), String> {
    let Some(entries) = value.as_object() else {
        return Ok(());
    };
    for (key, inner) in entries {
        let full = format!("{place}.{key}");
        match (&schema["properties"][key], &schema["additionalProperties"]) {
            (Value::Null, Value::Bool(false)) => {
                return Err(format!("{place}: unknown key `{key}`"));
            }
            (Value::Null, others) => judge(root, others, inner, &full)?,
            (known, _) => judge(root, known, inner, &full)?,
        }
    }
    let needed = schema["required"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str);
    for key in needed {
        if !entries.contains_key(key) {
            return Err(format!("{place}: `{key}` is missing"));
        }
    }
    for condition in schema["allOf"].as_array().into_iter().flatten() {
        if judge(root, &condition["if"], value, place).is_ok() {
            judge(root, &condition["then"], value, place)?;
        }
    }
    Ok(())
}

fn type_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}
