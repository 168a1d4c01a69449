//! The certificate that an ACME directory signs: kept in the home, ordered and renewed while the
//! dashboard serves.
//!
//! **Invariant:** a certificate is replaced only by one that has not expired and is for every
//! domain of the settings. A directory that fails never ends the dashboard.

use crate::config::Config;
use crate::web::Metrics;
use jiff::Timestamp;
use portcullis_home::atomic_file::{self, Durability};
use portcullis_net::acme::{
    ACCOUNT_FILE, AcmeSettings, HttpAnswers, KeptCertificate, OrderFailure, Orders, Signed,
    pause_after, renewal_delay,
};
use portcullis_net::tls::{Identity, IdentityError, Problem, TlsServer};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::sleep;
use zeroize::Zeroizing;

/// Longest sleep until the next look at the clock, which may be set anew meanwhile.
const LOOK: Duration = Duration::from_secs(3600);
/// Between two orders, however short the certificates are valid.
const MIN_INTERVAL: Duration = Duration::from_secs(10);

/// Keeps the certificate of `dashboard.tls.acme` valid.
pub(super) struct OrderedCertificate {
    orders: Orders,
    /// Holds the certificate and its key.
    file: PathBuf,
    server: TlsServer,
    /// `None`: there is none yet.
    presented: Option<PresentedCertificate>,
    /// The host of `dashboard.public_url`, which the certificate should be for.
    host: Option<String>,
    metrics: Arc<Metrics>,
}

struct PresentedCertificate {
    identity: Identity,
    /// When another one is ordered, in seconds since the Unix epoch.
    renewal_at: i64,
}

impl OrderedCertificate {
    /// Reads what the home keeps. What cannot be used is ordered anew. `None`: there is no
    /// `dashboard.tls.acme`.
    ///
    /// # Errors
    /// The file of the authorities of client certificates cannot be used.
    pub(super) fn load(
        config: &Config,
        metrics: Arc<Metrics>,
    ) -> Result<Option<Self>, IdentityError> {
        let dashboard = &config.dashboard;
        let Some((tls, settings)) = dashboard.tls.as_ref().zip(dashboard.acme.as_ref()) else {
            return Ok(None);
        };

        let file = tls.certificate.clone();
        let presented = read_kept(&file).map(|kept| PresentedCertificate::kept(kept, settings));
        let server =
            TlsServer::with_challenges(tls, presented.as_ref().map(|kept| &kept.identity))?;

        let account = config.home.join(ACCOUNT_FILE);
        let system = &config.environment.system_roots;
        let orders = Orders::new(settings.clone(), system, account, file.clone());
        let host = dashboard.public_url.as_ref().map(|url| url.host.clone());

        let certificate = Self {
            orders,
            file,
            server,
            presented,
            host,
            metrics,
        };
        certificate.measure();
        certificate.announce();
        Ok(Some(certificate))
    }

    /// What accepts the connections.
    pub(super) fn server(&self) -> TlsServer {
        self.server.clone()
    }

    /// What the listener for plain HTTP answers to the directory.
    pub(super) fn http_answers(&self) -> HttpAnswers {
        self.orders.http_answers()
    }

    /// Orders and renews until `closed` turns true.
    pub(super) async fn run(mut self, mut closed: watch::Receiver<bool>) {
        tokio::select! {
            () = self.keep_valid() => {}
            _ = closed.wait_for(|closed| *closed) => {}
        }
    }

    async fn keep_valid(&mut self) {
        let mut failures = 0;
        loop {
            self.wait_until_due().await;
            match self.renew().await {
                Ok(()) => {
                    failures = 0;
                    sleep(MIN_INTERVAL).await;
                }
                Err(failure) => {
                    failures += 1;
                    let pause = pause_after(failures);
                    self.report(&failure, pause);
                    sleep(pause).await;
                }
            }
        }
    }

    async fn wait_until_due(&self) {
        let Some(presented) = &self.presented else {
            return;
        };
        loop {
            let left = presented
                .renewal_at
                .saturating_sub(Timestamp::now().as_second());
            match u64::try_from(left) {
                Ok(seconds) if seconds > 0 => sleep(Duration::from_secs(seconds).min(LOOK)).await,
                _ => return,
            }
        }
    }

