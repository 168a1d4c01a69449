//! People at the door: the sign-in page, passwords, cookies, the throttle, and where one comes back
//! to.

use portcullis_tests::{Browser, Home, Process, SOON, eventually, get, guest, request};
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// A dashboard that is gated, since its public address is no loopback name, and that can be reached
/// here.
pub(crate) fn gated(public_url: &str, more: &str) -> Home {
    let people = guest("people");
    Home::with_config(&format!(
        "dashboard:\n  public_url: {public_url}\n{more}  providers:\n    - {{name: people, component: {}, \
         display_name: \"Pe<o>ple\", limits: {{deadline_ms: 2000}}}}\n",
        people.display()
    ))
}

const PLAIN: &str = "http://agent.test";

pub(crate) fn password(user: &str, password: &str) -> String {
    json!({"provider": "people", "username": user, "password": password}).to_string()
}

/// Returns the browser of a person who is signed in.
pub(crate) fn signed_in(dashboard: &Process, user: &str) -> Browser {
    let mut browser = Browser::default();
    let reply = browser.post(
        &dashboard.url("/auth/password-login"),
        &password(user, "good"),
    );
    assert_eq!(reply.status, 200, "{reply:?}");
    browser
}

#[test]
fn without_a_session_programs_get_a_sentence_and_browsers_the_sign_in_page() {
    let home = gated(PLAIN, "");
    let dashboard = home.dashboard();
    for path in ["/api/auth/me", "/api/nothing", "/api"] {
        let reply = get(&dashboard.url(path), &[]);
        assert_eq!(reply.status, 401, "{path}");
        let expected = json!({"error": "unauthenticated", "detail": "Unauthorized", "reason": "no_cookie", "login_url": "/login"});
        assert_eq!(reply.json(), expected, "{path}");
        assert!(reply.set_cookies().is_empty());
    }
    for (path, location) in [
        ("/", "/login?next=%2F"),
        (
            "/sessions?tab=2&q=a",
            "/login?next=%2Fsessions%3Ftab%3D2%26q%3Da",
        ),
        ("/metrics", "/login?next=%2Fmetrics"),
        ("/loginx", "/login?next=%2Floginx"),
        ("/assets", "/login?next=%2Fassets"),
    ] {
        let reply = get(&dashboard.url(path), &[]);
        assert_eq!(
            (reply.status, reply.header("location")),
            (302, Some(location)),
            "{path}"
        );
    }
    for path in [
        "/login",
        "/api/auth/providers",
        "/api/status",
        "/healthz",
        "/readyz",
        "/favicon.ico",
    ] {
        assert_eq!(get(&dashboard.url(path), &[]).status, 200, "{path}");
    }
}

#[test]
fn providers_are_those_that_sign_people_in() {
    let home = gated(PLAIN, "");
    let dashboard = home.dashboard();
    let providers = get(&dashboard.url("/api/auth/providers"), &[]).json();
    let expected =
        json!([{"name": "people", "display_name": "Pe<o>ple", "supports_password": true}]);
    assert_eq!(providers["providers"], expected);
    let page = get(&dashboard.url("/login"), &[]).body;
    assert!(
        page.contains("Pe&lt;o&gt;ple") && !page.contains("Pe<o>ple"),
        "{page}"
    );
}

#[test]
fn password_opens_a_session() {
    let home = gated(PLAIN, "");
    let dashboard = home.dashboard();
    let mut browser = Browser::default();
    let body =
        json!({"provider": "people", "username": "ada", "password": "good", "next": "/x?y=1"})
            .to_string();
    let reply = browser.post(&dashboard.url("/auth/password-login"), &body);
    assert_eq!(
        (reply.status, reply.json()),
        (200, json!({"ok": true, "next": "/x?y=1"}))
    );
    let me = browser.get(&dashboard.url("/api/auth/me")).json();
    assert_eq!(
        (&me["user_id"], &me["provider"]),
        (&"ada".into(), &"people".into())
    );
    let page = browser.get(&dashboard.url("/")).body;
    assert!(
        page.contains("&lt;b&gt;Ada&lt;/b&gt;") && !page.contains("<b>Ada"),
        "claims are text"
    );
    assert!(
        !page.contains("__HERMES_SESSION_TOKEN__="),
        "the process token is for loopback alone"
    );
    let verified = browser.get(&dashboard.url("/auth/verify"));
    assert_eq!(
        verified.header("x-auth-email"),
        Some("a%C3%A4@example.test")
    );
    let success = eventually("the sign-in is audited", SOON, || {
        home.audit()
            .into_iter()
            .find(|line| line["event"] == "login_success")
    });
    assert_eq!(
        (&success["user_id"], &success["provider"], &success["ip"]),
        (&"ada".into(), &"people".into(), &"127.0.0.1".into())
    );
    assert_eq!(success["component"].as_str().map(str::len), Some(64));
}

