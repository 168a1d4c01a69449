//! The leases of a drain: one per owner, each with its own end. The drain is on while any lease
//! lives.

use super::marker::parse_time;
use super::verdict::expiry_after;
use super::{MarkerContent, MarkerState, foreign_text};
use jiff::{SignedDuration, Timestamp};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use std::time::Duration;

/// Longest life that a caller may ask for, in seconds.
pub const MAX_TTL_SECONDS: u64 = 86_400;

/// Maximum number of owners. The last place is for an owner that is named by its principal: a
/// platform that knows nothing of owners must always be able to begin. A marker with all of them stays below the size that is read, also if
/// each text is as long as it may be.
pub const MAX_LEASES: usize = 24;

/// Tolerated difference between two clocks. A lease that begins further in the future was written
/// by a clock that has been corrected since.
pub(super) const CLOCK_TOLERANCE: SignedDuration = SignedDuration::from_secs(5);

/// One owner's share in a drain. Texts are read within their bounds, since another program may have
/// written them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    /// The name under which the owner renews and cancels.
    #[serde(deserialize_with = "owner")]
    pub owner: String,
    /// Name of the caller's permit.
    #[serde(default, deserialize_with = "principal")]
    pub principal: String,
    /// Why the owner drains, in the owner's words.
    #[serde(
        default,
        deserialize_with = "optional_reason",
        skip_serializing_if = "Option::is_none"
    )]
    pub reason: Option<String>,
    /// When the lease was begun or renewed.
    #[serde(deserialize_with = "time")]
    pub requested_at: Timestamp,
    /// When the lease ends by itself.
    #[serde(default, deserialize_with = "optional_time")]
    pub expires_at: Option<Timestamp>,
    /// Whether people get no message about the drain.
    #[serde(default)]
    pub suppress_notification: bool,
}

fn owner<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    let owner = foreign_text::owner(String::deserialize(from)?);
    if owner.is_empty() {
        return Err(D::Error::custom("the owner has no name"));
    }
    Ok(owner)
}

fn principal<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    Ok(foreign_text::principal(String::deserialize(from)?))
}

fn optional_reason<'de, D: Deserializer<'de>>(from: D) -> Result<Option<String>, D::Error> {
    let reason = Option::<String>::deserialize(from)?;
    Ok(reason.map(foreign_text::reason))
}

fn time<'de, D: Deserializer<'de>>(from: D) -> Result<Timestamp, D::Error> {
    let text = String::deserialize(from)?;
    parse_time(&text).ok_or_else(|| D::Error::custom("not a time"))
}

fn optional_time<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Timestamp>, D::Error> {
    let text = Option::<String>::deserialize(from)?;
    let parse = |text: String| parse_time(&text).ok_or_else(|| D::Error::custom("not a time"));
    text.map(parse).transpose()
}

/// The leases of one drain, the newest last.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Leases(Vec<Lease>);

/// As many owners as there are places hold a lease already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooManyLeases;

impl From<Vec<Lease>> for Leases {
    /// Takes leases in the order of their begin, the newest last.
    fn from(leases: Vec<Lease>) -> Self {
        Self(leases)
    }
}

impl Leases {
    /// Returns the leases of a marker. A marker without `holders`, as the original writes it, is
    /// one lease of its principal. Without `expires_at`, such a lease ends after `max_age`; with a
    /// `max_age` of zero it does not end. Without a principal it belongs to no owner: there
    /// are no leases, so the next begin takes its place, and any caller may end it.
    pub fn of(state: &MarkerState, max_age: Duration) -> Self {
        let MarkerState::Present { content, modified } = state else {
            return Self::default();
        };
        if !content.holders.is_empty() {
            return content.holders.clone().into();
        }

        let MarkerContent {
            principal,
            expires_at,
            suppress_notification,
            ..
        } = content;
        let Some(requested_at) = content.requested_at.or(*modified) else {
            return Self::default();
        };
        let Some(owner) = principal.clone() else {
            return Self::default();
        };
        let by_age = || {
            (!max_age.is_zero())
                .then(|| expiry_after(requested_at, max_age))
                .flatten()
        };

        Self(vec![Lease {
            principal: owner.clone(),
            owner,
            reason: None,
            requested_at,
            expires_at: expires_at.or_else(by_age),
            suppress_notification: *suppress_notification,
        }])
    }

