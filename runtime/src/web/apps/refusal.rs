//! Answers to requests that do not reach an application.

use super::super::page::{Page, respond_with};
use super::super::respond::{self, Audience};
use super::super::site::Site;
use super::paths::{as_read, covers};
use super::table::App;
use crate::auth::{Denial, DenialStatus};
use axum::extract::Request;
use axum::http::header::{ACCEPT, UPGRADE};
use axum::http::{HeaderValue, Method, StatusCode};
use axum::response::Response;
use maud::html;

/// Who reads a refusal: a browser that opens a page, or a program, which the script of a page is as well.
pub(in crate::web) fn audience(app: &App, request: &Request) -> Audience {
    let path = as_read(request.uri().path());
    let is_api = |root: &str| path.strip_prefix(root).is_some_and(|rest| covers("/api", rest));
    let headers = request.headers();
    let text = |name: &str| headers.get(name).map(HeaderValue::as_bytes);
    let accepts_pages = headers
        .get(ACCEPT)
        .and_then(|accept| accept.to_str().ok())
        .is_some_and(|accept| accept.contains("text/html"));
    let is_page = matches!(*request.method(), Method::GET | Method::HEAD)
        && accepts_pages
        && !is_api("")
        && !is_api(&app.settings.path)
        && !headers.contains_key(UPGRADE)
        && text("x-requested-with").is_none()
        && text("sec-fetch-mode").is_none_or(|mode| mode == b"navigate")
        && text("sec-fetch-dest").is_none_or(|dest| matches!(dest, b"document" | b"iframe" | b"frame"));
    if is_page { Audience::Browser } else { Audience::Program }
}

/// The answer to a request that the gate refused.
pub(in crate::web) fn refuse(denial: &Denial, app: &App, site: &Site, request: &Request) -> Response {
    match (denial.status, audience(app, request)) {
        (DenialStatus::Forbidden, Audience::Browser) => not_allowed(app, site),
        (_, audience) => respond::denial(denial, site, audience),
    }
}

/// For a person with a session whom the application does not admit.
fn not_allowed(app: &App, site: &Site) -> Response {
    let body = html! {
        main.narrow {
            h1 { "Portcullis" }
            p.alert role="alert" { "You are signed in, but your account may not use the application " (app.name()) "." }
            form method="post" action=(site.path("/auth/logout")) {
                button type="submit" { "Sign out" }
            }
        }
    };
    let page = Page { title: "No access · Portcullis", insecure: false, script: None, signs_out: true };
    respond_with(StatusCode::FORBIDDEN, &page, &body)
}
