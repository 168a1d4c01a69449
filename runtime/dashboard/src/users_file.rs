//! The users of `builtin:basic` in a file of their own: a list of entries like those of the setting
//! `users`, as YAML or JSON. The dashboard reads it, and `portcullis user` changes it.
//!
//! **Invariant:** a change reads and replaces the whole file under a lock, so that no change of
//! another command is lost.

use crate::yaml::{Node, Position, Yaml};
use person_text::normalised;
use portcullis_home::atomic_file::{self, Durability, folder_of};
use serde_json::{Map, Value};
use std::borrow::Cow;
use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

/// Longest file, in bytes: some four thousand users.
const MAX_BYTES: u64 = 1024 * 1024;
/// How long a change waits for the changes of other commands.
const PATIENCE: Duration = Duration::from_secs(10);
const RETRY_INTERVAL: Duration = Duration::from_millis(10);

/// One user: `username`, `password_hash`, and perhaps `user_id`, `email` and `display_name`. Other
/// keys are kept.
pub type UserEntry = Map<String, Value>;

/// Why a file was not read or not changed.
#[derive(Debug, thiserror::Error)]
pub enum UsersFileError {
    /// The file cannot be read.
    #[error("cannot read {path}: {cause}")]
    Unreadable {
        /// The path of the users file.
        path: PathBuf,
        /// What the system says.
        cause: io::Error,
    },
    /// The file cannot be replaced, or its folder cannot be locked.
    #[error("cannot write {path}: {cause}")]
    Unwritable {
        /// The path of the users file.
        path: PathBuf,
        /// What the system says.
        cause: io::Error,
    },
    /// It is no YAML, or no list of maps.
    #[error("{place}: {why}")]
    Malformed {
        /// The file, and the line and column where they are known.
        place: String,
        /// What is wrong with it, as a clause.
        why: String,
    },
    /// A user to be added is in the file.
    #[error("{path} already has a user {name:?}; `portcullis user passwd` changes the password")]
    Known {
        /// The path of the users file.
        path: PathBuf,
        /// The name of the user.
        name: String,
    },
    /// Another user has the identifier of a user to be added.
    #[error("{path} already has a user with the identifier {user_id:?}")]
    KnownId {
        /// The path of the users file.
        path: PathBuf,
        /// The identifier that is taken.
        user_id: String,
    },
    /// A user to be changed or removed is not in the file.
    #[error("{path} has no user {name:?}")]
    Unknown {
        /// The path of the users file.
        path: PathBuf,
        /// The name of the user.
        name: String,
    },
    /// Another command holds the lock.
    #[error("another command has been changing {0} for {seconds} seconds", seconds = PATIENCE.as_secs())]
    Busy(PathBuf),
    /// The file would be longer than the dashboard reads.
    #[error("{0} would have more than {limit} bytes", limit = MAX_BYTES)]
    TooLong(PathBuf),
}

impl UsersFileError {
    /// Returns whether the caller or the file's content is at fault, and not the system.
    pub fn is_usage(&self) -> bool {
        !matches!(
            self,
            Self::Unreadable { .. } | Self::Unwritable { .. } | Self::Busy(_)
        )
    }
}

/// Reads the entries of a file.
///
/// # Errors
/// The file cannot be read, or is no list of maps.
pub fn read(path: &Path) -> Result<Vec<UserEntry>, UsersFileError> {
    parse(path, &read_text(path)?)
}

/// Reads the entries of a file. `None`: no list stands in it, as in a file that was emptied or cut
/// off. `[]` was written on purpose and means that there are no users.
///
/// # Errors
/// Those of [`read`].
pub fn read_listed(path: &Path) -> Result<Option<Vec<UserEntry>>, UsersFileError> {
    parse_listed(path, &read_text(path)?)
}

/// The entry of a user, by the name in Normalization Form C.
///
/// # Errors
/// There is none, or the file cannot be read.
pub fn find(path: &Path, name: &str) -> Result<UserEntry, UsersFileError> {
    let mut entries = read(path)?;
    let index = position(path, &entries, name)?;
    Ok(entries.swap_remove(index))
}

/// Adds an entry behind the others. A file that does not exist is made.
///
/// # Errors
/// The file has a user of that name or identifier, or cannot be read or replaced.
pub fn add(path: &Path, entry: UserEntry) -> Result<(), UsersFileError> {
    change(path, |entries| {
        refuse_known(path, entries, &entry)?;
        entries.push(entry);
        Ok(())
    })
}

