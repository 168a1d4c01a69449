//! Sentences about text that is no YAML. The parser's own words are for programmers.

use super::Position;

/// Words in the parser's messages, each with what the operator reads in their place. The first that
/// fits counts.
const SENTENCES: &[(&str, &str)] = &[
    (
        "mapping values are not allowed",
        "a second `: ` stands in this line: put the value in quotes, or write the inner key on a line of its own",
    ),
    (
        "simple key expected",
        "this line is no `key: value` and no `- item`: mind the space after `:` and after `-`",
    ),
    (
        "ecursive reference",
        "the alias (`*NAME`) stands inside of what its anchor (`&NAME`) marks: write the value out",
    ),
    (
        "reference to unknown",
        "no anchor (`&NAME`) stands before this alias (`*NAME`): put a text that begins with `*` in quotes",
    ),
    (
        "expected string scalar",
        "a list or a map cannot be a key: write a text before the colon; put a text that begins with `[`, `{` or `?` in \
         quotes",
    ),
    (
        "null is not allowed",
        "a key must be a text: put `null` or `~` in quotes",
    ),
    (
        "single YAML document",
        "a second document begins before this line (`---`): keep one",
    ),
    (
        "not a finite number",
        "no setting takes this number: write a finite one, or put a text in quotes",
    ),
    (
        "escape",
        "in double quotes a backslash begins an escape: write it twice, or use single quotes",
    ),
    (
        "trailing content",
        "text follows the closing quote: put the whole value between the quotes",
    ),
    (
        "quoted scalar",
        "a quote is not closed before this line: close it",
    ),
    (
        "bracket",
        "a `[` or `{` is not closed, or one is closed that was not opened: close each once",
    ),
    (
        "illegal placement of ':'",
        "a `[` or `{` before this line is not closed: close it",
    ),
    (
        "flow ",
        "a `[` or `{` before this line is not closed, or a comma is missing in it",
    ),
    (
        "did not find expected",
        "this line is indented otherwise than the others of its map or list: align them",
    ),
    (
        "indent",
        "this line is indented otherwise than the others of its map or list: align them",
    ),
    (
        "unexpected character",
        "no value begins with this character: put the value in quotes",
    ),
    (
        "merge",
        "`<<` takes a map or an alias of one: write the keys out",
    ),
    (
        "version",
        "the `%YAML` line names a version that is not read: remove the line",
    ),
    (
        "directive",
        "a line that begins with `%` is no setting: remove it, or put the text in quotes",
    ),
    (
        "binary",
        "a value with the tag `!!binary` is no setting: remove the tag",
    ),
    ("tag", "the tag (`!NAME`) is not read here: remove it"),
    (
        "invalid ",
        "the value does not fit its tag (such as `!!int`): remove the tag",
    ),
    (
        "budget",
        "the file is nested too deeply, or has too many aliases: write the values out",
    ),
    (
        "alias",
        "the file has too many aliases (`*NAME`): write the values out",
    ),
];

const OTHERWISE: &str = "this is no valid YAML: look at the quotes, brackets and indentation of this line and of the one before";
const TAB: &str = "a tab stands in the indentation: write spaces";

/// Where the mistake is, and what the operator does about it. `place` and `message` are the
/// parser's.
pub(super) fn explain(text: &str, place: Position, message: &str) -> (Position, String) {
    // Between brackets, as in JSON, lines may begin with tabs.
    let may_have_tabs = text.trim_start().starts_with(['{', '[']);
    let tab = first_tab(text).filter(|tab| tab.line <= place.line && !may_have_tabs);
    if let Some(tab) = tab {
        return (tab, TAB.to_owned());
    }
    let sentence = SENTENCES
        .iter()
        .find(|(words, _)| message.contains(*words))
        .map_or(OTHERWISE, |(_, sentence)| *sentence);
    (place, sentence.to_owned())
}

/// The place of the first tab before the first other character of a line. The parser names a later
/// line where the tab ends a map.
fn first_tab(text: &str) -> Option<Position> {
    (1..).zip(text.lines()).find_map(|(line, text)| {
        let (column, _) = (1..)
            .zip(text.chars())
            .take_while(|(_, c)| matches!(c, ' ' | '\t'))
            .find(|(_, c)| *c == '\t')?;
        let is_blank = text.trim().is_empty();
        (!is_blank).then_some(Position { line, column })
    })
}

#[cfg(test)]
mod tests {
    use super::super::Node;
    use super::*;

    #[test]
    fn each_kind_of_mistake_has_a_sentence_of_its_own() {
        for (text, line, expected) in [
            ("dashboard:\n\tport: 1\n", 2, TAB),
            ("dashboard:\n  drain:\n  \tmax: 1\n", 3, TAB),
            ("dashboard:\n  host: a: b\n", 2, "a second `: `"),
            ("dashboard: &a [*a]\n", 1, "its anchor"),
            ("dashboard: *x\n", 1, "no anchor"),
            ("dashboard: {[1]: 2}\n", 1, "cannot be a key"),
            ("dashboard: {null: 1}\n", 1, "a key must be a text"),
            ("dashboard: {}\n---\na: 1\n", 3, "a second document"),
            ("dashboard: {port: .inf}\n", 1, "a finite one"),
            ("dashboard: {port: .nan}\n", 1, "a finite one"),
            ("dashboard: {port: [1\n", 1, "is not closed"),
            ("key: [a, b\nother: c\n", 2, "is not closed"),
            ("dashboard: }\n", 1, "closed that was not opened"),
            ("dashboard: \"abc\n", 2, "a quote is not closed"),
            ("dashboard:\n  a: 1\n b: 2\n", 3, "align them"),
            ("dashboard: @x\n", 1, "put the value in quotes"),
            ("dashboard: \"\\q\"\n", 1, "use single quotes"),
            ("dashboard: \"a\" b\n", 1, "follows the closing quote"),
            ("dashboard:\n  <<: 1\n", 2, "write the keys out"),
            ("dashboard:\n- a\n-b\n", 3, "mind the space"),
            ("dashboard: {port: !!int x}\n", 1, "does not fit its tag"),
            ("%YAML 3.0\n---\na: 1\n", 1, "remove the line"),
        ] {
            let (place, sentence) = Node::parse(text).expect_err(text);
            assert!(sentence.contains(expected), "{text}: {sentence}");
            assert_eq!(place.line, line, "{text}: {sentence}");
        }
    }

    #[test]
    fn tab_in_a_good_file_is_no_mistake() {
        for text in [
            "{\n\t\"a\": 1\n}\n",
            "a: b\t# c\n",
            "a: |\n  x\n  \ty\n",
            "a: b\n\t\n",
        ] {
            assert!(Node::parse(text).is_ok(), "{text:?}");
        }
    }
}
