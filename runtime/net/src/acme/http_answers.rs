use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The answers to HTTP-01 challenges, for what listens at port 80 (RFC 8555 section 8.3). Clones
/// share them.
#[derive(Clone, Default)]
pub struct HttpAnswers(Arc<Mutex<BTreeMap<String, String>>>);

impl HttpAnswers {
    fn by_token(&self) -> MutexGuard<'_, BTreeMap<String, String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the body of the answer for a token. `None`: no order that is under way has this
    /// token.
    pub fn to(&self, token: &str) -> Option<String> {
        self.by_token().get(token).cloned()
    }

    pub(super) fn add(&self, token: &str, key_authorization: &str) {
        self.by_token()
            .insert(token.to_owned(), key_authorization.to_owned());
    }

    pub(super) fn end(&self) {
        self.by_token().clear();
    }
}
