//! What a provider has said of a token or a session, for a while: for operators who would rather have a heavy
//! provider's answers quickly than anew. Off unless `cache_ttl_ms` is set.
//!
//! **Invariant:** only a "yes" is kept, never beyond the session's own end, and none outlives a quarantine, a
//! revocation, or a reload (which makes a new cache). A token itself is not kept: entries stand under a keyed hash.

use super::guarded::Guarded;
use super::health::Health;
use crate::auth::{
    BearerToken, BoxFuture, CallFault, Claims, RefreshProvider, RefreshVerdict, SessionClaims,
    SessionProvider, TokenProvider, TokenVerdict,
};
use hmac::{Hmac, KeyInit, Mac};
use moka::Expiry;
use moka::sync::Cache;
use sha2::Sha256;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use zeroize::Zeroizing;

/// Entries of each kind. Beyond them, those that are asked for least are dropped.
const MAX_ENTRIES: u64 = 10_000;

/// A token's keyed hash.
type Key = [u8; 32];

/// Is told of every answer that was given without asking the provider.
pub type HitMeter = Box<dyn Fn() + Send + Sync>;

/// A provider whose good answers are remembered.
pub struct CachedProvider {
    provider: Arc<Guarded>,
    health: Arc<Health>,
    secret: Hmac<Sha256>,
    tokens: Cache<Key, Remembered<Claims>>,
    sessions: Cache<Key, Remembered<SessionClaims>>,
    revocations: AtomicU64,
    hit: HitMeter,
}

/// What happened before the provider was asked. An answer is worth something as long as nothing has since.
type Before = (u64, u64);

struct Remembered<T> {
    said: Arc<T>,
    before: Before,
    keep: Duration,
}

impl<T> Clone for Remembered<T> {
    fn clone(&self) -> Self {
        Self { said: self.said.clone(), ..*self }
    }
}

/// Each entry says itself how long it is kept.
struct OwnExpiry;

impl<T> Expiry<Key, Remembered<T>> for OwnExpiry {
    fn expire_after_create(&self, _: &Key, entry: &Remembered<T>, _: Instant) -> Option<Duration> {
        Some(entry.keep)
    }
}

fn cache<T: Send + Sync + 'static>(ttl: Duration) -> Cache<Key, Remembered<T>> {
    Cache::builder().max_capacity(MAX_ENTRIES).time_to_live(ttl).expire_after(OwnExpiry).build()
}

impl CachedProvider {
    /// Remembers for `ttl` what this provider says.
    ///
    /// # Errors
    /// The system has no random bytes for the key of the hashes.
    pub fn new(
        provider: Arc<Guarded>,
        health: Arc<Health>,
        ttl: Duration,
        hit: HitMeter,
    ) -> Result<Self, getrandom::Error> {
        let mut key = [0; 32];
        getrandom::fill(&mut key)?;
        let secret = Hmac::new_from_slice(&key).expect("HMAC takes keys of every length");
        let (tokens, sessions) = (cache(ttl), cache(ttl));
        Ok(Self { provider, health, secret, tokens, sessions, revocations: AtomicU64::new(0), hit })
    }

    fn key(&self, token: &str) -> Key {
        let mut hash = self.secret.clone();
        hash.update(token.as_bytes());
        hash.finalize().into_bytes().into()
    }

    fn before(&self) -> Before {
        (self.health.quarantines(), self.revocations.load(Ordering::Acquire))
    }

    fn recall<T: Send + Sync + 'static>(
        &self,
        known: &Cache<Key, Remembered<T>>,
        key: &Key,
    ) -> Option<Arc<T>> {
        let entry = known.get(key).filter(|entry| entry.before == self.before())?;
        (self.hit)();
        Some(entry.said)
    }
}

impl TokenProvider for CachedProvider {
    fn verify_token<'a>(
        &'a self,
        token: &'a BearerToken,
        by: Instant,
    ) -> BoxFuture<'a, Result<TokenVerdict, CallFault>> {
        Box::pin(async move {
            let key = self.key(token.expose());
            if let Some(claims) = self.recall(&self.tokens, &key) {
                return Ok(TokenVerdict::Recognized(Claims::clone(&claims)));
            }
            let before = self.before();
            let verdict = self.provider.verify_token(token, by).await?;
            if let TokenVerdict::Recognized(claims) = &verdict {
                let said = Arc::new(claims.clone());
                self.tokens.insert(key, Remembered { said, before, keep: Duration::MAX });
            }
            Ok(verdict)
        })
    }
}

impl SessionProvider for CachedProvider {
    fn verify_session<'a>(
        &'a self,
        access_token: &'a str,
        by: Instant,
    ) -> BoxFuture<'a, Result<Option<SessionClaims>, CallFault>> {
        Box::pin(async move {
            let key = self.key(access_token);
            if let Some(session) = self.recall(&self.sessions, &key) {
                return Ok(Some(without_tokens(&session)));
            }
            let before = self.before();
            let session = self.provider.verify_session(access_token, by).await?;
            if let Some(session) = &session {
                let (said, keep) = (Arc::new(without_tokens(session)), until(session.expires_at));
                self.sessions.insert(key, Remembered { said, before, keep });
            }
            Ok(session)
        })
    }
}

impl RefreshProvider for CachedProvider {
    fn refresh<'a>(
        &'a self,
        refresh_token: &'a str,
        by: Instant,
    ) -> BoxFuture<'a, Result<RefreshVerdict, CallFault>> {
        self.provider.refresh(refresh_token, by)
    }

    /// Which sessions a refresh token belongs to is the provider's own business: none is believed without asking.
    fn revoke<'a>(&'a self, refresh_token: &'a str, by: Instant) -> BoxFuture<'a, Result<(), CallFault>> {
        self.revocations.fetch_add(1, Ordering::Release);
        self.provider.revoke(refresh_token, by)
    }
}

/// Whose session it is. The gate has the token that it asks about, and a check gives out no other.
fn without_tokens(session: &SessionClaims) -> SessionClaims {
    SessionClaims {
        user_id: session.user_id.clone(),
        email: session.email.clone(),
        display_name: session.display_name.clone(),
        org_id: session.org_id.clone(),
        expires_at: session.expires_at,
        access_token: Zeroizing::default(),
        refresh_token: Zeroizing::default(),
    }
}

/// How long from now until this second.
fn until(expires_at: u64) -> Duration {
    let end = UNIX_EPOCH.checked_add(Duration::from_secs(expires_at));
    end.and_then(|end| end.duration_since(SystemTime::now()).ok()).unwrap_or_default()
}
