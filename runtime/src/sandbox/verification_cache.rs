//! What a provider has said of a token or a session, for a while: for operators who prefer quick answers of a heavy
//! provider to new ones. Off unless `cache_ttl_ms` is set.
//!
//! **Invariant:** only a "yes" is kept, never beyond the session's own end, and none outlives a quarantine, a
//! revocation, or a reload (which makes a new cache). A token itself is not kept: entries stand under a keyed hash.
//!
//! Callers that ask about the same token at a time share one call: when an entry ends, it ends for all at once, and a heavy
//! provider could not answer them all. The call lasts as long as one of them waits for it.

use super::health::Health;
use crate::auth::{
    BearerToken, BoxFuture, CallFault, Claims, LogoutVerdict, ProviderFault, RefreshProvider, RefreshVerdict,
    SessionClaims, SessionProvider, SignOutProvider, TokenProvider, TokenVerdict,
};
use futures_util::FutureExt;
use futures_util::future::{Shared, WeakShared};
use hmac::{Hmac, KeyInit, Mac};
use moka::Expiry;
use moka::policy::EvictionPolicy;
use moka::sync::Cache;
use sha2::Sha256;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use zeroize::Zeroizing;

/// Entries of each kind: an entry counts once, and once more for each [`GROUP_BYTES`] of groups. Beyond them, the one that
/// was asked for least recently is dropped, which also ends those that a revocation has made worthless.
const MAX_ENTRIES: u64 = 10_000;
/// Bytes of groups that weigh as much as another entry.
const GROUP_BYTES: usize = 1024;
/// The caller that began a call hears from the call itself why it ended, which may be a moment late.
const GRACE: Duration = Duration::from_millis(10);

/// A keyed hash of a token, and of what has happened so far that makes earlier answers worthless: a quarantine or a
/// revocation changes every key.
type Key = [u8; 32];

/// Called for every "yes" that took no call of its own.
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

struct Yes<T> {
    said: T,
    keep: Duration,
}

/// What all callers of a call hear, and what is not kept for others.
#[derive(Clone)]
enum Otherwise {
    No,
    Fault(CallFault),
}

/// The outcome of a call.
type Told<T> = Result<Arc<Yes<T>>, Otherwise>;

type Call<T> = Shared<BoxFuture<'static, Told<T>>>;

/// What is kept of one kind, and the calls that are under way.
struct Answers<T> {
    kept: Cache<Key, Arc<Yes<T>>>,
    under_way: Mutex<HashMap<Key, WeakShared<BoxFuture<'static, Told<T>>>>>,
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

impl<T: Send + Sync + 'static> Answers<T> {
    fn new(ttl: Duration, groups: fn(&T) -> &[String]) -> Self {
        let kept = Cache::builder()
            .max_capacity(MAX_ENTRIES)
            .weigher(move |_: &Key, yes: &Arc<Yes<T>>| weight(groups(&yes.said)))
            .eviction_policy(EvictionPolicy::lru())
            .time_to_live(ttl)
            .expire_after(OwnExpiry)
            .build();
        Self { kept, under_way: Mutex::default() }
    }

