use super::{CheckedClaims, ProviderName};
use serde::Serialize;
use std::collections::BTreeSet;
use std::fmt;

/// What a signed-in person may do. A person without a role may only sign out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Sees the state of the gateway, the number of turns, and the person's own sessions.
    Viewer,
    /// Sees everything, drains and restarts the gateway, and ends any session.
    Operator,
}

impl fmt::Display for Role {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Viewer => "viewer",
            Self::Operator => "operator",
        })
    }
}

/// One rule of `dashboard.access`. It matches a person for whom each given condition holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessRule {
    /// The role of people whom the rule matches. `None`: the role `none`.
    pub role: Option<Role>,
    /// The provider that signed the person in.
    pub provider: Option<ProviderName>,
    /// Names of people: a user id, or an e-mail address that the provider has verified. Compared
    /// exactly.
    pub users: Option<BTreeSet<String>>,
    /// Groups, one of which the person must have. Compared exactly.
    pub groups: Option<BTreeSet<String>>,
}

impl AccessRule {
    fn matches(&self, provider: &ProviderName, claims: &CheckedClaims) -> bool {
        let is_named = |users: &BTreeSet<String>| {
            let has_email = !claims.email.is_empty() && users.contains(&claims.email);
            users.contains(&claims.user_id) || has_email
        };
        self.provider.as_ref().is_none_or(|name| name == provider)
            && self.users.as_ref().is_none_or(is_named)
            && self
                .groups
                .as_ref()
                .is_none_or(|groups| claims.groups.iter().any(|group| groups.contains(group)))
    }
}

/// Which role a person has: `dashboard.access`. The default gives the role `operator` to everyone
/// who can sign in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Access(Option<Vec<AccessRule>>);

impl Access {
    /// Decides by the first of these rules that matches a person. If none matches, the person has
    /// no role.
    pub fn by_rules(rules: Vec<AccessRule>) -> Self {
        Self(Some(rules))
    }

    /// Returns whether everyone who can sign in is an operator, since there are no rules.
    pub fn is_unrestricted(&self) -> bool {
        self.0.is_none()
    }

    /// The rules, in the order in which they are tried.
    pub fn rules(&self) -> &[AccessRule] {
        self.0.as_deref().unwrap_or_default()
    }

    /// Returns the role of a person whom this provider signed in. `None`: the person may do nothing
    /// here.
    pub fn role_of(&self, provider: &ProviderName, claims: &CheckedClaims) -> Option<Role> {
        let Some(rules) = &self.0 else {
            return Some(Role::Operator);
        };
        rules
            .iter()
            .find(|rule| rule.matches(provider, claims))?
            .role
    }
}

#[cfg(test)]
mod tests {
    use super::super::session::tests::{NOW, a_session, a_session_of, claims};
    use super::*;
    use crate::SessionClaims;

    const ANYONE: AccessRule = AccessRule {
        role: Some(Role::Operator),
        provider: None,
        users: None,
        groups: None,
    };

    fn set(names: &[&str]) -> Option<BTreeSet<String>> {
        Some(names.iter().map(ToString::to_string).collect())
    }

    fn name(name: &str) -> Option<ProviderName> {
        Some(ProviderName::new(name).unwrap())
    }

    fn role(rules: &[AccessRule], email: &str, groups: &[&str]) -> Option<Role> {
        let groups = groups.iter().map(ToString::to_string).collect();
        let claims = SessionClaims {
            email: email.to_owned(),
            groups,
            ..claims("ada", NOW + 60)
        };
        let session = a_session_of(claims);
        Access::by_rules(rules.to_vec()).role_of(session.provider(), session.claims())
    }

    #[test]
    fn every_given_condition_must_hold() {
        let operator = Some(Role::Operator);
        let users = |names: &[&str]| AccessRule {
            users: set(names),
            ..ANYONE
        };
        let groups = AccessRule {
            groups: set(&["ops", "admins"]),
            ..ANYONE
        };
        assert_eq!(role(&[ANYONE], "", &[]), operator);
        assert_eq!(role(&[], "", &[]), None, "no rule matches");
        assert_eq!(role(&[users(&["ada"])], "", &[]), operator);
        assert_eq!(
            role(&[users(&["Ada", "ad", "ada "])], "", &[]),
            None,
            "exactly"
        );
        assert_eq!(role(&[users(&["a@x.test"])], "a@x.test", &[]), operator);
        assert_eq!(
            role(&[users(&[""])], "", &[]),
            None,
            "an unknown address is no name"
        );
        assert_eq!(
            role(std::slice::from_ref(&groups), "", &["dev", "ops"]),
            operator
        );
        assert_eq!(role(std::slice::from_ref(&groups), "", &["dev"]), None);
        let elsewhere = AccessRule {
            provider: name("corp"),
            ..groups.clone()
        };
        assert_eq!(role(&[elsewhere], "", &["ops"]), None);
        let here = AccessRule {
            provider: name("basic"),
            users: set(&["bob"]),
            ..groups
        };
        assert_eq!(role(&[here], "", &["ops"]), None);
    }

    #[test]
    fn first_rule_that_matches_decides() {
        let none = AccessRule {
            role: None,
            users: set(&["ada"]),
            ..ANYONE
        };
        let viewer = AccessRule {
            role: Some(Role::Viewer),
            ..ANYONE
        };
        assert_eq!(role(&[none.clone(), viewer.clone()], "", &[]), None);
        assert_eq!(role(&[viewer, none, ANYONE], "", &[]), Some(Role::Viewer));
        let session = a_session("ada");
        let unrestricted = Access::default();
        assert!(unrestricted.is_unrestricted());
        assert_eq!(
            unrestricted.role_of(session.provider(), session.claims()),
            Some(Role::Operator)
        );
    }
}
