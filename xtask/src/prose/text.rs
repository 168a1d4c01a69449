//! Comments of Rust sources and paragraphs of Markdown, as words.

/// One comment or one paragraph.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Text {
    /// Its words in lower case, without punctuation at their ends, except for a question mark. A
    /// code span is one word.
    pub(super) words: Vec<String>,
    /// Whether rustdoc shows it.
    pub(super) is_doc: bool,
}

/// What rustdoc and Markdown write around code that stands on lines of its own.
const FENCE: &str = "```";

/// Returns the comments of a Rust source. Consecutive lines with one marker (`///`, `//!` or `//`)
/// are one comment. A comment behind code is not counted.
pub(super) fn comments(source: &str) -> Vec<Text> {
    let lines = source.lines().map(|line| match marker(line.trim_start()) {
        Some((marker, rest)) => (Some(marker), rest),
        None => (None, ""),
    });
    blocks(lines)
        .into_iter()
        .map(|(marker, text)| of(&text, marker != "//"))
        .collect()
}

/// Returns the paragraphs of a Markdown document, without code blocks. A row of a table is a
/// paragraph.
pub(super) fn paragraphs(document: &str) -> Vec<Text> {
    let lines = document.lines().map(|line| {
        let is_empty = line.trim().is_empty();
        (
            (!is_empty).then_some(if line.starts_with('|') {
                "row"
            } else {
                "paragraph"
            }),
            line,
        )
    });

    blocks(lines)
        .into_iter()
        .map(|(_, text)| of(&text, false))
        .collect()
}

/// Splits a line of a comment into its marker and the text.
fn marker(line: &str) -> Option<(&'static str, &str)> {
    ["///", "//!", "//"]
        .into_iter()
        .find_map(|marker| Some((marker, line.strip_prefix(marker)?)))
}

/// Joins consecutive lines of one kind, and leaves out lines without a kind and those within
/// fences.
fn blocks<'a>(
    lines: impl Iterator<Item = (Option<&'static str>, &'a str)>,
) -> Vec<(&'static str, String)> {
    let mut blocks: Vec<(&'static str, String)> = Vec::new();
    let mut last = None;
    let mut is_code = false;

    for (kind, line) in lines {
        let is_fence = line.trim_start().starts_with(FENCE);
        if is_fence {
            is_code = !is_code;
        }
        let Some(kind) = kind.filter(|_| !is_fence && !is_code) else {
            last = None;
            continue;
        };
        match blocks.last_mut() {
            Some((_, text)) if last == Some(kind) && kind != "row" => {
                text.push(' ');
                text.push_str(line);
            }
            _ => blocks.push((kind, line.to_owned())),
        }
        last = Some(kind);
    }

    blocks
}

fn of(text: &str, is_doc: bool) -> Text {
    let plain: String = text
        .split('`')
        .enumerate()
        .map(|(at, part)| if at.is_multiple_of(2) { part } else { "code" })
        .collect();
    let words = plain
        .split_whitespace()
        .map(word)
        .filter(|word| !word.is_empty())
        .collect();
    Text { words, is_doc }
}

fn word(text: &str) -> String {
    text.trim_matches(|end: char| !end.is_alphanumeric() && end != '?')
        .to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(texts: &[Text]) -> Vec<String> {
        texts.iter().map(|text| text.words.join(" ")).collect()
    }

    #[test]
    fn comment_is_consecutive_lines_of_one_marker() {
        let found = comments(
            "//! A module.\n\n/// Says\n/// two `code?` words.\nfn f() {} // behind\n    // Why.\n",
        );
        assert_eq!(words(&found), ["a module", "says two code words", "why"]);
        assert_eq!(
            found.iter().map(|text| text.is_doc).collect::<Vec<_>>(),
            [true, true, false]
        );
    }

    #[test]
    fn code_blocks_are_no_prose() {
        let found =
            paragraphs("One\nparagraph.\n\n```sh\nwhoever\n```\n| a | row |\n| another | row |\n");
        assert_eq!(words(&found), ["one paragraph", "a row", "another row"]);
        assert_eq!(
            words(&comments(
                "/// Before.\n/// ```\n/// whoever\n/// ```\n/// Behind.\n"
            )),
            ["before", "behind"]
        );
    }
}
