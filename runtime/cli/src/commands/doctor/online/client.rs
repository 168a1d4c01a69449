//! Requests to an issuer, within what the provider that asks it was granted.
//!
//! **Invariant:** no redirect is followed and no proxy is used, and every request is bounded in
//! time and size.

use crate::commands::tls_failure::TlsFailure;
use portcullis_net::trust::Authorities;
use portcullis_sandbox::{HttpGrant, Origin, address_not_granted};
use rustls::pki_types::CertificateDer;
use serde_json::Value;
use std::net::{IpAddr, ToSocketAddrs};
use std::time::Duration;
use ureq::http::{Response, Uri};
use ureq::tls::{Certificate, RootCerts, TlsConfig};
use ureq::{Agent, Body};

/// Longest time that one request may take.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Largest answer that is read, as for a provider.
const MAX_ANSWER_BYTES: u64 = 1024 * 1024;

/// An answer with any status.
pub(super) struct HttpAnswer {
    pub(super) status: u16,
    /// Null if it is not JSON.
    pub(super) body: Value,
}

/// Asks what a provider may ask.
pub(super) struct GrantedClient<'a> {
    grants: &'a [HttpGrant],
    /// The system's certificate authorities, where a grant names none.
    system: &'a [CertificateDer<'static>],
}

impl<'a> GrantedClient<'a> {
    pub(super) fn new(grants: &'a [HttpGrant], system: &'a [CertificateDer<'static>]) -> Self {
        Self { grants, system }
    }

    /// The grant by which the provider may call this address.
    ///
    /// # Errors
    /// There is none, or the text is no address.
    pub(super) fn grant_of(&self, url: &str) -> Result<&'a HttpGrant, String> {
        let uri = url
            .parse::<Uri>()
            .map_err(|error| format!("{url} is no address: {error}"))?;
        let origin = Origin::of(&uri).ok_or_else(|| format!("{url} is no http(s) address"))?;
        let grant = self.grants.iter().find(|grant| grant.origin == origin);
        grant.ok_or_else(|| format!("{origin} is not in `grants.http`"))
    }

    /// # Errors
    /// There is no grant or no answer in time.
    pub(super) fn get(&self, url: &str) -> Result<HttpAnswer, String> {
        let grant = self.allowed(url)?;
        let request = self
            .agent(grant)
            .get(url)
            .header("Accept", "application/json");
        let headers = grant.headers.iter();
        let request = headers.fold(request, |request, (name, value)| {
            request.header(name, value)
        });
        read(request.call())
    }

    /// # Errors
    /// As [`Self::get`].
    pub(super) fn post(
        &self,
        url: &str,
        form: &[(&str, &str)],
        authorization: Option<&str>,
    ) -> Result<HttpAnswer, String> {
        let grant = self.allowed(url)?;
        let body: String = form_urlencoded::Serializer::new(String::new())
            .extend_pairs(form)
            .finish();
        let request = self
            .agent(grant)
            .post(url)
            .header("Accept", "application/json")
            .header("Content-Type", "application/x-www-form-urlencoded");
        let headers = grant.headers.iter();
        let mut request = headers.fold(request, |request, (name, value)| {
            request.header(name, value)
        });

        if let Some(authorization) = authorization {
            request = request.header("Authorization", authorization);
        }

        read(request.send(body))
    }

    /// The grant of an address whose name leads where the provider may go.
    fn allowed(&self, url: &str) -> Result<&'a HttpGrant, String> {
        let grant = self.grant_of(url)?;
        let uri = url
            .parse::<Uri>()
            .map_err(|error| format!("{url} is no address: {error}"))?;
        let host = uri.host().unwrap_or_default();

        let is_address = host.trim_matches(['[', ']']).parse::<IpAddr>().is_ok();
        if is_address {
            return Ok(grant);
        }

        let found = (host, 0)
            .to_socket_addrs()
            .map_err(|error| format!("{host} has no address: {error}"))?;
        match address_not_granted(self.grants, host, &found.collect::<Vec<_>>()) {
            Some(address) => Err(format!(
                "{host} leads to {address}, which is not public: list it in grants.http[].networks if it may"
            )),
            None => Ok(grant),
        }
    }

    fn agent(&self, grant: &HttpGrant) -> Agent {
        let trusted = grant
            .ca
            .as_ref()
            .map_or(self.system, Authorities::certificates);
        let certificates = trusted
            .iter()
            .map(|certificate| Certificate::from_der(certificate).to_owned());
        // A system without a bundle, such as an empty container image, has Mozilla's authorities,
        // which are compiled in.
        let roots = if trusted.is_empty() {
            RootCerts::WebPki
        } else {
            RootCerts::from(certificates)
        };

        Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .proxy(None)
            .timeout_global(Some(TIMEOUT))
            .tls_config(TlsConfig::builder().root_certs(roots).build())
            .build()
            .into()
    }
}

fn read(response: Result<Response<Body>, ureq::Error>) -> Result<HttpAnswer, String> {
    let mut response = response.map_err(|error| described(&error))?;
    let status = response.status().as_u16();
    let limited = response
        .body_mut()
        .with_config()
        .limit(MAX_ANSWER_BYTES + 1);
    let bytes = limited.read_to_vec().map_err(|error| described(&error))?;
    Ok(HttpAnswer {
        status,
        body: serde_json::from_slice(&bytes).unwrap_or_default(),
    })
}

fn described(error: &ureq::Error) -> String {
    match error {
        ureq::Error::Timeout(_) => format!("no answer within {} seconds", TIMEOUT.as_secs()),
        ureq::Error::BodyExceedsLimit(_) => {
            format!("the answer has more than {MAX_ANSWER_BYTES} bytes")
        }
        error => match TlsFailure::of(error) {
            Some(TlsFailure {
                text,
                is_unknown_issuer: true,
            }) => {
                format!("{text} (grants.http[].ca names the authority that signed its certificate)")
            }
            Some(TlsFailure { text, .. }) => text,
            None => error.to_string(),
        },
    }
}
