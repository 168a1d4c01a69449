//! Finds lines of a log.
//!
//! **Invariant:** memory does not grow with the log.

use super::Rotation;
use super::reading::LogFiles;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value};
use std::io;
use std::path::Path;
use std::str::FromStr;

/// Fields that name a person or a service.
const USER_FIELDS: &[&str] = &["user_id", "email", "account", "principal", "by"];

/// Which lines are wanted: those to which all that is given applies.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// The user id, e-mail address, account, or name of a service.
    pub user: Option<String>,
    /// The name of the provider.
    pub provider: Option<String>,
    /// Only lines of this event.
    pub event: Option<String>,
    /// Only lines at this time or later.
    pub since: Option<Moment>,
    /// The time that the lines are before.
    pub until: Option<Moment>,
}

impl Filter {
    fn passes(&self, fields: &Map<String, Value>) -> bool {
        let text = |key: &str| fields.get(key).and_then(Value::as_str);
        let is = |wanted: &Option<String>, key| wanted.is_none() || text(key) == wanted.as_deref();
        let is_user = |user: &String| {
            USER_FIELDS
                .iter()
                .any(|key| text(key) == Some(user.as_str()))
        };
        is(&self.event, "event")
            && is(&self.provider, "provider")
            && self.user.as_ref().is_none_or(is_user)
            && self.is_in_time(text("ts"))
    }

    fn is_in_time(&self, ts: Option<&str>) -> bool {
        if self.since.is_none() && self.until.is_none() {
            return true;
        }
        let Some(time) = ts.and_then(|ts| ts.parse::<Timestamp>().ok()) else {
            return false;
        };
        self.since.is_none_or(|since| since.time <= time)
            && self.until.is_none_or(|until| time < until.time)
    }
}

/// A point in time: `2026-01-31T12:00:00Z`, `2026-01-31` (at midnight, UTC), or a time before now:
/// `90s`, `30m`, `24h`, `7d`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    time: Timestamp,
}

/// The text is no point in time.
#[derive(Debug, thiserror::Error)]
pub enum BadMoment {
    /// The text has another form.
    #[error("a time is 2026-01-31T12:00:00Z, 2026-01-31, or a time before now: 90s, 30m, 24h, 7d")]
    Form,
    /// RFC 3339, section 5.6, has hours up to 23 in an offset.
    #[error("the offset of a time is between -23:59 and +23:59")]
    Offset,
}

impl FromStr for Moment {
    type Err = BadMoment;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let time = instant(text)
            .or_else(|| at_the_end(text))
            .or_else(|| ago(text))
            .ok_or(BadMoment::Form)?;
        if offset_hours(text).is_some_and(|hours| hours > 23) {
            return Err(BadMoment::Offset);
        }
        Ok(Self { time })
    }
}

/// A time of day, or the midnight of a date.
fn instant(text: &str) -> Option<Timestamp> {
    let midnight = || format!("{text}T00:00:00Z").parse().ok();
    text.parse().ok().or_else(midnight)
}

/// The last hours of the year 9999 are later than any [`Timestamp`], and people write them for
/// "without an end".
fn at_the_end(text: &str) -> Option<Timestamp> {
    let rest = text.strip_prefix("9999-")?;
    // Its days and hours are real if they are real in another year without a 29 February.
    instant(&format!("2001-{rest}")).map(|_| Timestamp::MAX)
}

/// The hours of the offset from UTC. Returns `None` for `Z`, and for a text without a time of day.
fn offset_hours(text: &str) -> Option<u32> {
    let (_, time) = text.split_once(['T', 't', ' '])?;
    let (_, offset) = time.rsplit_once(['+', '-'])?;
    offset.get(..2)?.parse().ok()
}

