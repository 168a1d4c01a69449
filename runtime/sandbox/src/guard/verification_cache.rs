//! Remembers for a while that a provider recognized a token or a session. Operators turn it on with
//! `cache_ttl_ms` for a provider that is slow.
//!
//! **Invariant:** only a "yes" is kept. It is believed at most until the session's own end, and
//! never after a quarantine, a revocation, or a reload (which makes a new cache). A token itself is
//! not kept: entries stand under a keyed hash.
//!
//! Callers that ask about the same token at the same time share one call. Without that, all callers
//! would ask a slow provider at the moment at which an entry expires.

use crate::clock::now;
use crate::guard::health::Health;
use crate::weak_map::WeakMap;
use futures_util::FutureExt;
use futures_util::future::Shared;
use hmac::{Hmac, KeyInit, Mac};
use moka::policy::EvictionPolicy;
use moka::sync::Cache;
use portcullis_auth::{
    BearerToken, BoxFuture, CallFault, CheckedClaims, Claims, LogoutVerdict, ProviderFault,
    RefreshProvider, RefreshVerdict, SessionProvider, SignOutProvider, TokenProvider, TokenVerdict,
};
use sha2::Sha256;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use zeroize::Zeroizing;

/// Entries of each kind. An entry counts once, and once more for each [`GROUP_BYTES`] of groups.
/// Beyond them, the entry that was used least recently is dropped, so those that a revocation has
/// made worthless are dropped as well.
const MAX_ENTRIES: u64 = 10_000;
/// Bytes of groups that count as one more entry.
const GROUP_BYTES: usize = 1024;
/// How much longer than its deadline a caller waits: the call itself says why it ended, which may
/// take a moment.
const GRACE: Duration = Duration::from_millis(10);

/// A keyed hash of a token and of the number of quarantines and revocations so far.
type CacheKey = [u8; 32];

/// Called for every "yes" that took no call of its own.
pub type HitMeter = Box<dyn Fn() + Send + Sync>;

/// A provider whose good answers are remembered.
pub struct CachedProvider<P> {
    provider: Arc<P>,
    health: Arc<Health>,
    secret: Hmac<Sha256>,
    tokens: Answers<Claims>,
    sessions: Answers<CheckedClaims>,
    revocations: AtomicU64,
    hit: HitMeter,
}

/// What a call says to all callers that share it. `None` is every answer but "yes".
type Answer<T> = Result<Option<Arc<T>>, CallFault>;

type Call<T> = Shared<BoxFuture<'static, Answer<T>>>;

/// What is kept of one kind, and the calls that are under way.
struct Answers<T> {
    kept: Cache<CacheKey, Arc<T>>,
    // moka's `try_get_with` also makes callers share a call, but it drops the call with the caller
    // that began it. A waiter then begins another, so callers that disconnect can keep the answer
    // from all others, and after 200 of them in a row moka panics (moka issue 240). Here the call
    // lasts as long as one caller waits for it.
    under_way: Arc<WeakMap<CacheKey, Call<T>>>,
}

