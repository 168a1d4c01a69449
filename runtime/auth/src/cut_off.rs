use super::{Session, SessionId, SessionToken};
use std::collections::HashMap;

/// Cut-offs that are kept. Beyond, the older half becomes one cut-off for everyone: no ended
/// session comes back.
pub const MAX_CUT_OFFS: usize = 10_000;

/// What a cut-off looks at in a session.
#[derive(Clone, Copy, Debug)]
pub struct SessionFacts<'a> {
    /// The identifier of the session.
    pub id: &'a SessionId,
    /// The provider that opened it.
    pub provider: &'a str,
    /// The person, as the provider names them.
    pub user_id: &'a str,
    /// When the person signed in, in seconds since the Unix epoch.
    pub opened_at: u64,
}

impl<'a> From<&'a Session> for SessionFacts<'a> {
    fn from(session: &'a Session) -> Self {
        Self {
            id: session.id(),
            provider: session.provider().as_str(),
            user_id: &session.claims().user_id,
            opened_at: session.opened_at(),
        }
    }
}

impl<'a> From<&'a SessionToken> for SessionFacts<'a> {
    fn from(token: &'a SessionToken) -> Self {
        Self {
            id: token.id(),
            provider: token.provider(),
            user_id: token.user_id(),
            opened_at: token.opened_at(),
        }
    }
}

/// Whose sessions a cut-off ends. An absent field stands for every value of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Whose {
    /// Sessions that this provider opened.
    pub provider: Option<String>,
    /// Sessions of this person.
    pub user_id: Option<String>,
    /// This one session, whenever it was opened.
    pub session: Option<SessionId>,
}

impl Whose {
    /// Returns whether the session is one of these.
    pub fn includes(&self, session: &SessionFacts<'_>) -> bool {
        self.provider
            .as_ref()
            .is_none_or(|provider| provider == session.provider)
            && self
                .user_id
                .as_ref()
                .is_none_or(|user| user == session.user_id)
            && self.session.as_ref().is_none_or(|id| id == session.id)
    }

    /// Every `Whose` without an identifier that includes this session.
    fn including(session: &SessionFacts<'_>) -> [Self; 4] {
        let provider = || Some(session.provider.to_owned());
        let user_id = || Some(session.user_id.to_owned());

        [
            Self::default(),
            Self {
                provider: provider(),
                ..Self::default()
            },
            Self {
                user_id: user_id(),
                ..Self::default()
            },
            Self {
                provider: provider(),
                user_id: user_id(),
                session: None,
            },
        ]
    }
}

/// Ends sessions: those that were opened at this time or before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CutOff {
    /// Which sessions end: those of a person, of a provider, or all.
    pub whose: Whose,
    /// Seconds since the Unix epoch.
    pub at: u64,
}

impl CutOff {
    /// Returns whether the session is over by this.
    pub fn ends(&self, session: &SessionFacts<'_>) -> bool {
        // A session can have been opened while the clock was ahead.
        let is_before = self.whose.session.is_some() || session.opened_at <= self.at;
        is_before && self.whose.includes(session)
    }
}

/// The cut-offs of a home, at most [`MAX_CUT_OFFS`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CutOffs(HashMap<Whose, u64>);

impl CutOffs {
    /// Adds one. A later cut-off for the same sessions stays.
    pub fn add(&mut self, cut_off: CutOff) {
        let at = self.0.entry(cut_off.whose).or_insert(cut_off.at);
        *at = cut_off.at.max(*at);
        if self.0.len() > MAX_CUT_OFFS {
            self.fold();
        }
    }

    /// The older half becomes one cut-off for everyone.
    fn fold(&mut self) {
        let mut times: Vec<_> = self.0.values().copied().collect();
        times.sort_unstable();
        let Some(middle) = times.get(times.len() / 2).copied() else {
            return;
        };
        self.0.retain(|_, at| *at > middle);
        self.0.entry(Whose::default()).or_insert(middle);
    }

    /// The cut-off for these sessions at `now`, in seconds since the Unix epoch. It is later than
    /// every other, so that it also ends a session that was opened within the same second, after
    /// one of them.
    pub fn next(&self, whose: Whose, now: u64) -> CutOff {
        let after_others = self
            .0
            .values()
            .max()
            .map_or(0, |last| last.saturating_add(1));
        CutOff {
            whose,
            at: now.max(after_others),
        }
    }

    /// Returns whether the session is over by one of them.
    pub fn end(&self, session: &SessionFacts<'_>) -> bool {
        let is_ended_alone = || {
            self.0.contains_key(&Whose {
                session: Some(session.id.clone()),
                ..Whose::default()
            })
        };
        !self.0.is_empty()
            && (self
                .latest_for(session)
                .is_some_and(|at| session.opened_at <= at)
                || is_ended_alone())
    }

