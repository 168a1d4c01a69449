//! Reads a map key by key. A key that was not read is a mistake in the end, with the nearest known
//! key named.

use super::Secret;
use super::environment::variable;
use super::forms::names_instead;
use super::integer::found as found_for_integer;
use super::mistakes::Mistakes;
use super::reference::{RIGHT_FORM, Reference, no_string, reference_of, wrong_reference};
use super::secret_value::{complaint, unexpanded};
use crate::yaml::{Node, Position, Yaml, YamlKey};
use portcullis_auth::secret_strength::{WeakSecret, is_placeholder};
use portcullis_home::atomic_file;
use std::collections::{BTreeMap, BTreeSet};
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

/// What readers share: where relative paths start, the files that were read on the way, and the
/// mistakes so far.
pub(super) struct Reader<'a> {
    pub(super) base: &'a Path,
    pub(super) files: BTreeSet<PathBuf>,
    pub(super) mistakes: Mistakes,
    pub(super) references: References,
    /// Files that hold a secret, also those that were left unread.
    pub(super) secret_files: BTreeSet<PathBuf>,
    /// Whether a secret stands in the configuration itself.
    pub(super) holds_secrets: bool,
    /// What does not keep the dashboard from starting, but never works.
    pub(super) findings: Vec<(Position, String)>,
    /// What works, and weakens the dashboard.
    pub(super) warnings: Vec<(Position, String)>,
    /// Where the values stand that are judged together with others once everything is read, by the
    /// full names of their keys.
    pub(super) places: BTreeMap<&'static str, Position>,
    /// What is not known of the providers.
    pub(super) unread: UnreadProviders,
    /// Full names of the keys that the reader knows in the maps that are there. The schema is
    /// compared with them.
    #[cfg(test)]
    pub(super) known: BTreeSet<String>,
    /// Full names of the values that were left unread.
    left: BTreeSet<String>,
}

/// What mistakes hide of the providers.
#[derive(Debug, Default)]
pub(super) struct UnreadProviders {
    /// The places, as `file:line:column`, of the entries that have a mistake of their own, and of a
    /// list that is none.
    pub(super) entries: BTreeSet<String>,
    /// Whether a provider may be granted a scope that was not read.
    pub(super) may_grant_more: bool,
}

/// A key as it stands in a map.
#[derive(Clone, Copy, Debug)]
pub(super) struct Given {
    pub(super) place: Position,
    /// It has no value, or an empty list. A reference is never blank, since it may be left unread.
    pub(super) is_blank: bool,
}

