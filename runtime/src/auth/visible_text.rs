use icu_properties::props::{DefaultIgnorableCodePoint, GeneralCategory, GeneralCategoryGroup};
use icu_properties::{CodePointMapData, CodePointSetData};
use std::ops::RangeInclusive;

/// Whether a name consists of characters that a person can see, and of single spaces between them: letters, marks, numbers,
/// punctuation and symbols (Unicode's general categories), without those that are shown as nothing. What is invisible or
/// reorders its surroundings makes one name look like another.
pub(super) fn is_visible(text: &str) -> bool {
    text.chars().all(|c| c == ' ' || is_visible_char(c))
}

/// Whether a text has so many characters, each of them visible or a space, and no space around it.
pub fn is_visible_line(text: &str, chars: &RangeInclusive<usize>) -> bool {
    chars.contains(&text.chars().count()) && text.trim() == text && is_visible(text)
}

fn is_visible_char(c: char) -> bool {
    const VISIBLE: GeneralCategoryGroup = GeneralCategoryGroup::Letter
        .union(GeneralCategoryGroup::Mark)
        .union(GeneralCategoryGroup::Number)
        .union(GeneralCategoryGroup::Punctuation)
        .union(GeneralCategoryGroup::Symbol);
    if c.is_ascii_graphic() {
        return true;
    }
    let category = CodePointMapData::<GeneralCategory>::new().get(c);
    VISIBLE.contains(category) && !CodePointSetData::new::<DefaultIgnorableCodePoint>().contains(c)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_people_and_services_are_visible() {
        for name in [
            "alice@example.com",
            "José Álvarez",
            "山田 太郎",
            "O'Neil-Smith",
            "ci/bot:7",
            "न",
            "Zoë e\u{301}",
        ] {
            assert!(is_visible(name), "{name:?}");
        }
    }

    #[test]
    fn what_is_not_seen_or_reorders_is_no_part_of_a_name() {
        for c in [
            '\u{200b}',
            '\u{200e}',
            '\u{202e}',
            '\u{2066}',
            '\u{2028}',
            '\u{2029}',
            '\u{feff}',
            '\u{e0041}',
            '\u{ad}',
            '\u{34f}',
            '\u{115f}',
            '\u{3164}',
            '\u{ffa0}',
            '\u{180e}',
            '\u{fe00}',
            '\u{e0100}',
            '\u{a0}',
            '\u{3000}',
            '\u{1b}',
            '\n',
            '\u{7f}',
            '\u{85}',
            '\u{e000}',
            '\u{fff9}',
            '\u{378}',
            '\u{200c}',
        ] {
            assert!(!is_visible(&format!("a{c}b")), "U+{:04X}", u32::from(c));
        }
    }
}
