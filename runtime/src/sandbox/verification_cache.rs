//! What a provider has said of a token or a session, for a while: for operators who would rather have a heavy
//! provider's answers quickly than anew. Off unless `cache_ttl_ms` is set.
//!
//! **Invariant:** only a "yes" is kept, never beyond the session's own end, and none outlives a quarantine, a
//! revocation, or a reload (which makes a new cache). A token itself is not kept: entries stand under a keyed hash.

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
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use zeroize::Zeroizing;

/// Entries of each kind. Beyond them, those that are asked for least are dropped.
const MAX_ENTRIES: u64 = 10_000;

/// A token's keyed hash.
type Key = [u8; 32];

/// Is told of every answer that was given without asking the provider.
pub type HitMeter = Box<dyn Fn() + Send + Sync>;

/// A provider whose good answers are remembered.
pub struct CachedProvider<P> {
    provider: Arc<P>,
    health: Arc<Health>,
    secret: Hmac<Sha256>,
    ttl: Duration,
    tokens: Cache<Key, Arc<Remembered<Claims>>>,
    sessions: Cache<Key, Arc<Remembered<SessionClaims>>>,
    revocations: AtomicU64,
    hit: HitMeter,
}

/// What happened before the provider was asked. An answer is worth something as long as nothing has since.
type Before = (u64, u64);

struct Remembered<T> {
    said: T,
    before: Before,
    keep: Duration,
    /// From when on one caller asks anew, while the others still believe this: when it ends, it ends for all of them at
    /// once, and a heavy provider could not answer them all.
    renew_from: Instant,
    is_being_renewed: AtomicBool,
}

impl<T> Remembered<T> {
    /// Is it for this caller to ask anew?
    fn is_to_be_renewed(&self) -> bool {
        Instant::now() >= self.renew_from && !self.is_being_renewed.swap(true, Ordering::Relaxed)
    }
}

/// Each entry says itself how long it is kept.
struct OwnExpiry;

impl<T> Expiry<Key, Arc<Remembered<T>>> for OwnExpiry {
    fn expire_after_create(&self, _: &Key, entry: &Arc<Remembered<T>>, _: Instant) -> Option<Duration> {
        Some(entry.keep)
    }

    fn expire_after_update(
        &self,
        _: &Key,
        entry: &Arc<Remembered<T>>,
        _: Instant,
        _: Option<Duration>,
    ) -> Option<Duration> {
        Some(entry.keep)
    }
}

fn cache<T: Send + Sync + 'static>(ttl: Duration) -> Cache<Key, Arc<Remembered<T>>> {
    Cache::builder().max_capacity(MAX_ENTRIES).time_to_live(ttl).expire_after(OwnExpiry).build()
}

impl<P> CachedProvider<P> {
    /// Remembers for `ttl` what this provider says.
    ///
    /// # Errors
    /// The system has no random bytes for the key of the hashes.
    pub fn new(
        provider: Arc<P>,
        health: Arc<Health>,
        ttl: Duration,
        hit: HitMeter,
    ) -> Result<Self, getrandom::Error> {
        let mut key = [0; 32];
        getrandom::fill(&mut key)?;
        let secret = Hmac::new_from_slice(&key).expect("HMAC takes keys of every length");
        let (tokens, sessions) = (cache(ttl), cache(ttl));
        Ok(Self { provider, health, secret, ttl, tokens, sessions, revocations: AtomicU64::new(0), hit })
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
        known: &Cache<Key, Arc<Remembered<T>>>,
        key: &Key,
    ) -> Option<Arc<Remembered<T>>> {
        let entry = known.get(key).filter(|entry| entry.before == self.before())?;
        if entry.is_to_be_renewed() {
            return None;
        }
        (self.hit)();
        Some(entry)
    }

    fn remember<T>(&self, said: T, before: Before, keep: Duration) -> Arc<Remembered<T>> {
        let renew_from = Instant::now() + keep.min(self.ttl) * 9 / 10;
        Arc::new(Remembered { said, before, keep, renew_from, is_being_renewed: AtomicBool::new(false) })
    }
}

