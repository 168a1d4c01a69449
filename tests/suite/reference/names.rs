//! Variables of the environment: each is in the page that defines them.

use crate::architecture::is_for_tests;
use crate::book::files_below;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use syn::punctuated::Punctuated;
use syn::visit::{self, Visit};
use syn::{Attribute, Expr, Ident, ItemMod, LitStr, Macro, Token};

/// Variables that the search has to find: with and without an underscore, read, set, and set by a
/// constant.
const KNOWN: [&str; 5] = [
    "HOME",
    "HERMES_HOME",
    "LISTEN_FDNAMES",
    "TRACEPARENT",
    "RAYON_NUM_THREADS",
];

/// Their texts in capitals are the names of gRPC's statuses and of the system's limits.
const WITHOUT_VARIABLES: [&str; 2] = [
    "runtime/observe/src/telemetry/grpc.rs",
    "runtime/cli/src/commands/needs.rs",
];

fn project(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

fn text_of(path: &str) -> String {
    fs::read_to_string(project(path)).expect(path)
}

#[test]
fn every_variable_is_in_the_docs() {
    let page = text_of("docs/environment.md");
    let mut found = BTreeSet::new();
    let mut missing = Vec::new();
    for file in files_below("runtime", ".rs") {
        let is_source = file.contains("/src/")
            && !file.ends_with("/tests.rs")
            && !WITHOUT_VARIABLES.contains(&file.as_str());
        let variables = if is_source {
            variables_of(&text_of(&file))
        } else {
            BTreeSet::new()
        };
        let unknown = variables
            .iter()
            .filter(|name| !page.contains(&format!("`{name}`")));
        missing.extend(unknown.map(|name| format!("{name} in {file}")));
        found.extend(variables);
    }

    assert!(
        KNOWN.iter().all(|name| found.contains(*name)),
        "the search found only {found:?}"
    );
    assert!(
        missing.is_empty(),
        "not in docs/environment.md: {missing:?}"
    );
}

#[test]
fn names_of_variables_are_found_among_other_texts() {
    let named = |source: &str| variables_of(source).into_iter().collect::<Vec<_>>();
    assert_eq!(named(r#"const NAME: &str = "A_NAME";"#), ["A_NAME"]);
    assert_eq!(
        named(r#"fn f() { g(vec!["A_NAME", "A_PREFIX_", "GET", "a_b"]) }"#),
        ["A_NAME"]
    );
    assert_eq!(
        named(r#"fn f() { command.env(NAME, "0"); } const NAME: &str = "PLAIN";"#),
        ["PLAIN"]
    );
    assert_eq!(
        named(r#"use std::env; fn f() { read("PLAIN") }"#),
        ["PLAIN"]
    );
    assert_eq!(
        named(
            r#"#[doc = "A_B"] fn f() { env!("C_D") } #[cfg(test)] mod tests { fn f() { g("E_F") } }"#
        ),
        [""; 0]
    );
}

/// The texts of a source, outside its tests, that can only be names of variables: all in capitals
/// with an underscore, or in capitals where the environment is read or set. What the compiler reads
/// of its own environment is none.
fn variables_of(source: &str) -> BTreeSet<String> {
    let mut texts = Texts::default();
    texts.visit_file(&syn::parse_file(source).expect("Rust"));
    let Texts {
        texts,
        has_environment,
    } = texts;
    texts
        .into_iter()
        .filter(|text| is_variable(text) && (has_environment || text.contains('_')))
        .collect()
}

fn is_variable(text: &str) -> bool {
    let is_name = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_';
    let starts_as_one = text.starts_with(|first: char| first.is_ascii_uppercase());
    starts_as_one && text.bytes().all(is_name) && text.len() > 1 && !text.ends_with('_')
}

/// Collects the literal texts of a source.
#[derive(Default)]
struct Texts {
    texts: Vec<String>,
    /// Whether it names `std::env`, or sets a variable for a process.
    has_environment: bool,
}

impl Visit<'_> for Texts {
    fn visit_item_mod(&mut self, module: &ItemMod) {
        if !module.attrs.iter().any(is_for_tests) {
            visit::visit_item_mod(self, module);
        }
    }

    /// A comment for rustdoc is an attribute, too.
    fn visit_attribute(&mut self, _: &Attribute) {}

    fn visit_ident(&mut self, name: &Ident) {
        self.has_environment |= name == "env" || name == "env_remove";
    }

    fn visit_lit_str(&mut self, literal: &LitStr) {
        self.texts.push(literal.value());
    }

    /// Reads the arguments of macros that take expressions.
    fn visit_macro(&mut self, call: &Macro) {
        if call.path.is_ident("env") || call.path.is_ident("option_env") {
            return;
        }
        let arguments = call.parse_body_with(Punctuated::<Expr, Token![,]>::parse_terminated);
        for argument in arguments.iter().flatten() {
            self.visit_expr(argument);
        }
    }
}
