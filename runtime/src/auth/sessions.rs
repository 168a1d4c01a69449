use super::SessionId;
use std::collections::{HashMap, HashSet, VecDeque};
use std::hash::Hash;
use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio::sync::watch;

/// Sessions that are known to be over. More, and the oldest are forgotten.
pub const MAX_ENDED: usize = 100_000;

/// Who may follow one session at once: one person's pages must not use up what the others need.
const MAX_FOLLOWERS: usize = 16;

/// Which sessions this process knows to be over, and who must hear of it when another ends.
#[derive(Default)]
pub struct Sessions {
    table: Mutex<Table>,
}

struct Table {
    ended: LastFew<SessionId>,
    followed: HashMap<SessionId, watch::Sender<bool>>,
}

impl Default for Table {
    fn default() -> Self {
        Self { ended: LastFew::new(MAX_ENDED), followed: HashMap::new() }
    }
}

/// Turns true when a session is over.
pub type Followed = watch::Receiver<bool>;

impl Sessions {
    /// These are over, the oldest first.
    pub fn with_ended(ended: impl IntoIterator<Item = SessionId>) -> Self {
        let sessions = Self::default();
        for id in ended {
            sessions.end(&id);
        }
        sessions
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Was this session ended here?
    pub fn is_over(&self, id: &SessionId) -> bool {
        self.table().ended.contains(id)
    }

    /// Ends a session: from now on none of its tokens is accepted, and its followers are notified. Returns false if it
    /// had ended before.
    pub fn end(&self, id: &SessionId) -> bool {
        let mut table = self.table();
        let is_new = table.ended.insert(id.clone());
        if let Some(followers) = table.followed.remove(id) {
            followers.send_replace(true);
        }
        is_new
    }

    /// Follows a session from now on. `None`: as many do as may.
    pub fn follow(&self, id: &SessionId) -> Option<Followed> {
        let mut table = self.table();
        if table.ended.contains(id) {
            return Some(watch::channel(true).1);
        }
        table.followed.retain(|_, followers| followers.receiver_count() > 0);
        let followers = table.followed.entry(id.clone()).or_insert_with(|| watch::channel(false).0);
        (followers.receiver_count() < MAX_FOLLOWERS).then(|| followers.subscribe())
    }
}

/// A set that forgets the oldest beyond its size.
pub struct LastFew<T> {
    known: HashSet<T>,
    order: VecDeque<T>,
    limit: usize,
}

impl<T: Clone + Eq + Hash> LastFew<T> {
    /// Holds at most `limit`.
    pub fn new(limit: usize) -> Self {
        Self { known: HashSet::new(), order: VecDeque::new(), limit }
    }

    /// Is it among them?
    pub fn contains(&self, item: &T) -> bool {
        self.known.contains(item)
    }

    /// Adds one. False: it was there.
    pub fn insert(&mut self, item: T) -> bool {
        let is_new = self.known.insert(item.clone());
        if is_new {
            self.order.push_back(item);
        }
        if self.order.len() > self.limit
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
        is_new
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn oldest_is_forgotten_beyond_the_limit() {
        let mut few = LastFew::new(2);
        assert!(few.insert(1) && few.insert(2) && !few.insert(2) && few.insert(3));
        assert!(!few.contains(&1) && few.contains(&2) && few.contains(&3));
    }

    #[test]
    fn ended_session_is_told_to_its_followers_and_never_followed_again() {
        let sessions = Sessions::default();
        let id = SessionId::generate().unwrap();
        let all: Vec<_> = (0..MAX_FOLLOWERS).map(|_| sessions.follow(&id).unwrap()).collect();
        assert!(sessions.follow(&id).is_none(), "as many as may");
        drop(all);
        let followed = sessions.follow(&id).unwrap();
        assert!(!*followed.borrow() && !sessions.is_over(&id));
        sessions.end(&id);
        assert!(*followed.borrow() && sessions.is_over(&id));
        assert!(*sessions.follow(&id).unwrap().borrow());
    }
}
