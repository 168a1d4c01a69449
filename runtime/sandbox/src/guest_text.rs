//! Text that a guest chose, made fit for a log line or a terminal: bounded, escaped, and without
//! the credential that the guest was handed.

use std::fmt::{self, Display, Write};

/// Longest text of a guest that reaches a log line, in characters.
const MAX_WORDS: usize = 300;

/// Longest name of a function, import or export that is shown, in characters.
pub(crate) const MAX_NAME: usize = 120;

/// Text that a guest chose, fit for a log line or a terminal: at most [`MAX_WORDS`] characters,
/// each of which that could drive a terminal or forge a line escaped.
pub(crate) fn words(text: impl Display) -> String {
    escaped(&bounded(text, MAX_WORDS))
}

/// The same without a credential that the guest was handed.
pub(crate) fn words_without(credential: &str, text: &str) -> String {
    // Redacted before it is escaped: an escaped credential would not be found. Cut after it is
    // redacted: half a credential would not be found either.
    words(without(credential, text))
}

/// A name that a component chose, in words of at most [`MAX_NAME`] characters.
pub(crate) fn name_in_words(name: &str) -> String {
    escaped(&bounded(name, MAX_NAME))
}

/// The text without the credential that the guest was handed. (What is too short to be one is too
/// common in plain text to be cut out.)
pub(crate) fn without(credential: &str, text: &str) -> String {
    if credential.len() < 8 {
        text.to_owned()
    } else {
        text.replace(credential, "[credential]")
    }
}

/// Returns whether the text repeats the credential. A name that is written to logs must not.
pub(crate) fn repeats(credential: &str, text: &str) -> bool {
    credential.len() >= 8 && text.contains(credential)
}

/// Quotes stay as they are: the log and JSON escape them once more where they need to.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '"' | '\'' => out.push(character),
            _ => out.extend(character.escape_debug()),
        }
    }
    out
}

/// The first characters of a text, and `…` where there are more. What lies beyond them is never
/// formatted.
pub(crate) fn bounded(text: impl Display, most: usize) -> String {
    let mut out = Bounded {
        text: String::new(),
        left: most,
    };
    if write!(out, "{text}").is_err() {
        out.text.push('…');
    }
    out.text
}

/// The first `most` characters.
pub(crate) fn cut(text: &str, most: usize) -> &str {
    text.char_indices()
        .nth(most)
        .map_or(text, |(end, _)| &text[..end])
}

/// A writer that takes a bounded number of characters, and then refuses.
struct Bounded {
    text: String,
    left: usize,
}

impl fmt::Write for Bounded {
    fn write_str(&mut self, more: &str) -> fmt::Result {
        let kept = cut(more, self.left);
        self.text.push_str(kept);
        self.left -= kept.chars().count();
        if kept.len() == more.len() {
            Ok(())
        } else {
            Err(fmt::Error)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credential_is_cut_out_before_the_text_is_escaped() {
        let password = "canary\"pass\\word-8642é";
        let said = words_without(password, &format!("login with {password}\n"));
        assert_eq!(said, "login with [credential]\\n");
    }

    #[test]
    fn words_are_bounded_and_escaped() {
        assert_eq!(words("a\u{1b}[2J\nb"), "a\\u{1b}[2J\\nb");
        assert_eq!(
            words("the claim \"aud\" isn't ours"),
            "the claim \"aud\" isn't ours"
        );
        let long = words("x".repeat(10_000));
        assert_eq!(long.chars().count(), MAX_WORDS + 1);
        assert_eq!(
            name_in_words(&"n".repeat(90_000)).chars().count(),
            MAX_NAME + 1
        );
    }
}
