//! How long a run of lines without a checkpoint may be, by time and by number.
//!
//! **Invariant:** the writer signs a run of lines before it adds one that would make the run span
//! [`CHECKPOINT_INTERVAL`], or more than [`MAX_LINES`]. A longer run shows that checkpoints were
//! removed. That holds after a long stop of the process and after a change of its clock.

use jiff::Timestamp;
use std::time::Duration;

/// The longest time from a line that is not signed to the checkpoint that signs it.
pub(super) const CHECKPOINT_INTERVAL: Duration = Duration::from_secs(3_600);
/// More than the interval, before the check takes a run for too long: lines wait for the disk.
const SLACK: Duration = Duration::from_secs(600);
/// Lines that one checkpoint signs. In a flood, a signature takes a hundredth of their time.
const MAX_LINES: u64 = 10_000;
/// More lines than those: the writer adds some about the log itself without a checkpoint.
const SLACK_LINES: u64 = 100;

/// The lines after the last checkpoint, as their writer knows them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unsigned {
    /// There are none.
    Nothing,
    /// The number and the time of the first one.
    Since { seq: u64, ts: Timestamp },
    /// Another process wrote them.
    Unknown,
}

impl Unsigned {
    /// Returns whether a checkpoint must stand before a line of this number and time.
    pub(super) fn is_due(self, seq: u64, ts: Timestamp) -> bool {
        match self {
            Self::Nothing => false,
            Self::Since {
                seq: first_seq,
                ts: first,
            } => {
                seq.saturating_sub(first_seq) >= MAX_LINES
                    || distance(first, ts) >= CHECKPOINT_INTERVAL
            }
            Self::Unknown => true,
        }
    }
}

/// Returns whether lines of these times are too far apart to be without a checkpoint between them.
pub(super) fn is_too_long(first: Timestamp, ts: Timestamp) -> bool {
    distance(first, ts) > CHECKPOINT_INTERVAL + SLACK
}

/// Returns whether lines of these numbers are too far apart to be without a checkpoint between
/// them.
pub(super) fn has_too_many_lines(first_seq: u64, seq: u64) -> bool {
    seq.saturating_sub(first_seq) >= MAX_LINES + SLACK_LINES
}

/// A clock may be set back: the distance counts in both directions.
fn distance(one: Timestamp, other: Timestamp) -> Duration {
    one.duration_since(other).unsigned_abs()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn run_is_signed_before_the_check_takes_it_for_too_long() {
        let first: Timestamp = "2026-01-31T12:00:00Z".parse().unwrap();
        for (ts, is_due, is_long) in [
            ("2026-01-31T12:59:59Z", false, false),
            ("2026-01-31T13:00:00Z", true, false),
            ("2026-01-31T13:10:00Z", true, false),
            ("2026-01-31T13:10:01Z", true, true),
            ("2026-01-31T11:00:00Z", true, false),
            ("1970-01-01T00:00:00Z", true, true),
        ] {
            let ts: Timestamp = ts.parse().unwrap();
            let since = Unsigned::Since { seq: 1, ts: first };
            assert_eq!(since.is_due(2, ts), is_due, "{ts}");
            assert_eq!(is_too_long(first, ts), is_long, "{ts}");
        }
        assert!(Unsigned::Unknown.is_due(2, first) && !Unsigned::Nothing.is_due(2, first));
        let since = Unsigned::Since { seq: 1, ts: first };
        assert!(!since.is_due(MAX_LINES, first) && since.is_due(MAX_LINES + 1, first));
        assert!(!has_too_many_lines(1, MAX_LINES + 1) && has_too_many_lines(1, 2 * MAX_LINES));
    }
}
