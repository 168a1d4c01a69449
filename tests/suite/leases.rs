//! A drain with several owners.

use portcullis_tests::{
    DRAIN_SECRET, Home, PROCESS_TOKEN, Process, Reply, SOON, eventually, get, post, request,
};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

fn drain(dashboard: &Process, body: &Value) -> Value {
    let reply = ask(dashboard, &body.to_string());
    assert_eq!(reply.status, 200, "{}", reply.body);
    reply.json()
}

fn ask(dashboard: &Process, body: &str) -> Reply {
    let authorization = format!("Bearer {DRAIN_SECRET}");
    post(
        &dashboard.url("/api/gateway/drain"),
        &[("authorization", &authorization)],
        body,
    )
}

fn look(dashboard: &Process, query: &str, headers: &[(&str, &str)]) -> Reply {
    let authorization = format!("Bearer {DRAIN_SECRET}");
    let headers: Vec<_> = headers
        .iter()
        .copied()
        .chain([("authorization", authorization.as_str())])
        .collect();
    get(
        &dashboard.url(&format!("/api/gateway/drain{query}")),
        &headers,
    )
}

fn owners(answer: &Value) -> Vec<&str> {
    let holders = answer["holders"].as_array().expect("a list of holders");
    holders
        .iter()
        .filter_map(|holder| holder["owner"].as_str())
        .collect()
}

fn accepts(gateway: &Process) -> bool {
    get(&gateway.url("/health"), &[]).json()["accepting"] == true
}

#[test]
fn owners_do_not_touch_each_others_leases() {
    let home = Home::with_config("gateway: {command: [cat]}");
    let (dashboard, gateway) = (home.dashboard(), home.gateway());
    let long =
        json!({"owner": "upgrade", "reason": "to 2.1", "ttl_seconds": 3600, "wait_seconds": 10});
    let begun = drain(&dashboard, &long);
    assert_eq!(
        (&begun["acknowledged"], &begun["draining"]),
        (&json!(true), &json!(true)),
        "{begun}"
    );
    assert!(!accepts(&gateway));

    let short = drain(&dashboard, &json!({"owner": "backup", "ttl_seconds": 1}));
    assert_eq!(owners(&short), ["upgrade", "backup"]);
    assert_eq!(short["holders"][0]["reason"], "to 2.1");
    assert_eq!(
        home.json(".drain_request.json")["expires_at"],
        begun["expires_at"],
        "the latest end"
    );
    eventually("the short one has ended", SOON, || {
        (owners(&look(&dashboard, "", &[]).json()) == ["upgrade"]).then_some(())
    });
    assert!(!accepts(&gateway), "the hour goes on");

    let cancelled = drain(&dashboard, &json!({"action": "cancel", "owner": "another"}));
    assert_eq!(
        (&cancelled["was_draining"], &cancelled["draining"]),
        (&json!(true), &json!(true))
    );
    let ended = json!({"action": "cancel", "owner": "upgrade", "wait_seconds": 10});
    let ended = drain(&dashboard, &ended);
    assert_eq!(
        (&ended["draining"], &ended["acknowledged"]),
        (&json!(false), &json!(true)),
        "{ended}"
    );
    assert!(accepts(&gateway) && !home.file(".drain_request.json").exists());
}

#[test]
fn force_ends_every_lease_and_names_them_in_the_audit_log() {
    let home = Home::new();
    let dashboard = home.dashboard();
    for owner in ["a", "b"] {
        drain(&dashboard, &json!({"owner": owner}));
    }
    let forced = drain(&dashboard, &json!({"action": "cancel", "force": true}));
    assert_eq!(
        (&forced["draining"], owners(&forced).len()),
        (&json!(false), 0)
    );
    let line = eventually("the audit line", SOON, || {
        home.audit()
            .into_iter()
            .find(|line| line["event"] == "drain_cancel")
    });
    assert_eq!(
        (&line["overridden"], &line["force"]),
        (&json!(["a", "b"]), &json!(true))
    );
    assert_eq!(line["ip"], "127.0.0.1");
}

