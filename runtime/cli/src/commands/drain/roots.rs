//! Which certificate authorities are trusted: the system's, and those of `--cacert`.

use portcullis_dashboard::config::Environment;
use portcullis_net::trust::Authorities;
use std::path::Path;
use std::sync::LazyLock;
use ureq::tls::{Certificate, RootCerts, TlsConfig};

/// Read once: a fleet has many clients.
static SYSTEM: LazyLock<Vec<Certificate<'static>>> = LazyLock::new(|| {
    let system = Environment::read().system_roots.load();
    system
        .iter()
        .map(|certificate| Certificate::from_der(certificate).to_owned())
        .collect()
});

/// The TLS settings for an address; `None` when it needs none.
///
/// A system without a bundle, such as an empty container image, gets Mozilla's authorities, which
/// are compiled in.
///
/// # Errors
/// The file of `--cacert` cannot be read, or holds no certificate.
pub(in crate::commands) fn tls(
    url: &str,
    cacert: Option<&Path>,
) -> Result<Option<TlsConfig>, String> {
    let given = cacert.map(read).transpose()?.unwrap_or_default();
    if !url.starts_with("https://") {
        return Ok(None);
    }

    let mut trusted = SYSTEM.to_vec();
    trusted.extend(given);
    let roots = if trusted.is_empty() {
        RootCerts::WebPki
    } else {
        RootCerts::from(trusted)
    };
    Ok(Some(TlsConfig::builder().root_certs(roots).build()))
}

fn read(path: &Path) -> Result<Vec<Certificate<'static>>, String> {
    let authorities =
        Authorities::read(path).map_err(|error| format!("{} {error}", path.display()))?;
    let certificates = authorities.certificates().iter();
    Ok(certificates
        .map(|certificate| Certificate::from_der(certificate).to_owned())
        .collect())
}
