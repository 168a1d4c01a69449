use super::{Identity, IdentityError, MinVersion, TlsSettings};
use crate::trust::Authorities;
use arc_swap::ArcSwap;
use rustls::crypto::ring;
use rustls::server::{ClientHello, ResolvesServerCert, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls::version::TLS13;
use rustls::{ALL_VERSIONS, ServerConfig, SupportedProtocolVersion};
use std::fmt;
use std::path::Path;
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::{Accept, TlsAcceptor};

/// The protocols above TLS, the preferred one first.
const PROTOCOLS: [&str; 2] = ["h2", "http/1.1"];
static TLS13_ALONE: [&SupportedProtocolVersion; 1] = [&TLS13];

/// TLS for the connections of a listener. Clones share the certificate.
#[derive(Clone)]
pub struct TlsServer {
    acceptor: TlsAcceptor,
    presented: Arc<Presented>,
}

/// What handshakes present from now on.
struct Presented(ArcSwap<CertifiedKey>);

impl fmt::Debug for Presented {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Presented")
    }
}

impl ResolvesServerCert for Presented {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.load_full())
    }
}

impl TlsServer {
    /// Begins with this identity. Clients may present a certificate if the settings name the authorities for it.
    ///
    /// # Errors
    /// The file of authorities cannot be used.
    pub fn new(settings: &TlsSettings, identity: &Identity) -> Result<Self, IdentityError> {
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
        let presented = Arc::new(Presented(ArcSwap::new(identity.certified.clone())));
        let mut config = builder.with_cert_resolver(presented.clone());
        config.alpn_protocols = PROTOCOLS.map(|name| name.as_bytes().to_vec()).to_vec();
        Ok(Self { acceptor: TlsAcceptor::from(Arc::new(config)), presented })
    }

    /// Presents another identity from the next handshake on. Open connections keep theirs.
    pub fn present(&self, identity: &Identity) {
        self.presented.0.store(identity.certified.clone());
    }

    /// Begins the handshake of a connection. It has no time limit of its own.
    pub(crate) fn accept<IO: AsyncRead + AsyncWrite + Unpin>(&self, stream: IO) -> Accept<IO> {
        self.acceptor.accept(stream)
    }
}

fn read_authorities(path: &Path) -> Result<Authorities, IdentityError> {
    Authorities::read(path).map_err(|cause| IdentityError::Certificates { path: path.to_owned(), cause })
}
