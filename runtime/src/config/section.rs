//! Reading a map key by key. What nobody asked for is a mistake in the end, with the nearest key named.

use super::Secret;
use super::environment::variable;
use super::mistakes::Mistakes;
use super::yaml::{Key, Node, Place, Yaml};
use crate::atomic_file;
use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fmt::Display;
use std::io;
use std::path::{Path, PathBuf};

/// What is done with `{env: NAME}` and `{file: PATH}`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum References {
    /// They are followed. One that leads nowhere is a mistake.
    Follow,
    /// They are left unread, since only another process needs what they lead to.
    Leave,
}

/// What readers share: where relative paths start, the files that were read on the way, and the mistakes so far.
pub(super) struct Reader<'a> {
    pub(super) base: &'a Path,
    pub(super) files: BTreeSet<PathBuf>,
    pub(super) mistakes: Mistakes,
    pub(super) references: References,
    /// Full names of the values that were left unread.
    left: BTreeSet<String>,
}

/// A map that is being read. `name` is its full name, like `dashboard.drain_auth`.
pub(super) struct Section {
    pub(super) name: String,
    pub(super) place: Place,
    entries: Vec<(Key, Node)>,
    known: Vec<&'static str>,
}

impl Section {
    /// Opens a node as a map.
    pub(super) fn open(name: &str, node: Node, reader: &mut Reader<'_>) -> Self {
        let place = node.place;
        let entries = match node.value {
            Yaml::Map(entries) => entries,
            Yaml::Null => Vec::new(),
            _ => {
                reader.mistakes.add(place, format!("`{name}` must be a map, not {}", node.kind()));
                Vec::new()
            }
        };
        Self { name: name.to_owned(), place, entries, known: Vec::new() }
    }

    /// Takes a key out. A key without a value counts as absent.
    pub(super) fn take(&mut self, key: &'static str) -> Option<Node> {
        self.known.push(key);
        let index = self.entries.iter().position(|(entry, _)| entry.text == key)?;
        let (_, node) = self.entries.remove(index);
        (!matches!(node.value, Yaml::Null)).then_some(node)
    }

    /// Where a key stands, also one without a value, which [`take`](Self::take) does not tell from an absent one.
    pub(super) fn place_of(&self, key: &str) -> Option<Place> {
        self.entries.iter().find(|(entry, _)| entry.text == key).map(|(entry, _)| entry.place)
    }

    /// Takes a map out; an absent one is an empty one.
    pub(super) fn section(&mut self, key: &'static str, reader: &mut Reader<'_>) -> Self {
        let empty = Node { value: Yaml::Null, place: self.place };
        let node = self.take(key).unwrap_or(empty);
        Self::open(&self.full(key), node, reader)
    }

    /// Takes a string that has a form of its own.
    pub(super) fn parsed<T, E: Display>(
        &mut self,
        key: &'static str,
        reader: &mut Reader<'_>,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Option<T> {
        let node = self.take(key)?;
        let name = self.full(key);
        let text = reader.text(&name, &node)?;
        let parsed = parse(text.expose()).map_err(|error| reader.shown(&node, &error));
        reader.keep(&name, node.place, parsed)
    }

    /// Takes an integer within a range.
    pub(super) fn integer<T: TryFrom<i64>>(
        &mut self,
        key: &'static str,
        reader: &mut Reader<'_>,
        range: std::ops::RangeInclusive<i64>,
    ) -> Option<T> {
        let node = self.take(key)?;
        match node.value {
            Yaml::Integer(value) if range.contains(&value) => T::try_from(value).ok(),
            _ => {
                let (low, high) = range.into_inner();
                let text = format!("`{}` must be an integer from {low} to {high}", self.full(key));
                reader.mistakes.add(node.place, text);
                None
            }
        }
    }

    /// Takes a boolean.
    pub(super) fn boolean(&mut self, key: &'static str, reader: &mut Reader<'_>) -> Option<bool> {
        let node = self.take(key)?;
        if let Yaml::Bool(value) = node.value {
            return Some(value);
        }
        let text = format!("`{}` must be true or false, not {}", self.full(key), node.kind());
        reader.mistakes.add(node.place, text);
        None
    }

    /// Takes a list of nodes.
    pub(super) fn list(&mut self, key: &'static str, reader: &mut Reader<'_>) -> Vec<Node> {
        let Some(node) = self.take(key) else { return Vec::new() };
        if let Yaml::List(items) = node.value {
            return items;
        }
        reader.mistakes.add(node.place, format!("`{}` must be a list, not {}", self.full(key), node.kind()));
        Vec::new()
    }

    /// Takes a list of strings that have a form of their own.
    pub(super) fn parsed_list<T, E: Display>(
        &mut self,
        key: &'static str,
        reader: &mut Reader<'_>,
        parse: impl Fn(&str) -> Result<T, E>,
    ) -> Vec<(Place, T)> {
        let name = self.full(key);
        let items = self.list(key, reader);
        let read = |(index, node): (usize, Node)| {
            let name = format!("{name}[{index}]");
            let text = reader.text(&name, &node)?;
            let parsed = parse(text.expose()).map_err(|error| reader.shown(&node, &error));
            let value = reader.keep(&name, node.place, parsed)?;
            Some((node.place, value))
        };
        items.into_iter().enumerate().filter_map(read).collect()
    }

    /// Takes a string that must not be printed.
    pub(super) fn secret(&mut self, key: &'static str, reader: &mut Reader<'_>) -> Option<Secret> {
        let node = self.take(key)?;
        reader.text(&self.full(key), &node)
    }

