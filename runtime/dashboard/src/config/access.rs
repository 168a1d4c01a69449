//! `dashboard.access`: which people have which role.

use super::ProviderConfig;
use super::forms::{access_name, provider_name};
use super::original;
use super::section::{Given, Reader, References, Section, values};
use crate::yaml::{Node, Yaml};
use portcullis_auth::{Access, AccessRule, ProviderName, Role};
use std::collections::BTreeSet;

/// Reads the rules. A key or condition without a value is a mistake, since each lets in more people
/// when it is absent.
pub(super) fn read_access(
    section: &mut Section,
    providers: &[ProviderConfig],
    reader: &mut Reader<'_>,
) -> Access {
    let name = section.full("access");
    let given = section.place_of("access");
    let Some(node) = section.take("access") else {
        if let Some(place) = given {
            reader.mistakes.add(
                place,
                format!("`{name}` has no value: give a list of rules, or remove the key"),
            );
        }
        return Access::default();
    };

    let place = node.place;
    let kind = node.kind();
    let Yaml::List(items) = node.value else {
        reader
            .mistakes
            .add(place, format!("`{name}` must be a list, not {kind}"));
        return Access::default();
    };

    let read = |(index, node): (usize, Node)| {
        read_rule(&format!("{name}[{index}]"), node, providers, reader)
    };
    Access::by_rules(items.into_iter().enumerate().filter_map(read).collect())
}

fn read_rule(
    name: &str,
    node: Node,
    providers: &[ProviderConfig],
    reader: &mut Reader<'_>,
) -> Option<AccessRule> {
    let mut rule = Section::open(name, node, reader);
    let role = rule.parsed("role", reader, role);
    let role = rule.require("role", role, reader);

    let given = rule.given("provider");
    let is_known = |name: &ProviderName| {
        providers.iter().any(|known| known.name == *name) || original::can_make(name.as_str())
    };
    // A provider with a mistake of its own is not among those that were read.
    let are_known = reader.references == References::Follow
        && !reader.mistakes.mentions("`dashboard.providers");
    let provider = rule.parsed("provider", reader, |text| match provider_name(text) {
        Ok(name) if are_known && !is_known(&name) => Err(format!("no provider is named `{name}`")),
        parsed => parsed,
    });

    let provider = condition(&rule.full("provider"), given, provider, reader);
    let users = names(&mut rule, "users", reader);
    let groups = names(&mut rule, "groups", reader);
    rule.finish(reader);
    Some(AccessRule {
        role: role?,
        provider,
        users,
        groups,
    })
}

/// The outer `None` stands for a mistake, the inner one for the role `none`.
fn role(text: &str) -> Result<Option<Role>, &'static str> {
    match text {
        "operator" => Ok(Some(Role::Operator)),
        "viewer" => Ok(Some(Role::Viewer)),
        "none" => Ok(None),
        _ => Err("must be operator, viewer or none"),
    }
}

fn names(
    rule: &mut Section,
    key: &'static str,
    reader: &mut Reader<'_>,
) -> Option<BTreeSet<String>> {
    let given = rule.given(key);
    let names: BTreeSet<_> = values(rule.parsed_list(key, reader, access_name))
        .into_iter()
        .collect();

    condition(
        &rule.full(key),
        given,
        Some(names).filter(|names| !names.is_empty()),
        reader,
    )
}

/// Complains about a condition that was given and says nothing: the rule would match everyone.
fn condition<T>(
    name: &str,
    given: Option<Given>,
    read: Option<T>,
    reader: &mut Reader<'_>,
) -> Option<T> {
    if let Some(given) = given
        && read.is_none()
        && !reader.is_explained(name, given)
    {
        reader.mistakes.add(
            given.place,
            format!("`{name}` is empty: give a value, or remove the key"),
        );
    }

    read
}
