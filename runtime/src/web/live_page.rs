//! The live page: what the gateway, the drain, the turns and the providers are doing. What it says is there
//! without its script, which keeps it up to date.

use super::live::Moment;
use super::site::Site;
use super::{Dashboard, PageSettings};
use crate::auth::Session;
use crate::drain::MAX_REASON_CHARS;
use crate::gateway::MAX_RESTART_GRACE_SECONDS;
use maud::{Markup, html};
use serde_json::{Value, json};

const SCRIPT: &str = include_str!("live_page.js");

/// The page's script, and what it needs to know. The process token is in it only where people do not sign in.
/// `mount` stands before the dashboard's own paths.
pub(super) fn script(site: &Site, mount: &str, page: &PageSettings) -> String {
    let token = (!page.auth_required).then(|| page.process_token.expose());
    let settings =
        script_json(&json!({"prefix": site.prefix, "mount": mount, "signedIn": page.auth_required}));
    let token = token.map(|token| format!("window.__HERMES_SESSION_TOKEN__={};", script_json(&token.into())));
    format!("{}window.__PORTCULLIS__={settings};\n{SCRIPT}", token.unwrap_or_default())
}

/// JSON that cannot end its script element.
fn script_json(value: &Value) -> String {
    value.to_string().replace('<', "\\u003c").replace('>', "\\u003e")
}

/// What the page shows, and to whom.
pub(super) struct Viewed<'a> {
    pub(super) session: Option<&'a Session>,
    pub(super) moment: &'a Moment,
    pub(super) is_operator: bool,
}

pub(super) fn body(site: &Site, mount: &str, viewed: &Viewed<'_>, dashboard: &Dashboard) -> Markup {
    let own_path = |path: &str| site.path(&format!("{mount}{path}"));
    let Viewed { session, moment, is_operator } = *viewed;
    html! {
        header.bar {
            h1 { "Portcullis" }
            p #connection.muted role="status" { "" }
            @if let Some(session) = session {
                form.inline method="post" action=(site.path("/auth/logout")) {
                    span.muted { (name_of(session)) }
                    button.quiet type="submit" { "Sign out" }
                }
            }
        }
        main {
            (gateway(&moment.status))
            @if is_operator && !dashboard.page.insecure {
                (drain(&own_path(super::PAGE_DRAIN_PATH), &moment.status))
                (restart(&own_path(super::PAGE_RESTART_PATH), &moment.status))
            }
            @if is_operator {
                (turns(&moment.status))
                (providers(&moment.providers))
                (audit())
            }
        }
    }
}

fn name_of(session: &Session) -> &str {
    let claims = &session.claims;
    let names = [&claims.display_name, &claims.email, &claims.user_id];
    names.into_iter().find(|name| !name.is_empty()).map_or("", String::as_str)
}

fn text(value: &Value) -> String {
    match value {
        Value::Null => "unknown".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn gateway(status: &Value) -> Markup {
    html! {
        section.card aria-labelledby="gateway" {
            h2 #gateway { "Gateway" }
            dl aria-live="polite" {
                dt { "State" } dd #state { (text(&status["gateway_state"])) }
                dt { "Why unknown" } dd #unknown-because { (status["gateway_unknown_because"].as_str().unwrap_or("-")) }
                dt { "Turns in flight" } dd #active { (text(&status["active_agents"])) }
                dt { "Last change" } dd #updated { (text(&status["gateway_updated_at"])) }
            }
        }
    }
}

fn drain(path: &str, status: &Value) -> Markup {
    let drain = &status["drain"];
    let is_active = drain["active"] == true;
    let (action, label) = if is_active { ("cancel", "Cancel the drain") } else { ("drain", "Begin a drain") };
    html! {
        section.card aria-labelledby="drain-title" {
            h2 #drain-title { "Drain" }
            dl aria-live="polite" {
                dt { "Drain" } dd #drain { @if is_active { "on" } @else { "off" } }
                dt { "By" } dd #drain-by { (holders(drain)) }
                dt { "Since" } dd #drain-since { (text(&drain["requested_at"])) }
                dt { "Until" } dd #drain-until { (text(&drain["expires_at"])) }
            }
            form #drain-form method="post" action=(path) {
                input #drain-action type="hidden" name="action" value=(action);
                // A person can always end a drain, also the drain of another owner.
                input type="hidden" name="force" value="true";
                button #drain-button type="submit" { (label) }
                p #drain-message role="status" { "" }
            }
        }
    }
}

/// The button opens the form, and the form's own button confirms.
fn restart(path: &str, status: &Value) -> Markup {
    let configured = status["restart_drain_timeout"].as_f64().unwrap_or_default();
    html! {
        section.card aria-labelledby="restart-title" {
            h2 #restart-title { "Restart" }
            details #restart {
                summary.button { "Restart the gateway" }
                form #restart-form method="post" action=(path) {
                    p { "This ends every drain, and every turn in flight after a grace. The gateway then accepts turns again." }
                    label for="restart-grace" { "Grace in seconds (empty: " (configured) ")" }
                    input #restart-grace type="number" name="grace_seconds" min="0" max=(MAX_RESTART_GRACE_SECONDS) autocomplete="off";
                    label for="restart-reason" { "Reason" }
                    input #restart-reason type="text" name="reason" maxlength=(MAX_REASON_CHARS) autocomplete="off";
                    button #restart-button type="submit" { "Restart now" }
                }
            }
            p #restart-message role="status" { "" }
        }
    }
}

