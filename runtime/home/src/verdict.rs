use super::leases::CLOCK_TOLERANCE;
use super::{Epoch, Lease, Leases, MarkerContent, MarkerState};
use jiff::{SignedDuration, Timestamp};
use std::time::Duration;

/// The meaning of a marker at one instant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DrainVerdict {
    /// There is no marker.
    NotDraining,
    /// A marker that is ignored.
    Stale(StaleReason),
    /// A marker that drains.
    Draining(DrainView),
}

/// Why a marker is ignored.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StaleReason {
    /// It was written in another epoch, which is the one that is named.
    #[error("it was written in another epoch ({0})")]
    OtherEpoch(String),
    /// Its `expires_at` has passed.
    #[error("it expired at {0}")]
    Expired(Timestamp),
    /// It has no `expires_at` and is older than the maximum age.
    #[error("it is older than {} seconds (dashboard.drain.max_age_seconds)", max_age.as_secs())]
    TooOld {
        /// The age up to which such a marker counts.
        max_age: Duration,
    },
}

/// A drain that is on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DrainView {
    /// Start of the drain, if it is known.
    pub requested_at: Option<Timestamp>,
    /// End of the drain, if it ends by itself.
    pub expires_at: Option<Timestamp>,
    /// Principal of the newest lease, if it is known.
    pub principal: Option<String>,
    /// Its leases, at least one of which lives. A marker that the original wrote has one, of its
    /// principal. There is none if the marker has no content, or names no principal.
    pub holders: Vec<Lease>,
    /// Whether people get no message about the drain.
    pub suppress_notification: bool,
}

impl DrainView {
    /// Returns how long the drain may still last if the clock that wrote it was ahead of this one;
    /// `None` if it was not. A clock was ahead if the drain begins in the future, or ends later
    /// than `longest` from now.
    pub fn overlong(&self, now: Timestamp, longest: Duration) -> Option<Duration> {
        let left = Duration::try_from(self.expires_at?.duration_since(now)).ok()?;
        match self.requested_at {
            Some(begun) if begun.duration_since(now) > CLOCK_TOLERANCE => {
                let length =
                    Duration::try_from(self.expires_at?.duration_since(begun)).unwrap_or_default();
                Some(length.min(longest))
            }
            _ => (left > longest).then_some(longest),
        }
    }
}

impl DrainVerdict {
    /// Returns whether new turns are refused.
    pub fn is_draining(&self) -> bool {
        matches!(self, Self::Draining(_))
    }

    /// Returns the drain that is on.
    pub fn drain(&self) -> Option<&DrainView> {
        match self {
            Self::Draining(view) => Some(view),
            _ => None,
        }
    }
}

/// Judges a marker. `epoch` is the gateway's (`None`: unknown, and the marker's is not compared).
/// With a `max_age` of zero, a marker without `expires_at` never expires. Times in the future are
/// honoured.
pub fn judge(
    state: &MarkerState,
    epoch: Option<&Epoch>,
    max_age: Duration,
    now: Timestamp,
) -> DrainVerdict {
    let empty = MarkerContent::default();
    let (content, modified) = match state {
        MarkerState::Absent => return DrainVerdict::NotDraining,
        MarkerState::Unreadable { modified } => (&empty, modified),
        MarkerState::Present { content, modified } => (content, modified),
    };
    if let (Some(written), Some(present)) = (&content.epoch, epoch)
        && written != present.as_str()
    {
        return DrainVerdict::Stale(StaleReason::OtherEpoch(written.clone()));
    }
    let since = content.requested_at.or(*modified);
    let draining = |leases: Leases, expires_at| {
        DrainVerdict::Draining(DrainView {
            requested_at: since,
            expires_at,
            principal: content.principal.clone(),
            holders: leases.into_all(),
            suppress_notification: content.suppress_notification,
        })
    };

    // With holders, the drain is on exactly while one of their leases lives.
    if !content.holders.is_empty() {
        let mut leases = Leases::from(content.holders.clone());
        let last_end = leases.ends_at();
        leases.expire(now);
        let expires_at = leases.ends_at();
        return match (leases.all(), last_end) {
            ([], Some(end)) => DrainVerdict::Stale(StaleReason::Expired(end)),
            _ => draining(leases, expires_at),
        };
    }
    let expires_at = match content.expires_at {
        Some(expiry) if expiry <= now => return DrainVerdict::Stale(StaleReason::Expired(expiry)),
        Some(expiry) => Some(expiry),
        None if max_age.is_zero() => None,
        None => since.and_then(|since| expiry_after(since, max_age)),
    };
    match expires_at {
        Some(expiry) if expiry < now => DrainVerdict::Stale(StaleReason::TooOld { max_age }),
        _ => draining(Leases::of(state, max_age), expires_at),
    }
}

