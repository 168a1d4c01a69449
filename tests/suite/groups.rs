//! Groups, from what a provider says to what applications and people read.

use super::people::{gated, signed_in};
use portcullis_tests::{Home, get};
use serde_json::json;

#[test]
fn groups_of_a_person_reach_applications_and_the_person() {
    let home = gated("http://agent.test", "");
    let dashboard = home.dashboard();
    let mut browser = signed_in(&dashboard, "grouped");
    let verified = browser.get(&dashboard.url("/auth/verify"));
    assert_eq!(
        verified.header("x-auth-groups"),
        Some("admins,cn=ops%2Cdc=b %C3%A4 100%25"),
        "{verified:?}"
    );
    let me = browser.get(&dashboard.url("/api/auth/me")).json();
    assert_eq!(
        me["groups"],
        json!(["admins", "cn=ops,dc=b \u{e4} 100%"]),
        "{me}"
    );
}

#[test]
fn header_is_there_without_groups() {
    let home = gated("http://agent.test", "");
    let dashboard = home.dashboard();
    let mut browser = signed_in(&dashboard, "ada");
    let verified = browser.get(&dashboard.url("/auth/verify"));
    assert_eq!(
        (verified.status, verified.header("x-auth-groups")),
        (200, Some("")),
        "{verified:?}"
    );
    assert_eq!(
        browser.get(&dashboard.url("/api/auth/me")).json()["groups"],
        json!([])
    );
}

#[test]
fn person_in_as_many_groups_as_there_may_be_is_signed_in() {
    let home = gated("http://agent.test", "");
    let dashboard = home.dashboard();
    let me = signed_in(&dashboard, "in-every-group")
        .get(&dashboard.url("/api/auth/me"))
        .json();
    let groups = me["groups"].as_array().expect("a list");
    assert_eq!(groups.len(), 256);
    assert!(
        groups
            .iter()
            .all(|group| group.as_str().is_some_and(|group| group.len() == 256))
    );
}

#[test]
fn groups_of_a_service_reach_applications_and_the_service() {
    let home = Home::with_guests(&["known"]);
    let dashboard = home.dashboard();
    let bearer = [("authorization", "Bearer grouped-token")];
    let verified = get(&dashboard.url("/auth/verify"), &bearer);
    assert_eq!(
        verified.header("x-auth-groups"),
        Some("deployers,a%2Cb"),
        "{verified:?}"
    );
    let who = get(&dashboard.url("/api/auth/whoami"), &bearer).json();
    assert_eq!(who["groups"], json!(["deployers", "a,b"]), "{who}");
    let ungrouped = get(
        &dashboard.url("/auth/verify"),
        &[("authorization", "Bearer good-token")],
    );
    assert_eq!(ungrouped.header("x-auth-groups"), Some(""), "{ungrouped:?}");
}
