//! Files that others than their owner may read or write: those that the configuration names, and
//! those that the processes keep in the home.
//!
//! **Invariant:** the files of the home whose modes are judged are listed here alone. Nothing is
//! changed here.

use super::finding::SettingFinding;
use super::load::FileSettings;
use super::{DRAIN_SECRET_FILE, SERVICE_KEY_FILE, SESSION_KEY_FILE};
use portcullis_home::home_lock::{DASHBOARD_LOCK, GATEWAY_LOCK, UP_LOCK};
use portcullis_home::{MARKER_FILE, RESTART_FILE, RUN_LOCKS, STATUS_FILE};
use portcullis_net::acme::{ACCOUNT_FILE, CERTIFICATE_FILE};
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// What others than the owner may not do with a file that decides who gets in.
const WRITABLE_BY_OTHERS: u32 = 0o022;
/// What every user of the machine may not do with a file that holds a secret.
const READABLE_BY_ALL: u32 = 0o004;

/// What stands in a file, which decides what others may do with it. No other than the owner may
/// write any of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Content {
    /// Secrets, or what is as good as one. No other may read it.
    Secrets,
    /// Names and addresses of people. No other may read it.
    People,
    /// What the processes act on. Everyone may read it.
    State,
}

use Content::{People, Secrets, State};

/// Files that the processes keep in the home.
const KEPT_FILES: &[(&str, Content)] = &[
    (DRAIN_SECRET_FILE, Secrets),
    (SESSION_KEY_FILE, Secrets),
    (SERVICE_KEY_FILE, Secrets),
    ("audit_key", Secrets),
    (ACCOUNT_FILE, Secrets),
    (CERTIFICATE_FILE, Secrets),
    ("session_list", People),
    ("ended_people", People),
    ("ended_sessions", State),
    ("audit_head", State),
    (MARKER_FILE, State),
    (RESTART_FILE, State),
    (STATUS_FILE, State),
    (GATEWAY_LOCK, State),
    (DASHBOARD_LOCK, State),
    (UP_LOCK, State),
    ("ended_people.lock", State),
    ("audit.lock", State),
];

/// Folders of the home whose files are all of one kind. Buckets hold keys and tokens of providers,
/// and the audit logs name people.
const KEPT_FOLDERS: &[(&str, Content)] =
    &[("keyvalue", Secrets), ("logs", People), (RUN_LOCKS, State)];

/// Most files of one folder that are looked at.
const MAX_FOLDER_FILES: usize = 1_000;

/// Warnings of the configuration, of the files that it names, and of those in the home, that others
/// than their owner may read or write.
pub(super) fn exposed_files(
    home: &Path,
    file: Option<&Path>,
    settings: &FileSettings,
) -> Vec<SettingFinding> {
    let content = match settings.holds_secrets {
        true => Secrets,
        false => State,
    };
    let configuration = file.and_then(|file| exposure(file, content, true));
    let named = &settings.secret_files;

    let mut findings: Vec<_> = configuration.into_iter().collect();
    findings.extend(exposed_secrets(home, named.iter()));
    findings.extend(exposed_beside(home, named));
    findings
}

/// Warnings of the files that the processes keep in the home, and that others than their owner may
/// read or write.
pub fn exposed_in_home(home: &Path) -> Vec<SettingFinding> {
    exposed_beside(home, &BTreeSet::new())
}

/// The same without the files that were judged already.
fn exposed_beside(home: &Path, judged: &BTreeSet<PathBuf>) -> Vec<SettingFinding> {
    let files = KEPT_FILES
        .iter()
        .map(|(name, content)| (home.join(name), *content));
    let in_folders = KEPT_FOLDERS.iter().flat_map(|(folder, content)| {
        let files = files_of(&home.join(folder)).into_iter();
        files.map(move |file| (file, *content))
    });

    files
        .chain(in_folders)
        .filter(|(file, _)| !judged.contains(file))
        // What is no file in such a place is the business of the process that keeps the file there.
        // No key can be a folder.
        .filter(|(file, content)| *content == Secrets || file.is_file())
        .filter_map(|(file, content)| exposure(&file, content, is_below(home, &file)))
        .collect()
}

/// The files of a folder, sorted; none where there is no folder.
fn files_of(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let files = entries.take(MAX_FOLDER_FILES).map(|entry| entry.path());
    let mut files: Vec<_> = files.filter(|path| path.is_file()).collect();
    files.sort();
    files
}

