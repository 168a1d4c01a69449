use super::{Identity, IdentityError, MinVersion, TlsSettings};
use crate::trust::Authorities;
use arc_swap::ArcSwapOption;
use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls::version::TLS13;
use rustls::{ALL_VERSIONS, Error, ServerConfig, SupportedProtocolVersion};
use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::{Accept, TlsAcceptor};

/// The protocols above TLS, the preferred one first.
const PROTOCOLS: [&[u8]; 2] = [b"h2", b"http/1.1"];
/// The protocol by which an ACME directory looks at the answer to a challenge (RFC 8737 section
/// 6.2). Nothing is said in it: the certificate of the handshake is the answer.
pub(crate) const CHALLENGE_PROTOCOL: &[u8] = b"acme-tls/1";
static TLS13_ALONE: [&SupportedProtocolVersion; 1] = [&TLS13];

/// TLS for the connections of a listener. Clones share the certificate.
#[derive(Clone)]
pub struct TlsServer {
    acceptor: TlsAcceptor,
    presented: Arc<Presented>,
}

/// What handshakes present from now on.
struct Presented {
    /// `None`: there is no certificate yet, and handshakes fail.
    certificate: ArcSwapOption<CertifiedKey>,
    /// The answers to challenges, by domain in lower case.
    challenges: Mutex<BTreeMap<String, Arc<CertifiedKey>>>,
}

impl Presented {
    fn challenges(&self) -> MutexGuard<'_, BTreeMap<String, Arc<CertifiedKey>>> {
        self.challenges
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn answer_to(&self, hello: &ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        if !asks_for_challenge(hello) {
            return None;
        }
        let domain = hello.server_name()?.to_ascii_lowercase();
        self.challenges().get(&domain).cloned()
    }
}

/// Returns whether the client offers the protocol of challenges and no other (RFC 8737 section 3).
fn asks_for_challenge(hello: &ClientHello<'_>) -> bool {
    let Some(mut offered) = hello.alpn() else {
        return false;
    };
    offered.next() == Some(CHALLENGE_PROTOCOL) && offered.next().is_none()
}

impl fmt::Debug for Presented {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Presented")
    }
}

impl ResolvesServerCert for Presented {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.answer_to(&hello)
            .or_else(|| self.certificate.load_full())
    }
}

impl TlsServer {
    /// Begins with this identity. Clients may present a certificate if the settings name the
    /// authorities for it.
    ///
    /// # Errors
    /// The file of authorities cannot be used.
    pub fn new(settings: &TlsSettings, identity: &Identity) -> Result<Self, IdentityError> {
        Self::build(settings, Some(identity), &PROTOCOLS)
    }

    /// Begins with this identity, or with none: handshakes then fail until one is presented.
    /// Answers the challenges of an ACME directory.
    ///
    /// # Errors
    /// The file of authorities cannot be used.
    pub fn with_challenges(
        settings: &TlsSettings,
        identity: Option<&Identity>,
    ) -> Result<Self, IdentityError> {
        let [first, second] = PROTOCOLS;
        Self::build(settings, identity, &[first, second, CHALLENGE_PROTOCOL])
    }

    fn build(
        settings: &TlsSettings,
        identity: Option<&Identity>,
        protocols: &[&[u8]],
    ) -> Result<Self, IdentityError> {
        let provider = Arc::new(ring::default_provider());
        let versions = match settings.min_version {
            MinVersion::Tls12 => ALL_VERSIONS,
            MinVersion::Tls13 => TLS13_ALONE.as_slice(),
        };
        let builder = ServerConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(versions)
            .expect("ring has cipher suites for both versions");

        let builder = match &settings.client_ca {
            None => builder.with_no_client_auth(),
            Some(path) => {
                let authorities = Arc::new(read_authorities(path)?.store());
                let verifier = WebPkiClientVerifier::builder_with_provider(authorities, provider)
                    .allow_unauthenticated()
                    .build()
                    .expect("there are authorities, and no revocation lists");
                builder.with_client_cert_verifier(verifier)
            }
        };

        let presented = Arc::new(Presented {
            certificate: ArcSwapOption::new(identity.map(|identity| identity.certified.clone())),
            challenges: Mutex::default(),
        });
        let mut config = builder.with_cert_resolver(presented.clone());
        config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
        Ok(Self {
            acceptor: TlsAcceptor::from(Arc::new(config)),
            presented,
        })
    }

    /// Presents another identity from the next handshake on. Open connections keep theirs.
    pub fn present(&self, identity: &Identity) {
        self.presented
            .certificate
            .store(Some(identity.certified.clone()));
    }

    /// Answers the challenge for a domain with this certificate, until
    /// [`end_challenges`](Self::end_challenges). A second answer for the domain takes the place of
    /// the first.
    ///
    /// # Errors
    /// The key is of no kind that can be used.
    pub(crate) fn answer_challenge(
        &self,
        domain: &str,
        certificate: CertificateDer<'static>,
        key: PrivateKeyDer<'static>,
    ) -> Result<(), Error> {
        // Not compared with each other: rustls cannot read a certificate with the critical
        // extension that the answer has.
        let key = ring::default_provider()
            .key_provider
            .load_private_key(key)?;
        let certified = CertifiedKey::new(vec![certificate], key);
        self.presented
            .challenges()
            .insert(domain.to_ascii_lowercase(), Arc::new(certified));

        Ok(())
    }

