//! Whether `docs/http.md` has every route of the gateway, which no OpenAPI document describes.

use crate::book::files_below;
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use syn::visit::{self, Visit};
use syn::{Expr, ExprCall, ExprLit, ExprMethodCall, Lit};

const METHODS: [&str; 5] = ["get", "post", "put", "patch", "delete"];

fn text_of(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)).expect(path)
}

#[test]
fn every_route_of_the_gateway_is_in_the_docs() {
    let page = text_of("docs/http.md");
    let (_, section) = page
        .split_once("\n## The gateway")
        .expect("a section on the gateway");
    let section = section.split("\n## ").next().unwrap_or_default();

    let mut routes = Routes::default();
    for file in files_below("runtime/gateway/src", ".rs") {
        routes.visit_file(&syn::parse_file(&text_of(&file)).expect(&file));
    }
    assert!(
        routes.0.contains("POST /v1/turns"),
        "the routes were found: {:?}",
        routes.0
    );
    let missing: Vec<_> = routes
        .0
        .iter()
        .filter(|route| !section.contains(&format!("`{route}`")))
        .collect();
    assert!(
        missing.is_empty(),
        "docs/http.md does not explain {missing:?}"
    );
}

/// Collects the routes of a source as the docs write them: `GET /v1/turns/ID`.
#[derive(Default)]
struct Routes(BTreeSet<String>);

impl Visit<'_> for Routes {
    fn visit_expr_method_call(&mut self, call: &ExprMethodCall) {
        let mut arguments = call.args.iter();
        let path = arguments
            .next()
            .filter(|_| call.method == "route")
            .and_then(text);
        if let (Some(path), Some(handlers)) = (path, arguments.next()) {
            let path = path.replace("{id}", "ID");
            let mut methods = Methods::default();
            methods.visit_expr(handlers);
            self.0.extend(
                methods
                    .0
                    .iter()
                    .map(|method| format!("{} {path}", method.to_uppercase())),
            );
        }
        visit::visit_expr_method_call(self, call);
    }
}

fn text(expression: &Expr) -> Option<String> {
    match expression {
        Expr::Lit(ExprLit {
            lit: Lit::Str(text),
            ..
        }) => Some(text.value()),
        _ => None,
    }
}

/// Collects the methods of one route: `get(..).post(..)`.
#[derive(Default)]
struct Methods(BTreeSet<String>);

impl Methods {
    fn add(&mut self, name: &syn::Ident) {
        let name = name.to_string();
        if METHODS.contains(&name.as_str()) {
            self.0.insert(name);
        }
    }
}

impl Visit<'_> for Methods {
    fn visit_expr_call(&mut self, call: &ExprCall) {
        if let Expr::Path(function) = &*call.func
            && let Some(name) = function.path.get_ident()
        {
            self.add(name);
        }
        visit::visit_expr_call(self, call);
    }

    fn visit_expr_method_call(&mut self, call: &ExprMethodCall) {
        self.add(&call.method);
        visit::visit_expr_method_call(self, call);
    }

    /// A handler may have methods of these names.
    fn visit_expr_closure(&mut self, _: &syn::ExprClosure) {}
}
