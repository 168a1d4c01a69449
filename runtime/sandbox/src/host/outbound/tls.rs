//! Which certificate authorities are trusted when a provider calls out.

use portcullis_net::trust::SystemRoots;
use rustls::crypto::ring;
use rustls::{ClientConfig, RootCertStore};
use std::sync::{Arc, OnceLock};

/// TLS for origins without authorities of their own: Mozilla's and the system's are trusted. All
/// providers share it.
pub(crate) struct PublicTls {
    system: SystemRoots,
    /// Made at the first use: most providers call nothing.
    settings: OnceLock<ClientConfig>,
}

impl PublicTls {
    pub(crate) fn new(system: SystemRoots) -> Self {
        Self {
            system,
            settings: OnceLock::new(),
        }
    }

    /// The settings. The first call reads the system's files, and blocks meanwhile.
    pub(super) fn settings(&self) -> ClientConfig {
        self.settings
            .get_or_init(|| trusting(self.system.public_store()))
            .clone()
    }
}

/// TLS settings that trust these authorities and no other.
pub(super) fn trusting(authorities: RootCertStore) -> ClientConfig {
    // Named, since rustls has no default in a program that is built with a second provider, as an
    // embedder's may be.
    ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("ring has cipher suites for TLS 1.2 and 1.3")
        .with_root_certificates(authorities)
        .with_no_client_auth()
}
