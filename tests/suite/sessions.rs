//! A session's life: who vouches for it, what ends it, and who never hears of it.

use super::people::{gated, password, signed_in};
use portcullis_tests::{
    Browser, DRAIN_SECRET, Home, PROCESS_TOKEN, SOON, eventually, get, guest, request,
};
use serde_json::json;
use std::time::Duration;

const PLAIN: &str = "http://agent.test";

/// The cookies of a session that a browser has.
fn session_cookies(browser: &Browser) -> usize {
    let is_one = |name: &&String| name.ends_with("_at") || name.ends_with("_rt");
    browser.cookies.keys().filter(is_one).count()
}

#[test]
fn only_a_provider_that_says_yes_lets_anyone_in() {
    let home = gated(PLAIN, "");
    let dashboard = home.dashboard();
    // No refresh token saves these.
    for (user, status, cookies_left) in [
        ("ada", 200, 2),
        ("traps", 503, 2),
        ("loops", 503, 2),
        ("down", 503, 2),
        ("gone", 401, 0),
        ("other", 401, 0),
    ] {
        let mut browser = signed_in(&dashboard, user);
        let reply = browser.get(&dashboard.url("/api/auth/me"));
        assert_eq!(
            (reply.status, session_cookies(&browser)),
            (status, cookies_left),
            "{user}: {reply:?}"
        );
        match status {
            503 => assert_eq!(
                reply.json(),
                json!({"detail": "Auth provider 'people' unreachable"})
            ),
            401 => assert_eq!(reply.json()["error"], "session_expired"),
            _ => {}
        }
    }
}

#[test]
fn session_that_ended_is_refreshed_or_over() {
    let home = gated(PLAIN, "");
    let dashboard = home.dashboard();
    for (user, status, cookies_left) in [
        ("short", 200, 2),
        ("short-gone", 401, 0),
        ("short-other", 401, 0),
        ("short-down", 503, 2),
        ("short-traps", 503, 2),
    ] {
        let mut browser = signed_in(&dashboard, user);
        let before = browser.cookies.clone();
        // One second, by its own word.
        let reply = eventually("the access token has ended", SOON, || {
            let mut other = Browser {
                cookies: before.clone(),
            };
            let reply = other.get(&dashboard.url("/api/auth/me"));
            let has_ended = reply.status != 200 || other.cookies != before;
            has_ended.then(|| browser.get(&dashboard.url("/api/auth/me")))
        });
        assert_eq!(
            (reply.status, session_cookies(&browser)),
            (status, cookies_left),
            "{user}: {reply:?}"
        );
        assert_eq!(browser.cookies == before, status == 503, "{user}");
    }
    eventually("one success and the failures are audited", SOON, || {
        let audited = |event: &str| {
            home.audit()
                .iter()
                .filter(|line| line["event"] == event)
                .count()
        };
        (audited("refresh_success") == 1 && audited("refresh_failure") >= 4).then_some(())
    });
}

#[test]
fn cookies_that_were_touched_are_worth_nothing() {
    let home = gated(PLAIN, "");
    let dashboard = home.dashboard();
    let good = signed_in(&dashboard, "ada");
    let (access, refresh) = (
        &good.cookies["hermes_session_at"],
        &good.cookies["hermes_session_rt"],
    );
    let flipped = format!(
        "{}{}",
        if access.starts_with('A') { 'B' } else { 'A' },
        &access[1..]
    );
    let lines = [
        format!("hermes_session_at={flipped}"),
        format!("hermes_session_at={refresh}"),
        format!("hermes_session_rt={access}"),
        "hermes_session_at=".to_owned(),
        "hermes_session_at=garbage; hermes_session_at=".to_owned(),
    ];
    for line in lines {
        let reply = get(&dashboard.url("/api/auth/me"), &[("cookie", &line)]);
        assert_eq!(
            (reply.status, reply.json()["reason"].as_str()),
            (401, Some("invalid_or_expired_session")),
            "{line}"
        );
        assert_eq!(reply.json()["error"], "session_expired", "{line}");
        let deletes = |name: &str| {
            reply
                .set_cookies()
                .iter()
                .any(|cookie| cookie.starts_with(&format!("{name}=;")))
        };
        assert!(
            deletes("hermes_session_at") && deletes("hermes_session_rt"),
            "{line}: {reply:?}"
        );
    }
    for line in [
        format!("hermes_session_at={access}; hermes_session_at={access}"),
        format!(
            "hermes_session_at={flipped}; hermes_session_at={access}; hermes_session_rt=garbage"
        ),
    ] {
        let reply = get(&dashboard.url("/api/auth/me"), &[("cookie", &line)]);
        assert_eq!(
            (reply.status, reply.set_cookies().len()),
            (200, 0),
            "the one that opens counts: {line}"
        );
    }
    let page = get(
        &dashboard.url("/x"),
        &[("cookie", "hermes_session_at=garbage")],
    );
    assert_eq!(
        (page.status, page.header("location")),
        (302, Some("/login?next=%2Fx"))
    );
    assert!(!page.set_cookies().is_empty());
}

