//! Rules for text that names a person and for text that a person types: which characters it may
//! have, how long it may be, and in which form it is compared.
//!
//! Keyboards and clipboards write the same letter in several ways: `é` is one character or two.
//! Names and passwords are therefore compared in Unicode's Normalization Form C, as RFC 8265
//! prescribes (sections 3.4 and 4.2). Lengths are those of that form.
//!
//! **Invariant:** a user name or password that is accepted when it is set is accepted when it is
//! typed, in every form that is canonically equivalent.

use icu_normalizer::ComposingNormalizerBorrowed;
use icu_properties::props::{DefaultIgnorableCodePoint, GeneralCategory, GeneralCategoryGroup};
use icu_properties::{CodePointMapData, CodePointSetData};
use std::borrow::Cow;
use std::fmt;

/// Longest name or address of a person, in bytes of its normalised form.
pub const MAX_NAME_BYTES: usize = 256;
/// Longest password, in bytes of its normalised form.
pub const MAX_PASSWORD_BYTES: usize = 1_024;
/// Text that is canonically equivalent to normalised text has at most this many times its bytes.
/// The worst case is U+1FBE U+0308 U+0301, seven bytes, which is U+0390, two bytes.
const MAX_EXPANSION: usize = 4;
/// Longest user name before it is normalised, in bytes.
pub const MAX_TYPED_NAME_BYTES: usize = MAX_EXPANSION * MAX_NAME_BYTES;
/// Longest password before it is normalised, in bytes.
pub const MAX_TYPED_PASSWORD_BYTES: usize = MAX_EXPANSION * MAX_PASSWORD_BYTES;

/// Why a text is refused. The sentence follows the name of what is refused, and does not repeat the
/// text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TextError {
    /// It has no characters.
    Empty,
    /// It has more bytes than the limit, which is the number.
    TooLong(usize),
    /// It has control characters, or characters that are not shown or that reorder others.
    Invisible,
    /// It begins or ends with a space.
    SpaceAround,
}

impl fmt::Display for TextError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => out.write_str("must not be empty"),
            Self::TooLong(limit) => write!(out, "must have at most {limit} bytes"),
            Self::Invisible => {
                out.write_str("must not have control, invisible or reordering characters")
            }
            Self::SpaceAround => out.write_str("must not begin or end with a space"),
        }
    }
}

impl std::error::Error for TextError {}

/// The text in Normalization Form C (Unicode Standard Annex #15).
pub fn normalised(text: &str) -> Cow<'_, str> {
    ComposingNormalizerBorrowed::new_nfc().normalize(text)
}

/// The password in the form in which it is hashed.
///
/// # Errors
/// It is empty, or its normalised form is longer than [`MAX_PASSWORD_BYTES`].
pub fn password(typed: &str) -> Result<Cow<'_, str>, TextError> {
    let password = normalised(typed);
    match password.len() {
        0 => Err(TextError::Empty),
        1..=MAX_PASSWORD_BYTES => Ok(password),
        _ => Err(TextError::TooLong(MAX_PASSWORD_BYTES)),
    }
}

/// The user name in the form in which it is compared.
///
/// # Errors
/// Its normalised form is no [identifier](check_identifier).
pub fn user_name(typed: &str) -> Result<Cow<'_, str>, TextError> {
    let name = normalised(typed);
    check_identifier(&name)?;
    Ok(name)
}

/// Checks text that identifies a person, as the host does with every session: 1 to
/// [`MAX_NAME_BYTES`] bytes, all of them visible, without a space at either end.
///
/// # Errors
/// The first rule that the text breaks.
pub fn check_identifier(text: &str) -> Result<(), TextError> {
    match text.len() {
        0 => return Err(TextError::Empty),
        1..=MAX_NAME_BYTES => {}
        _ => return Err(TextError::TooLong(MAX_NAME_BYTES)),
    }

    if !is_visible(text) {
        return Err(TextError::Invisible);
    }

    if text.trim() == text {
        Ok(())
    } else {
        Err(TextError::SpaceAround)
    }
}

/// Text that is only shown, made to fit: without control characters and those that reorder what
/// stands around them, of at most [`MAX_NAME_BYTES`] bytes, and without white space at either end.
pub fn shown(text: &str) -> String {
    shown_within(text, MAX_NAME_BYTES)
}

/// The same with at most `most` bytes, where that is less.
pub fn shown_within(text: &str, most: usize) -> String {
    let most = most.min(MAX_NAME_BYTES);
    let mut fitting = String::new();
    let is_shown = |c: &char| !c.is_control() && !is_reordering(*c);
    for c in text.trim().chars().filter(is_shown) {
        if fitting.len() + c.len_utf8() > most {
            break;
        }
        fitting.push(c);
    }
    // What was left out may have stood between the text and a space.
    fitting.trim().to_owned()
}

