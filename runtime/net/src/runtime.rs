//! The runtimes that the processes run on.
//!
//! **Invariant:** a runtime that was started has a thread for blocking work as long as it lives. So
//! `spawn_blocking`, which panics when it finds no such thread and the system starts none, at most
//! waits: also where a limit on threads (`TasksMax`, `--pids-limit`, `ulimit -u`) is reached later.
//! That holds for libraries as well, which look up names on such threads.

use portcullis_home::threads;
use std::io;
use std::panic::catch_unwind;
use std::time::Duration;
use tokio::runtime::{Builder, Runtime};
use tokio::task::spawn_blocking;
use tokio::time::{MissedTickBehavior, interval};

/// How long a thread for blocking work outlives its last work. Those that a burst of requests
/// started then end, so that they do not fill a limit on threads for good.
const KEEP_ALIVE: Duration = Duration::from_secs(60);
/// How often one of those threads is given work, so that one of them does not end.
const BEAT: Duration = Duration::from_secs(20);

/// Builds a multi-threaded runtime with `workers` threads, once the system has shown that it starts
/// them, one for blocking work, and `others` that the process will start beside the runtime.
///
/// # Errors
/// The system does not start as many threads, or the runtime has no file descriptors.
pub fn start(builder: &mut Builder, workers: usize, others: usize) -> io::Result<Runtime> {
    start_with(builder, workers, others, KEEP_ALIVE, BEAT)
}

fn start_with(
    builder: &mut Builder,
    workers: usize,
    others: usize,
    keep_alive: Duration,
    beat: Duration,
) -> io::Result<Runtime> {
    // Without this, tokio panics while it builds, and again while it drops what is half built.
    threads::check(workers + 1 + others)?;
    let runtime = builder
        .worker_threads(workers)
        .thread_keep_alive(keep_alive)
        .enable_all()
        .build()?;
    runtime.spawn(keep_blocking_thread(beat));
    Ok(runtime)
}

/// Gives a thread for blocking work something to do before all of them have ended. One that lives
/// is given all work for which no other can be started.
async fn keep_blocking_thread(beat: Duration) {
    let mut beats = interval(beat);
    beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        // The first tick comes at once.
        beats.tick().await;
        // It panics if no thread lives and none can be started, which takes a process that was
        // stopped for longer than KEEP_ALIVE. The next beat tries again.
        if let Ok(beat) = catch_unwind(|| spawn_blocking(|| ())) {
            let _ = beat.await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Instant;

    #[test]
    fn thread_for_blocking_work_lives_while_there_is_no_work() {
        const KEEP_ALIVE: Duration = Duration::from_millis(200);
        const BEAT: Duration = Duration::from_millis(20);
        let living = Arc::new(AtomicUsize::new(0));
        let (started, stopped) = (living.clone(), living.clone());
        let mut builder = Builder::new_multi_thread();
        builder
            .on_thread_start(move || {
                started.fetch_add(1, Ordering::SeqCst);
            })
            .on_thread_stop(move || {
                stopped.fetch_sub(1, Ordering::SeqCst);
            });
        let runtime = start_with(&mut builder, 1, 0, KEEP_ALIVE, BEAT).unwrap();

        runtime.block_on(async {
            let mut beats = interval(BEAT);
            for _ in 0..3 * KEEP_ALIVE.as_millis() / BEAT.as_millis() {
                beats.tick().await;
            }
        });
        // The worker, and one for blocking work. A slow machine may have ended that one and started
        // another.
        let deadline = Instant::now() + Duration::from_secs(20);
        while living.load(Ordering::SeqCst) < 2 {
            assert!(Instant::now() < deadline, "no thread for blocking work");
            std::thread::yield_now();
        }
    }

    #[test]
    fn beat_is_more_frequent_than_the_end_of_a_thread() {
        assert!(BEAT * 2 < KEEP_ALIVE);
    }
}
