//! The keys that seal cookies: the configured ones, else those in a file of the home, where one is
//! made at the first start.
//!
//! **Invariant:** a reload makes no key in place of one that cannot be read, since that would sign
//! everyone out.

use crate::config::{Config, SESSION_KEY_FILE, Secret};
use portcullis_auth::secret_strength::{Strength, generate_secret};
use portcullis_home::atomic_file::{self, Durability};
use std::io;
use std::path::{Path, PathBuf};

/// The present key, and the one before.
const MAX_KEYS: usize = 2;

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
    /// The keys at a start. One is made where there is no file, and where the file is empty, as a
    /// full disk leaves it.
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
            None => kept(next, |_| {
                Err(io::Error::new(
                    io::ErrorKind::NotFound,
                    "there is no key in it",
                ))
            }),
        }
    }

    /// The keys, as [`CookieSealer`](crate::web::CookieSealer) takes them.
    pub(super) fn secrets(&self) -> impl Iterator<Item = &[u8]> {
        self.keys.iter().map(|key| key.expose().as_bytes())
    }
}

/// The file in the home, for its owner alone: one key per line.
pub(super) fn file(config: &Config) -> PathBuf {
    config.home.join(SESSION_KEY_FILE)
}

fn configured(config: &Config) -> Option<SessionKeys> {
    let keys = config.dashboard.session_keys.clone();
    (!keys.is_empty()).then_some(SessionKeys {
        keys,
        is_new: false,
    })
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
        Ok(text) if text.trim_ascii().is_empty() => make(&path).map(|key| SessionKeys {
            keys: vec![key],
            is_new: true,
        }),
        Ok(text) => read_keys(&text).map(|keys| SessionKeys {
            keys,
            is_new: false,
        }),
        Err(error) => Err(error),
    };

    keys.map_err(|cause| SessionKeyError { path, cause })
}

fn read_keys(text: &[u8]) -> io::Result<Vec<Secret>> {
    let invalid = |what: String| io::Error::new(io::ErrorKind::InvalidData, what);
    let text = String::from_utf8_lossy(text);
    let lines: Vec<_> = text
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .collect();
    if lines.len() > MAX_KEYS {
        let what = "it has more than two keys: the first line is the present key, the second the one before";
        return Err(invalid(what.to_owned()));
    }

    for line in &lines {
        Strength::KEY.judge(line).map_err(|weak| {
            invalid(format!(
                "the key is refused: {weak}: remove the file, and a new one is made"
            ))
        })?;
    }

    Ok(lines
        .into_iter()
        .map(|line| Secret::new(line.to_owned()))
        .collect())
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
        let [new, old] = [
            "9f3c1b7e2d8a4650c1e7b93f60d2a548",
            "tQ7mX2vK9sB4wE8rY1uI6oA3dF5gH0jL",
        ]
        .map(str::to_owned);
        let read = |text: &str| {
            let keys = read_keys(text.as_bytes()).ok()?;
            Some(
                keys.iter()
                    .map(|key| key.expose().to_owned())
                    .collect::<Vec<_>>(),
            )
        };
        assert_eq!(read(&new), Some(vec![new.clone()]));
        assert_eq!(
            read(&format!(" {new}\r\n\n{old}\n")),
            Some(vec![new.clone(), old.clone()])
        );
        assert_eq!(read(&format!("{new}\nshort\n")), None);
        assert_eq!(read(&format!("{new}\n{old}\n{old}\n")), None);
    }
}