impl<T: Send + Sync + 'static> Answers<T> {
    fn new(ttl: Duration, groups: fn(&T) -> &[String]) -> Self {
        let kept = Cache::builder()
            .max_capacity(MAX_ENTRIES)
            .weigher(move |_: &CacheKey, yes: &Arc<T>| weight(groups(yes)))
            .eviction_policy(EvictionPolicy::lru())
            .time_to_live(ttl)
            .build();
        Self {
            kept,
            under_way: Arc::default(),
        }
    }

    /// Returns the call about this token that is under way, or a new one.
    fn call<A>(&self, key: CacheKey, ask: impl FnOnce() -> A) -> Arc<Call<T>>
    where
        A: Future<Output = Result<Option<T>, CallFault>> + Send + 'static,
    {
        self.under_way.get_or_make(key, || {
            let kept = self.kept.clone();
            let under_way = self.under_way.clone();
            let asking = ask();

            let call = async move {
                let answer = asking.await.map(|yes| yes.map(Arc::new));
                if let Ok(Some(yes)) = &answer {
                    kept.insert(key, yes.clone());
                }
                under_way.forget(&key);
                answer
            };
            call.boxed().shared()
        })
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
        let sessions = Answers::new(ttl, |session: &CheckedClaims| session.groups.as_slice());

        Ok(Self {
            provider,
            health,
            secret,
            tokens,
            sessions,
            revocations: AtomicU64::new(0),
            hit,
        })
    }

    // A quarantine or a revocation changes every key. moka's `invalidate_all` would not do: it
    // keeps the answer of a call that began before it and ends after it.
    fn key(&self, token: &str) -> CacheKey {
        let mut hash = self.secret.clone();
        for happened in [
            self.health.quarantines(),
            self.revocations.load(Ordering::Acquire),
        ] {
            hash.update(&happened.to_le_bytes());
        }
        hash.update(token.as_bytes());
        hash.finalize().into_bytes().into()
    }

    /// Returns what is kept of this token and still `holds`, or else what the provider says now.
    async fn answer<T: Send + Sync + 'static, A>(
        &self,
        answers: &Answers<T>,
        token: &str,
        deadline: Instant,
        holds: impl FnOnce(&T) -> bool,
        ask: impl Fn() -> A,
    ) -> Answer<T>
    where
        A: Future<Output = Result<Option<T>, CallFault>> + Send + 'static,
    {
        let key = self.key(token);
        if let Some(yes) = answers.kept.get(&key).filter(|yes| holds(yes)) {
            (self.hit)();
            return Ok(Some(yes));
        }

        loop {
            let mut is_own = false;
            let call = answers.call(key, || {
                is_own = true;
                ask()
            });
            let waiting = tokio::time::timeout_at((deadline + GRACE).into(), (*call).clone());
            let answer = waiting
                .await
                .unwrap_or_else(|_| Err(ProviderFault::NoTimeLeft.into()));

            let is_brief =
                matches!(&answer, Err(fault) if fault.fault == ProviderFault::NoTimeLeft);
            if is_brief && !is_own && Instant::now() < deadline {
                // The caller that began the call had no more time. This one has.
                continue;
            }
            if !is_own && matches!(answer, Ok(Some(_))) {
                (self.hit)();
            }
            return answer;
        }
    }
}

/// What an entry with these groups counts.
fn weight(groups: &[String]) -> u32 {
    let bytes: usize = groups
        .iter()
        .map(|group| group.len() + size_of::<String>())
        .sum();
    u32::try_from(1 + bytes / GROUP_BYTES).unwrap_or(u32::MAX)
}

impl<P: TokenProvider + 'static> TokenProvider for CachedProvider<P> {
    fn verify_token<'a>(
        &'a self,
        token: &'a BearerToken,
        deadline: Instant,
    ) -> BoxFuture<'a, Result<TokenVerdict, CallFault>> {
        let ask = move || {
            let (provider, token) = (self.provider.clone(), token.clone());
            async move {
                Ok(match provider.verify_token(&token, deadline).await? {
                    TokenVerdict::Recognized(claims) => Some(claims),
                    TokenVerdict::NotRecognized | TokenVerdict::Unusable(_) => None,
                })
            }
        };

        Box::pin(async move {
            let claims = self
                .answer(&self.tokens, token.expose(), deadline, |_| true, ask)
                .await?;
            Ok(claims.map_or(TokenVerdict::NotRecognized, |claims| {
                TokenVerdict::Recognized((*claims).clone())
            }))
        })
    }
}

impl<P: SessionProvider + 'static> SessionProvider for CachedProvider<P> {
    fn verify_session<'a>(
        &'a self,
        access_token: &'a str,
        deadline: Instant,
    ) -> BoxFuture<'a, Result<Option<CheckedClaims>, CallFault>> {
        let ask = move || {
            let (provider, token) = (
                self.provider.clone(),
                Zeroizing::new(access_token.to_owned()),
            );
            async move {
                let session = provider.verify_session(&token, deadline).await?;
                // The gate has the token that it asks about, and a check gives out no other.
                Ok(session.map(|session| session.without_tokens()))
            }
        };

        Box::pin(async move {
            let holds = |session: &CheckedClaims| now() < session.expires_at;
            let session = self
                .answer(&self.sessions, access_token, deadline, holds, ask)
                .await?;
            Ok(session.map(|session| session.without_tokens()))
        })
    }
}

impl<P: RefreshProvider> RefreshProvider for CachedProvider<P> {
    fn refresh<'a>(
        &'a self,
        refresh_token: &'a str,
        deadline: Instant,
    ) -> BoxFuture<'a, Result<RefreshVerdict, CallFault>> {
        self.provider.refresh(refresh_token, deadline)
    }

    /// Which sessions a refresh token belongs to is the provider's own business: none is believed
    /// without asking, and nothing that was said while it was being revoked is believed afterwards.
    /// (A revocation that is cut off may take effect after that.)
    fn revoke<'a>(
        &'a self,
        refresh_token: &'a str,
        deadline: Instant,
    ) -> BoxFuture<'a, Result<(), CallFault>> {
        let revocation = Revocation::of(&self.revocations);
        Box::pin(async move {
            let _until_it_is_over = revocation;
            self.provider.revoke(refresh_token, deadline).await
        })
    }
}

