//! A provider that keeps failing is left alone for a while, and everybody can see it.

use portcullis_tests::{Home, Process, Reply, SOON, eventually, get, guest};
use serde_json::Value;

fn call(dashboard: &Process, token: &str) -> Reply {
    get(
        &dashboard.url("/metrics"),
        &[("authorization", &format!("Bearer {token}"))],
    )
}

fn quarantined(home: &Home, state: &str) -> Option<Value> {
    home.audit()
        .into_iter()
        .find(|line| line["event"] == "provider_quarantined" && line["quarantine"] == state)
}

/// Strangers touch the bug until the provider is out.
fn break_it(dashboard: &Process) {
    let statuses: Vec<_> = (0..5)
        .map(|_| call(dashboard, "trap-token").status)
        .collect();
    assert_eq!(statuses, [401; 5]);
}

#[test]
fn repeated_faults_shut_a_provider_out_and_a_good_probe_lets_it_back_in() {
    let home = Home::with_guests(&["brittle"]);
    let dashboard = home.dashboard();
    assert_eq!(call(&dashboard, "good-token").status, 200);
    break_it(&dashboard);
    let shut = call(&dashboard, "good-token");
    assert_eq!(
        (shut.status, shut.header("retry-after")),
        (503, Some("1")),
        "{shut:?}"
    );
    let opened = eventually("the quarantine is audited", SOON, || {
        quarantined(&home, "open")
    });
    assert_eq!(
        (&opened["provider"], &opened["pause_ms"]),
        (&"brittle-0".into(), &1_000.into())
    );
    assert_eq!(
        opened["component"].as_str().map(str::len),
        Some(64),
        "{opened}"
    );
    let ready = get(&dashboard.url("/readyz"), &[]).json();
    assert_eq!(ready["providers"]["quarantined"], 1, "{ready}");
    assert_eq!(
        ready["providers"]["detail"][0]["health"]["state"], "quarantined",
        "{ready}"
    );
    eventually("a probe lets it back in", SOON, || {
        (call(&dashboard, "good-token").status == 200).then_some(())
    });
    eventually("the end is audited", SOON, || quarantined(&home, "closed"));
    assert_eq!(
        get(&dashboard.url("/readyz"), &[]).json()["providers"]["quarantined"],
        0
    );
}

#[test]
fn faults_are_shown_with_limit_and_usage() {
    let home = Home::with_guests(&["hoards"]);
    let dashboard = home.dashboard();
    call(&dashboard, "any");
    let fault =
        get(&dashboard.url("/readyz"), &[]).json()["providers"]["detail"][0]["health"]["faults"][0]
            .clone();
    assert_eq!(fault["fault"], "out_of_memory", "{fault}");
    assert!(
        fault["reason"]
            .as_str()
            .is_some_and(|reason| reason.contains("limit 16777216")),
        "{fault}"
    );
    let used = fault["used"]["memory_bytes"]
        .as_u64()
        .expect("what was used");
    assert!((8 << 20..=16 << 20).contains(&used), "{fault}");
    let audited = eventually("the fault is audited", SOON, || {
        home.audit()
            .into_iter()
            .find(|line| line["event"] == "provider_fault")
    });
    assert_eq!(audited["used_bytes"], used, "{audited}");
    let list = Process::run(&home, &["provider", "list"], &[]);
    assert!(list.stdout.contains("out_of_memory"), "{}", list.stdout);
}

#[test]
fn strangers_see_numbers_and_no_names() {
    let home = Home::with_config(&format!(
        "dashboard:\n  token_routes: [{{path: /metrics, scope: metrics.read}}]\n  providers:\n    - {{name: people, \
         component: {}}}\n    - {{name: brittle, component: {}, grants: {{scopes: [metrics.read]}}}}\n",
        guest("signs_in").display(),
        guest("brittle").display()
    ));
    let dashboard = home.dashboard_with(&["--port", "0", "--host", "0.0.0.0"], &[]);
    break_it(&dashboard);
    let ready = get(&dashboard.url("/readyz"), &[]);
    assert_eq!(ready.json()["providers"]["quarantined"], 1, "{ready:?}");
    assert!(!ready.body.contains("brittle"), "{ready:?}");
}

#[test]
fn others_go_on_while_one_is_shut_out() {
    let home = Home::with_guests(&["brittle", "known"]);
    let dashboard = home.dashboard();
    let statuses: Vec<_> = (0..20)
        .map(|_| {
            assert_eq!(call(&dashboard, "good-token").status, 200);
            call(&dashboard, "trap-token").status
        })
        .collect();
    // Broken, then shut out: from then on only the other provider says that it does not know the
    // token.
    assert!(
        statuses.starts_with(&[401; 5]) && statuses.ends_with(&[503; 3]),
        "{statuses:?}"
    );
}
