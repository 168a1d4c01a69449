//! The live page: what the gateway, the drain, the turns, the providers and the people are doing.
//! What it says is there without its script, which keeps it up to date.

use super::branding::Branding;
use super::live::LiveState;
use super::routes::OPENAPI_PATH;
use super::site::Site;
use super::view::{self, Actions, Shown};
use super::{PAGE_DRAIN_PATH, PAGE_RESTART_PATH, PageSettings, page};
use maud::{Markup, html};
use portcullis_auth::{Role, Session};
use serde_json::{Value, json};

const SCRIPT: &str = include_str!("live_page.js");

/// What the page shows, and to whom.
pub(super) struct Viewed<'a> {
    pub(super) site: &'a Site,
    /// Stands before the dashboard's own paths.
    pub(super) mount: &'a str,
    pub(super) page: &'a PageSettings,
    pub(super) branding: &'a Branding,
    pub(super) moment: &'a LiveState,
    /// The person who looks, where people sign in.
    pub(super) person: Option<SignedInPerson<'a>>,
    /// Whether the reader sees what only operators see.
    pub(super) is_operator: bool,
    /// Seconds since the Unix epoch.
    pub(super) now: u64,
    /// Whether a session opens `/metrics`, or this process's token where people do not sign in.
    pub(super) opens_metrics: bool,
}

/// A person with a session.
pub(super) struct SignedInPerson<'a> {
    pub(super) session: &'a Session,
    pub(super) role: Option<Role>,
    /// The sessions that the person may see.
    pub(super) sessions: Value,
}

/// The name under which callers without a session hold a drain.
const PROCESS_NAME: &str = "dashboard";

impl Viewed<'_> {
    /// The page's script, and what it needs to know. The process token is in it only where people
    /// do not sign in.
    pub(super) fn script(&self) -> String {
        let Self { site, page, .. } = self;
        let token = (!page.auth_required).then(|| page.process_token.expose());

        let settings = script_json(&json!({
            "prefix": site.prefix,
            "mount": self.mount,
            "signedIn": page.auth_required,
            "title": self.branding.name(),
            "name": self.name(),
            "version": self.moment.status["version"],
            "looks": view::looks(),
            "now": self.now,
        }));

        let token = token.map(|token| {
            format!(
                "window.__HERMES_SESSION_TOKEN__={};",
                script_json(&token.into())
            )
        });
        format!(
            "{}window.__PORTCULLIS__={settings};\n{SCRIPT}",
            token.unwrap_or_default()
        )
    }

    /// The state of the gateway and the name of the dashboard, for the browser's tab.
    pub(super) fn title(&self) -> String {
        format!(
            "{} · {}",
            view::word_of(&self.moment.status),
            self.branding.name()
        )
    }

    pub(super) fn body(&self) -> Markup {
        let (status, now) = (&self.moment.status, self.now);
        let shown = self.actions();
        let (buttons, end) = shown
            .as_ref()
            .map(|shown| (&shown.buttons, &shown.end))
            .unzip();
        let nothing = html! {};

        html! {
            (view::shapes())
            (self.bar())
            main {
                (stale())
                (view::banner(status, now, end.unwrap_or(&nothing)))
                (view::gateway(status, now, buttons.unwrap_or(&nothing)))
                @if let Some(shown) = &shown { (shown.dialogs) }
                div.pair {
                    @if self.is_operator { (view::turns(status, now)) }
                    @if let Some(person) = &self.person { (view::sessions(&person.sessions, now)) }
                }
                @if self.is_operator {
                    (view::providers(&self.moment.providers, now))
                    (audit())
                }
            }
            (self.foot())
        }
    }

    /// What the reader can do. `None` for viewers, and where everyone who reaches the page would be
    /// able to.
    fn actions(&self) -> Option<Shown> {
        if !self.is_operator || self.page.insecure {
            return None;
        }
        let own_path = |path: &str| self.site.path(&format!("{}{path}", self.mount));
        Some(view::actions(&Actions {
            drain: &own_path(PAGE_DRAIN_PATH),
            restart: &own_path(PAGE_RESTART_PATH),
            name: self.name(),
            status: &self.moment.status,
            now: self.now,
        }))
    }

    /// The owner of the drains that the reader begins.
    fn name(&self) -> &str {
        self.person.as_ref().map_or(PROCESS_NAME, |person| {
            person.session.claims().user_id.as_str()
        })
    }

    fn bar(&self) -> Markup {
        let machine = self.page.machine.as_str();
        html! {
            header.bar {
                div {
                    div.brand {
                        (page::logo(self.site, self.branding))
                        div {
                            h1 { (self.branding.name()) }
                            p.muted.small {
                                (self.site.shown_host())
                                @if !machine.is_empty() { " on " span.mono title="The machine that the dashboard runs on" { (machine) } }
                            }
                        }
                    }
                    p.scripted role="status" { (view::state("connecting", Some("connection"), false)) }
                    @if let Some(SignedInPerson { session, role, .. }) = &self.person {
                        form.person method="post" action=(self.site.path("/auth/logout")) {
                            span { bdi { (name_of(session)) } @if let Some(role) = role { " " span.muted.small { (role) } } }
                            button.plain.slight type="submit" { "Sign out" }
                        }
                    }
                }
            }
        }
    }

    /// The link to the metrics. Without sign-in this process's token opens them, which only the
    /// script can send.
    fn metrics(&self) -> Markup {
        const METRICS: &str = "/metrics";
        let url = self.site.path(&format!("{}{METRICS}", self.mount));
        html! {
            @if self.person.is_some() {
                a href=(url) { "Metrics" }
            } @else {
                a.scripted href=(url) data-fetches=(METRICS) { "Metrics" }
            }
        }
    }

    fn foot(&self) -> Markup {
        html! {
            footer {
                span { "Portcullis " (self.moment.status["version"].as_str().unwrap_or_default()) }
                @if self.is_operator && self.opens_metrics { (self.metrics()) }
                a href=(self.site.path(OPENAPI_PATH)) { "API description (OpenAPI)" }
                span.scripted { "Times are in this browser's time zone." }
            }
        }
    }
}

