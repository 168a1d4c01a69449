use super::failure::OrderFailure;
use super::http_answers::HttpAnswers;
use super::settings::Challenge;
use crate::tls::TlsServer;
use instant_acme::ChallengeHandle;
use rcgen::{CertificateParams, CustomExtension, KeyPair};
use rustls::pki_types::PrivatePkcs8KeyDer;

/// The answers to the challenges of one order. They end when this is dropped.
pub(super) struct ChallengeAnswers<'a> {
    tls: &'a TlsServer,
    http: &'a HttpAnswers,
}

impl<'a> ChallengeAnswers<'a> {
    pub(super) fn new(tls: &'a TlsServer, http: &'a HttpAnswers) -> Self {
        Self { tls, http }
    }

    /// Answers a challenge of this kind for a domain.
    pub(super) fn add(
        &self,
        domain: &str,
        kind: Challenge,
        challenge: &ChallengeHandle<'_>,
    ) -> Result<(), OrderFailure> {
        let authorization = challenge.key_authorization();
        match kind {
            Challenge::TlsAlpn01 => self.add_certificate(domain, authorization.digest().as_ref()),
            Challenge::Http01 => {
                self.http.add(&challenge.token, authorization.as_str());
                Ok(())
            }
        }
    }

    /// Answers the challenge for a domain: a certificate for it alone, with the digest of the key
    /// authorization in an extension (RFC 8737 section 3). The digest is SHA-256.
    fn add_certificate(&self, domain: &str, digest: &[u8]) -> Result<(), OrderFailure> {
        let mut parameters =
            CertificateParams::new([domain.to_owned()]).map_err(OrderFailure::key)?;
        parameters.custom_extensions = vec![CustomExtension::new_acme_identifier(digest)];
        let key = KeyPair::generate().map_err(OrderFailure::key)?;
        let certificate = parameters.self_signed(&key).map_err(OrderFailure::key)?;
        let key = PrivatePkcs8KeyDer::from(key.serialize_der());
        self.tls
            .answer_challenge(domain, certificate.der().clone(), key.into())
            .map_err(OrderFailure::key)
    }
}

impl Drop for ChallengeAnswers<'_> {
    fn drop(&mut self) {
        self.tls.end_challenges();
        self.http.end();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tls::{MinVersion, TlsSettings};

    fn settings() -> TlsSettings {
        TlsSettings {
            certificate: "none".into(),
            key: "none".into(),
            client_ca: None,
            min_version: MinVersion::default(),
        }
    }

    #[test]
    fn answer_can_be_presented_although_its_extension_is_critical() {
        let server = TlsServer::with_challenges(&settings(), None).unwrap();
        let http = HttpAnswers::default();
        let answers = ChallengeAnswers::new(&server, &http);
        assert!(
            answers
                .add_certificate("agent.example.com", &[7; 32])
                .is_ok()
        );
    }

    #[test]
    fn answers_over_http_end_with_the_order() {
        let server = TlsServer::with_challenges(&settings(), None).unwrap();
        let http = HttpAnswers::default();
        let answers = ChallengeAnswers::new(&server, &http);
        http.add("token", "token.key");
        assert_eq!(http.to("token").as_deref(), Some("token.key"));
        assert_eq!(http.to("another"), None);

        drop(answers);
        assert_eq!(http.to("token"), None);
    }
}
