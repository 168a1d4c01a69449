//! Texts of the command line that the dashboard bounds. They are checked before anything is sent,
//! so that a mistake is one of usage.

use portcullis_auth::is_visible_line;
use portcullis_home::{MAX_OWNER_CHARS, MAX_REASON_CHARS};
use std::ops::RangeInclusive;

/// Parses the name of an owner.
pub(super) fn owner(text: &str) -> Result<String, String> {
    line(text, 1..=MAX_OWNER_CHARS)
}

/// Parses the reason of a drain or restart.
pub(super) fn reason(text: &str) -> Result<String, String> {
    line(text, 0..=MAX_REASON_CHARS)
}

fn line(text: &str, chars: RangeInclusive<usize>) -> Result<String, String> {
    if is_visible_line(text, &chars) {
        return Ok(text.to_owned());
    }
    Err(format!(
        "it must have {} to {} visible characters, without space around it",
        chars.start(),
        chars.end()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_have_the_bounds_of_the_dashboard() {
        let longest = "é".repeat(MAX_OWNER_CHARS);
        assert_eq!(owner(&longest), Ok(longest.clone()));
        for bad in ["", " x", "x ", "a\nb", "a\u{202e}b", &format!("{longest}x")] {
            assert!(owner(bad).is_err(), "{bad:?}");
        }
        assert_eq!(reason(""), Ok(String::new()));
        let long = "x".repeat(MAX_REASON_CHARS + 1);
        for bad in [" x", "\u{1b}[2J", &long] {
            assert!(reason(bad).is_err(), "{bad:?}");
        }
    }
}