/// JSON that cannot end its script element.
fn script_json(value: &Value) -> String {
    value
        .to_string()
        .replace('<', "\\u003c")
        .replace('>', "\\u003e")
}

fn name_of(session: &Session) -> &str {
    let claims = session.claims();
    let names = [&claims.display_name, &claims.email, &claims.user_id];
    names
        .into_iter()
        .find(|name| !name.is_empty())
        .map_or("", String::as_str)
}

/// Shown while the page is not up to date.
fn stale() -> Markup {
    html! {
        section.notice #stale data-tone="wait" hidden aria-labelledby="stale-title" {
            (view::shape("not live"))
            div {
                h2 #stale-title { "This page is not up to date" }
                p { span #stale-because {} " It shows what held " time #stale-since data-as="ago" {} ", and tries again by itself." }
            }
        }
    }
}

fn audit() -> Markup {
    html! {
        section.panel aria-labelledby="audit-title" {
            div.apart {
                h2 #audit-title { "Audit" }
                div.scripted {
                    label.unseen for="audit-filter" { "Filter" }
                    input #audit-filter type="search" placeholder="Filter by any text" autocomplete="off";
                }
            }
            p.muted #audit-none { "The last lines of the log appear here while the page's script runs." }
            p.alert #audit-missed role="status" hidden {}
            div.scroll #audit-lines role="group" aria-labelledby="audit-title" tabindex="0" hidden { ol.log #audit {} }
            template #audit-row { li { time data-is="ts" data-as="clock" {} b data-is="event" {} div.fields data-is="fields" {} } }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_cannot_end_their_script() {
        assert_eq!(
            script_json(&"a\"</script>".into()),
            r#""a\"\u003c/script\u003e""#
        );
    }
}