#[test]
fn refusals_tell_nothing_apart_that_should_not_be() {
    let home = gated(PLAIN, "");
    let dashboard = home.dashboard();
    let sign_in = |body: &Value| {
        let reply =
            Browser::default().post(&dashboard.url("/auth/password-login"), &body.to_string());
        assert!(reply.set_cookies().is_empty(), "{reply:?}");
        (reply.status, reply.body)
    };
    let attempt = |provider: &str, user: &str, password: &str| {
        sign_in(&json!({"provider": provider, "username": user, "password": password}))
    };
    assert_eq!(
        attempt("people", "ada", "wrong"),
        attempt("people", "who-is-that", "good-not")
    );
    assert_eq!(attempt("people", "ada", "wrong").0, 401);
    assert_eq!(
        attempt("nope", "ada", "good"),
        attempt("drain-secret", "ada", "good")
    );
    assert_eq!(attempt("nope", "ada", "good").0, 404);
    assert_eq!(sign_in(&json!({"provider": "people"})).0, 400);
    assert_eq!(sign_in(&json!([])).0, 400);
    let Value::String(long) = Value::from("x".repeat(2_000)) else {
        unreachable!("a string")
    };
    assert_eq!(attempt("people", "ada", &long).0, 401);
}

#[test]
fn provider_that_fails_signs_nobody_in() {
    let home = gated(PLAIN, "");
    let dashboard = home.dashboard();
    for (user, status) in [
        ("huge", 502),
        ("login-traps", 503),
        ("login-down", 503),
        ("nobody", 403),
        ("control", 403),
        ("expired", 403),
        ("for-ever", 403),
    ] {
        let mut browser = Browser::default();
        let reply = browser.post(
            &dashboard.url("/auth/password-login"),
            &password(user, "good"),
        );
        assert_eq!(
            (reply.status, browser.cookies.len()),
            (status, 0),
            "{user}: {reply:?}"
        );
    }
    let expected = [
        "session_too_large",
        "trapped",
        "unavailable",
        "unusable_claim",
    ];
    eventually("each is audited with its reason", SOON, || {
        let lines = home
            .audit()
            .into_iter()
            .filter(|line| line["event"] == "login_failure");
        let reasons: BTreeSet<_> = lines
            .filter_map(|line| Some(line["reason"].as_str()?.to_owned()))
            .collect();
        reasons
            .iter()
            .map(String::as_str)
            .eq(expected)
            .then_some(())
    });
}

#[test]
fn session_that_fits_no_cookie_is_a_fault_of_its_provider_in_plain_words() {
    let home = gated(PLAIN, "");
    let dashboard = home.dashboard();
    let url = dashboard.url("/auth/password-login");
    let reply = Browser::default().post(&url, &password("huge", "good"));
    assert_eq!(
        (reply.status, reply.json()["error"].as_str()),
        (502, Some("session_too_large")),
        "{reply:?}"
    );

    let form = [("content-type", "application/x-www-form-urlencoded")];
    let typed = "provider=people&username=huge&password=good";
    let page = request("POST", &url, &form, typed);
    assert_eq!(page.status, 502, "{page:?}");
    assert!(
        page.body
            .contains("session is too large for this dashboard"),
        "{page:?}"
    );

    let told = eventually("the fault is audited", SOON, || {
        home.audit()
            .into_iter()
            .find(|line| line["event"] == "provider_fault")
    });
    assert_eq!(
        (told["provider"].as_str(), told["fault"].as_str()),
        (Some("people"), Some("malformed")),
        "{told}"
    );
    let others = Browser::default().post(&url, &password("ada", "good"));
    assert_eq!(
        others.status, 200,
        "one person's tokens shut nobody else out"
    );
}