    /// A key that must be there.
    pub(super) fn require<T>(&self, key: &str, value: Option<T>, reader: &mut Reader<'_>) -> Option<T> {
        // A value that was there but wrong has been complained of already.
        let was_there = self.entries.iter().any(|(entry, _)| entry.text == key);
        if value.is_none() && !was_there && !reader.complained_of(&self.full(key)) {
            reader.mistakes.add(self.place, format!("`{}` is missing", self.full(key)));
        }
        value
    }

    /// Ends the reading: keys that nobody took are mistakes.
    pub(super) fn finish(self, reader: &mut Reader<'_>) {
        for (key, _) in &self.entries {
            let nearest = self.known.iter().max_by(|a, b| {
                let likeness = |known: &str| strsim::jaro_winkler(known, &key.text);
                likeness(a).total_cmp(&likeness(b))
            });
            let hint = nearest.map(|known| format!("; did you mean `{known}`?")).unwrap_or_default();
            let name = if self.name.is_empty() { String::new() } else { format!(" in `{}`", self.name) };
            reader.mistakes.add(key.place, format!("unknown key `{}`{name}{hint}", key.text));
        }
    }

    /// The full name of a key.
    pub(super) fn full(&self, key: &str) -> String {
        if self.name.is_empty() { key.to_owned() } else { format!("{}.{key}", self.name) }
    }
}

impl<'a> Reader<'a> {
    /// A reader of `file`; relative paths start in `base`.
    pub(super) fn new(base: &'a Path, file: &Path, references: References) -> Self {
        Self {
            base,
            files: [file.to_owned()].into(),
            mistakes: Mistakes::default(),
            references,
            left: BTreeSet::new(),
        }
    }
}

impl Reader<'_> {
    /// A string as it stands, or from where `{env: NAME}` or `{file: PATH}` says. `None` for a reference that is left
    /// unread.
    pub(super) fn text(&mut self, name: &str, node: &Node) -> Option<Secret> {
        if let Yaml::Text(text) = &node.value {
            return Some(Secret::new(text.clone()));
        }
        if self.references == References::Leave && reference_of(node).is_some() {
            self.left.insert(name.to_owned());
            return None;
        }
        match self.reference(node) {
            Some(Ok(secret)) => Some(secret),
            Some(Err(mistake)) => {
                self.mistakes.add(node.place, format!("`{name}`: {mistake}"));
                None
            }
            None => {
                let hint = if matches!(node.value, Yaml::Integer(_) | Yaml::Float(_) | Yaml::Bool(_)) {
                    ": put it in quotes"
                } else {
                    ""
                };
                self.mistakes
                    .add(node.place, format!("`{name}` must be a string, not {}{hint}", node.kind()));
                None
            }
        }
    }

    /// Follows `{env: NAME}` and `{file: PATH}`; `None` for anything else. A reference that is left unread is empty.
    pub(super) fn reference(&mut self, node: &Node) -> Option<Result<Secret, String>> {
        match reference_of(node)? {
            _ if self.references == References::Leave => Some(Ok(Secret::new(String::new()))),
            ("env", name) => Some(
                variable(name)
                    .map(Secret::new)
                    .ok_or_else(|| format!("the environment variable {name} is not set")),
            ),
            (_, target) => Some(self.secret_file(target)),
        }
    }

    fn secret_file(&mut self, target: &str) -> Result<Secret, String> {
        let path = self.base.join(target);
        let text = atomic_file::read(&path)
            .and_then(|text| String::from_utf8(text).map_err(io::Error::other))
            .map_err(|error| format!("cannot read {}: {error}", path.display()));
        self.files.insert(path);
        Ok(Secret::new(text?.trim_end_matches(['\r', '\n']).to_owned()))
    }

    /// A complaint that may be printed: what came from elsewhere may be a secret, and complaints quote.
    fn shown(&self, node: &Node, complaint: &dyn Display) -> String {
        match reference_of(node) {
            Some(_) => "what stands there does not fit".to_owned(),
            None => complaint.to_string(),
        }
    }

    /// Keeps a good value; a bad one is a mistake.
    pub(super) fn keep<T, E: Display>(
        &mut self,
        name: &str,
        place: Place,
        parsed: Result<T, E>,
    ) -> Option<T> {
        parsed.map_err(|error| self.mistakes.add(place, format!("`{name}`: {error}"))).ok()
    }

    fn complained_of(&self, name: &str) -> bool {
        self.left.contains(name) || self.mistakes.mentions(&format!("`{name}`"))
    }
}

/// Adds the name of every variable that an `{env: NAME}` names, at any depth.
pub(super) fn collect_variables(node: &Node, names: &mut BTreeSet<OsString>) {
    if let Some(("env", name)) = reference_of(node) {
        names.insert(name.into());
    }
    match &node.value {
        Yaml::List(items) => items.iter().for_each(|item| collect_variables(item, names)),
        Yaml::Map(entries) => entries.iter().for_each(|(_, item)| collect_variables(item, names)),
        _ => {}
    }
}

/// `{env: NAME}` and `{file: PATH}`, taken apart.
fn reference_of(node: &Node) -> Option<(&str, &str)> {
    let Yaml::Map(entries) = &node.value else { return None };
    let [(key, Node { value: Yaml::Text(target), .. })] = &entries[..] else { return None };
    matches!(key.text.as_str(), "env" | "file").then_some((key.text.as_str(), target.as_str()))
}

/// The values alone.
pub(super) fn values<T>(placed: Vec<(Place, T)>) -> Vec<T> {
    placed.into_iter().map(|(_, value)| value).collect()
}
