//! What a request meets before and around the gate: hosts, origins, paths, the loopback token,
//! public binds.

use portcullis_tests::{Home, Process, SOON, eventually, get, guest, post, request};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

const TOKEN: &str = "the-page's-token-0Kq7Lx9Zr4Tb6Vn8Mc1W";

fn loopback(home: &Home) -> Process {
    home.dashboard_with(
        &["--port", "0"],
        &[("HERMES_DASHBOARD_SESSION_TOKEN", TOKEN)],
    )
}

/// Sends bytes as they are; the status of the answer.
fn raw(dashboard: &Process, head: &str) -> u16 {
    let mut stream =
        TcpStream::connect(("127.0.0.1", dashboard.port())).expect("the dashboard listens");
    stream
        .set_read_timeout(Some(Duration::from_secs(30)))
        .expect("a timeout");
    stream
        .write_all(head.as_bytes())
        .expect("the dashboard reads");
    let mut reply = String::new();
    let _ = stream.read_to_string(&mut reply);
    reply
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok())
        .unwrap_or_default()
}

#[test]
fn other_hosts_and_odd_paths_are_refused_before_the_gate() {
    let home = Home::new();
    let dashboard = loopback(&home);
    let ask = |path: &str, headers: &str| {
        raw(
            &dashboard,
            &format!("GET {path} HTTP/1.1\r\n{headers}Connection: close\r\n\r\n"),
        )
    };
    assert_eq!(ask("/api/status", "Host: localhost\r\n"), 200);
    assert_eq!(ask("/api/status", "Host: evil.example\r\n"), 400);
    assert_eq!(ask("/api/status", ""), 400);
    assert_eq!(
        ask("/api/status", "Host: localhost\r\nHost: localhost\r\n"),
        400
    );
    assert_eq!(
        ask("http://evil.example/api/status", "Host: localhost\r\n"),
        400
    );
    for path in [
        "/api%2fstatus",
        "/x/../api/status",
        "/%2e%2e/api/status",
        "/api/%00",
        "/./api/status",
    ] {
        assert_eq!(ask(path, "Host: localhost\r\n"), 400, "{path}");
    }
}

#[test]
fn pages_of_other_origins_are_refused() {
    let home = Home::new();
    let dashboard = loopback(&home);
    let url = dashboard.url("/api/gateway/drain");
    let with = |name: &'static str, value: &str| {
        post(
            &url,
            &[("x-hermes-session-token", TOKEN), (name, value)],
            "",
        )
        .status
    };
    assert_eq!(with("origin", "http://evil.example"), 403);
    assert_eq!(with("origin", "null"), 403);
    assert_eq!(with("sec-fetch-site", "cross-site"), 403);
    assert!(!home.file(".drain_request.json").exists());
    assert_eq!(with("origin", &dashboard.url("")), 200);
    assert_eq!(with("sec-fetch-site", "same-origin"), 200);
}

#[test]
fn loopback_api_needs_the_token_that_the_page_carries() {
    let home = Home::new();
    let dashboard = loopback(&home);
    for path in ["/metrics", "/api/nothing"] {
        let url = dashboard.url(path);
        let after = if path == "/metrics" { 200 } else { 404 };
        assert_eq!(get(&url, &[]).status, 401);
        assert_eq!(
            get(&url, &[("x-hermes-session-token", "wrong")]).status,
            401
        );
        assert_eq!(
            get(&url, &[("x-hermes-session-token", TOKEN)]).status,
            after
        );
        assert_eq!(
            get(&url, &[("authorization", &format!("Bearer {TOKEN}"))]).status,
            after
        );
    }
    let page = get(&dashboard.url("/"), &[]);
    assert!(page.body.contains(TOKEN));
    let policy = page.header("content-security-policy").expect("a policy");
    assert!(
        policy.contains("script-src 'nonce-") && policy.contains("frame-ancestors 'none'"),
        "{policy}"
    );
    for path in ["/api/status", "/healthz", "/readyz", "/api/nothing"] {
        assert!(
            !get(&dashboard.url(path), &[]).body.contains(TOKEN),
            "{path}"
        );
    }
}

#[test]
fn page_without_a_token_of_ours_makes_one_for_each_process() {
    let homes = [Home::new(), Home::new()];
    let token = |dashboard: &Process| {
        let page = get(&dashboard.url("/"), &[]).body;
        let (_, rest) = page
            .split_once("__HERMES_SESSION_TOKEN__=\"")
            .expect("the page carries it");
        rest.split('"').next().expect("its end").to_owned()
    };
    let (first, second) = (homes[0].dashboard(), homes[1].dashboard());
    assert_ne!(token(&first), token(&second));
    assert_eq!(
        get(
            &first.url("/metrics"),
            &[("x-hermes-session-token", &token(&first))]
        )
        .status,
        200
    );
    assert_eq!(
        get(
            &first.url("/metrics"),
            &[("x-hermes-session-token", &token(&second))]
        )
        .status,
        401
    );
}