#[test]
fn sessions_outlive_a_restart_and_a_new_key() {
    let config = |keys: &str| {
        format!(
            "dashboard:\n  public_url: {PLAIN}\n  session_key: {keys}\n  providers: [{{name: people, component: {}}}]\n",
            guest("people").display()
        )
    };
    let [old, new] = [
        "an-old-key-of-more-than-32-characters",
        "a-new-key-of-more-than-32-characters!",
    ];
    let home = Home::with_config(&config(&format!("\"{old}\"")));
    let dashboard = home.dashboard();
    let mut browser = signed_in(&dashboard, "ada");
    drop(dashboard);
    home.write(
        "portcullis.yaml",
        &config(&format!("[\"{new}\", \"{old}\"]")),
    );
    let dashboard = home.dashboard();
    assert_eq!(browser.get(&dashboard.url("/api/auth/me")).status, 200);
    drop(dashboard);
    home.write("portcullis.yaml", &config(&format!("\"{new}\"")));
    let dashboard = home.dashboard();
    assert_eq!(browser.get(&dashboard.url("/api/auth/me")).status, 401);
}

#[test]
fn own_key_is_made_once_for_its_owner_alone() {
    use std::os::unix::fs::PermissionsExt;
    let home = gated(PLAIN, "");
    let dashboard = home.dashboard();
    let mut browser = signed_in(&dashboard, "ada");
    drop(dashboard);
    let mode = std::fs::metadata(home.file("session_key"))
        .expect("a key")
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
    let dashboard = home.dashboard();
    assert_eq!(browser.get(&dashboard.url("/api/auth/me")).status, 200);
}

#[test]
fn session_ends_with_its_sign_out_for_every_copy_of_it() {
    let home = gated(PLAIN, "");
    let dashboard = home.dashboard();
    let mut browser = signed_in(&dashboard, "ada");
    let (mut copy, before) = (browser.clone(), browser.clone());
    let ticket = browser
        .post(&dashboard.url("/api/auth/ws-ticket"), "")
        .json()["ticket"]
        .as_str()
        .expect("a ticket")
        .to_owned();
    browser.post(&dashboard.url("/auth/logout"), "");
    assert_eq!(copy.get(&dashboard.url("/api/auth/me")).status, 401);
    let after_restart = before;
    let socket = get(&dashboard.url(&format!("/api/ws?ticket={ticket}")), &[]);
    assert_eq!(
        (socket.status, socket.header("content-type")),
        (401, Some("application/json"))
    );
    eventually("the sign-out is written down", SOON, || {
        std::fs::read_to_string(home.file("ended_sessions"))
            .ok()
            .filter(|text| text.lines().count() == 1)
    });
    drop(dashboard);
    let (dashboard, mut after_restart) = (home.dashboard(), after_restart);
    assert_eq!(
        after_restart.get(&dashboard.url("/api/auth/me")).status,
        401,
        "and no restart brings it back"
    );
}

#[test]
fn damaged_ends_of_sessions_are_named_at_each_start() {
    let home = gated(PLAIN, "");
    let mut dashboard = home.dashboard();
    let mut browser = signed_in(&dashboard, "ada");
    browser.post(&dashboard.url("/auth/logout"), "");
    dashboard.terminate();
    let path = home.file("ended_sessions");
    let whole = std::fs::read(&path).expect("the sign-out is written");

    let (zeroed, cut_off) = (vec![0; whole.len()], whole[..20].to_vec());
    for (content, warnings) in [(&whole, 0), (&zeroed, 1), (&zeroed, 1), (&cut_off, 1)] {
        std::fs::write(&path, content).expect("a file in the home");
        let mut dashboard = home.dashboard();
        dashboard.terminate();
        let log = dashboard.log();
        let found = log
            .lines()
            .filter(|line| line.contains("were signed out cannot be read"))
            .count();
        assert_eq!(found, warnings, "{content:?}: {log}");
    }
}

