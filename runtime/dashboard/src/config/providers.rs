//! An entry of `dashboard.providers`: which component, with which settings, grants and limits.

use super::forms::{
    component_ref, display_name, header_name, hex_digest, names_instead, network, origin,
    provider_name,
};
use super::original::SIGN_IN_DEADLINE;
use super::reference::{RIGHT_FORM, names_a_source, reference_of, wrong_reference};
use super::schema::settings_of_builtin;
use super::secret_value::{complaint, means_secret, read_judged, stands_for_another};
use super::section::{Reader, References, Section, values};
use super::{ComponentRef, Grants, ProviderConfig, Secret};
use crate::users_file;
use crate::yaml::{Node, Position, Yaml, YamlKey};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::header::{HeaderName, HeaderValue};
use portcullis_auth::Scope;
use portcullis_auth::secret_strength::{Strength, WeakSecret};
use portcullis_net::trust::Authorities;
use portcullis_sandbox::{HttpGrant, Limits};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::time::Duration;
use zeroize::Zeroizing;

/// The most that `limits.component_mib` may allow: larger files are not read.
const MAX_COMPONENT_MIB: i64 = 128;
/// The most that `limits.table_elements` may allow: a pool reserves them for each table of each
/// call.
const MAX_TABLE_ELEMENTS: i64 = 200_000;
/// The most that `limits.core_instances` may allow: no component with more instances is compiled.
const MAX_CORE_INSTANCES: i64 = 64;

/// Five minutes: the longest that a revoked key may stay good.
const MAX_CACHE_TTL_MS: i64 = 300_000;

pub(super) fn read_providers(
    section: &mut Section,
    drain_scope: &Scope,
    file: &Path,
    reader: &mut Reader<'_>,
) -> Vec<ProviderConfig> {
    let list_place = section.look_at("providers").map(|node| node.place);
    let before = reader.mistakes.count();
    let list = section.list("providers", reader);
    if reader.mistakes.count() > before {
        let place = list_place.unwrap_or(section.place);
        reader.unread.entries.insert(place.in_file(file));
        reader.unread.may_grant_more = true;
    }

    let mut names = BTreeSet::new();
    let mut providers = Vec::new();

    for (index, node) in list.into_iter().enumerate() {
        let name = format!("dashboard.providers[{index}]");
        let place = node.place;
        let before = reader.mistakes.count();
        let mut provider = Section::open(&name, node, reader);
        let read = read_provider(&mut provider, drain_scope, file, reader);
        provider.finish(reader);
        if reader.mistakes.count() > before {
            reader.unread.entries.insert(place.in_file(file));
        }

        let Some(read) = read else {
            reader.unread.may_grant_more = true;
            continue;
        };
        if !names.insert(read.name.clone()) {
            reader.mistakes.add(
                place,
                format!("`{name}.name`: another provider is named `{}`", read.name),
            );
        }
        providers.push(read);
    }

    providers
}

fn read_provider(
    section: &mut Section,
    drain_scope: &Scope,
    file: &Path,
    reader: &mut Reader<'_>,
) -> Option<ProviderConfig> {
    let base = reader.base.to_owned();
    let at = |place: Position| place.in_file(file);
    let key_places = section
        .places()
        .into_iter()
        .map(|(key, place)| (key, at(place)))
        .collect();

    let name = section.parsed("name", reader, provider_name);
    let component = section.parsed("component", reader, |text| component_ref(text, &base));
    let sha256 = section.parsed("sha256", reader, hex_digest);
    let display_name = section.parsed("display_name", reader, display_name);
    let builtin = match &component {
        Some(ComponentRef::Builtin(name)) => Some(name.as_str()),
        _ => None,
    };

    let key_scopes = scopes_of_keys(section, builtin);
    let ProviderSettings {
        values: settings,
        blank_users_file,
    } = read_settings(section, builtin, reader);
    let before = reader.mistakes.count();
    let grants = read_grants(section, drain_scope, reader);
    if reader.mistakes.count() > before {
        // A scope that could not be read may be the one that seems not to be granted.
        reader.unread.may_grant_more = true;
    } else {
        reader.findings.extend(ungranted(&key_scopes, &grants));
    }
    let limits = read_limits(section, builtin, reader);
    let link_modules = section.boolean("link_modules", reader).unwrap_or_default();
    let cache_ttl: Option<u64> = section.integer("cache_ttl_ms", reader, 1..=MAX_CACHE_TTL_MS);

    let name = section.require("name", name, reader);
    let component = section.require("component", component, reader);
    let name = name?;
    Some(ProviderConfig {
        display_name: display_name.unwrap_or_else(|| name.to_string()),
        name,
        component: component?,
        sha256,
        settings,
        blank_users_file,
        grants,
        limits,
        link_modules,
        cache_ttl: cache_ttl.map(Duration::from_millis),
        place: at(section.place),
        key_places,
    })
}

