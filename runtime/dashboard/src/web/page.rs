//! The frame of every page, and the live page at `/`.

use super::apps::{OWN_PREFIX, mount_of};
use super::branding::{Branding, PLAIN};
use super::context::Context;
use super::live_page::{SignedInPerson, Viewed};
use super::site::Site;
use super::{Dashboard, respond, sessions, sign_in, view};
use axum::Extension;
use axum::extract::State;
use axum::http::{StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use maud::{DOCTYPE, Markup, PreEscaped, Render, html};
use portcullis_auth::{Caller, LOGO_PATH, Permit};
use std::sync::Arc;

const STYLE: &str = include_str!("page.css");
/// The style where no script runs: dialogs that nothing can open stand open, and what needs the
/// script is not there.
const STYLE_WITHOUT_SCRIPT: &str = "dialog { display: block; position: static; width: auto; margin: 0; box-shadow: none; } \
                                    .scripted, [data-opens], [data-closes], [data-ends] { display: none; }";

/// What pages differ in.
pub(super) struct PageFrame<'a> {
    pub(super) title: &'a str,
    pub(super) branding: &'a Branding,
    /// The path of the icon. `None`: the browser's own default.
    pub(super) icon: Option<String>,
    /// Whether the operator removed the gate with `--insecure`.
    pub(super) insecure: bool,
    /// The one small script, if the page has one.
    pub(super) script: Option<String>,
    /// Whether a person can sign out here, which may lead on to the identity provider.
    pub(super) signs_out: bool,
}

impl<'a> PageFrame<'a> {
    /// A page with a title and nothing of the operator's own.
    pub(super) fn plain(title: &'a str) -> Self {
        Self {
            title,
            branding: &PLAIN,
            icon: None,
            insecure: false,
            script: None,
            signs_out: false,
        }
    }
}

/// Where a form may lead: browsers hold the redirects after it to the same rule.
const OWN_FORMS: &str = "'self'";
/// The same where a form signs out: every address to which a provider may send a browser.
const SIGN_OUT_FORMS: &str = "'self' https: http://localhost:* http://127.0.0.1:*";

/// A page as a response: only its own style and script, each with the nonce of this one answer.
pub(super) fn respond_with(status: StatusCode, page: &PageFrame<'_>, body: &Markup) -> Response {
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
    let forms = if page.signs_out {
        SIGN_OUT_FORMS
    } else {
        OWN_FORMS
    };

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

fn frame(page: &PageFrame<'_>, nonce: &str, body: &Markup) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { (page.title) }
                @if let Some(icon) = &page.icon { link rel="icon" href=(icon); }
                style nonce=(nonce) { (PreEscaped(STYLE)) (PreEscaped(page.branding.style())) }
                @if page.script.is_some() {
                    noscript { style nonce=(nonce) { (PreEscaped(STYLE_WITHOUT_SCRIPT)) } }
                }
            }
            body {
                @if page.insecure {
                    p.warning role="alert" { "The gate is off (--insecure): everyone who reaches this page sees everything on it." }
                }
                (body)
                @if let Some(script) = &page.script {
                    script nonce=(nonce) { (PreEscaped(script)) }
                }
            }
        }
    }
}

/// The path of the icon: the operator's logo, else a gate.
pub(super) fn icon_path(site: &Site, branding: &Branding) -> String {
    match branding.logo {
        Some(_) => site.path(LOGO_PATH),
        // Below the prefix, since `/favicon.ico` may be an application's.
        None => site.path(&format!("{OWN_PREFIX}/favicon.ico")),
    }
}

/// The operator's logo, else a gate. The name stands beside it, so it has no text of its own.
pub(super) fn logo(site: &Site, branding: &Branding) -> Markup {
    html! {
        @if branding.logo.is_some() { img src=(site.path(LOGO_PATH)) alt=""; } @else { (mark()) }
    }
}