impl<P: TokenProvider> TokenProvider for CachedProvider<P> {
    fn verify_token<'a>(
        &'a self,
        token: &'a BearerToken,
        by: Instant,
    ) -> BoxFuture<'a, Result<TokenVerdict, CallFault>> {
        Box::pin(async move {
            let key = self.key(token.expose());
            if let Some(entry) = self.recall(&self.tokens, &key) {
                return Ok(TokenVerdict::Recognized(entry.said.clone()));
            }
            let before = self.before();
            let verdict = self.provider.verify_token(token, by).await?;
            match &verdict {
                TokenVerdict::Recognized(claims) => {
                    self.tokens.insert(key, self.remember(claims.clone(), before, Duration::MAX));
                }
                TokenVerdict::NotRecognized => self.tokens.invalidate(&key),
            }
            Ok(verdict)
        })
    }
}

impl<P: SessionProvider> SessionProvider for CachedProvider<P> {
    fn verify_session<'a>(
        &'a self,
        access_token: &'a str,
        by: Instant,
    ) -> BoxFuture<'a, Result<Option<SessionClaims>, CallFault>> {
        Box::pin(async move {
            let key = self.key(access_token);
            if let Some(entry) = self.recall(&self.sessions, &key) {
                return Ok(Some(without_tokens(&entry.said)));
            }
            let before = self.before();
            let session = self.provider.verify_session(access_token, by).await?;
            match &session {
                Some(session) => {
                    let keep = until(session.expires_at);
                    self.sessions.insert(key, self.remember(without_tokens(session), before, keep));
                }
                None => self.sessions.invalidate(&key),
            }
            Ok(session)
        })
    }
}

impl<P: RefreshProvider> RefreshProvider for CachedProvider<P> {
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

#[cfg(test)]
mod tests {
    use super::super::lane::Lane;
    use super::super::limits::Limits;
    use super::*;
    use crate::auth::ProviderFault;
    use futures_util::FutureExt;
    use std::sync::atomic::AtomicUsize;

    const LONG: Duration = Duration::from_secs(300);

    /// Knows everyone whose token says "good", until this second, and counts how often it is asked.
    struct Scripted {
        asked: AtomicUsize,
        expires_at: u64,
    }

