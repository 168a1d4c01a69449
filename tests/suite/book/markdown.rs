//! What the tests read of a page in Markdown: fenced blocks, headings with their anchors, links.

use std::collections::BTreeMap;

/// A fenced block.
#[derive(Debug)]
pub(super) struct Block {
    /// The line of the opening fence, from 1.
    pub(super) line: usize,
    /// The first word after the fence; empty without one.
    pub(super) language: String,
    /// The lines between the fences, each with a newline, without the indent of the fence.
    pub(super) text: String,
    indent: usize,
}

/// A page, taken apart.
#[derive(Debug)]
pub(super) struct Markdown {
    /// The fenced blocks, in their order.
    pub(super) blocks: Vec<Block>,
    /// The lines outside of blocks.
    prose: Vec<String>,
}

/// A heading.
#[derive(Debug)]
pub(super) struct Heading {
    /// 1 for the title of the page.
    pub(super) level: usize,
    /// As it is written.
    pub(super) text: String,
    /// What a link names after `#`.
    pub(super) anchor: String,
}

impl Markdown {
    /// Takes a page apart.
    ///
    /// # Panics
    /// A block is not closed.
    pub(super) fn parse(text: &str) -> Self {
        let (mut blocks, mut prose) = (Vec::new(), Vec::new());
        let mut open: Option<Block> = None;
        for (line, number) in text.lines().zip(1..) {
            let start = line.trim_start();
            match (open.take(), start.strip_prefix("```")) {
                (None, None) => prose.push(line.to_owned()),
                (None, Some(info)) => {
                    let language = info
                        .split_whitespace()
                        .next()
                        .unwrap_or_default()
                        .to_owned();
                    let indent = line.len() - start.len();
                    open = Some(Block {
                        line: number,
                        language,
                        text: String::new(),
                        indent,
                    });
                }
                (Some(block), Some(_)) => blocks.push(block),
                (Some(mut block), None) => {
                    block
                        .text
                        .push_str(line.get(block.indent..).unwrap_or_default());
                    block.text.push('\n');
                    open = Some(block);
                }
            }
        }
        assert!(open.is_none(), "a block is not closed: {open:?}");
        Self { blocks, prose }
    }

    /// The headings, in their order. The second of two with one text has `-1` after its anchor, as
    /// in mdBook and on GitHub.
    pub(super) fn headings(&self) -> Vec<Heading> {
        let mut seen: BTreeMap<String, usize> = BTreeMap::new();
        let heading = |line: &String| {
            let text = line.trim_start_matches('#');
            let level = line.len() - text.len();
            let text = text
                .strip_prefix(' ')
                .filter(|_| level > 0)?
                .trim()
                .to_owned();
            Some((level, text))
        };
        let found: Vec<_> = self.prose.iter().filter_map(heading).collect();
        found
            .into_iter()
            .map(|(level, text)| {
                let plain = anchor(&text);
                let times = seen.entry(plain.clone()).or_default();
                let anchor = if *times == 0 {
                    plain
                } else {
                    format!("{plain}-{times}")
                };
                *times += 1;
                Heading {
                    level,
                    text,
                    anchor,
                }
            })
            .collect()
    }

    /// The targets of all links and pictures outside of code.
    pub(super) fn links(&self) -> Vec<String> {
        let prose = self.without_code();
        let after = prose.split("](").skip(1);
        after
            .filter_map(|rest| rest.split_once(')'))
            .map(|(target, _)| target.to_owned())
            .collect()
    }

    /// The lines outside of blocks, without what stands between backticks.
    pub(super) fn without_code(&self) -> String {
        let paragraphs = self.prose.join("\n");
        let plain = paragraphs.split("\n\n").map(|paragraph| {
            // Twice the backtick begins and ends a span that has single ones in it.
            let outside: String = paragraph.split("``").step_by(2).collect();
            outside.split('`').step_by(2).collect::<String>()
        });
        plain.collect::<Vec<_>>().join("\n\n")
    }
}

/// The anchor of a heading: letters, digits, `-` and `_` in lower case, and `-` for each space.
pub(crate) fn anchor(heading: &str) -> String {
    let kept = heading.trim().chars().filter_map(|c| match c {
        ' ' => Some('-'),
        c if c.is_alphanumeric() || c == '-' || c == '_' => Some(c),
        _ => None,
    });
    kept.collect::<String>().to_lowercase()
}

#[test]
fn pages_are_taken_apart() {
    let page = Markdown::parse(
        "# One `x`\n\nSee [a](b.md#c), `[no](d)`, ``unknown `key` ](e)`` and [f\ng](h).\n\n  ```sh run\n  echo\n\n  ```\n## One x\n",
    );
    let anchors: Vec<_> = page
        .headings()
        .into_iter()
        .map(|heading| heading.anchor)
        .collect();
    assert_eq!(anchors, ["one-x", "one-x-1"]);
    assert_eq!(page.links(), ["b.md#c", "h"]);
    let [block] = &page.blocks[..] else {
        panic!("one block: {page:?}")
    };
    assert_eq!(
        (block.line, block.language.as_str(), block.text.as_str()),
        (6, "sh", "echo\n\n")
    );
    assert_eq!(anchor("`POST /api/gateway/drain`"), "post-apigatewaydrain");
}
