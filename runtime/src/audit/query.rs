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
        let is_user = |user: &String| USER_FIELDS.iter().any(|key| text(key) == Some(user.as_str()));
        is(&self.event, "event")
            && is(&self.provider, "provider")
            && self.user.as_ref().is_none_or(is_user)
            && self.is_in_time(text("ts"))
    }

    fn is_in_time(&self, ts: Option<&str>) -> bool {
        if self.since.is_none() && self.until.is_none() {
            return true;
        }
        let Some(time) = ts.and_then(|ts| ts.parse::<Timestamp>().ok()) else { return false };
        self.since.is_none_or(|since| since.time <= time) && self.until.is_none_or(|until| time < until.time)
    }
}

/// A point in time: `2026-01-31T12:00:00Z`, `2026-01-31` (at midnight, UTC), or a time before now: `90s`, `30m`, `24h`, `7d`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    time: Timestamp,
}

/// The text is no point in time.
#[derive(Debug, thiserror::Error)]
#[error("a time is 2026-01-31T12:00:00Z, 2026-01-31, or a time before now: 90s, 30m, 24h, 7d")]
pub struct BadMoment;

impl FromStr for Moment {
    type Err = BadMoment;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let date = || format!("{text}T00:00:00Z").parse::<Timestamp>().ok();
        let time = text.parse::<Timestamp>().ok().or_else(date).or_else(|| ago(text));
        time.map(|time| Self { time }).ok_or(BadMoment)
    }
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

/// Hands the lines that pass the filter to `visit`, the oldest first: as text and as fields. Returns the number of lines
/// that cannot be read, or `None` if there is no log.
///
/// # Errors
/// A file cannot be read, or `visit` fails.
pub fn search(home: &Path, log: &Path, filter: &Filter, visit: &mut Visitor<'_>) -> io::Result<Option<u64>> {
    let files = LogFiles::open(home, log, Rotation::default())?.files;
    if files.is_empty() {
        return Ok(None);
    }
    let mut unreadable = 0;
    let mut line = Vec::new();
    for mut file in files {
        while file.next_line(&mut line)? {
            let text = std::str::from_utf8(&line).map(str::trim_end).unwrap_or_default();
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
        let fields = json!({"ts": "2026-01-31T12:00:00Z", "event": "logout", "user_id": "u1", "by": "ada"});
        let fields = fields.as_object().unwrap();
        let user = |user: &str| Filter { user: Some(user.to_owned()), ..Filter::default() };
        assert!(user("u1").passes(fields) && user("ada").passes(fields) && !user("u2").passes(fields));
        let time = |since: &str, until: &str| Filter {
            since: Some(since.parse().unwrap()),
            until: Some(until.parse().unwrap()),
            ..Filter::default()
        };
        assert!(time("2026-01-31", "2026-01-31T12:00:01Z").passes(fields));
        assert!(!time("2026-01-31T12:00:01Z", "2026-02-01").passes(fields));
        assert!(!time("2026-01-01", "2026-01-31T12:00:00Z").passes(fields), "the end is not part of it");
    }

    #[test]
    fn times_are_dates_or_spans_before_now() {
        let day: Moment = "24h".parse().unwrap();
        let week: Moment = "7d".parse().unwrap();
        assert!(week.time < day.time && day.time < Timestamp::now());
        for text in ["", "h", "-1h", "1w", "yesterday", "2026-13-01", "1é"] {
            assert!(text.parse::<Moment>().is_err(), "{text:?}");
        }
    }
}