#[test]
fn eleventh_attempt_waits_whatever_it_is() {
    let home = gated(PLAIN, "  trusted_proxies: [127.0.0.0/8]\n");
    let dashboard = home.dashboard();
    let attempt = |address: &str, user: &str| {
        let headers = [
            ("content-type", "application/json"),
            ("x-forwarded-for", address),
        ];
        request(
            "POST",
            &dashboard.url("/auth/password-login"),
            &headers,
            &password(user, "wrong"),
        )
    };
    for number in 0..10 {
        assert_eq!(attempt("192.0.2.1", &format!("user-{number}")).status, 401);
    }
    let reply = attempt("192.0.2.1", "ada");
    assert_eq!(reply.status, 429, "{reply:?}");
    let wait: u64 = reply
        .header("retry-after")
        .expect("a header")
        .parse()
        .expect("seconds");
    assert!(
        (30..=60).contains(&wait),
        "until the first is a minute old: {wait}"
    );
    // By account, from addresses that have each tried once.
    for host in 10..20 {
        assert_eq!(attempt(&format!("192.0.2.{host}"), "ada").status, 401);
    }
    assert_eq!(attempt("192.0.2.99", "ada").status, 429);
    assert_eq!(attempt("192.0.2.99", "bob").status, 401);
    let form = request(
        "POST",
        &dashboard.url("/auth/password-login"),
        &[
            ("content-type", "application/x-www-form-urlencoded"),
            ("x-forwarded-for", "192.0.2.1"),
        ],
        "provider=people&username=ada&password=good",
    );
    assert_eq!(
        (form.status, form.header("content-type")),
        (429, Some("text/html; charset=utf-8"))
    );
}

#[test]
fn owner_of_an_account_is_not_locked_out_by_strangers() {
    let home = gated(PLAIN, "  trusted_proxies: [127.0.0.0/8]\n");
    let dashboard = home.dashboard();
    let attempt = |address: &str, word: &str| {
        let headers = [
            ("content-type", "application/json"),
            ("x-forwarded-for", address),
        ];
        request(
            "POST",
            &dashboard.url("/auth/password-login"),
            &headers,
            &password("ada", word),
        )
        .status
    };
    assert_eq!(attempt("198.51.100.7", "good"), 200);
    let strangers: Vec<_> = (0..12)
        .map(|host| attempt(&format!("192.0.2.{host}"), "wrong"))
        .collect();
    assert!(strangers.contains(&429), "{strangers:?}");
    assert_eq!(attempt("198.51.100.7", "good"), 200);
}

#[test]
fn form_works_without_a_script() {
    let home = gated(PLAIN, "");
    let dashboard = home.dashboard();
    let mut browser = Browser::default();
    let url = dashboard.url("/auth/password-login");
    let refused = browser.form(
        &url,
        "provider=people&username=ada&password=wrong&next=%2Fx",
    );
    assert_eq!(refused.status, 401);
    assert!(
        refused.body.contains("Invalid username or password.")
            && refused.body.contains("value=\"/x\"")
    );
    let done = browser.form(
        &url,
        "provider=people&username=ada&password=good&next=%2Fx%3Fa%3D1",
    );
    assert_eq!(
        (done.status, done.header("location")),
        (303, Some("/x?a=1"))
    );
    assert_eq!(browser.get(&dashboard.url("/api/auth/me")).status, 200);
}

