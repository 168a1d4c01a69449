//! Admission of turns: one lock holds both whether turns are admitted and which are in flight, so claiming
//! a turn and checking the state are one step.

use super::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::collections::BTreeMap;

/// Names a turn for as long as the process lives.
pub type TurnId = u64;

/// Who asks for a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A person: refused during a drain.
    User,
    /// The system itself (a replay, a completion), over the internal channel: passes during a drain.
    Internal,
}

/// Which turns may start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admittance {
    /// All.
    Open,
    /// Internal ones only, until the drain is cancelled.
    Draining,
    /// None any more.
    Shut,
}

/// Why a turn did not start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// A drain is on, or the gateway is on its way out.
    Draining,
    /// The session has a turn in flight.
    SessionBusy,
    /// As many turns as there may be.
    Full {
        /// The cap.
        max_turns: usize,
    },
}

/// A turn in flight. `S` is when it started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Turn<S> {
    /// The session it belongs to.
    pub session: String,
    /// When it started.
    pub since: S,
    /// Who asked for it.
    pub origin: Origin,
}

/// What the outside may know at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// Which turns may start.
    pub admittance: Admittance,
    /// How many are in flight.
    pub active: usize,
}

#[derive(Debug)]
struct Ledger<S> {
    admittance: Admittance,
    turns: BTreeMap<TurnId, Turn<S>>,
    next_id: TurnId,
}

/// The turns of one gateway.
#[derive(Debug)]
pub struct Turns<S> {
    ledger: Arc<Mutex<Ledger<S>>>,
    max_turns: usize,
}

impl<S> Clone for Turns<S> {
    fn clone(&self) -> Self {
        Self { ledger: self.ledger.clone(), max_turns: self.max_turns }
    }
}

impl<S> Turns<S> {
    /// No turn yet, and none admitted until [`set_admittance`](Self::set_admittance) says so.
    pub fn new(max_turns: usize) -> Self {
        let ledger = Ledger { admittance: Admittance::Draining, turns: BTreeMap::new(), next_id: 1 };
        Self { ledger: Arc::new(Mutex::new(ledger)), max_turns }
    }

    /// Opens or closes the door. After this returns, no turn that it excludes will start. A shut door stays
    /// shut.
    pub fn set_admittance(&self, admittance: Admittance) {
        let mut ledger = self.lock();
        if ledger.admittance != Admittance::Shut {
            ledger.admittance = admittance;
        }
    }

    /// Claims a turn, or says why not: check and claim are one step.
    ///
    /// # Errors
    /// The turn may not start.
    pub fn admit(&self, session: &str, origin: Origin, since: S) -> Result<TurnPermit<S>, Refusal> {
        let mut ledger = self.lock();
        match (ledger.admittance, origin) {
            (Admittance::Open, _) | (Admittance::Draining, Origin::Internal) => {}
            (Admittance::Draining, Origin::User) | (Admittance::Shut, _) => return Err(Refusal::Draining),
        }
        if ledger.turns.values().any(|turn| turn.session == session) {
            return Err(Refusal::SessionBusy);
        }
        if ledger.turns.len() >= self.max_turns {
            return Err(Refusal::Full { max_turns: self.max_turns });
        }
        let id = ledger.next_id;
        ledger.next_id += 1;
        ledger.turns.insert(id, Turn { session: session.to_owned(), since, origin });
        Ok(TurnPermit { id, turns: self.clone() })
    }

    /// The state at one moment.
    pub fn snapshot(&self) -> Snapshot {
        let ledger = self.lock();
        Snapshot { admittance: ledger.admittance, active: ledger.turns.len() }
    }

    fn lock(&self) -> MutexGuard<'_, Ledger<S>> {
        // Nothing in here panics between two changes, so the ledger is whole whatever happened.
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<S: Clone> Turns<S> {
    /// What is in flight, oldest first.
    pub fn in_flight(&self) -> Vec<(TurnId, Turn<S>)> {
        self.lock().turns.iter().map(|(id, turn)| (*id, turn.clone())).collect()
    }
}

/// A turn in flight. It ends when this is dropped, and not before.
#[derive(Debug)]
pub struct TurnPermit<S> {
    id: TurnId,
    turns: Turns<S>,
}

impl<S> TurnPermit<S> {
    /// The turn's name.
    pub fn id(&self) -> TurnId {
        self.id
    }
}

impl<S> Drop for TurnPermit<S> {
    fn drop(&mut self) {
        self.turns.lock().turns.remove(&self.id);
    }
}
