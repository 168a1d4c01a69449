//! Requests to the directory, each bounded in time and in the length of its answer.

use super::failure::shown;
use super::settings::{AcmeSettings, DirectoryUrl};
use crate::tls_error::{cause_in_words, is_unknown_issuer};
use crate::trust::{Authorities, SystemRoots};
use bytes::Bytes;
use http::header::{RETRY_AFTER, USER_AGENT};
use http::response::Parts;
use http::{HeaderValue, Method, Request, StatusCode, Uri};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use instant_acme::{BodyWrapper, BytesResponse, Error, HttpClient};
use rustls::ClientConfig;
use serde::Deserialize;
use serde::de::IgnoredAny;
use std::error::Error as StdError;
use std::iter::successors;
use std::pin::Pin;
use std::time::Duration;

/// How long one answer may take, with its connection.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a connection may take, without its TLS handshake.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest answer, in bytes. A chain of certificates has about 10 KB.
const MAX_ANSWER_BYTES: usize = 256 * 1024;
/// Longest `Retry-After` that is passed on, in seconds.
const MAX_WAIT_SECONDS: u64 = 86_400;
const AGENT: &str = concat!("portcullis/", env!("CARGO_PKG_VERSION"));

/// Sends requests to one directory. Clones share their connections.
#[derive(Clone)]
pub(super) struct DirectoryClient {
    http: Client<HttpsConnector<HttpConnector>, BodyWrapper<Bytes>>,
    directory: DirectoryUrl,
}

/// The part of a directory that `instant-acme` takes on trust: it panics if the address is no URL.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Directory {
    new_nonce: String,
}

/// Why a request has no answer that can be used.
#[derive(Debug, thiserror::Error)]
enum Unanswered {
    #[error("it names {0}, which is not https")]
    OtherAddress(String),
    #[error("no answer within {} s", ANSWER_TIMEOUT.as_secs())]
    Slow,
    #[error("{0}")]
    NotSent(String),
    #[error(
        "its certificate is signed by no authority that is trusted: dashboard.tls.acme.ca names another one"
    )]
    UnknownAuthority,
    #[error("its answer is longer than {} KiB", MAX_ANSWER_BYTES / 1024)]
    TooLong,
    #[error("its answer broke off: {0}")]
    CutOff(String),
    #[error("it answered {0}, and redirects are not followed")]
    Redirect(StatusCode),
    #[error("it answered {0} without a reason")]
    NoReason(StatusCode),
}

impl DirectoryClient {
    /// Reads the system's authorities if the settings name none, and blocks meanwhile.
    pub(super) fn new(settings: &AcmeSettings, system: &SystemRoots) -> Self {
        let roots = settings
            .ca
            .as_ref()
            .map_or_else(|| system.public_store(), Authorities::store);
        let tls = ClientConfig::builder()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_connect_timeout(Some(CONNECT_TIMEOUT));
        let builder = HttpsConnectorBuilder::new()
            .with_tls_config(tls)
            .https_or_http()
            .enable_http1();
        let http = Client::builder(TokioExecutor::new()).build(builder.wrap_connector(tcp));

        Self {
            http,
            directory: settings.directory.clone(),
        }
    }

    async fn ask(
        self,
        mut request: Request<BodyWrapper<Bytes>>,
    ) -> Result<BytesResponse, Unanswered> {
        if !self.directory.may_lead_to(request.uri()) {
            return Err(Unanswered::OtherAddress(shown(&request.uri().to_string())));
        }
        request
            .headers_mut()
            .insert(USER_AGENT, HeaderValue::from_static(AGENT));
        // Only the directory itself is asked for so (RFC 8555 section 6.3).
        let is_for_directory = request.method() == Method::GET;
        let directory = self.directory.clone();
        let answer = tokio::time::timeout(ANSWER_TIMEOUT, self.fetch(request)).await;
        let (mut parts, body) = answer.map_err(|_| Unanswered::Slow)??;

        let status = parts.status;
        if status.is_redirection() {
            return Err(Unanswered::Redirect(status));
        }
        let is_failure = status.is_client_error() || status.is_server_error();
        // A proxy in front of the directory answers in HTML.
        if is_failure && serde_json::from_slice::<IgnoredAny>(&body).is_err() {
            return Err(Unanswered::NoReason(status));
        }
        if is_for_directory && let Some(address) = wrong_address(&body, &directory) {
            return Err(Unanswered::OtherAddress(shown(&address)));
        }
        bound_wait(&mut parts);
        Ok(BytesResponse {
            parts,
            body: Box::new(body),
        })
    }

