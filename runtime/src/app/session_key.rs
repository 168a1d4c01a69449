//! The key that seals cookies: the configured ones, else one of the home's own, made once.

use crate::atomic_file::{self, Durability};
use crate::config::{Config, SESSION_KEY_FILE, Secret};
use crate::secret_strength::{Strength, generate_secret};
use crate::web::{CookieNames, CookieSealer};
use std::io;
use std::path::{Path, PathBuf};

/// The sealer of a dashboard that is bound to this port.
pub(super) fn sealer(config: &Config, port: Option<u16>) -> Result<CookieSealer, (PathBuf, io::Error)> {
    let names = CookieNames::new(config.dashboard.cookie_name.as_str(), port);
    let configured = &config.dashboard.session_keys;
    if !configured.is_empty() {
        let keys = configured.iter().map(|key| key.expose().as_bytes());
        return Ok(CookieSealer::new(keys).with_names(names));
    }
    let path = config.home.join(SESSION_KEY_FILE);
    let key = kept_key(&path).map_err(|error| (path, error))?;
    Ok(CookieSealer::new([key.expose().as_bytes()]).with_names(names))
}

/// The key in the file. One is made where there is no file, and where the file is empty, as a full disk leaves it.
fn kept_key(path: &Path) -> io::Result<Secret> {
    match atomic_file::read(path) {
        Ok(text) if !text.trim_ascii().is_empty() => read_key(&text),
        Ok(_) => make_key(path),
        Err(error) if error.kind() == io::ErrorKind::NotFound => make_key(path),
        Err(error) => Err(error),
    }
}

fn read_key(text: &[u8]) -> io::Result<Secret> {
    let key = Secret::new(String::from_utf8_lossy(text.trim_ascii()).into_owned());
    Strength::KEY.judge(key.expose()).map_err(|weak| {
        let what = format!("the key is refused: {weak}: remove the file, and a new one is made");
        io::Error::new(io::ErrorKind::InvalidData, what)
    })?;
    Ok(key)
}

fn make_key(path: &Path) -> io::Result<Secret> {
    let key = generate_secret().map_err(io::Error::other)?;
    atomic_file::replace(path, format!("{key}\n").as_bytes(), Durability::Synced)?;
    Ok(Secret::new(key))
}
