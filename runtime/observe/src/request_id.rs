//! The id of a request. It names the request in its answer, in the access log and in log lines.
//!
//! **Invariant:** an id has 1 to 128 characters, none of which needs an escape in a header, in JSON
//! or in a log line.

use http::{HeaderMap, HeaderName, HeaderValue};
use std::cell::RefCell;

/// Names the id in requests and answers.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Longest id, in bytes.
const MAX_BYTES: usize = 128;
/// Random bytes of an id that is made here.
const RANDOM_BYTES: usize = 16;
/// Ids whose random bytes a thread fetches at once. One system call per id is a sixth of the system
/// calls of a request that is passed on to an application.
const IDS_PER_FETCH: usize = 64;

/// The id of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestId(HeaderValue);

tokio::task_local! {
    static CURRENT: RequestId;
}

thread_local! {
    static FETCHED: RefCell<Fetched> =
        const { RefCell::new(Fetched { random: [[0; RANDOM_BYTES]; IDS_PER_FETCH], used: IDS_PER_FETCH }) };
}

/// Random bytes of the next ids of a thread.
struct Fetched {
    random: [[u8; RANDOM_BYTES]; IDS_PER_FETCH],
    /// How many of them ids were made of.
    used: usize,
}

impl Fetched {
    /// The random bytes of one id, which no other id gets.
    fn take(&mut self) -> Result<[u8; RANDOM_BYTES], getrandom::Error> {
        if self.used == IDS_PER_FETCH {
            getrandom::fill(self.random.as_flattened_mut())?;
            self.used = 0;
        }
        let bytes = self.random[self.used];
        self.used += 1;
        Ok(bytes)
    }
}

impl RequestId {
    /// A new one: 16 random bytes as hex digits.
    ///
    /// # Errors
    /// The system gives no random numbers.
    ///
    /// # Panics
    /// Never: 32 bytes hold the digits of 16, and hex digits are a header's value.
    pub fn generate() -> Result<Self, getrandom::Error> {
        let bytes = FETCHED.with_borrow_mut(Fetched::take)?;
        let mut digits = [0; 2 * RANDOM_BYTES];
        hex::encode_to_slice(bytes, &mut digits).expect("32 bytes hold the digits of 16");
        Ok(Self(
            HeaderValue::from_bytes(&digits).expect("hex digits are a header's value"),
        ))
    }

    /// Returns the id of a request with these headers, and puts it in the place of what they said.
    /// `may_choose`: the sender is one whose id counts; of two ids, neither does. Returns `None` if
    /// the system gives no random numbers: the request then has no id.
    pub fn assign(headers: &mut HeaderMap, may_choose: bool) -> Option<Self> {
        let sent = if may_choose {
            Self::sent(headers)
        } else {
            None
        };
        let id = sent.or_else(|| Self::generate().ok());
        match &id {
            Some(id) => headers.insert(REQUEST_ID, id.to_header()),
            None => headers.remove(REQUEST_ID),
        };
        id
    }

    fn sent(headers: &HeaderMap) -> Option<Self> {
        let mut values = headers.get_all(REQUEST_ID).iter();
        let value = values.next().filter(|_| values.next().is_none())?;
        Self::chosen(value)
    }

    /// Takes the id that another program chose. Returns `None` if it is too long or has a character
    /// that could need an escape.
    pub fn chosen(value: &HeaderValue) -> Option<Self> {
        let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.:/+=@".contains(byte);
        let bytes = value.as_bytes();
        let is_id = (1..=MAX_BYTES).contains(&bytes.len()) && bytes.iter().all(is_plain);
        is_id.then(|| Self(value.clone()))
    }

    /// Returns the id of the request that this task serves.
    pub fn current() -> Option<Self> {
        CURRENT.try_with(Clone::clone).ok()
    }

    /// Runs a future as a part of the request with this id.
    pub async fn scope<F: Future>(self, future: F) -> F::Output {
        CURRENT.scope(self, future).await
    }

    /// Returns the id as text.
    pub fn as_str(&self) -> &str {
        // Every character is visible ASCII.
        self.0.to_str().unwrap_or_default()
    }

    /// Returns the value of a header.
    pub fn to_header(&self) -> HeaderValue {
        self.0.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn only_plain_ids_are_taken_over() {
        let is_taken =
            |text: &str| RequestId::chosen(&HeaderValue::from_str(text).unwrap()).is_some();
        let longest = "x".repeat(MAX_BYTES);
        for id in [
            "1",
            "5f0c-A_b.c:d/e+f=@",
            "Root=1-67891233-abcdef012345678912345678",
            &longest,
        ] {
            assert!(is_taken(id), "{id}");
        }
        for id in [
            "",
            " ",
            "a b",
            "a\"b",
            "a\\b",
            "a,b",
            "<script>",
            "a;b",
            &format!("{longest}x"),
        ] {
            assert!(!is_taken(id), "{id}");
        }
        assert!(RequestId::chosen(&HeaderValue::from_bytes(b"\xe9").unwrap()).is_none());
    }

    #[test]
    fn ids_that_share_a_fetch_differ() {
        let ids: HashSet<_> = (0..3 * IDS_PER_FETCH)
            .map(|_| RequestId::generate().unwrap().as_str().to_owned())
            .collect();
        assert_eq!(ids.len(), 3 * IDS_PER_FETCH);
    }

    #[tokio::test]
    async fn id_is_known_within_its_request_alone() {
        let id = RequestId::generate().unwrap();
        assert_eq!(id.as_str().len(), 32);
        assert_ne!(RequestId::generate().unwrap(), id);
        let seen = id.clone().scope(async { RequestId::current() }).await;
        assert_eq!((seen, RequestId::current()), (Some(id), None));
    }
}
