//! `POST /api/gateway/drain`: bodies, expiry, the marker, and a disk that does not cooperate.

use jiff::Timestamp;
use portcullis_tests::{DRAIN_SECRET, Home, PROCESS_TOKEN, Process, Reply, SOON, eventually, post};
use serde_json::json;
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;

fn drain(dashboard: &Process, body: &str) -> Reply {
    post(
        &dashboard.url("/api/gateway/drain"),
        &[("authorization", &format!("Bearer {DRAIN_SECRET}"))],
        body,
    )
}

#[test]
fn begin_writes_a_marker_that_the_original_reads() {
    let home = Home::new();
    let dashboard = home.dashboard();
    let reply = drain(
        &dashboard,
        r#"{"action":" DRAIN ","ttl_seconds":60,"suppress_notification":true}"#,
    )
    .json();
    let marker = home.json(".drain_request.json");
    assert_eq!(
        (&marker["action"], &marker["principal"]),
        (&"drain".into(), &"drain-control".into())
    );
    for key in ["requested_at", "expires_at", "suppress_notification"] {
        assert_eq!(reply[key], marker[key], "{key}");
    }
    assert_eq!(marker["suppress_notification"], true);
    assert!(
        marker["epoch"]
            .as_str()
            .is_some_and(|epoch| epoch.contains(':'))
    );
    let path = home.file(".drain_request.json");
    assert_eq!(
        fs::metadata(&path)
            .expect("it is there")
            .permissions()
            .mode()
            & 0o777,
        0o600
    );
    let times = ["requested_at", "expires_at"].map(|key| {
        reply[key]
            .as_str()
            .and_then(|text| text.parse::<Timestamp>().ok())
            .expect("RFC 3339")
    });
    assert_eq!(times[1].duration_since(times[0]).as_secs(), 60);
}

#[test]
fn credential_of_the_request_is_written_nowhere() {
    let home = Home::new();
    let variables = [
        ("HERMES_DASHBOARD_SESSION_TOKEN", PROCESS_TOKEN),
        ("HERMES_DASHBOARD_DRAIN_SECRET", DRAIN_SECRET),
    ];
    let mut dashboard = home.dashboard_with(&["--port", "0"], &variables);
    let bearer = format!("Bearer {DRAIN_SECRET}");
    let of_a_program = ("authorization", bearer.as_str(), DRAIN_SECRET);
    let of_the_page = ("x-hermes-session-token", PROCESS_TOKEN, PROCESS_TOKEN);
    for (path, field, (header, value, credential)) in [
        ("/api/gateway/drain", "owner", of_a_program),
        ("/api/gateway/drain", "reason", of_a_program),
        ("/api/gateway/restart", "reason", of_the_page),
        ("/api/drain", "owner", of_the_page),
        ("/api/drain", "reason", of_the_page),
        ("/api/restart", "reason", of_the_page),
    ] {
        let ask = |body: String| post(&dashboard.url(path), &[(header, value)], &body);
        let refused = ask(json!({field: format!("own-{credential}")}).to_string());
        let detail = format!("'{field}' must not contain the credential of the request");
        assert_eq!(
            (refused.status, refused.json()["detail"].as_str()),
            (400, Some(detail.as_str())),
            "{path}"
        );
        assert_eq!(
            ask(json!({credential: 1}).to_string()).status,
            400,
            "{path}"
        );
        let cancelled = ask(json!({"action": format!("cancel {credential}")}).to_string());
        assert!(
            !cancelled.body.contains(credential),
            "{path}: {cancelled:?}"
        );
    }
    assert!(!home.file(".drain_request.json").exists());

    dashboard.terminate();
    let audit = fs::read_to_string(home.file("logs/dashboard-auth.log")).unwrap_or_default();
    for text in [dashboard.log(), audit] {
        let has_one = [DRAIN_SECRET, PROCESS_TOKEN]
            .iter()
            .any(|credential| text.contains(credential));
        assert!(!has_one, "{text}");
    }
}

