use super::TlsSettings;
use super::x509::{Fields, Validity};
use crate::tls_error::certificate_in_words;
use crate::trust::{Authorities, AuthorityError};
use jiff::Timestamp;
use portcullis_home::atomic_file;
use rustls::client::verify_server_name;
use rustls::crypto::ring;
use rustls::pki_types::pem::{Error as PemError, PemObject};
use rustls::pki_types::{PrivateKeyDer, ServerName};
use rustls::server::ParsedCertificate;
use rustls::sign::CertifiedKey;
use rustls::{Error, InconsistentKeys};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use zeroize::Zeroizing;

/// How long before its end a certificate is complained of. ACME clients renew 30 days before.
const WARNING_DAYS: i64 = 14;
const SECONDS_PER_DAY: i64 = 86_400;
/// Longest file with a private key, in bytes.
const MAX_KEY_BYTES: u64 = 1024 * 1024;

/// A certificate, those that lead to its authority, and the private key that belongs to it.
#[derive(Clone)]
pub struct Identity {
    pub(super) certified: Arc<CertifiedKey>,
    validity: Validity,
    file: PathBuf,
}

/// Why two files are no identity. The text names the file.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// A file of certificates cannot be read, or is not what it must be.
    #[error("the file {} {cause}", .path.display())]
    Certificates {
        /// The PEM file that was named.
        path: PathBuf,
        /// What is wrong with it.
        cause: AuthorityError,
    },
    /// The first certificate of the file cannot be a server's.
    #[error("the first certificate in {} cannot be used: {cause}", .path.display())]
    Unusable {
        /// The PEM file that was named.
        path: PathBuf,
        /// What is wrong with it.
        cause: String,
    },
    /// The key cannot be read, or is of no kind that can be used.
    #[error("the key file {} {what}", .path.display())]
    Key {
        /// The PEM file that was named.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// The key is another certificate's.
    #[error("the key in {} does not belong to the first certificate in {}", .key.display(), .certificate.display())]
    Mismatch {
        /// The file with the certificate.
        certificate: PathBuf,
        /// The file with the key.
        key: PathBuf,
    },
}

/// Why browsers refuse a certificate that can be served. The text names the file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// Its time is over.
    #[error("the certificate in {} expired at {at}", .file.display())]
    Expired {
        /// The file with the certificate.
        file: PathBuf,
        /// The end of its time.
        at: Timestamp,
    },
    /// Its time is yet to come.
    #[error("the certificate in {} is not valid before {at}", .file.display())]
    NotYetValid {
        /// The file with the certificate.
        file: PathBuf,
        /// The beginning of its time.
        at: Timestamp,
    },
    /// It is for other names.
    #[error("the certificate in {} is not for {host}, the host of dashboard.public_url", .file.display())]
    OtherNames {
        /// The file with the certificate.
        file: PathBuf,
        /// The name that it lacks.
        host: String,
    },
}

impl Identity {
    /// Reads the files of the settings, each of at most 1 MiB.
    ///
    /// # Errors
    /// One of them cannot be read, or they do not belong together.
    pub fn read(settings: &TlsSettings) -> Result<Self, IdentityError> {
        let (certificate, key) = (&settings.certificate, &settings.key);
        let certificates =
            Authorities::read(certificate).map_err(|cause| IdentityError::Certificates {
                path: certificate.clone(),
                cause,
            })?;
        let validity = validity_of(&certificates, certificate)?;
        Self::of(&certificates, validity, read_key(key)?, certificate, key)
    }

    /// Reads PEM text that has the private key as well as the certificates. `file` is where it
    /// stands, for messages. The caller bounds its length.
    ///
    /// # Errors
    /// The text is not PEM, lacks one of the two, or they do not belong together.
    pub fn parse(pem: &[u8], file: &Path) -> Result<Self, IdentityError> {
        let certificates =
            Authorities::parse(pem).map_err(|cause| IdentityError::Certificates {
                path: file.to_owned(),
                cause,
            })?;
        let validity = validity_of(&certificates, file)?;
        Self::of(&certificates, validity, parse_key(pem, file)?, file, file)
    }

