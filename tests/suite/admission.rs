//! No turn starts after the drain was entered: proved over every interleaving by a model checker,
//! and seen over a hundred thousand real ones. Both run the very file that the gateway runs.

use portcullis_gateway::turns::{Admittance, TurnOrigin, Turns};
use std::sync::Barrier;

/// The primitives that the gateway's file finds beside it: here, the model checker's.
mod sync {
    pub(super) use loom::sync::{Arc, Mutex, MutexGuard};
    pub(super) use std::sync::PoisonError;
}

#[expect(
    dead_code,
    unreachable_pub,
    reason = "the model uses a part of the gateway's own file"
)]
#[path = "../../runtime/gateway/src/turns.rs"]
mod model;

#[test]
fn no_interleaving_starts_a_turn_after_the_drain() {
    use model::{Admittance, TurnOrigin, Turns};
    loom::model(|| {
        let turns = Turns::new(8);
        turns.set_admittance(Admittance::Open);
        let admitters: Vec<_> = ["a", "b"]
            .into_iter()
            .map(|session| {
                let turns = turns.clone();
                loom::thread::spawn(move || turns.admit(session, TurnOrigin::User, ()).ok())
            })
            .collect();
        turns.set_admittance(Admittance::Draining);
        let entered = turns.snapshot().active;
        let permits: Vec<_> = admitters
            .into_iter()
            .filter_map(|thread| thread.join().expect("no panic"))
            .collect();
        assert_eq!(
            permits.len(),
            entered,
            "a turn started after the drain was entered"
        );
        assert!(turns.admit("c", TurnOrigin::User, ()).is_err());
        assert!(turns.admit("c", TurnOrigin::Internal, ()).is_ok());
    });
}

#[test]
fn no_interleaving_gives_one_session_two_turns() {
    use model::{Admittance, TurnOrigin, Turns};
    loom::model(|| {
        let turns = Turns::new(8);
        turns.set_admittance(Admittance::Open);
        let other = turns.clone();
        let other = loom::thread::spawn(move || other.admit("s", TurnOrigin::User, ()).ok());
        let mine = turns.admit("s", TurnOrigin::User, ()).ok();
        let other = other.join().expect("no panic");
        assert_eq!(
            usize::from(mine.is_some()) + usize::from(other.is_some()),
            1
        );
        drop((mine, other));
        assert_eq!(turns.snapshot().active, 0);
    });
}

#[test]
fn no_interleaving_opens_a_shut_door() {
    use model::{Admittance, TurnOrigin, Turns};
    loom::model(|| {
        let turns = Turns::new(8);
        turns.set_admittance(Admittance::Open);
        let watcher = turns.clone();
        let watcher = loom::thread::spawn(move || {
            watcher.set_admittance(Admittance::Draining);
            watcher.set_admittance(Admittance::Open);
        });
        turns.set_admittance(Admittance::Shut);
        watcher.join().expect("no panic");
        assert!(turns.admit("s", TurnOrigin::User, ()).is_err());
        assert!(turns.admit("s", TurnOrigin::Internal, ()).is_err());
    });
}

#[test]
fn hundred_thousand_real_races_agree_with_the_model() {
    const ROUNDS: usize = 100_000;
    const ADMITTERS: usize = 2;
    let start = Barrier::new(ADMITTERS + 1);
    let end = Barrier::new(ADMITTERS + 1);
    let arena: Vec<Turns<()>> = (0..ROUNDS).map(|_| Turns::new(8)).collect();
    std::thread::scope(|scope| {
        for admitter in 0..ADMITTERS {
            let (start, end, arena) = (&start, &end, &arena);
            scope.spawn(move || {
                let session = admitter.to_string();
                for (round, turns) in arena.iter().enumerate() {
                    start.wait();
                    // A little later each time, so that the race falls at every point.
                    spin(round % 64);
                    let permit = turns.admit(&session, TurnOrigin::User, ());
                    end.wait();
                    std::mem::forget(permit);
                }
            });
        }
        let (mut admitted, mut late) = (0, Vec::new());
        for (round, turns) in arena.iter().enumerate() {
            turns.set_admittance(Admittance::Open);
            start.wait();
            spin(round / 64 % 64);
            turns.set_admittance(Admittance::Draining);
            let entered = turns.snapshot().active;
            end.wait();
            // Asserted at the end: a panic here would leave the others waiting at the barrier.
            if turns.snapshot().active != entered {
                late.push(round);
            }
            admitted += entered;
        }
        assert!(
            late.is_empty(),
            "turns started after the drain in rounds {late:?}"
        );
        assert!(
            (1..ROUNDS * ADMITTERS).contains(&admitted),
            "both sides must win sometimes: {admitted}"
        );
    });
}

fn spin(count: usize) {
    (0..count).for_each(|_| std::hint::spin_loop());
}
