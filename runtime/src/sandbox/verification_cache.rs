//! What a provider has said of a token or a session, for a while: for operators who would rather have a heavy
//! provider's answers quickly than anew. Off unless `cache_ttl_ms` is set.
//!
//! **Invariant:** only a "yes" is kept, never beyond the session's own end, and none outlives a quarantine, a
//! revocation, or a reload (which makes a new cache). A token itself is not kept: entries stand under a keyed hash.
//!
//! Whoever asks while another's call about the same token is under way waits for its answer: when an entry ends, it
//! ends for all at once, and a heavy provider could not answer them all.

use super::health::Health;
use crate::auth::{
    BearerToken, BoxFuture, CallFault, Claims, ProviderFault, RefreshProvider, RefreshVerdict, SessionClaims,
    SessionProvider, TokenProvider, TokenVerdict,
};
use hmac::{Hmac, KeyInit, Mac};
use moka::Expiry;
use moka::future::Cache;
use sha2::Sha256;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use zeroize::Zeroizing;

/// Entries of each kind. Beyond them, those that are asked for least are dropped.
const MAX_ENTRIES: u64 = 10_000;

/// A keyed hash of a token, and of what has happened so far that makes earlier answers worthless: a quarantine or a
/// revocation changes every key.
type Key = [u8; 32];

/// Is told of every "yes" that was given without asking the provider.
pub type HitMeter = Box<dyn Fn() + Send + Sync>;

/// A provider whose good answers are remembered.
pub struct CachedProvider<P> {
    provider: Arc<P>,
    health: Arc<Health>,
    secret: Hmac<Sha256>,
    tokens: Answers<Claims>,
    sessions: Answers<SessionClaims>,
    revocations: AtomicU64,
    hit: HitMeter,
}

type Answers<T> = Cache<Key, Arc<Yes<T>>>;

struct Yes<T> {
    said: T,
    keep: Duration,
}

/// What is told to all who wait for the same call, and kept for nobody else.
enum Otherwise {
    No,
    Fault(CallFault),
}

/// Each entry says itself how long it is kept.
struct OwnExpiry;

impl<T> Expiry<Key, Arc<Yes<T>>> for OwnExpiry {
    fn expire_after_create(&self, _: &Key, yes: &Arc<Yes<T>>, _: Instant) -> Option<Duration> {
        Some(yes.keep)
    }

    fn expire_after_update(
        &self,
        _: &Key,
        yes: &Arc<Yes<T>>,
        _: Instant,
        _: Option<Duration>,
    ) -> Option<Duration> {
        Some(yes.keep)
    }
}

fn answers<T: Send + Sync + 'static>(ttl: Duration) -> Answers<T> {
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
        let (tokens, sessions) = (answers(ttl), answers(ttl));
        Ok(Self { provider, health, secret, tokens, sessions, revocations: AtomicU64::new(0), hit })
    }

    fn key(&self, token: &str) -> Key {
        let mut hash = self.secret.clone();
        for happened in [self.health.quarantines(), self.revocations.load(Ordering::Acquire)] {
            hash.update(&happened.to_le_bytes());
        }
        hash.update(token.as_bytes());
        hash.finalize().into_bytes().into()
    }

    /// What is remembered of this token, or else what the provider says now.
    async fn answer<T: Send + Sync + 'static>(
        &self,
        answers: &Answers<T>,
        token: &str,
        by: Instant,
        ask: impl Future<Output = Result<Option<Yes<T>>, CallFault>>,
    ) -> Result<Option<Arc<Yes<T>>>, CallFault> {
        let key = self.key(token);
        if let Some(yes) = answers.get(&key).await {
            (self.hit)();
            return Ok(Some(yes));
        }
        let ask = async { ask.await.map_err(Otherwise::Fault)?.map(Arc::new).ok_or(Otherwise::No) };
        // Whoever asks ends in time by itself; this is for those who wait for another's call.
        let entry = tokio::time::timeout_at(by.into(), answers.entry(key).or_try_insert_with(ask)).await;
        match entry.map_err(|_| ProviderFault::NoTimeLeft)? {
            Ok(entry) => {
                if !entry.is_fresh() {
                    (self.hit)();
                }
                Ok(Some(entry.into_value()))
            }
            Err(otherwise) => match &*otherwise {
                Otherwise::No => Ok(None),
                Otherwise::Fault(fault) => Err(fault.clone()),
            },
        }
    }
}

impl<P: TokenProvider> TokenProvider for CachedProvider<P> {
    fn verify_token<'a>(
        &'a self,
        token: &'a BearerToken,
        by: Instant,
    ) -> BoxFuture<'a, Result<TokenVerdict, CallFault>> {
        let ask = async move {
            Ok(match self.provider.verify_token(token, by).await? {
                TokenVerdict::Recognized(claims) => Some(Yes { said: claims, keep: Duration::MAX }),
                TokenVerdict::NotRecognized => None,
            })
        };
        Box::pin(async move {
            let yes = self.answer(&self.tokens, token.expose(), by, ask).await?;
            Ok(yes.map_or(TokenVerdict::NotRecognized, |yes| TokenVerdict::Recognized(yes.said.clone())))
        })
    }
}