#[test]
fn sign_out_of_what_is_over_writes_nothing() {
    let home = gated(PLAIN, "");
    let mut dashboard = home.dashboard();
    let browser = signed_in(&dashboard, "ada");
    for _ in 0..20 {
        assert_eq!(
            browser
                .clone()
                .post(&dashboard.url("/auth/logout"), "")
                .status,
            302
        );
    }
    let written = || {
        std::fs::read_to_string(home.file("ended_sessions"))
            .unwrap_or_default()
            .lines()
            .count()
    };
    assert_eq!(written(), 1, "before the answer, and once");
    dashboard.terminate();
    assert_eq!(
        home.audit()
            .iter()
            .filter(|line| line["event"] == "logout")
            .count(),
        1
    );
}

#[test]
fn session_ends_with_its_provider() {
    let home = gated(PLAIN, "");
    let dashboard = home.dashboard();
    let mut browser = signed_in(&dashboard, "ada");
    let (other, before) = (guest("people"), browser.clone());
    home.write(
        "portcullis.yaml",
        &format!(
            "dashboard:\n  public_url: {PLAIN}\n  providers: [{{name: others, component: {}}}]\n",
            other.display()
        ),
    );
    eventually("the providers are reloaded", SOON, || {
        let providers = get(&dashboard.url("/api/auth/providers"), &[]).json();
        (providers["providers"][0]["name"] == "others").then_some(())
    });
    // The same component under another name is another provider.
    assert_eq!(browser.get(&dashboard.url("/api/auth/me")).status, 401);
    assert_eq!(
        (session_cookies(&browser), session_cookies(&before)),
        (0, 2)
    );
}

#[test]
fn no_provider_ever_sees_what_is_anothers() {
    let home = Home::with_config(&format!(
        "dashboard:\n  public_url: {PLAIN}\n  providers:\n    - {{name: records, component: {}, grants: {{keyvalue: true}}}}\n    \
         - {{name: people, component: {}}}\n    - {{name: records-too, component: {}, grants: {{keyvalue: true}}}}\n",
        guest("records").display(),
        guest("people").display(),
        guest("records").display(),
    ));
    let dashboard = home.dashboard();
    let seen = || {
        let reply = get(
            &dashboard.url("/api/auth/whoami"),
            &[("authorization", "Bearer what-was-seen")],
        );
        reply.json()["principal"]
            .as_str()
            .expect("an answer")
            .to_owned()
    };
    let mut browser = signed_in(&dashboard, "short");
    Browser::default().post(
        &dashboard.url("/auth/password-login"),
        &password("ada", "wrong"),
    );
    let nobody = json!({"provider": "nope", "username": "ada", "password": "hunter2"}).to_string();
    Browser::default().post(&dashboard.url("/auth/password-login"), &nobody);
    let before = browser.cookies.clone();
    eventually("the session was refreshed", SOON, || {
        browser.get(&dashboard.url("/api/auth/me"));
        (browser.cookies != before).then_some(())
    });
    browser.post(&dashboard.url("/auth/logout"), "");
    eventually("the revocation is told", SOON, || {
        home.audit()
            .iter()
            .any(|line| line["event"] == "revoke")
            .then_some(())
    });
    // Another provider sees only the credentials that the host makes up to hide the time.
    assert_eq!(seen(), "seen: no password at all,nobody");
    let own =
        json!({"provider": "records", "username": "ada", "password": "for-its-own"}).to_string();
    Browser::default().post(&dashboard.url("/auth/password-login"), &own);
    assert!(seen().contains("for-its-own"), "it does record");
}

#[test]
fn loopback_needs_no_session_and_gives_none() {
    let home = Home::with_config(&format!(
        "dashboard: {{providers: [{{name: people, component: {}}}]}}",
        guest("people").display()
    ));
    let dashboard = home.dashboard_with(
        &["--port", "0"],
        &[("HERMES_DASHBOARD_SESSION_TOKEN", PROCESS_TOKEN)],
    );
    let token = [("x-hermes-session-token", PROCESS_TOKEN)];
    assert_eq!(
        get(&dashboard.url("/auth/verify"), &token).status,
        401,
        "nobody is signed in"
    );
    assert_eq!(get(&dashboard.url("/api/auth/me"), &token).status, 404);
    assert_eq!(
        request("POST", &dashboard.url("/api/auth/ws-ticket"), &[], "").status,
        401
    );
    let ticket = request("POST", &dashboard.url("/api/auth/ws-ticket"), &token, "");
    assert_eq!(
        (ticket.status, ticket.json()["ttl_seconds"].as_u64()),
        (200, Some(30))
    );
    let drained = request(
        "POST",
        &dashboard.url("/api/drain"),
        &token,
        r#"{"action":"drain"}"#,
    );
    assert_eq!(drained.status, 200, "{drained:?}");
    assert_eq!(home.json(".drain_request.json")["principal"], "dashboard");
}

