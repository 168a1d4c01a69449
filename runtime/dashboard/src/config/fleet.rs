//! The file of `portcullis drain --fleet`: a list of agents.
//!
//! It is no part of the configuration. It is read here, so that its mistakes are named as those of
//! the configuration are.

use super::load::text_of;
use super::mistakes::ConfigError;
use super::reference::{RIGHT_FORM, Reference, reference_of, wrong_reference};
use super::section::{Reader, References, Section};
use crate::yaml::{Node, Yaml};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Longest name of an agent, in characters.
const MAX_NAME_CHARS: usize = 128;

/// One agent of a fleet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FleetEntry {
    /// Unique, 1 to 128 characters without control characters.
    pub name: String,
    /// The address of its dashboard.
    pub url: String,
    /// Where its drain secret stands.
    pub secret: SecretSource,
    /// PEM file with the certificate authorities that are trusted for it.
    pub cacert: Option<PathBuf>,
    /// Where the entry stands, as `file:line:column`.
    pub place: String,
}

/// Where a secret stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SecretSource {
    /// In this variable of the environment.
    Variable(String),
    /// In this file.
    File(PathBuf),
}

/// Reads the list. Relative paths in it start at its own folder. `check_url` says what is wrong with
/// an address. What secrets lead to is not read.
///
/// # Errors
/// Every mistake in the file, or that it cannot be read.
pub fn read_fleet(
    file: &Path,
    check_url: impl Fn(&str) -> Result<(), String>,
) -> Result<Vec<FleetEntry>, ConfigError> {
    let text = fs::read(file).and_then(text_of);
    let text = text.map_err(|error| ConfigError::unreadable(file, &error))?;
    parse(file, &text, &check_url)
}

fn parse(
    file: &Path,
    text: &str,
    check_url: &impl Fn(&str) -> Result<(), String>,
) -> Result<Vec<FleetEntry>, ConfigError> {
    let single = |place, text| ConfigError::single(file, place, text);
    let root = Node::parse(text).map_err(|(place, why)| single(place, why))?;
    let (place, kind) = (root.place, root.kind());
    let items = match root.value {
        Yaml::List(items) => items,
        Yaml::Null => Vec::new(),
        _ => {
            let text = format!(
                "the file must be a list of agents, not {kind}: begin each entry with `- `"
            );
            return Err(single(place, text));
        }
    };
    if items.is_empty() {
        return Err(single(place, "the list of agents is empty".to_owned()));
    }

    let base = file.parent().unwrap_or(Path::new("."));
    let mut reader = Reader::new(base, file, References::Follow);
    let mut names = BTreeSet::new();
    let mut entries = Vec::with_capacity(items.len());
    for (index, node) in items.into_iter().enumerate() {
        let name = format!("[{index}]");
        let place = node.place;
        let Some(entry) = read_entry(&name, node, file, check_url, &mut reader) else {
            continue;
        };
        if !names.insert(entry.name.clone()) {
            let text = format!("`{name}.name`: another agent is named `{}`", entry.name);
            reader.mistakes.add(place, text);
        }
        entries.push(entry);
    }

    let Reader {
        mistakes, files, ..
    } = reader;
    let mistakes = mistakes.into_sorted();
    if mistakes.is_empty() {
        return Ok(entries);
    }
    Err(ConfigError {
        file: file.to_owned(),
        mistakes,
        files,
    })
}

fn read_entry(
    name: &str,
    node: Node,
    file: &Path,
    check_url: &impl Fn(&str) -> Result<(), String>,
    reader: &mut Reader<'_>,
) -> Option<FleetEntry> {
    if !matches!(node.value, Yaml::Map(_)) {
        let kind = node.kind();
        let text = format!("`{name}` must be a map with `name`, `url` and `secret`, not {kind}");
        reader.mistakes.add(node.place, text);
        return None;
    }

    let mut entry = Section::open(name, node, reader);
    let place = entry.place.in_file(file);
    let agent = entry.parsed("name", reader, agent_name);
    let agent = entry.require("name", agent, reader);
    let url = entry.parsed("url", reader, |text: &str| {
        check_url(text).map(|()| text.to_owned())
    });
    let url = entry.require("url", url, reader);
    let secret = read_secret(&mut entry, reader);
    let base = reader.base;
    let cacert = entry.parsed("cacert", reader, |text: &str| pem_file(text, base));
    entry.finish(reader);

    Some(FleetEntry {
        name: agent?,
        url: url?,
        secret: secret?,
        cacert,
        place,
    })
}