#[test]
fn caller_that_knows_of_no_owners_has_its_own_lease() {
    let home = Home::new();
    let dashboard = home.dashboard();
    drain(&dashboard, &json!({"owner": "upgrade"}));
    assert_eq!(
        owners(&drain(&dashboard, &json!({}))),
        ["upgrade", "drain-control"]
    );
    let cancelled = drain(&dashboard, &json!({"action": "cancel"}));
    assert_eq!(owners(&cancelled), ["upgrade"]);
}

#[test]
fn marker_of_the_original_is_one_lease_of_its_principal() {
    let home = Home::new();
    let dashboard = home.dashboard();
    home.write(
        ".drain_request.json",
        &json!({"action": "drain", "principal": "drain-control",
        "requested_at": jiff::Timestamp::now().to_string(), "epoch": ""})
        .to_string(),
    );
    assert_eq!(
        owners(&drain(&dashboard, &json!({"owner": "upgrade"}))),
        ["drain-control", "upgrade"]
    );
    for marker in [
        "not json",
        "",
        "[]",
        "{}",
        r#"{"action":"drain","epoch":""}"#,
    ] {
        home.write(".drain_request.json", marker);
        let cancelled = drain(&dashboard, &json!({"action": "cancel"}));
        assert_eq!(cancelled["was_draining"], true, "{marker}");
        assert_eq!(
            cancelled["draining"], false,
            "{marker}: it belongs to no owner"
        );
    }
}

#[test]
fn lease_that_has_ended_is_removed_from_the_disk_whoever_wrote_it() {
    let home = Home::new();
    let dashboard = home.dashboard();
    let begun = drain(&dashboard, &json!({"ttl_seconds": 1}));
    assert!(begun["holders"][0]["expires_at"].is_string());
    let gone = || (!home.file(".drain_request.json").exists()).then_some(());
    eventually("our own marker is gone", SOON, gone);
    home.write(
        ".drain_request.json",
        r#"{"requested_at":"2020-01-01T00:00:00+00:00","principal":"x"}"#,
    );
    eventually("the original's is gone", SOON, gone);
    let status = get(&dashboard.url("/api/status"), &[]).json();
    assert!(status["generation"].as_u64() > begun["generation"].as_u64());
}

#[test]
fn lease_of_a_clock_that_was_ahead_lasts_for_its_length() {
    let home = Home::with_config("gateway: {command: [cat]}");
    let later = |seconds: i64| {
        (jiff::Timestamp::now() + jiff::SignedDuration::from_secs(seconds)).to_string()
    };
    let marker = json!({"action": "drain", "principal": "nas", "requested_at": later(300_000),
        "expires_at": later(300_006)});
    // Without a dashboard the gateway alone must end it.
    home.write(".drain_request.json", &marker.to_string());
    let gateway = home.gateway();
    assert!(!accepts(&gateway), "a time in the future is honoured");
    eventually("the gateway lets turns in", SOON, || {
        accepts(&gateway).then_some(())
    });
    let _dashboard = home.dashboard();
    eventually("the dashboard removes it", SOON, || {
        (!home.file(".drain_request.json").exists()).then_some(())
    });
}

#[test]
fn callers_that_never_pause_do_not_put_off_what_the_dashboard_mends() {
    let home = Home::new();
    let dashboard = home.dashboard();
    let later =
        |seconds| (jiff::Timestamp::now() + jiff::SignedDuration::from_secs(seconds)).to_string();
    let marker =
        json!({"principal": "nas", "requested_at": later(300_000), "expires_at": later(300_002)});
    home.write(".drain_request.json", &marker.to_string());
    eventually("the drain of a clock that was ahead is over", SOON, || {
        drain(&dashboard, &json!({"action": "cancel", "owner": "another"}));
        (!home.file(".drain_request.json").exists()).then_some(())
    });
}

