use super::{Session, SessionFacts, SessionId, Whose};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio::sync::watch;

/// Sessions that are listed. Beyond, a tenth is dropped: those that were used longest ago.
pub const MAX_KNOWN: usize = 10_000;
/// Longest user agent that is kept, in characters before escaping.
const MAX_AGENT_CHARS: usize = 200;
/// A use is written down when the last one that was is this many seconds old.
const USE_SECONDS: u64 = 60;
/// A session that has expired is listed for as long as its refresh token may be in a browser, in
/// seconds.
const UNUSED_SECONDS: u64 = 31 * 24 * 3600;

/// The moment of a number of seconds since the Unix epoch. `None` for zero, which stands for a time
/// that is not known.
pub fn time_of(seconds: u64) -> Option<Timestamp> {
    let seconds = i64::try_from(seconds).ok().filter(|seconds| *seconds > 0)?;
    Timestamp::from_second(seconds).ok()
}

/// A session that was seen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KnownSession {
    /// Which one. No credential: the cookie is sealed.
    pub id: SessionId,
    /// The provider that opened it.
    pub provider: String,
    /// The person, as the provider names them.
    pub user_id: String,
    /// The person's e-mail address; empty where unknown.
    pub email: String,
    /// When the person signed in, in seconds since the Unix epoch.
    pub since: u64,
    /// The last request, in seconds since the Unix epoch.
    pub last_seen: u64,
    /// When the access token ends, in seconds since the Unix epoch.
    pub expires_at: u64,
    /// The client's address at the last request.
    pub address: Option<String>,
    /// The browser's name for itself at the last request, with everything but visible ASCII
    /// escaped.
    pub user_agent: Option<String>,
}

impl KnownSession {
    /// Returns what a cut-off compares.
    pub fn facts(&self) -> SessionFacts<'_> {
        let Self {
            id,
            provider,
            user_id,
            since,
            ..
        } = self;

        SessionFacts {
            id,
            provider,
            user_id,
            opened_at: *since,
        }
    }

    /// The session as programs and operators read it, with times as in RFC 3339. A time that is not
    /// known is `null`.
    pub fn to_json(&self) -> Map<String, Value> {
        let fields = json!({
            "id": self.id,
            "provider": self.provider,
            "user_id": self.user_id,
            "email": self.email,
            "since": time_of(self.since),
            "last_seen": time_of(self.last_seen),
            "expires_at": time_of(self.expires_at),
            "address": self.address,
            "user_agent": self.user_agent,
        });

        match fields {
            Value::Object(fields) => fields,
            _ => Map::new(),
        }
    }

    fn is_listed(&self, now: u64) -> bool {
        self.expires_at > now || now < self.last_seen.saturating_add(UNUSED_SECONDS)
    }
}

/// Where a request of a session came from.
#[derive(Clone, Debug, Default)]
pub struct Sighting<'a> {
    /// Seconds since the Unix epoch.
    pub now: u64,
    /// The address of the client that signed in or was last seen.
    pub address: Option<String>,
    /// The header, as it was sent.
    pub user_agent: Option<&'a [u8]>,
}

/// The sessions that this home has seen, at most [`MAX_KNOWN`].
#[derive(Debug)]
pub struct KnownSessions {
    table: Mutex<KnownTable>,
    /// Changes when a session is added or removed.
    turnover: watch::Sender<()>,
}

impl Default for KnownSessions {
    fn default() -> Self {
        Self::new(0, [])
    }
}

#[derive(Debug)]
struct KnownTable {
    sessions: HashMap<SessionId, KnownSession>,
    since: u64,
    changes: u64,
}

/// The table at one instant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listing {
    /// Every session that was opened or used at this time or later is listed, in seconds since the
    /// Unix epoch.
    pub since: u64,
    /// How often the list has changed.
    pub changes: u64,
    /// In the order in which they were opened.
    pub sessions: Vec<KnownSession>,
}

