//! The starter home that `up` makes where there is none.

use super::drain::SECRET_FILE;
use anyhow::{Context, Result, bail};
use portcullis::config::{Config, Secret};
use portcullis::drain::generate_secret;
use sha2::{Digest, Sha256};
use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// A key for the bundled `service-keys` provider, to try a bearer call with.
pub(super) const SERVICE_KEY_FILE: &str = "service-key";

/// Makes what is missing and touches nothing that is there. Returns what was made.
pub(super) fn make(home: &Path) -> Result<Vec<PathBuf>> {
    let config = home.join("portcullis.yaml");
    if config.exists() {
        return Ok(Vec::new());
    }
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(home)
        .with_context(|| format!("cannot make {}", home.display()))?;
    let key_file = home.join(SERVICE_KEY_FILE);
    let key = secret_in(&key_file)?;
    let digest = hex::encode(Sha256::digest(key.expose()));
    let text = include_str!("starter.yaml").replace("{{SERVICE_KEY_DIGEST}}", &digest);
    write_new(&config, &text)?;
    Ok(vec![config, key_file])
}

/// The drain secret: the environment's, else the one in the home, which is made when it is missing.
pub(super) fn drain_secret(config: &Config) -> Result<Secret> {
    match &config.environment.drain_secret {
        Some(secret) => Ok(secret.clone()),
        None => secret_in(&config.home.join(SECRET_FILE)),
    }
}

fn secret_in(path: &Path) -> Result<Secret> {
    match fs::read_to_string(path) {
        Ok(text) if text.trim().is_empty() => {
            bail!("{} is empty: remove it, and a new one is made", path.display())
        }
        Ok(text) => Ok(Secret::new(text.trim().to_owned())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let secret = generate_secret().context("the system gives no random numbers")?;
            write_new(path, &format!("{secret}\n"))?;
            Ok(Secret::new(secret))
        }
        Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
    }
}

/// For the owner alone, and never over a file that is there.
fn write_new(path: &Path, text: &str) -> Result<()> {
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    file.and_then(|mut file| file.write_all(text.as_bytes()))
        .with_context(|| format!("cannot write {}", path.display()))
}
