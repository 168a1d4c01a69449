use serde_json::Value;
use std::time::Duration;
use ureq::Agent;

/// An answer with any status.
#[derive(Clone, Debug)]
pub struct Reply {
    /// The status code.
    pub status: u16,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: String,
}

impl Reply {
    /// The first header of this name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.as_str())
    }

    /// The body as JSON; null when it is none.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_default()
    }
}

/// `GET`.
pub fn get(url: &str, headers: &[(&str, &str)]) -> Reply {
    request("GET", url, headers, "")
}

/// `POST`.
pub fn post(url: &str, headers: &[(&str, &str)], body: &str) -> Reply {
    request("POST", url, headers, body)
}

/// Any request.
///
/// # Panics
/// There is no answer.
#[expect(
    clippy::panic,
    reason = "a test's request is answered or the test fails"
)]
pub fn request(method: &str, url: &str, headers: &[(&str, &str)], body: &str) -> Reply {
    try_request(method, url, headers, body)
        .unwrap_or_else(|error| panic!("{method} {url}: {error}"))
}

fn try_request(
    method: &str,
    url: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> Result<Reply, ureq::Error> {
    let agent: Agent = Agent::config_builder()
        .http_status_as_error(false)
        .max_redirects(0)
        .allow_non_standard_methods(true)
        .timeout_global(Some(Duration::from_secs(60)))
        .build()
        .into();
    let request = headers.iter().fold(
        ureq::http::Request::builder().method(method).uri(url),
        |request, (name, value)| request.header(*name, *value),
    );
    let mut response = match body {
        "" => agent.run(request.body(())?)?,
        body => agent.run(request.body(body.to_owned())?)?,
    };
    let header = |(name, value): (&ureq::http::HeaderName, &ureq::http::HeaderValue)| {
        (
            name.to_string(),
            String::from_utf8_lossy(value.as_bytes()).into_owned(),
        )
    };
    let headers = response.headers().iter().map(header).collect();
    let body = response.body_mut().read_to_string()?;
    Ok(Reply {
        status: response.status().as_u16(),
        headers,
        body,
    })
}