/// Checks that an entry can be added. A file that does not exist has no users.
///
/// # Errors
/// Those of [`add`], except that nothing is written.
pub fn check_unknown(path: &Path, entry: &UserEntry) -> Result<(), UsersFileError> {
    refuse_known(path, &read_or_begin(path)?.1, entry)
}

/// Sets the password hash of a user.
///
/// # Errors
/// There is no user of that name, or the file cannot be read or replaced.
pub fn set_password_hash(path: &Path, name: &str, hash: String) -> Result<(), UsersFileError> {
    change(path, |entries| {
        let index = position(path, entries, name)?;
        if let Some(entry) = entries.get_mut(index) {
            entry.insert("password_hash".to_owned(), hash.into());
        }
        Ok(())
    })
}

/// Removes a user.
///
/// # Errors
/// There is no user of that name, or the file cannot be read or replaced.
pub fn remove(path: &Path, name: &str) -> Result<(), UsersFileError> {
    change(path, |entries| {
        let index = position(path, entries, name)?;
        entries.remove(index);
        Ok(())
    })
}

/// Returns the text of a key of an entry; empty when it is missing or no text.
pub fn text_of<'a>(entry: &'a UserEntry, key: &str) -> &'a str {
    entry.get(key).and_then(Value::as_str).unwrap_or_default()
}

fn is_of(entry: &UserEntry, name: &str) -> bool {
    normalised(text_of(entry, "username")) == name
}

/// What `builtin:basic` knows a user by.
fn id_of(entry: &UserEntry) -> Cow<'_, str> {
    match text_of(entry, "user_id") {
        "" => normalised(text_of(entry, "username")),
        user_id => user_id.into(),
    }
}

fn position(path: &Path, entries: &[UserEntry], name: &str) -> Result<usize, UsersFileError> {
    let unknown = || UsersFileError::Unknown {
        path: path.to_owned(),
        name: name.to_owned(),
    };
    entries
        .iter()
        .position(|entry| is_of(entry, name))
        .ok_or_else(unknown)
}

fn refuse_known(path: &Path, entries: &[UserEntry], new: &UserEntry) -> Result<(), UsersFileError> {
    let name = normalised(text_of(new, "username"));
    if entries.iter().any(|entry| is_of(entry, &name)) {
        return Err(UsersFileError::Known {
            path: path.to_owned(),
            name: name.into_owned(),
        });
    }

    let user_id = id_of(new);
    if entries.iter().any(|entry| id_of(entry) == user_id) {
        return Err(UsersFileError::KnownId {
            path: path.to_owned(),
            user_id: user_id.into_owned(),
        });
    }

    Ok(())
}

fn change(
    path: &Path,
    edit: impl FnOnce(&mut Vec<UserEntry>) -> Result<(), UsersFileError>,
) -> Result<(), UsersFileError> {
    // What a link at the name points to is changed, and the link stays.
    let target = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let _lock = lock_folder_of(&target)?;
    atomic_file::sweep(&target);

    let (text, mut entries) = read_or_begin(&target)?;
    edit(&mut entries)?;
    let changed = render(&target, &text, &entries);
    if changed.len() as u64 > MAX_BYTES {
        return Err(UsersFileError::TooLong(target));
    }
    atomic_file::replace(&target, changed.as_bytes(), Durability::Synced).map_err(|cause| {
        UsersFileError::Unwritable {
            path: target,
            cause,
        }
    })
}

/// Locks the folder: the file itself is another one after each change, and a lock file of its own
/// would stay behind.
fn lock_folder_of(path: &Path) -> Result<File, UsersFileError> {
    let unwritable = |cause| UsersFileError::Unwritable {
        path: path.to_owned(),
        cause,
    };
    let folder = File::open(folder_of(path)).map_err(unwritable)?;
    for _ in 0..PATIENCE.as_millis() / RETRY_INTERVAL.as_millis() {
        match folder.try_lock() {
            Ok(()) => return Ok(folder),
            Err(TryLockError::WouldBlock) => thread::park_timeout(RETRY_INTERVAL),
            Err(TryLockError::Error(cause)) => return Err(unwritable(cause)),
        }
    }

    Err(UsersFileError::Busy(path.to_owned()))
}

fn read_text(path: &Path) -> Result<String, UsersFileError> {
    let text = atomic_file::read_at_most(path, MAX_BYTES).and_then(|bytes| {
        let not_text = |_| io::Error::new(io::ErrorKind::InvalidData, "it is not UTF-8 text");
        String::from_utf8(bytes).map_err(not_text)
    });
    text.map_err(|cause| UsersFileError::Unreadable {
        path: path.to_owned(),
        cause,
    })
}

