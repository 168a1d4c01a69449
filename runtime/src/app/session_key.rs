//! The key that seals cookies: the configured ones, else one of the home's own, made once.

use crate::config::{Config, Secret};
use crate::drain::generate_secret;
use crate::web::CookieSealer;
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// In the home, for its owner alone.
const FILE: &str = "session_key";

pub(super) fn sealer(config: &Config) -> Result<CookieSealer, (PathBuf, io::Error)> {
    let configured = &config.dashboard.session_keys;
    if !configured.is_empty() {
        return Ok(CookieSealer::new(configured.iter().map(|key| key.expose().as_bytes())));
    }
    let path = config.home.join(FILE);
    let key = kept_key(&path).map_err(|error| (path, error))?;
    Ok(CookieSealer::new([key.expose().as_bytes()]))
}

fn kept_key(path: &Path) -> io::Result<Secret> {
    match crate::atomic_file::read(path) {
        Ok(text) if text.trim_ascii().len() < 32 => Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "it is too short: remove it, and a new one is made",
        )),
        Ok(text) => Ok(Secret::new(String::from_utf8_lossy(text.trim_ascii()).into_owned())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let key = generate_secret().map_err(io::Error::other)?;
            let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
            file.write_all(format!("{key}\n").as_bytes())?;
            file.sync_all()?;
            Ok(Secret::new(key))
        }
        Err(error) => Err(error),
    }
}
