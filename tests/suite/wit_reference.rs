//! `docs/providers/wit.md` is made of `wit/provider.wit`.

use std::fmt::Write;
use std::fs;
use std::path::Path;
use wit_parser::{Docs, Function, Interface, Resolve, Type, TypeDefKind};

/// As WIT writes a type.
#[expect(
    clippy::panic,
    reason = "a type that the reference cannot write must be seen"
)]
fn type_name(resolve: &Resolve, of: &Type) -> String {
    let name = |of: &Type| type_name(resolve, of);
    let optional = |of: &Option<Type>| of.as_ref().map_or_else(|| "_".to_owned(), name);
    match of {
        Type::Bool => "bool".into(),
        Type::U64 => "u64".into(),
        Type::String => "string".into(),
        Type::Id(id) => match &resolve.types[*id] {
            found if found.name.is_some() => found.name.clone().unwrap_or_default(),
            found => match &found.kind {
                TypeDefKind::Option(inner) => format!("option<{}>", name(inner)),
                TypeDefKind::List(inner) => format!("list<{}>", name(inner)),
                TypeDefKind::Result(result) => {
                    format!(
                        "result<{}, {}>",
                        optional(&result.ok),
                        optional(&result.err)
                    )
                }
                other => panic!("the reference cannot write {other:?}"),
            },
        },
        other => panic!("the reference cannot write {other:?}"),
    }
}

fn words(docs: &Docs) -> String {
    docs.contents
        .as_deref()
        .unwrap_or_default()
        .trim()
        .replace('\n', " ")
}

fn paragraph(docs: &Docs, text: &mut String) {
    let words = words(docs);
    if !words.is_empty() {
        writeln!(text, "\n{words}").expect("a string");
    }
}

fn signature(resolve: &Resolve, function: &Function) -> String {
    let parameters = function.params.iter();
    let parameters: Vec<_> = parameters
        .map(|parameter| format!("{}: {}", parameter.name, type_name(resolve, &parameter.ty)))
        .collect();
    let answer = function
        .result
        .as_ref()
        .map(|of| format!(" -> {}", type_name(resolve, of)));
    format!(
        "{}({}){}",
        function.name,
        parameters.join(", "),
        answer.unwrap_or_default()
    )
}

fn types(resolve: &Resolve, interface: &Interface, text: &mut String) {
    for (name, id) in &interface.types {
        let found = &resolve.types[*id];
        let (kind, parts) = match &found.kind {
            TypeDefKind::Record(record) => {
                let field = |field: &wit_parser::Field| {
                    (
                        format!("`{}: {}`", field.name, type_name(resolve, &field.ty)),
                        words(&field.docs),
                    )
                };
                (
                    "record",
                    record.fields.iter().map(field).collect::<Vec<_>>(),
                )
            }
            TypeDefKind::Variant(variant) => {
                let case = |case: &wit_parser::Case| {
                    let inner = case
                        .ty
                        .as_ref()
                        .map(|of| format!("({})", type_name(resolve, of)));
                    (
                        format!("`{}{}`", case.name, inner.unwrap_or_default()),
                        words(&case.docs),
                    )
                };
                ("variant", variant.cases.iter().map(case).collect())
            }
            // A name of another interface's type.
            _ => continue,
        };
        writeln!(text, "\n### {kind} `{name}`").expect("a string");
        paragraph(&found.docs, text);
        writeln!(text, "\n| part | |\n|---|---|").expect("a string");
        for (part, says) in parts {
            writeln!(text, "| {part} | {says} |").expect("a string");
        }
    }
}

fn document() -> String {
    let wit = Path::new(env!("CARGO_MANIFEST_DIR")).join("../wit");
    let mut resolve = Resolve::default();
    let (package, _) = resolve.push_dir(&wit).expect("the contract");
    let mut text = format!(
        "# The contract in WIT: `{}`\n\nMade from `wit/provider.wit`, which is the authority; the suite fails when this page differs from it. What an\nanswer \
         means, and what a call may touch: [contract.md](contract.md).\n",
        resolve.packages[package].name
    );
    for (name, id) in &resolve.packages[package].interfaces {
        let interface = &resolve.interfaces[*id];
        writeln!(text, "\n## interface `{name}`").expect("a string");
        paragraph(&interface.docs, &mut text);
        types(&resolve, interface, &mut text);
        if interface.functions.is_empty() {
            continue;
        }
        writeln!(text, "\n| function | |\n|---|---|").expect("a string");
        for function in interface.functions.values() {
            writeln!(
                text,
                "| `{}` | {} |",
                signature(&resolve, function),
                words(&function.docs)
            )
            .expect("a string");
        }
    }
    writeln!(text, "\n## worlds\n\n| world | |\n|---|---|").expect("a string");
    for (name, id) in &resolve.packages[package].worlds {
        writeln!(text, "| `{name}` | {} |", words(&resolve.worlds[*id].docs)).expect("a string");
    }
    text
}

#[test]
fn reference_in_the_docs_is_made_of_the_contract() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/providers/wit.md");
    let document = document();
    if fs::read_to_string(&path).unwrap_or_default() == document {
        return;
    }
    fs::write(&path, document).expect("docs/providers is there");
    panic!("docs/providers/wit.md was not made of wit/provider.wit; it is now: commit it");
}