#[test]
fn every_good_body_begins_or_cancels() {
    let home = Home::new();
    let dashboard = home.dashboard();
    for body in ["", "{}", r#"{"action":"drain"}"#, r#"{"action":"Drain"}"#] {
        let reply = drain(&dashboard, body).json();
        assert_eq!(
            (&reply["ok"], &reply["action"], &reply["draining"]),
            (&json!(true), &"drain".into(), &json!(true))
        );
        assert!(
            reply["expires_at"].is_string(),
            "the greatest age is an hour unless configured"
        );
    }
    for was_draining in [true, false] {
        let reply = drain(&dashboard, r#"{"action":"cancel"}"#).json();
        let found = (
            &reply["ok"],
            &reply["action"],
            &reply["was_draining"],
            &reply["draining"],
        );
        assert_eq!(
            found,
            (
                &json!(true),
                &"cancel".into(),
                &json!(was_draining),
                &json!(false)
            )
        );
    }
    let home = Home::with_config("dashboard: {drain: {max_age_seconds: 0}}");
    assert!(
        drain(&home.dashboard(), "").json()["expires_at"].is_null(),
        "0: a marker never expires"
    );
}

#[test]
fn bad_bodies_are_refused_and_nothing_is_written() {
    let home = Home::new();
    let dashboard = home.dashboard();
    for (body, detail) in [
        ("[]", "object"),
        ("drain", "JSON"),
        (
            r#"{"action":"explode"}"#,
            "Unknown drain action 'explode'; expected 'drain' or 'cancel'",
        ),
        (r#"{"action":1}"#, "'action'"),
        (r#"{"ttl_seconds":0}"#, "'ttl_seconds'"),
        (r#"{"ttl_seconds":86401}"#, "'ttl_seconds'"),
        (r#"{"ttl_seconds":"60"}"#, "'ttl_seconds'"),
        (
            r#"{"suppress_notification":"yes"}"#,
            "'suppress_notification'",
        ),
        (r#"{"action":"drain","action":"cancel"}"#, "duplicate field"),
        (r#"{"owner":""}"#, "'owner'"),
        (r#"{"wait_seconds":31}"#, "'wait_seconds'"),
        (r#"{"action":"cancel","force":1}"#, "'force'"),
    ] {
        let reply = drain(&dashboard, body);
        assert_eq!(reply.status, 400, "{body}");
        assert!(
            reply.json()["detail"]
                .as_str()
                .is_some_and(|found| found.contains(detail)),
            "{body}: {}",
            reply.body
        );
    }
    let long = format!(
        r#"{{"action":"{}"}}"#,
        "x".repeat((64 << 10) + 1 - r#"{"action":""}"#.len())
    );
    let too_large = drain(&dashboard, &long);
    assert_eq!(too_large.status, 413);
    assert_eq!(
        too_large.json(),
        json!({"error": "body_too_large", "detail": "the body is larger than 64 KiB"})
    );
    assert!(!home.file(".drain_request.json").exists());
}

#[test]
fn marker_that_cannot_be_written_is_never_reported_as_begun() {
    let home = Home::new();
    let dashboard = home.dashboard();
    let path = home.file(".drain_request.json");
    // A folder that is not empty in the marker's place: neither a begin nor a cancel can do its
    // work.
    fs::create_dir_all(path.join("full")).expect("a folder in the home");
    let begin = drain(&dashboard, "");
    assert_eq!(
        (begin.status, begin.json()["ok"].is_null()),
        (500, true),
        "{}",
        begin.body
    );
    assert_eq!(drain(&dashboard, r#"{"action":"cancel"}"#).status, 500);
    eventually("both are audited", SOON, || {
        let failed: BTreeSet<_> = home
            .audit()
            .into_iter()
            .filter(|line| line["ok"] == false)
            .filter_map(|line| line["event"].as_str().map(str::to_owned))
            .collect();
        (failed == ["drain_begin".to_owned(), "drain_cancel".to_owned()].into()).then_some(())
    });
}

#[test]
fn begins_at_once_all_stand_behind_one_marker() {
    let home = Home::new();
    let dashboard = home.dashboard();
    let url = dashboard.url("/api/gateway/drain");
    let begin = || {
        let url = url.clone();
        std::thread::spawn(move || {
            post(
                &url,
                &[("authorization", &format!("Bearer {DRAIN_SECRET}"))],
                "",
            )
            .json()["requested_at"]
                .clone()
        })
    };
    let begins: Vec<_> = (0..32).map(|_| begin()).collect();
    let times: Vec<_> = begins
        .into_iter()
        .map(|begin| begin.join().expect("an answer"))
        .collect();
    assert!(times.iter().all(serde_json::Value::is_string));
    assert!(
        times.contains(&home.json(".drain_request.json")["requested_at"]),
        "the last one stands"
    );
}

#[test]
fn without_a_good_secret_the_route_stays_behind_the_gate() {
    let weak = "0123456789abcdef".repeat(3);
    for secret in [None, Some(weak.as_str()), Some("short"), Some("   ")] {
        let home = Home::new();
        let variables: Vec<_> = secret
            .iter()
            .map(|secret| ("HERMES_DASHBOARD_DRAIN_SECRET", *secret))
            .collect();
        let variables: Vec<_> = variables
            .into_iter()
            .chain([("HERMES_DASHBOARD_SESSION_TOKEN", PROCESS_TOKEN)])
            .collect();
        let dashboard = home.dashboard_with(&["--port", "0"], &variables);
        let url = dashboard.url("/api/gateway/drain");
        let bearer = format!("Bearer {}", secret.unwrap_or("anything"));
        assert_eq!(
            post(&url, &[("authorization", &bearer)], "").status,
            401,
            "{secret:?}"
        );
        assert!(
            dashboard.log().contains("HERMES_DASHBOARD_DRAIN_SECRET"),
            "{}",
            dashboard.log()
        );
        // The holder of this process's token may still drain from the dashboard.
        assert_eq!(
            post(&url, &[("x-hermes-session-token", PROCESS_TOKEN)], "").status,
            200
        );
        assert_eq!(home.json(".drain_request.json")["principal"], "dashboard");
    }
}
