use super::settings::{AcmeSettings, DirectoryUrl};
use crate::tls::{Identity, IdentityError};
use crate::trust::AuthorityError;
use portcullis_home::atomic_file;
use std::io;
use std::path::Path;
use zeroize::Zeroizing;

/// Longest file, in bytes.
const MAX_BYTES: u64 = 1024 * 1024;
/// What the first line begins with. Text before the first section of a PEM file is a comment (RFC
/// 7468 section 2).
const DIRECTORY: &str = "Directory: ";

/// The certificate and the private key that the home keeps, in one file: a pair is always replaced
/// as one.
pub struct KeptCertificate {
    /// The certificate and its key.
    pub identity: Identity,
    directory: Option<String>,
}

impl KeptCertificate {
    /// Reads the file. `None`: there is none.
    ///
    /// # Errors
    /// It cannot be read, or does not hold a certificate and its key.
    pub fn read(file: &Path) -> Result<Option<Self>, IdentityError> {
        let pem = match atomic_file::read_at_most(file, MAX_BYTES) {
            Ok(pem) => Zeroizing::new(pem),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => {
                let cause = AuthorityError::Unreadable(error);
                return Err(IdentityError::Certificates {
                    path: file.to_owned(),
                    cause,
                });
            }
        };

        let identity = Identity::parse(&pem, file)?;
        Ok(Some(Self {
            identity,
            directory: directory_of(&pem),
        }))
    }

    /// Returns whether it is what the settings ask for: of that directory, and for each of the
    /// domains.
    pub fn is_as_ordered_by(&self, settings: &AcmeSettings) -> bool {
        let is_for_all = settings
            .domains
            .iter()
            .all(|domain| self.identity.is_for(domain));
        is_for_all && self.directory.as_deref() == Some(settings.directory.as_str())
    }
}

/// The content of the file.
pub(super) fn compose(directory: &DirectoryUrl, key: &str, chain: &str) -> Zeroizing<String> {
    let mut text = Zeroizing::new(String::with_capacity(key.len() + chain.len() + 4096));
    for part in [DIRECTORY, directory.as_str(), "\n", key, "\n", chain] {
        text.push_str(part);
    }
    text
}

fn directory_of(pem: &[u8]) -> Option<String> {
    let line = pem.split(|byte| *byte == b'\n').next()?;
    let directory = std::str::from_utf8(line).ok()?.strip_prefix(DIRECTORY)?;
    Some(directory.to_owned())
}

#[cfg(test)]
mod tests {
    use super::super::Challenge;
    use super::*;
    use std::fs;

    fn settings(directory: &str, domains: &[&str]) -> AcmeSettings {
        AcmeSettings {
            domains: domains.iter().map(|domain| (*domain).to_owned()).collect(),
            contact: Vec::new(),
            directory: DirectoryUrl::parse(directory).unwrap(),
            ca: None,
            challenge: Challenge::default(),
            external_account: None,
        }
    }

    #[test]
    fn another_directory_or_domain_needs_another_certificate() {
        let fixture = |name: &str| {
            fs::read_to_string(
                Path::new(env!("CARGO_MANIFEST_DIR"))
                    .join("../../tests/certificates")
                    .join(name),
            )
            .unwrap()
        };
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("certificate.pem");
        assert!(KeptCertificate::read(&file).unwrap().is_none());

        let directory = "https://ca.example/directory";
        let ordered = settings(directory, &["localhost"]);
        let pem = compose(
            &ordered.directory,
            &fixture("server.key"),
            &fixture("good.pem"),
        );
        fs::write(&file, pem.as_bytes()).unwrap();
        let kept = KeptCertificate::read(&file).unwrap().unwrap();
        assert!(kept.is_as_ordered_by(&ordered));
        assert!(!kept.is_as_ordered_by(&settings(directory, &["localhost", "other.example"])));
        assert!(!kept.is_as_ordered_by(&settings("https://ca.example/staging", &["localhost"])));

        for damaged in [&pem[..pem.len() / 2], "", "Directory: x\n"] {
            fs::write(&file, damaged).unwrap();
            assert!(KeptCertificate::read(&file).is_err(), "{damaged:.20}");
        }
    }
}
