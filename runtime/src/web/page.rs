//! The page at `/`: what the gateway is doing, as it changes.

use super::{Dashboard, respond};
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use maud::{DOCTYPE, Markup, PreEscaped, html};

const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");

pub(super) async fn index(State(dashboard): State<Dashboard>) -> Response {
    let mut nonce = [0; 16];
    if getrandom::fill(&mut nonce).is_err() {
        return respond::internal_error();
    }
    let nonce = hex::encode(nonce);
    let policy = format!(
        "default-src 'none'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; connect-src 'self'; \
         base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    );
    let headers = [
        (header::CONTENT_SECURITY_POLICY, policy),
        (header::CONTENT_TYPE, "text/html; charset=utf-8".to_owned()),
    ];
    (headers, render(&dashboard, &nonce).into_string()).into_response()
}

fn render(dashboard: &Dashboard, nonce: &str) -> Markup {
    let token = script_string(dashboard.page.process_token.expose());
    let facts =
        [("state", "Gateway"), ("active", "Turns in flight"), ("drain", "Drain"), ("updated", "Last change")];
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { "Portcullis" }
                style nonce=(nonce) { (PreEscaped(STYLE)) }
            }
            body {
                @if dashboard.page.insecure {
                    p.warning role="alert" { "The gate is off (--insecure): whoever reaches this page controls the dashboard." }
                }
                main {
                    h1 { "Portcullis" }
                    dl aria-live="polite" {
                        @for (id, label) in facts {
                            dt { (label) }
                            dd id=(id) { "…" }
                        }
                    }
                    noscript { "This page needs its script; " a href="/api/status" { "/api/status" } " does not." }
                }
                script nonce=(nonce) { "window.__HERMES_SESSION_TOKEN__=" (PreEscaped(token)) ";" (PreEscaped(SCRIPT)) }
            }
        }
    }
}

/// A string literal that cannot end its script element.
fn script_string(text: &str) -> String {
    serde_json::Value::from(text).to_string().replace('<', "\\u003c").replace('>', "\\u003e")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn token_cannot_end_its_script() {
        assert_eq!(script_string("a\"</script>"), r#""a\"\u003c/script\u003e""#);
    }
}
