use icu_properties::props::{DefaultIgnorableCodePoint, GeneralCategory, GeneralCategoryGroup};
use icu_properties::{CodePointMapData, CodePointSetData};

/// Longest text of a person, and longest name of a service, that the host takes, in bytes.
pub const MAX_TEXT_BYTES: usize = 256;
/// Longest scope that the host takes, in bytes.
const MAX_SCOPE_BYTES: usize = 128;

/// A text that names a person or a service, if the host takes it as such. The host refuses any other as a fault of the
/// provider, and what a stranger chooses must be none.
///
/// # Errors
/// What is wrong with it, as the end of a sentence.
pub fn identifier(text: &str) -> Result<&str, String> {
    if text.is_empty() {
        return Err("is empty".to_owned());
    }
    if text.len() > MAX_TEXT_BYTES {
        return Err(format!("has {} bytes (at most {MAX_TEXT_BYTES})", text.len()));
    }
    if !text.chars().all(|c| c == ' ' || is_visible(c)) {
        return Err("has control characters, or invisible or reordering ones".to_owned());
    }
    if text.trim() != text {
        return Err("has space around it".to_owned());
    }
    Ok(text)
}

/// Makes a text fit that is only shown to people: without control characters and space around it, and cut to `most` bytes
/// or to what the host takes.
pub fn shown(text: &str, most: usize) -> String {
    let most = most.min(MAX_TEXT_BYTES);
    let mut fitting = String::new();
    for c in text.trim().chars().filter(|c| !c.is_control()) {
        if fitting.len() + c.len_utf8() > most {
            break;
        }
        fitting.push(c);
    }
    // What was left out may have stood between the text and a space.
    fitting.trim().to_owned()
}

/// Whether a text is a scope as the host takes it (RFC 6749, section 3.3).
pub fn is_scope(text: &str) -> bool {
    let is_part = |byte: u8| byte.is_ascii_graphic() && byte != b'"' && byte != b'\\';
    (1..=MAX_SCOPE_BYTES).contains(&text.len()) && text.bytes().all(is_part)
}

/// The host's own rule for characters of a name.
fn is_visible(c: char) -> bool {
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
    fn identifiers_that_the_host_would_refuse_are_refused_with_the_reason() {
        for good in ["ada", "CN=Ada Lovelace,OU=Böhme", "山田 太郎", &*"x".repeat(256)] {
            assert_eq!(identifier(good), Ok(good));
        }
        for (bad, complaint) in [
            ("", "is empty"),
            (&*"x".repeat(257), "257 bytes"),
            (&*"é".repeat(150), "300 bytes"),
            ("a\tb", "control characters"),
            ("a\u{200b}b", "invisible"),
            ("a\u{202e}b", "reordering"),
            ("a\u{a0}b", "invisible"),
            (" ada", "space around"),
            ("ada ", "space around"),
        ] {
            let found = identifier(bad).expect_err(bad);
            assert!(found.contains(complaint), "{bad:?}: {found}");
        }
    }

    #[test]
    fn shown_texts_are_made_to_fit() {
        let whole = |text: &str| shown(text, usize::MAX);
        assert_eq!(whole(" Ada\u{7} "), "Ada");
        assert_eq!(whole("\u{1}"), "");
        assert_eq!(whole("Ada \u{1}"), "Ada");
        assert_eq!(whole(&"é".repeat(200)).len(), 256);
        let cut_at_space = format!("{} {}", "x".repeat(255), "y");
        assert_eq!(whole(&cut_at_space), "x".repeat(255));
        assert_eq!(shown("Zoë Ada", 3), "Zo");
        assert_eq!(shown("Zoë", 0), "");
    }

    #[test]
    fn scopes_are_what_the_host_takes() {
        assert!(is_scope("metrics.read") && is_scope(&"x".repeat(128)));
        for bad in ["", "two words", "a\"b", "a\\b", "é", &*"x".repeat(129)] {
            assert!(!is_scope(bad), "{bad:?}");
        }
    }
}