fn read_grants(section: &mut Section, drain_scope: &Scope, reader: &mut Reader<'_>) -> Grants {
    let mut grants = section.section("grants", reader);
    let scopes = grants.parsed_list("scopes", reader, |text| {
        let scope = Scope::new(text).map_err(|error| error.to_string())?;
        if scope == *drain_scope {
            return Err(format!(
                "`{scope}` is the drain scope, which no provider may hand out"
            ));
        }
        Ok(scope)
    });

    let read = Grants {
        scopes: values(scopes).into_iter().collect(),
        http: read_http_grants(&mut grants, reader),
        keyvalue: grants.boolean("keyvalue", reader).unwrap_or_default(),
    };
    grants.finish(reader);
    read
}

/// Each is an origin, or a map with an origin and what goes with it.
fn read_http_grants(grants: &mut Section, reader: &mut Reader<'_>) -> Vec<HttpGrant> {
    let name = grants.full("http");
    let nodes = grants.list("http", reader).into_iter().enumerate();
    let read = |(index, node): (usize, Node)| match &node.value {
        Yaml::Map(_) => read_http_grant(&format!("{name}[{index}]"), node, reader),
        _ => {
            let name = format!("{name}[{index}]");
            let text = reader.text(&name, &node)?;
            reader
                .keep(&name, node.place, origin(text.expose()))
                .map(HttpGrant::of)
        }
    };

    nodes.filter_map(read).collect()
}

fn read_http_grant(name: &str, node: Node, reader: &mut Reader<'_>) -> Option<HttpGrant> {
    let mut section = Section::open(name, node, reader);
    let parsed = section.parsed("origin", reader, origin);
    let networks = values(section.parsed_list("networks", reader, network));
    let headers = section
        .take("headers")
        .map(|node| read_headers(&section.full("headers"), node, reader));
    let ca_node = section.take("ca");
    let ca_name = section.full("ca");

    let origin = section.require("origin", parsed, reader);
    section.finish(reader);

    if let (Some(origin), Some(node)) = (&origin, &ca_node)
        && !origin.is_https()
    {
        reader.mistakes.add(
            node.place,
            format!("`{ca_name}` has no effect on {origin}, which is not https"),
        );
    }

    let ca = ca_node.and_then(|node| read_ca(&ca_name, &node, reader));
    Some(HttpGrant {
        origin: origin?,
        headers: headers.unwrap_or_default(),
        networks,
        ca,
    })
}

/// The authorities that alone are trusted for an origin: `{file: PEM}`.
pub(super) fn read_ca(name: &str, node: &Node, reader: &mut Reader<'_>) -> Option<Authorities> {
    if reader.references == References::Leave {
        return None;
    }
    let Some(path) = reader.file_of(node) else {
        let mistake = format!(
            "`{name}` must be `{{file: PATH}}` with the PEM file of a certificate authority"
        );
        reader.mistakes.add(node.place, mistake);
        return None;
    };

    let read = Authorities::read(&path).map_err(|error| format!("{} {error}", path.display()));
    let authorities = reader.keep(name, node.place, read)?;
    if authorities.has_private_key() {
        // The certificates alone are used. A key beside them is at risk in a file that is not
        // guarded like one.
        tracing::warn!(setting = name, file = %path.display(), "the file has a private key in it: remove it");
    }
    Some(authorities)
}

