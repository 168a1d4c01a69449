//! Certificate authorities: those of a PEM file, the system's, and Mozilla's.
//!
//! **Invariant:** every file is read within bounds, and no private key leaves this module.

use portcullis_home::atomic_file;
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::{Error as PemError, PemObject, SectionKind};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::{fmt, fs, io};
use zeroize::Zeroizing;

/// Longest PEM file that an operator names, in bytes.
const MAX_FILE_BYTES: u64 = 1024 * 1024;
/// Most certificates of such a file.
const MAX_CERTIFICATES: usize = 1_000;
/// Longest file of the system's authorities, in bytes. Debian's bundle has 220 KB.
const MAX_SYSTEM_FILE_BYTES: u64 = 8 * 1024 * 1024;
/// Most files of one of the system's folders that are looked at.
const MAX_FOLDER_FILES: usize = 4_096;
/// Most authorities of the system.
const MAX_SYSTEM_CERTIFICATES: usize = 10_000;

/// Where systems keep the bundle of their authorities. The list is the one of Go's `crypto/x509`.
const SYSTEM_BUNDLES: [&str; 6] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/pki/tls/cacert.pem",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// The authorities of a PEM file: one at least, each of which can be read.
#[derive(Clone, PartialEq, Eq)]
pub struct Authorities {
    certificates: Arc<[CertificateDer<'static>]>,
    has_private_key: bool,
}

/// What is wrong with a PEM file of authorities. The text continues a sentence that begins with the
/// file's name.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// It is missing, is no regular file, is too long, or may not be read.
    #[error("cannot be read: {0}")]
    Unreadable(io::Error),
    /// It has no PEM section, or a damaged one.
    #[error("is not PEM: {0}")]
    NotPem(&'static str),
    /// It has sections, and no certificate among them.
    #[error("holds no certificate")]
    Empty,
    /// It has more than 1,000 certificates.
    #[error("holds more than {} certificates", MAX_CERTIFICATES)]
    TooMany,
    /// One of its certificates is not X.509.
    #[error("holds a certificate that cannot be read: number {number}")]
    Damaged {
        /// Its place in the file, from 1.
        number: usize,
    },
}

impl Authorities {
    /// Reads a PEM file of at most 1 MiB and 1,000 certificates.
    ///
    /// # Errors
    /// It cannot be read, is not PEM, or has no certificate or one that is damaged.
    pub fn read(path: &Path) -> Result<Self, AuthorityError> {
        let read =
            atomic_file::read_at_most(path, MAX_FILE_BYTES).map_err(AuthorityError::Unreadable)?;
        Self::parse(&Zeroizing::new(read))
    }

    /// Reads PEM text of at most 1,000 certificates. The caller bounds its length.
    ///
    /// # Errors
    /// It is not PEM, or has no certificate or one that is damaged.
    pub fn parse(pem: &[u8]) -> Result<Self, AuthorityError> {
        let mut certificates = Vec::new();
        let mut has_private_key = false;
        let mut sections = 0;

        for section in <(SectionKind, Vec<u8>)>::pem_slice_iter(pem) {
            let (kind, content) =
                section.map_err(|error| AuthorityError::NotPem(damage_of(&error)))?;
            sections += 1;
            match kind {
                SectionKind::Certificate if certificates.len() == MAX_CERTIFICATES => {
                    return Err(AuthorityError::TooMany);
                }
                SectionKind::Certificate => certificates.push(CertificateDer::from(content)),
                SectionKind::PrivateKey
                | SectionKind::RsaPrivateKey
                | SectionKind::EcPrivateKey => {
                    has_private_key = true;
                    drop(Zeroizing::new(content));
                }
                _ => {}
            }
        }

        if certificates.is_empty() {
            return Err(without_certificates(pem, sections));
        }
        if let Some(index) = certificates
            .iter()
            .position(|certificate| !is_readable(certificate))
        {
            return Err(AuthorityError::Damaged { number: index + 1 });
        }
        Ok(Self {
            certificates: certificates.into(),
            has_private_key,
        })
    }

    /// Returns the certificates, in the order of the file.
    pub fn certificates(&self) -> &[CertificateDer<'static>] {
        &self.certificates
    }