#[test]
fn form_without_an_action_and_json_called_a_form_begin_nothing() {
    let home = Home::new();
    let variables = [
        ("HERMES_DASHBOARD_DRAIN_SECRET", DRAIN_SECRET),
        ("HERMES_DASHBOARD_SESSION_TOKEN", PROCESS_TOKEN),
    ];
    let dashboard = home.dashboard_with(&["--port", "0"], &variables);
    let send = |body: &str| {
        let headers = [
            ("x-hermes-session-token", PROCESS_TOKEN),
            ("content-type", "application/x-www-form-urlencoded"),
        ];
        post(&dashboard.url("/api/drain"), &headers, body)
    };
    drain(&dashboard, &json!({}));
    assert_eq!(send("note=x").status, 400);
    assert_eq!(
        send(r#"{"action":"cancel","force":true}"#).json()["draining"],
        false
    );
    assert_eq!(send("action=drain").status, 303);
    assert!(home.file(".drain_request.json").exists());
}

#[test]
fn looking_waits_for_a_change() {
    let home = Home::new();
    let dashboard = home.dashboard();
    let first = look(&dashboard, "", &[]);
    let generation = first.json()["generation"].as_u64().expect("a number");
    let tag = first.header("etag").expect("a tag").to_owned();
    assert_eq!(tag, format!("\"{generation}\""));
    assert_eq!(look(&dashboard, "", &[("if-none-match", &tag)]).status, 304);

    let url = dashboard.url(&format!(
        "/api/gateway/drain?wait=20&generation={generation}"
    ));
    let waiting = std::thread::spawn(move || {
        let authorization = format!("Bearer {DRAIN_SECRET}");
        let start = Instant::now();
        (
            get(&url, &[("authorization", &authorization)]).json(),
            start.elapsed(),
        )
    });
    let begun = drain(&dashboard, &json!({"owner": "a"}));
    let (seen, waited) = waiting.join().expect("an answer");
    assert_eq!(
        (&seen["generation"], owners(&seen)),
        (&begun["generation"], vec!["a"])
    );
    assert!(waited < Duration::from_secs(15), "{waited:?}");
    let now = seen["generation"].as_u64().expect("a number");
    let same = look(&dashboard, &format!("?wait=1&generation={now}"), &[]);
    assert_eq!(
        (same.status, &same.json()["generation"]),
        (200, &json!(now)),
        "the time is up"
    );

    for query in [
        "?wait=31&generation=1",
        "?wait=x&generation=1",
        "?wait=1&generation=-1",
        "?wait=1&wait=2",
        "?generation=1&generation=1",
    ] {
        assert_eq!(look(&dashboard, query, &[]).status, 400, "{query}");
    }
    let stranger = request("GET", &dashboard.url("/api/gateway/drain"), &[], "");
    assert_eq!(stranger.status, 401);
}

#[test]
fn unknown_fields_are_ignored_and_named() {
    let home = Home::new();
    let dashboard = home.dashboard();
    let begun = drain(&dashboard, &json!({"note": "x", "ttl_seconds": 60}));
    assert_eq!(
        (&begun["ignored"], &begun["draining"]),
        (&json!(["note"]), &json!(true))
    );
    let cancelled = drain(&dashboard, &json!({"action": "cancel", "later": [1]}));
    assert_eq!(
        (&cancelled["ignored"], &cancelled["draining"]),
        (&json!(["later"]), &json!(false))
    );
    // Deeper than a JSON library reads.
    let deep = format!(r#"{{"later":{}{}}}"#, "[".repeat(500), "]".repeat(500));
    let reply = ask(&dashboard, &deep);
    assert_eq!(reply.status, 200, "{}", reply.body);
    assert_eq!(reply.json()["ignored"], json!(["later"]));
    let forced = drain(&dashboard, &json!({"force": true}));
    assert_eq!(forced["ignored"], json!(["force"]), "it does nothing here");
    assert!(
        dashboard.log().contains("are ignored"),
        "{}",
        dashboard.log()
    );
}

#[test]
fn owners_are_bounded() {
    let home = Home::new();
    let dashboard = home.dashboard();
    let refused = (0..100)
        .map(|owner| {
            ask(
                &dashboard,
                &json!({"owner": format!("owner-{owner}"), "reason": "\u{e9}".repeat(256)})
                    .to_string(),
            )
        })
        .find(|reply| reply.status != 200)
        .expect("an end");
    assert_eq!(refused.status, 409, "{}", refused.body);
    assert!(
        refused.json()["detail"]
            .as_str()
            .is_some_and(|detail| detail.contains("owners"))
    );
    // The marker with all of them is still one that is read.
    assert!(
        home.json(".drain_request.json")["holders"]
            .as_array()
            .is_some_and(|all| all.len() > 10)
    );
    assert_eq!(look(&dashboard, "", &[]).json()["draining"], true);
}

#[test]
fn drain_secret_is_rotated_without_a_gap() {
    const NEXT: &str = "q7Jm2cV9xR4tN8wB1zL6yH3kD5fG0sPaQeUiOoTnXrY";
    let home = Home::with_config("dashboard: {drain_auth: {secret: [{file: old}, {file: new}]}}");
    home.write("old", DRAIN_SECRET);
    home.write("new", NEXT);
    let dashboard = home.dashboard_with(&["--port", "0"], &[]);
    let status = |secret: &str| {
        let bearer = format!("Bearer {secret}");
        get(
            &dashboard.url("/api/gateway/drain"),
            &[("authorization", &bearer)],
        )
        .status
    };
    assert_eq!(
        (status(DRAIN_SECRET), status(NEXT), status("x")),
        (200, 200, 401)
    );
    // Half-way through a replacement the known secrets stay valid.
    home.write("old", "");
    eventually("the reload is refused", SOON, || {
        dashboard.log().contains("reload refused").then_some(())
    });
    assert_eq!((status(DRAIN_SECRET), status(NEXT)), (200, 200));
    home.write("old", NEXT);
    eventually("the old secret is no longer good", SOON, || {
        (status(DRAIN_SECRET) == 401).then_some(())
    });
    assert_eq!(status(NEXT), 200);
}

#[test]
fn drain_secret_in_the_home_is_read() {
    let home = Home::new();
    home.write("drain-secret", &format!("{DRAIN_SECRET}\n"));
    let dashboard = home.dashboard_with(&["--port", "0"], &[]);
    assert_eq!(ask(&dashboard, "").status, 200);
    let finished = Process::run(
        &home,
        &["drain", "status", "--url", &dashboard.url("")],
        &[],
    );
    assert_eq!(finished.code, Some(0), "{}", finished.stderr);
}

#[test]
fn metrics_of_the_dashboard_say_what_the_gateway_does() {
    let home = Home::with_config("gateway: {command: [cat]}");
    let variables = [
        ("HERMES_DASHBOARD_DRAIN_SECRET", DRAIN_SECRET),
        ("HERMES_DASHBOARD_SESSION_TOKEN", PROCESS_TOKEN),
    ];
    let dashboard = home.dashboard_with(&["--port", "0"], &variables);
    let metrics = || {
        get(
            &dashboard.url("/metrics"),
            &[("x-hermes-session-token", PROCESS_TOKEN)],
        )
        .body
    };
    let says = |lines: &[&str]| {
        let text = metrics();
        lines
            .iter()
            .all(|line| text.lines().any(|found| found == *line))
            .then_some(())
    };
    says(&[
        r#"portcullis_gateway_state{state="stopped"} 1"#,
        "portcullis_drain_active 0",
    ])
    .expect("stopped");

    let gateway = home.gateway();
    drain(&dashboard, &json!({"owner": "a", "wait_seconds": 10}));
    drain(&dashboard, &json!({"owner": "b"}));
    let refused = post(
        &gateway.url("/v1/turns"),
        &[],
        r#"{"session":"s","text":"x"}"#,
    );
    assert_eq!(refused.status, 503);
    eventually("the metrics say so", SOON, || {
        says(&[
            r#"portcullis_gateway_state{state="draining"} 1"#,
            r#"portcullis_gateway_state{state="running"} 0"#,
            "portcullis_turns_in_flight 0.0",
            "portcullis_oldest_turn_seconds 0.0",
            "portcullis_drain_active 1",
            "portcullis_drain_holders 2",
            r#"portcullis_turns_refused_total{reason="draining"} 1"#,
        ])
    });

    drop(gateway);
    home.write("gateway_state.json", "damaged");
    says(&[
        r#"portcullis_gateway_state{state="unknown"} 1"#,
        "portcullis_turns_in_flight NaN",
    ])
    .expect("unknown");
}