    /// Returns the time to write into a session that is opened now: none of the present cut-offs
    /// ends it.
    pub fn opening_time(&self, session: &SessionFacts<'_>) -> u64 {
        let after = self
            .latest_for(session)
            .map_or(0, |at| at.saturating_add(1));
        session.opened_at.max(after)
    }

    fn latest_for(&self, session: &SessionFacts<'_>) -> Option<u64> {
        if self.0.is_empty() {
            return None;
        }
        Whose::including(session)
            .iter()
            .filter_map(|whose| self.0.get(whose).copied())
            .max()
    }

    /// Returns whether this one is among them, or a later one for the same sessions.
    pub fn has(&self, cut_off: &CutOff) -> bool {
        self.0
            .get(&cut_off.whose)
            .is_some_and(|at| *at >= cut_off.at)
    }

    /// Returns until when the sessions of everyone are over.
    pub fn everyone(&self) -> Option<u64> {
        self.0.get(&Whose::default()).copied()
    }

    /// Returns all cut-offs, the oldest first.
    pub fn all(&self) -> Vec<CutOff> {
        let one = |(whose, at): (&Whose, &u64)| CutOff {
            whose: whose.clone(),
            at: *at,
        };
        let mut all: Vec<_> = self.0.iter().map(one).collect();
        all.sort_by_key(|cut_off| cut_off.at);
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(name: &str) -> Whose {
        Whose {
            user_id: Some(name.to_owned()),
            ..Whose::default()
        }
    }

    fn is_over(cut_offs: &CutOffs, provider: &str, user_id: &str, opened_at: u64) -> bool {
        let id = SessionId::written(&"0".repeat(32)).unwrap();
        cut_offs.end(&SessionFacts {
            id: &id,
            provider,
            user_id,
            opened_at,
        })
    }

    #[test]
    fn cut_off_ends_what_was_opened_before() {
        let mut cut_offs = CutOffs::default();
        cut_offs.add(CutOff {
            whose: user("ada"),
            at: 10,
        });
        let corp = Whose {
            provider: Some("corp".to_owned()),
            ..user("bob")
        };
        cut_offs.add(CutOff {
            whose: corp,
            at: 10,
        });
        assert!(is_over(&cut_offs, "basic", "ada", 0) && is_over(&cut_offs, "corp", "ada", 10));
        assert!(!is_over(&cut_offs, "basic", "ada", 11) && !is_over(&cut_offs, "basic", "eve", 0));
        assert!(is_over(&cut_offs, "corp", "bob", 10) && !is_over(&cut_offs, "basic", "bob", 10));
        cut_offs.add(CutOff {
            whose: user("ada"),
            at: 5,
        });
        assert!(
            is_over(&cut_offs, "basic", "ada", 10),
            "an earlier one changes nothing"
        );
        cut_offs.add(CutOff {
            whose: Whose::default(),
            at: 20,
        });
        assert!(is_over(&cut_offs, "x", "eve", 20) && !is_over(&cut_offs, "x", "eve", 21));
    }

    #[test]
    fn two_within_one_second_end_what_was_opened_between_them() {
        let mut cut_offs = CutOffs::default();
        let id = SessionId::generate().unwrap();
        let at = |opened_at| SessionFacts {
            id: &id,
            provider: "basic",
            user_id: "ada",
            opened_at,
        };
        cut_offs.add(cut_offs.next(user("ada"), 10));
        let opened = cut_offs.opening_time(&at(10));
        assert!(cut_offs.end(&at(10)) && !cut_offs.end(&at(opened)));
        cut_offs.add(cut_offs.next(user("ada"), 10));
        assert!(cut_offs.end(&at(opened)));
        let one = Whose {
            session: Some(id.clone()),
            ..Whose::default()
        };
        let opened = cut_offs.opening_time(&at(10));
        assert!(!cut_offs.end(&at(opened)));
        cut_offs.add(cut_offs.next(one, 10));
        assert!(
            cut_offs.end(&at(opened + 100)),
            "one session, also of a clock that was ahead"
        );
    }

    #[test]
    fn beyond_the_bound_the_older_half_holds_for_everyone() {
        let mut cut_offs = CutOffs::default();
        for number in 0..=MAX_CUT_OFFS as u64 {
            cut_offs.add(CutOff {
                whose: user(&number.to_string()),
                at: 100 + number,
            });
        }
        assert!(cut_offs.all().len() <= MAX_CUT_OFFS / 2 + 1);
        for number in [0, 1, MAX_CUT_OFFS as u64 / 2, MAX_CUT_OFFS as u64] {
            assert!(
                is_over(&cut_offs, "basic", &number.to_string(), 100 + number),
                "{number}"
            );
        }
        assert!(!is_over(&cut_offs, "basic", "0", 100 + MAX_CUT_OFFS as u64));
    }
}
