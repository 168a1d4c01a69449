//! Answers to requests that do not reach an application.

use super::super::branding::Branding;
use super::super::page;
use super::super::respond::{self, Audience};
use super::super::site::Site;
use super::paths::{as_read, covers};
use super::table::App;
use axum::extract::Request;
use axum::http::header::UPGRADE;
use axum::http::uri::PathAndQuery;
use axum::http::{HeaderValue, Method, Uri};
use axum::response::Response;
use portcullis_auth::{Denial, DenialStatus};
use std::borrow::Cow;

/// Returns who reads a refusal: a browser that opens a page, or a program. The script of a page
/// counts as a program.
pub(in crate::web) fn audience(app: &App, request: &Request) -> Audience {
    let headers = request.headers();
    let text = |name: &str| headers.get(name).map(HeaderValue::as_bytes);
    let is_page = matches!(*request.method(), Method::GET | Method::HEAD)
        && respond::shows_pages(headers)
        && !is_api(app, request.uri().path())
        && !headers.contains_key(UPGRADE)
        && text("x-requested-with").is_none()
        && text("sec-fetch-mode").is_none_or(|mode| mode == b"navigate")
        && text("sec-fetch-dest")
            .is_none_or(|dest| matches!(dest, b"document" | b"iframe" | b"frame"));

    if is_page {
        Audience::Browser
    } else {
        Audience::Program
    }
}

/// Returns whether programs alone call the path: it lies below `/api`, of the host or of the
/// application.
fn is_api(app: &App, path: &str) -> bool {
    let path = as_read(path);
    let is_below = |root: &str| {
        path.strip_prefix(root)
            .is_some_and(|rest| covers("/api", rest))
    };
    is_below("") || is_below(&app.settings.path)
}

/// Where a person comes back to after signing in: the page that was asked for, or the first page of
/// the application, if a script of it called its API.
pub(in crate::web) fn target<'a>(app: &App, uri: &'a Uri) -> Cow<'a, str> {
    match is_api(app, uri.path()) {
        true => format!("{}/", app.settings.path).into(),
        false => uri
            .path_and_query()
            .map_or("/", PathAndQuery::as_str)
            .into(),
    }
}

/// The answer to a request that the gate refused.
pub(in crate::web) fn refuse(
    denial: &Denial,
    app: &App,
    site: &Site,
    branding: &Branding,
    request: &Request,
) -> Response {
    match (denial.status(), audience(app, request)) {
        (DenialStatus::Forbidden, Audience::Browser) => not_allowed(app, site, branding),
        (_, audience) => respond::denial(denial, site, branding, audience),
    }
}

/// The page for a person with a session who may not use the application.
fn not_allowed(app: &App, site: &Site, branding: &Branding) -> Response {
    let name = app.name();
    let message =
        format!("You are signed in, but your account may not use the application {name}.");
    page::no_access(site, branding, &message)
}