/// The text and the entries; none where there is no file.
fn read_or_begin(path: &Path) -> Result<(String, Vec<UserEntry>), UsersFileError> {
    let text = match read_text(path) {
        Ok(text) => text,
        Err(UsersFileError::Unreadable { cause, .. })
            if cause.kind() == io::ErrorKind::NotFound =>
        {
            String::new()
        }
        Err(error) => return Err(error),
    };
    let entries = parse(path, &text)?;
    Ok((text, entries))
}

/// JSON is YAML. An empty document is an empty list. No message repeats a value, which may be a
/// hash.
fn parse(path: &Path, text: &str) -> Result<Vec<UserEntry>, UsersFileError> {
    Ok(parse_listed(path, text)?.unwrap_or_default())
}

/// `None`: no list stands in the document.
fn parse_listed(path: &Path, text: &str) -> Result<Option<Vec<UserEntry>>, UsersFileError> {
    let malformed = |place: Position, why: String| UsersFileError::Malformed {
        place: place.in_file(path),
        why,
    };
    let root = Node::parse(text).map_err(|(place, why)| malformed(place, why))?;
    let (place, kind) = (root.place, root.kind());
    let items = match root.value {
        Yaml::Null => return Ok(None),
        Yaml::List(items) => items,
        _ => {
            let why = format!(
                "must be a list of users, each with `username` and `password_hash`, not {kind}"
            );
            return Err(malformed(place, why));
        }
    };

    let entry = |(index, item): (usize, Node)| match item.to_json() {
        Value::Object(entry) => Ok(entry),
        _ => {
            let (number, kind) = (index + 1, item.kind());
            let why = format!(
                "entry {number} must be a map with `username` and `password_hash`, not {kind}"
            );
            Err(malformed(item.place, why))
        }
    };

    let entries: Result<_, _> = items.into_iter().enumerate().map(entry).collect();
    entries.map(Some)
}

/// A list in the form that the file had: JSON, or YAML with one entry per line. The comment at the
/// head of a file stays.
fn render(path: &Path, before: &str, entries: &[UserEntry]) -> String {
    let is_head = |line: &&str| line.starts_with('#') || line.trim().is_empty();
    let mut text: String = before.split_inclusive('\n').take_while(is_head).collect();
    let body = before.get(text.len()..).unwrap_or_default().trim();
    let is_list_of_json = body.starts_with('[') && body != "[]";
    let is_json = is_list_of_json || path.extension().is_some_and(|ending| ending == "json");
    if !text.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }

    let lines = entries.iter().map(line_of);
    if entries.is_empty() {
        text.push_str("[]\n");
    } else if is_json {
        let lines: Vec<String> = lines.map(|line| format!("  {line}")).collect();
        text = format!("{text}[\n{}\n]\n", lines.join(",\n"));
    } else {
        text.extend(lines.map(|line| format!("- {line}\n")));
    }

    text
}