    fn of(
        certificates: &Authorities,
        validity: Validity,
        key: PrivateKeyDer<'static>,
        file: &Path,
        key_file: &Path,
    ) -> Result<Self, IdentityError> {
        let chain = certificates.certificates().to_vec();
        let certified =
            CertifiedKey::from_der(chain, key, &ring::default_provider()).map_err(|error| match error {
                Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => {
                    IdentityError::Mismatch { certificate: file.to_owned(), key: key_file.to_owned() }
                }
                Error::InvalidCertificate(why) => unusable(file, certificate_in_words(&why)),
                _ => no_key(
                    key_file,
                    "holds no key of a kind that can be used: RSA (2048 to 4096 bits), ECDSA (P-256, P-384) or Ed25519",
                ),
            })?;

        Ok(Self {
            certified: Arc::new(certified),
            validity,
            file: file.to_owned(),
        })
    }

    /// Returns why browsers refuse it at this time, where people reach the dashboard by `host`: a
    /// name, or an address without brackets.
    pub fn problem(&self, host: Option<&str>, now: Timestamp) -> Option<Problem> {
        let file = || self.file.clone();
        let Validity { from, until } = self.validity;
        if now > until {
            return Some(Problem::Expired {
                file: file(),
                at: until,
            });
        }

        if now < from {
            return Some(Problem::NotYetValid {
                file: file(),
                at: from,
            });
        }

        let host = host.filter(|host| !self.is_for(host))?;
        Some(Problem::OtherNames {
            file: file(),
            host: host.to_owned(),
        })
    }

    /// Returns whether browsers accept the certificate for this host: a name, or an address without
    /// brackets.
    pub(crate) fn is_for(&self, host: &str) -> bool {
        let Ok(name) = ServerName::try_from(host) else {
            return false;
        };
        let parsed = self
            .certified
            .cert
            .first()
            .and_then(|first| ParsedCertificate::try_from(first).ok());
        parsed.is_some_and(|certificate| verify_server_name(&certificate, &name).is_ok())
    }

    /// Returns a warning while the certificate has less than 14 days left.
    pub fn expires_soon(&self, now: Timestamp) -> Option<String> {
        let until = self.validity.until;
        let left = match (until.as_second() - now.as_second()).div_euclid(SECONDS_PER_DAY) {
            ..0 => return None,
            0 => "less than a day".to_owned(),
            1 => "1 day".to_owned(),
            days if days < WARNING_DAYS => format!("{days} days"),
            _ => return None,
        };
        Some(format!(
            "the certificate in {} expires in {left}, at {until}",
            self.file.display()
        ))
    }

    /// Returns when a third of the certificate's lifetime is left.
    pub fn renewal_due_at(&self) -> Timestamp {
        let Validity { from, until } = self.validity;
        let third = (until.as_second() - from.as_second()).max(0) / 3;
        Timestamp::from_second(until.as_second() - third).unwrap_or(until)
    }

    /// Returns the end of the certificate's time.
    pub fn expires_at(&self) -> Timestamp {
        self.validity.until
    }

    /// Returns whether another has the same certificates, and therefore the same key.
    pub fn is_same_as(&self, other: &Self) -> bool {
        self.certified.cert == other.certified.cert
    }
}

fn validity_of(certificates: &Authorities, file: &Path) -> Result<Validity, IdentityError> {
    let fields = certificates
        .certificates()
        .first()
        .and_then(|first| Fields::of(first));
    let Fields { validity, .. } =
        fields.ok_or_else(|| unusable(file, "its dates cannot be read".to_owned()))?;
    Ok(validity)
}

fn unusable(file: &Path, cause: String) -> IdentityError {
    IdentityError::Unusable {
        path: file.to_owned(),
        cause,
    }
}

