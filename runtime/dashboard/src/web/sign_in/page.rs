//! `GET /login`: forms for providers that take passwords, links for those that redirect. No script.

use super::super::Dashboard;
use super::super::context::Context;
use super::super::gate_layer::{GoodSession, good_session};
use super::super::page::{self, PageFrame, respond_with};
use super::super::parameters::Parameters;
use super::super::request_cookies::RequestCookies;
use super::super::respond::QUERY_VALUE;
use super::super::view;
use super::handover;
use super::notice::Notice;
use super::redirect::go_on;
use super::refused::RefusedPerson;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use maud::{Markup, html};
use percent_encoding::utf8_percent_encode;
use person_text::{MAX_TYPED_NAME_BYTES, MAX_TYPED_PASSWORD_BYTES};
use portcullis_auth::{ProviderName, Registered, safe_target};
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
    // Of two copies of one callback, the second is too late, and the browser has a session by now.
    if notice == Some(Notice::Expired)
        && let Some(GoodSession { cookies, .. }) =
            good_session(&dashboard, &headers, &context).await
    {
        return go_on(&context, &next, cookies);
    }

    let sent = RequestCookies::of(&headers);
    let person = RefusedPerson::name_in(&dashboard.sealer, &sent, &context.site);
    let message = notice.map(|notice| notice.sentence_for(person.as_deref()));

    render(&dashboard, &context, &next, StatusCode::OK, message, None)
}

/// The page, with a message about what went wrong before, and what was typed then.
pub(super) fn render(
    dashboard: &Dashboard,
    context: &Context,
    next: &str,
    status: StatusCode,
    message: Option<Markup>,
    typed: Option<Typed<'_>>,
) -> Response {
    let serving = dashboard.live.now();
    let branding = &serving.branding;
    let by_password: Vec<_> = serving
        .gate
        .registry()
        .iter()
        .filter(|registered| registered.signs_people_in() && registered.password.is_some())
        .collect();
    let by_redirect: Vec<_> = serving
        .gate
        .registry()
        .iter()
        .filter(|registered| registered.signs_people_in() && registered.redirect.is_some())
        .collect();

    let is_choice = by_password.len() + by_redirect.len() > 1;
    let focus = Focus::of(&by_password, typed);

    let body = html! {
        (view::shapes())
        main.alone {
            div.brand {
                (page::logo(&context.site, branding))
                div {
                    h1 { "Sign in to " (branding.name()) }
                    p.muted { (context.site.shown_host()) }
                }
            }
            div.panel {
                @if let Some(message) = message { (page::alert(message)) }
                @if !dashboard.page.auth_required {
                    p { "This dashboard needs no sign-in here. " a href=(context.site.path("/")) { "Go to the dashboard" } }
                } @else {
                    @for registered in &by_password { (password_form(context, registered, next, typed, is_choice, focus)) }
                    @if !by_password.is_empty() && !by_redirect.is_empty() { p.or { "or" } }
                    @for registered in &by_redirect {
                        a.button.plain[!by_password.is_empty()] href=(login_link(context, registered.name.as_str(), next)) {
                            "Sign in with " (registered.display_name)
                        }
                    }
                    @if by_password.is_empty() && by_redirect.is_empty() {
                        p { "No provider can sign people in at the moment. The dashboard's log says why." }
                    }
                }
            }
        }
    };

    let page = PageFrame {
        title: &format!("Sign in · {}", branding.name()),
        branding,
        icon: Some(page::icon_path(&context.site, branding)),
        insecure: dashboard.page.insecure,
        script: None,
        signs_out: false,
    };

    respond_with(status, &page, &body)
}

/// The field that has the focus when the page opens.
#[derive(Clone, Copy)]
struct Focus<'a> {
    /// The provider whose form it is.
    provider: Option<&'a ProviderName>,
    /// The user name is known, and the password is missing.
    on_password: bool,
}

impl<'a> Focus<'a> {
    /// The form of the attempt that failed, else the first one.
    fn of(by_password: &[&'a Registered], typed: Option<Typed<'_>>) -> Self {
        let named = |typed: Typed<'_>| {
            by_password
                .iter()
                .find(|registered| registered.name.as_str() == typed.provider)
        };
        let again = typed.and_then(named);
        let provider = again
            .or(by_password.first())
            .map(|registered| &registered.name);

        Self {
            provider,
            on_password: again.is_some(),
        }
    }
}

fn password_form(
    context: &Context,
    registered: &Registered,
    next: &str,
    typed: Option<Typed<'_>>,
    is_choice: bool,
    focus: Focus<'_>,
) -> Markup {
    let name = registered.name.as_str();
    let username = typed
        .filter(|typed| typed.provider == name)
        .map(|typed| typed.username);
    let has_focus = focus.provider == Some(&registered.name);

    html! {
        section aria-label=(registered.display_name) {
            @if is_choice { h2 { (registered.display_name) } }
            form method="post" action=(context.site.path("/auth/password-login")) {
                input type="hidden" name="provider" value=(name);
                input type="hidden" name="next" value=(next);
                div.field {
                    label for=(format!("{name}-username")) { "User name" }
                    input id=(format!("{name}-username")) name="username" autocomplete="username"
                        autocapitalize="none" spellcheck="false" maxlength=(MAX_TYPED_NAME_BYTES) value=[username]
                        autofocus[has_focus && !focus.on_password] required;
                }
                div.field {
                    label for=(format!("{name}-password")) { "Password" }
                    input id=(format!("{name}-password")) name="password" type="password"
                        autocomplete="current-password" maxlength=(MAX_TYPED_PASSWORD_BYTES)
                        autofocus[has_focus && focus.on_password] required;
                }
                button type="submit" { "Sign in" }
            }
        }
    }
}

fn login_link(context: &Context, provider: &str, next: &str) -> String {
    let next = utf8_percent_encode(next, QUERY_VALUE);
    context
        .site
        .path(&format!("/auth/login?provider={provider}&next={next}"))
}