    async fn renew(&mut self) -> Result<(), OrderFailure> {
        // First, so that no certificate is ordered that could not be kept.
        let file = self.file.clone();
        off_thread(&self.file, move || prepare_folder(&file)).await?;
        let Signed { pem, identity } = self.orders.order(&self.server).await?;
        // One of the near future is of a directory whose clock is ahead.
        if let Some(problem @ Problem::Expired { .. }) = identity.problem(None, Timestamp::now()) {
            return Err(OrderFailure::Unusable(problem.to_string()));
        }

        self.present(identity);
        // What is presented stays so: only a restart would order anew.
        if let Err(error) = self.keep(pem).await {
            tracing::error!(%error, "the new certificate is presented, but is not kept for the next start");
        }

        Ok(())
    }

    fn present(&mut self, identity: Identity) {
        self.server.present(&identity);
        let what = if self.presented.is_some() {
            "renewed"
        } else {
            "obtained"
        };
        tracing::info!(
            directory = self.orders.settings().directory.as_str(),
            domains = self.orders.settings().domains.join(","),
            expires_at = %identity.expires_at(),
            "certificate {what}"
        );
        self.presented = Some(PresentedCertificate::signed(identity, Timestamp::now()));
        self.measure();

        self.complain();
    }

    async fn keep(&self, pem: Zeroizing<String>) -> Result<(), OrderFailure> {
        let file = self.file.clone();
        let write = move || atomic_file::replace(&file, pem.as_bytes(), Durability::Synced);
        off_thread(&self.file, write).await
    }

    fn measure(&self) {
        if let Some(PresentedCertificate { identity, .. }) = &self.presented {
            self.metrics
                .certificate_expires(identity.expires_at().as_duration().as_secs_f64());
        }
    }

    /// Logs what the dashboard starts with.
    fn announce(&self) {
        let AcmeSettings {
            directory, domains, ..
        } = self.orders.settings();
        let (directory, domains) = (directory.as_str(), domains.join(","));

        match &self.presented {
            None => tracing::warn!(
                directory,
                domains,
                "there is no certificate yet: one is being ordered, and until it is signed no TLS handshake succeeds, not even \
                 for /healthz"
            ),
            Some(PresentedCertificate { identity, .. }) => tracing::info!(
                directory,
                domains,
                expires_at = %identity.expires_at(),
                "the certificate that the home keeps is presented"
            ),
        }
        self.complain();
    }

    /// Logs what is wrong with the certificate that is presented.
    fn complain(&self) {
        let identity = self.presented.as_ref().map(|presented| &presented.identity);
        let problem =
            identity.and_then(|identity| identity.problem(self.host.as_deref(), Timestamp::now()));
        if let Some(problem) = problem {
            tracing::error!(%problem, "browsers refuse the certificate");
        }
    }

    fn report(&self, error: &OrderFailure, pause: Duration) {
        let retry_in_seconds = pause.as_secs();
        match &self.presented {
            None => tracing::error!(
                %error,
                retry_in_seconds,
                "no certificate was obtained, so no TLS handshake succeeds"
            ),
            Some(PresentedCertificate { identity, .. }) => tracing::error!(
                %error,
                retry_in_seconds,
                expires_at = %identity.expires_at(),
                "the certificate is not renewed: the present one stays"
            ),
        }
    }
}

impl PresentedCertificate {
    /// A certificate that the home kept. One that is not as the settings ask for is due at once.
    fn kept(kept: KeptCertificate, settings: &AcmeSettings) -> Self {
        let is_as_ordered = kept.is_as_ordered_by(settings);
        let presented = Self::ordered(kept.identity);
        if is_as_ordered {
            presented
        } else {
            Self {
                renewal_at: i64::MIN,
                ..presented
            }
        }
    }

    /// A certificate that was signed just now. It is renewed at the earliest when half of the time
    /// that is left by now is over: one that is dated back would otherwise be due at once, and each
    /// that follows as well.
    fn signed(identity: Identity, now: Timestamp) -> Self {
        let presented = Self::ordered(identity);
        let left = presented
            .identity
            .expires_at()
            .as_second()
            .saturating_sub(now.as_second());
        let earliest = now.as_second().saturating_add(left / 2);
        Self {
            renewal_at: presented.renewal_at.max(earliest),
            ..presented
        }
    }

    fn ordered(identity: Identity) -> Self {
        let due_at = identity.renewal_due_at().as_second();
        // A third of the lifetime is left then.
        let left = u64::try_from(identity.expires_at().as_second().saturating_sub(due_at))
            .unwrap_or_default();
        let delay = renewal_delay(Duration::from_secs(left.saturating_mul(3)));
        let renewal_at = due_at.saturating_add(i64::try_from(delay.as_secs()).unwrap_or_default());
        Self {
            identity,
            renewal_at,
        }
    }
}