#[test]
fn next_never_leads_elsewhere() {
    let home = gated(PLAIN, "  trusted_proxies: [127.0.0.0/8]\n");
    let dashboard = home.dashboard();
    for (host, next) in [
        "//e",
        "/\\e",
        "/%5ce",
        "/%2f%2fe",
        "/%252f%252fe",
        "/\te",
        "/%09/e",
        "/%0a/e",
        "https://e",
        "e",
        "",
        "/login",
        "/login?next=/",
        "/auth/x",
        "/api/x",
        "/%61pi/x",
        "/a/../b",
        "javascript:alert(1)",
    ]
    .into_iter()
    .enumerate()
    {
        let body = json!({"provider": "people", "username": format!("user-{host}"), "password": "good", "next": next});
        let address = format!("192.0.2.{host}");
        let headers = [
            ("content-type", "application/json"),
            ("x-forwarded-for", address.as_str()),
        ];
        let reply = request(
            "POST",
            &dashboard.url("/auth/password-login"),
            &headers,
            &body.to_string(),
        );
        assert_eq!(reply.json()["next"], "/", "{next}");
        let encoded: String = next.bytes().map(|byte| format!("%{byte:02x}")).collect();
        let page = get(&dashboard.url(&format!("/login?next={encoded}")), &[]);
        assert!(page.body.contains(r#"name="next" value="/""#), "{next}");
    }
}

#[test]
fn cookies_carry_the_names_and_attributes_of_their_site() {
    for (public_url, name, attributes) in [
        (
            PLAIN,
            "hermes_session_at",
            "HttpOnly; SameSite=Lax; Path=/; Max-Age=",
        ),
        (
            "https://agent.test",
            "__Host-hermes_session_at",
            "HttpOnly; SameSite=Lax; Secure; Path=/; Max-Age=",
        ),
        (
            "https://agent.test/a",
            "__Secure-hermes_session_at",
            "HttpOnly; SameSite=Lax; Secure; Path=/a; Max-Age=",
        ),
    ] {
        let home = gated(public_url, "");
        let dashboard = home.dashboard();
        let mut browser = Browser::default();
        let made = browser.post(
            &dashboard.url("/auth/password-login"),
            &password("ada", "good"),
        );
        let cookie = made
            .set_cookies()
            .into_iter()
            .find(|cookie| cookie.starts_with(&format!("{name}=")))
            .expect(name)
            .to_owned();
        assert!(cookie.contains(attributes), "{cookie}");
        let out = browser.post(&dashboard.url("/auth/logout"), "");
        let deleted = out
            .set_cookies()
            .into_iter()
            .find(|cookie| cookie.starts_with(&format!("{name}=;")))
            .expect(name);
        assert!(deleted.contains(&format!("{attributes}0")), "{deleted}");
        assert_eq!(
            out.header("strict-transport-security").is_some(),
            public_url.starts_with("https")
        );
        let prefix = if public_url.ends_with("/a") { "/a" } else { "" };
        assert_eq!(
            out.header("location"),
            Some(format!("{prefix}/login").as_str())
        );
        let page = get(&dashboard.url("/"), &[]);
        assert_eq!(
            page.header("location"),
            Some(format!("{prefix}/login?next=%2F").as_str())
        );
    }
}

#[test]
fn forwarded_scheme_and_prefix_are_believed_of_trusted_proxies_alone() {
    for (trusted, name) in [
        ("", "hermes_session_at"),
        (
            "  trusted_proxies: [127.0.0.1]\n",
            "__Secure-hermes_session_at",
        ),
    ] {
        let home = Home::with_config(&format!(
            "dashboard:\n  host: 0.0.0.0\n{trusted}  providers: [{{name: people, component: {}}}]\n",
            guest("people").display()
        ));
        let dashboard = home.dashboard();
        let headers = [
            ("content-type", "application/json"),
            ("x-forwarded-proto", "https"),
            ("x-forwarded-prefix", "/agent"),
        ];
        let reply = request(
            "POST",
            &dashboard.url("/auth/password-login"),
            &headers,
            &password("ada", "good"),
        );
        assert!(
            reply.set_cookies()[0].starts_with(&format!("{name}=")),
            "{reply:?}"
        );
    }
}

#[test]
fn refresh_token_that_is_empty_writes_no_cookie() {
    let home = gated(PLAIN, "");
    let dashboard = home.dashboard();
    let browser = signed_in(&dashboard, "no-refresh");
    assert_eq!(
        browser.cookies.keys().collect::<Vec<_>>(),
        ["hermes_session_at", "hermes_session_device"]
    );
}

#[test]
fn sign_out_always_deletes_and_always_leads_to_the_sign_in_page() {
    let home = gated(PLAIN, "");
    let dashboard = home.dashboard();
    let mut garbage = Browser::default();
    garbage
        .cookies
        .insert("hermes_session_at".into(), "garbage".into());
    for mut browser in [
        Browser::default(),
        garbage,
        signed_in(&dashboard, "ada"),
        signed_in(&dashboard, "traps"),
    ] {
        let reply = browser.post(&dashboard.url("/auth/logout"), "");
        assert_eq!(
            (reply.status, reply.header("location")),
            (302, Some("/login"))
        );
        for name in [
            "hermes_session_at",
            "hermes_session_pkce",
            "hermes_session_rt",
        ] {
            let is_deleted = |cookie: &&str| cookie.starts_with(&format!("{name}=;"));
            assert!(
                reply.set_cookies().iter().any(is_deleted),
                "{name}: {reply:?}"
            );
        }
        assert!(
            browser.cookies.keys().all(|name| name.ends_with("_device")),
            "{browser:?}"
        );
    }
    assert_eq!(get(&dashboard.url("/auth/logout"), &[]).status, 405);
}

#[test]
fn password_and_tokens_are_in_no_log() {
    let home = gated(PLAIN, "");
    let dashboard = home.dashboard();
    let canary = "canary-password-93b1";
    Browser::default().post(
        &dashboard.url("/auth/password-login"),
        &password("ada", canary),
    );
    Browser::default().post(
        &dashboard.url("/auth/password-login"),
        &password("login-traps", canary),
    );
    let mut browser = signed_in(&dashboard, "ada");
    let ticket = browser
        .post(&dashboard.url("/api/auth/ws-ticket"), "")
        .json()["ticket"]
        .as_str()
        .expect("a ticket")
        .to_owned();
    get(&dashboard.url(&format!("/api/ws?ticket={ticket}")), &[]);
    browser.post(&dashboard.url("/auth/logout"), "");
    let written = dashboard.log() + &serde_json::to_string(&home.audit()).expect("JSON");
    for secret in [canary, "at:ada", "rt:ada", &ticket] {
        assert!(!written.contains(secret), "{secret} in {written}");
    }
}