impl<P: SessionProvider> SessionProvider for CachedProvider<P> {
    fn verify_session<'a>(
        &'a self,
        access_token: &'a str,
        by: Instant,
    ) -> BoxFuture<'a, Result<Option<SessionClaims>, CallFault>> {
        let ask = async move {
            let session = self.provider.verify_session(access_token, by).await?;
            Ok(session.map(|session| Yes { keep: until(session.expires_at), said: without_tokens(&session) }))
        };
        Box::pin(async move {
            let yes = self.answer(&self.sessions, access_token, by, ask).await?;
            Ok(yes.map(|yes| without_tokens(&yes.said)))
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

    /// Which sessions a refresh token belongs to is the provider's own business: none is believed without asking, and
    /// nothing that was said while it was being revoked is believed afterwards.
    fn revoke<'a>(&'a self, refresh_token: &'a str, by: Instant) -> BoxFuture<'a, Result<(), CallFault>> {
        let revocation = Revocation::of(&self.revocations);
        Box::pin(async move {
            let _until_it_is_over = revocation;
            self.provider.revoke(refresh_token, by).await
        })
    }
}

/// Ends what is remembered when it begins, and when it is over, however that comes about.
struct Revocation<'a>(&'a AtomicU64);

impl<'a> Revocation<'a> {
    fn of(revocations: &'a AtomicU64) -> Self {
        revocations.fetch_add(1, Ordering::Release);
        Self(revocations)
    }
}