    async fn fetch(
        self,
        request: Request<BodyWrapper<Bytes>>,
    ) -> Result<(Parts, Bytes), Unanswered> {
        let answer = self
            .http
            .request(request)
            .await
            .map_err(|error| Unanswered::of(&error))?;
        let (parts, body) = answer.into_parts();
        let body = Limited::new(body, MAX_ANSWER_BYTES)
            .collect()
            .await
            .map_err(|error| match error.is::<LengthLimitError>() {
                true => Unanswered::TooLong,
                false => Unanswered::CutOff(shown(&error.to_string())),
            })?;

        Ok((parts, body.to_bytes()))
    }
}

/// The first address of a directory, if it is not one that may be asked. An answer that is no
/// directory is left to the caller.
fn wrong_address(answer: &[u8], directory: &DirectoryUrl) -> Option<String> {
    let Directory { new_nonce } = serde_json::from_slice(answer).ok()?;
    let is_right = new_nonce
        .parse::<Uri>()
        .is_ok_and(|url| directory.may_lead_to(&url));
    (!is_right).then_some(new_nonce)
}

/// Drops a `Retry-After` of more than a day: `instant-acme` adds it to the clock, which may
/// overflow.
fn bound_wait(parts: &mut Parts) {
    let seconds = |value: &HeaderValue| value.to_str().ok()?.trim().parse::<u64>().ok();
    if parts
        .headers
        .get(RETRY_AFTER)
        .and_then(seconds)
        .is_some_and(|seconds| seconds > MAX_WAIT_SECONDS)
    {
        parts.headers.remove(RETRY_AFTER);
    }
}

impl HttpClient for DirectoryClient {
    fn request(
        &self,
        request: Request<BodyWrapper<Bytes>>,
    ) -> Pin<Box<dyn Future<Output = Result<BytesResponse, Error>> + Send>> {
        let asked = self.clone().ask(request);
        Box::pin(async move { asked.await.map_err(|error| Error::Other(Box::new(error))) })
    }
}

fn next_cause<'a>(error: &&'a (dyn StdError + 'static)) -> Option<&'a (dyn StdError + 'static)> {
    (*error).source()
}

impl Unanswered {
    /// The causes below the client's own words, which are the same for every one of them.
    fn of(error: &(dyn StdError + 'static)) -> Self {
        if is_unknown_issuer(error) {
            return Self::UnknownAuthority;
        }
        if let Some(why) = cause_in_words(error) {
            return Self::NotSent(why);
        }
        let chain: Vec<_> = successors(Some(error), next_cause).collect();
        let text = |error: &&(dyn StdError + 'static)| error.to_string();
        let mut causes: Vec<_> = chain.iter().skip(1).map(text).collect();
        if causes.is_empty() {
            causes = chain.iter().map(text).collect();
        }
        causes.dedup();
        Self::NotSent(shown(&causes.join(": ")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::Response;

    #[test]
    fn first_address_of_a_directory_is_checked() {
        let directory = DirectoryUrl::lets_encrypt();
        let wrong = |answer: &str| wrong_address(answer.as_bytes(), &directory);
        assert_eq!(wrong(r#"{"newNonce": "https://ca.example/nonce"}"#), None);
        assert_eq!(
            wrong(r#"{"hello": "world"}"#),
            None,
            "the caller refuses it"
        );
        for address in [
            "",
            "no url",
            "/nonce",
            "file:///etc/passwd",
            "http://127.0.0.1/",
        ] {
            assert_eq!(
                wrong(&format!(r#"{{"newNonce": "{address}"}}"#)).as_deref(),
                Some(address)
            );
        }
    }

    #[test]
    fn wait_that_overflows_the_clock_is_dropped() {
        for (value, is_kept) in [
            ("3", true),
            ("86400", true),
            ("Fri, 31 Dec 9999 23:59:59 GMT", true),
            ("86401", false),
            ("+18446744073709551615", false),
            ("18446744073709551615", false),
        ] {
            let answer = Response::builder()
                .header(RETRY_AFTER, value)
                .body(())
                .unwrap();
            let (mut parts, ()) = answer.into_parts();
            bound_wait(&mut parts);
            assert_eq!(parts.headers.contains_key(RETRY_AFTER), is_kept, "{value}");
        }
    }
}
