//! The texts of a marker or restart request that another program may have written: how long each may
//! be, and how one that is out of bounds is read.
//!
//! **Invariant:** what is read is within the bounds of what is written, so a file with texts that
//! were read can be written, and then be read again.

use person_text::is_visible;
use std::char::REPLACEMENT_CHARACTER;

/// Longest name of an owner, in characters.
pub const MAX_OWNER_CHARS: usize = 128;
/// Longest reason, in characters.
pub const MAX_REASON_CHARS: usize = 256;
/// Longest name of a principal, in bytes: the bound of the dashboard's gate.
const MAX_PRINCIPAL_BYTES: usize = 256;
/// Longest epoch or id, in bytes. Those of this program have about 50.
const MAX_IDENTIFIER_BYTES: usize = 128;

/// Reads the name of an owner.
pub(crate) fn owner(text: String) -> String {
    // The default owner is the principal, which may have more characters than a name in a request.
    if text.len() <= MAX_PRINCIPAL_BYTES && is_clean(&text) {
        return text;
    }
    fitting(text, MAX_OWNER_CHARS, usize::MAX)
}

/// Reads the name of a principal.
pub(crate) fn principal(text: String) -> String {
    fitting(text, usize::MAX, MAX_PRINCIPAL_BYTES)
}

/// Reads a reason.
pub(crate) fn reason(text: String) -> String {
    fitting(text, MAX_REASON_CHARS, usize::MAX)
}

/// Returns whether a text can be an epoch or an id. Both are compared, so they are never cut.
pub(crate) fn is_identifier(text: &str) -> bool {
    (1..=MAX_IDENTIFIER_BYTES).contains(&text.len()) && is_visible(text)
}

/// Returns the start of the text, without space around it, and with a replacement for each
/// character that is not visible. The rest of a lease then still counts.
fn fitting(text: String, max_chars: usize, max_bytes: usize) -> String {
    // A text has at most as many characters as bytes. Almost every text is returned here.
    if text.len() <= max_chars.min(max_bytes) && is_clean(&text) {
        return text;
    }

    let mut fitting = String::new();
    for c in text.trim().chars().take(max_chars) {
        let shown = if is_visible(c.encode_utf8(&mut [0; 4])) {
            c
        } else {
            REPLACEMENT_CHARACTER
        };
        if fitting.len() + shown.len_utf8() > max_bytes {
            break;
        }
        fitting.push(shown);
    }

    fitting.truncate(fitting.trim_end().len());
    fitting
}

/// Returns whether each character is visible, without space around the text.
fn is_clean(text: &str) -> bool {
    is_visible(text) && !text.starts_with(' ') && !text.ends_with(' ')
}

#[cfg(test)]
mod tests {
    use super::{MAX_IDENTIFIER_BYTES, is_identifier};
    use super::{MAX_OWNER_CHARS, MAX_PRINCIPAL_BYTES, MAX_REASON_CHARS};

    fn owner(text: &str) -> String {
        super::owner(text.to_owned())
    }

    fn principal(text: &str) -> String {
        super::principal(text.to_owned())
    }

    fn reason(text: &str) -> String {
        super::reason(text.to_owned())
    }

    #[test]
    fn text_within_its_bounds_is_not_changed() {
        let as_principal = "p".repeat(MAX_PRINCIPAL_BYTES);
        let as_name = "é".repeat(MAX_OWNER_CHARS);
        let wide = "𝕏".repeat(MAX_OWNER_CHARS);
        for name in [
            "drain-control",
            "blue green",
            &as_principal,
            &as_name,
            &wide,
        ] {
            assert_eq!(owner(name), name);
        }
        assert_eq!(principal(&as_principal), as_principal);
        let long = "𝕏".repeat(MAX_REASON_CHARS);
        for text in ["", "upgrade to 2.1", &long] {
            assert_eq!(reason(text), text);
        }
    }

    #[test]
    fn text_out_of_its_bounds_is_cut_and_made_visible() {
        let long = "é".repeat(30_000);
        assert_eq!(owner(&long).chars().count(), MAX_OWNER_CHARS);
        assert_eq!(principal(&long).len(), MAX_PRINCIPAL_BYTES);
        assert_eq!(reason(&long).chars().count(), MAX_REASON_CHARS);
        assert_eq!(owner(" a\u{1b}[2Jb\n"), "a\u{fffd}[2Jb");
        assert_eq!(reason("a\u{202e}b"), "a\u{fffd}b");
        assert_eq!(principal(" \n "), "");
        // No space is left at the cut.
        let spaced = format!("{} b", "a".repeat(MAX_REASON_CHARS - 1));
        assert_eq!(reason(&spaced), "a".repeat(MAX_REASON_CHARS - 1));
    }

    #[test]
    fn text_that_was_read_is_read_again_as_it_is() {
        let controls = "\u{1}".repeat(1_000);
        let mixed = format!(" {} x", "é\u{200b} ".repeat(100));
        for text in [controls.as_str(), &mixed, "a\nb", " "] {
            for read in [owner, principal, reason] {
                let once = read(text);
                assert_eq!(read(&once), once, "{text:?}");
            }
        }
    }

    #[test]
    fn identifier_is_one_short_visible_text() {
        assert!(is_identifier("boot:1") && is_identifier(&"b".repeat(MAX_IDENTIFIER_BYTES)));
        for text in ["", "a\nb", &"b".repeat(MAX_IDENTIFIER_BYTES + 1)] {
            assert!(!is_identifier(text), "{text:?}");
        }
    }
}
