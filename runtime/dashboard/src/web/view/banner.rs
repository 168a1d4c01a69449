//! The drain above everything else, while there is one: its owners with their reasons, since when,
//! until when, and what is still in flight.

use super::gateway::{oldest, word_of};
use super::moment::{As, moment};
use super::state::{shape, tone_of};
use super::{list, text};
use maud::{Markup, html};
use serde_json::Value;

/// The banner, which is hidden without a drain. `button` leads to its end.
pub(in crate::web) fn banner(status: &Value, now: u64, button: &Markup) -> Markup {
    let drain = &status["drain"];
    let is_active = drain["active"] == true;
    let look = look_word(status);

    html! {
        section.notice #drain-notice data-tone=(tone_of(look)) aria-labelledby="drain-title" hidden[!is_active] {
            (shape(look))
            div {
                h2 #drain-title {
                    span data-is="says" { (says(status)) }
                    span data-is="age" hidden[list(&status["turns"]).is_empty()] { ", the oldest for " (oldest(status, now)) }
                }
                p {
                    "Begun " (moment("since", &drain["requested_at"], now, As::Ago)) ", ends "
                    (end("until", drain, now))
                }
                (owners("holders", drain, now))
            }
            (button)
        }
        template #owner-row { (owner(&Value::Null, now)) }
    }
}

/// The look of a drain: `drained` once nothing is in flight.
fn look_word(status: &Value) -> &'static str {
    if status["drained"] == true {
        "drained"
    } else {
        "draining"
    }
}

/// What the drain has come to.
fn says(status: &Value) -> String {
    let word = word_of(status);
    match (word.as_str(), status["active_agents"].as_u64()) {
        ("drained", _) => "Drained: no turn is in flight".to_owned(),
        ("draining", Some(1)) => "Draining: 1 turn is still in flight".to_owned(),
        ("draining", Some(turns)) => format!("Draining: {turns} turns are still in flight"),
        (word, _) => format!("A drain is on, and the gateway is {word}"),
    }
}

/// When a drain or a lease ends.
fn end(slot: &str, of: &Value, now: u64) -> Markup {
    let has_end = !of["expires_at"].is_null();
    html! {
        span hidden[!has_end] { (moment(slot, &of["expires_at"], now, As::Ago)) }
        span data-is="endless" hidden[has_end] { "when it is cancelled" }
    }
}

/// The leases of a drain. A drain of no owner has none.
pub(super) fn owners(id: &str, drain: &Value, now: u64) -> Markup {
    html! {
        ul.owners id=(id) {
            @for holder in list(&drain["holders"]) { (owner(holder, now)) }
        }
    }
}

fn owner(holder: &Value, now: u64) -> Markup {
    let reason = holder["reason"]
        .as_str()
        .filter(|reason| !reason.is_empty());
    html! {
        li {
            b data-is="owner" { (text(&holder["owner"])) }
            span data-is="reason" { (reason.unwrap_or("no reason given")) }
            span.muted.small {
                "begun " (moment("since", &holder["requested_at"], now, As::Ago)) ", ends " (end("until", holder, now))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn banner_says_what_the_drain_has_come_to() {
        for (status, said) in [
            (
                json!({"gateway_state": "draining", "active_agents": 1}),
                "Draining: 1 turn is still in flight",
            ),
            (
                json!({"gateway_state": "draining", "active_agents": 3}),
                "Draining: 3 turns are still in flight",
            ),
            (
                json!({"gateway_state": "draining", "drained": true}),
                "Drained: no turn is in flight",
            ),
            (
                json!({"gateway_state": "draining", "active_agents": null}),
                "A drain is on, and the gateway is draining",
            ),
            (
                json!({"gateway_state": "stopped", "active_agents": 0}),
                "A drain is on, and the gateway is stopped",
            ),
        ] {
            assert_eq!(says(&status), said);
        }
    }

    #[test]
    fn owners_are_named_with_their_reasons_as_text() {
        let drain = json!({"active": true, "requested_at": "1970-01-01T00:00:00Z", "expires_at": null, "principal": "x",
            "holders": [{"owner": "ci", "reason": "<upgrade>", "requested_at": "1970-01-01T00:00:00Z", "expires_at": null}]});
        let shown = banner(&json!({"drain": drain}), 60, &html! {}).into_string();
        assert!(
            shown.contains("&lt;upgrade&gt;") && !shown.contains(">x<"),
            "{shown}"
        );
        assert!(
            !shown.contains("labelledby=\"drain-title\" hidden"),
            "{shown}"
        );
        let of_no_owner = json!({"drain": {"active": true, "holders": [], "principal": "nas"}});
        let shown = banner(&of_no_owner, 60, &html! {}).into_string();
        assert!(!shown.contains("nas"), "leases alone name owners: {shown}");
        let none = banner(&json!({"drain": {"active": false}}), 60, &html! {}).into_string();
        assert!(none.contains("labelledby=\"drain-title\" hidden"), "{none}");
    }
}