/// A map that is being read. `name` is its full name, like `dashboard.drain_auth`.
pub(super) struct Section {
    pub(super) name: String,
    pub(super) place: Position,
    entries: Vec<(YamlKey, Node)>,
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
                let what = if name.is_empty() {
                    "the file".to_owned()
                } else {
                    format!("`{name}`")
                };
                reader
                    .mistakes
                    .add(place, format!("{what} must be a map, not {}", node.kind()));
                Vec::new()
            }
        };

        Self {
            name: name.to_owned(),
            place,
            entries,
            known: Vec::new(),
        }
    }

    /// Takes a key out. A key without a value counts as absent.
    pub(super) fn take(&mut self, key: &'static str) -> Option<Node> {
        self.known.push(key);
        let index = self
            .entries
            .iter()
            .position(|(entry, _)| entry.text == key)?;
        let (_, node) = self.entries.remove(index);
        (!matches!(node.value, Yaml::Null)).then_some(node)
    }

    /// Returns where a key stands, also one without a value. [`take`](Self::take) treats such a key
    /// as absent.
    pub(super) fn place_of(&self, key: &str) -> Option<Position> {
        self.entries
            .iter()
            .find(|(entry, _)| entry.text == key)
            .map(|(entry, _)| entry.place)
    }

    /// Notes where the value of a key stands. `full` is the key's full name.
    pub(super) fn note_place(&self, full: &'static str, key: &str, reader: &mut Reader<'_>) {
        let node = self.look_at(key);
        if let Some(node) = node.filter(|node| !matches!(node.value, Yaml::Null)) {
            reader.places.insert(full, node.place);
        }
    }

    /// Returns how a key stands in the map. `None`: it is absent.
    pub(super) fn given(&self, key: &str) -> Option<Given> {
        let (entry, node) = self.entries.iter().find(|(entry, _)| entry.text == key)?;
        let is_blank = match &node.value {
            Yaml::Null => true,
            Yaml::List(items) => items.is_empty(),
            _ => false,
        };
        Some(Given {
            place: entry.place,
            is_blank,
        })
    }

    /// Takes a map out; an absent one is an empty one.
    pub(super) fn section(&mut self, key: &'static str, reader: &mut Reader<'_>) -> Self {
        let empty = Node {
            value: Yaml::Null,
            place: self.place,
        };
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
        reader.parse(&name, &node, text.expose(), parse)
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
                let found = found_for_integer(key, &node);
                let text = format!(
                    "`{}` must be an integer from {low} to {high}{found}",
                    self.full(key)
                );
                reader.mistakes.add(node.place, text);
                None
            }
        }
    }

    /// Takes a number from 0 to 1.
    pub(super) fn ratio(&mut self, key: &'static str, reader: &mut Reader<'_>) -> Option<f64> {
        let node = self.take(key)?;
        let ratio = match node.value {
            Yaml::Float(value) => Some(value).filter(|value| (0.0..=1.0).contains(value)),
            Yaml::Integer(0) => Some(0.0),
            Yaml::Integer(1) => Some(1.0),
            _ => None,
        };
        if ratio.is_none() {
            let text = format!("`{}` must be a number from 0 to 1", self.full(key));
            reader.mistakes.add(node.place, text);
        }
        ratio
    }

    /// Takes a boolean. Any other value is a mistake.
    pub(super) fn boolean(&mut self, key: &'static str, reader: &mut Reader<'_>) -> Option<bool> {
        let node = self.take(key)?;
        if let Yaml::Bool(value) = node.value {
            return Some(value);
        }
        let text = format!(
            "`{}` must be true or false, not {}",
            self.full(key),
            node.kind()
        );
        reader.mistakes.add(node.place, text);
        None
    }

    /// Takes a list of nodes.
    pub(super) fn list(&mut self, key: &'static str, reader: &mut Reader<'_>) -> Vec<Node> {
        let Some(node) = self.take(key) else {
            return Vec::new();
        };
        if let Yaml::List(items) = node.value {
            return items;
        }

        // Only text that is no secret is repeated, as the list that it was meant to be.
        let hint = match &node.value {
            Yaml::Text(text) if !text.contains(',') => {
                format!(
                    ": write [{}]",
                    text.split_whitespace().collect::<Vec<_>>().join(", ")
                )
            }
            Yaml::Text(text) => format!(": write [{text}]"),
            Yaml::Map(_) => ": begin each entry with `- `".to_owned(),
            _ => String::new(),
        };

        let name = self.full(key);
        reader.mistakes.add(
            node.place,
            format!("`{name}` must be a list, not {}{hint}", node.kind()),
        );
        Vec::new()
    }

    /// Takes a list of strings that have a form of their own.
    pub(super) fn parsed_list<T, E: Display>(
        &mut self,
        key: &'static str,
        reader: &mut Reader<'_>,
        parse: impl Fn(&str) -> Result<T, E>,
    ) -> Vec<(Position, T)> {
        let name = self.full(key);
        let items = self.list(key, reader);
        let read = |(index, node): (usize, Node)| {
            let name = format!("{name}[{index}]");
            let text = reader.text(&name, &node)?;
            let value = reader.parse(&name, &node, text.expose(), &parse)?;
            Some((node.place, value))
        };

        items.into_iter().enumerate().filter_map(read).collect()
    }

    /// Takes the value of a secret. A key without a value is a mistake: a template may have left
    /// the value out, and a default would hide that.
    pub(super) fn take_secret(
        &mut self,
        key: &'static str,
        reader: &mut Reader<'_>,
    ) -> Option<Node> {
        let empty = self
            .entries
            .iter()
            .find(|(entry, node)| entry.text == key && matches!(node.value, Yaml::Null));
        if let Some((entry, _)) = empty {
            let text = format!(
                "`{}` has no value: {RIGHT_FORM}, or remove the key",
                self.full(key)
            );
            reader.mistakes.add(entry.place, text);
        }

        self.take(key)
    }

    /// Takes a secret that is not the host's to judge: any text but a placeholder.
    pub(super) fn secret(&mut self, key: &'static str, reader: &mut Reader<'_>) -> Option<Secret> {
        let node = self.take_secret(key, reader)?;
        reader.foreign_secret(&self.full(key), &node)
    }

    /// The value of a key, left where it is.
    pub(super) fn look_at(&self, key: &str) -> Option<&Node> {
        self.entries
            .iter()
            .find(|(entry, _)| entry.text == key)
            .map(|(_, node)| node)
    }

    /// The place of every key that is left, and of everything below it by its path, as
    /// `config.keys[0].sha256`.
    pub(super) fn places(&self) -> Vec<(String, Position)> {
        let mut places = Vec::new();
        for (key, node) in &self.entries {
            places.push((key.text.clone(), key.place));
            places_below(&key.text, node, &mut places);
        }
        places
    }

    /// A key that must be there.
    pub(super) fn require<T>(
        &self,
        key: &str,
        value: Option<T>,
        reader: &mut Reader<'_>,
    ) -> Option<T> {
        // A value that was there but wrong has been complained of already.
        let was_there = self.entries.iter().any(|(entry, _)| entry.text == key);
        if value.is_none() && !was_there && !reader.complained_of(&self.full(key)) {
            reader
                .mistakes
                .add(self.place, format!("`{}` is missing", self.full(key)));
        }

        value
    }

    /// Ends the reading: keys that were not taken are mistakes.
    pub(super) fn finish(self, reader: &mut Reader<'_>) {
        #[cfg(test)]
        reader
            .known
            .extend(self.known.iter().map(|key| self.full(key)));

        for (key, _) in &self.entries {
            if is_of_later_version(&self.name, &key.text) {
                let full = self.full(&key.text);
                let text = format!("`{full}` is not supported by this version: remove it");
                reader.mistakes.add(key.place, text);
                continue;
            }
            let hint = match counterpart(&self.name, &key.text) {
                Some(entry) => format!(": write an entry with {entry} into `dashboard.providers`"),
                None => names_instead(&key.text, &self.known),
            };
            let name = if self.name.is_empty() {
                String::new()
            } else {
                format!(" in `{}`", self.name)
            };
            reader
                .mistakes
                .add(key.place, format!("unknown key `{}`{name}{hint}", key.text));
        }
    }

    /// The full name of a key.
    pub(super) fn full(&self, key: &str) -> String {
        if self.name.is_empty() {
            key.to_owned()
        } else {
            format!("{}.{key}", self.name)
        }
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
            secret_files: BTreeSet::new(),
            holds_secrets: false,
            findings: Vec::new(),
            warnings: Vec::new(),
            places: BTreeMap::new(),
            unread: UnreadProviders::default(),
            #[cfg(test)]
            known: BTreeSet::new(),
            left: BTreeSet::new(),
        }
    }
}

