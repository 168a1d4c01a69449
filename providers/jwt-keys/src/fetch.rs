use crate::address::{origin, resolve};
use portcullis_guest::{Http, HttpRequest, HttpResponse, Unavailable};

/// Most redirects that one request follows.
const MAX_REDIRECTS: usize = 3;

/// A request with a `User-Agent`: some issuers answer 403 to a request without one (RFC 9110,
/// section 10.1.5).
#[must_use]
pub fn with_user_agent(request: HttpRequest) -> HttpRequest {
    request.with_header(
        "user-agent",
        concat!("portcullis/", env!("CARGO_PKG_VERSION")),
    )
}

/// Sends a GET request and follows its redirects, at most three and within the origin of the
/// address, since the request may carry a credential for that origin.
///
/// # Errors
/// There is no answer, or a redirect that is not followed.
pub fn get(http: &dyn Http, request: HttpRequest) -> Result<HttpResponse, Unavailable> {
    let mut request = with_user_agent(request);
    for _ in 0..=MAX_REDIRECTS {
        let response = http.send(&request)?;
        let Some(location) = redirect(&response) else {
            return Ok(response);
        };
        let Some(next) = resolve(&request.url, location) else {
            return Err(Unavailable(format!(
                "{}: redirects to what is no address",
                request.url
            )));
        };
        if origin(&next) != origin(&request.url) {
            let elsewhere = origin(&next).unwrap_or_default();
            return Err(Unavailable(format!(
                "{}: redirects to another origin, {elsewhere}",
                request.url
            )));
        }
        request.url = next;
    }

    Err(Unavailable(format!(
        "{}: more than {MAX_REDIRECTS} redirects",
        request.url
    )))
}

fn redirect(response: &HttpResponse) -> Option<&str> {
    let is_redirect = matches!(response.status, 301 | 302 | 303 | 307 | 308);
    response.location.as_deref().filter(|_| is_redirect)
}

/// A document without the byte order mark that some servers put before it (RFC 8259, section 8.1:
/// it may be ignored).
pub(crate) fn without_mark(text: &[u8]) -> &[u8] {
    text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use portcullis_guest::{Host, MockHost};

    fn ask(host: &MockHost) -> Result<HttpResponse, Unavailable> {
        get(host.http(), HttpRequest::get("https://idp/a"))
    }

    #[test]
    fn redirects_are_followed_within_the_origin() {
        for status in [301, 302, 307, 308] {
            let host = MockHost::default()
                .with_redirect("https://idp/a", status, "/b")
                .with_redirect("https://idp/b", status, "https://IDP:443/c")
                .with_answer("https://IDP:443/c", 200, "here");
            assert_eq!(ask(&host).unwrap().body, b"here", "{status}");
        }
        let agent = (
            "user-agent".to_owned(),
            format!("portcullis/{}", env!("CARGO_PKG_VERSION")),
        );
        let host = MockHost::default().with_answer("https://idp/a", 200, "");
        ask(&host).unwrap();
        assert!(host.http.requests()[0].headers.contains(&agent));
    }

    #[test]
    fn redirects_elsewhere_and_without_end_are_refused() {
        for (location, complaint) in [
            ("https://other/b", "another origin, https://other"),
            ("http://idp/b", "another origin, http://idp"),
            ("/a", "more than 3 redirects"),
            ("ftp://idp/b", "no address"),
        ] {
            let host = MockHost::default().with_redirect("https://idp/a", 302, location);
            let Unavailable(why) = ask(&host).unwrap_err();
            assert!(why.contains(complaint), "{location}: {why}");
            assert!(host.http.requests().len() <= 4);
        }
    }
}
