//! Tokens that were never issued: the same two hundred in every run.

use sha2::{Digest, Sha256};
use std::collections::BTreeSet;

/// The number of made-up tokens.
pub(super) const COUNT: usize = 200;
/// Length of the longest token, in bytes: as much as a header may have.
const LONGEST: usize = 8 * 1024;

/// A token, and what is odd about it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Odd {
    pub(super) token: String,
    pub(super) what: String,
}

/// Near-misses of the known tokens first, then what strangers send, then random text.
pub(super) fn generate(known: &[String]) -> Vec<Odd> {
    let mut seen: BTreeSet<String> = known.iter().cloned().collect();
    let candidates = known
        .iter()
        .flat_map(|token| near_misses(token))
        .take(COUNT / 2)
        .chain(strange())
        .chain(random());
    candidates
        .filter(|odd| seen.insert(odd.token.clone()))
        .take(COUNT)
        .collect()
}

fn odd(token: impl Into<String>, what: impl Into<String>) -> Odd {
    Odd {
        token: token.into(),
        what: what.into(),
    }
}

fn near_misses(known: &str) -> Vec<Odd> {
    let mut misses = vec![
        odd(format!("{known} "), "a known token and a space"),
        odd(format!(" {known}"), "a space and a known token"),
        odd(format!("{known}\0"), "a known token and a NUL"),
        odd(format!("{known}{known}"), "a known token twice"),
        odd(known.to_uppercase(), "a known token in capitals"),
        odd(known.to_lowercase(), "a known token in small letters"),
        odd(
            known.chars().rev().collect::<String>(),
            "a known token backwards",
        ),
    ];

    let characters: Vec<char> = known.chars().collect();
    for (place, found) in characters.iter().enumerate() {
        let mut changed = characters.clone();
        changed[place] = if *found == 'x' { 'y' } else { 'x' };
        misses.push(odd(
            changed.iter().collect::<String>(),
            format!("a known token with character {} changed", place + 1),
        ));
    }

    for length in 1..characters.len() {
        misses.push(odd(
            characters[..length].iter().collect::<String>(),
            format!("the first {length} characters of a known token"),
        ));
    }

    misses
}

fn strange() -> Vec<Odd> {
    let mut tokens = vec![
        odd("", "an empty token"),
        odd(" ", "a space"),
        odd("\0", "a NUL"),
        odd("a\0b", "a token with a NUL in it"),
        odd(
            "\u{fffd}\u{fffd}",
            "what is left of bytes that are not UTF-8",
        ),
        odd("\r\nX-Injected: yes", "a token with a header in it"),
        odd("null", "null"),
        odd("{}", "an empty object"),
        odd("' OR '1'='1", "a piece of SQL"),
        odd("../../etc/passwd", "a path"),
        odd("${env:HOME}", "a template"),
        odd(
            "eyJhbGciOiJub25lIn0.eyJzdWIiOiJyb290In0.",
            "a JWT without a signature",
        ),
        odd("..", "two dots"),
        odd("eyJ.eyJ.sig", "a JWT of garbage"),
        odd("🔑", "an emoji"),
        odd("ｔｏｋｅｎ", "wide letters"),
        odd("\u{202e}nekot", "text that turns around"),
    ];

    for length in [1, 16, 255, 256, 257, 1024, 4096, LONGEST] {
        tokens.push(odd(
            "a".repeat(length),
            format!("{length} times the letter a"),
        ));
        tokens.push(odd("é".repeat(length / 2), format!("{length} bytes of é")));
    }
    tokens
}

fn random() -> impl Iterator<Item = Odd> {
    (0_u32..).map(|index| {
        let digest = hex::encode(Sha256::digest(index.to_be_bytes()));
        odd(&digest[..(index as usize % 57) + 8], "random text")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_hundred_and_none_that_was_issued() {
        for known in [
            vec![],
            vec!["good-token".to_owned()],
            vec!["x".repeat(100), "short".to_owned()],
        ] {
            let tokens = generate(&known);
            let different: BTreeSet<_> = tokens.iter().map(|odd| &odd.token).collect();
            assert_eq!((tokens.len(), different.len()), (COUNT, COUNT));
            assert!(
                tokens
                    .iter()
                    .all(|odd| !known.contains(&odd.token) && odd.token.len() <= LONGEST)
            );
            assert!(
                tokens.iter().any(|odd| odd.token.is_empty())
                    && tokens.iter().any(|odd| odd.token.len() == LONGEST)
            );
            assert_eq!(generate(&known), tokens, "the same at every run");
        }
    }
}
