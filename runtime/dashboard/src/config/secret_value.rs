//! Secrets in the configuration. Each has the same forms, and each secret of the host passes the
//! same strength gate.

use super::Secret;
use super::reference::{RIGHT_FORM, reference_of};
use super::section::{Reader, Section};
use crate::yaml::{Node, Yaml};
use portcullis_auth::secret_strength::{Strength, WeakSecret, is_placeholder, variable_in};

/// Words in the names of settings that are secrets.
const WORDS: &[&str] = &[
    "secret",
    "password",
    "passphrase",
    "token",
    "credential",
    "key",
];

/// Reads a secret of the host and judges it. A weak one is a mistake.
pub(super) fn read_judged(
    name: &str,
    node: &Node,
    strength: Strength,
    reader: &mut Reader<'_>,
) -> Option<Secret> {
    let secret = reader.secret_text(name, node)?;
    match strength.judge(secret.expose().trim()) {
        Ok(()) => Some(secret),
        Err(weak) => {
            reader
                .mistakes
                .add(node.place, format!("`{name}`: {}", complaint(node, &weak)));
            None
        }
    }
}

/// Takes one secret of the host, or a list of at most `most`.
pub(super) fn take_judged_list(
    section: &mut Section,
    key: &'static str,
    most: usize,
    strength: Strength,
    reader: &mut Reader<'_>,
) -> Vec<Secret> {
    let name = section.full(key);
    let Some(node) = section.take_secret(key, reader) else {
        return Vec::new();
    };
    let Yaml::List(items) = &node.value else {
        return read_judged(&name, &node, strength, reader)
            .into_iter()
            .collect();
    };
    if !(1..=most).contains(&items.len()) {
        reader.mistakes.add(
            node.place,
            format!("`{name}` must be one secret or a list of up to {most}"),
        );
        return Vec::new();
    }

    let read = |(index, item): (usize, &Node)| {
        read_judged(&format!("{name}[{index}]"), item, strength, reader)
    };
    items.iter().enumerate().filter_map(read).collect()
}

/// Returns whether a setting of this name holds a secret, as far as a name can say. `name` is its
/// full name.
pub(super) fn means_secret(name: &str) -> bool {
    let key = name
        .rsplit('.')
        .next()
        .unwrap_or_default()
        .to_ascii_lowercase();
    WORDS.iter().any(|word| key.contains(word))
}

/// The variable that text outside of a secret stands for, since it was never filled in: `${NAME}`.
pub(super) fn unexpanded(text: &str) -> Option<&str> {
    variable_in(text).filter(|_| text.trim().starts_with("${"))
}

/// Returns whether text stands for a value that was never filled in. In the place of a secret every
/// kind of placeholder does; elsewhere, where braces may have a meaning of their own, a variable in
/// capitals (`${NAME}`) does.
pub(super) fn stands_for_another(name: &str, text: &str) -> bool {
    if means_secret(name) {
        is_placeholder(text)
    } else {
        unexpanded(text).is_some()
    }
}

/// What is wrong with a value and what would be right. Names the variable or file that it came
/// from, never the value.
pub(super) fn complaint(node: &Node, weak: &WeakSecret) -> String {
    let advice = match (reference_of(node), weak, &node.value) {
        (Some(source), WeakSecret::Placeholder, _) => return format!("{source}: {weak}"),
        (Some(source), ..) => {
            return format!("{source}: {weak}: {}", weak.advice());
        }
        (None, WeakSecret::Placeholder, Yaml::Text(text)) => match variable_in(text) {
            Some(variable) => format!("write {{env: {variable}}}"),
            None => RIGHT_FORM.to_owned(),
        },
        (None, ..) => weak.advice().to_owned(),
    };
    format!("{weak}: {advice}")
}

#[cfg(test)]
mod tests {
    use super::super::tests::{mistakes, read};
    use super::super::{Environment, load_text};
    use std::fs;

