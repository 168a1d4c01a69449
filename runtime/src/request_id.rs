//! The id of a request. It names the request in its answer, in the access log and in log lines.
//!
//! **Invariant:** an id has 1 to 128 characters, none of which needs an escape in a header, in JSON or in a log line.

use http::HeaderValue;

/// Longest id, in bytes.
const MAX_BYTES: usize = 128;

/// The id of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestId(HeaderValue);

tokio::task_local! {
    static CURRENT: RequestId;
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
        let (mut bytes, mut digits) = ([0; 16], [0; 32]);
        getrandom::fill(&mut bytes)?;
        hex::encode_to_slice(bytes, &mut digits).expect("32 bytes hold the digits of 16");
        Ok(Self(HeaderValue::from_bytes(&digits).expect("hex digits are a header's value")))
    }

    /// Takes the id that another program chose. Returns `None` if it is too long or has a character that could need an escape.
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

    #[test]
    fn only_plain_ids_are_taken_over() {
        let is_taken = |text: &str| RequestId::chosen(&HeaderValue::from_str(text).unwrap()).is_some();
        let longest = "x".repeat(MAX_BYTES);
        for id in ["1", "5f0c-A_b.c:d/e+f=@", "Root=1-67891233-abcdef012345678912345678", &longest] {
            assert!(is_taken(id), "{id}");
        }
        for id in ["", " ", "a b", "a\"b", "a\\b", "a,b", "<script>", "a;b", &format!("{longest}x")] {
            assert!(!is_taken(id), "{id}");
        }
        assert!(RequestId::chosen(&HeaderValue::from_bytes(b"\xe9").unwrap()).is_none());
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