    impl TokenProvider for Scripted {
        fn verify_token<'a>(
            &'a self,
            token: &'a BearerToken,
            _: Instant,
        ) -> BoxFuture<'a, Result<TokenVerdict, CallFault>> {
            self.asked.fetch_add(1, Ordering::Relaxed);
            let claims = |name: &str| Claims::new(name.to_owned(), &[]).unwrap();
            let verdict = match token.expose() {
                "broken" => Err(ProviderFault::Unavailable("store".into()).into()),
                token if token.starts_with("good") => Ok(TokenVerdict::Recognized(claims(token))),
                _ => Ok(TokenVerdict::NotRecognized),
            };
            Box::pin(std::future::ready(verdict))
        }
    }

    impl SessionProvider for Scripted {
        fn verify_session<'a>(
            &'a self,
            access_token: &'a str,
            _: Instant,
        ) -> BoxFuture<'a, Result<Option<SessionClaims>, CallFault>> {
            self.asked.fetch_add(1, Ordering::Relaxed);
            let session = SessionClaims {
                user_id: "ada".into(),
                email: String::new(),
                display_name: String::new(),
                org_id: String::new(),
                expires_at: self.expires_at,
                access_token: Zeroizing::new(access_token.to_owned()),
                refresh_token: Zeroizing::default(),
            };
            Box::pin(std::future::ready(Ok((access_token == "good").then_some(session))))
        }
    }

    impl RefreshProvider for Scripted {
        fn refresh<'a>(&'a self, _: &'a str, _: Instant) -> BoxFuture<'a, Result<RefreshVerdict, CallFault>> {
            Box::pin(std::future::ready(Ok(RefreshVerdict::Expired)))
        }

        fn revoke<'a>(&'a self, _: &'a str, _: Instant) -> BoxFuture<'a, Result<(), CallFault>> {
            Box::pin(std::future::ready(Ok(())))
        }
    }

    fn cached(ttl: Duration, life: Duration) -> CachedProvider<Scripted> {
        let health = Arc::new(Health::new(Limits::default(), Box::new(|_| {})));
        let end = SystemTime::now().duration_since(UNIX_EPOCH).unwrap() + life;
        let provider = Arc::new(Scripted { asked: AtomicUsize::new(0), expires_at: end.as_secs() });
        CachedProvider::new(provider, health, ttl, Box::new(|| {})).unwrap()
    }

    fn asked(cached: &CachedProvider<Scripted>) -> usize {
        cached.provider.asked.load(Ordering::Relaxed)
    }

    fn verify(cached: &CachedProvider<Scripted>, token: &str) -> Option<String> {
        let token = BearerToken::by_hand(token.to_owned());
        let verdict = cached.verify_token(&token, Instant::now()).now_or_never().unwrap();
        match verdict {
            Ok(TokenVerdict::Recognized(claims)) => Some(claims.principal().to_owned()),
            _ => None,
        }
    }

    fn verify_session(cached: &CachedProvider<Scripted>) -> bool {
        cached.verify_session("good", Instant::now()).now_or_never().unwrap().unwrap().is_some()
    }

    #[test]
    fn only_a_yes_is_remembered_and_each_token_has_its_own() {
        let cached = cached(LONG, LONG);
        for (token, calls) in [("good-1", 1), ("good-2", 1), ("unknown", 3), ("broken", 3)] {
            let before = asked(&cached);
            for _ in 0..3 {
                assert_eq!(verify(&cached, token).as_deref(), token.starts_with("good").then_some(token));
            }
            assert_eq!(asked(&cached) - before, calls, "{token}");
        }
    }

    #[test]
    fn quarantine_ends_all_that_was_remembered() {
        let cached = cached(LONG, LONG);
        assert!(verify(&cached, "good").is_some() && verify_session(&cached));
        for _ in 0..20 {
            if let Ok(admitted) = cached.health.admit(Lane::Checks) {
                admitted.ended::<()>(&Err(ProviderFault::Trapped("kaboom".into()).into()));
            }
        }
        assert!(verify(&cached, "good").is_some() && verify_session(&cached));
        assert_eq!(asked(&cached), 4);
    }

    #[test]
    fn revocation_ends_every_session_that_was_remembered() {
        let cached = cached(LONG, LONG);
        assert!(verify_session(&cached) && verify_session(&cached));
        assert_eq!(asked(&cached), 1);
        cached.revoke("any", Instant::now()).now_or_never().unwrap().unwrap();
        assert!(verify_session(&cached));
        assert_eq!(asked(&cached), 2);
    }

    #[test]
    fn session_is_not_remembered_beyond_its_end() {
        let cached = cached(LONG, Duration::ZERO);
        assert!(verify_session(&cached) && verify_session(&cached));
        assert_eq!(asked(&cached), 2);
    }

    #[test]
    fn nothing_is_remembered_for_longer_than_it_may_be() {
        let cached = cached(Duration::from_millis(20), LONG);
        assert!(verify(&cached, "good").is_some());
        let deadline = Instant::now() + Duration::from_secs(10);
        while asked(&cached) < 2 {
            assert!(verify(&cached, "good").is_some());
            assert!(Instant::now() < deadline, "it is remembered for ever");
        }
    }

    #[test]
    fn one_caller_asks_anew_before_it_ends_and_the_others_do_not() {
        let cached = cached(LONG, LONG);
        let claims = |token: &str| Claims::new(token.to_owned(), &[]).unwrap();
        let ending = |token: &str| {
            let entry = cached.remember(claims(token), cached.before(), Duration::ZERO);
            let entry = Remembered { keep: LONG, ..Arc::into_inner(entry).unwrap() };
            cached.tokens.insert(cached.key(token), Arc::new(entry));
        };
        ending("good");
        assert!(cached.recall(&cached.tokens, &cached.key("good")).is_none(), "it is for this one to ask");
        for _ in 0..3 {
            assert_eq!(verify(&cached, "good").as_deref(), Some("good"));
        }
        assert_eq!(asked(&cached), 0);
        // What the provider says then holds for all.
        for (token, calls) in [("good-2", 1), ("gone", 3)] {
            ending(token);
            let before = asked(&cached);
            for _ in 0..3 {
                assert_eq!(verify(&cached, token).as_deref(), token.starts_with("good").then_some(token));
            }
            assert_eq!(asked(&cached) - before, calls, "{token}");
        }
    }

    #[test]
    fn tokens_of_a_session_are_not_kept() {
        let cached = cached(LONG, LONG);
        let ask = || cached.verify_session("good", Instant::now()).now_or_never().unwrap().unwrap().unwrap();
        assert_eq!(ask().access_token.as_str(), "good", "as the provider said it");
        assert_eq!(ask().access_token.as_str(), "");
    }
}
