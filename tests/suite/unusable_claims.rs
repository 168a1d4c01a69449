//! A person or a service whose claims cannot be used is refused alone: the provider is not broken,
//! and keeps serving others.

use super::people::{gated, password, signed_in};
use portcullis_tests::{Browser, Home, Process, SOON, eventually, get};
use serde_json::Value;

/// More than the faults that quarantine a provider.
const MANY: usize = 8;

fn has_fault(home: &Home) -> bool {
    let is_fault =
        |line: &Value| line["event"] == "provider_fault" || line["event"] == "provider_quarantined";
    home.audit().iter().any(is_fault)
}

fn faults(dashboard: &Process) -> Value {
    get(&dashboard.url("/readyz"), &[]).json()["providers"]["detail"][0]["health"]["faults"].clone()
}

#[test]
fn people_with_unusable_claims_are_refused_and_others_sign_in() {
    let home = gated("http://agent.test", "");
    let dashboard = home.dashboard();
    let attempt = |user: &str| {
        let mut browser = Browser::default();
        let reply = browser.post(
            &dashboard.url("/auth/password-login"),
            &password(user, "good"),
        );
        (reply, browser.cookies.len())
    };
    // Five faults would have shut the provider out.
    for user in [
        "nobody", "control", "expired", "for-ever", "nobody", "control", "expired",
    ] {
        let (reply, cookies) = attempt(user);
        assert_eq!((reply.status, cookies), (403, 0), "{user}: {reply:?}");
        assert_eq!(reply.json()["error"], "unusable_claim", "{user}");
    }
    let (reply, _) = attempt("ada");
    assert_eq!(reply.status, 200, "{reply:?}");
    eventually("each is audited with its reason", SOON, || {
        let unusable =
            |line: &Value| line["event"] == "login_failure" && line["reason"] == "unusable_claim";
        (home.audit().into_iter().filter(unusable).count() == 7).then_some(())
    });
    eventually("the sentence is logged", SOON, || {
        dashboard
            .log()
            .contains("the session's user has control characters")
            .then_some(())
    });
    assert!(!has_fault(&home));
}

#[test]
fn services_with_unusable_names_are_unknown_and_no_fault() {
    let home = Home::with_guests(&["garbles", "known"]);
    let dashboard = home.dashboard();
    let call = |token: &str| {
        get(
            &dashboard.url("/metrics"),
            &[("authorization", &format!("Bearer {token}"))],
        )
    };
    for _ in 0..MANY {
        assert_eq!(call("wrong-token").status, 401);
    }
    assert_eq!(call("good-token").status, 200, "the next provider is asked");
    let log = eventually("the reason is logged", SOON, || {
        let log = dashboard.log();
        log.contains("vouched for a caller that is refused")
            .then_some(log)
    });
    assert!(
        log.contains("the principal has control characters"),
        "{log}"
    );
    assert_eq!(faults(&dashboard), Value::Array(Vec::new()));
    assert!(!has_fault(&home));
}

#[test]
fn session_whose_claims_become_unusable_is_over() {
    let home = gated("http://agent.test", "");
    let dashboard = home.dashboard();
    for _ in 0..MANY {
        let mut browser = signed_in(&dashboard, "spoilt");
        assert_eq!(browser.get(&dashboard.url("/api/auth/me")).status, 401);
        let left: Vec<_> = browser
            .cookies
            .keys()
            .filter(|name| !name.ends_with("_device"))
            .collect();
        assert!(left.is_empty(), "{left:?}");
    }
    assert!(!has_fault(&home));
}