impl Reader<'_> {
    /// A string as it stands, or from where `{env: NAME}` or `{file: PATH}` says. `None` for a
    /// reference that is left unread.
    pub(super) fn text(&mut self, name: &str, node: &Node) -> Option<Secret> {
        if let Yaml::Text(text) = &node.value {
            return Some(Secret::new(text.clone()));
        }
        if let Some((place, wrong)) = wrong_reference(node) {
            self.mistakes.add(place, format!("`{name}`: {wrong}"));
            return None;
        }
        if self.references == References::Leave && self.reference(node).is_some() {
            self.left.insert(name.to_owned());
            return None;
        }

        match self.reference(node) {
            Some(Ok(secret)) => Some(secret),
            Some(Err(mistake)) => {
                self.mistakes
                    .add(node.place, format!("`{name}`: {mistake}"));
                None
            }
            None => {
                self.mistakes.add(node.place, no_string(name, node));
                None
            }
        }
    }

    /// The same for a secret: notes where it stands.
    pub(super) fn secret_text(&mut self, name: &str, node: &Node) -> Option<Secret> {
        self.holds_secrets |= matches!(node.value, Yaml::Text(_));
        self.text(name, node)
    }

    /// The same for a secret that is not the host's to judge: any text but none and a placeholder.
    pub(super) fn foreign_secret(&mut self, name: &str, node: &Node) -> Option<Secret> {
        let secret = self.secret_text(name, node)?;
        let complaint = match secret.expose().trim() {
            "" => reference_of(node).map_or_else(
                || "it is empty".to_owned(),
                |source| format!("{source} is empty"),
            ),
            text if is_placeholder(text) => complaint(node, &WeakSecret::Placeholder),
            _ => return Some(secret),
        };
        self.mistakes
            .add(node.place, format!("`{name}`: {complaint}"));
        None
    }

    /// Follows `{env: NAME}` and `{file: PATH}`; `None` for anything else. A reference that is left
    /// unread is empty.
    pub(super) fn reference(&mut self, node: &Node) -> Option<Result<Secret, String>> {
        let reference = reference_of(node)?;
        if let Reference::File(target) = reference {
            self.secret_files.insert(self.base.join(target));
        }
        match reference {
            _ if self.references == References::Leave => Some(Ok(Secret::new(String::new()))),
            Reference::Variable(name) => Some(
                variable(name)
                    .map(Secret::new)
                    .ok_or_else(|| format!("{reference} is not set")),
            ),
            Reference::File(target) => Some(self.secret_file(target)),
        }
    }

    /// The path that `{file: PATH}` names, which from then on counts as one of the files that were
    /// read. `None` for anything else.
    pub(super) fn file_of(&mut self, node: &Node) -> Option<PathBuf> {
        let Reference::File(target) = reference_of(node)? else {
            return None;
        };
        let path = self.base.join(target);
        self.files.insert(path.clone());
        Some(path)
    }

    /// Reads another file, whose path starts in the folder of the configuration. From then on a
    /// change of that file is a change of the settings. `None` while references are left unread.
    pub(super) fn file<T, E: Display>(
        &mut self,
        name: &str,
        place: Position,
        target: &str,
        read: impl FnOnce(&Path) -> Result<T, E>,
    ) -> Option<T> {
        if self.references == References::Leave {
            return None;
        }
        let path = self.base.join(target);
        let value = read(&path);
        self.files.insert(path);
        self.keep(name, place, value)
    }

    fn secret_file(&mut self, target: &str) -> Result<Secret, String> {
        let path = self.base.join(target);
        let text = atomic_file::read(&path)
            .and_then(|text| String::from_utf8(text).map_err(io::Error::other))
            .map_err(|error| format!("cannot read {}: {error}", path.display()));
        self.files.insert(path);
        Ok(Secret::new(text?.trim_end_matches(['\r', '\n']).to_owned()))
    }

    /// Reads text in its form. A variable that was never filled in is a mistake of its own, since
    /// some forms would allow it.
    fn parse<T, E: Display>(
        &mut self,
        name: &str,
        node: &Node,
        text: &str,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Option<T> {
        if let (Yaml::Text(_), Some(variable), false) =
            (&node.value, unexpanded(text), may_expand(name))
        {
            let advice = format!("write {{env: {variable}}}");
            self.mistakes.add(
                node.place,
                format!("`{name}`: {text} looks like an unexpanded variable: {advice}"),
            );
            return None;
        }
        let parsed = parse(text).map_err(|error| self.shown(node, &error));
        self.keep(name, node.place, parsed)
    }

    /// A complaint that may be printed: what came from elsewhere may be a secret, and complaints
    /// quote.
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
        place: Position,
        parsed: Result<T, E>,
    ) -> Option<T> {
        parsed
            .map_err(|error| self.mistakes.add(place, format!("`{name}`: {error}")))
            .ok()
    }

    /// Returns whether a key of which nothing was read needs no complaint: one was made of it or
    /// below it, or a reference was left unread.
    pub(super) fn is_explained(&self, name: &str, given: Given) -> bool {
        let may_be_left = self.references == References::Leave && !given.is_blank;
        may_be_left || self.mistakes.mentions(&format!("`{name}"))
    }

    fn complained_of(&self, name: &str) -> bool {
        self.left.contains(name) || self.mistakes.mentions(&format!("`{name}`"))
    }
}

