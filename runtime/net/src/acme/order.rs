use super::challenge::ChallengeAnswers;
use super::client::DirectoryClient;
use super::failure::{OrderFailure, describe, is_account_unknown};
use super::http_answers::HttpAnswers;
use super::kept::compose;
use super::settings::{AcmeSettings, Challenge};
use super::{account, failure};
use crate::tls::{Identity, TlsServer};
use crate::trust::SystemRoots;
use futures_util::FutureExt;
use instant_acme::{
    Account, AuthorizationStatus, Error, Identifier, NewOrder, Order, OrderStatus, RetryPolicy,
};
use rcgen::{CertificateParams, DistinguishedName, KeyPair};
use std::panic::AssertUnwindSafe;
use std::path::PathBuf;
use std::time::Duration;
use zeroize::Zeroizing;

/// How long a whole order may take.
const ORDER_TIMEOUT: Duration = Duration::from_secs(300);
/// How long the directory may take to look at the answers to its challenges, and then to sign.
const DECISION_TIMEOUT: Duration = Duration::from_secs(120);

/// Orders certificates as the settings ask for.
pub struct Orders {
    client: DirectoryClient,
    settings: AcmeSettings,
    account_file: PathBuf,
    certificate_file: PathBuf,
    http: HttpAnswers,
}

/// A certificate that was signed, with its key.
pub struct Signed {
    /// What the certificate file holds from now on.
    pub pem: Zeroizing<String>,
    /// The same, to be presented.
    pub identity: Identity,
}

impl Orders {
    /// Reads the system's authorities if the settings name none, and blocks meanwhile. The account
    /// is kept in `account_file`; `certificate_file` is where the caller keeps what is signed.
    pub fn new(
        settings: AcmeSettings,
        system: &SystemRoots,
        account_file: PathBuf,
        certificate_file: PathBuf,
    ) -> Self {
        let client = DirectoryClient::new(&settings, system);
        Self {
            client,
            settings,
            account_file,
            certificate_file,
            http: HttpAnswers::default(),
        }
    }

    /// What must be answered over plain HTTP at port 80 for HTTP-01.
    pub fn http_answers(&self) -> HttpAnswers {
        self.http.clone()
    }

    /// The settings.
    pub fn settings(&self) -> &AcmeSettings {
        &self.settings
    }

    /// Orders one certificate, with a new key. `server` answers the challenges meanwhile. Takes at
    /// most five minutes.
    ///
    /// # Errors
    /// There is no certificate, or it is not for each of the domains. Its dates are not judged.
    pub async fn order(&self, server: &TlsServer) -> Result<Signed, OrderFailure> {
        // `self` is only read. A panic in a crate that reads the answers must not end the renewals.
        let attempt = AssertUnwindSafe(self.attempt(server)).catch_unwind();
        match tokio::time::timeout(ORDER_TIMEOUT, attempt).await {
            Ok(Ok(ordered)) => ordered,
            Ok(Err(_)) => Err(OrderFailure::Panic),
            Err(_) => Err(OrderFailure::TooSlow(ORDER_TIMEOUT.as_secs())),
        }
    }

    async fn attempt(&self, server: &TlsServer) -> Result<Signed, OrderFailure> {
        let account = account::open(&self.client, &self.settings, &self.account_file).await?;
        let mut order = self.begin(&account).await?;
        self.prove(&mut order, server).await?;

        let key = KeyPair::generate().map_err(OrderFailure::key)?;
        let mut parameters =
            CertificateParams::new(self.settings.domains.clone()).map_err(OrderFailure::key)?;
        parameters.distinguished_name = DistinguishedName::new();
        let request = parameters
            .serialize_request(&key)
            .map_err(OrderFailure::key)?;
        let refused = |error: Error| self.failure(&error, "the request for the certificate");
        order.finalize_csr(request.der()).await.map_err(refused)?;
        let refused = |error: Error| self.failure(&error, "the certificate");
        let chain = order.poll_certificate(&patience()).await.map_err(refused)?;
        self.accept(&Zeroizing::new(key.serialize_pem()), &chain)
    }

