//! Guests that attack, and the limit that catches each.

use portcullis_tests::{Home, SOON, eventually, get};
use std::time::{Duration, Instant};

const GOOD: &[(&str, &str)] = &[("authorization", "Bearer good-token")];

fn fault_of(guest: &str) -> (Home, serde_json::Value) {
    let home = Home::with_guests(&[guest]);
    let dashboard = home.dashboard();
    let start = Instant::now();
    assert!(
        matches!(get(&dashboard.url("/metrics"), GOOD).status, 401 | 503),
        "{guest}"
    );
    assert!(
        start.elapsed() < Duration::from_secs(5),
        "{guest} was cut off"
    );
    let fault = eventually("the fault is audited", SOON, || {
        let is_fault = |line: &serde_json::Value| line["event"] == "provider_fault";
        let fault = home.audit().into_iter().rfind(is_fault)?;
        if fault["fault"] != "no_time_left" {
            return Some(fault);
        }
        // Other tests had the processor for the whole time of the call.
        get(&dashboard.url("/metrics"), GOOD);
        None
    });
    (home, fault)
}

#[test]
fn each_is_caught_by_its_limit() {
    for (guest, kind, reason) in [
        ("loops", "deadline_exceeded", "300 ms"),
        ("sleeps", "deadline_exceeded", "300 ms"),
        ("hoards", "out_of_memory", "limit 16777216"),
        ("shouts", "malformed", "more than 131072 bytes"),
        ("traps", "trapped", "unreachable"),
        (
            "unreachable",
            "unavailable",
            "the directory does not answer",
        ),
    ] {
        let (_home, fault) = fault_of(guest);
        assert_eq!(
            (&fault["fault"], &fault["provider"]),
            (&kind.into(), &format!("{guest}-0").into()),
            "{fault}"
        );
        assert!(
            fault["reason"]
                .as_str()
                .is_some_and(|found| found.contains(reason)),
            "{guest}: {fault}"
        );
    }
}

#[test]
fn what_a_guest_prints_is_one_escaped_field() {
    let home = Home::with_guests(&["traps"]);
    let dashboard = home.dashboard();
    get(&dashboard.url("/metrics"), GOOD);
    let log = eventually("the output is logged", SOON, || {
        let log = dashboard.log();
        log.contains("a provider printed").then_some(log)
    });
    assert!(!log.contains('\u{1b}'), "{log}");
    assert!(
        log.lines()
            .all(|line| !line.starts_with("2026-01-01T00:00:00Z")),
        "{log}"
    );
    assert!(log.contains("kaboom"));
}

#[test]
fn full_provider_answers_at_once_and_recovers() {
    let home = Home::with_guests(&["sleeps"]);
    let dashboard = home.dashboard();
    let url = dashboard.url("/metrics");
    let calls: Vec<_> = (0..40)
        .map(|_| {
            let url = url.clone();
            std::thread::spawn(move || get(&url, GOOD).status)
        })
        .collect();
    assert!(
        calls
            .into_iter()
            .all(|call| call.join().expect("an answer") == 503)
    );
    let kinds: Vec<_> = eventually("both faults are audited", SOON, || {
        let kinds: Vec<_> = home
            .audit()
            .into_iter()
            .filter_map(|l| l["fault"].as_str().map(str::to_owned))
            .collect();
        (kinds.iter().any(|kind| kind == "saturated")
            && kinds.iter().any(|kind| kind == "deadline_exceeded"))
        .then_some(kinds)
    });
    assert!(
        kinds.len() < 40,
        "faults are logged once per second: {kinds:?}"
    );
    // The slots are given back: the next call runs into its deadline again, not into a full house.
    eventually("a slot is free", SOON, || {
        let before = Instant::now();
        get(&url, GOOD);
        (before.elapsed() > Duration::from_millis(250)).then_some(())
    });
}

#[test]
fn host_routes_answer_while_guests_burn() {
    let home = Home::with_guests(&["loops", "known"]);
    let dashboard = home.dashboard();
    let url = dashboard.url("/metrics");
    let burning: Vec<_> = (0..50)
        .map(|_| {
            let url = url.clone();
            std::thread::spawn(move || get(&url, GOOD).status)
        })
        .collect();
    for path in ["/api/status", "/healthz"] {
        assert_eq!(get(&dashboard.url(path), &[]).status, 200);
    }
    assert_eq!(get(&dashboard.url("/api/gateway/drain"), &[]).status, 401);
    let statuses: Vec<_> = burning
        .into_iter()
        .map(|call| call.join().expect("an answer"))
        .collect();
    // No caller is refused as unknown: the next provider knows the token, or was itself full for a
    // moment.
    assert!(
        statuses.iter().all(|status| matches!(status, 200 | 503)) && statuses.contains(&200),
        "{statuses:?}"
    );
}