/// Headers that the host adds: their values are secrets.
pub(super) fn read_headers(
    name: &str,
    node: Node,
    reader: &mut Reader<'_>,
) -> Vec<(HeaderName, HeaderValue)> {
    let Yaml::Map(entries) = node.value else {
        reader.mistakes.add(
            node.place,
            format!("`{name}` must be a map, not {}", node.kind()),
        );
        return Vec::new();
    };

    let read = |(key, node): (YamlKey, Node)| {
        let full = format!("{name}.{}", key.text);
        let header = reader.keep(&full, key.place, header_name(&key.text));
        let text = match &node.value {
            Yaml::Map(entries) if entries.iter().any(|(key, _)| key.text == "basic") => {
                read_basic(&full, node.clone(), reader)?
            }
            _ => reader.foreign_secret(&full, &node)?,
        };
        let value =
            HeaderValue::from_str(text.expose()).map_err(|_| "no header can have this value");
        let mut value = reader.keep(&full, node.place, value)?;
        value.set_sensitive(true);
        Some((header?, value))
    };

    entries.into_iter().filter_map(read).collect()
}

/// `{basic: {username: .., password: ..}}`, as OAuth wants a client's identifier and secret (RFC
/// 6749, section 2.3.1).
fn read_basic(name: &str, node: Node, reader: &mut Reader<'_>) -> Option<Secret> {
    let mut section = Section::open(name, node, reader);
    let mut basic = section.section("basic", reader);
    section.finish(reader);
    let username = basic.secret("username", reader);
    let username = basic.require("username", username, reader);
    let password = basic.secret("password", reader);
    let password = basic.require("password", password, reader);
    basic.finish(reader);
    Some(basic_authorization(&username?, &password?))
}

/// The value of `Authorization` for a client's identifier and secret (RFC 6749, section 2.3.1).
pub(super) fn basic_authorization(username: &Secret, password: &Secret) -> Secret {
    let encoded = |secret: &Secret| {
        form_urlencoded::byte_serialize(secret.expose().as_bytes()).collect::<String>()
    };
    let pair = Zeroizing::new(format!("{}:{}", encoded(username), encoded(password)));
    Secret::new(format!("Basic {}", STANDARD.encode(pair.as_bytes())))
}

fn read_limits(section: &mut Section, builtin: Option<&str>, reader: &mut Reader<'_>) -> Limits {
    let mut limits = section.section("limits", reader);
    let defaults = default_limits(builtin);
    let memory_mib: Option<usize> = limits.integer("memory_mib", reader, 1..=1024);
    let deadline_ms: Option<u64> = limits.integer("deadline_ms", reader, 10..=30_000);
    let calls_per_second: Option<u32> = limits.integer("calls_per_second", reader, 1..=1_000_000);
    let component_mib: Option<u64> = limits.integer("component_mib", reader, 1..=MAX_COMPONENT_MIB);
    let table_elements: Option<usize> =
        limits.integer("table_elements", reader, 1..=MAX_TABLE_ELEMENTS);
    let core_instances: Option<usize> =
        limits.integer("core_instances", reader, 1..=MAX_CORE_INSTANCES);
    limits.finish(reader);

    Limits {
        memory_bytes: memory_mib.map_or(defaults.memory_bytes, |mib| mib * 1024 * 1024),
        deadline: deadline_ms.map_or(defaults.deadline, Duration::from_millis),
        calls_per_second: calls_per_second
            .and_then(NonZeroU32::new)
            .unwrap_or(defaults.calls_per_second),
        component_bytes: component_mib.map_or(defaults.component_bytes, |mib| mib * 1024 * 1024),
        table_elements: table_elements.unwrap_or(defaults.table_elements),
        core_instances: core_instances.unwrap_or(defaults.core_instances),
    }
}

fn default_limits(builtin: Option<&str>) -> Limits {
    let defaults = Limits::default();
    match builtin {
        // The hash of a password was seen to take more than a second on a machine that was busy
        // with other work.
        Some("basic") => Limits {
            deadline: SIGN_IN_DEADLINE,
            ..defaults
        },
        _ => defaults,
    }
}

/// The scopes that the keys of `builtin:service-keys` name, each with its place.
fn scopes_of_keys(section: &Section, builtin: Option<&str>) -> Vec<(Position, String)> {
    if builtin != Some("service-keys") {
        return Vec::new();
    }

    let keys = section
        .look_at("config")
        .and_then(|config| config.at("keys"))
        .map(Node::items);
    let scopes = keys
        .unwrap_or_default()
        .iter()
        .filter_map(|key| key.at("scopes"))
        .flat_map(Node::items);
    let text = |node: &Node| match &node.value {
        Yaml::Text(text) => Some((node.place, text.clone())),
        _ => None,
    };
    scopes.filter_map(text).collect()
}

