//! The constructs, and how often they occur in projects to compare with.

use super::text::Text;

/// Projects whose comments were counted: omicron's `nexus/auth`, linkerd2-proxy, wasmtime's
/// `wasi-http`, Spin's crates, rustls.
pub(super) const ANCHORS: [&str; 5] = ["omicron", "linkerd2", "wasi-http", "spin", "rustls"];

/// Something that a reader stumbles over.
pub(super) struct Construct {
    pub(super) name: &'static str,
    found: Found,
    /// Occurrences per 1,000 words of comments of each of the [`ANCHORS`], counted in November 2026
    /// by another program with the same word lists. `None` if it was not counted.
    pub(super) anchors: [Option<f64>; 5],
}

enum Found {
    /// Any of these sequences of words.
    Phrases(&'static [&'static str]),
    /// A doc comment that asks.
    Question,
    /// A doc comment of at most this many words.
    Short(usize),
}

pub(super) static CONSTRUCTS: [Construct; 6] = [
    Construct {
        name: "whoever, whatever, who asks",
        found: Found::Phrases(&["whoever", "whomever", "whatever", "whichever", "who asks"]),
        anchors: [Some(0.7), Some(0.0), Some(0.2), Some(0.0), Some(0.0)],
    },
    Construct {
        name: "nobody, somebody, anybody",
        found: Found::Phrases(&[
            "nobody",
            "somebody",
            "anybody",
            "nobody's",
            "somebody's",
            "anybody's",
        ]),
        anchors: [Some(0.1), Some(0.0), Some(0.0), Some(0.0), Some(0.0)],
    },
    Construct {
        name: "tell, tells, told",
        found: Found::Phrases(&["tell", "tells", "told"]),
        anchors: [Some(0.1), Some(0.1), Some(0.0), Some(0.0), Some(0.1)],
    },
    Construct {
        name: "comes to life, gives way, goes on, in vain, mend",
        found: Found::Phrases(&[
            "come to life",
            "comes to life",
            "give way",
            "gives way",
            "go on",
            "goes on",
            "in vain",
            "mend",
            "mends",
            "mended",
        ]),
        anchors: [Some(0.0); 5],
    },
    Construct {
        name: "doc comment that is a question",
        found: Found::Question,
        anchors: [Some(0.0), Some(0.2), Some(0.0), Some(0.1), Some(0.1)],
    },
    Construct {
        name: "doc comment of three words or fewer",
        found: Found::Short(3),
        anchors: [None; 5],
    },
];

impl Construct {
    /// Returns how often it occurs in a text: a question or a short doc comment at most once.
    pub(super) fn count(&self, text: &Text) -> usize {
        match self.found {
            Found::Phrases(phrases) => phrases
                .iter()
                .map(|phrase| occurrences(&text.words, phrase))
                .sum(),
            Found::Question => {
                usize::from(text.is_doc && text.words.iter().any(|word| word.ends_with('?')))
            }
            Found::Short(most) => {
                usize::from(text.is_doc && (1..=most).contains(&text.words.len()))
            }
        }
    }

    /// Returns whether it is a matter of doc comments alone.
    pub(super) fn is_of_doc_comments(&self) -> bool {
        matches!(self.found, Found::Question | Found::Short(_))
    }
}

fn occurrences(words: &[String], phrase: &str) -> usize {
    let phrase: Vec<&str> = phrase.split(' ').collect();
    words
        .windows(phrase.len())
        .filter(|found| {
            found
                .iter()
                .zip(&phrase)
                .all(|(word, wanted)| word.trim_end_matches('?') == *wanted)
        })
        .count()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prose::text::comments;

    fn count(name: &str, source: &str) -> usize {
        let construct = CONSTRUCTS
            .iter()
            .find(|construct| construct.name == name)
            .expect(name);
        comments(source)
            .iter()
            .map(|text| construct.count(text))
            .sum()
    }

    #[test]
    fn phrases_are_found_across_lines_and_in_any_case() {
        assert_eq!(
            count(
                "whoever, whatever, who asks",
                "// Whoever calls, and who\n// asks. Whoever?\n"
            ),
            3
        );
        assert_eq!(count("tell, tells, told", "// It retold the teller.\n"), 0);
    }

    #[test]
    fn only_doc_comments_are_short_or_questions() {
        assert_eq!(
            count(
                "doc comment of three words or fewer",
                "/// The host.\n\n// The host.\n\n/// It has four words.\n"
            ),
            1
        );
        assert_eq!(
            count(
                "doc comment that is a question",
                "/// Is it? It is.\n\n// Is it?\n\n/// Uses `?`.\n"
            ),
            1
        );
    }
}
