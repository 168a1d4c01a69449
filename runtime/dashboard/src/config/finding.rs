//! Findings: settings that do not stop a start, but that the operator must know of.

use super::load::FileSettings;
use super::{DRAIN_SECRET_FILE, ProviderConfig, SERVICE_KEY_FILE, SESSION_KEY_FILE};
use crate::yaml::Position;
use portcullis_auth::Scope;
use portcullis_auth::secret_strength::Strength;
use portcullis_home::atomic_file;
use portcullis_net::acme::{ACCOUNT_FILE, CERTIFICATE_FILE};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// What others than the owner may not do with a file that decides who gets in.
const WRITABLE_BY_OTHERS: u32 = 0o022;
/// What every user of the machine may not do with a file that holds a secret.
const READABLE_BY_ALL: u32 = 0o004;

/// In the home: the key that signs the audit log.
const AUDIT_KEY_FILE: &str = "audit_key";

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

/// Warnings of the configuration and of the files with secrets that others than their owner may
/// read or write.
pub(super) fn exposed_files(
    home: &Path,
    file: Option<&Path>,
    settings: &FileSettings,
) -> Vec<SettingFinding> {
    let own = [
        DRAIN_SECRET_FILE,
        SESSION_KEY_FILE,
        SERVICE_KEY_FILE,
        AUDIT_KEY_FILE,
        ACCOUNT_FILE,
        CERTIFICATE_FILE,
    ];

    let own = own.map(|name| home.join(name));
    let configuration = file.and_then(|file| exposure(file, settings.holds_secrets, true));
    let secrets = exposed_secrets(home, settings.secret_files.iter().chain(&own));
    configuration.into_iter().chain(secrets).collect()
}

/// Warnings of those of the files, which all hold a secret, that others than their owner may read
/// or write.
pub(super) fn exposed_secrets<'a>(
    home: &'a Path,
    files: impl Iterator<Item = &'a PathBuf>,
) -> impl Iterator<Item = SettingFinding> {
    files.filter_map(move |file| exposure(file, true, is_below(home, file)))
}

/// Returns whether the file stands in the home, with links followed.
fn is_below(home: &Path, file: &Path) -> bool {
    let places = fs::canonicalize(home).and_then(|home| Ok((home, fs::canonicalize(file)?)));
    places.is_ok_and(|(home, file)| file.starts_with(home))
}

/// What others may do with the file. `is_own`: the file belongs to this installation, so that its
/// mode may be changed. Others, such as `/etc/passwd`, have readers of their own.
fn exposure(file: &Path, holds_secrets: bool, is_own: bool) -> Option<SettingFinding> {
    let found = fs::metadata(file).ok()?;
    if found.is_dir() {
        return Some(SettingFinding {
            is_mistake: true,
            text: format!(
                "{} is a folder, and a file belongs there: move the folder away",
                file.display()
            ),
            exposed_file: None,
        });
    }

    let mode = found.permissions().mode() & 0o777;
    let what = if mode & WRITABLE_BY_OTHERS != 0 {
        "users other than its owner may change it"
    } else if holds_secrets && mode & READABLE_BY_ALL != 0 {
        "it holds secrets, and every user of this machine may read it"
    } else {
        return None;
    };

    let shown = file.display();
    let text = format!("{shown} has mode {mode:04o}: {what}");
    if !is_own {
        return Some(SettingFinding::warning(format!(
            "{text}: name a file that only the user of the dashboard may read"
        )));
    }

    let text = format!("{text}: chmod 600 {shown}");
    Some(SettingFinding {
        exposed_file: Some(file.to_owned()),
        ..SettingFinding::warning(text)
    })
}

#[cfg(test)]
mod tests {
    use super::super::tests::read;
    use super::*;

    #[test]
    fn only_files_that_are_open_to_others_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        fs::write(&path, "").unwrap();
        for (mode, holds_secrets, expected) in [
            (0o600, true, None),
            (0o640, true, None),
            (0o644, false, None),
            (0o644, true, Some("has mode 0644: it holds secrets")),
            (0o604, true, Some("has mode 0604: it holds secrets")),
            (
                0o620,
                false,
                Some("has mode 0620: users other than its owner"),
            ),
            (
                0o602,
                true,
                Some("has mode 0602: users other than its owner"),
            ),
        ] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            let found = exposure(&path, holds_secrets, true).map(|finding| finding.text);
            assert_eq!(found.is_some(), expected.is_some(), "{mode:o}: {found:?}");
            assert!(
                expected.is_none_or(|text| found.is_some_and(|found| found.contains(text))),
                "{mode:o}"
            );
        }
        assert_eq!(exposure(&folder.path().join("none"), true, true), None);
    }

    #[test]
    fn mode_of_a_file_elsewhere_is_not_to_be_changed() {
        let (home, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let elsewhere = other.path().join("passwd");
        fs::write(&elsewhere, "").unwrap();
        fs::set_permissions(&elsewhere, fs::Permissions::from_mode(0o644)).unwrap();
        let link = home.path().join("link");
        std::os::unix::fs::symlink(&elsewhere, &link).unwrap();

        let found: Vec<_> = exposed_secrets(home.path(), [elsewhere, link].iter()).collect();
        assert_eq!(found.len(), 2);
        for finding in found {
            assert!(!finding.text.contains("chmod"), "{finding:?}");
            assert!(
                finding.text.contains("name a file that only"),
                "{finding:?}"
            );
            assert_eq!(finding.exposed_file, None);
        }
    }

    #[test]
    fn folder_in_the_place_of_a_file_is_a_mistake() {
        let home = tempfile::tempdir().unwrap();
        let key = home.path().join(SERVICE_KEY_FILE);
        fs::create_dir(&key).unwrap();
        let found: Vec<_> = exposed_secrets(home.path(), [key].iter()).collect();
        assert!(
            found.len() == 1
                && found[0].is_mistake
                && found[0].text.contains("is a folder")
                && !found[0].text.contains("chmod"),
            "{found:?}"
        );
    }

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