    /// The call about this token that is under way, or a new one. Returns whether it is new.
    fn join<A>(&self, key: Key, ask: impl FnOnce() -> A) -> (Call<T>, bool)
    where
        A: Future<Output = Result<Option<Yes<T>>, CallFault>> + Send + 'static,
    {
        let mut under_way = self.under_way.lock().unwrap_or_else(PoisonError::into_inner);
        let known = under_way.get(&key).and_then(WeakShared::upgrade);
        if let Some(call) = known.filter(|call| call.peek().is_none()) {
            return (call, false);
        }
        let (kept, asking) = (self.kept.clone(), ask());
        let call = async move {
            let yes = asking.await.map_err(Otherwise::Fault)?.map(Arc::new).ok_or(Otherwise::No)?;
            kept.insert(key, yes.clone());
            Ok(yes)
        };
        let call = (Box::pin(call) as BoxFuture<'static, _>).shared();
        under_way.retain(|_, call| call.upgrade().is_some());
        under_way.extend(call.downgrade().map(|call| (key, call)));
        (call, true)
    }
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
        let tokens = Answers::new(ttl, Claims::groups);
        let sessions = Answers::new(ttl, |session: &SessionClaims| session.groups.as_slice());
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
    async fn answer<T: Send + Sync + 'static, A>(
        &self,
        answers: &Answers<T>,
        token: &str,
        by: Instant,
        ask: impl Fn() -> A,
    ) -> Result<Option<Arc<Yes<T>>>, CallFault>
    where
        A: Future<Output = Result<Option<Yes<T>>, CallFault>> + Send + 'static,
    {
        let key = self.key(token);
        if let Some(yes) = answers.kept.get(&key) {
            (self.hit)();
            return Ok(Some(yes));
        }
        loop {
            let (call, is_own) = answers.join(key, &ask);
            let told = tokio::time::timeout_at((by + GRACE).into(), call).await;
            match told.map_err(|_| ProviderFault::NoTimeLeft)? {
                Ok(yes) => {
                    if !is_own {
                        (self.hit)();
                    }
                    return Ok(Some(yes));
                }
                Err(Otherwise::No) => return Ok(None),
                // It was the other's time that was over.
                Err(Otherwise::Fault(fault)) if is_brief(&fault) && !is_own && Instant::now() < by => {}
                Err(Otherwise::Fault(fault)) => return Err(fault),
            }
        }
    }
}

/// What an entry with these groups counts.
fn weight(groups: &[String]) -> u32 {
    let bytes: usize = groups.iter().map(|group| group.len() + size_of::<String>()).sum();
    u32::try_from(1 + bytes / GROUP_BYTES).unwrap_or(u32::MAX)
}

/// Whether the caller that began the call had no time for an answer.
fn is_brief(fault: &CallFault) -> bool {
    fault.fault == ProviderFault::NoTimeLeft
}

impl<P: TokenProvider + 'static> TokenProvider for CachedProvider<P> {
    fn verify_token<'a>(
        &'a self,
        token: &'a BearerToken,
        by: Instant,
    ) -> BoxFuture<'a, Result<TokenVerdict, CallFault>> {
        let ask = move || {
            let (provider, token) = (self.provider.clone(), token.clone());
            async move {
                Ok(match provider.verify_token(&token, by).await? {
                    TokenVerdict::Recognized(claims) => Some(Yes { said: claims, keep: Duration::MAX }),
                    TokenVerdict::NotRecognized | TokenVerdict::Unusable(_) => None,
                })
            }
        };
        Box::pin(async move {
            let yes = self.answer(&self.tokens, token.expose(), by, ask).await?;
            Ok(yes.map_or(TokenVerdict::NotRecognized, |yes| TokenVerdict::Recognized(yes.said.clone())))
        })
    }
}

impl<P: SessionProvider + 'static> SessionProvider for CachedProvider<P> {
    fn verify_session<'a>(
        &'a self,
        access_token: &'a str,
        by: Instant,
    ) -> BoxFuture<'a, Result<Option<SessionClaims>, CallFault>> {
        let ask = move || {
            let (provider, token) = (self.provider.clone(), Zeroizing::new(access_token.to_owned()));
            async move {
                let session = provider.verify_session(&token, by).await?;
                Ok(session
                    .map(|session| Yes { keep: until(session.expires_at), said: without_tokens(&session) }))
            }
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
    /// nothing that was said while it was being revoked is believed afterwards. (A revocation that is cut off may take
    /// effect after that.)
    fn revoke<'a>(&'a self, refresh_token: &'a str, by: Instant) -> BoxFuture<'a, Result<(), CallFault>> {
        let revocation = Revocation::of(&self.revocations);
        Box::pin(async move {
            let _until_it_is_over = revocation;
            self.provider.revoke(refresh_token, by).await
        })
    }
}

