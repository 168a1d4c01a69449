use crate::fetch;
use portcullis_guest::{Bucket, Http, HttpRequest, Unavailable};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// A document is fetched again after this time, in seconds.
const FRESH: u64 = 3600;
/// While its issuer is out of reach, it is believed for this long.
const STALE: u64 = 24 * 3600;
/// With one to fall back on, tokens with made-up keys do not make us ask more often.
const PAUSE: u64 = 10;
/// With one to fall back on, an issuer that hangs is not waited for long: less than a provider's
/// default deadline.
const SHORT_WAIT_MS: u64 = 400;

/// Documents of an issuer, kept in the provider's bucket.
pub struct Documents<'a> {
    /// How they are fetched.
    pub http: &'a dyn Http,
    /// Where they are kept.
    pub bucket: &'a dyn Bucket,
    /// Seconds since the Unix epoch.
    pub now: u64,
}

#[derive(Serialize, Deserialize)]
struct KeptDocument<T> {
    /// When it was fetched.
    at: u64,
    /// When it was last tried to fetch it.
    tried: u64,
    document: T,
}

impl Documents<'_> {
    /// The document at this address, as `read` makes it of the JSON there.
    ///
    /// # Errors
    /// It is not there, and none was kept.
    pub fn get<T: Serialize + DeserializeOwned>(
        &self,
        url: &str,
        read: impl Fn(&[u8]) -> Result<T, String>,
    ) -> Result<T, Unavailable> {
        let kept = self.kept::<T>(url)?;
        match kept {
            Some(kept)
                if is_within(self.now, kept.at, FRESH)
                    || is_within(self.now, kept.tried, PAUSE) =>
            {
                Ok(kept.document)
            }
            Some(kept) if is_within(self.now, kept.at, STALE) => {
                match self.fetch_again(url, &kept, read) {
                    Ok(document) => Ok(document),
                    Err(_) => Ok(kept.document),
                }
            }
            _ => self.fetch(HttpRequest::get(url), read),
        }
    }

    /// The document as it is now, unless it was fetched a moment ago. For a document that
    /// [`Documents::get`] has returned.
    ///
    /// # Errors
    /// It is not there.
    pub fn refresh<T: Serialize + DeserializeOwned>(
        &self,
        url: &str,
        read: impl Fn(&[u8]) -> Result<T, String>,
    ) -> Result<Option<T>, Unavailable> {
        match self.kept::<T>(url)? {
            Some(kept) if is_within(self.now, kept.tried, PAUSE) => Ok(None),
            Some(kept) => self.fetch_again(url, &kept, read).map(Some),
            // One that is too large to be kept was fetched for this very call.
            None => Ok(None),
        }
    }

    /// The document as it is now. For a document that was seen to be wrong: an address in it leads
    /// nowhere.
    ///
    /// # Errors
    /// It is not there.
    pub fn reload<T: Serialize + DeserializeOwned>(
        &self,
        url: &str,
        read: impl Fn(&[u8]) -> Result<T, String>,
    ) -> Result<T, Unavailable> {
        match self.kept::<T>(url)? {
            Some(kept) => self.fetch_again(url, &kept, read),
            None => self.fetch(HttpRequest::get(url), read),
        }
    }

    /// The document as it was kept, however old; `None` where there is none.
    pub fn peek<T: DeserializeOwned>(&self, url: &str) -> Option<T> {
        Some(self.kept(url).ok()??.document)
    }

    /// Has the document asked for again at its next use. The kept one still serves while its issuer
    /// is out of reach.
    pub fn doubt(&self, url: &str) {
        let Ok(Some(kept)) = self.kept::<serde_json::Value>(url) else {
            return;
        };
        let at = kept.at.min(self.now.saturating_sub(FRESH));
        self.keep(
            url,
            &KeptDocument {
                at,
                tried: 0,
                document: kept.document,
            },
        );
    }

    /// What cannot be read counts as not there: another version of this provider may have written
    /// it.
    fn kept<T: DeserializeOwned>(&self, url: &str) -> Result<Option<KeptDocument<T>>, Unavailable> {
        let bytes = self.bucket.get(&key(url))?;
        Ok(bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok()))
    }

    /// Remembers first that it was tried: a call that is cut off meanwhile has been a try as well.
    fn fetch_again<T: Serialize>(
        &self,
        url: &str,
        kept: &KeptDocument<T>,
        read: impl Fn(&[u8]) -> Result<T, String>,
    ) -> Result<T, Unavailable> {
        self.keep(
            url,
            &KeptDocument {
                at: kept.at,
                tried: self.now,
                document: &kept.document,
            },
        );

        self.fetch(HttpRequest::get(url).within_ms(SHORT_WAIT_MS), read)
    }

    fn keep<T: Serialize>(&self, url: &str, kept: &KeptDocument<T>) {
        if let Ok(bytes) = serde_json::to_vec(kept) {
            // One that does not fit is fetched again, which is slow and no more.
            let _ = self.bucket.set(&key(url), &bytes);
        }
    }

    fn fetch<T: Serialize>(
        &self,
        request: HttpRequest,
        read: impl Fn(&[u8]) -> Result<T, String>,
    ) -> Result<T, Unavailable> {
        let url = request.url.clone();
        let response = fetch::get(self.http, request)?;
        if response.status != 200 {
            return Err(Unavailable(format!("{url}: status {}", response.status)));
        }

        let text = fetch::without_mark(&response.body);
        let document = read(text).map_err(|why| Unavailable(format!("{url}: {why}")))?;
        let kept = KeptDocument {
            at: self.now,
            tried: self.now,
            document,
        };
        self.keep(&url, &kept);

        Ok(kept.document)
    }
}