    /// Adds the lease, in place of an earlier one of the same owner. Other leases do not change.
    ///
    /// # Errors
    /// The owner is new, and there is no place for it.
    pub fn begin(&mut self, lease: Lease) -> Result<(), TooManyLeases> {
        let others = self
            .0
            .iter()
            .filter(|other| other.owner != lease.owner)
            .count();
        let places = if lease.owner == lease.principal {
            MAX_LEASES
        } else {
            MAX_LEASES - 1
        };
        if others >= places {
            return Err(TooManyLeases);
        }

        self.0.retain(|other| other.owner != lease.owner);
        self.0.push(lease);
        Ok(())
    }

    /// Ends the lease of this owner. Returns false if the owner has none.
    pub fn cancel(&mut self, owner: &str) -> bool {
        let before = self.0.len();
        self.0.retain(|lease| lease.owner != owner);
        self.0.len() < before
    }

    /// Removes and returns the leases that have ended.
    pub fn expire(&mut self, now: Timestamp) -> Vec<Lease> {
        let has_ended = |lease: &Lease| lease.expires_at.is_some_and(|end| end <= now);
        let (ended, living) = std::mem::take(&mut self.0).into_iter().partition(has_ended);
        self.0 = living;
        ended
    }

    /// Restarts each lease that begins in the future: it then begins now and keeps its length.
    /// Returns whether there were any.
    pub fn correct_clock(&mut self, now: Timestamp) -> bool {
        let mut is_changed = false;
        for lease in &mut self.0 {
            if lease.requested_at.duration_since(now) > CLOCK_TOLERANCE {
                let length = lease
                    .expires_at
                    .map(|end| end.duration_since(lease.requested_at));
                lease.expires_at = length.and_then(|length| now.checked_add(length).ok());
                lease.requested_at = now;
                is_changed = true;
            }
        }
        is_changed
    }

    /// Takes them out, the newest last.
    pub(crate) fn into_all(self) -> Vec<Lease> {
        self.0
    }

    /// Returns all leases, the newest last.
    pub fn all(&self) -> &[Lease] {
        &self.0
    }

    /// Returns the lease that was begun or renewed last.
    pub fn newest(&self) -> Option<&Lease> {
        self.0.last()
    }

    /// Returns when the last lease ends; `None` if one has no end, or there is none.
    pub(crate) fn ends_at(&self) -> Option<Timestamp> {
        let ends: Option<Vec<_>> = self.0.iter().map(|lease| lease.expires_at).collect();
        ends?.into_iter().max()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn lease(owner: &str, from: i64, to: i64) -> Lease {
        Lease {
            owner: owner.to_owned(),
            principal: "drain-control".to_owned(),
            reason: None,
            requested_at: at(from),
            expires_at: Some(at(to)),
            suppress_notification: false,
        }
    }

    #[test]
    fn owners_do_not_touch_each_other() {
        let mut leases = Leases::default();
        leases.begin(lease("a", 0, 3600)).unwrap();
        leases.begin(lease("b", 1, 3)).unwrap();
        assert_eq!(leases.ends_at(), Some(at(3600)));
        assert!(leases.cancel("b") && !leases.cancel("b"));
        assert_eq!(leases.all(), [lease("a", 0, 3600)]);
        leases.begin(lease("a", 5, 10)).unwrap();
        assert_eq!((leases.all().len(), leases.ends_at()), (1, Some(at(10))));
        assert_eq!(leases.expire(at(10)).len(), 1);
        assert!(leases.all().is_empty());
    }

    #[test]
    fn owners_are_bounded() {
        let mut leases = Leases::default();
        for owner in 1..MAX_LEASES {
            leases.begin(lease(&owner.to_string(), 0, 60)).unwrap();
        }
        assert_eq!(leases.begin(lease("one more", 0, 60)), Err(TooManyLeases));
        assert_eq!(leases.begin(lease("1", 1, 60)), Ok(()), "a renewal");

        let platform = lease("drain-control", 0, 60);
        assert_eq!(platform.owner, platform.principal);
        assert_eq!(leases.begin(platform.clone()), Ok(()), "the last place");
        assert_eq!(leases.begin(platform), Ok(()), "a renewal");
        assert_eq!(leases.all().len(), MAX_LEASES);
        let person = Lease {
            principal: "ada".to_owned(),
            ..lease("ada", 0, 60)
        };
        assert_eq!(leases.begin(person), Err(TooManyLeases));
    }

    #[test]
    fn lease_from_a_clock_that_was_ahead_gets_its_length_from_now() {
        let mut leases = Leases::default();
        leases.begin(lease("a", 300_000, 300_060)).unwrap();
        assert!(leases.correct_clock(at(0)) && !leases.correct_clock(at(0)));
        assert_eq!(leases.all(), [lease("a", 0, 60)]);
    }
}