    /// Answers no challenge from now on.
    pub(crate) fn end_challenges(&self) {
        self.presented.challenges().clear();
    }

    /// Begins the handshake of a connection. It has no time limit of its own.
    pub(crate) fn accept<IO: AsyncRead + AsyncWrite + Unpin>(&self, stream: IO) -> Accept<IO> {
        self.acceptor.accept(stream)
    }
}

fn read_authorities(path: &Path) -> Result<Authorities, IdentityError> {
    Authorities::read(path).map_err(|cause| IdentityError::Certificates {
        path: path.to_owned(),
        cause,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
    use rustls::pki_types::pem::PemObject;
    use rustls::pki_types::{ServerName, UnixTime};
    use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};
    use std::path::PathBuf;
    use tokio_rustls::TlsConnector;

    /// A client that takes every certificate: the tests compare what they see.
    #[derive(Debug)]
    struct TakesEveryCertificate;

    impl ServerCertVerifier for TakesEveryCertificate {
        fn verify_server_cert(
            &self,
            _: &CertificateDer<'_>,
            _: &[CertificateDer<'_>],
            _: &ServerName<'_>,
            _: &[u8],
            _: UnixTime,
        ) -> Result<ServerCertVerified, Error> {
            Ok(ServerCertVerified::assertion())
        }

        fn verify_tls12_signature(
            &self,
            _: &[u8],
            _: &CertificateDer<'_>,
            _: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            Ok(HandshakeSignatureValid::assertion())
        }

        fn verify_tls13_signature(
            &self,
            _: &[u8],
            _: &CertificateDer<'_>,
            _: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            Ok(HandshakeSignatureValid::assertion())
        }

        fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
            ring::default_provider()
                .signature_verification_algorithms
                .supported_schemes()
        }
    }

    fn fixture(name: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../../tests/certificates")
            .join(name)
    }

    fn certificate(name: &str) -> CertificateDer<'static> {
        CertificateDer::from_pem_file(fixture(name)).unwrap()
    }

    fn settings() -> TlsSettings {
        TlsSettings {
            certificate: fixture("good.pem"),
            key: fixture("server.key"),
            client_ca: None,
            min_version: MinVersion::default(),
        }
    }

    /// What a client sees that offers these protocols. `None`: the handshake fails.
    async fn seen(
        server: &TlsServer,
        name: &str,
        protocols: &[&[u8]],
    ) -> Option<CertificateDer<'static>> {
        let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(TakesEveryCertificate))
            .with_no_client_auth();
        config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
        let (near, far) = tokio::io::duplex(64 * 1024);
        let name = ServerName::try_from(name.to_owned()).unwrap();
        let client = TlsConnector::from(Arc::new(config)).connect(name, far);
        let (_, client) = tokio::join!(server.accept(near), client);
        let client = client.ok()?;
        client
            .get_ref()
            .1
            .peer_certificates()?
            .first()
            .map(|first| first.clone().into_owned())
    }

    #[tokio::test]
    async fn answer_to_a_challenge_is_for_those_that_ask_for_it_alone() {
        let domain = "agent.example.com";
        let (usual, challenge): ([&[u8]; 1], [&[u8]; 1]) = ([b"h2"], [CHALLENGE_PROTOCOL]);
        let server = TlsServer::with_challenges(&settings(), None).unwrap();
        assert_eq!(
            seen(&server, domain, &usual).await,
            None,
            "there is no certificate"
        );
        assert_eq!(seen(&server, domain, &challenge).await, None);

        let key = PrivateKeyDer::from_pem_file(fixture("server.key")).unwrap();
        let answer = certificate("renewed.pem");
        server
            .answer_challenge("Agent.example.com", answer.clone(), key)
            .unwrap();
        assert_eq!(
            seen(&server, domain, &challenge).await,
            Some(answer.clone())
        );
        assert_eq!(
            seen(&server, domain, &usual).await,
            None,
            "an answer is no certificate of the dashboard"
        );
        assert_eq!(
            seen(&server, domain, &[CHALLENGE_PROTOCOL, b"h2"]).await,
            None
        );
        assert_eq!(seen(&server, "other.example.com", &challenge).await, None);

        server.present(&Identity::read(&settings()).unwrap());
        let good = certificate("good.pem");
        assert_eq!(seen(&server, domain, &usual).await, Some(good.clone()));
        assert_eq!(seen(&server, domain, &[]).await, Some(good.clone()));
        assert_eq!(seen(&server, domain, &challenge).await, Some(answer));
        server.end_challenges();
        assert_eq!(seen(&server, domain, &challenge).await, Some(good));
    }

    #[tokio::test]
    async fn challenges_are_unknown_where_the_operator_gives_the_certificate() {
        let server = TlsServer::new(&settings(), &Identity::read(&settings()).unwrap()).unwrap();
        assert!(seen(&server, "localhost", &[b"http/1.1"]).await.is_some());
        assert_eq!(
            seen(&server, "localhost", &[CHALLENGE_PROTOCOL]).await,
            None
        );
    }
}
