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
    // Without this, tokio panics while it builds, and again while it drops what is half built.
    threads::check(workers + 1 + others)?;
    let runtime = builder
        .worker_threads(workers)
        .thread_keep_alive(KEEP_ALIVE)
        .enable_all()
        .build()?;
    runtime.spawn(keep_blocking_thread());
    Ok(runtime)
}

/// Gives a thread for blocking work something to do before all of them have ended. One that lives
/// is given all work for which no other can be started.
async fn keep_blocking_thread() {
    let mut beats = interval(BEAT);
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
    use std::sync::{Arc, Mutex};

    #[test]
    fn thread_for_blocking_work_outlives_its_work() {
        let started = Arc::new(Mutex::new(0));
        let (counted, ended) = (started.clone(), Arc::new(Mutex::new(0)));
        let of_ended = ended.clone();
        let mut builder = Builder::new_multi_thread();
        builder
            .on_thread_start(move || *counted.lock().unwrap() += 1)
            .on_thread_stop(move || *of_ended.lock().unwrap() += 1);
        let runtime = start(&mut builder, 1, 0).unwrap();
        runtime.block_on(async {
            for _ in 0..100 {
                spawn_blocking(|| ()).await.unwrap();
                tokio::task::yield_now().await;
            }
        });

        // The worker, and those for blocking work.
        assert!(*started.lock().unwrap() >= 2);
        assert_eq!(*ended.lock().unwrap(), 0);
    }

    #[test]
    fn beat_is_more_frequent_than_the_end_of_a_thread() {
        assert!(BEAT * 2 < KEEP_ALIVE);
    }
}
