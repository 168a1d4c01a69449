use person_text::is_visible;
use std::ops::RangeInclusive;

/// Returns whether a text has a permitted number of characters, each visible or a space, and no
/// space around it.
pub fn is_visible_line(text: &str, chars: &RangeInclusive<usize>) -> bool {
    chars.contains(&text.chars().count()) && text.trim() == text && is_visible(text)
}
