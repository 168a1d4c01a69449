use portcullis_guest::{Bucket, Http, HttpRequest, Unavailable};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// A document is fetched again after this time, in seconds.
const FRESH: u64 = 3600;
/// While its issuer is out of reach, it is believed for this long.
const STALE: u64 = 24 * 3600;
/// Nobody makes us try more often, once there is one.
const PAUSE: u64 = 10;
/// With one to fall back on, an issuer that hangs is not waited for long: less than a provider's default deadline.
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
struct Kept<T> {
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
            Some(kept) if self.now < kept.at + FRESH || self.now < kept.tried + PAUSE => Ok(kept.document),
            Some(kept) if self.now < kept.at + STALE => match self.fetch_again(url, &kept, read) {
                Ok(document) => Ok(document),
                Err(_) => Ok(kept.document),
            },
            _ => self.fetch(&HttpRequest::get(url), read),
        }
    }

    /// The document as it is now, unless it was fetched a moment ago.
    ///
    /// # Errors
    /// It is not there.
    pub fn refresh<T: Serialize + DeserializeOwned>(
        &self,
        url: &str,
        read: impl Fn(&[u8]) -> Result<T, String>,
    ) -> Result<Option<T>, Unavailable> {
        match self.kept::<T>(url)? {
            Some(kept) if self.now < kept.tried + PAUSE => Ok(None),
            Some(kept) => self.fetch_again(url, &kept, read).map(Some),
            None => self.fetch(&HttpRequest::get(url), read).map(Some),
        }
    }

    /// What cannot be read counts as not there: another version of this provider may have written it.
    fn kept<T: DeserializeOwned>(&self, url: &str) -> Result<Option<Kept<T>>, Unavailable> {
        let bytes = self.bucket.get(&key(url))?;
        Ok(bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok()))
    }

    /// Remembers first that it was tried: a call that is cut off meanwhile has been a try as well.
    fn fetch_again<T: Serialize>(
        &self,
        url: &str,
        kept: &Kept<T>,
        read: impl Fn(&[u8]) -> Result<T, String>,
    ) -> Result<T, Unavailable> {
        self.keep(url, &Kept { at: kept.at, tried: self.now, document: &kept.document });
        self.fetch(&HttpRequest::get(url).within_ms(SHORT_WAIT_MS), read)
    }

    fn keep<T: Serialize>(&self, url: &str, kept: &Kept<T>) {
        if let Ok(bytes) = serde_json::to_vec(kept) {
            // One that does not fit is fetched again, which is slow and no more.
            let _ = self.bucket.set(&key(url), &bytes);
        }
    }

    fn fetch<T: Serialize>(
        &self,
        request: &HttpRequest,
        read: impl Fn(&[u8]) -> Result<T, String>,
    ) -> Result<T, Unavailable> {
        let response = self.http.send(request)?;
        let url = &request.url;
        if response.status != 200 {
            return Err(Unavailable(format!("{url}: status {}", response.status)));
        }
        let document = read(&response.body).map_err(|why| Unavailable(format!("{url}: {why}")))?;
        let kept = Kept { at: self.now, tried: self.now, document };
        self.keep(url, &kept);
        Ok(kept.document)
    }
}

/// A key has at most 256 bytes; addresses that differ only beyond are of nobody.
fn key(url: &str) -> String {
    format!("document:{}", url.chars().take(200).collect::<String>())
}
