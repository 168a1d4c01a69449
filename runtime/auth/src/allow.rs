use super::{Role, Scope};
use std::collections::BTreeSet;

/// One way into an application behind the gate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Allow {
    /// Every caller, without a sign-in.
    Public,
    /// Every person whom `dashboard.access` gives a role.
    People,
    /// People with this role or a higher one.
    Role(Role),
    /// People who have a role and one of these groups. Compared exactly.
    Groups(BTreeSet<String>),
    /// Services whose token carries this scope.
    Scope(Scope),
}

/// Who may use an application: a caller needs to match one entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Allowed(Vec<Allow>);

impl Allowed {
    /// Returns what lets in everyone whom one of these lets in.
    pub fn any_of(ways: Vec<Allow>) -> Self {
        Self(ways)
    }

    /// Returns whether every caller may.
    pub fn is_public(&self) -> bool {
        self.0.contains(&Allow::Public)
    }

    /// Returns the scopes, each of which lets a service in.
    pub fn scopes(&self) -> impl Iterator<Item = &Scope> {
        self.0.iter().filter_map(|way| match way {
            Allow::Scope(scope) => Some(scope),
            _ => None,
        })
    }

    /// Returns whether a person could be let in.
    pub(crate) fn is_for_people(&self) -> bool {
        self.0
            .iter()
            .any(|way| matches!(way, Allow::People | Allow::Role(_) | Allow::Groups(_)))
    }

    /// Returns whether callers may where the dashboard asks for no sign-in: they hold the role
    /// `operator` there, and no group.
    pub(super) fn admits_without_sign_in(&self) -> bool {
        self.admits_person(Role::Operator, &[])
    }

    /// Returns whether a person with this role and these groups may.
    pub fn admits_person(&self, role: Role, groups: &[String]) -> bool {
        self.0.iter().any(|way| match way {
            Allow::Public | Allow::People | Allow::Role(Role::Viewer) => true,
            Allow::Role(Role::Operator) => role == Role::Operator,
            Allow::Groups(allowed) => groups.iter().any(|group| allowed.contains(group)),
            Allow::Scope(_) => false,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_way_in_suffices_and_scopes_let_no_person_in() {
        let groups = Allow::Groups(BTreeSet::from(["ops".to_owned()]));
        let scope = Allow::Scope(Scope::new("app.use").unwrap());
        let ops = ["ops".to_owned()];
        for (ways, role, has_group, expected) in [
            (vec![Allow::People], Role::Viewer, false, true),
            (vec![Allow::Role(Role::Viewer)], Role::Operator, false, true),
            (vec![Allow::Role(Role::Operator)], Role::Viewer, true, false),
            (vec![groups.clone()], Role::Operator, false, false),
            (vec![groups.clone()], Role::Viewer, true, true),
            (vec![scope.clone()], Role::Operator, true, false),
            (vec![scope, groups], Role::Viewer, true, true),
            (vec![], Role::Operator, true, false),
        ] {
            let groups = if has_group { &ops[..] } else { &[] };
            assert_eq!(
                Allowed::any_of(ways.clone()).admits_person(role, groups),
                expected,
                "{ways:?}"
            );
        }
    }
}