/// Warnings of those of the files, which all hold a secret, that others than their owner may read
/// or write.
pub(super) fn exposed_secrets<'a>(
    home: &'a Path,
    files: impl Iterator<Item = &'a PathBuf>,
) -> impl Iterator<Item = SettingFinding> {
    files.filter_map(move |file| exposure(file, Secrets, is_below(home, file)))
}

/// Returns whether the file stands in the home, with links followed.
fn is_below(home: &Path, file: &Path) -> bool {
    let places = fs::canonicalize(home).and_then(|home| Ok((home, fs::canonicalize(file)?)));
    places.is_ok_and(|(home, file)| file.starts_with(home))
}

/// What others may do with the file. `is_own`: the file belongs to this installation, so that its
/// mode may be changed. Others, such as `/etc/passwd`, have readers of their own.
fn exposure(file: &Path, content: Content, is_own: bool) -> Option<SettingFinding> {
    let found = fs::metadata(file).ok()?;
    if found.is_dir() {
        return Some(SettingFinding {
            is_mistake: true,
            ..SettingFinding::warning(format!(
                "{} is a folder, and a file belongs there: move the folder away",
                file.display()
            ))
        });
    }

    let mode = found.permissions().mode() & 0o777;
    let is_readable = mode & READABLE_BY_ALL != 0;
    let what = match content {
        _ if mode & WRITABLE_BY_OTHERS != 0 => "users other than its owner may change it",
        Secrets if is_readable => "it holds secrets, and every user of this machine may read it",
        People if is_readable => "it names people, and every user of this machine may read it",
        _ => return None,
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
    use super::*;

    fn write(path: &Path, mode: u32) {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "").unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn only_files_that_are_open_to_others_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        fs::write(&path, "").unwrap();
        for (mode, content, expected) in [
            (0o600, Secrets, None),
            (0o640, Secrets, None),
            (0o644, State, None),
            (0o644, Secrets, Some("has mode 0644: it holds secrets")),
            (0o604, Secrets, Some("has mode 0604: it holds secrets")),
            (0o644, People, Some("has mode 0644: it names people")),
            (
                0o620,
                State,
                Some("has mode 0620: users other than its owner"),
            ),
            (
                0o602,
                Secrets,
                Some("has mode 0602: users other than its owner"),
            ),
        ] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            let found = exposure(&path, content, true).map(|finding| finding.text);
            assert_eq!(found.is_some(), expected.is_some(), "{mode:o}: {found:?}");
            assert!(
                expected.is_none_or(|text| found.is_some_and(|found| found.contains(text))),
                "{mode:o}"
            );
        }
        assert_eq!(exposure(&folder.path().join("none"), Secrets, true), None);
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
    fn every_file_that_the_processes_keep_is_judged() {
        let home = tempfile::tempdir().unwrap();
        let in_folders = [
            "keyvalue/corp.redb",
            "logs/dashboard-auth.log.1",
            "turns/7-1.lock",
        ];
        let names = KEPT_FILES.iter().map(|(name, _)| *name).chain(in_folders);
        let paths: Vec<_> = names.map(|name| home.path().join(name)).collect();

        for (mode, count) in [
            (0o600, 0),
            // Locks, the marker and other state may be read.
            (0o644, paths.len() - 11),
            (0o666, paths.len()),
        ] {
            for path in &paths {
                write(path, mode);
            }
            let found = exposed_in_home(home.path());
            assert_eq!(found.len(), count, "{mode:o}: {found:?}");
            assert!(found.iter().all(|finding| finding.exposed_file.is_some()));
        }
    }

    #[test]
    fn file_that_is_named_and_kept_is_one_finding() {
        let home = tempfile::tempdir().unwrap();
        let secret = home.path().join(DRAIN_SECRET_FILE);
        write(&secret, 0o644);
        assert_eq!(exposed_in_home(home.path()).len(), 1);
        assert!(exposed_beside(home.path(), &BTreeSet::from([secret])).is_empty());
    }

    #[test]
    fn folder_in_the_place_of_the_marker_is_no_mistake() {
        let home = tempfile::tempdir().unwrap();
        fs::create_dir(home.path().join(MARKER_FILE)).unwrap();
        assert!(exposed_in_home(home.path()).is_empty());
    }
}
