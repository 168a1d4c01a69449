use crate::Unavailable;

/// Longest address and headers of a request together, in bytes. The host takes 32 KiB of headers,
/// with those that every request has.
const MAX_HEAD_BYTES: usize = 31 * 1024;

/// A request to an origin that the operator grants under `grants.http`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpRequest {
    /// The absolute URL, with its scheme.
    pub url: String,
    /// Headers beside those that the request has anyway. A secret belongs in the grant's `headers`:
    /// those never enter the sandbox.
    pub headers: Vec<(String, String)>,
    /// The body of a `POST`. `None` makes the request a `GET`.
    pub body: Option<HttpBody>,
    /// How long the connection, the answer's first byte and the wait between two parts of the
    /// answer may take, each; `None`: as long as the call.
    pub timeout_ms: Option<u64>,
}

/// The body of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpBody {
    /// The media type, sent as `content-type`.
    pub content_type: &'static str,
    /// The bytes, as they are sent.
    pub bytes: Vec<u8>,
}

impl HttpRequest {
    /// Asks for a document of JSON.
    pub fn get(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            headers: Vec::new(),
            body: None,
            timeout_ms: None,
        }
    }

    /// Posts a form, already encoded.
    pub fn post_form(url: impl Into<String>, form: String) -> Self {
        let body = HttpBody {
            content_type: "application/x-www-form-urlencoded",
            bytes: form.into_bytes(),
        };
        Self {
            body: Some(body),
            ..Self::get(url)
        }
    }

    /// Makes a `POST` request with a JSON body.
    #[cfg(feature = "json")]
    pub fn post_json(url: impl Into<String>, value: &serde_json::Value) -> Self {
        let body = HttpBody {
            content_type: "application/json",
            bytes: value.to_string().into_bytes(),
        };
        Self {
            body: Some(body),
            ..Self::get(url)
        }
    }

    /// Refuses a request with a longer head than the host takes. An address or token of an issuer
    /// may be that long, and the host would end the call that hands it over, which is a fault.
    pub(crate) fn check_head(&self) -> Result<(), Unavailable> {
        let headers = self.headers.iter();
        let bytes = headers.fold(self.url.len(), |sum, (name, value)| {
            sum + name.len() + value.len()
        });
        if bytes <= MAX_HEAD_BYTES {
            return Ok(());
        }
        Err(Unavailable(format!(
            "{}: address and headers have {bytes} bytes, and at most {MAX_HEAD_BYTES} are sent",
            self.url_without_query()
        )))
    }

    /// Returns what may be logged of the address, at most 200 bytes of it.
    pub(crate) fn url_without_query(&self) -> &str {
        const MAX_SHOWN: usize = 200;
        let plain = self.url.split('?').next().unwrap_or_default();
        plain.get(..MAX_SHOWN).unwrap_or(plain)
    }

    /// Adds a header.
    #[must_use]
    pub fn with_header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Sets `timeout_ms`.
    #[must_use]
    pub fn within_ms(self, timeout_ms: u64) -> Self {
        Self {
            timeout_ms: Some(timeout_ms),
            ..self
        }
    }
}

/// The answer to a request. An error status is an answer as well.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpResponse {
    /// The HTTP status, such as 200.
    pub status: u16,
    /// The header `location`, which says where a redirect leads; `None` if there is none, or it is
    /// not text.
    pub location: Option<String>,
    /// The whole body, at most 1 MiB.
    pub body: Vec<u8>,
}

impl HttpResponse {
    /// The body as JSON.
    ///
    /// # Errors
    /// The body is not JSON of this shape. The error is `Unavailable`, since the server is then out
    /// of order.
    #[cfg(feature = "json")]
    pub fn json<T: serde::de::DeserializeOwned>(&self) -> Result<T, Unavailable> {
        serde_json::from_slice(&self.body)
            .map_err(|error| Unavailable(format!("the answer cannot be read: {error}")))
    }
}

/// Sends requests. The host follows no redirect, and adds the headers that the operator configured.
pub trait Http {
    /// Sends one.
    ///
    /// # Errors
    /// There is no answer.
    fn send(&self, request: &HttpRequest) -> Result<HttpResponse, Unavailable>;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Http, MockHost};

    #[test]
    fn head_that_the_host_does_not_take_is_not_sent() {
        let host = MockHost::default().with_answer("https://idp/x", 200, "{}");
        let sent = |request: HttpRequest| host.http.send(&request);
        let bearer = |bytes: usize| {
            HttpRequest::get("https://idp/x").with_header("authorization", &"a".repeat(bytes))
        };
        assert!(sent(bearer(30_000)).is_ok());
        for request in [
            bearer(70_000),
            HttpRequest::get(format!("https://idp/x?{}", "q".repeat(70_000))),
        ] {
            let Unavailable(why) = sent(request).unwrap_err();
            assert!(
                why.starts_with("https://idp/x: address and headers have"),
                "{why}"
            );
        }
    }
}