/// The owners of a drain with their reasons; else the principal, for a drain that the original began.
fn holders(drain: &Value) -> String {
    let holders = drain["holders"].as_array().map(Vec::as_slice).unwrap_or_default();
    let named = holders.iter().map(|holder| match holder["reason"].as_str() {
        Some(reason) => format!("{} ({reason})", text(&holder["owner"])),
        None => text(&holder["owner"]),
    });
    let named: Vec<_> = named.collect();
    if named.is_empty() { text(&drain["principal"]) } else { named.join(", ") }
}

fn turns(status: &Value) -> Markup {
    let turns = status["turns"].as_array().map(Vec::as_slice).unwrap_or_default();
    html! {
        section.card.wide aria-labelledby="turns-title" {
            h2 #turns-title { "Turns in flight" }
            div.scroll role="group" aria-labelledby="turns-title" tabindex="0" {
                table {
                    thead { tr { th scope="col" { "Session" } th scope="col" { "Since" } th scope="col" { "Age" } } }
                    tbody #turns {
                        @for turn in turns {
                            tr { td { (text(&turn["session"])) } td { (text(&turn["since"])) } td { "" } }
                        }
                        @if turns.is_empty() { tr { td.muted colspan="3" { "none" } } }
                    }
                }
            }
        }
    }
}

fn providers(providers: &Value) -> Markup {
    let providers = providers.as_array().map(Vec::as_slice).unwrap_or_default();
    html! {
        section.card.wide aria-labelledby="providers-title" {
            h2 #providers-title { "Providers" }
            div.scroll role="group" aria-labelledby="providers-title" tabindex="0" {
                table {
                    thead { tr {
                        th scope="col" { "Name" } th scope="col" { "State" } th scope="col" { "Median" } th scope="col" { "p99" } th scope="col" { "CPU" } th scope="col" { "Held up" } th scope="col" { "Last fault" }
                    } }
                    tbody #providers {
                        @for provider in providers {
                            @let health = &provider["health"];
                            tr {
                                td { (text(&provider["name"])) }
                                td { @if health.is_null() { "native" } @else { (text(&health["state"])) } }
                                td { (milliseconds(&health["latency"]["median_seconds"])) }
                                td { (milliseconds(&health["latency"]["p99_seconds"])) }
                                td { (seconds(&health["spent"]["cpu_seconds"])) }
                                td { (seconds(&health["spent"]["held_up_seconds"])) }
                                td { (health["faults"][0]["reason"].as_str().unwrap_or("none")) }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn seconds(seconds: &Value) -> String {
    seconds.as_f64().map_or_else(|| "-".to_owned(), |seconds| format!("{seconds:.1} s"))
}

fn milliseconds(seconds: &Value) -> String {
    seconds.as_f64().map_or_else(|| "-".to_owned(), |seconds| format!("{:.2} ms", seconds * 1e3))
}

fn audit() -> Markup {
    html! {
        section.card.wide aria-labelledby="audit-title" {
            h2 #audit-title { "Audit" }
            label for="audit-filter" { "Filter" }
            input #audit-filter type="search" placeholder="event, provider, address…" autocomplete="off";
            div.scroll role="group" aria-labelledby="audit-title" tabindex="0" {
                table {
                    thead { tr { th scope="col" { "Time" } th scope="col" { "Event" } th scope="col" { "Details" } } }
                    tbody #audit { tr { td.muted colspan="3" { "The tail of the log appears here while the page's script runs." } } }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_cannot_end_their_script() {
        assert_eq!(script_json(&"a\"</script>".into()), r#""a\"\u003c/script\u003e""#);
    }
}
