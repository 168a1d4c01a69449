use super::{CutOff, CutOffs, Session, SessionFacts, SessionId, Whose};
use std::collections::{HashMap, HashSet, VecDeque};
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::watch;

/// Sessions that are known to be over. More, and the oldest are forgotten.
pub const MAX_ENDED: usize = 100_000;

/// Most subscribers of one session at a time, so that one person's pages do not use up what others
/// need.
const MAX_FOLLOWERS: usize = 16;
/// The same for streams and sockets of applications, of which one page opens several.
const MAX_STREAMS: usize = 64;
/// All sessions of one person together may have as many followers as this many sessions.
const FULL_SESSIONS_PER_PERSON: usize = 4;

/// The sessions that this process knows to be over, and the subscribers to notify when another one
/// ends.
#[derive(Default)]
pub struct Sessions {
    table: Mutex<EndedTable>,
}

struct EndedTable {
    ended: LastFew<SessionId>,
    cut_offs: CutOffs,
    followed: HashMap<SessionId, Followers>,
}

/// What waits for the end of one session.
struct Followers {
    pages: watch::Sender<bool>,
    streams: watch::Sender<bool>,
    /// The session with the access token that ends last, of those that were seen.
    newest: Arc<Session>,
}

impl Followers {
    fn new(session: &Arc<Session>) -> Self {
        let new = || watch::channel(false).0;
        Self {
            pages: new(),
            streams: new(),
            newest: session.clone(),
        }
    }

    /// Takes a session over if its access token ends later.
    fn renew(&mut self, session: &Arc<Session>) {
        if session.claims().expires_at > self.newest.claims().expires_at {
            self.newest = session.clone();
        }
    }

    fn are_of_person_of(&self, session: &Session) -> bool {
        let known = &self.newest;
        known.provider() == session.provider() && known.claims().user_id == session.claims().user_id
    }

    fn is_empty(&self) -> bool {
        self.pages.receiver_count() + self.streams.receiver_count() == 0
    }

    fn end(&self) {
        self.pages.send_replace(true);
        self.streams.send_replace(true);
    }
}

impl Default for EndedTable {
    fn default() -> Self {
        Self {
            ended: LastFew::new(MAX_ENDED),
            cut_offs: CutOffs::default(),
            followed: HashMap::new(),
        }
    }
}

/// Turns true when a session is over.
pub type Followed = watch::Receiver<bool>;

impl Sessions {
    /// Starts with ended sessions, the oldest first, and with cut-offs.
    pub fn with_ended(ended: impl IntoIterator<Item = SessionId>, cut_offs: CutOffs) -> Self {
        let sessions = Self::default();
        for id in ended {
            sessions.end(&id);
        }
        sessions.table().cut_offs = cut_offs;
        sessions
    }

    fn table(&self) -> MutexGuard<'_, EndedTable> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns whether this session was ended here.
    pub fn is_over(&self, session: &SessionFacts<'_>) -> bool {
        self.table().is_over(session)
    }

    /// The time to write into a session that is opened now, in seconds since the Unix epoch:
    /// `session.opened_at`, or the second after the cut-offs that hold for the person.
    pub fn opening_time(&self, session: &SessionFacts<'_>) -> u64 {
        self.table().cut_offs.opening_time(session)
    }

    /// Returns the cut-off for these sessions at `now`, which ends each of them that is open: see
    /// [`CutOffs::next`].
    pub(crate) fn next_cut_off(&self, whose: Whose, now: u64) -> CutOff {
        self.table().cut_offs.next(whose, now)
    }

    /// Returns those of the cut-offs that do not hold here yet.
    pub fn new_among(&self, cut_offs: &CutOffs) -> Vec<CutOff> {
        let table = self.table();
        cut_offs
            .all()
            .into_iter()
            .filter(|cut_off| !table.cut_offs.has(cut_off))
            .collect()
    }

    /// Returns until when the sessions of everyone are over, in seconds since the Unix epoch.
    pub fn everyone_is_over_until(&self) -> Option<u64> {
        self.table().cut_offs.everyone()
    }

    /// Ends every session that the cut-off ends, and notifies their followers.
    pub fn cut_off(&self, cut_off: CutOff) {
        let mut table = self.table();
        table.followed.retain(|_, followers| {
            let is_over = cut_off.ends(&(&*followers.newest).into());
            if is_over {
                followers.end();
            }
            !is_over
        });
        table.cut_offs.add(cut_off);
    }

    /// Ends a session: from now on none of its tokens is accepted, and its followers are notified.
    /// Returns false if it had ended before.
    pub fn end(&self, id: &SessionId) -> bool {
        let mut table = self.table();
        let is_new = table.ended.insert(id.clone());
        if let Some(followers) = table.followed.remove(id) {
            followers.end();
        }
        is_new
    }

    /// Subscribes a page to the end of a session. Returns `None` when the session already has 16
    /// pages, or its person 64.
    pub fn follow(&self, session: &Arc<Session>) -> Option<Followed> {
        self.subscribe(session, MAX_FOLLOWERS, |followers| &followers.pages)
    }

