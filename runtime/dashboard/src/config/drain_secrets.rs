//! Where the drain secrets are from: the configuration, the environment, or a file in the home.

use super::secret_value::take_judged_list;
use super::section::{Reader, Section};
use super::{DRAIN_SECRET_FILE, DrainSecrets, Environment, Secret};
use crate::yaml::Yaml;
use portcullis_auth::secret_strength::Strength;
use portcullis_home::atomic_file;
use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

/// The present drain secret, and the one before or after it.
const MAX_DRAIN_SECRETS: usize = 2;

/// One secret, or a list of two: the old one stays good while the new one is handed out.
pub(super) fn read_drain_secrets(
    section: &mut Section,
    min_chars: usize,
    reader: &mut Reader<'_>,
) -> DrainSecrets {
    let is_set = section
        .look_at("secret")
        .is_some_and(|node| !matches!(node.value, Yaml::Null));
    let source = is_set.then(|| section.full("secret"));
    let strength = Strength::drain(min_chars);
    let secrets = take_judged_list(section, "secret", MAX_DRAIN_SECRETS, strength, reader);

    DrainSecrets {
        source,
        read: Ok(secrets.iter().map(Secret::trimmed).collect()),
    }
}

/// Returns the drain secret of the environment, else the one in the home.
pub(super) fn default_drain_secret(
    home: &Path,
    environment: &Environment,
    files: &mut BTreeSet<PathBuf>,
) -> DrainSecrets {
    if let Some(secret) = &environment.drain_secret {
        let source = Some("HERMES_DASHBOARD_DRAIN_SECRET".to_owned());
        return DrainSecrets {
            source,
            read: Ok(vec![secret.clone()]),
        };
    }

    let path = home.join(DRAIN_SECRET_FILE);
    let source = Some(path.display().to_string());
    let read = match atomic_file::read(&path) {
        Ok(text) => Ok(vec![Secret::new(
            String::from_utf8_lossy(&text).trim().to_owned(),
        )]),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            files.insert(path);
            return DrainSecrets {
                source: None,
                read: Ok(Vec::new()),
            };
        }
        Err(error) => Err(format!("it cannot be read: {error}")),
    };
    files.insert(path);
    DrainSecrets { source, read }
}