    /// Returns whether a private key stands in the file as well, which no reader of authorities
    /// needs.
    pub fn has_private_key(&self) -> bool {
        self.has_private_key
    }

    /// Returns a store that trusts these authorities and no other.
    pub fn store(&self) -> RootCertStore {
        let mut store = RootCertStore::empty();
        store.add_parsable_certificates(self.certificates.iter().cloned());
        store
    }
}

impl fmt::Debug for Authorities {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Authorities({})", self.certificates.len())
    }
}

fn is_readable(certificate: &CertificateDer<'_>) -> bool {
    RootCertStore::empty().add(certificate.clone()).is_ok()
}

fn without_certificates(pem: &[u8], sections: usize) -> AuthorityError {
    // A SEQUENCE whose length takes two bytes: what a certificate in DER begins with.
    if pem.starts_with(&[0x30, 0x82]) {
        return AuthorityError::NotPem("it is DER (openssl x509 -inform der converts it)");
    }
    let has_marker = pem.windows(11).any(|window| window == b"-----BEGIN ");
    match sections == 0 && !has_marker {
        true => AuthorityError::NotPem("it has no line `-----BEGIN CERTIFICATE-----`"),
        false => AuthorityError::Empty,
    }
}

fn damage_of(error: &PemError) -> &'static str {
    match error {
        PemError::MissingSectionEnd { .. } => "a section has no END line",
        PemError::IllegalSectionStart { .. } => "a BEGIN line is damaged",
        PemError::Base64Decode(_) => "a section is not base64",
        _ => "a section is damaged",
    }
}

/// Where the system keeps its authorities. With neither a file nor a folder: at the usual places.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SystemRoots {
    /// `SSL_CERT_FILE`: a PEM bundle.
    pub file: Option<PathBuf>,
    /// `SSL_CERT_DIR`: folders of PEM files.
    pub folders: Vec<PathBuf>,
}

impl SystemRoots {
    /// Reads the system's authorities. What cannot be read is left out, and one warning says how
    /// much that is.
    pub fn load(&self) -> Vec<CertificateDer<'static>> {
        let mut found = Found::default();
        if self.file.is_none() && self.folders.is_empty() {
            let bundle = SYSTEM_BUNDLES
                .iter()
                .map(Path::new)
                .find(|path| path.is_file());
            bundle.into_iter().for_each(|path| found.add_file(path));
        }
        self.file.iter().for_each(|path| found.add_file(path));
        self.folders.iter().for_each(|path| found.add_folder(path));
        found.finish()
    }

    /// Returns a store of Mozilla's authorities, which are compiled in, and the system's.
    pub fn public_store(&self) -> RootCertStore {
        let mut store = RootCertStore {
            roots: webpki_roots::TLS_SERVER_ROOTS.to_vec(),
        };
        store.add_parsable_certificates(self.load());
        store
    }
}

/// The system's authorities so far. A folder has most files under two names.
#[derive(Default)]
struct Found {
    certificates: BTreeSet<Vec<u8>>,
    left_out: usize,
    first_problem: Option<String>,
}

impl Found {
    fn add_folder(&mut self, folder: &Path) {
        let entries = match fs::read_dir(folder) {
            Ok(entries) => entries,
            Err(error) => return self.leave_out(folder, &error.to_string()),
        };
        let files = entries
            .flatten()
            .map(|entry| entry.path())
            .filter(|path| path.is_file());
        files
            .take(MAX_FOLDER_FILES)
            .for_each(|path| self.add_file(&path));
    }

    fn add_file(&mut self, path: &Path) {
        let pem = match atomic_file::read_at_most(path, MAX_SYSTEM_FILE_BYTES) {
            Ok(pem) => Zeroizing::new(pem),
            Err(error) => return self.leave_out(path, &error.to_string()),
        };
        for section in CertificateDer::pem_slice_iter(&pem) {
            match section {
                Ok(certificate) if !is_readable(&certificate) => {
                    self.leave_out(path, "a certificate is damaged");
                }
                Ok(_) if self.certificates.len() >= MAX_SYSTEM_CERTIFICATES => {
                    return self.leave_out(path, "there are too many certificates");
                }
                Ok(certificate) => {
                    self.certificates.insert(certificate.as_ref().to_vec());
                }
                Err(error) => self.leave_out(path, damage_of(&error)),
            }
        }
    }