#[test]
fn public_bind_without_sign_in_does_not_start() {
    for (config, flags) in [
        ("", &["serve", "--host", "0.0.0.0", "--port", "0"][..]),
        ("", &["serve", "--host", "127.0.0.2", "--port", "0"]),
        (
            "dashboard: {public_url: 'https://agent.example.com'}",
            &["serve", "--port", "0"],
        ),
    ] {
        let home = Home::with_config(config);
        let finished = Process::run(
            &home,
            flags,
            &[(
                "HERMES_DASHBOARD_DRAIN_SECRET",
                portcullis_tests::DRAIN_SECRET,
            )],
        );
        assert_eq!(finished.code, Some(64), "{flags:?}: {}", finished.stderr);
        assert!(
            finished
                .stderr
                .contains("Add a password or redirect provider"),
            "{}",
            finished.stderr
        );
        assert!(finished.stdout.is_empty());
    }
}

#[test]
fn public_bind_refuses_all_but_the_public_paths() {
    let home = Home::with_config(&format!(
        "dashboard: {{providers: [{{name: people, component: {}}}]}}",
        guest("signs_in").display()
    ));
    let dashboard = home.dashboard_with(
        &["--host", "127.0.0.2", "--port", "0"],
        &[("HERMES_DASHBOARD_SESSION_TOKEN", TOKEN)],
    );
    let url = |path: &str| dashboard.url(path).replace("127.0.0.1", "127.0.0.2");
    for path in ["/api/status", "/healthz", "/readyz"] {
        assert_eq!(get(&url(path), &[]).status, 200, "{path}");
    }
    assert_eq!(get(&url("/api/status"), &[]).json()["auth_required"], true);
    let token = [("x-hermes-session-token", TOKEN)];
    let me = get(&url("/api/auth/me"), &token);
    assert_eq!(
        (me.status, &me.json()["error"]),
        (401, &"unauthenticated".into())
    );
    for path in ["/", "/metrics", "/sessions?tab=2", "/assetsx"] {
        let reply = get(&url(path), &token);
        assert_eq!(reply.status, 302, "{path}");
        assert!(
            reply
                .header("location")
                .is_some_and(|url| url.starts_with("/login?next="))
        );
    }
}

#[test]
fn insecure_takes_the_gate_off_but_not_the_token_routes() {
    let home = Home::with_guests(&["known"]);
    let dashboard = home.dashboard_with(&["--host", "127.0.0.2", "--port", "0", "--insecure"], &[]);
    let url = |path: &str| dashboard.url(path).replace("127.0.0.1", "127.0.0.2");
    assert!(dashboard.log().contains("--insecure"));
    assert!(get(&url("/"), &[]).body.contains("The gate is off"));
    assert_eq!(get(&url("/api/status"), &[]).json()["auth_required"], false);
    assert_eq!(get(&url("/metrics"), &[]).status, 401);
    assert_eq!(
        get(&url("/metrics"), &[("authorization", "Bearer good-token")]).status,
        200
    );
    assert_eq!(post(&url("/api/gateway/drain"), &[], "").status, 401);
    // Every reader of the page has this process's token, so it must not drain.
    let page = get(&url("/"), &[]).body;
    let (_, token) = page
        .split_once("__HERMES_SESSION_TOKEN__=\"")
        .expect("the page carries it");
    let token = token.split('"').next().expect("its end");
    assert_eq!(
        post(
            &url("/api/gateway/drain"),
            &[("x-hermes-session-token", token)],
            ""
        )
        .status,
        401
    );
}

#[test]
fn unknown_methods_and_paths_have_plain_answers() {
    let home = Home::new();
    let dashboard = loopback(&home);
    assert_eq!(get(&dashboard.url("/nothing"), &[]).status, 404);
    assert_eq!(
        request("DELETE", &dashboard.url("/api/status"), &[], "").status,
        405
    );
    assert_eq!(
        request("BREW", &dashboard.url("/healthz"), &[], "").status,
        405
    );
}

#[test]
fn client_addresses_come_from_trusted_proxies_only() {
    for (trusted, expected) in [("[]", "127.0.0.1"), ("[127.0.0.0/8]", "203.0.113.9")] {
        let home = Home::with_config(&format!("dashboard: {{trusted_proxies: {trusted}}}"));
        let dashboard = home.dashboard();
        get(
            &dashboard.url("/api/auth/whoami"),
            &[("x-forwarded-for", "6.6.6.6, 203.0.113.9")],
        );
        let line = eventually("the refusal is audited", SOON, || {
            home.audit()
                .into_iter()
                .find(|line| line["event"] == "token_auth_failure")
        });
        assert_eq!(line["ip"], expected);
    }
}

#[test]
fn slow_heads_are_cut_off() {
    let home = Home::new();
    let dashboard = loopback(&home);
    let mut stream =
        TcpStream::connect(("127.0.0.1", dashboard.port())).expect("the dashboard listens");
    stream.set_read_timeout(Some(SOON)).expect("a timeout");
    stream
        .write_all(b"GET /healthz HTTP/1.1\r\nHost: local")
        .expect("the dashboard reads");
    let mut reply = Vec::new();
    // The connection ends by itself; a timeout of the test would be an error of another kind.
    let ended = stream.read_to_end(&mut reply);
    assert!(
        ended.is_ok()
            || ended.is_err_and(|error| error.kind() == std::io::ErrorKind::ConnectionReset)
    );
}
