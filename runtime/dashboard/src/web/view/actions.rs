//! What an operator can do from the page. A button opens a dialog, and the dialog's own button
//! confirms. Without the page's script the dialogs stand open, and their forms work alone.

use super::banner::owners;
use maud::{Markup, html};
use portcullis_home::MAX_RESTART_GRACE_SECONDS;
use portcullis_home::{MAX_REASON_CHARS, MAX_TTL_SECONDS};
use serde_json::Value;

/// Lengths of a drain that the form offers, in seconds, with their names.
const LENGTHS: &[(u64, &str)] = &[
    (900, "15 minutes"),
    (3_600, "1 hour"),
    (14_400, "4 hours"),
    (43_200, "12 hours"),
    (86_400, "1 day"),
];
const _: () = assert!(
    MAX_TTL_SECONDS >= 86_400,
    "every length that is offered is accepted"
);

/// Where the forms lead, and what they are about.
pub(in crate::web) struct Actions<'a> {
    /// The path that begins and ends drains.
    pub(in crate::web) drain: &'a str,
    /// The path that restarts the gateway.
    pub(in crate::web) restart: &'a str,
    /// The name under which the person holds a drain.
    pub(in crate::web) name: &'a str,
    pub(in crate::web) status: &'a Value,
    pub(in crate::web) now: u64,
}

/// The markup of the actions, by where it is shown.
pub(in crate::web) struct Shown {
    /// The buttons beside the state of the gateway.
    pub(in crate::web) buttons: Markup,
    /// The button in the banner of a drain.
    pub(in crate::web) end: Markup,
    /// The dialogs that the buttons open.
    pub(in crate::web) dialogs: Markup,
}

pub(in crate::web) fn actions(about: &Actions<'_>) -> Shown {
    let is_stopped = about.status["gateway_state"] == "stopped";
    Shown {
        buttons: html! {
            div.actions {
                button #begin type="button" data-opens="begin-dialog" { "Begin a drain…" }
                button.plain #restart type="button" data-opens="restart-dialog" disabled[is_stopped] { "Restart…" }
            }
        },
        end: html! { button.plain #end type="button" data-opens="end-dialog" { "End the drain…" } },
        dialogs: html! { (begin(about, is_stopped)) (end(about)) (restart(about)) (end_session()) },
    }
}

/// Leaves a dialog without doing anything.
fn back(label: &str) -> Markup {
    html! { button.plain type="button" data-closes="" { (label) } }
}

fn begin(about: &Actions<'_>, is_stopped: bool) -> Markup {
    html! {
        dialog #begin-dialog aria-labelledby="begin-title" {
            h2 #begin-title { "Begin a drain" }
            p { "The gateway refuses new turns. Turns in flight run to their end. A drain that you hold already is renewed." }
            p.muted #begin-stopped hidden[!is_stopped] { "No gateway runs now. The drain holds for the next one." }
            form #drain-form method="post" action=(about.drain) data-api="/api/drain" {
                input type="hidden" name="action" value="drain";
                div.field {
                    label for="drain-reason" { "Reason" }
                    input #drain-reason name="reason" maxlength=(MAX_REASON_CHARS) autocomplete="off" aria-describedby="drain-reason-hint";
                    p.hint #drain-reason-hint { "Other operators and the audit log see it." }
                }
                div.field {
                    label for="drain-length" { "Ends by itself after" }
                    select #drain-length name="ttl_seconds" {
                        @for (seconds, name) in LENGTHS { option value=(seconds) selected[*seconds == 3_600] { (name) } }
                    }
                }
                p.failed role="status" {}
                div.buttons { (back("Back")) button type="submit" { "Begin the drain" } }
            }
        }
    }
}

fn end(about: &Actions<'_>) -> Markup {
    let drain = &about.status["drain"];
    let is_mine = |holder: &Value| holder["owner"] == about.name;
    let holders = super::list(&drain["holders"]);
    let is_shared = holders.iter().any(is_mine) && holders.len() > 1;

    html! {
        dialog #end-dialog aria-labelledby="end-title" hidden[drain["active"] != true] {
            h2 #end-title { "End the drain?" }
            p { "The gateway accepts new turns again. This ends the drains of:" }
            (owners("end-holders", drain, about.now))
            form method="post" action=(about.drain) data-api="/api/drain" {
                input type="hidden" name="action" value="cancel";
                p.failed role="status" {}
                div.buttons {
                    (back("Keep draining"))
                    button.plain #end-mine type="submit" hidden[!is_shared] { "End mine" }
                    // A person can always end a drain, also the drain of another owner.
                    button.danger type="submit" name="force" value="true" { "End the drain" }
                }
            }
        }
    }
}

fn restart(about: &Actions<'_>) -> Markup {
    let configured = about.status["restart_drain_timeout"]
        .as_f64()
        .unwrap_or_default();
    html! {
        dialog #restart-dialog aria-labelledby="restart-title" {
            h2 #restart-title { "Restart the gateway?" }
            p { "This ends every drain, and every turn in flight after a grace. The gateway then accepts turns again." }
            form #restart-form method="post" action=(about.restart) data-api="/api/restart" {
                div.field {
                    label for="restart-reason" { "Reason" }
                    input #restart-reason name="reason" maxlength=(MAX_REASON_CHARS) autocomplete="off";
                }
                div.field {
                    label for="restart-grace" { "Grace in seconds" }
                    input #restart-grace type="number" name="grace_seconds" min="0" max=(MAX_RESTART_GRACE_SECONDS)
                        placeholder=(configured) autocomplete="off" aria-describedby="restart-grace-hint";
                    p.hint #restart-grace-hint { "Left empty: " (configured) " seconds." }
                }
                p.failed role="status" {}
                div.buttons { (back("Back")) button.danger type="submit" { "Restart now" } }
            }
        }
    }
}

/// Works by the page's script alone: a form cannot send `DELETE`.
fn end_session() -> Markup {
    html! {
        dialog #session-dialog aria-labelledby="session-title" hidden {
            h2 #session-title { "End the session?" }
            p { b #session-whose {} " is signed out at once, and has to sign in again." }
            p #session-own hidden { "It is your own session, in this browser." }
            form #session-form {
                p.failed role="status" {}
                div.buttons { (back("Back")) button.danger type="submit" { "End the session" } }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn dialogs(status: &Value) -> String {
        let about = Actions {
            drain: "/api/drain",
            restart: "/api/restart",
            name: "ada",
            status,
            now: 0,
        };
        actions(&about).dialogs.into_string()
    }

    #[test]
    fn end_of_ones_own_drain_is_offered_where_others_drain_too() {
        let with = |owners: &[&str]| {
            let holders: Vec<_> = owners.iter().map(|owner| json!({"owner": owner})).collect();
            dialogs(&json!({"drain": {"active": true, "holders": holders}}))
        };
        let hidden = r#"id="end-mine" type="submit" hidden"#;
        assert!(with(&["ada"]).contains(hidden) && with(&["ci", "nas"]).contains(hidden));
        assert!(!with(&["ada", "ci"]).contains(hidden));
    }

    #[test]
    fn drain_that_is_not_on_cannot_be_ended() {
        let hidden = r#"aria-labelledby="end-title" hidden"#;
        assert!(dialogs(&json!({"drain": {"active": false}})).contains(hidden));
        assert!(!dialogs(&json!({"drain": {"active": true}})).contains(hidden));
    }
}