    fn leave_out(&mut self, path: &Path, problem: &str) {
        self.left_out += 1;
        self.first_problem
            .get_or_insert_with(|| format!("{}: {problem}", path.display()));
    }

    fn finish(self) -> Vec<CertificateDer<'static>> {
        if let Some(first) = self.first_problem {
            let left_out = self.left_out;
            tracing::warn!(
                first,
                left_out,
                "some of the system's certificate authorities cannot be read"
            );
        }
        self.certificates
            .into_iter()
            .map(CertificateDer::from)
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AUTHORITY: &str = include_str!("../../../tests/certificates/authority.pem");
    const KEY: &str = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";

    fn parse(pem: &str) -> Result<Authorities, String> {
        Authorities::parse(pem.as_bytes()).map_err(|error| error.to_string())
    }

    #[test]
    fn certificates_are_found_among_comments_and_other_sections() {
        let authorities = parse(&format!("Our authority\n{AUTHORITY}{KEY}{AUTHORITY}")).unwrap();
        assert_eq!(authorities.certificates().len(), 2);
        assert!(authorities.has_private_key());
        assert!(!parse(AUTHORITY).unwrap().has_private_key());
        assert_eq!(authorities.store().len(), 2);
    }

    #[test]
    fn what_is_wrong_with_a_file_is_named() {
        let damaged = AUTHORITY.replacen("MII", "AAA", 1);
        let unfinished = AUTHORITY.replace("-----END", "");
        for (pem, mistake) in [
            ("", "is not PEM"),
            ("not a certificate\n", "is not PEM"),
            ("0\u{2}", "is not PEM"),
            (KEY, "holds no certificate"),
            (
                damaged.as_str(),
                "holds a certificate that cannot be read: number 1",
            ),
            (unfinished.as_str(), "a section has no END line"),
            (
                "-----BEGIN CERTIFICATE-----\n$$$$\n-----END CERTIFICATE-----\n",
                "is not base64",
            ),
        ] {
            let error = parse(pem).expect_err(pem);
            assert!(error.contains(mistake), "{error}");
        }
        let der = Authorities::parse(&[0x30, 0x82, 1, 1])
            .unwrap_err()
            .to_string();
        assert!(der.contains("it is DER"), "{der}");
        assert_eq!(
            parse(&AUTHORITY.repeat(MAX_CERTIFICATES))
                .unwrap()
                .certificates()
                .len(),
            MAX_CERTIFICATES
        );
        assert!(
            parse(&AUTHORITY.repeat(MAX_CERTIFICATES + 1))
                .unwrap_err()
                .contains("more than 1000")
        );
    }

    #[test]
    fn file_beyond_the_bound_is_not_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ca.pem");
        fs::write(&path, " ".repeat(1024 * 1024 + 1)).unwrap();
        let error = Authorities::read(&path).unwrap_err().to_string();
        assert_eq!(error, "cannot be read: it is too long");
        assert!(matches!(
            Authorities::read(&folder.path().join("none")),
            Err(AuthorityError::Unreadable(_))
        ));
    }

    #[test]
    fn damaged_entries_of_the_system_are_left_out_and_the_rest_is_trusted() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str| {
            let path = folder.path().join(name);
            fs::write(&path, text).unwrap();
            path
        };
        let damaged = AUTHORITY.replacen("MII", "AAA", 1);
        let bundle = file("bundle.pem", &format!("{damaged}{AUTHORITY}"));
        file("same.pem", AUTHORITY);
        let missing = folder.path().join("missing.pem");
        let load = |file: Option<PathBuf>, folders: Vec<PathBuf>| {
            SystemRoots { file, folders }.load().len()
        };
        assert_eq!(load(Some(bundle), Vec::new()), 1);
        assert_eq!(
            load(None, vec![folder.path().to_owned()]),
            1,
            "the same certificate counts once"
        );
        assert_eq!(
            load(Some(missing.clone()), Vec::new()),
            0,
            "the usual places are not asked as well"
        );
        let public = SystemRoots {
            file: Some(missing),
            folders: Vec::new(),
        }
        .public_store();
        assert_eq!(public.len(), webpki_roots::TLS_SERVER_ROOTS.len());
    }
}