/// An entry as JSON in one line, with the spaces that a person would write.
fn line_of(entry: &UserEntry) -> String {
    let pair = |(key, value): (&String, &Value)| format!("{}: {value}", Value::from(key.as_str()));
    let pairs: Vec<String> = entry.iter().map(pair).collect();
    format!("{{{}}}", pairs.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use std::os::unix::fs::PermissionsExt;

    fn entry(name: &str) -> UserEntry {
        let Value::Object(entry) = json!({"username": name, "password_hash": "$argon2id$x"}) else {
            unreachable!("a map")
        };
        entry
    }

    fn names(path: &Path) -> Vec<String> {
        read(path)
            .unwrap()
            .iter()
            .map(|entry| text_of(entry, "username").to_owned())
            .collect()
    }

    #[test]
    fn users_are_added_changed_and_removed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("users.yaml");
        assert!(matches!(
            read(&path),
            Err(UsersFileError::Unreadable { .. })
        ));
        check_unknown(&path, &entry("ada")).unwrap();
        add(&path, entry("ada")).unwrap();
        add(&path, entry("bob")).unwrap();
        assert!(matches!(
            check_unknown(&path, &entry("ada")),
            Err(UsersFileError::Known { .. })
        ));
        assert!(matches!(
            add(&path, entry("ada")),
            Err(UsersFileError::Known { .. })
        ));
        set_password_hash(&path, "ada", "$argon2id$y".to_owned()).unwrap();
        assert_eq!(
            text_of(&find(&path, "ada").unwrap(), "password_hash"),
            "$argon2id$y"
        );
        assert_eq!(names(&path), ["ada", "bob"]);
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );
        for name in ["ada", "bob"] {
            remove(&path, name).unwrap();
            assert!(matches!(
                remove(&path, name),
                Err(UsersFileError::Unknown { .. })
            ));
        }
        assert_eq!(names(&path), [""; 0]);
        assert_eq!(
            fs::read_dir(folder.path()).unwrap().count(),
            1,
            "nothing is left beside the file"
        );
    }

    #[test]
    fn other_entries_and_their_keys_stay_in_both_forms() {
        let folder = tempfile::tempdir().unwrap();
        for (name, text, start) in [
            (
                "a.yaml",
                "# Ours.\n- username: ada\n  team: [a, b]\n- {username: no}\n",
                "# Ours.\n- {",
            ),
            (
                "b.json",
                r#"[{"username": "ada", "team": ["a", "b"]}, {"username": "no"}]"#,
                "[\n  {",
            ),
            (
                "c.yaml",
                r#"[{"username": "ada", "team": ["a", "b"]}, {"username": "no"}]"#,
                "[\n  {",
            ),
        ] {
            let path = folder.path().join(name);
            fs::write(&path, text).unwrap();
            add(&path, entry("bob")).unwrap();
            assert!(
                fs::read_to_string(&path).unwrap().starts_with(start),
                "{name}"
            );
            assert_eq!(names(&path), ["ada", "no", "bob"], "{name}");
            assert_eq!(
                find(&path, "ada").unwrap().get("team"),
                Some(&json!(["a", "b"])),
                "{name}"
            );
        }
    }

    #[test]
    fn names_are_compared_in_their_normalised_form() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("users.yaml");
        add(&path, entry("Zoe\u{308}")).unwrap();
        assert!(find(&path, "Zo\u{eb}").is_ok());
        assert!(matches!(
            check_unknown(&path, &entry("Zo\u{eb}")),
            Err(UsersFileError::Known { .. })
        ));
    }

    #[test]
    fn identifier_belongs_to_one_user() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("users.yaml");
        add(&path, entry("ada")).unwrap();
        let mut other = entry("bob");
        other.insert("user_id".to_owned(), "ada".into());
        assert!(matches!(
            add(&path, other),
            Err(UsersFileError::KnownId { .. })
        ));
        assert_eq!(names(&path), ["ada"]);
    }

    #[test]
    fn changes_at_the_same_time_lose_no_entry() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("users.yaml");
        let expected: Vec<String> = (10..30).map(|number| format!("user-{number}")).collect();
        thread::scope(|scope| {
            for name in &expected {
                scope.spawn(|| add(&path, entry(name)).unwrap());
            }
        });
        let mut found = names(&path);
        found.sort();
        assert_eq!(found, expected);
    }

    #[test]
    fn what_is_no_list_is_named_with_its_place_and_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("users.yaml");
        for (text, line, complaint) in [
            (
                "users: []\n",
                1,
                "must be a list of users, each with `username` and `password_hash`, not a map",
            ),
            (
                "- username: bob\n- ada\n",
                2,
                "entry 2 must be a map with `username` and `password_hash`, not a string",
            ),
            (
                "- username: ada\n  username: bob\n",
                2,
                "`username` is there twice (lines 1 and 2)",
            ),
            ("- username: a: b\n", 1, "a second `: ` stands in this line"),
            ("- {username: [ada\n", 1, "is not closed"),
        ] {
            fs::write(&path, text).unwrap();
            let error = add(&path, entry("bob")).unwrap_err();
            let place = format!("users.yaml:{line}:");
            let said = error.to_string();
            assert!(error.is_usage(), "{said}");
            assert!(said.contains(&place) && said.contains(complaint), "{said}");
            assert_eq!(fs::read_to_string(&path).unwrap(), text);
        }
    }

    #[test]
    fn file_without_a_list_is_told_from_an_empty_list() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("users.yaml");
        for (text, is_listed) in [
            ("", false),
            ("# Our users.\n", false),
            ("---\n", false),
            ("~\n", false),
            ("[]\n", true),
            ("# None yet.\n[]\n", true),
        ] {
            fs::write(&path, text).unwrap();
            assert_eq!(read_listed(&path).unwrap().is_some(), is_listed, "{text:?}");
            assert_eq!(names(&path), [""; 0], "{text:?}");
        }
    }

    #[test]
    fn link_stays_and_its_target_is_changed() {
        let folder = tempfile::tempdir().unwrap();
        let (target, link) = (
            folder.path().join("real.yaml"),
            folder.path().join("users.yaml"),
        );
        fs::write(&target, "[]\n").unwrap();
        std::os::unix::fs::symlink(&target, &link).unwrap();
        add(&link, entry("ada")).unwrap();
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(names(&target), ["ada"]);
    }
}
