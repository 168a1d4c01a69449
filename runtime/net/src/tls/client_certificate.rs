use super::x509::Fields;
use rustls::pki_types::CertificateDer;
use sha2::{Digest, Sha256};

/// A certificate that a client presented, and that an authority of `dashboard.tls.client_ca`
/// signed. An extension of each request of its connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientCertificate {
    /// Its subject as RFC 4514 writes it, but in the order of the certificate: `O=Example,CN=ci`.
    pub subject: String,
    /// The digest of the certificate in DER, in lower-case hex.
    pub sha256: String,
}

impl ClientCertificate {
    /// Reads the first certificate of a verified chain. `None` if there is none.
    pub fn of(chain: &[CertificateDer<'_>]) -> Option<Self> {
        let certificate = chain.first()?;
        let Fields { subject, .. } = Fields::of(certificate)?;
        Some(Self {
            subject,
            sha256: hex::encode(Sha256::digest(certificate)),
        })
    }
}
