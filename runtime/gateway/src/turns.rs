//! Admission of turns: one lock holds both whether turns are admitted and which are in flight, so
//! claiming a turn and checking the state are one step.

use super::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::collections::BTreeMap;

/// Number of a turn, unique within the process.
pub type TurnId = u64;

/// The origin of a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TurnOrigin {
    /// A user's turn. It is refused during a drain.
    User,
    /// A turn over the internal channel (a replay, a completion). It passes a drain.
    Internal,
}

/// Which turns may start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admittance {
    /// All turns may start.
    Open,
    /// Internal turns only, until the drain ends.
    Draining,
    /// No turns, for the rest of the process's life.
    Shut,
}

/// Why a turn did not start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TurnRefusal {
    /// A drain is on, or the gateway is ending.
    Draining,
    /// The session has a turn in flight.
    SessionBusy,
    /// The maximum number of turns is in flight.
    Full {
        /// The most turns that may be in flight.
        max_turns: usize,
    },
}

impl TurnRefusal {
    /// Every word that [`reason`](Self::reason) returns.
    pub(super) const REASONS: [&str; 3] = ["draining", "session_busy", "max_turns"];

    /// Returns the reason as one word, for log lines and metrics.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Draining => "draining",
            Self::SessionBusy => "session_busy",
            Self::Full { .. } => "max_turns",
        }
    }
}

/// A turn in flight. `S` is when it started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Turn<S> {
    /// The session it belongs to.
    pub session: String,
    /// The instant at which it started.
    pub since: S,
    /// Which channel it came through.
    pub origin: TurnOrigin,
}

/// The admission at one instant.
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
        Self {
            ledger: self.ledger.clone(),
            max_turns: self.max_turns,
        }
    }
}

impl<S> Turns<S> {
    /// Starts without turns, and admits none until [`set_admittance`](Self::set_admittance) is
    /// called.
    pub fn new(max_turns: usize) -> Self {
        let ledger = Ledger {
            admittance: Admittance::Draining,
            turns: BTreeMap::new(),
            next_id: 1,
        };
        Self {
            ledger: Arc::new(Mutex::new(ledger)),
            max_turns,
        }
    }

    /// Sets which turns may start. After this returns, no turn that it excludes will start. `Shut`
    /// cannot be undone.
    pub fn set_admittance(&self, admittance: Admittance) {
        let mut ledger = self.lock();
        if ledger.admittance != Admittance::Shut {
            ledger.admittance = admittance;
        }
    }

    /// Claims a turn. Check and claim are one step.
    ///
    /// # Errors
    /// Why the turn may not start.
    pub fn admit(
        &self,
        session: &str,
        origin: TurnOrigin,
        since: S,
    ) -> Result<TurnPermit<S>, TurnRefusal> {
        let mut ledger = self.lock();

        match (ledger.admittance, origin) {
            (Admittance::Open, _) | (Admittance::Draining, TurnOrigin::Internal) => {}
            (Admittance::Draining, TurnOrigin::User) | (Admittance::Shut, _) => {
                return Err(TurnRefusal::Draining);
            }
        }
        if ledger.turns.values().any(|turn| turn.session == session) {
            return Err(TurnRefusal::SessionBusy);
        }
        if ledger.turns.len() >= self.max_turns {
            return Err(TurnRefusal::Full {
                max_turns: self.max_turns,
            });
        }

        let id = ledger.next_id;
        ledger.next_id += 1;
        ledger.turns.insert(
            id,
            Turn {
                session: session.to_owned(),
                since,
                origin,
            },
        );
        Ok(TurnPermit {
            id,
            turns: self.clone(),
        })
    }

    /// Returns the admission at one instant.
    pub fn snapshot(&self) -> Snapshot {
        let ledger = self.lock();
        Snapshot {
            admittance: ledger.admittance,
            active: ledger.turns.len(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Ledger<S>> {
        // No code under this lock panics between two changes, so the ledger is consistent after a
        // panic elsewhere.
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<S: Clone> Turns<S> {
    /// Returns the turns in flight, the oldest first.
    pub fn in_flight(&self) -> Vec<(TurnId, Turn<S>)> {
        self.lock()
            .turns
            .iter()
            .map(|(id, turn)| (*id, turn.clone()))
            .collect()
    }
}

/// A turn in flight. The turn ends when this is dropped.
#[derive(Debug)]
pub struct TurnPermit<S> {
    id: TurnId,
    turns: Turns<S>,
}

impl<S> TurnPermit<S> {
    /// Returns the turn's number.
    pub fn id(&self) -> TurnId {
        self.id
    }
}

impl<S> Drop for TurnPermit<S> {
    fn drop(&mut self) {
        self.turns.lock().turns.remove(&self.id);
    }
}
