//! The certificate that the listener presents.

use super::StartError;
use super::certificate::Certificate;
use super::ordered_certificate::OrderedCertificate;
use crate::config::Config;
use crate::web::Metrics;
use portcullis_net::tls::TlsServer;
use std::sync::Arc;

/// The certificate of the listener: from the files of `dashboard.tls`, or ordered. Both are `None`
/// without `dashboard.tls`.
pub(super) struct Certificates {
    pub(super) of_files: Option<Certificate>,
    pub(super) ordered: Option<OrderedCertificate>,
}

impl Certificates {
    pub(super) fn load(config: &Config, metrics: &Arc<Metrics>) -> Result<Self, StartError> {
        let of_files = Certificate::load(&config.dashboard, metrics.clone())
            .map_err(StartError::Certificate)?;
        let ordered =
            OrderedCertificate::load(config, metrics.clone()).map_err(StartError::Certificate)?;
        Ok(Self { of_files, ordered })
    }

    /// Returns what handshakes use. `None`: the listener speaks plain HTTP.
    pub(super) fn server(&self) -> Option<TlsServer> {
        let of_files = self.of_files.as_ref().map(Certificate::server);
        of_files.or_else(|| self.ordered.as_ref().map(OrderedCertificate::server))
    }
}
