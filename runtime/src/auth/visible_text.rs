use person_text::is_visible;
use std::ops::RangeInclusive;

/// Whether a text has so many characters, each of them visible or a space, and no space around it.
pub fn is_visible_line(text: &str, chars: &RangeInclusive<usize>) -> bool {
    chars.contains(&text.chars().count()) && text.trim() == text && is_visible(text)
}
