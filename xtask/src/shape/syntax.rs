//! Counts one source.

use super::figures::{Figures, Function};
use super::for_tests::{are_for_tests, attributes_of};
use super::token::{Extent, tokens};
use proc_macro2::TokenStream;
use std::collections::BTreeSet;
use syn::spanned::Spanned;
use syn::visit::{self, Visit};
use syn::{Block, File, ImplItemFn, Item, ItemFn, ItemMod, Signature, TraitItemFn};

/// What one source says.
#[derive(Default)]
pub(super) struct Source {
    /// Its counts, without what is for tests.
    pub(super) figures: Figures,
    /// The modules for tests that stand in files of their own, by name.
    pub(super) test_modules: Vec<String>,
}

/// Counts a source.
///
/// # Errors
///
/// The text is not Rust.
pub(super) fn read(text: &str) -> syn::Result<Source> {
    let stream: TokenStream = text.parse().map_err(syn::Error::from)?;
    let file: File = syn::parse2(stream.clone())?;
    if are_for_tests(&file.attrs) {
        return Ok(Source::default());
    }

    let mut parts = Parts::default();
    parts.visit_file(&file);
    let mut tokens = tokens(stream);
    tokens.retain(|token| !parts.tests.iter().any(|test| test.contains(token)));

    let lines = Lines::of(text, &tokens, &parts.tests);
    let functions = parts
        .functions
        .iter()
        .map(|function| lines.function(function, &tokens));
    let figures = Figures {
        tokens: tokens.len(),
        code_lines: lines.code.len(),
        comment_lines: lines.comments,
        written_lines: lines.written,
        functions: functions.collect(),
    };
    Ok(Source {
        figures,
        test_modules: parts.test_modules,
    })
}

/// Where a function is.
struct Place {
    first_line: usize,
    body: Extent,
}

/// Collects where functions and tests are.
#[derive(Default)]
struct Parts {
    functions: Vec<Place>,
    tests: Vec<Extent>,
    test_modules: Vec<String>,
}

impl Parts {
    fn add_function(&mut self, signature: &Signature, body: &Block) {
        let first_line = signature.span().start().line;
        let body = Extent::of(body.brace_token.span.join());
        self.functions.push(Place { first_line, body });
    }
}

impl Visit<'_> for Parts {
    fn visit_item(&mut self, item: &Item) {
        if !are_for_tests(attributes_of(item)) {
            visit::visit_item(self, item);
            return;
        }

        self.tests.push(Extent::of(item.span()));
        if let Item::Mod(ItemMod {
            ident,
            content: None,
            ..
        }) = item
        {
            self.test_modules.push(ident.to_string());
        }
    }

    fn visit_item_fn(&mut self, function: &ItemFn) {
        self.add_function(&function.sig, &function.block);
        visit::visit_item_fn(self, function);
    }

    fn visit_impl_item_fn(&mut self, function: &ImplItemFn) {
        if are_for_tests(&function.attrs) {
            self.tests.push(Extent::of(function.span()));
            return;
        }
        self.add_function(&function.sig, &function.block);
        visit::visit_impl_item_fn(self, function);
    }

    fn visit_trait_item_fn(&mut self, function: &TraitItemFn) {
        if let Some(body) = &function.default {
            self.add_function(&function.sig, body);
        }
        visit::visit_trait_item_fn(self, function);
    }
}

/// The lines of a source, counted from 1, without those of tests.
struct Lines {
    /// Those with a part of a token.
    code: BTreeSet<usize>,
    /// Those without a character. An empty line of a string is code.
    blank: BTreeSet<usize>,
    /// How many hold a `//` comment and nothing else.
    comments: usize,
    /// How many hold anything.
    written: usize,
}

impl Lines {
    fn of(text: &str, tokens: &[Extent], tests: &[Extent]) -> Self {
        let code = tokens
            .iter()
            .flat_map(|token| token.start.line..=token.end.line)
            .collect();
        let mut lines = Self {
            code,
            blank: BTreeSet::new(),
            comments: 0,
            written: 0,
        };
        for (number, line) in (1..).zip(text.lines()) {
            if tests.iter().any(|test| test.has_line(number)) {
                continue;
            }

            let is_code = lines.code.contains(&number);
            if !is_code && line.trim().is_empty() {
                lines.blank.insert(number);
                continue;
            }
            lines.written += 1;
            lines.comments += usize::from(!is_code && is_comment(line));
        }
        lines
    }

    fn function(&self, place: &Place, tokens: &[Extent]) -> Function {
        let lines = place.first_line..=place.body.end.line;
        Function {
            tokens: tokens
                .iter()
                .filter(|token| place.body.contains(token))
                .count(),
            lines: lines.clone().count(),
            has_blank_line: self.blank.range(lines).next().is_some(),
        }
    }
}

/// Returns whether a line begins with `//` and is no doc comment. Four slashes are none.
fn is_comment(line: &str) -> bool {
    let line = line.trim_start();
    let is_doc = line.starts_with("//!") || (line.starts_with("///") && !line.starts_with("////"));
    line.starts_with("//") && !is_doc
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOURCE: &str = r#"//! A module.

use a::b;

/// Says something.
fn first() -> u8 {
    // Why.
    let text = "
// no comment

";

    text.len() // behind code
}

trait T {
    fn without_body();
    fn with_body() {}
}

#[cfg(test)]
mod tests;

#[cfg(all(test, unix))]
mod more {
    // Not counted.
    fn of_tests() {}
}
"#;

    #[test]
    fn source_is_counted_without_its_tests() {
        let source = read(SOURCE).expect("Rust");
        let figures = source.figures;
        assert_eq!(source.test_modules, ["tests"]);
        // `use` 5, `first` 18, the trait 4, its functions 5 and 6.
        assert_eq!(figures.tokens, 38);
        assert_eq!(figures.code_lines, 12);
        assert_eq!((figures.comment_lines, figures.written_lines), (1, 15));
        assert_eq!(
            figures.functions,
            [
                Function {
                    tokens: 12,
                    lines: 9,
                    has_blank_line: true
                },
                Function {
                    tokens: 2,
                    lines: 1,
                    has_blank_line: false
                },
            ]
        );
    }

    #[test]
    fn blank_line_in_a_string_breaks_no_function() {
        let source = read("fn f() -> &'static str {\n    \"\n\n\"\n}\n").expect("Rust");
        let function = Function {
            tokens: 3,
            lines: 5,
            has_blank_line: false,
        };
        assert_eq!(source.figures.functions, [function]);
    }

    #[test]
    fn file_of_tests_counts_nothing() {
        let source = read("#![cfg(test)]\nfn f() {}\n").expect("Rust");
        assert_eq!(source.figures, Figures::default());
        assert!(read("fn f(").is_err());
    }
}