fn read_secret(entry: &mut Section, reader: &mut Reader<'_>) -> Option<SecretSource> {
    let name = entry.full("secret");
    let node = entry.take_secret("secret", reader);
    let node = entry.require("secret", node, reader)?;
    if let Some((place, wrong)) = wrong_reference(&node) {
        reader.mistakes.add(place, format!("`{name}`: {wrong}"));
        return None;
    }
    match reference_of(&node) {
        Some(Reference::Variable(variable)) => Some(SecretSource::Variable(variable.to_owned())),
        Some(Reference::File(path)) => Some(SecretSource::File(reader.base.join(path))),
        None => {
            let text = format!("`{name}`: {RIGHT_FORM}");
            reader.mistakes.add(node.place, text);
            None
        }
    }
}

fn agent_name(text: &str) -> Result<String, String> {
    let is_name = (1..=MAX_NAME_CHARS).contains(&text.chars().count());
    match is_name && !text.contains(char::is_control) {
        true => Ok(text.to_owned()),
        false => Err(format!(
            "must be 1 to {MAX_NAME_CHARS} characters without control characters"
        )),
    }
}

fn pem_file(text: &str, base: &Path) -> Result<PathBuf, &'static str> {
    match text {
        "" => Err("must be the path of a PEM file"),
        text => Ok(base.join(text)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Vec<FleetEntry>, String> {
        let check_url = |url: &str| match url.starts_with("http") {
            true => Ok(()),
            false => Err("is no address".to_owned()),
        };
        parse(Path::new("/fleets/fleet.yaml"), text, &check_url).map_err(|error| error.to_string())
    }

    #[test]
    fn list_is_read() {
        let entries = read(
            "- {name: a, url: 'http://a:1', secret: {env: A}}\n\
             - {name: b, url: 'https://b', secret: {file: b.key}, cacert: ca.pem}\n",
        );
        let entries = entries.unwrap();
        let expected = FleetEntry {
            name: "b".to_owned(),
            url: "https://b".to_owned(),
            secret: SecretSource::File("/fleets/b.key".into()),
            cacert: Some("/fleets/ca.pem".into()),
            place: "/fleets/fleet.yaml:2:3".to_owned(),
        };
        assert_eq!(entries[1], expected);
        assert_eq!(entries[0].secret, SecretSource::Variable("A".to_owned()));
        assert_eq!(entries[0].cacert, None);
        assert_eq!(entries.len(), 2);
    }

    #[test]
    fn mistakes_are_named_as_those_of_the_configuration_are() {
        let good = "- {name: a, url: 'http://a:1', secret: {env: A}}\n";
        for (text, line, complaint) in [
            (String::new(), "", "the list of agents is empty"),
            ("# None.\n".to_owned(), "", "the list of agents is empty"),
            ("[]".to_owned(), ":1:1", "the list of agents is empty"),
            (
                "agents: []\n".to_owned(),
                ":1:",
                "must be a list of agents, not a map: begin each entry with `- `",
            ),
            (
                format!("{good}{good}"),
                ":2:3",
                "`[1].name`: another agent is named `a`",
            ),
            (
                format!("{good}- {{name: b, secret: {{env: B}}}}"),
                ":2:3",
                "`[1].url` is missing",
            ),
            (
                format!("{good}- {{name: b, url: 'http://b'}}"),
                ":2:3",
                "`[1].secret` is missing",
            ),
            (
                format!("{good}- [b, 'http://b', {{env: B}}, null]"),
                ":2:3",
                "`[1]` must be a map with `name`, `url` and `secret`, not a list",
            ),
            (
                good.replace("}}", "}, cacerts: x}"),
                ":1:",
                "unknown key `cacerts` in `[0]`; did you mean `cacert`?",
            ),
            (
                good.replace("{env: A}", "hunter2"),
                ":1:",
                "`[0].secret`: write {env: NAME} or {file: PATH}",
            ),
            (
                good.replace("env", "evn"),
                ":1:",
                "`evn` is no source of a value; did you mean `env`?",
            ),
            (
                good.replace("http://a:1", "a:1"),
                ":1:",
                "`[0].url`: is no address",
            ),
            (
                good.replace("'http://a:1'", "80"),
                ":1:",
                "`[0].url` must be a string, not an integer: put it in quotes",
            ),
            (
                good.replace("name: a", "name: ''"),
                ":1:",
                "`[0].name`: must be 1 to 128 characters",
            ),
            (format!("{good}- {{name: [b\n"), ":", "is not closed"),
        ] {
            let found = read(&text).expect_err(&text);
            let start = format!("/fleets/fleet.yaml{line}");
            assert!(
                found.starts_with(&start) && found.contains(complaint),
                "{text}: {found}"
            );
            assert!(found.lines().count() == 1, "{text}: {found}");
            assert!(!found.contains("hunter2"), "{found}");
        }

        let several = read("- {nam: a}\n- {name: b, url: 'http://b'}\n").unwrap_err();
        assert_eq!(several.lines().count(), 5, "{several}");
    }
}
