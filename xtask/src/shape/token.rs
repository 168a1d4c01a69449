//! The tokens of a source, as the compiler reads them.

use proc_macro2::{LineColumn, Spacing, Span, TokenStream, TokenTree};

/// Operators of several marks, the longest first.
const OPERATORS: [&str; 24] = [
    "<<=", ">>=", "...", "..=", "::", "->", "=>", "==", "!=", "<=", ">=", "&&", "||", "+=", "-=",
    "*=", "/=", "%=", "^=", "&=", "|=", "<<", ">>", "..",
];

/// Where a token or a part of the syntax begins and ends.
pub(super) struct Extent {
    pub(super) start: LineColumn,
    pub(super) end: LineColumn,
}

impl Extent {
    /// Returns the extent of what `span` covers.
    pub(super) fn of(span: Span) -> Self {
        Self {
            start: span.start(),
            end: span.end(),
        }
    }

    /// Returns whether all of `inner` lies in this extent.
    pub(super) fn contains(&self, inner: &Self) -> bool {
        self.start <= inner.start && inner.end <= self.end
    }

    /// Returns whether a line, counted from 1, is touched.
    pub(super) fn has_line(&self, line: usize) -> bool {
        (self.start.line..=self.end.line).contains(&line)
    }
}

/// Returns the extent of each token. A bracket is a token, an operator of several marks is one, and
/// so is a lifetime. Doc comments are left out.
pub(super) fn tokens(stream: TokenStream) -> Vec<Extent> {
    let mut found = Vec::new();
    add(stream, &mut found);
    found
}

fn add(stream: TokenStream, found: &mut Vec<Extent>) {
    let trees: Vec<TokenTree> = stream.into_iter().collect();
    let mut rest = trees.as_slice();
    while let Some(tree) = rest.first() {
        if let Some(behind) = behind_doc_comment(rest) {
            rest = behind;
            continue;
        }

        if let TokenTree::Group(group) = tree {
            found.push(Extent::of(group.span_open()));
            add(group.stream(), found);
            found.push(Extent::of(group.span_close()));
        } else {
            found.push(Extent::of(tree.span()));
        }
        rest = rest.get(trees_of_token(rest)..).unwrap_or_default();
    }
}

/// Returns what follows a doc comment, which is read as the attribute `#[doc = ".."]`. `None`: the
/// trees begin with something else.
fn behind_doc_comment(trees: &[TokenTree]) -> Option<&[TokenTree]> {
    let attribute = behind_mark(trees, '#')?;
    let attribute = behind_mark(attribute, '!').unwrap_or(attribute);
    let (TokenTree::Group(attribute), behind) = attribute.split_first()? else {
        return None;
    };

    let mut words = attribute.stream().into_iter();
    let is_doc = words.next().is_some_and(|word| word.to_string() == "doc");
    let has_value = words.next().is_some_and(|word| word.to_string() == "=");
    (is_doc && has_value).then_some(behind)
}

fn behind_mark(trees: &[TokenTree], wanted: char) -> Option<&[TokenTree]> {
    match trees.split_first()? {
        (TokenTree::Punct(mark), behind) if mark.as_char() == wanted => Some(behind),
        _ => None,
    }
}

/// Returns how many trees the first token is made of: one, but for lifetimes and operators of
/// several marks.
fn trees_of_token(trees: &[TokenTree]) -> usize {
    let marks = touching_marks(trees);
    if marks.starts_with('\'') {
        return 2;
    }
    OPERATORS
        .iter()
        .find(|operator| marks.starts_with(**operator))
        .map_or(1, |operator| operator.len())
}

/// Returns the marks at the beginning that no space parts, three at most.
fn touching_marks(trees: &[TokenTree]) -> String {
    let mut marks = String::new();
    for tree in trees.iter().take(3) {
        let TokenTree::Punct(mark) = tree else {
            break;
        };
        marks.push(mark.as_char());
        if mark.spacing() == Spacing::Alone {
            break;
        }
    }
    marks
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(source: &str) -> usize {
        tokens(source.parse().expect("tokens")).len()
    }

    #[test]
    fn operator_of_several_marks_is_one_token() {
        assert_eq!(count("a ..= b::C"), 5);
        assert_eq!(count("a = = b"), 4);
        assert_eq!(count("|x| -> Vec<&'a u8>;"), 11);
    }

    #[test]
    fn bracket_is_a_token_and_a_literal_is_one() {
        assert_eq!(count("f(\"two words\", [1.5, 'c'])"), 10);
    }

    #[test]
    fn comments_are_no_tokens_and_attributes_are() {
        assert_eq!(
            count("//! A module.\n/// Says.\n// Why.\n/** Says more. */ /* Why. */ a"),
            1
        );
        assert_eq!(count("#[test]\n/// Says.\na"), 5);
    }
}