fn ago(text: &str) -> Option<Timestamp> {
    let unit = text.chars().next_back()?;
    let seconds = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3_600,
        'd' => 86_400,
        _ => return None,
    };
    let count: u32 = text.strip_suffix(unit)?.parse().ok()?;
    let span = SignedDuration::from_secs(i64::from(count).checked_mul(seconds)?);
    Timestamp::now().checked_sub(span).ok()
}

/// Takes a line, as text and as fields.
pub type Visitor<'a> = dyn FnMut(&str, &Map<String, Value>) -> io::Result<()> + 'a;

/// Hands the lines that pass the filter to `visit`, the oldest first: as text and as fields.
/// Returns the number of lines that cannot be read, or `None` if there is no log.
///
/// # Errors
/// A file cannot be read, or `visit` fails.
pub fn search(
    home: &Path,
    log: &Path,
    filter: &Filter,
    visit: &mut Visitor<'_>,
) -> io::Result<Option<u64>> {
    let files = LogFiles::open(home, log, Rotation::default())?.files;
    if files.is_empty() {
        return Ok(None);
    }

    let mut unreadable = 0;
    let mut line = Vec::new();
    for mut file in files {
        while file.next_line(&mut line)? {
            let text = std::str::from_utf8(&line)
                .map(str::trim_end)
                .unwrap_or_default();
            match serde_json::from_str::<Map<String, Value>>(text) {
                Ok(fields) if filter.passes(&fields) => visit(text, &fields)?,
                Ok(_) => {}
                Err(_) => unreadable += 1,
            }
        }
    }

    Ok(Some(unreadable))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn filter_looks_at_every_name_of_a_person_and_at_the_time() {
        let fields =
            json!({"ts": "2026-01-31T12:00:00Z", "event": "logout", "user_id": "u1", "by": "ada"});
        let fields = fields.as_object().unwrap();
        let user = |user: &str| Filter {
            user: Some(user.to_owned()),
            ..Filter::default()
        };
        assert!(
            user("u1").passes(fields) && user("ada").passes(fields) && !user("u2").passes(fields)
        );
        let time = |since: &str, until: &str| Filter {
            since: Some(since.parse().unwrap()),
            until: Some(until.parse().unwrap()),
            ..Filter::default()
        };
        assert!(time("2026-01-31", "2026-01-31T12:00:01Z").passes(fields));
        assert!(!time("2026-01-31T12:00:01Z", "2026-02-01").passes(fields));
        assert!(
            !time("2026-01-01", "2026-01-31T12:00:00Z").passes(fields),
            "the end is not part of it"
        );
    }

    #[test]
    fn times_are_dates_or_spans_before_now() {
        let day: Moment = "24h".parse().unwrap();
        let week: Moment = "7d".parse().unwrap();
        assert!(week.time < day.time && day.time < Timestamp::now());
        for text in [
            "",
            "h",
            "-1h",
            "1w",
            "yesterday",
            "2026-13-01",
            "9999-12-32",
            "9999-02-29",
            "1é",
        ] {
            let mistake = text.parse::<Moment>();
            assert!(matches!(mistake, Err(BadMoment::Form)), "{text:?}");
        }
    }

    #[test]
    fn offsets_are_those_of_rfc_3339() {
        for offset in ["Z", "+00:00", "-12:00", "+14:00", "+23:59"] {
            let text = format!("2026-01-31T12:00:00{offset}");
            assert!(text.parse::<Moment>().is_ok(), "{text}");
        }
        for offset in ["+24:00", "+25:00", "-25:59"] {
            let text = format!("2026-01-31T12:00:00{offset}");
            assert!(text.parse::<Moment>().is_err(), "{text}");
        }
    }

    #[test]
    fn last_hours_of_the_calendar_are_the_end_of_time() {
        for text in ["9999-12-31", "9999-12-31T23:59:59Z"] {
            let end: Moment = text.parse().unwrap();
            assert_eq!(end.time, Timestamp::MAX, "{text}");
        }
        let earlier: Moment = "9999-12-01".parse().unwrap();
        assert!(earlier.time < Timestamp::MAX);
    }
}
