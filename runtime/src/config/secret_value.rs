//! Secrets in the configuration. Each has the same forms, and each secret of the host passes the same strength gate.

use super::Secret;
use super::reference::{RIGHT_FORM, reference_of};
use super::section::{Reader, Section};
use super::yaml::{Node, Yaml};
use crate::secret_strength::{Strength, WeakSecret, is_placeholder, variable_in};

/// Words in the names of settings that are secrets.
const WORDS: &[&str] = &["secret", "password", "passphrase", "token", "credential", "key"];

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
            reader.mistakes.add(node.place, format!("`{name}`: {}", complaint(node, &weak)));
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
    let Some(node) = section.take_secret(key, reader) else { return Vec::new() };
    let Yaml::List(items) = &node.value else {
        return read_judged(&name, &node, strength, reader).into_iter().collect();
    };
    if !(1..=most).contains(&items.len()) {
        reader.mistakes.add(node.place, format!("`{name}` must be one secret or a list of up to {most}"));
        return Vec::new();
    }
    let read =
        |(index, item): (usize, &Node)| read_judged(&format!("{name}[{index}]"), item, strength, reader);
    items.iter().enumerate().filter_map(read).collect()
}

/// Returns whether a setting of this name holds a secret, as far as a name can say. `name` is its full name.
pub(super) fn means_secret(name: &str) -> bool {
    let key = name.rsplit('.').next().unwrap_or_default().to_ascii_lowercase();
    WORDS.iter().any(|word| key.contains(word))
}

/// Returns whether text stands for a value that was never filled in. In the place of a secret every kind of placeholder
/// does; elsewhere, where braces may have a meaning of their own, a variable in capitals (`${NAME}`) does.
pub(super) fn stands_for_another(name: &str, text: &str) -> bool {
    let is_variable = || text.trim().starts_with("${") && variable_in(text).is_some();
    if means_secret(name) { is_placeholder(text) } else { is_variable() }
}

/// What is wrong with a value and what would be right. Names the variable or file that it came from, never the value.
pub(super) fn complaint(node: &Node, weak: &WeakSecret) -> String {
    let advice = match (reference_of(node), weak, &node.value) {
        (Some(source), WeakSecret::Placeholder, _) => return format!("{source}: {weak}"),
        (Some(source), ..) => {
            return format!("{source}: {weak}: make one with `portcullis secret generate`");
        }
        (None, WeakSecret::Placeholder, Yaml::Text(text)) => match variable_in(text) {
            Some(variable) => format!("write {{env: {variable}}}"),
            None => RIGHT_FORM.to_owned(),
        },
        (None, ..) => "make one with `portcullis secret generate`".to_owned(),
    };
    format!("{weak}: {advice}")
}
