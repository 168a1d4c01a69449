//! Moments: how long ago they were, with the exact time in `datetime` and on hover. The page's
//! script keeps them up to date.

use super::text;
use jiff::Timestamp;
use maud::{Markup, html};
use serde_json::Value;

/// How a moment is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum As {
    /// Relative to now: `3 min ago`, `in 2 h`.
    Ago,
    /// For how long something has lasted: `4 min 12 s`.
    Age,
}

impl As {
    fn word(self) -> &'static str {
        match self {
            Self::Ago => "ago",
            Self::Age => "age",
        }
    }
}

/// A moment as RFC 3339 text, shown at `now` (seconds since the Unix epoch). The script finds it by
/// `slot`.
pub(super) fn moment(slot: &str, at: &Value, now: u64, shown: As) -> Markup {
    let parsed = at.as_str().and_then(|text| text.parse::<Timestamp>().ok());
    let Some(time) = parsed else {
        return html! { time data-is=(slot) data-as=(shown.word()) { (text(at)) } };
    };
    let now = i64::try_from(now).unwrap_or(i64::MAX);
    let past = now.saturating_sub(time.as_second());
    let said = match shown {
        As::Ago => ago(past),
        As::Age => age(past),
    };
    let exact = time.strftime("%Y-%m-%d %H:%M:%S UTC").to_string();

    html! {
        time data-is=(slot) data-as=(shown.word()) datetime=(time) title=(exact) { (said) }
    }
}

/// A number of seconds before now, negative for the future.
fn ago(past: i64) -> String {
    match past {
        -4..=4 => "just now".to_owned(),
        5.. => format!("{} ago", span(past)),
        _ => format!("in {}", span(past.saturating_neg())),
    }
}

fn span(seconds: i64) -> String {
    match seconds {
        ..60 => format!("{seconds} s"),
        60..3_600 => format!("{} min", seconds / 60),
        3_600..172_800 => format!("{} h", seconds / 3_600),
        _ => format!("{} d", seconds / 86_400),
    }
}

/// A length of time, in its two largest units.
fn age(seconds: i64) -> String {
    match seconds.max(0) {
        seconds @ ..60 => format!("{seconds} s"),
        seconds @ 60..3_600 => format!("{} min {} s", seconds / 60, seconds % 60),
        seconds @ 3_600..86_400 => format!("{} h {} min", seconds / 3_600, seconds / 60 % 60),
        seconds => format!("{} d {} h", seconds / 86_400, seconds / 3_600 % 24),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn moments_are_relative_with_the_exact_time_beside() {
        let shown = moment("since", &json!("1970-01-01T00:01:00Z"), 300, As::Ago).into_string();
        assert_eq!(
            shown,
            "<time data-is=\"since\" data-as=\"ago\" datetime=\"1970-01-01T00:01:00Z\" \
             title=\"1970-01-01 00:01:00 UTC\">4 min ago</time>"
        );
        let age = moment("since", &json!("1970-01-01T00:01:00+00:00"), 312, As::Age).into_string();
        assert!(age.ends_with(">4 min 12 s</time>"), "{age}");
    }

    #[test]
    fn what_is_no_time_stays_as_it_is() {
        assert!(
            moment("a", &Value::Null, 0, As::Ago)
                .into_string()
                .contains(">unknown<")
        );
        assert!(
            moment("a", &json!("<soon>"), 0, As::Ago)
                .into_string()
                .contains(">&lt;soon&gt;<")
        );
    }

    #[test]
    fn spans_have_one_unit_and_ages_two() {
        for (past, said) in [
            (0, "just now"),
            (-4, "just now"),
            (59, "59 s ago"),
            (-60, "in 1 min"),
            (3_599, "59 min ago"),
            (7_200, "2 h ago"),
            (172_800, "2 d ago"),
            (i64::MIN, "in 106751991167300 d"),
        ] {
            assert_eq!(ago(past), said);
        }
        for (seconds, said) in [
            (-5, "0 s"),
            (59, "59 s"),
            (61, "1 min 1 s"),
            (3_720, "1 h 2 min"),
            (90_000, "1 d 1 h"),
        ] {
            assert_eq!(age(seconds), said);
        }
    }
}
