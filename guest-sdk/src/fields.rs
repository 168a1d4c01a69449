//! Maps in settings, read field by field.
//!
//! **Invariant:** every complaint begins with the path of the value, such as `keys[0].sha256`, and
//! repeats no value: it may be a secret.

use serde_json::{Map, Value};

/// A map in a setting, such as an entry of a list. A list is no map, and an unknown field is
/// refused. A field that is `null` counts as absent.
#[derive(Debug)]
pub struct Fields {
    path: String,
    values: Map<String, Value>,
}

impl Fields {
    /// Takes a value as a map that has no other fields than the `known` ones. `path` is its place
    /// in the settings.
    ///
    /// # Errors
    /// It is no map, or has an unknown field: a sentence for the operator.
    ///
    /// ```
    /// # use portcullis_guest::Fields;
    /// # use serde_json::json;
    /// let mut key = Fields::of("keys[0]", json!({"name": "ci", "scopes": ["read"]}), &["name", "scopes"]).unwrap();
    /// assert_eq!(key.needed_text("name").unwrap(), "ci");
    /// assert_eq!(key.texts("scopes").unwrap(), ["read"]);
    /// let complaint = Fields::of("keys[0]", json!({"nam": "ci"}), &["name"]).unwrap_err();
    /// assert_eq!(complaint, "keys[0].nam: unknown field; did you mean `name`?");
    /// ```
    pub fn of(path: &str, value: Value, known: &[&str]) -> Result<Self, String> {
        let names = || known.join(", ");
        let values = match value {
            Value::Object(values) => values,
            other => {
                let kind = kind(&other);
                let names = names();
                return Err(format!("{path}: must be a map with {names}, not {kind}"));
            }
        };

        if let Some(unknown) = values.keys().find(|name| !known.contains(&name.as_str())) {
            let hint = match nearest(unknown, known) {
                Some(known) => format!("did you mean `{known}`?"),
                None => format!("there is: {}", names()),
            };
            return Err(format!("{path}.{unknown}: unknown field; {hint}"));
        }

        Ok(Self {
            path: path.to_owned(),
            values,
        })
    }

    /// Takes a string. `None`: it is absent.
    ///
    /// # Errors
    /// It is no string: a sentence for the operator.
    pub fn text(&mut self, name: &str) -> Result<Option<String>, String> {
        match self.values.remove(name) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => text(&format!("{}.{name}", self.path), value).map(Some),
        }
    }

    /// Takes a string that must be there.
    ///
    /// # Errors
    /// It is absent, or no string: a sentence for the operator.
    pub fn needed_text(&mut self, name: &str) -> Result<String, String> {
        self.text(name)?
            .ok_or_else(|| format!("{}: `{name}` is missing", self.path))
    }

    /// Takes a list of strings, which is empty when it is absent.
    ///
    /// # Errors
    /// It is no list of strings: a sentence for the operator.
    pub fn texts(&mut self, name: &str) -> Result<Vec<String>, String> {
        let path = format!("{}.{name}", self.path);
        let items = match self.values.remove(name) {
            None | Some(Value::Null) => return Ok(Vec::new()),
            Some(Value::Array(items)) => items,
            Some(other) => {
                let kind = kind(&other);
                return Err(format!("{path}: must be a list of strings, not {kind}"));
            }
        };

        items
            .into_iter()
            .enumerate()
            .map(|(index, item)| text(&format!("{path}[{index}]"), item))
            .collect()
    }
}

fn text(path: &str, value: Value) -> Result<String, String> {
    let hint = match value {
        Value::String(text) => return Ok(text),
        Value::Number(_) | Value::Bool(_) => ": put it in quotes",
        _ => "",
    };
    let kind = kind(&value);
    Err(format!("{path}: must be a string, not {kind}{hint}"))
}

/// What a value is, as operators call it.
fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "nothing",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "a map",
    }
}

/// The known name that differs least, if that is in no more than a third of its letters.
fn nearest<'a>(name: &str, known: &[&'a str]) -> Option<&'a str> {
    known
        .iter()
        .map(|known| (distance(name, known), *known))
        .filter(|(distance, known)| *distance <= known.len().div_ceil(3))
        .min()
        .map(|(_, known)| known)
}

/// The Levenshtein distance: how many letters are to be put in, taken out or replaced.
fn distance(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.chars().collect();
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (line, letter) in from.chars().enumerate() {
        let mut diagonal = line;
        row[0] = line + 1;
        for (column, other) in to.iter().enumerate() {
            let replaced = diagonal + usize::from(letter != *other);
            diagonal = row[column + 1];
            row[column + 1] = replaced.min(diagonal + 1).min(row[column] + 1);
        }
    }
    row[to.len()]
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const KNOWN: &[&str] = &["principal", "scopes", "expires_at"];

    fn complaint(value: Value) -> String {
        let read = |mut fields: Fields| {
            fields.text("expires_at")?;
            fields.texts("scopes")?;
            fields.needed_text("principal")
        };
        Fields::of("keys[2]", value, KNOWN)
            .and_then(read)
            .expect_err("a complaint")
    }

    #[test]
    fn complaints_name_the_place_and_what_is_expected() {
        for (value, expected) in [
            (
                json!(["p", ["m"], null]),
                "keys[2]: must be a map with principal, scopes, expires_at, not a list",
            ),
            (
                json!("p"),
                "keys[2]: must be a map with principal, scopes, expires_at, not a string",
            ),
            (json!({}), "keys[2]: `principal` is missing"),
            (
                json!({"principal": null}),
                "keys[2]: `principal` is missing",
            ),
            (
                json!({"principal": 7}),
                "keys[2].principal: must be a string, not a number: put it in quotes",
            ),
            (
                json!({"scopes": "m"}),
                "keys[2].scopes: must be a list of strings, not a string",
            ),
            (
                json!({"scopes": ["m", ["n"]]}),
                "keys[2].scopes[1]: must be a string, not a list",
            ),
            (
                json!({"principle": "p"}),
                "keys[2].principle: unknown field; did you mean `principal`?",
            ),
            (
                json!({"port": 1}),
                "keys[2].port: unknown field; there is: principal, scopes, expires_at",
            ),
        ] {
            assert_eq!(complaint(value), expected);
        }
    }

    #[test]
    fn distance_counts_letters() {
        for (from, to, expected) in [
            ("", "", 0),
            ("", "abc", 3),
            ("abc", "", 3),
            ("scope", "scopes", 1),
            ("kitten", "sitting", 3),
        ] {
            assert_eq!(distance(from, to), expected, "{from} {to}");
        }
    }
}
