//! The list of agents that `--fleet` names.

use super::client::DashboardClient;
use super::roots;
use super::target::{check_address, checked_secret, read_secret};
use portcullis_dashboard::config::{Environment, Secret};
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Longest name of an agent, in characters.
const MAX_NAME: usize = 128;

/// One agent of a fleet.
pub(super) struct Agent {
    pub(super) name: String,
    pub(super) client: DashboardClient,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct AgentEntry {
    name: String,
    url: String,
    secret: SecretSource,
    cacert: Option<PathBuf>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum SecretSource {
    Env(String),
    File(PathBuf),
}

/// Reads the list. Relative paths in it start at its own folder. `cacert` holds for entries without
/// one.
///
/// # Errors
/// The first mistake, with the file and the entry.
pub(super) fn read(file: &Path, cacert: Option<&Path>) -> Result<Vec<Agent>, String> {
    let text = fs::read_to_string(file)
        .map_err(|error| format!("cannot read {}: {error}", file.display()))?;
    let folder = file.parent().unwrap_or(Path::new("."));
    let agents = entries(&text).and_then(|entries| {
        entries
            .into_iter()
            .map(|entry| agent(entry, folder, cacert))
            .collect::<Result<Vec<_>, _>>()
    });
    agents.map_err(|mistake| format!("{}: {mistake}", file.display()))
}

fn entries(text: &str) -> Result<Vec<AgentEntry>, String> {
    let options = serde_saphyr::options! { strict_booleans: true };
    let list = serde_saphyr::from_str_with_options::<Option<Vec<Value>>>(text, options).map_err(
        |error| {
            let place = error
                .location()
                .map(|at| format!("{}:{}: ", at.line(), at.column()))
                .unwrap_or_default();
            let message = error.without_snippet().to_string();
            format!("{place}{}", message.lines().next().unwrap_or_default())
        },
    )?;

    let list = list.unwrap_or_default();
    if list.is_empty() {
        return Err("the list of agents is empty".to_owned());
    }

    let mut names = BTreeSet::new();
    let mut entries = Vec::with_capacity(list.len());
    for (index, value) in list.into_iter().enumerate() {
        let entry = entry(value).map_err(|mistake| format!("entry {}: {mistake}", index + 1))?;
        if !names.insert(entry.name.clone()) {
            return Err(format!(
                "entry {}: the name `{}` is taken",
                index + 1,
                entry.name
            ));
        }
        entries.push(entry);
    }

    Ok(entries)
}

fn entry(value: Value) -> Result<AgentEntry, String> {
    let name = value["name"]
        .as_str()
        .map(|name| format!(" (`{}`)", name.escape_debug()))
        .unwrap_or_default();
    // serde would take a list for the fields in their order.
    if !value.is_object() {
        return Err("must be a map with `name`, `url` and `secret`".to_owned());
    }
    let entry: AgentEntry =
        serde_json::from_value(value).map_err(|error| format!("{error}{name}"))?;
    let is_name = (1..=MAX_NAME).contains(&entry.name.chars().count());
    if !is_name || entry.name.contains(char::is_control) {
        return Err(format!(
            "`name` must be 1 to {MAX_NAME} characters without control characters"
        ));
    }

    check_address(&entry.url).map_err(|mistake| format!("url: {mistake}{name}"))?;
    Ok(entry)
}

fn agent(entry: AgentEntry, folder: &Path, cacert: Option<&Path>) -> Result<Agent, String> {
    let AgentEntry {
        name,
        url,
        secret,
        cacert: own,
    } = entry;
    let own = own.map(|path| folder.join(path));
    let secret =
        secret_of(&secret, folder).map_err(|mistake| format!("`{name}`: secret: {mistake}"))?;
    let tls = roots::tls(&url, own.as_deref().or(cacert))
        .map_err(|mistake| format!("`{name}`: cacert: {mistake}"))?;

    Ok(Agent {
        client: DashboardClient::new(&url, None, Ok(secret), tls),
        name,
    })
}

fn secret_of(source: &SecretSource, folder: &Path) -> Result<Secret, String> {
    match source {
        SecretSource::File(path) => read_secret(&folder.join(path)),
        SecretSource::Env(name) => {
            let secret = Environment::secret_named(name)
                .ok_or_else(|| format!("the environment variable {name} is not set"))?;
            checked_secret(secret.expose()).map_err(|mistake| format!("{name}: {mistake}"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn list_is_read() {
        let text = "- {name: a, url: 'http://a:1', secret: {env: A}}\n\
                    - {name: b, url: 'https://b', secret: {file: b.key}, cacert: ca.pem}\n";
        let entries = entries(text).expect("a list");
        assert_eq!(entries.len(), 2);
        assert_eq!(
            (entries[0].name.as_str(), entries[0].url.as_str()),
            ("a", "http://a:1")
        );
        assert!(matches!(&entries[0].secret, SecretSource::Env(name) if name == "A"));
        assert!(
            matches!(&entries[1].secret, SecretSource::File(path) if path == Path::new("b.key"))
        );
        assert_eq!(entries[1].cacert.as_deref(), Some(Path::new("ca.pem")));
    }

    #[test]
    fn mistake_names_the_entry() {
        let good = "- {name: a, url: 'http://a:1', secret: {env: A}}\n";
        for (text, expected) in [
            (String::new(), "the list of agents is empty"),
            ("[]".to_owned(), "the list of agents is empty"),
            (format!("{good}{good}"), "entry 2: the name `a` is taken"),
            (
                format!("{good}- {{name: b, secret: {{env: B}}}}"),
                "entry 2: missing field `url`",
            ),
            (
                format!("{good}- {{name: b, url: 'http://b'}}"),
                "missing field `secret` (`b`)",
            ),
            (good.replace("url", "uri"), "entry 1: unknown field `uri`"),
            (good.replace("env", "var"), "unknown variant `var`"),
            (good.replace("http://a:1", "a:1"), "entry 1: url:"),
            (good.replace("name: a", "name: ''"), "`name` must be 1 to"),
        ] {
            let mistake = entries(&text).expect_err(&text);
            assert!(mistake.contains(expected), "{text}: {mistake}");
        }
    }
}
