//! Which certificate authorities are trusted when a provider calls out.

use crate::trust::SystemRoots;
use rustls::{ClientConfig, RootCertStore};
use std::sync::OnceLock;

/// TLS for origins without authorities of their own: Mozilla's and the system's are trusted. All providers share it.
pub(in crate::sandbox) struct PublicTls {
    system: SystemRoots,
    /// Made at the first use: most providers call nothing.
    settings: OnceLock<ClientConfig>,
}

impl PublicTls {
    pub(in crate::sandbox) fn new(system: SystemRoots) -> Self {
        Self { system, settings: OnceLock::new() }
    }

    /// The settings. The first call reads the system's files, and blocks meanwhile.
    pub(super) fn settings(&self) -> ClientConfig {
        self.settings.get_or_init(|| trusting(self.system.public_store())).clone()
    }
}

/// TLS settings that trust these authorities and no other.
pub(super) fn trusting(authorities: RootCertStore) -> ClientConfig {
    ClientConfig::builder().with_root_certificates(authorities).with_no_client_auth()
}