fn no_key(path: &Path, what: impl Into<String>) -> IdentityError {
    IdentityError::Key {
        path: path.to_owned(),
        what: what.into(),
    }
}

fn read_key(path: &Path) -> Result<PrivateKeyDer<'static>, IdentityError> {
    let pem = atomic_file::read_at_most(path, MAX_KEY_BYTES)
        .map_err(|error| no_key(path, format!("cannot be read: {error}")))?;
    parse_key(&Zeroizing::new(pem), path)
}

fn parse_key(pem: &[u8], path: &Path) -> Result<PrivateKeyDer<'static>, IdentityError> {
    // Neither form can be used: PKCS #8 (RFC 5958), and the older one with a header (RFC 1421).
    let is_encrypted = ["BEGIN ENCRYPTED PRIVATE KEY", "Proc-Type: 4,ENCRYPTED"]
        .iter()
        .any(|mark| {
            pem.windows(mark.len())
                .any(|window| window == mark.as_bytes())
        });
    if is_encrypted {
        return Err(no_key(
            path,
            "is encrypted: `openssl pkey -in FILE -out NEW` writes it without a passphrase",
        ));
    }

    PrivateKeyDer::from_pem_slice(pem).map_err(|error| match error {
        PemError::NoItemsFound => no_key(path, "holds no private key"),
        PemError::MissingSectionEnd { .. } => no_key(path, "is not whole: the key has no END line"),
        _ => no_key(path, "is not PEM, or is damaged"),
    })
}

#[cfg(test)]
mod tests {
    use super::super::MinVersion;
    use super::*;
    use std::fs;

    fn fixture(name: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../../tests/certificates")
            .join(name)
    }

    fn read(certificate: &Path, key: &Path) -> Result<Identity, String> {
        let settings = TlsSettings {
            certificate: certificate.to_owned(),
            key: key.to_owned(),
            client_ca: None,
            min_version: MinVersion::default(),
        };
        Identity::read(&settings).map_err(|error| error.to_string())
    }

    fn refusal(certificate: &Path, key: &Path) -> String {
        read(certificate, key).err().expect("the files do not fit")
    }

