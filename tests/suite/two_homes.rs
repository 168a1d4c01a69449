//! Two homes behind one issuer, as the same client: each knows the sessions that it opened, and no
//! others.

use super::backchannel::{Issuer, send, status};
use portcullis_tests::{Browser, Home, Process};
use serde_json::json;

const ADA: &str = "ada";

fn statuses(dashboards: [&Process; 2], browser: &Browser) -> [u16; 2] {
    dashboards.map(|dashboard| status(dashboard, browser))
}

#[test]
fn person_is_signed_in_at_both_and_signs_out_at_each() {
    let issuer = Issuer::start();
    let homes = [issuer.home(""), issuer.home("")];
    let [one, other] = [homes[0].dashboard(), homes[1].dashboard()];
    let mut browser = issuer.signed_in(&one, json!({"sub": ADA}));

    // Not by a copy: the cookies of the first home have to outlive the answer of the other one.
    assert_eq!(browser.get(&other.url("/api/auth/me")).status, 401);
    assert_eq!(status(&one, &browser), 200);

    issuer.sign_in(&other, &mut browser, json!({"sub": ADA}));
    assert_eq!(statuses([&one, &other], &browser), [200, 200]);

    assert_eq!(browser.post(&one.url("/auth/logout"), "").status, 302);
    assert_eq!(statuses([&one, &other], &browser), [401, 200]);
    assert_eq!(browser.post(&other.url("/auth/logout"), "").status, 302);
    assert_eq!(statuses([&one, &other], &browser), [401, 401]);
}

#[test]
fn logout_token_ends_sessions_of_the_home_that_gets_it() {
    let issuer = Issuer::start();
    let homes = [issuer.home(""), issuer.home("")];
    let [one, other] = [homes[0].dashboard(), homes[1].dashboard()];
    let at_one = issuer.signed_in(&one, json!({"sub": ADA}));
    let at_other = issuer.signed_in(&other, json!({"sub": ADA}));
    let token = issuer.logout_token("first", json!({"sub": ADA}));

    assert_eq!(send(&one, &token).status, 200);
    assert_eq!(
        (status(&one, &at_one), status(&other, &at_other)),
        (401, 200)
    );

    // What relays it to both homes ends both: each has seen it once.
    assert_eq!(send(&other, &token).status, 200);
    assert_eq!(status(&other, &at_other), 401);
    assert_eq!(
        [send(&one, &token), send(&other, &token)].map(|again| again.status),
        [400, 400]
    );
}

/// Gives the home this key for cookies.
fn set_key(home: &Home, key: &str) {
    let text = std::fs::read_to_string(home.file("portcullis.yaml")).expect("its configuration");
    let (first, rest) = text.split_once('\n').expect("the section of the dashboard");
    home.write(
        "portcullis.yaml",
        &format!("{first}\n  session_key: {key}\n{rest}"),
    );
}

#[test]
fn shared_session_key_opens_no_session_of_the_other_home() {
    let issuer = Issuer::start();
    let homes = [issuer.home(""), issuer.home("")];
    for home in &homes {
        set_key(home, "9f3c1b7e2d8a4650c1e7b93f60d2a548");
    }
    let [one, other] = [homes[0].dashboard(), homes[1].dashboard()];

    let at_one = issuer.signed_in(&one, json!({"sub": ADA}));
    assert_eq!(statuses([&one, &other], &at_one), [200, 401]);
    let at_other = issuer.signed_in(&other, json!({"sub": ADA}));
    assert_eq!(statuses([&one, &other], &at_other), [401, 200]);
}