/// The picture of a dashboard without a logo: a gate.
pub(super) fn mark() -> Markup {
    const MARK: &str = "<svg class=\"mark\" viewBox=\"0 0 16 16\" aria-hidden=\"true\"><path fill=\"none\" stroke=\"currentColor\" \
                        stroke-width=\"2\" d=\"M3 15V2m5 13V2m5 13V2M1 5h14M1 10h14\"/></svg>";
    PreEscaped(MARK.to_owned())
}

/// What stands alone on its page: a picture, a heading, a message about what is wrong, and what can
/// be done.
pub(super) fn alone(picture: &Markup, heading: &str, message: &str, rest: &Markup) -> Markup {
    html! {
        (view::shapes())
        main.alone {
            div.brand { (picture) h1 { (heading) } }
            div.panel { (alert(message)) (rest) }
        }
    }
}

/// A message about what is wrong.
pub(super) fn alert(message: impl Render) -> Markup {
    html! { p.alert role="alert" { (view::shape("refused")) span { (message) } } }
}

/// A gate in the page's own colours, for every browser that asks.
pub(super) async fn icon() -> impl IntoResponse {
    const ICON: &str = include_str!("icon.svg");
    (
        [
            (header::CONTENT_TYPE, "image/svg+xml"),
            (header::CACHE_CONTROL, "public, max-age=86400"),
        ],
        ICON,
    )
}

/// The page for a person with a session and without a role, who can only sign out.
pub(super) fn no_role(site: &Site, branding: &Branding) -> Response {
    let message = "You are signed in, but your account has no role on this dashboard. Ask an operator for access.";
    no_access(site, branding, message)
}

/// The page for a person with a session who may not see what was asked for: a message, and a button
/// to sign out.
pub(super) fn no_access(site: &Site, branding: &Branding, message: &str) -> Response {
    let sign_out = html! {
        form method="post" action=(site.path("/auth/logout")) { button type="submit" { "Sign out" } }
    };
    let page = PageFrame {
        title: &format!("No access · {}", branding.name()),
        branding,
        icon: Some(icon_path(site, branding)),
        insecure: false,
        script: None,
        signs_out: true,
    };

    let body = alone(&logo(site, branding), branding.name(), message, &sign_out);
    respond_with(StatusCode::FORBIDDEN, &page, &body)
}

/// `/_portcullis` is the page without its slash. The address is relative, since a proxy may have
/// taken off a prefix.
pub(super) async fn to_own_index() -> Response {
    (
        StatusCode::PERMANENT_REDIRECT,
        [(header::LOCATION, "_portcullis/")],
    )
        .into_response()
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

    let serving = dashboard.live.now();
    let person = permit.as_ref().and_then(|permit| match permit.caller() {
        Caller::Person(session) => {
            let (_, sessions) = sessions::listed(serving.gate.people(), permit);
            Some(SignedInPerson {
                session,
                role: permit.role(),
                sessions,
            })
        }
        _ => None,
    });

    let mut moment = dashboard.feed.look().await;
    // Where people need not sign in, on a loopback bind or with --insecure, the page is open to
    // everyone.
    let may_operate = permit
        .as_ref()
        .is_some_and(|permit| permit.to_operate().is_some());
    let is_operator = may_operate || !dashboard.page.auth_required;
    if !is_operator {
        moment = moment.for_viewers();
    }

    let signs_out = person.is_some();
    let viewed = Viewed {
        site: &context.site,
        mount: mount_of(uri.path()),
        page: &dashboard.page,
        branding: &serving.branding,
        moment: &moment,
        person,
        is_operator,
        now: sign_in::now(),
        opens_metrics: !serving.gate.is_token_route("/metrics"),
    };

    let page = PageFrame {
        title: &viewed.title(),
        branding: &serving.branding,
        icon: Some(icon_path(&context.site, &serving.branding)),
        insecure: dashboard.page.insecure,
        script: Some(viewed.script()),
        signs_out,
    };

    respond_with(StatusCode::OK, &page, &viewed.body())
}
