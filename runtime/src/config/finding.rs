//! What does not keep the dashboard from starting, and what its operator has to know.

use super::load::Settings;
use super::yaml::Place;
use super::{DRAIN_SECRET_FILE, ProviderConfig, SERVICE_KEY_FILE, SESSION_KEY_FILE};
use crate::atomic_file;
use crate::auth::Scope;
use crate::secret_strength::Strength;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// What others than the owner may not do with a file that decides who gets in.
const WRITABLE_BY_OTHERS: u32 = 0o022;
/// What every user of the machine may not do with a file that holds a secret.
const READABLE_BY_ALL: u32 = 0o004;

/// Something in the settings that the operator has to know, in one sentence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Whether `config check` fails for it. Such a setting never works.
    pub is_mistake: bool,
    /// Where it is, what is wrong, and what would be right.
    pub text: String,
    /// The file whose mode lets others in; `chmod 600` is what would be right. `None`: it is about something else.
    pub exposed_file: Option<PathBuf>,
}

impl Finding {
    pub(super) fn warning(text: String) -> Self {
        Self { is_mistake: false, text, exposed_file: None }
    }
}

/// Findings in the configuration itself.
pub(super) fn of_file(file: &Path, findings: &[(Place, String)]) -> impl Iterator<Item = Finding> {
    let of = |(place, text): &(Place, String)| format!("{}:{place}: {text}", file.display());
    findings.iter().map(move |finding| Finding { is_mistake: true, text: of(finding), exposed_file: None })
}

/// Routes that need a scope which no caller can have.
pub(super) fn unmet_routes(
    routes: &[(Place, String, Scope)],
    providers: &[ProviderConfig],
    drain_scope: &Scope,
) -> Vec<(Place, String)> {
    let is_unmet = |scope: &Scope| {
        scope != drain_scope && !providers.iter().any(|provider| provider.grants.scopes.contains(scope))
    };
    let complaint = |(place, path, scope): &(Place, String, Scope)| {
        let text = format!(
            "no provider may hand out `{scope}`, which {path} needs, so {path} refuses every token: add \
             `{scope}` to `grants.scopes` of a provider"
        );
        (*place, text)
    };
    routes.iter().filter(|(_, _, scope)| is_unmet(scope)).map(complaint).collect()
}

/// Complains about the session keys that the home keeps, if one is weak: the dashboard does not start with it. An empty
/// file is no complaint, since a new key is made then.
pub(super) fn weak_home_key(home: &Path) -> Option<Finding> {
    let path = home.join(SESSION_KEY_FILE);
    let key = Zeroizing::new(atomic_file::read(&path).ok()?);
    let mut keys = std::str::from_utf8(&key).ok()?.lines().map(str::trim).filter(|key| !key.is_empty());
    let weak = keys.find_map(|key| Strength::KEY.judge(key).err())?;
    let text =
        format!("{}: the key is refused: {weak}: remove the file, and a new one is made", path.display());
    Some(Finding { is_mistake: true, text, exposed_file: None })
}

/// Warnings of the configuration and of the files with secrets that others than their owner may read or write.
pub(super) fn exposed_files(home: &Path, file: Option<&Path>, settings: &Settings) -> Vec<Finding> {
    let own = [DRAIN_SECRET_FILE, SESSION_KEY_FILE, SERVICE_KEY_FILE].map(|name| home.join(name));
    let configuration = file.and_then(|file| exposure(file, settings.holds_secrets));
    let secrets = exposed_secrets(settings.secret_files.iter().chain(&own));
    configuration.into_iter().chain(secrets).collect()
}

/// Warnings of those of the files, which all hold a secret, that others than their owner may read or write.
pub(super) fn exposed_secrets<'a>(files: impl Iterator<Item = &'a PathBuf>) -> impl Iterator<Item = Finding> {
    files.filter_map(|file| exposure(file, true))
}

fn exposure(file: &Path, holds_secrets: bool) -> Option<Finding> {
    let mode = fs::metadata(file).ok()?.permissions().mode() & 0o777;
    let what = if mode & WRITABLE_BY_OTHERS != 0 {
        "users other than its owner may change it"
    } else if holds_secrets && mode & READABLE_BY_ALL != 0 {
        "it holds secrets, and every user of this machine may read it"
    } else {
        return None;
    };
    let shown = file.display();
    let text = format!("{shown} has mode {mode:04o}: {what}: chmod 600 {shown}");
    Some(Finding { exposed_file: Some(file.to_owned()), ..Finding::warning(text) })
}

#[cfg(test)]
mod tests {
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
            (0o620, false, Some("has mode 0620: users other than its owner")),
            (0o602, true, Some("has mode 0602: users other than its owner")),
        ] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            let found = exposure(&path, holds_secrets).map(|finding| finding.text);
            assert_eq!(found.is_some(), expected.is_some(), "{mode:o}: {found:?}");
            assert!(expected.is_none_or(|text| found.is_some_and(|found| found.contains(text))), "{mode:o}");
        }
        assert_eq!(exposure(&folder.path().join("none"), true), None);
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
}
