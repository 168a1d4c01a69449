use serde_json::{Map, Value};

/// Keys whose values may be secrets, compared without case and without `-` and `_`.
const SECRET_KEYS: &[&str] = &[
    "accesstoken",
    "refreshtoken",
    "code",
    "codeverifier",
    "state",
    "ticket",
    "cookie",
    "authorization",
    "password",
    "secret",
];

/// Drops every field that may hold a secret, at any depth.
pub fn redact(fields: &mut Map<String, Value>) {
    fields.retain(|key, _| !is_secret(key));
    fields.values_mut().for_each(redact_value);
}

fn redact_value(value: &mut Value) {
    match value {
        Value::Object(fields) => redact(fields),
        Value::Array(items) => items.iter_mut().for_each(redact_value),
        _ => {}
    }
}

fn is_secret(key: &str) -> bool {
    let plain: String = key.chars().filter(|c| !matches!(c, '-' | '_' | ' ')).collect();
    SECRET_KEYS.contains(&plain.to_lowercase().as_str())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn secrets_are_dropped_at_any_depth_and_in_any_case() {
        let canary = "canary-5f1d";
        let Value::Object(mut fields) = json!({
            "principal": "nas",
            "Authorization": canary,
            "nested": {"access_token": canary, "list": [{"Refresh-Token": canary, "kept": 1}, [{"STATE": canary}]]},
            "codeVerifier": canary,
            "set-up": {"COOKIE": canary, "Password": {"value": canary}},
            "ticket": canary, "secret": [canary], "code": canary,
        }) else {
            unreachable!("an object was written")
        };
        redact(&mut fields);
        let text = Value::Object(fields).to_string();
        assert!(!text.contains(canary), "{text}");
        assert!(text.contains("nas") && text.contains("kept"));
    }
}