/// Embeddings, overrides and isolates of the bidirectional algorithm (UAX #9). Plain text in any
/// script needs none of them.
pub fn is_reordering(c: char) -> bool {
    matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Whether a name consists of characters that a person can see, and of single spaces between them:
/// letters, marks, numbers, punctuation and symbols (Unicode's general categories), without those
/// that are shown as nothing. What is invisible or reorders its surroundings makes one name look
/// like another.
pub fn is_visible(text: &str) -> bool {
    text.chars().all(|c| c == ' ' || is_visible_char(c))
}

/// Whether a font shows nothing for a character that Unicode counts as a letter, mark or symbol, and
/// that is not ignorable by default. No property covers these, so they are listed by their names and
/// the descriptions of their blocks: blanks, and marks that only join or change what is beside them.
/// The joiners of Burmese, Khmer and other scripts (`Invisible_Stacker`) are not among them: names in
/// these scripts have them, and they stack the letters beside them.
fn is_blank(c: char) -> bool {
    matches!(
        c,
        '\u{2800}' // BRAILLE PATTERN BLANK
            | '\u{2d7f}' // TIFINAGH CONSONANT JOINER
            | '\u{fffc}' // OBJECT REPLACEMENT CHARACTER
            | '\u{1107f}' // BRAHMI NUMBER JOINER
            | '\u{13441}'..='\u{13442}' // EGYPTIAN HIEROGLYPH FULL BLANK, HALF BLANK
            | '\u{16fe4}' // KHITAN SMALL SCRIPT FILLER
            | '\u{1bc9d}' // DUPLOYAN THICK LETTER SELECTOR
            | '\u{1d159}' // MUSICAL SYMBOL NULL NOTEHEAD
            | '\u{1da9b}'..='\u{1da9f}' // SIGNWRITING FILL MODIFIERS
            | '\u{1daa1}'..='\u{1daaf}' // SIGNWRITING ROTATION MODIFIERS
    )
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
    let is_ignorable = CodePointSetData::new::<DefaultIgnorableCodePoint>().contains(c);
    VISIBLE.contains(category) && !is_ignorable && !is_blank(c)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn canonically_equivalent_text_is_the_same() {
        for (typed, composed) in [
            ("Zoe\u{308}", "Zo\u{eb}"),
            ("\u{212b}", "\u{c5}"),
            ("\u{1100}\u{1161}", "\u{ac00}"),
            ("plain", "plain"),
            ("\u{1fbe}\u{308}\u{301}", "\u{390}"),
        ] {
            assert_eq!(normalised(typed), composed);
            assert_eq!(user_name(typed), user_name(composed));
            assert!(typed.len() <= composed.len() * MAX_EXPANSION);
        }
    }

    #[test]
    fn password_is_bounded_after_it_is_normalised() {
        let longest = "\u{e9}".repeat(MAX_PASSWORD_BYTES / 2);
        let decomposed = longest.replace('\u{e9}', "e\u{301}");
        assert!(decomposed.len() > MAX_PASSWORD_BYTES);
        assert_eq!(password(&decomposed), Ok(longest.as_str().into()));
        assert_eq!(
            password(&format!("{longest}x")),
            Err(TextError::TooLong(MAX_PASSWORD_BYTES))
        );
        assert_eq!(
            password(&"\u{1f600}".repeat(300)),
            Err(TextError::TooLong(MAX_PASSWORD_BYTES))
        );
        assert_eq!(password(""), Err(TextError::Empty));
        assert_eq!(password(" a\tb "), Ok(" a\tb ".into()));
    }

    #[test]
    fn identifier_is_what_the_host_believes() {
        let longest = "x".repeat(MAX_NAME_BYTES);
        for good in ["ada", "Ada Lovelace", longest.as_str()] {
            assert_eq!(check_identifier(good), Ok(()), "{good}");
        }
        let too_long = format!("{longest}x");
        for (bad, why) in [
            ("", TextError::Empty),
            (" ", TextError::SpaceAround),
            ("ada ", TextError::SpaceAround),
            ("a\tb", TextError::Invisible),
            ("a\u{200b}b", TextError::Invisible),
            (too_long.as_str(), TextError::TooLong(MAX_NAME_BYTES)),
        ] {
            assert_eq!(check_identifier(bad), Err(why), "{bad:?}");
        }
    }

    #[test]
    fn what_is_shown_is_made_to_fit() {
        assert_eq!(shown(" Ada\u{7} L. "), "Ada L.");
        assert_eq!(shown("\u{7} x"), "x");
        assert_eq!(shown("x\u{202e}gnp\u{2066}y"), "xgnpy");
        let long = shown(&"\u{e9}".repeat(200));
        assert_eq!(long.len(), MAX_NAME_BYTES);
        assert_eq!(
            shown(&format!("{} y", "x".repeat(MAX_NAME_BYTES - 1))),
            "x".repeat(MAX_NAME_BYTES - 1)
        );
    }

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
            "⠁⠙⠁",
            "မြန်မာ",
            "သတ္တ",
            "ខ្មែរ",
            "ⴰⴷⴰ",
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
            '\u{2800}',
            '\u{fffc}',
            '\u{13441}',
            '\u{13442}',
            '\u{16fe4}',
            '\u{1d159}',
            '\u{1bc9d}',
            '\u{1da9b}',
            '\u{1daaf}',
            '\u{1107f}',
            '\u{2d7f}',
        ] {
            assert!(!is_visible(&format!("a{c}b")), "U+{:04X}", u32::from(c));
        }
    }

    #[test]
    fn text_is_cut_to_what_there_is_room_for() {
        let whole = |text: &str| shown_within(text, usize::MAX);
        assert_eq!(whole(" Ada\u{7} "), "Ada");
        assert_eq!(whole("\u{1}"), "");
        assert_eq!(whole("Ada \u{1}"), "Ada");
        assert_eq!(whole(&"é".repeat(200)).len(), 256);
        let cut_at_space = format!("{} {}", "x".repeat(255), "y");
        assert_eq!(whole(&cut_at_space), "x".repeat(255));
        assert_eq!(shown_within("Zoë Ada", 3), "Zo");
        assert_eq!(shown_within("Zoë", 0), "");
    }
}