    /// Begins an order. A directory that has lost the account gets a new one.
    async fn begin(&self, account: &Account) -> Result<Order, OrderFailure> {
        let domains: Vec<_> = self
            .settings
            .domains
            .iter()
            .cloned()
            .map(Identifier::Dns)
            .collect();

        let wanted = NewOrder::new(&domains);
        let begun = match account.new_order(&wanted).await {
            Err(error) if is_account_unknown(&error) => {
                let account =
                    account::register(&self.client, &self.settings, &self.account_file).await?;
                account.new_order(&wanted).await
            }
            begun => begun,
        };

        begun.map_err(|error| self.failure(&error, "the order"))
    }

    /// Answers the challenges of an order, and waits for the directory's decision.
    async fn prove(&self, order: &mut Order, server: &TlsServer) -> Result<(), OrderFailure> {
        let answers = ChallengeAnswers::new(server, &self.http);
        self.answer(order, &answers).await?;
        let refused = match order.poll_ready(&patience()).await {
            Ok(OrderStatus::Ready) => return Ok(()),
            Ok(_) => OrderFailure::Refused {
                what: "the order",
                problem: "it gives no reason".to_owned(),
            },
            Err(error) => self.failure(&error, "the order"),
        };

        // An order that failed does not say why: the authorization of the domain does.
        Err(why_not_verified(order, self.settings.challenge)
            .await
            .unwrap_or(refused))
    }

    async fn answer(
        &self,
        order: &mut Order,
        answers: &ChallengeAnswers<'_>,
    ) -> Result<(), OrderFailure> {
        let refused = |error: Error| self.failure(&error, "the challenge");
        let mut authorizations = order.authorizations();
        while let Some(authorization) = authorizations.next().await {
            let mut authorization = authorization.map_err(refused)?;
            let domain = authorization.identifier().to_string();
            match authorization.status {
                AuthorizationStatus::Valid => continue,
                AuthorizationStatus::Pending if self.settings.domains.contains(&domain) => {}
                status => {
                    let what = "the authorization of a domain";
                    let problem = format!("{}: {status:?}", failure::shown(&domain));
                    return Err(OrderFailure::Refused { what, problem });
                }
            }

            let kind = self.settings.challenge;
            let Some(mut challenge) = authorization.challenge(kind.kind()) else {
                return Err(OrderFailure::NoChallenge {
                    domain,
                    challenge: kind,
                });
            };
            answers.add(&domain, kind, &challenge)?;
            challenge.set_ready().await.map_err(refused)?;
        }
        Ok(())
    }

    /// Checks that the certificate is the one that was ordered.
    fn accept(&self, key: &str, chain: &str) -> Result<Signed, OrderFailure> {
        let pem = compose(&self.settings.directory, key, chain);
        let identity = Identity::parse(pem.as_bytes(), &self.certificate_file)
            .map_err(|error| OrderFailure::Unusable(error.to_string()))?;
        match self
            .settings
            .domains
            .iter()
            .find(|domain| !identity.is_for(domain))
        {
            Some(domain) => Err(OrderFailure::Unusable(format!("it is not for {domain}"))),
            None => Ok(Signed { pem, identity }),
        }
    }

    fn failure(&self, error: &Error, what: &'static str) -> OrderFailure {
        OrderFailure::of(error, what, &self.settings.directory)
    }
}

/// `None`: the directory gives no reason for any domain.
async fn why_not_verified(order: &mut Order, challenge: Challenge) -> Option<OrderFailure> {
    let mut authorizations = order.authorizations();
    while let Some(Ok(mut authorization)) = authorizations.next().await {
        let Ok(state) = authorization.refresh().await else {
            continue;
        };
        let problem = state
            .challenges
            .iter()
            .find_map(|challenge| challenge.error.as_ref());
        if let Some(problem) = problem {
            let domain = failure::shown(&state.identifier().to_string());
            return Some(OrderFailure::NotVerified {
                domain,
                challenge,
                problem: describe(problem),
            });
        }
    }

    None
}

fn patience() -> RetryPolicy {
    RetryPolicy::new().timeout(DECISION_TIMEOUT)
}