impl KnownSessions {
    /// Starts with these sessions. Every session that is opened or used after `since` is added.
    pub fn new(since: u64, sessions: impl IntoIterator<Item = KnownSession>) -> Self {
        let sessions = sessions
            .into_iter()
            .take(MAX_KNOWN)
            .map(|known| (known.id.clone(), known))
            .collect();
        let table = KnownTable {
            sessions,
            since,
            changes: 0,
        };
        Self {
            table: Mutex::new(table),
            turnover: watch::Sender::new(()),
        }
    }

    fn table(&self) -> MutexGuard<'_, KnownTable> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes a request of a session, or its beginning.
    pub fn saw(&self, session: &Session, sighting: Sighting<'_>) {
        let mut table = self.table();
        let Sighting {
            now,
            address,
            user_agent,
        } = sighting;

        if let Some(known) = table.sessions.get_mut(session.id()) {
            let is_recent = now.saturating_sub(known.last_seen) < USE_SECONDS;
            if is_recent
                && known.address == address
                && known.user_agent.is_some() == user_agent.is_some()
            {
                return;
            }
            known.last_seen = known.last_seen.max(now);
            known.expires_at = session.claims().expires_at;
            known.address = address;
            known.user_agent = user_agent.map(escaped);
        } else {
            let known = KnownSession {
                id: session.id().clone(),
                provider: session.provider().to_string(),
                user_id: session.claims().user_id.clone(),
                email: session.claims().email.clone(),
                since: session.opened_at(),
                last_seen: now,
                expires_at: session.claims().expires_at,
                address,
                user_agent: user_agent.map(escaped),
            };
            table.sessions.insert(session.id().clone(), known);
            table.bound(now);
            self.turnover.send_replace(());
        }

        table.changes += 1;
    }

    /// Returns the session of this identifier.
    pub fn get(&self, id: &SessionId) -> Option<KnownSession> {
        self.table().sessions.get(id).cloned()
    }

    /// Removes sessions that are over, and returns them.
    pub fn remove(&self, is_over: impl Fn(&KnownSession) -> bool) -> Vec<KnownSession> {
        let mut table = self.table();
        let over: Vec<_> = table
            .sessions
            .values()
            .filter(|known| is_over(known))
            .cloned()
            .collect();
        for known in &over {
            table.sessions.remove(&known.id);
        }
        if !over.is_empty() {
            table.changes += 1;
            self.turnover.send_replace(());
        }
        over
    }

    /// Returns the number of sessions that are listed now.
    pub fn count(&self, now: u64) -> usize {
        self.table()
            .sessions
            .values()
            .filter(|known| known.is_listed(now))
            .count()
    }

    /// Returns the sessions that are listed now, without expired ones.
    pub fn list(&self, now: u64) -> Listing {
        let table = self.table();
        let listed = table.sessions.values().filter(|known| known.is_listed(now));
        let mut sessions: Vec<_> = listed.cloned().collect();
        sessions.sort_by(|one, other| {
            (one.since, one.id.as_str()).cmp(&(other.since, other.id.as_str()))
        });
        Listing {
            since: table.since,
            changes: table.changes,
            sessions,
        }
    }

    /// Returns when the newest of these sessions was opened, by its own time: the clock may have
    /// been ahead.
    pub(crate) fn newest_of(&self, whose: &Whose) -> Option<u64> {
        let table = self.table();
        let included = table
            .sessions
            .values()
            .filter(|known| whose.includes(&known.facts()));
        included.map(|known| known.since).max()
    }

    /// Returns how often the list has changed, uses included.
    pub fn changes(&self) -> u64 {
        self.table().changes
    }

    /// Follows which sessions are listed: changes when one is added or removed. A use of a listed
    /// session changes nothing here.
    pub fn turnover(&self) -> watch::Receiver<()> {
        self.turnover.subscribe()
    }
}

