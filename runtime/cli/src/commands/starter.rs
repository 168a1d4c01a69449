//! The starter home that `up` makes where there is none.

use anyhow::{Context, Result};
use portcullis_auth::secret_strength::generate_secret_of;
use portcullis_dashboard::config::{Config, DRAIN_SECRET_FILE, SERVICE_KEY_FILE, Secret};
use portcullis_home::atomic_file::{self, Durability};
use sha2::{Digest, Sha256};
use std::fs::{DirBuilder, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Makes what is missing and touches nothing that is there. Returns what was made.
pub(super) fn make(home: &Path) -> Result<Vec<PathBuf>> {
    let config = home.join("portcullis.yaml");
    // A link that leads nowhere is there as well: reading it says what is wrong.
    if config.symlink_metadata().is_ok() {
        return Ok(Vec::new());
    }

    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(home)
        .with_context(|| format!("cannot make {}", home.display()))?;
    let key_file = home.join(SERVICE_KEY_FILE);
    let (key, _) = secret_in(&key_file, 0)?;
    let digest = hex::encode(Sha256::digest(key.expose()));
    let text = include_str!("starter.yaml").replace("{{SERVICE_KEY_DIGEST}}", &digest);
    write_new(&config, &text)?;

    Ok(vec![config, key_file])
}

/// Makes a drain secret in the home where none is configured, and adds its file to what was made.
/// Returns the file if the dashboard reads the secret from there.
pub(super) fn drain_secret(config: &Config, made: &mut Vec<PathBuf>) -> Result<Option<PathBuf>> {
    let path = config.home.join(DRAIN_SECRET_FILE);
    let is_in_home = |source: &String| *source == path.display().to_string();
    if config
        .dashboard
        .drain_secrets
        .source
        .as_ref()
        .is_some_and(|source| !is_in_home(source))
    {
        return Ok(None);
    }

    let (_, is_new) = secret_in(&path, config.dashboard.min_secret_chars)?;
    if is_new {
        made.push(path.clone());
    }

    Ok(Some(path))
}

/// The secret in the file, and whether it is new. One is made where there is no file, and where the
/// file is empty, as a full disk leaves it; it has at least `min_chars` characters.
fn secret_in(path: &Path, min_chars: usize) -> Result<(Secret, bool)> {
    let text = match atomic_file::read(path) {
        Ok(text) => String::from_utf8_lossy(&text).trim().to_owned(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        Err(error) => return Err(error).with_context(|| format!("cannot read {}", path.display())),
    };
    if !text.is_empty() {
        return Ok((Secret::new(text), false));
    }

    let secret = generate_secret_of(min_chars).context("the system gives no random numbers")?;
    atomic_file::replace(path, format!("{secret}\n").as_bytes(), Durability::Synced)
        .with_context(|| format!("cannot write {}", path.display()))?;
    Ok((Secret::new(secret), true))
}

/// Writes a new file with mode 0600. Fails if the file exists.
fn write_new(path: &Path, text: &str) -> Result<()> {
    let file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path);
    file.and_then(|mut file| file.write_all(text.as_bytes()))
        .with_context(|| format!("cannot write {}", path.display()))
}
