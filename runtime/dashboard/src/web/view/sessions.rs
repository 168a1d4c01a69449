//! The sessions of people, of which an operator can end each.

use super::moment::{As, moment};
use super::{list, text};
use maud::{Markup, html};
use serde_json::Value;

/// Sessions that are listed: those that were used last.
const LISTED: usize = 50;

/// The sessions as `GET /api/sessions` shows them, in that order.
pub(in crate::web) fn sessions(sessions: &Value, now: u64) -> Markup {
    let mut shown: Vec<_> = list(sessions).iter().collect();
    // RFC 3339 in UTC sorts by time.
    shown.sort_by(|one, other| other["last_seen"].as_str().cmp(&one["last_seen"].as_str()));
    let all = shown.len();
    shown.truncate(LISTED);

    html! {
        section.panel aria-labelledby="sessions-title" {
            div.apart { h2 #sessions-title { "Signed in" } p.muted.small #sessions-count { (count(shown.len(), all)) } }
            div.scroll role="group" aria-labelledby="sessions-title" tabindex="0" {
                table.stack {
                    thead { tr { th scope="col" { "Person" } th scope="col" { "Last request" } th scope="col" { span.unseen { "Action" } } } }
                    tbody #sessions { @for session in shown { (row(session, now)) } }
                }
            }
            template #session-row { (row(&Value::Null, now)) }
        }
    }
}

/// How many sessions there are, and how many of them are listed.
fn count(listed: usize, all: usize) -> String {
    match all {
        1 => "1 session".to_owned(),
        all if all > listed => format!("the last {listed} of {all} sessions"),
        all => format!("{all} sessions"),
    }
}

fn row(session: &Value, now: u64) -> Markup {
    let user = text(&session["user_id"]);
    html! {
        tr data-id=[session["id"].as_str()] {
            td {
                b data-is="user" { (user) } " " span.muted.small data-is="provider" { (text(&session["provider"])) }
                br;
                span.muted.small data-is="client" title=[session["user_agent"].as_str()] { (client(session)) }
            }
            td {
                (moment("seen", &session["last_seen"], now, As::Ago))
                br;
                span.muted.small { "since " (moment("since", &session["since"], now, As::Ago)) }
            }
            td.number { button.plain.slight type="button" data-ends="" { "End" span.unseen { " the session of " span data-is="whose" { (user) } } } }
        }
    }
}

/// Where a session was last used from.
fn client(session: &Value) -> String {
    let here = (session["current"] == true).then_some("this browser");
    let parts = [
        here,
        session["client"].as_str(),
        session["address"].as_str(),
    ];
    parts.into_iter().flatten().collect::<Vec<_>>().join(" · ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn sessions_used_last_come_first_and_the_rest_is_counted() {
        let session = |minute: usize| {
            json!({"id": "i", "user_id": format!("u{minute}"), "provider": "p",
            "last_seen": format!("1970-01-01T01:{:02}:{:02}Z", minute / 60, minute % 60)})
        };
        let all: Vec<_> = (0..60).map(session).collect();
        let shown = sessions(&all.into(), 7_200).into_string();
        let at = |user: &str| shown.find(&format!(">{user}<"));
        assert!(at("u59") < at("u58") && at("u59").is_some(), "{shown}");
        assert!(
            at("u9").is_none() && shown.contains("the last 50 of 60 sessions"),
            "{shown}"
        );
    }

    #[test]
    fn what_a_session_says_of_itself_is_text() {
        let session = json!({"id": "i", "user_id": "<i>", "provider": "p", "user_agent": "\"><b>", "client": "curl",
            "address": "192.0.2.1", "current": true});
        let shown = row(&session, 0).into_string();
        assert!(
            shown.contains("&lt;i&gt;") && !shown.contains("<b>\"") && !shown.contains("\"><b>"),
            "{shown}"
        );
        assert!(shown.contains("this browser · curl · 192.0.2.1"), "{shown}");
    }

    #[test]
    fn counts_are_right_for_one_and_many() {
        assert_eq!(
            (count(1, 1).as_str(), count(0, 0).as_str()),
            ("1 session", "0 sessions")
        );
    }
}
