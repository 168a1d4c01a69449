//! Which certificate authorities are trusted: the system's, and those of `--cacert`.

use std::fs;
use std::path::Path;
use std::sync::LazyLock;
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, parse_pem};

/// Where systems keep the bundle of their authorities. The list is the one of Go's `crypto/x509`.
const SYSTEM_BUNDLES: [&str; 6] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/pki/tls/cacert.pem",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// Read once: a fleet has many clients.
static SYSTEM: LazyLock<Vec<Certificate<'static>>> =
    LazyLock::new(|| SYSTEM_BUNDLES.iter().find_map(|path| read(Path::new(path)).ok()).unwrap_or_default());

/// The TLS settings for an address; `None` when it needs none.
///
/// A system without a bundle, such as an empty container image, gets Mozilla's authorities, which are compiled in.
///
/// # Errors
/// The file of `--cacert` cannot be read, or holds no certificate.
pub(super) fn tls(url: &str, cacert: Option<&Path>) -> Result<Option<TlsConfig>, String> {
    let given = cacert.map(read).transpose()?.unwrap_or_default();
    if !url.starts_with("https://") {
        return Ok(None);
    }
    let mut trusted = SYSTEM.to_vec();
    trusted.extend(given);
    let roots = if trusted.is_empty() { RootCerts::WebPki } else { RootCerts::from(trusted) };
    Ok(Some(TlsConfig::builder().root_certs(roots).build()))
}

fn read(path: &Path) -> Result<Vec<Certificate<'static>>, String> {
    let pem = fs::read(path).map_err(|error| format!("cannot read {}: {error}", path.display()))?;
    let mut certificates = Vec::new();
    for item in parse_pem(&pem) {
        match item {
            Ok(PemItem::Certificate(certificate)) => certificates.push(certificate),
            Ok(_) => {}
            Err(error) => return Err(format!("{} is not PEM: {error}", path.display())),
        }
    }
    match certificates.is_empty() {
        true => Err(format!("{} holds no certificate", path.display())),
        false => Ok(certificates),
    }
}