impl Drop for Revocation<'_> {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::Release);
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
    use futures_util::FutureExt;
    use futures_util::future::join_all;
    use std::sync::atomic::AtomicUsize;
    use tokio::sync::Semaphore;

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

    fn caching<P>(provider: P, ttl: Duration) -> CachedProvider<P> {
        let health = Arc::new(Health::new(Limits::default(), Box::new(|_| {})));
        CachedProvider::new(Arc::new(provider), health, ttl, Box::new(|| {})).unwrap()
    }

    fn cached(ttl: Duration, life: Duration) -> CachedProvider<Scripted> {
        let end = SystemTime::now().duration_since(UNIX_EPOCH).unwrap() + life;
        caching(Scripted { asked: AtomicUsize::new(0), expires_at: end.as_secs() }, ttl)
    }

    fn asked(cached: &CachedProvider<Scripted>) -> usize {
        cached.provider.asked.load(Ordering::Relaxed)
    }

    async fn verify<P: TokenProvider>(cached: &CachedProvider<P>, token: &str) -> Option<String> {
        let token = BearerToken::by_hand(token.to_owned());
        match cached.verify_token(&token, Instant::now()).await {
            Ok(TokenVerdict::Recognized(claims)) => Some(claims.principal().to_owned()),
            _ => None,
        }
    }

    async fn verify_session(cached: &CachedProvider<Scripted>) -> bool {
        cached.verify_session("good", Instant::now()).await.unwrap().is_some()
    }

    #[tokio::test]
    async fn only_a_yes_is_remembered_and_each_token_has_its_own() {
        let cached = cached(LONG, LONG);
        for (token, calls) in [("good-1", 1), ("good-2", 1), ("unknown", 3), ("broken", 3)] {
            let before = asked(&cached);
            for _ in 0..3 {
                assert_eq!(
                    verify(&cached, token).await.as_deref(),
                    token.starts_with("good").then_some(token)
                );
            }
            assert_eq!(asked(&cached) - before, calls, "{token}");
        }
    }

    #[tokio::test]
    async fn quarantine_ends_all_that_was_remembered() {
        let cached = cached(LONG, LONG);
        assert!(verify(&cached, "good").await.is_some() && verify_session(&cached).await);
        for _ in 0..20 {
            if let Ok(admitted) = cached.health.admit(Lane::Checks) {
                admitted.ended::<()>(&Err(ProviderFault::Trapped("kaboom".into()).into()));
            }
        }
        assert!(verify(&cached, "good").await.is_some() && verify_session(&cached).await);
        assert_eq!(asked(&cached), 4);
    }

    #[tokio::test]
    async fn revocation_ends_every_session_that_was_remembered() {
        let cached = cached(LONG, LONG);
        assert!(verify_session(&cached).await && verify_session(&cached).await);
        assert_eq!(asked(&cached), 1);
        let revocation = cached.revoke("any", Instant::now());
        assert!(verify_session(&cached).await);
        assert_eq!(asked(&cached), 2, "once it has begun");
        revocation.await.unwrap();
        assert!(verify_session(&cached).await);
        assert_eq!(asked(&cached), 3, "what was said meanwhile may have been said too early");
    }

    #[tokio::test]
    async fn session_is_not_remembered_beyond_its_end() {
        let cached = cached(LONG, Duration::ZERO);
        assert!(verify_session(&cached).await && verify_session(&cached).await);
        assert_eq!(asked(&cached), 2);
    }

    #[tokio::test]
    async fn entry_ends_when_it_says_and_not_when_the_one_before_it_would_have() {
        let cached = cached(LONG, LONG);
        for keep in [LONG, Duration::ZERO] {
            let said = Claims::new("good".into(), &[]).unwrap();
            cached.tokens.insert(cached.key("good"), Arc::new(Yes { said, keep })).await;
        }
        assert!(verify(&cached, "good").await.is_some());
        assert_eq!(asked(&cached), 1);
    }

    #[tokio::test]
    async fn nothing_is_remembered_for_longer_than_it_may_be() {
        let cached = cached(Duration::from_millis(20), LONG);
        assert!(verify(&cached, "good").await.is_some());
        let deadline = Instant::now() + Duration::from_secs(10);
        while asked(&cached) < 2 {
            assert!(verify(&cached, "good").await.is_some());
            assert!(Instant::now() < deadline, "it is remembered for ever");
        }
    }

    #[tokio::test]
    async fn tokens_of_a_session_are_not_kept() {
        let cached = cached(LONG, LONG);
        assert!(verify_session(&cached).await);
        let kept = cached.sessions.iter().next().unwrap().1;
        assert_eq!(kept.said.access_token.as_str(), "");
    }

    /// Answers when it is let.
    struct Slow {
        quick: Scripted,
        may_answer: Semaphore,
    }

    impl TokenProvider for Slow {
        fn verify_token<'a>(
            &'a self,
            token: &'a BearerToken,
            by: Instant,
        ) -> BoxFuture<'a, Result<TokenVerdict, CallFault>> {
            let said = self.quick.verify_token(token, by);
            Box::pin(async move {
                self.may_answer.acquire().await.unwrap().forget();
                said.await
            })
        }
    }

    fn slow() -> CachedProvider<Slow> {
        let quick = Scripted { asked: AtomicUsize::new(0), expires_at: 0 };
        caching(Slow { quick, may_answer: Semaphore::new(0) }, LONG)
    }

    /// Eight callers at once.
    async fn eight_at_once(cached: &CachedProvider<Slow>, token: &str) -> Vec<Result<bool, CallFault>> {
        let token = BearerToken::by_hand(token.to_owned());
        let by = Instant::now() + LONG;
        let callers = join_all((0..8).map(|_| cached.verify_token(&token, by)));
        let (said, ()) = tokio::join!(callers, async { cached.provider.may_answer.add_permits(8) });
        cached.provider.may_answer.forget_permits(8);
        let is_yes = |verdict| matches!(verdict, TokenVerdict::Recognized(_));
        said.into_iter().map(|said| said.map(is_yes)).collect()
    }

    #[tokio::test]
    async fn all_who_ask_at_once_have_the_answer_to_one_call() {
        let cached = slow();
        let broken = || ProviderFault::Unavailable("store".into()).into();
        for (token, said) in [("good", Ok(true)), ("unknown", Ok(false)), ("broken", Err(broken()))] {
            let before = cached.provider.quick.asked.load(Ordering::Relaxed);
            assert_eq!(eight_at_once(&cached, token).await, vec![said; 8], "{token}");
            assert_eq!(cached.provider.quick.asked.load(Ordering::Relaxed) - before, 1, "{token}");
        }
    }

    #[tokio::test]
    async fn who_asks_about_another_token_waits_for_nobody() {
        let cached = slow();
        let by = Instant::now() + LONG;
        let [first, second] = ["good-1", "good-2"].map(|token| BearerToken::by_hand(token.into()));
        let (mut first, mut second) = (cached.verify_token(&first, by), cached.verify_token(&second, by));
        assert!(first.as_mut().now_or_never().is_none() && second.as_mut().now_or_never().is_none());
        assert_eq!(cached.provider.quick.asked.load(Ordering::Relaxed), 2);
    }

    #[tokio::test]
    async fn who_waits_for_another_goes_when_its_own_time_is_over() {
        let cached = slow();
        let token = BearerToken::by_hand("good".into());
        let first = cached.verify_token(&token, Instant::now() + LONG);
        let second = cached.verify_token(&token, Instant::now() + Duration::from_millis(20));
        let second = tokio::select! {
            biased;
            _ = first => panic!("nobody has let it answer"),
            second = second => second,
        };
        assert_eq!(second, Err(ProviderFault::NoTimeLeft.into()));
    }

    #[tokio::test]
    async fn caller_that_goes_away_leaves_its_call_to_the_next() {
        let cached = slow();
        let token = BearerToken::by_hand("good".into());
        let by = Instant::now() + LONG;
        let mut first = cached.verify_token(&token, by);
        assert!(first.as_mut().now_or_never().is_none());
        let mut second = cached.verify_token(&token, by);
        assert!(second.as_mut().now_or_never().is_none());
        drop(first);
        cached.provider.may_answer.add_permits(1);
        assert!(matches!(second.await, Ok(TokenVerdict::Recognized(_))));
        assert_eq!(cached.provider.quick.asked.load(Ordering::Relaxed), 2);
    }
}
