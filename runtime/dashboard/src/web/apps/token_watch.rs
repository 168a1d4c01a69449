//! The end of a stream or web socket of an application that a bearer token opened.
//!
//! A token can be revoked while the stream is open. The provider that vouched for it is therefore
//! asked again, without an audit line, since the request that brought it has one.
//!
//! **Invariant:** a stream outlives its token by [`VERIFY_EVERY`] at most, and by the calls about
//! other tokens of the same provider that come before its own. Without answers it ends after
//! [`MAX_UNANSWERED`] more rounds.

use super::super::Dashboard;
use super::super::gate_layer::CHAIN_DEADLINE;
use super::body::AccessEnd;
use super::table::App;
use portcullis_auth::{BearerToken, Principal, TokenStanding};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;

/// How often the providers are asked about the token of an open stream.
const VERIFY_EVERY: Duration = Duration::from_secs(60);
/// Rounds in a row without an answer that a stream outlasts.
const MAX_UNANSWERED: usize = 5;

/// Asks about the token of a stream.
trait Verify {
    fn verify(&self) -> impl Future<Output = TokenStanding> + Send;
}

struct TokenWatch {
    dashboard: Arc<Dashboard>,
    app: Arc<App>,
    principal: Principal,
    token: BearerToken,
}

/// Follows the token by which the principal was let in, until the result is dropped.
pub(super) fn follow(
    dashboard: &Arc<Dashboard>,
    app: &Arc<App>,
    principal: &Principal,
    token: BearerToken,
) -> AccessEnd {
    let gates = dashboard.live.replacements();
    let watch = TokenWatch {
        dashboard: dashboard.clone(),
        app: app.clone(),
        principal: principal.clone(),
        token,
    };
    // In a task, since a body is polled only while its client reads: a client that stops would keep
    // one of the few calls for a verification. The set aborts the task when it is dropped.
    let mut task = JoinSet::new();
    task.spawn(ended(watch, gates, VERIFY_EVERY));

    Box::pin(async move {
        task.join_next().await;
    })
}

/// Waits until the token is refused, or unanswered for too long. It is verified after each
/// interval, and when `gates` reports that the providers or the applications may have changed. Only
/// the rounds of the interval count as unanswered.
async fn ended(token: impl Verify, mut gates: watch::Receiver<()>, every: Duration) {
    let mut round = tokio::time::interval_at((Instant::now() + every).into(), every);
    round.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut unanswered = 0;

    loop {
        let is_round = tokio::select! {
            replaced = gates.changed() => match replaced {
                Ok(()) => false,
                Err(_) => return,
            },
            _ = round.tick() => true,
        };
        match token.verify().await {
            TokenStanding::Good => unanswered = 0,
            TokenStanding::Refused => return,
            TokenStanding::Unanswered => unanswered += usize::from(is_round),
        }
        if unanswered > MAX_UNANSWERED {
            return;
        }
    }
}

impl Verify for TokenWatch {
    /// A reload verifies all tokens, so each waits for the share of its provider. How many streams
    /// there are is bounded by the slots of their applications.
    async fn verify(&self) -> TokenStanding {
        let provider = self.principal.provider();
        let shares = &self.dashboard.rechecks.tokens;
        shares.run(provider, self.ask()).await
    }
}

impl TokenWatch {
    /// Asks the provider by the rules that hold now.
    async fn ask(&self) -> TokenStanding {
        let serving = self.dashboard.live.now();
        let name = self.app.name();
        let Some(app) = serving.apps.named(name) else {
            return TokenStanding::Refused;
        };

        let deadline = Instant::now() + CHAIN_DEADLINE;
        let asked = serving.gate.verify_again(
            &app.settings.allowed,
            &self.token,
            &self.principal,
            deadline,
        );
        let (standing, fault) = asked.await;
        let registered = serving.gate.registry().named(self.principal.provider());
        if let (Some(registered), Some(fault)) = (registered, &fault) {
            self.dashboard.tell_fault(registered, fault);
        }
        if standing == TokenStanding::Refused {
            tracing::debug!(
                app = name,
                principal = self.principal.name(),
                "token of an open stream refused"
            );
        }
        standing
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::VecDeque;
    use std::sync::Mutex;
    use tokio::time::timeout;

    const SOON: Duration = Duration::from_secs(20);
    const HOUR: Duration = Duration::from_secs(3_600);
    const GOOD: TokenStanding = TokenStanding::Good;
    const REFUSED: TokenStanding = TokenStanding::Refused;
    const UNANSWERED: TokenStanding = TokenStanding::Unanswered;

    /// What is said of a token in each round. After the last one it is good.
    struct Rounds(Mutex<VecDeque<TokenStanding>>);

    impl Rounds {
        fn new(rounds: &[TokenStanding]) -> Self {
            Self(Mutex::new(rounds.iter().copied().collect()))
        }

        fn left(&self) -> usize {
            self.0.lock().unwrap().len()
        }
    }

    impl Verify for &Rounds {
        async fn verify(&self) -> TokenStanding {
            self.0.lock().unwrap().pop_front().unwrap_or(GOOD)
        }
    }

    #[tokio::test]
    async fn refusal_ends_it_and_so_does_an_outage_that_lasts() {
        let too_long = vec![UNANSWERED; MAX_UNANSWERED + 1];
        let after_an_answer = [
            vec![UNANSWERED; MAX_UNANSWERED],
            vec![GOOD],
            too_long.clone(),
        ]
        .concat();
        for script in [
            vec![REFUSED],
            vec![GOOD, GOOD, REFUSED],
            vec![UNANSWERED, REFUSED],
            too_long,
            after_an_answer,
        ] {
            let rounds = Rounds::new(&script);
            let (_sender, gates) = watch::channel(());
            let end = timeout(SOON, ended(&rounds, gates, Duration::from_millis(1))).await;
            assert_eq!((end.is_ok(), rounds.left()), (true, 0), "{script:?}");
        }
    }

    #[tokio::test]
    async fn token_is_verified_at_once_when_the_gate_is_replaced() {
        let rounds = Rounds::new(&[REFUSED]);
        let (sender, gates) = watch::channel(());
        sender.send_replace(());
        assert!(timeout(SOON, ended(&rounds, gates, HOUR)).await.is_ok());
    }

    #[tokio::test]
    async fn reloads_without_an_answer_do_not_end_it() {
        let rounds = Rounds::new(&[UNANSWERED; 2 * MAX_UNANSWERED]);
        let (sender, gates) = watch::channel(());
        let reload = async {
            while rounds.left() > 0 {
                sender.send_replace(());
                tokio::task::yield_now().await;
            }
        };
        let outlasts_them = tokio::select! {
            () = ended(&rounds, gates, HOUR) => false,
            reloaded = timeout(SOON, reload) => reloaded.is_ok(),
        };
        assert!(outlasts_them);
    }
}
