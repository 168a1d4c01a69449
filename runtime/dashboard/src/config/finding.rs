//! Findings: settings that do not stop a start, but that the operator must know of.

use super::{ProviderConfig, SESSION_KEY_FILE};
use crate::yaml::Position;
use portcullis_auth::Scope;
use portcullis_auth::secret_strength::Strength;
use portcullis_home::atomic_file;
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// Something in the settings that the operator has to know, in one sentence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SettingFinding {
    /// Whether `config check` fails for it. Such a setting never works.
    pub is_mistake: bool,
    /// Where it is, what is wrong, and what would be right.
    pub text: String,
    /// The file whose mode lets others in; `chmod 600` is what would be right. `None`: it is about
    /// something else.
    pub exposed_file: Option<PathBuf>,
}

impl SettingFinding {
    pub(super) fn warning(text: String) -> Self {
        Self {
            is_mistake: false,
            text,
            exposed_file: None,
        }
    }
}

/// Findings in the configuration itself. `is_mistake`: `config check` fails for them.
pub(super) fn of_file(
    file: &Path,
    findings: &[(Position, String)],
    is_mistake: bool,
) -> impl Iterator<Item = SettingFinding> {
    let of = |(place, text): &(Position, String)| format!("{}:{place}: {text}", file.display());
    findings.iter().map(move |finding| SettingFinding {
        is_mistake,
        text: of(finding),
        exposed_file: None,
    })
}

/// Routes that need a scope which no caller can have.
pub(super) fn unmet_routes(
    routes: &[(Position, String, Scope)],
    providers: &[ProviderConfig],
    drain_scope: &Scope,
) -> Vec<(Position, String)> {
    let is_unmet = |scope: &Scope| {
        scope != drain_scope
            && !providers
                .iter()
                .any(|provider| provider.grants.scopes.contains(scope))
    };
    let complaint = |(place, path, scope): &(Position, String, Scope)| {
        let text = format!(
            "no provider may hand out `{scope}`, which {path} needs, so {path} refuses every token: add \
             `{scope}` to `grants.scopes` of a provider"
        );
        (*place, text)
    };

    routes
        .iter()
        .filter(|(_, _, scope)| is_unmet(scope))
        .map(complaint)
        .collect()
}

/// Complains about the session keys that the home keeps, if one is weak: the dashboard does not
/// start with it. An empty file is no complaint, since a new key is made then.
pub(super) fn weak_home_key(home: &Path) -> Option<SettingFinding> {
    let path = home.join(SESSION_KEY_FILE);
    let key = Zeroizing::new(atomic_file::read(&path).ok()?);
    let mut keys = std::str::from_utf8(&key)
        .ok()?
        .lines()
        .map(str::trim)
        .filter(|key| !key.is_empty());
    let weak = keys.find_map(|key| Strength::KEY.judge(key).err())?;
    let text = format!(
        "{}: the key is refused: {weak}: remove the file, and a new one is made",
        path.display()
    );

    Some(SettingFinding {
        is_mistake: true,
        text,
        exposed_file: None,
    })
}

#[cfg(test)]
mod tests {
    use super::super::tests::read;
    use super::*;
    use std::fs;

    #[test]
    fn weak_key_of_the_home_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(SESSION_KEY_FILE);
        for (key, is_weak) in [
            ("hunter2hunter2\n", true),
            ("", false),
            ("9f3c1b7e2d8a4650c1e7b93f60d2a548\n", false),
            ("9f3c1b7e2d8a4650c1e7b93f60d2a548\nhunter2\n", true),
        ] {
            fs::write(&path, key).unwrap();
            let found = weak_home_key(folder.path());
            assert_eq!(found.is_some(), is_weak, "{found:?}");
            assert!(found.is_none_or(|found| found.is_mistake && !found.text.contains("hunter")));
        }
    }

    #[test]
    fn scopes_that_no_caller_can_have_are_found() {
        let findings = |text: &str| {
            let findings = read(text).unwrap().findings;
            findings
                .into_iter()
                .map(|finding| (finding.is_mistake, finding.text))
                .collect::<Vec<_>>()
        };
        let route =
            "dashboard:\n  token_routes:\n    - path: /metrics\n      scope: metrics.read\n";
        let found = findings(route);
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(
            found[0].0
                && found[0]
                    .1
                    .contains("portcullis.yaml:4:14: no provider may hand out"),
            "{found:?}"
        );
        let key = "dashboard:\n  providers:\n    - name: a\n      component: builtin:service-keys\n      config:\n        \
                   keys:\n          - scopes: [metrics.read]\n";
        let found = findings(key);
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(
            found[0].0
                && found[0]
                    .1
                    .contains("portcullis.yaml:7:22: the key has the scope"),
            "{found:?}"
        );
        let granted = format!(
            "{key}      grants: {{scopes: [metrics.read]}}\n  token_routes: [{{path: /metrics, scope: metrics.read}}]\n"
        );
        assert!(findings(&granted).is_empty());
        assert!(findings("dashboard: {token_routes: [{path: /metrics, scope: drain}]}").is_empty());
    }
}
