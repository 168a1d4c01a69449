//! The frame of every page, and the live page at `/`.

use super::apps::mount_of;
use super::context::Context;
use super::live_page;
use super::site::Site;
use super::{Dashboard, respond};
use crate::auth::{Caller, Permit};
use axum::Extension;
use axum::extract::State;
use axum::http::{StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use maud::{DOCTYPE, Markup, PreEscaped, html};
use std::sync::Arc;

const STYLE: &str = include_str!("page.css");

/// What pages differ in.
pub(super) struct Page<'a> {
    pub(super) title: &'a str,
    /// Whether the operator removed the gate with `--insecure`.
    pub(super) insecure: bool,
    /// The one small script, if the page has one.
    pub(super) script: Option<String>,
    /// Whether a person can sign out here, which may lead on to the identity provider.
    pub(super) signs_out: bool,
}

/// Where a form may lead: browsers hold the redirects after it to the same rule.
const OWN_FORMS: &str = "'self'";
/// The same where a form signs out: every address to which a provider may send a browser.
const SIGN_OUT_FORMS: &str = "'self' https: http://localhost:* http://127.0.0.1:*";

/// A page as a response: only its own style and script, each with the nonce of this one answer.
pub(super) fn respond_with(status: StatusCode, page: &Page<'_>, body: &Markup) -> Response {
    let mut nonce = [0; 16];
    if getrandom::fill(&mut nonce).is_err() {
        return respond::internal_error();
    }
    let nonce = hex::encode(nonce);
    let script = if page.script.is_some() {
        format!("script-src 'nonce-{nonce}'; connect-src 'self'; ")
    } else {
        String::new()
    };
    let forms = if page.signs_out { SIGN_OUT_FORMS } else { OWN_FORMS };
    let policy = format!(
        "default-src 'none'; {script}style-src 'nonce-{nonce}'; img-src 'self'; form-action {forms}; \
         base-uri 'none'; frame-ancestors 'none'"
    );
    let headers = [
        (header::CONTENT_SECURITY_POLICY, policy),
        (header::CONTENT_TYPE, "text/html; charset=utf-8".to_owned()),
    ];
    (status, headers, frame(page, &nonce, body).into_string()).into_response()
}

fn frame(page: &Page<'_>, nonce: &str, body: &Markup) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { (page.title) }
                style nonce=(nonce) { (PreEscaped(STYLE)) }
            }
            body {
                @if page.insecure {
                    p.warning role="alert" { "The gate is off (--insecure): whoever reaches this page sees everything on it." }
                }
                (body)
                @if let Some(script) = &page.script {
                    script nonce=(nonce) { (PreEscaped(script)) }
                }
            }
        }
    }
}

/// A gate in the page's own colours, for every browser that asks.
pub(super) async fn icon() -> impl IntoResponse {
    const ICON: &str = include_str!("icon.svg");
    ([(header::CONTENT_TYPE, "image/svg+xml"), (header::CACHE_CONTROL, "public, max-age=86400")], ICON)
}

/// For a person with a session and without a role: all that is left is to sign out.
pub(super) fn no_role(site: &Site) -> Response {
    let body = html! {
        main.narrow {
            h1 { "Portcullis" }
            p.alert role="alert" { "You are signed in, but your account has no role on this dashboard. Ask an operator for access." }
            form method="post" action=(site.path("/auth/logout")) {
                button type="submit" { "Sign out" }
            }
        }
    };
    let page = Page { title: "No access · Portcullis", insecure: false, script: None, signs_out: true };
    respond_with(StatusCode::FORBIDDEN, &page, &body)
}

/// `/_portcullis` is the page without its slash. The address is relative, since a proxy may have taken off a prefix.
pub(super) async fn to_own_index() -> Response {
    (StatusCode::PERMANENT_REDIRECT, [(header::LOCATION, "_portcullis/")]).into_response()
}

pub(super) async fn index(
    State(dashboard): State<Arc<Dashboard>>,
    context: Context,
    uri: Uri,
    permit: Option<Extension<Permit>>,
) -> Response {
    if let Some(outside) = &context.outside {
        return outside.page();
    }
    let session = match permit.as_ref().map(|permit| permit.caller()) {
        Some(Caller::Person(session)) => Some(session.clone()),
        _ => None,
    };
    let mut moment = dashboard.feed.look().await;
    // Where people need not sign in, on a loopback bind or with --insecure, the page is open to everyone.
    let may_operate = permit.as_ref().is_some_and(|permit| permit.to_operate().is_some());
    let is_operator = may_operate || !dashboard.page.auth_required;
    if !is_operator {
        moment = moment.for_viewers();
    }
    let viewed = live_page::Viewed { session: session.as_deref(), moment: &moment, is_operator };
    let mount = mount_of(uri.path());
    let body = live_page::body(&context.site, mount, &viewed, &dashboard);
    let script = live_page::script(&context.site, mount, &dashboard.page);
    let page = Page {
        title: "Portcullis",
        insecure: dashboard.page.insecure,
        script: Some(script),
        signs_out: session.is_some(),
    };
    respond_with(StatusCode::OK, &page, &body)
}
