//! The JSON Schema of the configuration file, which editors and the reference page use.
//!
//! The readers of `config` judge a file. The tables here describe what they accept, and the tests
//! below compare the two: every key in both directions, and every range, word, default and need.
//! Which settings a builtin has is said here alone.

mod key;
mod keys;
mod settings;
#[cfg(test)]
mod tests;

use key::{Form, SchemaKey};
use serde_json::{Map, Value, json};

const REFERENCE: &str = "#/$defs/reference";
const SECRET: &str = "#/$defs/secret";

/// Returns the JSON Schema (draft 2020-12) of the configuration file. Numbers with a unit name it
/// in `x-unit`.
pub fn json_schema() -> Value {
    let mut schema = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "portcullis.yaml",
        "description": "The configuration of Portcullis.",
    });

    let Value::Object(root) = of_map(keys::ROOT) else {
        return schema;
    };
    for (name, value) in root {
        schema[name] = value;
    }

    schema["$defs"] = json!({
        "reference": {
            "description": "A value from an environment variable, or from a file relative to this one.",
            "oneOf": [by("env"), by("file")],
        },
        "secret": {"anyOf": [{"$ref": REFERENCE}, {"type": "string"}]},
    });
    schema
}

/// Returns the names of the settings that a builtin takes.
pub(super) fn settings_of_builtin(builtin: &str) -> Vec<&'static str> {
    settings::BUILTINS
        .iter()
        .filter(|(name, _)| *name == builtin)
        .flat_map(|(_, keys)| keys.iter().map(|key| key.name))
        .collect()
}

/// A map with this key alone, which holds text.
fn by(key: &str) -> Value {
    let mut properties = Map::new();
    properties.insert(key.to_owned(), json!({"type": "string"}));
    json!({"type": "object", "properties": properties, "required": [key], "additionalProperties": false})
}

fn of_map(keys: &[SchemaKey]) -> Value {
    of_map_with(keys, of_key_or_nothing)
}

fn of_map_with(keys: &[SchemaKey], of_key: fn(&SchemaKey) -> Value) -> Value {
    let properties: Map<String, Value> = keys
        .iter()
        .map(|key| (key.name.to_owned(), of_key(key)))
        .collect();
    let required: Vec<_> = keys
        .iter()
        .filter(|key| key.is_required)
        .map(|key| key.name)
        .collect();
    let alternatives = alternatives(keys);

    // A key without a value counts as absent.
    let may_be_absent = required.is_empty() && alternatives.is_none();
    let kind = if may_be_absent {
        json!(["object", "null"])
    } else {
        json!("object")
    };

    let mut schema = json!({"type": kind, "properties": properties, "additionalProperties": false});
    if !required.is_empty() {
        schema["required"] = required.into();
    }
    if let Some(alternatives) = alternatives {
        schema["oneOf"] = alternatives;
    }
    if keys.iter().any(|key| matches!(key.form, Form::Settings)) {
        schema["allOf"] = settings::BUILTINS
            .iter()
            .map(|(name, keys)| of_builtin(name, keys))
            .collect();
    }

    schema
}

/// The ways to fill a map in which one key takes the place of others. `None`: no key does.
fn alternatives(keys: &[SchemaKey]) -> Option<Value> {
    let (names, others): (Vec<_>, Vec<_>) = keys
        .iter()
        .filter_map(|key| Some((key.name, key.unless?)))
        .unzip();
    let other = others.first()?;
    let forbidden: Map<String, Value> = names
        .iter()
        .map(|name| ((*name).to_owned(), false.into()))
        .collect();
    Some(json!([{"required": names}, {"required": [other], "properties": forbidden}]))
}

fn of_one_key(keys: &[SchemaKey]) -> Value {
    let mut schema = of_map_with(keys, of_key);
    schema["type"] = "object".into();
    schema["minProperties"] = 1.into();
    schema["maxProperties"] = 1.into();
    schema
}

/// A key that may have no value, which counts as absent, unless it needs one or holds a secret.
fn of_key_or_nothing(key: &SchemaKey) -> Value {
    let mut schema = of_key(key);
    let is_secret = match key.form {
        Form::Secret => true,
        Form::Either(forms) => forms.iter().any(|form| matches!(form, Form::Secret)),
        _ => false,
    };
    let needs_value = key.needs_value || key.is_required || key.unless.is_some();
    if !needs_value && !is_secret {
        or_nothing(&mut schema);
    }
    schema
}

/// Accepts `null` beside what the schema of a key accepts.
fn or_nothing(schema: &mut Value) {
    if let Some(forms) = schema.get_mut("anyOf").and_then(Value::as_array_mut) {
        forms.push(json!({"type": "null"}));
    } else if let Some(kind) = schema["type"].as_str() {
        schema["type"] = json!([kind, "null"]);
    }
}

fn of_key(key: &SchemaKey) -> Value {
    let mut schema = json!({"description": key.about});
    let Value::Object(form) = of_form(&key.form) else {
        return schema;
    };
    for (name, value) in form {
        schema[name] = value;
    }

    if let Some(unit) = key.unit() {
        schema["x-unit"] = unit.into();
    }

    if let Some(default) = key.default {
        schema["default"] = default.into();
    }

    schema
}

fn of_form(form: &Form) -> Value {
    match form {
        Form::Text(example) => {
            json!({"anyOf": [{"type": "string"}, {"$ref": REFERENCE}], "examples": [example]})
        }
        Form::Secret => json!({"$ref": SECRET}),
        Form::Integer(low, high) => json!({"type": "integer", "minimum": low, "maximum": high}),
        Form::Ratio => json!({"type": "number", "minimum": 0, "maximum": 1}),
        Form::Boolean => json!({"type": "boolean"}),
        Form::OneOf(words) => json!({"anyOf": [{"enum": words}, {"$ref": REFERENCE}]}),
        Form::File => by("file"),
        Form::List(item) => json!({"type": "array", "items": of_form(item)}),
        Form::Map(keys) => of_map(keys),
        Form::OneKey(keys) => of_one_key(keys),
        Form::Named(value) => json!({"type": "object", "additionalProperties": of_form(value)}),
        Form::Either(forms) => json!({"anyOf": forms.iter().map(of_form).collect::<Vec<_>>()}),
        Form::Settings => json!({"type": ["object", "null"]}),
        Form::Any => json!({"not": {"type": "null"}}),
    }
}

/// The settings of a builtin, for the entries that name it as their component.
fn of_builtin(name: &str, keys: &[SchemaKey]) -> Value {
    let mut config = of_map_with(keys, of_key);
    // The host follows references in settings of every form. A setting without a value is refused.
    if let Some(Value::Object(properties)) = config.get_mut("properties") {
        for setting in properties.values_mut() {
            if setting["type"].is_array() {
                setting["type"] = "object".into();
            }
            or_else(setting, json!({"$ref": REFERENCE}));
        }
    }
    let component = json!({"properties": {"component": {"const": format!("builtin:{name}")}}, "required": ["component"]});
    json!({"if": component, "then": {"properties": {"config": config}}})
}

/// Moves the form of a key into an alternative to another form.
fn or_else(key: &mut Value, other: Value) {
    let Value::Object(entries) = key else {
        return;
    };
    let is_about = |name: &str| ["description", "x-unit", "default", "examples"].contains(&name);
    let (about, form): (Map<_, _>, Map<_, _>) = std::mem::take(entries)
        .into_iter()
        .partition(|(name, _)| is_about(name));
    *entries = about;
    entries.insert(
        "anyOf".to_owned(),
        Value::Array(vec![Value::Object(form), other]),
    );
}