impl<P: SignOutProvider> SignOutProvider for CachedProvider<P> {
    /// Which sessions a logout token ends is the provider's own business, as with a revocation.
    fn read_logout_token<'a>(
        &'a self,
        token: &'a str,
        by: Instant,
    ) -> BoxFuture<'a, Result<LogoutVerdict, CallFault>> {
        Box::pin(async move {
            let verdict = self.provider.read_logout_token(token, by).await;
            // A client that sends made-up tokens must not empty the cache. A call without an answer may have noted
            // something all the same.
            if !matches!(verdict, Ok(LogoutVerdict::Invalid(_))) {
                self.revocations.fetch_add(1, Ordering::Release);
            }
            verdict
        })
    }

    fn sign_out_url<'a>(
        &'a self,
        access_token: &'a str,
        return_to: &'a str,
        by: Instant,
    ) -> BoxFuture<'a, Result<Option<String>, CallFault>> {
        self.provider.sign_out_url(access_token, return_to, by)
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
        groups: session.groups.clone(),
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
                refresh_token: Zeroizing::new("secret".into()),
                groups: Vec::new(),
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

    impl SignOutProvider for Scripted {
        fn read_logout_token<'a>(
            &'a self,
            token: &'a str,
            _: Instant,
        ) -> BoxFuture<'a, Result<LogoutVerdict, CallFault>> {
            Box::pin(std::future::ready(match token {
                "noted" => Ok(LogoutVerdict::Noted),
                "ada" => Ok(LogoutVerdict::Person(token.to_owned())),
                "slow" => Err(ProviderFault::NoTimeLeft.into()),
                _ => Ok(LogoutVerdict::Invalid(String::new())),
            }))
        }

        fn sign_out_url<'a>(
            &'a self,
            _: &'a str,
            _: &'a str,
            _: Instant,
        ) -> BoxFuture<'a, Result<Option<String>, CallFault>> {
            Box::pin(std::future::ready(Ok(None)))
        }
    }

    fn caching<P>(provider: P, ttl: Duration) -> CachedProvider<P> {
        let health = Arc::new(Health::new(Limits::default(), Box::new(|_| {})));
        CachedProvider::new(Arc::new(provider), health, ttl, Box::new(|| {})).unwrap()
    }

    fn cached(ttl: Duration, life: Duration) -> CachedProvider<Scripted> {
        caching(Scripted { asked: AtomicUsize::new(0), expires_at: in_so_long(life) }, ttl)
    }

    fn in_so_long(life: Duration) -> u64 {
        (SystemTime::now().duration_since(UNIX_EPOCH).unwrap() + life).as_secs()
    }

    fn asked(cached: &CachedProvider<Scripted>) -> usize {
        cached.provider.asked.load(Ordering::Relaxed)
    }

    async fn verify<P: TokenProvider + 'static>(cached: &CachedProvider<P>, token: &str) -> Option<String> {
        let token = BearerToken::by_hand(token.to_owned());
        match cached.verify_token(&token, Instant::now()).await {
            Ok(TokenVerdict::Recognized(claims)) => Some(claims.principal().to_owned()),
            _ => None,
        }
    }

    async fn verify_session(cached: &CachedProvider<Scripted>) -> bool {
        cached.verify_session("good", Instant::now()).await.unwrap().is_some()
    }

    #[test]
    fn entry_weighs_what_its_groups_take() {
        assert_eq!(weight(&[]), 1);
        assert_eq!(weight(&["admins".to_owned()]), 1);
        let full = vec!["x".repeat(256); 256];
        assert!((64..=80).contains(&weight(&full)), "{}", weight(&full));
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
    async fn logout_token_ends_every_session_that_was_remembered_unless_it_is_none() {
        for (token, calls) in [("noted", 2), ("ada", 2), ("slow", 2), ("made up", 1)] {
            let cached = cached(LONG, LONG);
            assert!(verify_session(&cached).await);
            let _ = cached.read_logout_token(token, Instant::now()).await;
            assert!(verify_session(&cached).await);
            assert_eq!(asked(&cached), calls, "{token}");
        }
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
            cached.tokens.kept.insert(cached.key("good"), Arc::new(Yes { said, keep }));
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
    async fn tokens_of_a_session_are_neither_kept_nor_given_out() {
        let cached = cached(LONG, LONG);
        let has_none = |session: &SessionClaims| {
            session.user_id == "ada" && session.access_token.is_empty() && session.refresh_token.is_empty()
        };
        for _ in 0..2 {
            let session = cached.verify_session("good", Instant::now()).await.unwrap().unwrap();
            assert!(has_none(&session));
        }
        assert!(has_none(&cached.sessions.kept.iter().next().unwrap().1.said));
    }

    /// Answers when it is let.
    struct Slow {
        quick: Scripted,
        may_answer: Arc<Semaphore>,
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

    impl SessionProvider for Slow {
        fn verify_session<'a>(
            &'a self,
            access_token: &'a str,
            by: Instant,
        ) -> BoxFuture<'a, Result<Option<SessionClaims>, CallFault>> {
            let said = self.quick.verify_session(access_token, by);
            Box::pin(async move {
                self.may_answer.acquire().await.unwrap().forget();
                said.await
            })
        }
    }

    impl RefreshProvider for Slow {
        fn refresh<'a>(
            &'a self,
            token: &'a str,
            by: Instant,
        ) -> BoxFuture<'a, Result<RefreshVerdict, CallFault>> {
            self.quick.refresh(token, by)
        }

        fn revoke<'a>(&'a self, token: &'a str, by: Instant) -> BoxFuture<'a, Result<(), CallFault>> {
            self.quick.revoke(token, by)
        }
    }

    fn slow() -> CachedProvider<Slow> {
        let quick = Scripted { asked: AtomicUsize::new(0), expires_at: in_so_long(LONG) };
        caching(Slow { quick, may_answer: Arc::new(Semaphore::new(0)) }, LONG)
    }

    fn asked_slow(cached: &CachedProvider<Slow>) -> usize {
        cached.provider.quick.asked.load(Ordering::Relaxed)
    }

    /// Polls a call once, so that it begins.
    async fn begin<T>(call: &mut BoxFuture<'_, T>) {
        assert!(call.as_mut().now_or_never().is_none());
        settle().await;
    }

    /// Lets every task run that can.
    async fn settle() {
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
    }

    /// Eight callers at once.
    async fn eight_at_once(cached: &CachedProvider<Slow>, token: &str) -> Vec<Result<bool, CallFault>> {
        let token = BearerToken::by_hand(token.to_owned());
        let by = Instant::now() + LONG;
        let mut callers = join_all((0..8).map(|_| cached.verify_token(&token, by))).boxed();
        begin(&mut callers).await;
        cached.provider.may_answer.add_permits(8);
        let said = callers.await;
        cached.provider.may_answer.forget_permits(8);
        let is_yes = |verdict| matches!(verdict, TokenVerdict::Recognized(_));
        said.into_iter().map(|said| said.map(is_yes)).collect()
    }

    #[tokio::test]
    async fn all_who_ask_at_once_have_the_answer_to_one_call() {
        let cached = slow();
        let broken = || ProviderFault::Unavailable("store".into()).into();
        for (token, said) in [("good", Ok(true)), ("unknown", Ok(false)), ("broken", Err(broken()))] {
            let before = asked_slow(&cached);
            assert_eq!(eight_at_once(&cached, token).await, vec![said; 8], "{token}");
            assert_eq!(asked_slow(&cached) - before, 1, "{token}");
        }
    }

    #[tokio::test]
    async fn calls_about_other_tokens_do_not_wait() {
        let cached = slow();
        let by = Instant::now() + LONG;
        let [first, second] = ["good-1", "good-2"].map(|token| BearerToken::by_hand(token.into()));
        let (mut first, mut second) = (cached.verify_token(&first, by), cached.verify_token(&second, by));
        begin(&mut first).await;
        begin(&mut second).await;
        assert_eq!(asked_slow(&cached), 2);
    }

    #[tokio::test]
    async fn waiter_goes_when_its_own_time_is_over() {
        let cached = slow();
        let token = BearerToken::by_hand("good".into());
        let mut first = cached.verify_token(&token, Instant::now() + LONG);
        begin(&mut first).await;
        let second = cached.verify_token(&token, Instant::now()).await;
        assert_eq!(second, Err(ProviderFault::NoTimeLeft.into()));
        assert_eq!(asked_slow(&cached), 1);
    }

    #[tokio::test]
    async fn caller_with_time_left_asks_itself_when_the_other_had_none() {
        let cached = slow();
        let token = BearerToken::by_hand("good".into());
        let by = Instant::now() + LONG;
        let may_answer = cached.provider.may_answer.clone();
        let (other, is_own) = cached.tokens.join(cached.key("good"), || async move {
            may_answer.acquire().await.unwrap().forget();
            Err(ProviderFault::NoTimeLeft.into())
        });
        assert!(is_own);
        let mut waits = cached.verify_token(&token, by);
        begin(&mut waits).await;
        assert_eq!(asked_slow(&cached), 0);
        cached.provider.may_answer.add_permits(2);
        let (other, said) = tokio::join!(other, waits);
        assert!(matches!(other, Err(Otherwise::Fault(fault)) if is_brief(&fault)));
        assert!(matches!(said, Ok(TokenVerdict::Recognized(_))));
        assert_eq!(asked_slow(&cached), 1);
    }

    #[tokio::test]
    async fn caller_that_hangs_up_leaves_its_call_to_the_others() {
        let cached = slow();
        let token = BearerToken::by_hand("good".into());
        let by = Instant::now() + LONG;
        let mut first = cached.verify_token(&token, by);
        begin(&mut first).await;
        let mut second = cached.verify_token(&token, by);
        begin(&mut second).await;
        drop(first);
        cached.provider.may_answer.add_permits(1);
        assert!(matches!(second.await, Ok(TokenVerdict::Recognized(_))));
        assert_eq!(asked_slow(&cached), 1);
    }

    #[tokio::test]
    async fn call_that_no_caller_waits_for_is_given_up() {
        let cached = slow();
        let by = Instant::now() + LONG;
        let under_way = || {
            let calls = cached.tokens.under_way.lock().unwrap();
            calls.values().filter(|call| call.upgrade().is_some()).count()
        };
        for number in 0..100 {
            let token = BearerToken::by_hand(format!("good-{number}"));
            let mut callers = [(); 2].map(|()| cached.verify_token(&token, by));
            for caller in &mut callers {
                begin(caller).await;
            }
            assert_eq!(under_way(), 1);
            drop(callers);
            assert_eq!(under_way(), 0);
        }
        assert_eq!(cached.tokens.under_way.lock().unwrap().len(), 1, "the others are forgotten");
    }

    #[tokio::test]
    async fn what_was_asked_before_a_revocation_is_not_believed_after_it() {
        let cached = slow();
        let by = Instant::now() + LONG;
        let mut check = cached.verify_session("good", by);
        begin(&mut check).await;
        cached.revoke("any", by).await.unwrap();
        cached.provider.may_answer.add_permits(2);
        assert!(check.await.unwrap().is_some());
        assert!(cached.verify_session("good", by).await.unwrap().is_some());
        assert_eq!(asked_slow(&cached), 2);
    }
}
