use super::{CutOff, CutOffs, Session, SessionFacts, SessionId, Whose};
use std::collections::{HashMap, HashSet, VecDeque};
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
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
    cut_offs: CutOffs,
    followed: HashMap<SessionId, Followers>,
}

/// Pages of one session that wait for its end.
struct Followers {
    pages: watch::Sender<bool>,
    session: Arc<Session>,
}

impl Default for Table {
    fn default() -> Self {
        Self { ended: LastFew::new(MAX_ENDED), cut_offs: CutOffs::default(), followed: HashMap::new() }
    }
}

/// Turns true when a session is over.
pub type Followed = watch::Receiver<bool>;

impl Sessions {
    /// These are over, the oldest first, and those before the cut-offs.
    pub fn with_ended(ended: impl IntoIterator<Item = SessionId>, cut_offs: CutOffs) -> Self {
        let sessions = Self::default();
        for id in ended {
            sessions.end(&id);
        }
        sessions.table().cut_offs = cut_offs;
        sessions
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether this session was ended here.
    pub fn is_over(&self, session: &SessionFacts<'_>) -> bool {
        self.table().is_over(session)
    }

    /// The time to write into a session that is opened now, in seconds since the Unix epoch: `session.opened_at`, or the
    /// second after the cut-offs that hold for the person.
    pub fn opening_time(&self, session: &SessionFacts<'_>) -> u64 {
        self.table().cut_offs.opening_time(session)
    }

    /// The cut-off for these sessions at `now`, which ends each of them that is open: see [`CutOffs::next`].
    pub fn next_cut_off(&self, whose: Whose, now: u64) -> CutOff {
        self.table().cut_offs.next(whose, now)
    }

    /// Those of the cut-offs that do not hold here yet.
    pub fn new_among(&self, cut_offs: &CutOffs) -> Vec<CutOff> {
        let table = self.table();
        cut_offs.all().into_iter().filter(|cut_off| !table.cut_offs.has(cut_off)).collect()
    }

    /// Until when the sessions of everyone are over, in seconds since the Unix epoch.
    pub fn everyone_is_over_until(&self) -> Option<u64> {
        self.table().cut_offs.everyone()
    }

    /// Ends every session that the cut-off ends, and notifies their followers.
    pub fn cut_off(&self, cut_off: CutOff) {
        let mut table = self.table();
        table.followed.retain(|_, followers| {
            let is_over = cut_off.ends(&(&*followers.session).into());
            if is_over {
                followers.pages.send_replace(true);
            }
            !is_over
        });
        table.cut_offs.add(cut_off);
    }

    /// Ends a session: from now on none of its tokens is accepted, and its followers are notified. Returns false if it
    /// had ended before.
    pub fn end(&self, id: &SessionId) -> bool {
        let mut table = self.table();
        let is_new = table.ended.insert(id.clone());
        if let Some(followers) = table.followed.remove(id) {
            followers.pages.send_replace(true);
        }
        is_new
    }

    /// Follows a session from now on. `None`: as many do as may.
    pub fn follow(&self, session: &Arc<Session>) -> Option<Followed> {
        let mut table = self.table();
        if table.is_over(&(&**session).into()) {
            return Some(watch::channel(true).1);
        }
        table.followed.retain(|_, followers| followers.pages.receiver_count() > 0);
        let begin = || Followers { pages: watch::channel(false).0, session: session.clone() };
        let followers = table.followed.entry(session.id.clone()).or_insert_with(begin);
        if session.claims.expires_at > followers.session.claims.expires_at {
            followers.session = session.clone();
        }
        let pages = &followers.pages;
        (pages.receiver_count() < MAX_FOLLOWERS).then(|| pages.subscribe())
    }

    /// The sessions that are followed, each with the newest token of its followers.
    pub(super) fn followed(&self) -> Vec<Arc<Session>> {
        self.table().followed.values().map(|followers| followers.session.clone()).collect()
    }
}

impl Table {
    fn is_over(&self, session: &SessionFacts<'_>) -> bool {
        self.ended.contains(session.id) || self.cut_offs.end(session)
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
    use super::super::session::tests::a_session;
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
        let session = Arc::new(a_session("ada"));
        let all: Vec<_> = (0..MAX_FOLLOWERS).map(|_| sessions.follow(&session).unwrap()).collect();
        assert!(sessions.follow(&session).is_none(), "as many as may");
        drop(all);
        let followed = sessions.follow(&session).unwrap();
        assert!(!*followed.borrow() && !sessions.is_over(&(&*session).into()));
        sessions.end(&session.id);
        assert!(*followed.borrow() && sessions.is_over(&(&*session).into()));
        assert!(*sessions.follow(&session).unwrap().borrow());
    }

    #[test]
    fn cut_off_reaches_the_followers_of_the_sessions_that_it_ends() {
        let sessions = Sessions::default();
        let [ada, bob] = ["ada", "bob"].map(|user| Arc::new(a_session(user)));
        let [of_ada, of_bob] = [&ada, &bob].map(|session| sessions.follow(session).unwrap());
        let whose = Whose { user_id: Some("ada".to_owned()), ..Whose::default() };
        let cut_off = sessions.next_cut_off(whose, ada.opened_at);
        sessions.cut_off(cut_off);
        assert!(*of_ada.borrow() && sessions.is_over(&(&*ada).into()));
        assert!(!*of_bob.borrow() && !sessions.is_over(&(&*bob).into()));
        let again = SessionFacts { opened_at: sessions.opening_time(&(&*ada).into()), ..(&*ada).into() };
        assert!(!sessions.is_over(&again), "a session that is opened afterwards");
    }
}
