use super::{Session, SessionId};
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long a ticket may be spent.
pub const TICKET_LIFE: Duration = Duration::from_secs(30);
/// Tickets that may wait to be spent, over all sessions.
const MAX_TICKETS: usize = 1_000;
/// Tickets that one session may have waiting: it cannot use up what the others need.
const MAX_TICKETS_A_SESSION: usize = 32;

/// Whose a ticket is.
#[derive(Clone, Debug)]
pub enum TicketHolder {
    /// A person with a session.
    Person(Arc<Session>),
    /// The holder of this process's token.
    ProcessTokenHolder,
}

impl TicketHolder {
    fn session(&self) -> Option<&SessionId> {
        match self {
            Self::Person(session) => Some(session.id()),
            Self::ProcessTokenHolder => None,
        }
    }
}

/// Why there is no ticket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoTicket {
    /// The most tickets wait already, in all or for this session.
    #[error("too many tickets wait to be spent")]
    TooMany,
    /// The system gives no random numbers.
    #[error("the system gives no random numbers")]
    NoRandom,
}

struct Ticket {
    holder: TicketHolder,
    expires: Instant,
}

/// Tickets for web sockets, which cannot carry a header: 32 random bytes, spent once, within
/// [`TICKET_LIFE`]. Only their digests are kept.
#[derive(Default)]
pub struct Tickets(Mutex<HashMap<[u8; 32], Ticket>>);

impl Tickets {
    fn waiting(&self) -> MutexGuard<'_, HashMap<[u8; 32], Ticket>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes a ticket.
    ///
    /// # Errors
    /// Too many tickets wait, or the system gives no random numbers.
    pub fn mint(&self, holder: TicketHolder, now: Instant) -> Result<String, NoTicket> {
        let mut bytes = [0; 32];
        getrandom::fill(&mut bytes).map_err(|_| NoTicket::NoRandom)?;
        let ticket = hex::encode(bytes);
        let mut waiting = self.waiting();
        waiting.retain(|_, ticket| ticket.expires > now);
        let of_this_session = waiting
            .values()
            .filter(|ticket| ticket.holder.session() == holder.session())
            .count();

        if waiting.len() >= MAX_TICKETS || of_this_session >= MAX_TICKETS_A_SESSION {
            return Err(NoTicket::TooMany);
        }

        waiting.insert(
            digest(&ticket),
            Ticket {
                holder,
                expires: now + TICKET_LIFE,
            },
        );

        Ok(ticket)
    }

    /// Spends a ticket. A second call with the same ticket returns nothing.
    pub fn spend(&self, ticket: &str, now: Instant) -> Option<TicketHolder> {
        let spent = self.waiting().remove(&digest(ticket))?;
        (spent.expires > now).then_some(spent.holder)
    }

    /// The sessions that have tickets.
    pub(super) fn sessions(&self) -> Vec<Arc<Session>> {
        let holders = self.waiting();
        let session = |ticket: &Ticket| match &ticket.holder {
            TicketHolder::Person(session) => Some(session.clone()),
            TicketHolder::ProcessTokenHolder => None,
        };
        holders.values().filter_map(session).collect()
    }

    /// Revokes the tickets of sessions that are over.
    pub fn revoke(&self, is_over: impl Fn(&Session) -> bool) {
        self.waiting().retain(|_, ticket| match &ticket.holder {
            TicketHolder::Person(session) => !is_over(session),
            TicketHolder::ProcessTokenHolder => true,
        });
    }
}

fn digest(ticket: &str) -> [u8; 32] {
    Sha256::digest(ticket).into()
}

#[cfg(test)]
mod tests {
    use super::super::session::tests::a_session;
    use super::*;

    #[test]
    fn ticket_is_spent_once_under_many_threads() {
        let (tickets, now) = (Tickets::default(), Instant::now());
        for _ in 0..50 {
            let ticket = tickets.mint(TicketHolder::ProcessTokenHolder, now).unwrap();
            let spent = std::thread::scope(|scope| {
                let threads: Vec<_> = (0..20)
                    .map(|_| scope.spawn(|| tickets.spend(&ticket, now).is_some()))
                    .collect();
                threads
                    .into_iter()
                    .map(|thread| thread.join().unwrap())
                    .filter(|spent| *spent)
                    .count()
            });
            assert_eq!(spent, 1);
        }
    }

    #[test]
    fn ticket_is_worth_nothing_after_its_time_or_its_session() {
        let (tickets, now) = (Tickets::default(), Instant::now());
        let session = Arc::new(a_session("ada"));
        let mint = || {
            tickets
                .mint(TicketHolder::Person(session.clone()), now)
                .unwrap()
        };
        let late = mint();
        assert!(tickets.spend(&late, now + TICKET_LIFE).is_none());
        let [ticket, revoked] = [mint(), mint()];
        assert!(tickets.spend(&ticket, now).is_some());
        tickets.revoke(|one| one.id() == session.id());
        assert!(tickets.spend(&revoked, now).is_none());
        assert!(tickets.spend("made up", now).is_none());
    }

    #[test]
    fn tickets_are_capped_for_each_session_and_for_all() {
        let (tickets, now) = (Tickets::default(), Instant::now());
        let greedy = TicketHolder::Person(Arc::new(a_session("ada")));
        for _ in 0..MAX_TICKETS_A_SESSION {
            tickets.mint(greedy.clone(), now).unwrap();
        }
        assert_eq!(tickets.mint(greedy.clone(), now), Err(NoTicket::TooMany));
        for _ in MAX_TICKETS_A_SESSION..MAX_TICKETS {
            tickets
                .mint(TicketHolder::Person(Arc::new(a_session("bob"))), now)
                .unwrap();
        }
        let other = TicketHolder::Person(Arc::new(a_session("eve")));
        assert_eq!(tickets.mint(other, now), Err(NoTicket::TooMany));
        assert!(
            tickets.mint(greedy, now + TICKET_LIFE).is_ok(),
            "those of before are gone"
        );
    }
}