#[test]
fn applications_can_ask_for_a_scope() {
    let config = |routes: &str| {
        format!(
            "dashboard:\n  public_url: {PLAIN}\n  token_routes: [{routes}]\n  providers:\n    - {{name: known, component: {}, \
             grants: {{scopes: [metrics.read]}}}}\n    - {{name: people, component: {}}}\n",
            guest("known").display(),
            guest("people").display()
        )
    };
    let verify = |home: &Home, token: &str, browser: &mut Browser| {
        let dashboard = home.dashboard();
        *browser = signed_in(&dashboard, "ada");
        let authorization = format!("Bearer {token}");
        let headers = [("authorization", authorization.as_str())];
        let alone = get(&dashboard.url("/auth/verify"), &headers);
        let person = browser.request("GET", &dashboard.url("/auth/verify"), &headers, "");
        let user = |reply: &portcullis_tests::Reply| {
            (reply.status, reply.header("x-auth-user").map(str::to_owned))
        };
        (user(&alone), user(&person))
    };
    let (bot, ada) = (
        (200, Some("good-bot".to_owned())),
        (200, Some("ada".to_owned())),
    );
    let open = Home::with_config(&config(""));
    let guarded = Home::with_config(&config("{path: /auth/verify, scope: metrics.read}"));
    let mut browser = Browser::default();
    for (home, token, expected) in [
        (&open, "good-token", (bot.clone(), bot.clone())),
        (&open, "of-the-application", ((401, None), ada.clone())),
        (&open, DRAIN_SECRET, ((403, None), ada.clone())),
        (&guarded, "good-token", (bot.clone(), bot)),
        (&guarded, "scopeless-token", ((403, None), ada)),
    ] {
        assert_eq!(verify(home, token, &mut browser), expected, "{token}");
    }
}

#[test]
fn open_gate_drains_for_nobody() {
    let home = gated("http://agent.test", "");
    let dashboard = home.dashboard_with(
        &["--port", "0", "--insecure"],
        &[("HERMES_DASHBOARD_SESSION_TOKEN", PROCESS_TOKEN)],
    );
    let token = [("x-hermes-session-token", PROCESS_TOKEN)];
    assert_eq!(
        request("POST", &dashboard.url("/api/drain"), &token, "{}").status,
        401
    );
    assert!(
        !get(&dashboard.url("/"), &[])
            .body
            .contains("id=\"drain-form\"")
    );
    assert!(!home.file(".drain_request.json").exists());
}

#[test]
fn ticket_is_spent_once() {
    let home = gated(PLAIN, "");
    let dashboard = home.dashboard();
    let mut browser = signed_in(&dashboard, "ada");
    let ticket = browser
        .post(&dashboard.url("/api/auth/ws-ticket"), "")
        .json()["ticket"]
        .as_str()
        .expect("a ticket")
        .to_owned();
    let url = dashboard.url(&format!("/api/ws?ticket={ticket}"));
    let upgrade = [
        ("connection", "Upgrade"),
        ("upgrade", "websocket"),
        ("sec-websocket-version", "13"),
        ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ];
    let strange: Vec<_> = upgrade
        .iter()
        .copied()
        .chain([("origin", "http://evil.example")])
        .collect();
    assert_eq!(
        get(&url, &strange).status,
        403,
        "the origin is looked at first, and the ticket is not spent"
    );
    let statuses = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..20)
            .map(|_| scope.spawn(|| get(&url, &upgrade).status))
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().expect("an answer"))
            .collect::<Vec<_>>()
    });
    assert_eq!(
        statuses.iter().filter(|status| **status == 101).count(),
        1,
        "{statuses:?}"
    );
    assert_eq!(
        statuses.iter().filter(|status| **status == 401).count(),
        19,
        "{statuses:?}"
    );
    let rejected = eventually("the rejections are told", Duration::from_secs(10), || {
        let lines = home
            .audit()
            .into_iter()
            .filter(|line| line["event"] == "ws_ticket_rejected")
            .count();
        (lines == 19).then_some(lines)
    });
    assert_eq!(rejected, 19);
}
