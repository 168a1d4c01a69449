//! The keys that seal cookies: the configured ones, else those in a file of the home, where one is made at the first start.
//!
//! **Invariant:** a reload makes no key in place of one that cannot be read, since that would sign everyone out.

use crate::atomic_file::{self, Durability};
use crate::config::{Config, Secret};
use crate::drain::generate_secret;
use std::io;
use std::path::{Path, PathBuf};

/// In the home, for its owner alone: one key per line.
const FILE: &str = "session_key";
/// The present key, and the one before.
const MAX_KEYS: usize = 2;
const MIN_KEY_CHARS: usize = 32;

/// The keys cannot be read or made.
#[derive(Debug, thiserror::Error)]
#[error("cannot keep the session key in {path}: {cause}")]
pub struct SessionKeyError {
    path: PathBuf,
    cause: io::Error,
}

/// The first key seals, all open.
pub(super) struct SessionKeys {
    keys: Vec<Secret>,
    /// The home's file was written just now.
    pub(super) is_new: bool,
}

impl SessionKeys {
    /// The keys at a start. One is made where there is no file, and where the file is empty, as a full disk leaves it.
    pub(super) fn load(config: &Config) -> Result<Self, SessionKeyError> {
        match configured(config) {
            Some(keys) => Ok(keys),
            None => kept(config, make_key),
        }
    }

    /// The keys of `next` while the dashboard runs with those of `running`.
    pub(super) fn reload(running: &Config, next: &Config) -> Result<Self, SessionKeyError> {
        let was_configured = !running.dashboard.session_keys.is_empty();
        match configured(next) {
            Some(keys) => Ok(keys),
            None if was_configured => Self::load(next),
            None => kept(next, |_| Err(io::Error::new(io::ErrorKind::NotFound, "there is no key in it"))),
        }
    }

    /// The keys, as [`CookieSealer`](crate::web::CookieSealer) takes them.
    pub(super) fn secrets(&self) -> impl Iterator<Item = &[u8]> {
        self.keys.iter().map(|key| key.expose().as_bytes())
    }
}

/// The home's file.
pub(super) fn file(config: &Config) -> PathBuf {
    config.home.join(FILE)
}

fn configured(config: &Config) -> Option<SessionKeys> {
    let keys = config.dashboard.session_keys.clone();
    (!keys.is_empty()).then_some(SessionKeys { keys, is_new: false })
}

/// The keys in the home's file; without any, what `make` makes.
fn kept(
    config: &Config,
    make: impl FnOnce(&Path) -> io::Result<Secret>,
) -> Result<SessionKeys, SessionKeyError> {
    let path = file(config);
    let read = match atomic_file::read(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        read => read,
    };
    let keys = match read {
        Ok(text) if text.trim_ascii().is_empty() => {
            make(&path).map(|key| SessionKeys { keys: vec![key], is_new: true })
        }
        Ok(text) => read_keys(&text).map(|keys| SessionKeys { keys, is_new: false }),
        Err(error) => Err(error),
    };
    keys.map_err(|cause| SessionKeyError { path, cause })
}

fn read_keys(text: &[u8]) -> io::Result<Vec<Secret>> {
    let text = String::from_utf8_lossy(text);
    let keys: Vec<_> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let invalid = |mistake: &str| Err(io::Error::new(io::ErrorKind::InvalidData, mistake));
    if keys.iter().any(|key| key.len() < MIN_KEY_CHARS) {
        return invalid("the key is too short: remove the file, and a new one is made");
    }
    if keys.len() > MAX_KEYS {
        return invalid(
            "it has more than two keys: the first line is the present key, the second the one before",
        );
    }
    Ok(keys.into_iter().map(|key| Secret::new(key.to_owned())).collect())
}

fn make_key(path: &Path) -> io::Result<Secret> {
    let key = generate_secret().map_err(io::Error::other)?;
    atomic_file::replace(path, format!("{key}\n").as_bytes(), Durability::Synced)?;
    Ok(Secret::new(key))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_has_the_present_key_and_the_one_before() {
        let [new, old] = ["n".repeat(32), "o".repeat(32)];
        let read = |text: &str| {
            let keys = read_keys(text.as_bytes()).ok()?;
            Some(keys.iter().map(|key| key.expose().to_owned()).collect::<Vec<_>>())
        };
        assert_eq!(read(&new), Some(vec![new.clone()]));
        assert_eq!(read(&format!(" {new}\r\n\n{old}\n")), Some(vec![new.clone(), old.clone()]));
        assert_eq!(read(&format!("{new}\nshort\n")), None);
        assert_eq!(read(&format!("{new}\n{old}\n{old}\n")), None);
    }
}
