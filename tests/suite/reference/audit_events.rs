//! `docs/reference/audit-events.md`, from the events of the audit log.

use super::check_page;
use portcullis_dashboard::audit::EventName;
use std::collections::BTreeSet;
use std::fmt::Write;

/// As the log has it.
fn name(event: EventName) -> String {
    let name = serde_json::to_value(event).expect("an event is a word");
    name.as_str().expect("an event is a word").to_owned()
}

#[test]
fn every_event_of_the_audit_log_is_listed_once() {
    let names: BTreeSet<_> = EventName::ALL.into_iter().map(name).collect();
    assert_eq!(names.len(), EventName::ALL.len());
    // Of the last one in the definition.
    assert_eq!(
        names.len(),
        EventName::Checkpoint as usize + 1,
        "`EventName::ALL` lacks an event"
    );
}

#[test]
fn page_of_audit_events_is_made_of_the_definition() {
    let mut text = String::from(
        "# Events of the audit log\n\nMade from the definition of the events by `tests/suite/reference`; [audit.md](../audit.md) has \
         their fields, and what happens in a flood.\n\n\
         | event | meaning | `dashboard-auth-important.log` has it | in a flood |\n|---|---|---|---|\n",
    );
    for event in EventName::ALL {
        let important = if event.is_important() { "yes" } else { "no" };
        let flood = if event.can_flood() {
            "thinned"
        } else {
            "always written"
        };
        writeln!(
            text,
            "| `{}` | {} | {important} | {flood} |",
            name(event),
            event.about()
        )
        .expect("a string");
    }
    check_page("audit-events.md", &text);
}