/// Returns `None` if the result is later than the last time that can be represented.
pub fn expiry_after(since: Timestamp, life: Duration) -> Option<Timestamp> {
    since.checked_add(SignedDuration::try_from(life).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn present(content: MarkerContent, modified: i64) -> MarkerState {
        MarkerState::Present {
            content,
            modified: Some(at(modified)),
        }
    }

    fn judge_at(state: &MarkerState, now: i64) -> DrainVerdict {
        judge(state, Some(&Epoch::known("boot:1")), HOUR, at(now))
    }

    #[test]
    fn absence_is_no_drain() {
        assert_eq!(judge_at(&MarkerState::Absent, 0), DrainVerdict::NotDraining);
    }

    #[test]
    fn presence_without_content_drains_until_it_is_too_old() {
        let garbage = MarkerState::Unreadable {
            modified: Some(at(0)),
        };
        assert!(judge_at(&garbage, 0).is_draining());
        assert!(judge_at(&garbage, 3600).is_draining());
        assert_eq!(
            judge_at(&garbage, 3601),
            DrainVerdict::Stale(StaleReason::TooOld { max_age: HOUR })
        );
        assert!(judge(&garbage, None, Duration::ZERO, at(1_000_000)).is_draining());
        assert!(judge_at(&MarkerState::Unreadable { modified: None }, 1_000_000).is_draining());
    }

    #[test]
    fn another_epoch_is_stale_and_an_unknown_one_is_not() {
        let content = MarkerContent {
            epoch: Some("boot:2".into()),
            ..Default::default()
        };
        let state = present(content, 0);
        assert_eq!(
            judge_at(&state, 0),
            DrainVerdict::Stale(StaleReason::OtherEpoch("boot:2".into()))
        );
        assert!(judge(&state, None, HOUR, at(0)).is_draining());
        let same = MarkerContent {
            epoch: Some("boot:1".into()),
            ..Default::default()
        };
        assert!(judge_at(&present(same, 0), 0).is_draining());
    }

    #[test]
    fn its_own_expiry_beats_the_greatest_age() {
        let until = |second| MarkerContent {
            requested_at: Some(at(0)),
            expires_at: Some(at(second)),
            ..Default::default()
        };
        assert!(judge_at(&present(until(9000), 0), 8999).is_draining());
        assert_eq!(
            judge_at(&present(until(60), 0), 60),
            DrainVerdict::Stale(StaleReason::Expired(at(60)))
        );
    }

    #[test]
    fn age_counts_from_the_request_or_else_from_the_file() {
        let requested = MarkerContent {
            requested_at: Some(at(10_000)),
            ..Default::default()
        };
        assert!(judge_at(&present(requested.clone(), 0), 13_600).is_draining());
        assert!(!judge_at(&present(requested, 0), 13_601).is_draining());
        assert!(!judge_at(&present(MarkerContent::default(), 0), 3601).is_draining());
    }

    #[test]
    fn times_in_the_future_are_honoured() {
        let future = MarkerContent {
            requested_at: Some(at(1_000_000)),
            ..Default::default()
        };
        assert!(judge_at(&present(future, 0), 0).is_draining());
    }

    #[test]
    fn drain_is_on_while_a_lease_lives() {
        let lease = |owner: &str, end: Option<i64>| Lease {
            owner: owner.to_owned(),
            principal: "nas".to_owned(),
            reason: None,
            requested_at: at(0),
            expires_at: end.map(at),
            suppress_notification: false,
        };
        let marker = |holders: Vec<Lease>, expires_at: i64| {
            let content = MarkerContent {
                expires_at: Some(at(expires_at)),
                holders,
                ..Default::default()
            };
            present(content, 0)
        };
        let two = marker(vec![lease("over", Some(10)), lease("alive", Some(100))], 10);
        let drain = judge_at(&two, 50)
            .drain()
            .cloned()
            .expect("one lease lives");
        assert_eq!((drain.holders.len(), drain.expires_at), (1, Some(at(100))));
        assert_eq!(
            judge_at(&two, 100),
            DrainVerdict::Stale(StaleReason::Expired(at(100)))
        );
        let all_over = marker(vec![lease("over", Some(10))], 1_000);
        assert_eq!(
            judge_at(&all_over, 10),
            DrainVerdict::Stale(StaleReason::Expired(at(10))),
            "the leases decide"
        );
        let endless = marker(vec![lease("over", Some(10)), lease("alive", None)], 10);
        assert_eq!(
            judge_at(&endless, 1_000_000)
                .drain()
                .and_then(|drain| drain.expires_at),
            None
        );
        assert!(judge_at(&endless, 1_000_000).is_draining());
    }

    #[test]
    fn drain_of_the_original_has_its_principal_as_its_holder() {
        let content = MarkerContent {
            requested_at: Some(at(5)),
            principal: Some("nas".to_owned()),
            ..Default::default()
        };
        let verdict = judge_at(&present(content, 0), 10);
        let holders = &verdict.drain().expect("it is on").holders;
        assert_eq!(holders.len(), 1);
        assert_eq!(
            (holders[0].owner.as_str(), holders[0].expires_at),
            ("nas", Some(at(3605)))
        );
    }

    #[test]
    fn drain_from_a_clock_that_was_ahead_is_overlong() {
        let overlong = |begun: i64, end: i64| {
            let view = DrainView {
                requested_at: Some(at(begun)),
                expires_at: Some(at(end)),
                ..Default::default()
            };
            view.overlong(at(0), 24 * HOUR)
        };
        assert_eq!(overlong(0, 3600), None);
        assert_eq!(overlong(3, 63), None, "within the tolerance");
        assert_eq!(overlong(300_000, 300_060), Some(Duration::from_secs(60)));
        assert_eq!(overlong(-60, 300_000), Some(24 * HOUR));
    }

    #[test]
    fn a_drain_shows_when_it_ends() {
        let content = MarkerContent {
            requested_at: Some(at(5)),
            ..Default::default()
        };
        let verdict = judge_at(&present(content, 0), 5);
        assert_eq!(
            verdict.drain().and_then(|drain| drain.expires_at),
            Some(at(3605))
        );
    }
}