    #[test]
    fn what_is_wrong_with_the_files_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str| {
            let path = folder.path().join(name);
            fs::write(&path, text).unwrap();
            path
        };
        let (good, key) = (fixture("good.pem"), fixture("server.key"));
        let key_text = fs::read_to_string(&key).unwrap();
        let certificate_text = fs::read_to_string(&good).unwrap();
        let half_key = file("half.key", &key_text[..key_text.len() / 2]);
        let half_certificate = file("half.pem", &certificate_text[..certificate_text.len() / 2]);
        let encrypted = file(
            "encrypted.key",
            &key_text.replace("PRIVATE", "ENCRYPTED PRIVATE"),
        );
        let unknown = file(
            "unknown.key",
            "-----BEGIN PRIVATE KEY-----\nMAA=\n-----END PRIVATE KEY-----\n",
        );
        for (certificate, key, complaint) in [
            (
                &folder.path().join("none.pem"),
                &key,
                "none.pem cannot be read: ",
            ),
            (
                &half_certificate,
                &key,
                "half.pem is not PEM: a section has no END line",
            ),
            (&key, &key, "server.key holds no certificate"),
            (
                &fixture("version-1.pem"),
                &key,
                "version-1.pem cannot be used: it is of an older version than 3 of X.509",
            ),
            (
                &good,
                &folder.path().join("none.key"),
                "none.key cannot be read: ",
            ),
            (&good, &half_key, "half.key is not whole"),
            (&good, &good, "good.pem holds no private key"),
            (&good, &encrypted, "encrypted.key is encrypted"),
            (&good, &unknown, "unknown.key holds no key of a kind"),
            (
                &good,
                &fixture("p521.key"),
                "holds no key of a kind that can be used: RSA (2048 to 4096 bits), ECDSA (P-256, P-384) or Ed25519",
            ),
            (
                &good,
                &fixture("rsa1024.key"),
                "rsa1024.key holds no key of a kind",
            ),
            (
                &good,
                &fixture("other.key"),
                "other.key does not belong to the first certificate in ",
            ),
        ] {
            let refusal = refusal(certificate, key);
            assert!(refusal.contains(complaint), "{refusal}");
        }
        let secret = key_text.lines().nth(1).unwrap();
        assert!(
            !refusal(&good, &half_key).contains(&secret[..16]),
            "a key is never shown"
        );
    }

    #[test]
    fn what_browsers_refuse_is_named() {
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        let key = fixture("server.key");
        let good = read(&fixture("good.pem"), &key).unwrap();
        let problem = |host, now: &str| {
            good.problem(host, at(now))
                .map(|problem| problem.to_string())
        };
        let now = "2026-01-01T00:00:00Z";
        for host in [
            None,
            Some("localhost"),
            Some("127.0.0.1"),
            Some("LOCALHOST"),
        ] {
            assert_eq!(problem(host, now), None, "{host:?}");
        }
        for (host, now, complaint) in [
            (
                Some("other.test"),
                now,
                "is not for other.test, the host of dashboard.public_url",
            ),
            (Some("::1"), now, "is not for ::1"),
            (Some("not a name"), now, "is not for not a name"),
            (
                None,
                "2126-01-01T00:00:01Z",
                "expired at 2126-01-01T00:00:00Z",
            ),
            (
                None,
                "2019-12-31T23:59:59Z",
                "is not valid before 2020-01-01T00:00:00Z",
            ),
        ] {
            let problem = problem(host, now).unwrap();
            assert!(problem.contains(complaint), "{problem}");
        }
        let expired = read(&fixture("expired.pem"), &key).unwrap();
        assert!(matches!(
            expired.problem(None, at(now)),
            Some(Problem::Expired { .. })
        ));
        assert!(!good.is_same_as(&expired) && good.is_same_as(&good.clone()));
    }

    #[test]
    fn one_text_may_hold_both_and_is_due_at_a_third() {
        let text = |name: &str| fs::read_to_string(fixture(name)).unwrap();
        let both = format!("Directory: x\n{}{}", text("server.key"), text("good.pem"));
        let file = Path::new("both.pem");
        let identity = Identity::parse(both.as_bytes(), file).unwrap();
        assert!(identity.is_for("localhost") && !identity.is_for("other.test"));
        // 2020 to 2126: 106 years, of which a third is left in the year 2090.
        assert_eq!(
            identity.renewal_due_at().to_string(),
            "2090-08-31T16:00:00Z"
        );
        for (pem, complaint) in [
            (text("good.pem"), "both.pem holds no private key"),
            (text("server.key"), "both.pem holds no certificate"),
            (
                text("other.key") + &text("good.pem"),
                "both.pem does not belong to the first certificate in ",
            ),
        ] {
            let refusal = Identity::parse(pem.as_bytes(), file)
                .err()
                .expect(complaint)
                .to_string();
            assert!(refusal.contains(complaint), "{refusal}");
        }
    }

    #[test]
    fn end_is_announced_two_weeks_before() {
        let good = read(&fixture("good.pem"), &fixture("server.key")).unwrap();
        let warning = |now: &str| good.expires_soon(now.parse().unwrap());
        for (now, expected) in [
            ("2125-12-18T00:00:00Z", None),
            (
                "2125-12-18T00:00:01Z",
                Some("expires in 13 days, at 2126-01-01T00:00:00Z"),
            ),
            ("2125-12-30T12:00:00Z", Some("expires in 1 day, at ")),
            (
                "2125-12-31T12:00:00Z",
                Some("expires in less than a day, at "),
            ),
            ("2126-01-01T12:00:00Z", None),
        ] {
            let found = warning(now);
            assert_eq!(found.is_some(), expected.is_some(), "{now}: {found:?}");
            assert!(
                expected.is_none_or(|text| found.is_some_and(|found| found.contains(text))),
                "{now}"
            );
        }
    }
}
