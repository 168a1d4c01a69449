//! `GET /login`: forms for providers that take passwords, links for those that redirect. No script.

use super::super::Dashboard;
use super::super::context::Context;
use super::super::page::{Page, respond_with};
use super::super::parameters::Parameters;
use super::super::respond::QUERY_VALUE;
use super::PERSON;
use super::handover;
use super::notice::Notice;
use crate::auth::{Registered, safe_target};
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use maud::{Markup, html};
use percent_encoding::utf8_percent_encode;
use person_text::{MAX_TYPED_NAME_BYTES, MAX_TYPED_PASSWORD_BYTES};
use std::sync::Arc;

/// What a person typed in an attempt that failed: the page has it again, but for the password.
#[derive(Clone, Copy)]
pub(super) struct Typed<'a> {
    /// The provider whose form it was.
    pub(super) provider: &'a str,
    pub(super) username: &'a str,
}

pub(in crate::web) async fn login(
    State(dashboard): State<Arc<Dashboard>>,
    context: Context,
    headers: HeaderMap,
    parameters: Parameters,
) -> Response {
    let next = safe_target(parameters.only("next").unwrap_or("/")).to_owned();
    if let Some(response) = handover::fetch(&dashboard, &context, &headers, &parameters, &next) {
        return response;
    }
    let notice = parameters.only("failed").map(Notice::of_word);
    let person: Option<String> =
        parameters.only(PERSON).and_then(|sealed| dashboard.sealer.open(PERSON, sealed));
    let message = notice.map(|notice| notice.sentence_for(person.as_deref()));
    render(&dashboard, &context, &next, StatusCode::OK, message.as_deref(), None)
}

/// The page, with a message about what went wrong before, and what was typed then.
pub(super) fn render(
    dashboard: &Dashboard,
    context: &Context,
    next: &str,
    status: StatusCode,
    message: Option<&str>,
    typed: Option<Typed<'_>>,
) -> Response {
    let serving = dashboard.live.now();
    let providers: Vec<_> = serving.gate.registry().iter().filter(|by| by.signs_people_in()).collect();
    let body = html! {
        main.narrow {
            h1 { "Portcullis" }
            p.muted { "Sign in to the agent's dashboard." }
            @if let Some(message) = message {
                p.alert role="alert" { (message) }
            }
            @if !dashboard.page.auth_required {
                p { "This dashboard needs no sign-in here. " a href=(context.site.path("/")) { "Go to the dashboard" } }
            } @else {
                @for by in providers {
                    (choice(context, by, next, typed))
                }
            }
        }
    };
    let page = Page {
        title: "Sign in · Portcullis",
        insecure: dashboard.page.insecure,
        script: None,
        signs_out: false,
    };
    respond_with(status, &page, &body)
}

fn choice(context: &Context, by: &Registered, next: &str, typed: Option<Typed<'_>>) -> Markup {
    let name = by.name.as_str();
    let username = typed.filter(|typed| typed.provider == name).map(|typed| typed.username);
    html! {
        section.card aria-labelledby=(format!("provider-{name}")) {
            h2 id=(format!("provider-{name}")) { (by.display_name) }
            @if by.password.is_some() {
                form method="post" action=(context.site.path("/auth/password-login")) {
                    input type="hidden" name="provider" value=(name);
                    input type="hidden" name="next" value=(next);
                    label for=(format!("{name}-username")) { "User name" }
                    input id=(format!("{name}-username")) name="username" autocomplete="username"
                        autocapitalize="none" spellcheck="false" maxlength=(MAX_TYPED_NAME_BYTES) value=[username] required;
                    label for=(format!("{name}-password")) { "Password" }
                    input id=(format!("{name}-password")) name="password" type="password"
                        autocomplete="current-password" maxlength=(MAX_TYPED_PASSWORD_BYTES)
                        autofocus[username.is_some()] required;
                    button type="submit" { "Sign in" }
                }
            }
            @if by.redirect.is_some() {
                a.button href=(login_link(context, name, next)) { "Sign in with " (by.display_name) }
            }
        }
    }
}

fn login_link(context: &Context, provider: &str, next: &str) -> String {
    let next = utf8_percent_encode(next, QUERY_VALUE);
    context.site.path(&format!("/auth/login?provider={provider}&next={next}"))
}