/// Returns whether a time is less than `seconds` ago. A time in the future comes from a wrong
/// clock, and is not.
fn is_within(now: u64, at: u64, seconds: u64) -> bool {
    at <= now && now - at < seconds
}

/// A key has at most 256 bytes; an issuer has no two addresses that differ only beyond 200
/// characters.
fn key(url: &str) -> String {
    format!("document:{}", url.chars().take(200).collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;
    use portcullis_guest::MockHost;

    const URL: &str = "https://idp/document";

    fn documents(host: &MockHost) -> Documents<'_> {
        Documents {
            http: &host.http,
            bucket: &host.bucket,
            now: host.now,
        }
    }

    fn number(text: &[u8]) -> Result<u64, String> {
        serde_json::from_slice(text).map_err(|error| error.to_string())
    }

    #[test]
    fn documents_are_kept_an_hour_unless_they_are_doubted() {
        let host = MockHost::default()
            .with_answer(URL, 200, "\u{feff}1")
            .at(1_000_000);
        assert_eq!(
            documents(&host).get(URL, number),
            Ok(1),
            "with a byte order mark"
        );

        let host = host.with_answer(URL, 200, "2").at(1_000_000 + FRESH - 1);
        assert_eq!(documents(&host).get(URL, number), Ok(1));
        documents(&host).doubt(URL);
        assert_eq!(documents(&host).get(URL, number), Ok(2));

        let host = host.with_answer(URL, 200, "3");
        assert_eq!(
            documents(&host).refresh(URL, number),
            Ok(None),
            "asked a moment ago"
        );
        assert_eq!(
            documents(&host).reload(URL, number),
            Ok(3),
            "seen to be wrong"
        );

        let host = MockHost::default().with_answer(URL, 200, "1");
        assert_eq!(
            documents(&host).refresh(URL, number),
            Ok(None),
            "what is not kept was fetched for this call"
        );
    }

    #[test]
    fn document_that_no_bucket_takes_is_fetched_each_time() {
        let long = |number: u8| format!("{}{number}", " ".repeat(200_000));
        let read = |text: &[u8]| Ok::<_, String>(text.to_vec());
        let host = MockHost::default().with_answer(URL, 200, long(1));
        assert_eq!(documents(&host).get(URL, read), Ok(long(1).into_bytes()));
        let host = host.with_answer(URL, 200, long(2));
        assert_eq!(documents(&host).get(URL, read), Ok(long(2).into_bytes()));
    }

    #[test]
    fn doubted_document_serves_while_its_issuer_is_out_of_reach() {
        let host = MockHost::default().with_answer(URL, 200, "1").at(1_000_000);
        assert_eq!(documents(&host).get(URL, number), Ok(1));
        documents(&host).doubt(URL);
        let host = host.with_answer(URL, 503, "");
        assert_eq!(documents(&host).get(URL, number), Ok(1));
        assert!(documents(&host).reload(URL, number).is_err());
    }
}