/// Complaints about scopes that are not granted, so that no caller ever has them.
fn ungranted(scopes: &[(Position, String)], grants: &Grants) -> Vec<(Position, String)> {
    let is_granted = |text: &str| grants.scopes.iter().any(|scope| scope.as_str() == text);
    let complaint = |(place, scope): &(Position, String)| {
        let text = format!(
            "the key has the scope `{scope}`, which this provider may not hand out: add `{scope}` to `grants.scopes`"
        );
        (*place, text)
    };
    scopes
        .iter()
        .filter(|(_, scope)| !is_granted(scope))
        .map(complaint)
        .collect()
}

/// What stands under `config`.
#[derive(Default)]
struct ProviderSettings {
    values: BTreeMap<String, String>,
    blank_users_file: Option<PathBuf>,
}

/// A provider's own settings: strings as they stand, secrets from where they are, the rest as JSON
/// text.
fn read_settings(
    section: &mut Section,
    builtin: Option<&str>,
    reader: &mut Reader<'_>,
) -> ProviderSettings {
    let has_users_file = builtin == Some("basic");
    let Some(node) = section.take("config") else {
        return ProviderSettings::default();
    };
    let name = section.full("config");
    let Yaml::Map(entries) = node.value else {
        reader.mistakes.add(
            node.place,
            format!("`{name}` must be a map, not {}", node.kind()),
        );
        return ProviderSettings::default();
    };
    let known = builtin.map(settings_of_builtin);

    let mut blank_users_file = None;
    let values = entries
        .into_iter()
        .map(|(key, node)| {
            let full = format!("{name}.{}", key.text);
            if let Some(known) = &known
                && !known.contains(&key.text.as_str())
            {
                let instead = names_instead(&key.text, known);
                let text = format!("unknown key `{}` in `{name}`{instead}", key.text);
                reader.mistakes.add(key.place, text);
                return (key.text, String::new());
            }
            if builtin.is_some() && matches!(node.value, Yaml::Null) {
                let text = format!("`{full}` has no value: give it one, or remove the key");
                reader.mistakes.add(key.place, text);
                return (key.text, String::new());
            }
            if builtin.is_some_and(|builtin| portcullis_bundled::is_secret(builtin, &key.text)) {
                let secret = read_judged(&full, &node, Strength::KEY, reader);
                return (
                    key.text,
                    secret
                        .map(|secret| secret.expose().to_owned())
                        .unwrap_or_default(),
                );
            }
            let value = match key.text.as_str() {
                "users_file" if has_users_file => {
                    let read = read_users_file(&full, &node, reader);
                    blank_users_file = read.blank;
                    read.users
                }
                _ => resolve(&full, &node, reader),
            };
            let text = match value {
                Value::String(text) => text,
                other => other.to_string(),
            };
            (key.text, text)
        })
        .collect();

    ProviderSettings {
        values,
        blank_users_file,
    }
}

/// The users of a file, and its path where no list stands in it.
struct UsersRead {
    users: Value,
    blank: Option<PathBuf>,
}

/// The users in the file that the setting names: a guest has no files, so it gets what the file
/// has.
fn read_users_file(name: &str, node: &Node, reader: &mut Reader<'_>) -> UsersRead {
    let Some(path) = reader.text(name, node) else {
        return UsersRead {
            users: Value::Null,
            blank: None,
        };
    };
    // Password hashes: who reads them can guess at leisure, and who writes them gets in.
    reader.secret_files.insert(reader.base.join(path.expose()));
    let read = reader.file(name, node.place, path.expose(), users_file::read_listed);
    let is_blank = matches!(read, Some(None));
    let users = read.flatten().unwrap_or_default();
    UsersRead {
        users: users.into_iter().map(Value::Object).collect(),
        blank: is_blank.then(|| reader.base.join(path.expose())),
    }
}