impl KnownTable {
    /// What is dropped was used before `now`: the list is whole for what is used from now on.
    fn bound(&mut self, now: u64) {
        if self.sessions.len() <= MAX_KNOWN {
            return;
        }

        let mut uses: Vec<_> = self
            .sessions
            .values()
            .map(|known| known.last_seen)
            .collect();
        uses.sort_unstable();
        let Some(last) = uses.get(MAX_KNOWN / 10 - 1).copied() else {
            return;
        };
        let mut left = MAX_KNOWN / 10;
        self.sessions.retain(|_, known| {
            let is_dropped = left > 0 && known.last_seen <= last;
            left -= usize::from(is_dropped);
            !is_dropped
        });
        self.since = now.saturating_add(1);
    }
}

fn escaped(agent: &[u8]) -> String {
    let text = String::from_utf8_lossy(agent);
    let escape = |c: char| match c {
        ' '..='~' => c.to_string(),
        c => c.escape_default().to_string(),
    };
    text.chars().take(MAX_AGENT_CHARS).map(escape).collect()
}

#[cfg(test)]
mod tests {
    use super::super::session::tests::a_session;
    use super::*;

    fn at(now: u64) -> Sighting<'static> {
        Sighting {
            now,
            ..Sighting::default()
        }
    }

    #[test]
    fn session_is_listed_once_with_its_last_use() {
        let known = KnownSessions::new(5, []);
        let session = a_session("ada");
        known.saw(
            &session,
            Sighting {
                now: 10,
                address: Some("192.0.2.1".into()),
                user_agent: None,
            },
        );
        let agent = "Brow\u{202e}ser\n".as_bytes();
        known.saw(
            &session,
            Sighting {
                now: 20,
                address: None,
                user_agent: Some(agent),
            },
        );
        let changes = known.changes();
        known.saw(
            &session,
            Sighting {
                now: 30,
                address: None,
                user_agent: Some(agent),
            },
        );
        assert_eq!(
            known.changes(),
            changes,
            "a use within the same minute changes nothing"
        );
        let listing = known.list(30);
        let [listed] = &listing.sessions[..] else {
            unreachable!("one session")
        };
        assert_eq!(
            (listing.since, listed.last_seen, listed.address.as_deref()),
            (5, 20, None)
        );
        assert_eq!(listed.user_agent.as_deref(), Some("Brow\\u{202e}ser\\n"));
        assert!(known.remove(|one| one.user_id == "bob").is_empty());
        assert_eq!(known.remove(|one| one.user_id == "ada").len(), 1);
        assert!(known.get(session.id()).is_none());
    }

    #[test]
    fn turnover_is_of_what_is_added_or_removed_and_not_of_uses() {
        let known = KnownSessions::new(0, []);
        let session = a_session("ada");
        let mut turnover = known.turnover();
        let mut has_turned = || {
            let has_turned = turnover.has_changed().unwrap();
            turnover.borrow_and_update();
            has_turned
        };

        known.saw(&session, at(10));
        assert!(has_turned(), "it is new");
        let changes = known.changes();
        known.saw(&session, at(1_000));
        assert_eq!((known.changes(), has_turned()), (changes + 1, false));
        known.remove(|one| one.user_id == "bob");
        assert!(!has_turned(), "nothing was removed");
        known.remove(|one| one.user_id == "ada");
        assert!(has_turned());
    }

    #[test]
    fn use_by_a_clock_far_ahead_is_listed() {
        let known = KnownSessions::new(0, []);
        known.saw(&a_session("ada"), at(u64::MAX));
        assert_eq!(known.count(u64::MAX - 1), 1);
    }

    #[test]
    fn those_used_longest_ago_are_dropped_and_the_gap_is_known() {
        let known = KnownSessions::new(1, []);
        let first = a_session("first");
        known.saw(&first, at(10));
        for number in 0..MAX_KNOWN as u64 {
            known.saw(&a_session("ada"), at(20 + number));
        }
        let listing = known.list(20);
        assert_eq!(known.count(20), listing.sessions.len());
        assert!(
            listing.sessions.len() <= MAX_KNOWN && listing.sessions.len() >= MAX_KNOWN * 8 / 10
        );
        assert!(known.get(first.id()).is_none());
        assert!(listing.since > 20, "{}", listing.since);
    }
}
