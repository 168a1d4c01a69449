//! YAML as a tree in which every node knows where it stands.
//!
//! **Invariant:** no message repeats a value, which may be a secret.

mod mistake;

use mistake::explain;
use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::Value;
use serde_saphyr::{DuplicateKeyPolicy, Spanned, UserMessageFormatter};
use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

/// A place in the file; lines and columns count from 1, and 0 means the whole file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// The line, counted from 1.
    pub line: u64,
    /// The column, counted from 1.
    pub column: u64,
}

impl Position {
    /// Returns the file with the line and column, or the file alone where this is the whole file.
    pub(crate) fn in_file(self, file: &Path) -> String {
        match self.line {
            0 => file.display().to_string(),
            _ => format!("{}:{self}", file.display()),
        }
    }
}

impl fmt::Display for Position {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}:{}", self.line, self.column)
    }
}

/// A value and where it stands.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) value: Yaml,
    pub(crate) place: Position,
}

#[derive(Clone, Debug)]
pub(crate) enum Yaml {
    Null,
    Bool(bool),
    Integer(i64),
    Float(f64),
    Text(String),
    List(Vec<Node>),
    Map(Vec<(YamlKey, Node)>),
}

#[derive(Clone, Debug)]
pub(crate) struct YamlKey {
    pub(crate) text: String,
    pub(crate) place: Position,
}

impl YamlKey {
    fn complaint_of_second(&self, second: Position) -> String {
        let (first, text) = (self.place, &self.text);
        if first.line == second.line {
            let (line, first, second) = (first.line, first.column, second.column);
            return format!("`{text}` is there twice (line {line}, columns {first} and {second})");
        }
        format!(
            "`{text}` is there twice (lines {} and {})",
            first.line, second.line
        )
    }
}

impl Node {
    /// Reads a document; an empty one, or one with comments alone, is [`Yaml::Null`].
    pub(crate) fn parse(text: &str) -> Result<Self, (Position, String)> {
        // YAML 1.2 booleans: a component named `y` is no boolean.
        // Duplicate keys are found below, so that the message names both places.
        let options = serde_saphyr::options! {
            strict_booleans: true,
            duplicate_keys: DuplicateKeyPolicy::PassThrough,
        };
        match serde_saphyr::from_str_with_options::<Option<Spanned<Yaml>>>(text, options) {
            Ok(Some(root)) => Self::from(root).without_duplicates(),
            Ok(None) => Ok(Self {
                value: Yaml::Null,
                place: Position::default(),
            }),
            Err(error) => {
                let place = error.location().map(|at| Position {
                    line: at.line(),
                    column: at.column(),
                });
                let message = error
                    .without_snippet()
                    .render_with_formatter(&UserMessageFormatter);
                Err(explain(text, place.unwrap_or_default(), &message))
            }
        }
    }

    /// The same, unless a map in it has a key twice.
    fn without_duplicates(self) -> Result<Self, (Position, String)> {
        match self.duplicate() {
            Some(duplicate) => Err(duplicate),
            None => Ok(self),
        }
    }

    /// The second place of the first key that a map has twice, and a complaint.
    fn duplicate(&self) -> Option<(Position, String)> {
        match &self.value {
            Yaml::List(items) => items.iter().find_map(Self::duplicate),
            Yaml::Map(entries) => {
                let mut seen = BTreeMap::new();
                entries
                    .iter()
                    .find_map(|(key, node)| match seen.insert(key.text.as_str(), key) {
                        Some(first) => Some((key.place, first.complaint_of_second(key.place))),
                        None => node.duplicate(),
                    })
            }
            _ => None,
        }
    }

    /// What the value is, for a message.
    pub(crate) fn kind(&self) -> &'static str {
        match self.value {
            Yaml::Null => "nothing",
            Yaml::Bool(_) => "a boolean",
            Yaml::Integer(_) => "an integer",
            Yaml::Float(_) => "a number",
            Yaml::Text(_) => "a string",
            Yaml::List(_) => "a list",
            Yaml::Map(_) => "a map",
        }
    }

    /// Returns whether no key in it has a value, as in a file that was emptied or cut off. `{}`
    /// was written on purpose and asks for the defaults.
    pub(crate) fn is_blank(&self) -> bool {
        match &self.value {
            Yaml::Null => true,
            Yaml::Map(entries) => {
                !entries.is_empty() && entries.iter().all(|(_, node)| node.is_blank())
            }
            _ => false,
        }
    }

    /// The value of a key, where this is a map that has it.
    pub(crate) fn at(&self, key: &str) -> Option<&Self> {
        let Yaml::Map(entries) = &self.value else {
            return None;
        };
        entries
            .iter()
            .find(|(entry, _)| entry.text == key)
            .map(|(_, node)| node)
    }

    /// The items, where this is a list.
    pub(crate) fn items(&self) -> &[Self] {
        if let Yaml::List(items) = &self.value {
            items
        } else {
            &[]
        }
    }

    /// The same as JSON.
    pub(crate) fn to_json(&self) -> Value {
        match &self.value {
            Yaml::Null => Value::Null,
            Yaml::Bool(value) => (*value).into(),
            Yaml::Integer(value) => (*value).into(),
            Yaml::Float(value) => (*value).into(),
            Yaml::Text(value) => value.as_str().into(),
            Yaml::List(items) => items.iter().map(Self::to_json).collect(),
            Yaml::Map(entries) => Value::Object(
                entries
                    .iter()
                    .map(|(key, node)| (key.text.clone(), node.to_json()))
                    .collect(),
            ),
        }
    }
}

impl From<Spanned<Yaml>> for Node {
    fn from(spanned: Spanned<Yaml>) -> Self {
        let at = spanned.referenced;
        Self {
            value: spanned.value,
            place: Position {
                line: at.line(),
                column: at.column(),
            },
        }
    }
}

impl<'de> Deserialize<'de> for Yaml {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(YamlVisitor)
    }
}

struct YamlVisitor;

impl<'de> Visitor<'de> for YamlVisitor {
    type Value = Yaml;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a YAML value")
    }

    fn visit_unit<E>(self) -> Result<Yaml, E> {
        Ok(Yaml::Null)
    }

    fn visit_none<E>(self) -> Result<Yaml, E> {
        Ok(Yaml::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Yaml, D::Error> {
        Yaml::deserialize(deserializer)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Yaml, E> {
        Ok(Yaml::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Yaml, E> {
        Ok(Yaml::Integer(value))
    }

    #[expect(
        clippy::cast_precision_loss,
        reason = "no setting is that large; the range check refuses it"
    )]
    fn visit_u64<E>(self, value: u64) -> Result<Yaml, E> {
        Ok(i64::try_from(value).map_or(Yaml::Float(value as f64), Yaml::Integer))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Yaml, E> {
        Ok(Yaml::Float(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<Yaml, E> {
        Ok(Yaml::Text(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Yaml, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element::<Spanned<Yaml>>()? {
            list.push(item.into());
        }
        Ok(Yaml::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Yaml, A::Error> {
        let mut map = Vec::new();
        while let Some((key, value)) = entries.next_entry::<Spanned<String>, Spanned<Yaml>>()? {
            let place = Position {
                line: key.referenced.line(),
                column: key.referenced.column(),
            };
            map.push((
                YamlKey {
                    text: key.value,
                    place,
                },
                value.into(),
            ));
        }

        Ok(Yaml::Map(map))
    }
}
