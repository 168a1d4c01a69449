//! `{env: NAME}` and `{file: PATH}`: where a value stands that the configuration does not hold.

use crate::yaml::{Node, Position, Yaml, YamlKey};
use std::fmt;

/// How a value from elsewhere is written.
pub(super) const RIGHT_FORM: &str = "write {env: NAME} or {file: PATH}";

/// Longer words for the two sources, as other programs have them.
const OTHER_WORDS: &[(&str, &str)] = &[
    ("environment", "env"),
    ("envvar", "env"),
    ("env_var", "env"),
    ("from_env", "env"),
    ("fromenv", "env"),
    ("filename", "file"),
    ("file_name", "file"),
    ("from_file", "file"),
    ("fromfile", "file"),
];

/// Where a value stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reference<'a> {
    /// In this variable of the environment.
    Variable(&'a str),
    /// In this file, relative to the configuration.
    File(&'a str),
}

impl fmt::Display for Reference<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Variable(name) => write!(out, "the environment variable {name}"),
            Self::File(path) => write!(out, "the file {path}"),
        }
    }
}

/// Takes `{env: NAME}` and `{file: PATH}` apart. `None` for anything else.
pub(super) fn reference_of(node: &Node) -> Option<Reference<'_>> {
    let Yaml::Map(entries) = &node.value else {
        return None;
    };
    let [
        (
            key,
            Node {
                value: Yaml::Text(target),
                ..
            },
        ),
    ] = &entries[..]
    else {
        return None;
    };

    match key.text.as_str() {
        "env" => Some(Reference::Variable(target)),
        "file" => Some(Reference::File(target)),
        _ => None,
    }
}

/// Says what is wrong with a map that looks like a reference, and where. `None` for a good
/// reference and for anything else.
pub(super) fn wrong_reference(node: &Node) -> Option<(Position, String)> {
    let Yaml::Map(entries) = &node.value else {
        return None;
    };
    match &entries[..] {
        [(key, target)] if is_source(key) => {
            wrong_target(&key.text, target).map(|wrong| (target.place, wrong))
        }
        [
            (
                key,
                Node {
                    value: Yaml::Text(_),
                    ..
                },
            ),
        ] => {
            let meant = meant_by(&key.text)?;
            Some((
                key.place,
                format!(
                    "`{}` is no source of a value; did you mean `{meant}`?",
                    key.text
                ),
            ))
        }
        [(first, _), (second, _)] if is_source(first) && is_source(second) => Some((
            second.place,
            format!("a value stands in one place: {RIGHT_FORM}"),
        )),
        _ => None,
    }
}

/// Returns whether the map has a key `env` or `file`.
pub(super) fn names_a_source(node: &Node) -> bool {
    matches!(&node.value, Yaml::Map(entries) if entries.iter().any(|(key, _)| is_source(key)))
}

/// Says of a value that is no string what would be right.
pub(super) fn no_string(name: &str, node: &Node) -> String {
    let hint = match node.value {
        Yaml::Integer(_) | Yaml::Float(_) | Yaml::Bool(_) => ": put it in quotes".to_owned(),
        Yaml::Map(_) => format!(": {RIGHT_FORM}"),
        _ => String::new(),
    };
    format!("`{name}` must be a string, not {}{hint}", node.kind())
}

fn is_source(key: &YamlKey) -> bool {
    matches!(key.text.as_str(), "env" | "file")
}

fn wrong_target(source: &str, target: &Node) -> Option<String> {
    let Yaml::Text(text) = &target.value else {
        return Some(format!(
            "`{source}` must be a string, not {}: {RIGHT_FORM}",
            target.kind()
        ));
    };
    if text.trim().is_empty() {
        return Some(format!("`{source}` names nothing: {RIGHT_FORM}"));
    }

    let is_part = |c: char| {
        !c.is_whitespace() && !c.is_control() && !matches!(c, '$' | '{' | '}' | '%' | '=')
    };
    let is_wrong = source == "env" && !text.chars().all(is_part);
    is_wrong.then(|| "`env` takes the name of a variable alone: write {env: NAME}".to_owned())
}

/// The source that a key means which is spelt otherwise by one letter, in other case, or by another
/// word.
fn meant_by(key: &str) -> Option<&'static str> {
    let key = key.to_ascii_lowercase();
    let other_word = OTHER_WORDS
        .iter()
        .find(|(word, _)| *word == key)
        .map(|(_, source)| *source);
    // Two letters are one letter away from many words, such as a language in a map of translations.
    let is_near = |source: &str| key.len() > 2 && strsim::osa_distance(&key, source) <= 1;
    other_word.or_else(|| ["env", "file"].into_iter().find(|source| is_near(source)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrong(text: &str) -> Option<String> {
        let root = Node::parse(&format!("a: {text}")).unwrap();
        let Yaml::Map(entries) = root.value else {
            panic!("a map")
        };
        wrong_reference(&entries[0].1).map(|(_, wrong)| wrong)
    }

    #[test]
    fn references_that_are_misspelt_are_named() {
        for (text, complaint) in [
            ("{evn: X}", "did you mean `env`?"),
            ("{ENV: X}", "did you mean `env`?"),
            ("{environment: X}", "did you mean `env`?"),
            ("{fiel: x}", "did you mean `file`?"),
            ("{files: x}", "did you mean `file`?"),
            ("{env: X, file: y}", "a value stands in one place"),
            ("{env: [X]}", "`env` must be a string, not a list"),
            ("{file: 5}", "`file` must be a string, not an integer"),
            ("{env: }", "`env` must be a string, not nothing"),
            ("{file: ''}", "`file` names nothing"),
            ("{env: $X}", "the name of a variable alone"),
            ("{env: 'X Y'}", "the name of a variable alone"),
        ] {
            let found = wrong(text).unwrap_or_default();
            assert!(found.contains(complaint), "{text}: {found}");
        }
    }

    #[test]
    fn other_maps_are_no_references() {
        for text in [
            "{env: X}",
            "{file: x}",
            "{en: X}",
            "{groups: [a]}",
            "{user_id: sub}",
            "{}",
            "x",
            "[env]",
        ] {
            assert_eq!(wrong(text), None, "{text}");
        }
    }
}
