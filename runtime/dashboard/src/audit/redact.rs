use serde_json::Value;

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

/// Longest text in a line, in bytes.
const MAX_TEXT_BYTES: usize = 2_000;

/// Drops every field that may hold a secret, at any depth, and cuts text that is too long.
pub(super) fn redact(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.retain(|key, _| !is_secret(key));
            fields.values_mut().for_each(redact);
        }
        Value::Array(items) => items.iter_mut().for_each(redact),
        Value::String(text) => text.truncate(text.floor_char_boundary(MAX_TEXT_BYTES)),
        _ => {}
    }
}

/// Returns whether the value under this key may be a secret.
pub(super) fn is_secret(key: &str) -> bool {
    let plain = key
        .chars()
        .filter(|c| !matches!(c, '-' | '_' | ' '))
        .flat_map(char::to_lowercase);
    // Nearly every key differs by this already, and every line of the log asks.
    let length = plain.clone().count();
    SECRET_KEYS
        .iter()
        .any(|secret| secret.len() == length && plain.clone().eq(secret.chars()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn secrets_are_dropped_at_any_depth_and_in_any_case() {
        let canary = "canary-5f1d";
        let mut value = json!({
            "principal": "nas",
            "Authorization": canary,
            "nested": {"access_token": canary, "list": [{"Refresh-Token": canary, "kept": 1}, [{"STATE": canary}]]},
            "codeVerifier": canary,
            "set-up": {"COOKIE": canary, "Password": {"value": canary}},
            "ticket": canary, "secret": [canary], "code": canary,
        });
        redact(&mut value);
        let text = value.to_string();
        assert!(!text.contains(canary), "{text}");
        assert!(text.contains("nas") && text.contains("kept"));
    }

    #[test]
    fn long_text_is_cut() {
        let mut value = json!({"path": "é".repeat(5_001), "list": ["short"]});
        redact(&mut value);
        assert_eq!(value["path"].as_str().map(str::len), Some(MAX_TEXT_BYTES));
        assert_eq!(value["list"][0], "short");
    }
}
