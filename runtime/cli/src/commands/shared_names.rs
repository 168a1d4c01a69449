//! Rules of `dashboard.access` by which a person of one provider gets what was meant for a person
//! of another.

use portcullis_auth::{AccessRule, Registered};
use portcullis_dashboard::config::Config;

/// One sentence for each rule that gives a role to users or groups of every provider, if several
/// providers sign people in. The names are each provider's own: another provider may know another
/// person by the same name.
pub(super) fn warnings(config: &Config, registered: &[Registered]) -> Vec<String> {
    let providers: Vec<_> = registered
        .iter()
        .filter(|one| one.signs_people_in())
        .map(|one| one.name.as_str())
        .collect();
    if providers.len() < 2 {
        return Vec::new();
    }

    let providers = providers.join(", ");
    let file = config
        .file
        .as_ref()
        .map(|file| format!("{}: ", file.display()))
        .unwrap_or_default();
    let rules = config.dashboard.access.rules().iter().enumerate();
    let warning = |(index, rule): (usize, &AccessRule)| {
        let names = names_of(rule)?;
        Some(format!(
            "{file}`dashboard.access[{index}]` matches {names} of every provider ({providers}): another person may have the same \
             name at another one: add `provider`"
        ))
    };

    rules.filter_map(warning).collect()
}

/// Returns what the rule names. `None` if it gives no role, or names a provider or no person.
fn names_of(rule: &AccessRule) -> Option<&'static str> {
    rule.role.filter(|_| rule.provider.is_none())?;
    match (&rule.users, &rule.groups) {
        (Some(_), Some(_)) => Some("users and groups"),
        (Some(_), None) => Some("users"),
        (None, Some(_)) => Some("groups"),
        (None, None) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use portcullis_auth::{ProviderName, Role};

    #[test]
    fn only_rules_that_give_a_role_by_a_bare_name_are_named() {
        let everyone = AccessRule {
            role: Some(Role::Viewer),
            provider: None,
            users: None,
            groups: None,
        };
        let users = AccessRule {
            users: Some(["ada".to_owned()].into()),
            ..everyone.clone()
        };
        let groups = AccessRule {
            groups: users.users.clone(),
            ..everyone.clone()
        };
        let provider = ProviderName::new("corp").ok();
        for (rule, expected) in [
            (&everyone, None),
            (&users, Some("users")),
            (&groups, Some("groups")),
            (
                &AccessRule {
                    groups: groups.groups.clone(),
                    ..users.clone()
                },
                Some("users and groups"),
            ),
            (
                &AccessRule {
                    role: None,
                    ..users.clone()
                },
                None,
            ),
            (
                &AccessRule {
                    provider,
                    ..users.clone()
                },
                None,
            ),
        ] {
            assert_eq!(names_of(rule), expected, "{rule:?}");
        }
    }
}