    /// Subscribes a stream or socket of an application to the end of a session. Returns `None` when
    /// the session already has 64 of them, or its person 256.
    pub fn follow_stream(&self, session: &Arc<Session>) -> Option<Followed> {
        self.subscribe(session, MAX_STREAMS, |followers| &followers.streams)
    }

    fn subscribe(
        &self,
        session: &Arc<Session>,
        most: usize,
        kind: fn(&Followers) -> &watch::Sender<bool>,
    ) -> Option<Followed> {
        let mut table = self.table();
        if table.is_over(&(&**session).into()) {
            return Some(watch::channel(true).1);
        }
        table.followed.retain(|_, followers| !followers.is_empty());
        let of_person = table
            .followed
            .values()
            .filter(|followers| followers.are_of_person_of(session));
        let of_person: usize = of_person
            .map(|followers| kind(followers).receiver_count())
            .sum();

        let followers = table
            .followed
            .entry(session.id().clone())
            .or_insert_with(|| Followers::new(session));
        followers.renew(session);
        let sender = kind(followers);
        let has_room =
            sender.receiver_count() < most && of_person < FULL_SESSIONS_PER_PERSON * most;
        has_room.then(|| sender.subscribe())
    }

    /// Notes the access token of a request, for what follows its session.
    pub fn saw(&self, session: &Arc<Session>) {
        let mut table = self.table();
        if let Some(followers) = table.followed.get_mut(session.id()) {
            followers.renew(session);
        }
    }

    /// Returns the session with the access token that ends last, of those that were seen. `None`:
    /// nothing follows it.
    pub fn newest(&self, id: &SessionId) -> Option<Arc<Session>> {
        self.table()
            .followed
            .get(id)
            .map(|followers| followers.newest.clone())
    }

    /// The sessions that are followed, each with its newest access token.
    pub(super) fn followed(&self) -> Vec<Arc<Session>> {
        self.table()
            .followed
            .values()
            .map(|followers| followers.newest.clone())
            .collect()
    }
}

impl EndedTable {
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
        Self {
            known: HashSet::new(),
            order: VecDeque::new(),
            limit,
        }
    }

    /// Returns whether the item is among them.
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
    use super::super::session::tests::{NOW, a_session, claims};
    use super::*;
    use crate::{ProviderName, Registered};

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
        let all: Vec<_> = (0..MAX_FOLLOWERS)
            .map(|_| sessions.follow(&session).unwrap())
            .collect();
        assert!(sessions.follow(&session).is_none(), "as many as may");
        drop(all);
        let followed = sessions.follow(&session).unwrap();
        assert!(!*followed.borrow() && !sessions.is_over(&(&*session).into()));
        sessions.end(session.id());
        assert!(*followed.borrow() && sessions.is_over(&(&*session).into()));
        assert!(*sessions.follow(&session).unwrap().borrow());
    }

    #[test]
    fn sessions_of_one_person_leave_room_to_others() {
        let sessions = Sessions::default();
        let open_all = |user: &str| -> Vec<_> {
            let session = Arc::new(a_session(user));
            std::iter::from_fn(|| sessions.follow(&session)).collect()
        };
        let mut of_ada: Vec<_> = (0..17).map(|_| open_all("ada")).collect();
        assert_eq!(
            of_ada.iter().map(Vec::len).sum::<usize>(),
            FULL_SESSIONS_PER_PERSON * MAX_FOLLOWERS
        );
        assert_eq!(open_all("bob").len(), MAX_FOLLOWERS);
        of_ada.remove(0);
        assert_eq!(open_all("ada").len(), MAX_FOLLOWERS, "pages were closed");
    }

    #[test]
    fn people_of_one_name_at_two_providers_have_room_each() {
        let sessions = Sessions::default();
        let open_all = |session: Session| -> Vec<_> {
            let session = Arc::new(session);
            std::iter::from_fn(|| sessions.follow(&session)).collect()
        };
        let open: Vec<_> = (0..FULL_SESSIONS_PER_PERSON)
            .map(|_| open_all(a_session("ada")))
            .collect();

        let corp = Registered::new(ProviderName::new("corp").unwrap(), [].into());
        let known = claims("ada", NOW + 60).checked(NOW).unwrap();
        let elsewhere = Session::open(&corp, NOW, known).unwrap();
        assert_eq!(open_all(elsewhere).len(), MAX_FOLLOWERS);
        drop(open);
    }

    #[test]
    fn cut_off_reaches_the_followers_of_the_sessions_that_it_ends() {
        let sessions = Sessions::default();
        let [ada, bob] = ["ada", "bob"].map(|user| Arc::new(a_session(user)));
        let [of_ada, of_bob] = [&ada, &bob].map(|session| sessions.follow(session).unwrap());
        let whose = Whose {
            user_id: Some("ada".to_owned()),
            ..Whose::default()
        };
        let cut_off = sessions.next_cut_off(whose, ada.opened_at());
        sessions.cut_off(cut_off);
        assert!(*of_ada.borrow() && sessions.is_over(&(&*ada).into()));
        assert!(!*of_bob.borrow() && !sessions.is_over(&(&*bob).into()));
        let again = SessionFacts {
            opened_at: sessions.opening_time(&(&*ada).into()),
            ..(&*ada).into()
        };
        assert!(
            !sessions.is_over(&again),
            "a session that is opened afterwards"
        );
    }
}