    #[test]
    fn secrets_in_provider_settings_come_from_files() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("key"), "s3cret\n").unwrap();
        let text = "dashboard: {providers: [{name: a, component: x, config: {one: {file: key}, list: [{file: key}]}}]}";
        let file = folder.path().join("portcullis.yaml");
        let config = load_text("/home".into(), Some(file), text, Environment::default()).unwrap();
        let settings = &config.dashboard.providers[0].settings;
        assert_eq!(
            (settings["one"].as_str(), settings["list"].as_str()),
            ("s3cret", "[\"s3cret\"]")
        );
    }

    #[test]
    fn every_secret_has_one_form_and_one_gate() {
        let all_a = "a".repeat(64);
        let weak = [
            ("'${SESSION_KEY}'", "write {env: SESSION_KEY}"),
            ("$SESSION_KEY", "write {env: SESSION_KEY}"),
            ("'%SESSION_KEY%'", "write {env: NAME} or {file: PATH}"),
            ("'{{ SESSION_KEY }}'", "write {env: NAME} or {file: PATH}"),
            (
                "'<a session key of at least 32 characters>'",
                "unexpanded variable or a placeholder",
            ),
            (all_a.as_str(), "distinct characters"),
            (
                "'Jx3_8vTqk0ZrWm2yLhNcPd5uBfGa7sEoKi9tRb1XwQc\u{e9}'",
                "its character 44 is not visible ASCII",
            ),
            (
                r#""Jx3_8vTqk0ZrWm2yLhNcPd5uBfGa\n7sEoKi9tRb1XwQcpX7mQ2vK9sT4w""#,
                "write a list of two",
            ),
            ("short", "is too short (5 of at least"),
            ("12345", "put it in quotes"),
            ("{evn: SESSION_KEY}", "did you mean `env`?"),
            (
                "{env: SESSION_KEY, file: key}",
                "a value stands in one place",
            ),
            ("{env: [SESSION_KEY]}", "`env` must be a string, not a list"),
            (
                "{env: SESSION_KEY, default: x}",
                "write {env: NAME} or {file: PATH}",
            ),
            ("{value: x}", "write {env: NAME} or {file: PATH}"),
        ];
        let basic =
            "dashboard: {providers: [{name: a, component: 'builtin:basic', config: {secret: X}}]}";
        for (place, text) in [
            ("`dashboard.session_key`", "dashboard: {session_key: X}"),
            (
                "`dashboard.session_key[0]`",
                "dashboard: {session_key: [X]}",
            ),
            (
                "`dashboard.drain_auth.secret`",
                "dashboard: {drain_auth: {secret: X}}",
            ),
            (
                "`dashboard.drain_auth.secret[0]`",
                "dashboard: {drain_auth: {secret: [X]}}",
            ),
            ("`gateway.api_key`", "gateway: {api_key: X}"),
            ("`dashboard.providers[0].config.secret`", basic),
        ] {
            for (value, complaint) in weak {
                let found = mistakes(&text.replace('X', value));
                assert_eq!(found.len(), 1, "{text} {value}: {found:?}");
                assert!(found[0].contains(place), "{text} {value}: {found:?}");
                assert!(found[0].contains(complaint), "{text} {value}: {found:?}");
            }
        }
        for (text, complaint) in [
            (
                "gateway: {api_key: [a, b]}",
                "`gateway.api_key` must be a string, not a list",
            ),
            (
                &basic.replace('X', "[a, b]"),
                "config.secret` must be a string, not a list",
            ),
            (
                "dashboard: {session_key: []}",
                "must be one secret or a list",
            ),
            (
                "dashboard:\n  session_key:\n  port: 1\n",
                "2:3: `dashboard.session_key` has no value",
            ),
            (
                "dashboard: {drain_auth: {secret: ~}}",
                "`dashboard.drain_auth.secret` has no value",
            ),
            ("gateway: {api_key: }", "`gateway.api_key` has no value"),
            (
                "dashboard: {drain_auth: {secret: [a, b, c]}}",
                "a list of up to 2",
            ),
        ] {
            let found = mistakes(text);
            assert!(
                found.len() == 1 && found[0].contains(complaint),
                "{text}: {found:?}"
            );
        }
    }

    #[test]
    fn weak_secret_of_a_file_is_named_by_the_file() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(
            folder.path().join("key"),
            "hunter2hunter2hunter2hunter2hunter2\n",
        )
        .unwrap();
        let text = "dashboard: {session_key: {file: key}}";
        let file = folder.path().join("portcullis.yaml");
        let refusal =
            load_text("/home".into(), Some(file), text, Environment::default()).unwrap_err();
        let refusal = refusal.to_string();
        assert!(
            refusal.contains("`dashboard.session_key`: the file key: it "),
            "{refusal}"
        );
        assert!(!refusal.contains("hunter"), "{refusal}");
    }

    #[test]
    fn settings_of_providers_hold_no_placeholder() {
        let entry = |config: &str| {
            format!("dashboard: {{providers: [{{name: a, component: x, config: {config}}}]}}")
        };
        for (config, complaint) in [
            ("{api_token: $API_TOKEN}", "write {env: API_TOKEN}"),
            (
                "{users: [{password: '<password>'}]}",
                "config.users[0].password`: it looks like an unexpanded",
            ),
            ("{issuer: '${ISSUER}'}", "write {env: ISSUER}"),
            ("{issuer: {evn: ISSUER}}", "did you mean `env`?"),
            (
                "{list: [{fiel: x}]}",
                "config.list[0]`: `fiel` is no source of a value",
            ),
            (
                "{token: {env: X, default: y}}",
                "write {env: NAME} or {file: PATH}",
            ),
        ] {
            let found = mistakes(&entry(config));
            assert!(
                found.len() == 1 && found[0].contains(complaint),
                "{config}: {found:?}"
            );
        }
        for config in [
            "{filter: '(uid={user})', titles: {en: x}}",
            "{secret: plain, template: '{{ name }}'}",
        ] {
            assert!(read(&entry(config)).is_ok(), "{config}");
        }
        let header = "dashboard: {providers: [{name: a, component: x, grants: {http: [{origin: 'https://a', headers: \
                      {authorization: 'Bearer ${TOKEN}'}}]}}]}";
        let empty = header.replace("Bearer ${TOKEN}", " ");
        let found = mistakes(&empty);
        assert!(
            found.len() == 1 && found[0].contains("headers.authorization`: it is empty"),
            "{found:?}"
        );
        let found = mistakes(header);
        assert!(
            found.len() == 1 && found[0].contains("unexpanded variable"),
            "{found:?}"
        );
    }
}