impl<P: SignOutProvider> SignOutProvider for CachedProvider<P> {
    /// Which sessions a logout token ends is the provider's own business, as with a revocation.
    fn read_logout_token<'a>(
        &'a self,
        token: &'a str,
        deadline: Instant,
    ) -> BoxFuture<'a, Result<LogoutVerdict, CallFault>> {
        Box::pin(async move {
            let verdict = self.provider.read_logout_token(token, deadline).await;
            // A client that sends made-up tokens must not empty the cache. A call without an answer
            // may have noted something all the same.
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
        deadline: Instant,
    ) -> BoxFuture<'a, Result<Option<String>, CallFault>> {
        self.provider
            .sign_out_url(access_token, return_to, deadline)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::lane::Lane;
    use crate::engine::limits::Limits;
    use futures_util::future::join_all;
    use portcullis_auth::SessionClaims;
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
        ) -> BoxFuture<'a, Result<Option<CheckedClaims>, CallFault>> {
            self.asked.fetch_add(1, Ordering::Relaxed);
            let claims = SessionClaims {
                user_id: "ada".into(),
                email: String::new(),
                display_name: String::new(),
                org_id: String::new(),
                expires_at: self.expires_at,
                access_token: Zeroizing::new(access_token.to_owned()),
                refresh_token: Zeroizing::new("secret".into()),
                groups: Vec::new(),
            };
            let session = claims.checked(self.expires_at - 1).unwrap();
            Box::pin(std::future::ready(Ok(
                (access_token == "good").then_some(session)
            )))
        }
    }

    impl RefreshProvider for Scripted {
        fn refresh<'a>(
            &'a self,
            _: &'a str,
            _: Instant,
        ) -> BoxFuture<'a, Result<RefreshVerdict, CallFault>> {
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
        caching(
            Scripted {
                asked: AtomicUsize::new(0),
                expires_at: in_so_long(life),
            },
            ttl,
        )
    }

    fn in_so_long(life: Duration) -> u64 {
        now() + life.as_secs()
    }

    fn asked(cached: &CachedProvider<Scripted>) -> usize {
        cached.provider.asked.load(Ordering::Relaxed)
    }

    async fn verify<P: TokenProvider + 'static>(
        cached: &CachedProvider<P>,
        token: &str,
    ) -> Option<String> {
        let token = BearerToken::by_hand(token.to_owned());
        match cached.verify_token(&token, Instant::now()).await {
            Ok(TokenVerdict::Recognized(claims)) => Some(claims.principal().to_owned()),
            _ => None,
        }
    }

    async fn verify_session(cached: &CachedProvider<Scripted>) -> bool {
        cached
            .verify_session("good", Instant::now())
            .await
            .unwrap()
            .is_some()
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
        assert_eq!(
            asked(&cached),
            3,
            "what was said meanwhile may have been said too early"
        );
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
    async fn session_that_was_kept_is_not_believed_after_its_end() {
        let over = cached(LONG, Duration::ZERO);
        assert!(verify_session(&over).await);
        let cached = cached(LONG, LONG);
        let (_, session) = over.sessions.kept.iter().next().unwrap();
        cached.sessions.kept.insert(cached.key("good"), session);
        assert!(verify_session(&cached).await && verify_session(&cached).await);
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
        let has_none = |session: &CheckedClaims| {
            session.user_id == "ada"
                && session.access_token.is_empty()
                && session.refresh_token.is_empty()
        };
        for _ in 0..2 {
            let session = cached
                .verify_session("good", Instant::now())
                .await
                .unwrap()
                .unwrap();
            assert!(has_none(&session));
        }
        assert!(has_none(&cached.sessions.kept.iter().next().unwrap().1));
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
            deadline: Instant,
        ) -> BoxFuture<'a, Result<TokenVerdict, CallFault>> {
            let said = self.quick.verify_token(token, deadline);
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
            deadline: Instant,
        ) -> BoxFuture<'a, Result<Option<CheckedClaims>, CallFault>> {
            let said = self.quick.verify_session(access_token, deadline);
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
            deadline: Instant,
        ) -> BoxFuture<'a, Result<RefreshVerdict, CallFault>> {
            self.quick.refresh(token, deadline)
        }

        fn revoke<'a>(
            &'a self,
            token: &'a str,
            deadline: Instant,
        ) -> BoxFuture<'a, Result<(), CallFault>> {
            self.quick.revoke(token, deadline)
        }
    }

    fn slow() -> CachedProvider<Slow> {
        let quick = Scripted {
            asked: AtomicUsize::new(0),
            expires_at: in_so_long(LONG),
        };
        caching(
            Slow {
                quick,
                may_answer: Arc::new(Semaphore::new(0)),
            },
            LONG,
        )
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
    async fn eight_at_once(
        cached: &CachedProvider<Slow>,
        token: &str,
    ) -> Vec<Result<bool, CallFault>> {
        let token = BearerToken::by_hand(token.to_owned());
        let deadline = Instant::now() + LONG;
        let mut callers = join_all((0..8).map(|_| cached.verify_token(&token, deadline))).boxed();
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
        for (token, said) in [
            ("good", Ok(true)),
            ("unknown", Ok(false)),
            ("broken", Err(broken())),
        ] {
            let before = asked_slow(&cached);
            assert_eq!(
                eight_at_once(&cached, token).await,
                vec![said; 8],
                "{token}"
            );
            assert_eq!(asked_slow(&cached) - before, 1, "{token}");
        }
    }

    #[tokio::test]
    async fn calls_about_other_tokens_do_not_wait() {
        let cached = slow();
        let deadline = Instant::now() + LONG;
        let [first, second] = ["good-1", "good-2"].map(|token| BearerToken::by_hand(token.into()));
        let (mut first, mut second) = (
            cached.verify_token(&first, deadline),
            cached.verify_token(&second, deadline),
        );
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
        let deadline = Instant::now() + LONG;
        let may_answer = cached.provider.may_answer.clone();
        let other = cached.tokens.call(cached.key("good"), || async move {
            may_answer.acquire().await.unwrap().forget();
            Err(ProviderFault::NoTimeLeft.into())
        });

        let mut waits = cached.verify_token(&token, deadline);
        begin(&mut waits).await;
        assert_eq!(asked_slow(&cached), 0);

        cached.provider.may_answer.add_permits(2);
        let (other, said) = tokio::join!((*other).clone(), waits);
        assert_eq!(other.map(drop), Err(ProviderFault::NoTimeLeft.into()));
        assert!(matches!(said, Ok(TokenVerdict::Recognized(_))));
        assert_eq!(asked_slow(&cached), 1);
    }

    #[tokio::test]
    async fn caller_that_hangs_up_leaves_its_call_to_the_others() {
        let cached = slow();
        let token = BearerToken::by_hand("good".into());
        let deadline = Instant::now() + LONG;
        let mut first = cached.verify_token(&token, deadline);
        begin(&mut first).await;
        let mut second = cached.verify_token(&token, deadline);
        begin(&mut second).await;
        drop(first);
        cached.provider.may_answer.add_permits(1);
        assert!(matches!(second.await, Ok(TokenVerdict::Recognized(_))));
        assert_eq!(asked_slow(&cached), 1);
    }

    #[tokio::test]
    async fn call_that_no_caller_waits_for_is_given_up() {
        let cached = slow();
        let deadline = Instant::now() + LONG;
        // Each call holds the provider.
        let under_way = || Arc::strong_count(&cached.provider) - 1;

        for number in 0..100 {
            let token = BearerToken::by_hand(format!("good-{number}"));
            let mut callers = [(); 2].map(|()| cached.verify_token(&token, deadline));
            for caller in &mut callers {
                begin(caller).await;
            }

            assert_eq!(under_way(), 1);
            drop(callers);
            assert_eq!(under_way(), 0);
        }
    }

    #[tokio::test]
    async fn what_was_asked_before_a_revocation_is_not_believed_after_it() {
        let cached = slow();
        let deadline = Instant::now() + LONG;
        let mut check = cached.verify_session("good", deadline);
        begin(&mut check).await;
        cached.revoke("any", deadline).await.unwrap();
        cached.provider.may_answer.add_permits(2);
        assert!(check.await.unwrap().is_some());
        assert!(
            cached
                .verify_session("good", deadline)
                .await
                .unwrap()
                .is_some()
        );
        assert_eq!(asked_slow(&cached), 2);
    }
}
