//! Waiting for many at once, and telling meanwhile how far they are.

use futures_util::future::join_all;
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::time::interval;

/// Waits for all of them, side by side, and tells at a pause how many are done, if that is news: what is over before
/// the first goes without a word. The outcomes stand in the order of the work.
pub(super) async fn join_all_telling<F: Future>(
    work: Vec<F>,
    pause: Duration,
    tell: impl Fn(usize),
) -> Vec<F::Output> {
    let done = AtomicUsize::new(0);
    let counted = work.into_iter().map(|one| async {
        let outcome = one.await;
        done.fetch_add(1, Ordering::Relaxed);
        outcome
    });
    let mut all = pin!(join_all(counted));
    let mut pauses = interval(pause);
    // The first one comes at once.
    pauses.tick().await;
    let mut told = None;
    loop {
        tokio::select! {
            biased;
            outcomes = &mut all => return outcomes,
            _ = pauses.tick() => {
                let now = done.load(Ordering::Relaxed);
                if told.replace(now) != Some(now) {
                    tell(now);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;
    use tokio::sync::watch;
    use tokio::time::sleep;

    const PAUSE: Duration = Duration::from_millis(1);

    #[tokio::test]
    async fn tells_what_is_news_and_keeps_their_order() {
        let (told, words) = (Mutex::new(Vec::new()), watch::Sender::new(0));
        // Done after so many words. The one that waits for the second lets many pauses go by then.
        let work = [2, 0, 1].map(async |after| {
            words.subscribe().wait_for(|words| *words >= after).await.unwrap();
            if after == 2 {
                sleep(PAUSE * 20).await;
            }
            after
        });
        let tell = |done| {
            told.lock().unwrap().push(done);
            words.send_modify(|words| *words += 1);
        };
        assert_eq!(join_all_telling(work.into(), PAUSE, tell).await, [2, 0, 1]);
        assert_eq!(told.into_inner().unwrap(), [1, 2]);
    }

    #[tokio::test]
    async fn says_nothing_of_what_is_quick() {
        let quick = vec![async { 7 }];
        let outcomes = join_all_telling(quick, Duration::from_nanos(1), |_| panic!("a word")).await;
        assert_eq!(outcomes, [7]);
    }
}
