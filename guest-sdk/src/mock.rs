use crate::{Bucket, Host, Http, HttpRequest, HttpResponse, KeyPage, Unavailable};
use std::cell::RefCell;
use std::collections::BTreeMap;

/// A host for native tests: settings and answers from maps, a bucket in memory, and time that
/// stands still.
///
/// ```
/// use portcullis_guest::{Host, MockHost};
///
/// let host = MockHost::default().with_setting("realm", "staff").at(1_700_000_000);
/// assert_eq!(host.setting("realm").as_deref(), Some("staff"));
/// assert_eq!(host.now(), 1_700_000_000);
/// ```
#[derive(Clone, Debug, Default)]
pub struct MockHost {
    /// The provider's settings, by key.
    pub settings: BTreeMap<String, String>,
    /// Seconds since the Unix epoch.
    pub now: u64,
    /// The content of the provider's bucket.
    pub bucket: MockBucket,
    /// The answers to its HTTP requests.
    pub http: MockHttp,
}

impl MockHost {
    /// The same host with a setting more.
    #[must_use]
    pub fn with_setting(mut self, key: &str, value: impl Into<String>) -> Self {
        self.settings.insert(key.to_owned(), value.into());
        self
    }

    /// The same host at another time.
    #[must_use]
    pub fn at(self, now: u64) -> Self {
        Self { now, ..self }
    }

    /// The same host, where this address answers with this status and body. All others are out of
    /// reach.
    #[must_use]
    pub fn with_answer(mut self, url: &str, status: u16, body: impl Into<Vec<u8>>) -> Self {
        let answer = HttpResponse {
            status,
            location: None,
            body: body.into(),
        };
        self.http.answers.insert(url.to_owned(), answer);
        self
    }

    /// The same host, where this address answers with a redirect.
    #[must_use]
    pub fn with_redirect(mut self, url: &str, status: u16, location: &str) -> Self {
        let answer = HttpResponse {
            status,
            location: Some(location.to_owned()),
            body: Vec::new(),
        };
        self.http.answers.insert(url.to_owned(), answer);
        self
    }
}

impl Host for MockHost {
    fn setting(&self, key: &str) -> Option<String> {
        self.settings.get(key).cloned()
    }

    fn setting_names(&self) -> Vec<String> {
        self.settings.keys().cloned().collect()
    }

    fn now(&self) -> u64 {
        self.now
    }

    #[cfg(feature = "keyvalue")]
    fn bucket(&self) -> &dyn Bucket {
        &self.bucket
    }

    #[cfg(feature = "http")]
    fn http(&self) -> &dyn Http {
        &self.http
    }
}

/// Keys in one page of a listing, as many as the host's have.
const KEYS_OF_A_PAGE: usize = 100;

/// A bucket for native tests.
#[derive(Clone, Debug, Default)]
pub struct MockBucket {
    entries: RefCell<BTreeMap<String, Vec<u8>>>,
}

impl Bucket for MockBucket {
    fn get(&self, key: &str) -> Result<Option<Vec<u8>>, Unavailable> {
        Ok(self.entries.borrow().get(key).cloned())
    }

    fn set(&self, key: &str, value: &[u8]) -> Result<(), Unavailable> {
        crate::bucket::check_length(value)?;
        self.entries
            .borrow_mut()
            .insert(key.to_owned(), value.to_owned());
        Ok(())
    }

    fn increment(&self, key: &str, by: u64) -> Result<u64, Unavailable> {
        let mut entries = self.entries.borrow_mut();
        let entry = entries
            .entry(key.to_owned())
            .or_insert_with(|| b"0".to_vec());
        let old: Option<u64> = std::str::from_utf8(entry)
            .ok()
            .and_then(|text| text.parse().ok());
        let new = old
            .and_then(|old| old.checked_add(by))
            .ok_or_else(|| Unavailable("not a number".to_owned()))?;
        *entry = new.to_string().into_bytes();
        Ok(new)
    }

    fn delete(&self, key: &str) -> Result<(), Unavailable> {
        self.entries.borrow_mut().remove(key);
        Ok(())
    }

    fn list_keys(&self, cursor: Option<u64>) -> Result<KeyPage, Unavailable> {
        let entries = self.entries.borrow();
        let skipped = usize::try_from(cursor.unwrap_or_default()).unwrap_or(usize::MAX);
        let keys: Vec<_> = entries
            .keys()
            .skip(skipped)
            .take(KEYS_OF_A_PAGE)
            .cloned()
            .collect();
        let end = skipped.saturating_add(keys.len());
        Ok(KeyPage {
            keys,
            next: (end < entries.len()).then_some(end as u64),
        })
    }
}

/// Answers for native tests, and the requests that came.
#[derive(Clone, Debug, Default)]
pub struct MockHttp {
    /// Answers by the URL of the request.
    pub answers: BTreeMap<String, HttpResponse>,
    requests: RefCell<Vec<HttpRequest>>,
}

impl MockHttp {
    /// What was asked, in its order.
    pub fn requests(&self) -> Vec<HttpRequest> {
        self.requests.borrow().clone()
    }
}

impl Http for MockHttp {
    fn send(&self, request: &HttpRequest) -> Result<HttpResponse, Unavailable> {
        request.check_head()?;
        self.requests.borrow_mut().push(request.clone());
        let answer = self.answers.get(&request.url).cloned();
        answer.ok_or_else(|| Unavailable(format!("{}: nobody answers", request.url)))
    }
}
