//! The certificate that the dashboard reads from the files of the configuration, and its renewal.
//!
//! **Invariant:** a replacement that browsers would refuse never takes the place of what is
//! presented.

use crate::config::DashboardConfig;
use crate::web::Metrics;
use jiff::Timestamp;
use portcullis_net::tls::{Identity, IdentityError, Problem, TlsServer, TlsSettings};
use std::sync::Arc;

/// The certificate that the dashboard presents.
pub(super) struct Certificate {
    server: TlsServer,
    presented: Identity,
    /// The host of `dashboard.public_url`, which the certificate must be for.
    host: Option<String>,
    metrics: Arc<Metrics>,
}

/// Why a replacement is kept out.
#[derive(Debug, thiserror::Error)]
enum CertificateRefusal {
    #[error(transparent)]
    Identity(#[from] IdentityError),
    #[error(transparent)]
    Problem(#[from] Problem),
    #[error("reading the certificate failed: {0}")]
    Task(#[from] tokio::task::JoinError),
}

impl Certificate {
    /// Reads what the configuration names. A certificate that browsers refuse is presented
    /// nevertheless: the operator can then still reach the dashboard, and health checks pass.
    /// `None`: there is no `dashboard.tls`, or it orders the certificate itself.
    ///
    /// # Errors
    /// A file cannot be read, or key and certificate do not belong together.
    pub(super) fn load(
        dashboard: &DashboardConfig,
        metrics: Arc<Metrics>,
    ) -> Result<Option<Self>, IdentityError> {
        let Some(settings) = dashboard.tls.as_ref().filter(|_| dashboard.acme.is_none()) else {
            return Ok(None);
        };
        let presented = Identity::read(settings)?;
        let server = TlsServer::new(settings, &presented)?;
        let host = dashboard.public_url.as_ref().map(|url| url.host.clone());
        let certificate = Self {
            server,
            presented,
            host,
            metrics,
        };
        certificate.measure();
        certificate.complain();

        Ok(Some(certificate))
    }

    /// What accepts the connections.
    pub(super) fn server(&self) -> TlsServer {
        self.server.clone()
    }

    /// Reads the files again and presents what is in them, if that is another certificate without a
    /// problem. Else the present one stays, and the log says why.
    pub(super) async fn renew(&mut self, settings: &TlsSettings) {
        let path = settings.certificate.display();
        match self.replacement(settings.clone()).await {
            Ok(Some(next)) => {
                self.server.present(&next);
                self.presented = next;
                self.measure();
                tracing::info!(%path, expires_at = %self.presented.expires_at(), "certificate replaced");
                self.complain();
            }
            Ok(None) => {}
            Err(error) => {
                tracing::error!(%error, "the certificate is not replaced: the present one stays");
            }
        }
    }

    /// `None`: the files hold what is presented.
    async fn replacement(
        &self,
        settings: TlsSettings,
    ) -> Result<Option<Identity>, CertificateRefusal> {
        let next = tokio::task::spawn_blocking(move || Identity::read(&settings)).await??;
        if next.is_same_as(&self.presented) {
            return Ok(None);
        }
        match next.problem(self.host.as_deref(), Timestamp::now()) {
            Some(problem) => Err(problem.into()),
            None => Ok(Some(next)),
        }
    }

    fn measure(&self) {
        self.metrics
            .certificate_expires(self.presented.expires_at().as_duration().as_secs_f64());
    }

    /// Logs what is wrong with the certificate that is presented, or will be within two weeks.
    pub(super) fn complain(&self) {
        let now = Timestamp::now();
        if let Some(problem) = self.presented.problem(self.host.as_deref(), now) {
            tracing::error!(%problem, "browsers refuse the certificate: replace it, and it is taken over at once");
        } else if let Some(warning) = self.presented.expires_soon(now) {
            tracing::warn!("{warning}");
        }
    }
}