/// `None`: there is none, or none that can be used, which the log says.
fn read_kept(file: &Path) -> Option<KeptCertificate> {
    let read = KeptCertificate::read(file);
    read.inspect_err(
        |error| tracing::error!(%error, "the certificate that the home keeps cannot be used"),
    )
    .ok()
    .flatten()
}

/// Makes the folder of a file, and tries whether a file can be made in it.
fn prepare_folder(file: &Path) -> io::Result<()> {
    let folder = file.parent().unwrap_or(Path::new("."));
    atomic_file::make_folder(folder)?;
    atomic_file::sweep(file);
    tempfile::tempfile_in(folder).map(drop)
}

async fn off_thread(
    file: &Path,
    task: impl FnOnce() -> io::Result<()> + Send + 'static,
) -> Result<(), OrderFailure> {
    let done = tokio::task::spawn_blocking(task)
        .await
        .unwrap_or_else(|error| Err(io::Error::other(error)));
    done.map_err(|error| OrderFailure::File {
        path: file.to_owned(),
        cause: format!("cannot be written: {error}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use portcullis_net::acme::{Challenge, DirectoryUrl};
    use std::fs;

    const DIRECTORY: &str = "https://ca.example/directory";

    #[test]
    fn certificate_that_is_due_when_it_is_signed_is_not_ordered_again_at_once() {
        let (_home, file) = home_with("good.pem");
        let identity = read_kept(&file).unwrap().identity;
        let a_day_before = identity.expires_at().as_second() - 86_400;
        let now = Timestamp::from_second(a_day_before).unwrap();
        assert_eq!(
            PresentedCertificate::signed(identity, now).renewal_at,
            a_day_before + 43_200
        );
    }

    fn home_with(certificate: &str) -> (tempfile::TempDir, PathBuf) {
        let fixture = |name: &str| {
            fs::read_to_string(
                Path::new(env!("CARGO_MANIFEST_DIR"))
                    .join("../../tests/certificates")
                    .join(name),
            )
            .unwrap()
        };
        let home = tempfile::tempdir().unwrap();
        let file = home.path().join("certificate.pem");
        let key = fixture("server.key");
        fs::write(
            &file,
            format!("Directory: {DIRECTORY}\n{key}{}", fixture(certificate)),
        )
        .unwrap();
        (home, file)
    }

    fn settings(domain: &str) -> AcmeSettings {
        AcmeSettings {
            domains: vec![domain.to_owned()],
            contact: Vec::new(),
            directory: DirectoryUrl::parse(DIRECTORY).unwrap(),
            ca: None,
            challenge: Challenge::default(),
            external_account: None,
        }
    }

    #[test]
    fn kept_certificate_is_due_at_a_third_or_at_once_if_it_is_not_what_the_settings_ask_for() {
        let (_home, file) = home_with("good.pem");
        let renewal_at = |domain: &str| {
            PresentedCertificate::kept(read_kept(&file).unwrap(), &settings(domain)).renewal_at
        };
        let due_at = "2090-08-31T16:00:00Z"
            .parse::<Timestamp>()
            .unwrap()
            .as_second();
        let latest = "2092-07-01T00:00:00Z"
            .parse::<Timestamp>()
            .unwrap()
            .as_second();
        assert!((due_at..latest).contains(&renewal_at("localhost")));
        assert_eq!(renewal_at("other.example"), i64::MIN);

        let (_home, file) = home_with("expired.pem");
        let expired = PresentedCertificate::kept(read_kept(&file).unwrap(), &settings("localhost"));
        assert!(expired.renewal_at < Timestamp::now().as_second());
    }

    #[test]
    fn file_that_cannot_be_used_counts_as_none() {
        let (_home, file) = home_with("good.pem");
        fs::write(&file, "damaged").unwrap();
        assert!(read_kept(&file).is_none());
        assert!(read_kept(&file.with_extension("missing")).is_none());
    }

    #[test]
    fn folder_is_made_for_its_owner_alone() {
        use std::os::unix::fs::PermissionsExt;
        let home = tempfile::tempdir().unwrap();
        let file = home.path().join("acme/certificate.pem");
        prepare_folder(&file).unwrap();
        let folder = file.parent().unwrap();
        assert_eq!(
            fs::metadata(folder).unwrap().permissions().mode() & 0o777,
            0o700
        );
        assert_eq!(fs::read_dir(folder).unwrap().count(), 0);
        fs::write(home.path().join("other"), "").unwrap();
        assert!(prepare_folder(&home.path().join("other/certificate.pem")).is_err());
    }
}