/// Adds the place of each key and of each item of a list below a node. The depth is that of the
/// file, which the parser limits.
fn places_below(path: &str, node: &Node, places: &mut Vec<(String, Position)>) {
    match &node.value {
        Yaml::Map(entries) => {
            for (key, inner) in entries {
                let path = format!("{path}.{}", key.text);
                places_below(&path, inner, places);
                places.push((path, key.place));
            }
        }
        Yaml::List(items) => {
            for (index, inner) in items.iter().enumerate() {
                let path = format!("{path}[{index}]");
                places_below(&path, inner, places);
                places.push((path, inner.place));
            }
        }
        _ => {}
    }
}

/// Returns whether another program may expand variables in the value: the shell in
/// `[sh, -c, "${COMMAND}"]`.
fn may_expand(name: &str) -> bool {
    name.starts_with("gateway.command")
}

/// Returns whether a key is reserved for a later version, so that no key of this one was meant.
fn is_of_later_version(section: &str, key: &str) -> bool {
    let is_provider = section.starts_with("dashboard.providers[") && section.ends_with(']');
    match key {
        "state" | "require_signatures" => section == "dashboard",
        "shadow" | "signature" => is_provider,
        _ => false,
    }
}

/// The entry that does what a key of the original's configuration does.
fn counterpart(section: &str, key: &str) -> Option<&'static str> {
    match (section, key) {
        ("dashboard", "basic_auth") => Some("`component: builtin:basic`"),
        ("dashboard", "oauth") => Some("`component: builtin:oidc` or `component: builtin:nous`"),
        _ => None,
    }
}

/// Adds the name of every variable that an `{env: NAME}` names, at any depth.
pub(super) fn collect_variables(node: &Node, names: &mut BTreeSet<OsString>) {
    if let Some(Reference::Variable(name)) = reference_of(node) {
        names.insert(name.into());
    }
    match &node.value {
        Yaml::List(items) => items.iter().for_each(|item| collect_variables(item, names)),
        Yaml::Map(entries) => entries
            .iter()
            .for_each(|(_, item)| collect_variables(item, names)),
        _ => {}
    }
}

/// Drops the places of values.
pub(super) fn values<T>(placed: Vec<(Position, T)>) -> Vec<T> {
    placed.into_iter().map(|(_, value)| value).collect()
}
