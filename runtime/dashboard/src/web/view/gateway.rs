//! The gateway at a glance, and its turns.

use super::moment::{As, moment};
use super::state::{sentence_of, state};
use super::{cut, list, text};
use maud::{Markup, html};
use serde_json::Value;

/// The word for what the gateway does. A drain that has nothing in flight any more has a word of
/// its own.
pub(in crate::web) fn word_of(status: &Value) -> String {
    if status["drained"] == true {
        "drained".to_owned()
    } else {
        text(&status["gateway_state"])
    }
}

/// The state with its facts. `actions` are the buttons of an operator.
pub(in crate::web) fn gateway(status: &Value, now: u64, actions: &Markup) -> Markup {
    let word = word_of(status);
    let sentence = match status["gateway_unknown_because"].as_str() {
        Some(because) => format!("Not known: {}.", cut(because)),
        None => sentence_of(&word).to_owned(),
    };

    html! {
        section.panel aria-labelledby="gateway" {
            h2.unseen #gateway { "Gateway" }
            div.gateway {
                div {
                    (state(&word, Some("state"), true))
                    p #says role="status" { (sentence) }
                }
                dl.facts {
                    div { dt { "Turns in flight" } dd #active { (text(&status["active_agents"])) } }
                    div { dt { "Oldest turn" } dd #oldest { (oldest(status, now)) } }
                    div { dt { "Last change" } dd #updated { (moment("updated", &status["gateway_updated_at"], now, As::Ago)) } }
                }
                (actions)
            }
        }
    }
}

/// The age of the oldest turn that is listed.
pub(super) fn oldest(status: &Value, now: u64) -> Markup {
    // RFC 3339 in UTC sorts by time.
    let starts = list(&status["turns"]).iter().map(|turn| &turn["since"]);
    let since = starts.min_by(|one, other| one.as_str().cmp(&other.as_str()));
    match since {
        Some(since) => moment("oldest", since, now, As::Age),
        None => html! { time data-is="oldest" data-as="age" { "-" } },
    }
}

/// The turns in flight.
pub(in crate::web) fn turns(status: &Value, now: u64) -> Markup {
    let turns = list(&status["turns"]);
    html! {
        section.panel aria-labelledby="turns-title" {
            div.apart { h2 #turns-title { "Turns in flight" } p.muted.small #turns-more { (more(status, turns.len())) } }
            p.muted #turns-none hidden[!turns.is_empty()] { "None." }
            div.scroll #turns-table role="group" aria-labelledby="turns-title" tabindex="0" hidden[turns.is_empty()] {
                table {
                    thead { tr { th scope="col" { "Session" } th.number scope="col" { "Age" } } }
                    tbody #turns { @for one in turns { (turn(one, now)) } }
                }
            }
            template #turn-row { (turn(&Value::Null, now)) }
        }
    }
}

fn turn(turn: &Value, now: u64) -> Markup {
    html! {
        tr {
            td data-is="session" { (text(&turn["session"])) }
            td.number { (moment("since", &turn["since"], now, As::Age)) }
        }
    }
}

/// How many turns there are, where not all are listed.
fn more(status: &Value, listed: usize) -> String {
    match status["active_agents"].as_u64() {
        Some(all) if all > listed as u64 && listed > 0 => format!("{listed} of {all}"),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn reason_of_an_unknown_state_takes_the_place_of_its_sentence() {
        let status =
            json!({"gateway_state": "unknown", "gateway_unknown_because": "the file is <damaged>"});
        let shown = gateway(&status, 0, &html! {}).into_string();
        assert!(
            shown.contains("the file is &lt;damaged&gt;") && shown.contains("#shape-diamond"),
            "{shown}"
        );
        assert!(
            shown.contains(r#"<span id="state">unknown</span>"#),
            "{shown}"
        );
    }

    #[test]
    fn drain_without_turns_is_drained() {
        let status = json!({"gateway_state": "draining", "drained": true});
        assert_eq!(word_of(&status), "drained");
        assert_eq!(word_of(&json!({"gateway_state": "draining"})), "draining");
        assert_eq!(word_of(&json!({})), "unknown");
    }

    #[test]
    fn oldest_turn_is_the_one_with_the_earliest_start() {
        let turn =
            |second: u8| json!({"session": "s", "since": format!("1970-01-01T00:00:{second:02}Z")});
        let status = json!({"turns": [turn(30), turn(10), turn(20)]});
        assert!(oldest(&status, 40).into_string().ends_with(">30 s</time>"));
        assert!(
            oldest(&json!({"turns": []}), 40)
                .into_string()
                .ends_with(">-</time>")
        );
    }

    #[test]
    fn count_is_shown_where_not_all_turns_are_listed() {
        assert_eq!(more(&json!({"active_agents": 70}), 64), "64 of 70");
        assert_eq!(more(&json!({"active_agents": 3}), 3), "");
        assert_eq!(
            more(&json!({"active_agents": 3}), 0),
            "",
            "a viewer sees the number alone"
        );
        assert_eq!(more(&json!({"active_agents": null}), 0), "");
    }
}