/// The value with every `{env: NAME}` and `{file: PATH}` in it followed.
fn resolve(name: &str, node: &Node, reader: &mut Reader<'_>) -> Value {
    if let Some((place, wrong)) = wrong_form(name, node) {
        reader.mistakes.add(place, format!("`{name}`: {wrong}"));
        return Value::Null;
    }
    if let Some(followed) = reader.reference(node) {
        let secret = reader.keep(name, node.place, followed);
        return secret.map_or(Value::Null, |secret| {
            filled_in(name, node, secret.expose(), reader)
        });
    }

    match &node.value {
        Yaml::List(items) => items
            .iter()
            .enumerate()
            .map(|(index, item)| resolve(&format!("{name}[{index}]"), item, reader))
            .collect(),
        Yaml::Map(entries) => entries
            .iter()
            .map(|(key, item)| {
                (
                    key.text.clone(),
                    resolve(&format!("{name}.{}", key.text), item, reader),
                )
            })
            .collect::<serde_json::Map<_, _>>()
            .into(),
        Yaml::Text(text) => {
            reader.holds_secrets |= means_secret(name);
            filled_in(name, node, text, reader)
        }
        _ => node.to_json(),
    }
}

/// A map that looks like a reference, and is not a valid one.
fn wrong_form(name: &str, node: &Node) -> Option<(Position, String)> {
    let is_other_map =
        || means_secret(name) && names_a_source(node) && reference_of(node).is_none();
    wrong_reference(node).or_else(|| is_other_map().then(|| (node.place, RIGHT_FORM.to_owned())))
}

/// Text as a value, unless it stands for one that was never filled in.
fn filled_in(name: &str, node: &Node, text: &str, reader: &mut Reader<'_>) -> Value {
    if stands_for_another(name, text) {
        let complaint = complaint(node, &WeakSecret::Placeholder);
        reader
            .mistakes
            .add(node.place, format!("`{name}`: {complaint}"));
    }
    text.into()
}

#[cfg(test)]
mod tests {
    use super::super::tests::read;
    use super::super::{Environment, load, load_for_gateway};
    use std::fs;
    use std::time::Duration;

    #[test]
    fn users_file_of_builtin_basic_is_read_and_watched() {
        let home = tempfile::tempdir().unwrap();
        let users = home.path().join("users.yaml");
        let config = "dashboard: {providers: [{name: local, component: 'builtin:basic', config: {users_file: users.yaml}}]}";
        fs::write(home.path().join("portcullis.yaml"), config).unwrap();
        let read = || load(home.path().to_owned(), None, Environment::default());

        let error = read().unwrap_err();
        let expected = format!(
            "`dashboard.providers[0].config.users_file`: cannot read {}",
            users.display()
        );
        assert!(error.to_string().contains(&expected), "{error}");
        assert!(
            error.files.contains(&users),
            "a file that appears is a change"
        );
        assert!(load_for_gateway(home.path().to_owned(), None, Environment::default()).is_ok());

        for (text, blank) in [("# None.\n", Some(users.clone())), ("[]\n", None)] {
            fs::write(&users, text).unwrap();
            let provider = read().unwrap().dashboard.providers.remove(0);
            assert_eq!(provider.settings["users_file"], "[]", "{text}");
            assert_eq!(provider.blank_users_file, blank, "{text}");
        }

        fs::write(&users, "- username: ada\n  password_hash: x\n").unwrap();
        let config = read().unwrap();
        let settings = &config.dashboard.providers[0].settings;
        assert_eq!(
            settings["users_file"],
            r#"[{"username":"ada","password_hash":"x"}]"#
        );
        assert!(config.files.contains(&users));
    }

    #[test]
    fn password_hash_has_a_longer_deadline_than_other_calls() {
        for (component, limits, seconds) in [
            ("builtin:basic", "{}", 5),
            ("builtin:basic", "{deadline_ms: 2000}", 2),
            ("builtin:service-keys", "{}", 1),
            ("own.wasm", "{}", 1),
        ] {
            let text = format!(
                "dashboard: {{providers: [{{name: a, component: '{component}', limits: {limits}}}]}}"
            );
            let config = read(&text).unwrap();
            assert_eq!(
                config.dashboard.providers[0].limits.deadline,
                Duration::from_secs(seconds),
                "{text}"
            );
        }
    }

    #[test]
    fn users_file_of_another_provider_is_a_setting_like_any() {
        let home = tempfile::tempdir().unwrap();
        let config = "dashboard: {providers: [{name: own, component: own.wasm, config: {users_file: users.yaml}}]}";
        fs::write(home.path().join("portcullis.yaml"), config).unwrap();
        let config = load(home.path().to_owned(), None, Environment::default()).unwrap();
        assert_eq!(
            config.dashboard.providers[0].settings["users_file"],
            "users.yaml"
        );
    }
}
