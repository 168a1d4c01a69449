//! By which name, origin, proxy and connection a request reaches the dashboard, and what it gets
//! for that.

use crate::people::{gated, password};
use portcullis_tests::{Home, Process, Reply, SOON, eventually, get, post, request};
use serde_json::Value;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

const TOKEN: &str = "the-page's-token";

fn start(home: &Home) -> Process {
    home.dashboard_with(
        &["--port", "0"],
        &[("HERMES_DASHBOARD_SESSION_TOKEN", TOKEN)],
    )
}

fn connect(dashboard: &Process) -> TcpStream {
    let stream =
        TcpStream::connect(("127.0.0.1", dashboard.port())).expect("the dashboard listens");
    stream.set_read_timeout(Some(SOON)).expect("a timeout");
    stream
}

/// Sends a request as it stands and reads to the end of the connection: the status and everything
/// that came.
fn raw(dashboard: &Process, request: &[u8]) -> (u16, String) {
    let mut stream = connect(dashboard);
    stream.write_all(request).expect("the dashboard reads");
    let mut reply = Vec::new();
    let _ = stream.read_to_end(&mut reply);
    let reply = String::from_utf8_lossy(&reply).into_owned();
    (
        reply
            .split(' ')
            .nth(1)
            .and_then(|status| status.parse().ok())
            .unwrap_or_default(),
        reply,
    )
}

fn ask(dashboard: &Process, line: &str, headers: &str) -> (u16, String) {
    raw(
        dashboard,
        format!("{line}\r\n{headers}Connection: close\r\n\r\n").as_bytes(),
    )
}

fn audited_ip(home: &Home, place: usize) -> Value {
    eventually("the refusal is audited", SOON, || {
        let lines = home.audit();
        let mut refusals = lines
            .iter()
            .filter(|line| line["event"] == "token_auth_failure");
        refusals.nth(place).map(|line| line["ip"].clone())
    })
}

/// One of each kind of header that proxies, tunnels and load balancers write.
const SIGNS: &[&str] = &[
    "X-Forwarded-For",
    "X-Forwarded-Proto",
    "X-Forwarded-Host",
    "X-Forwarded-Server",
    "Forwarded",
    "Via",
    "X-Real-IP",
    "X-Client-IP",
    "X-Cluster-Client-IP",
    "True-Client-IP",
    "CF-Connecting-IP",
    "Fly-Client-IP",
    "X-Original-URI",
    "X-Original-Forwarded-For",
    "X-Envoy-External-Address",
    "X-Azure-ClientIP",
    "X-Amzn-Trace-Id",
    "Tailscale-User-Login",
];

#[test]
fn name_that_is_not_loopback_turns_the_gate_on() {
    for (config, flags, reason) in [
        (
            "dashboard: {allowed_hosts: [localhost, box.tail1234.ts.net]}",
            &[][..],
            "allowed_hosts names box.tail1234.ts.net",
        ),
        (
            "dashboard: {allowed_hosts: [127.0.0.2]}",
            &[],
            "allowed_hosts names 127.0.0.2",
        ),
        (
            "dashboard: {public_url: 'https://agent.example.com'}",
            &[],
            "public_url names agent.example.com",
        ),
        (
            "",
            &["--host", "LOCALHOST"],
            "LOCALHOST is not a loopback address",
        ),
    ] {
        let home = Home::with_config(config);
        let arguments: Vec<_> = ["serve", "--port", "0"]
            .iter()
            .chain(flags)
            .copied()
            .collect();
        let finished = Process::run(&home, &arguments, &[]);
        assert_eq!(finished.code, Some(64), "{}", finished.stderr);
        assert!(finished.stderr.contains(reason), "{}", finished.stderr);
        assert!(
            finished
                .stderr
                .contains("Add a password or redirect provider"),
            "{}",
            finished.stderr
        );
        if flags.is_empty() {
            let checked = Process::run(&home, &["config", "check"], &[]);
            assert_eq!(checked.code, Some(64), "{}", checked.stderr);
            assert!(checked.stderr.contains(reason), "{}", checked.stderr);
        }
    }
    let home = gated(
        "http://localhost",
        "  allowed_hosts: [agent.tailnet.example]\n",
    );
    let dashboard = start(&home);
    for host in ["agent.tailnet.example", "127.0.0.1"] {
        let (status, reply) = ask(&dashboard, "GET / HTTP/1.1", &format!("Host: {host}\r\n"));
        assert_eq!(status, 302, "{reply}");
        assert!(!reply.contains(TOKEN), "{reply}");
    }
    let checked = Process::run(&home, &["config", "check"], &[]);
    assert!(
        checked
            .stdout
            .contains("people must sign in: dashboard.allowed_hosts"),
        "{}",
        checked.stdout
    );
}

#[test]
fn process_token_works_for_no_request_that_shows_a_sign_of_a_proxy() {
    let home = Home::new();
    let dashboard = start(&home);
    let token = ("x-hermes-session-token", TOKEN);
    let bearer = format!("Bearer {TOKEN}");
    assert!(get(&dashboard.url("/"), &[]).body.contains(TOKEN));
    assert!(get(&dashboard.url("/readyz"), &[]).json()["providers"]["detail"].is_array());
    for sign in SIGNS {
        let forwarded = (*sign, "100.64.0.77");
        let page = get(&dashboard.url("/"), &[forwarded]);
        assert!(
            page.status == 200 && !page.body.contains("SESSION_TOKEN"),
            "{sign}: {}",
            page.body
        );
        let name = sign.to_ascii_lowercase();
        let says = [
            name.as_str(),
            "dashboard.public_url",
            "dashboard.allowed_hosts",
        ];
        assert!(
            says.iter().all(|what| page.body.contains(what)),
            "{sign}: {}",
            page.body
        );

        let refused =
            |reply: &Reply| (reply.status, reply.json()["error"] == "not_local") == (403, true);
        assert!(
            refused(&get(&dashboard.url("/metrics"), &[token, forwarded])),
            "{sign}"
        );
        let with_bearer = [("authorization", bearer.as_str()), forwarded];
        assert!(
            refused(&post(&dashboard.url("/api/drain"), &with_bearer, "{}")),
            "{sign}"
        );
        let ticket =
            post(&dashboard.url("/api/auth/ws-ticket"), &[token], "").json()["ticket"].clone();
        let socket = dashboard.url(&format!(
            "/api/ws?ticket={}",
            ticket.as_str().expect("a ticket")
        ));
        assert!(refused(&get(&socket, &[forwarded])), "{sign}");
        assert_eq!(
            get(&dashboard.url("/metrics"), &[forwarded]).status,
            401,
            "{sign}"
        );
        let ready = get(&dashboard.url("/readyz"), &[forwarded]);
        assert!(
            ready.json()["providers"]["detail"].is_null(),
            "{sign}: {}",
            ready.body
        );
    }
    assert!(!home.file(".drain_request.json").exists());
    assert_eq!(get(&dashboard.url("/metrics"), &[token]).status, 200);
    // The default of nginx for its upstreams, with no header at all.
    let (status, page) = ask(&dashboard, "GET / HTTP/1.0", "Host: 127.0.0.1\r\n");
    assert!(status == 200 && !page.contains(TOKEN), "{page}");
}

#[test]
fn pages_on_another_port_or_scheme_change_nothing() {
    let home = gated(
        "https://agent.test",
        "  allowed_hosts: [agent.tailnet.example]\n",
    );
    let dashboard = home.dashboard();
    let sign_in = |host: &str, origin: &str, site: &str| {
        let body = password("ada", "good");
        let headers = format!(
            "Host: {host}\r\nOrigin: {origin}\r\n{site}Content-Type: application/json\r\nContent-Length: {}\r\n\
             Connection: close\r\n",
            body.len()
        );
        let request = format!("POST /auth/password-login HTTP/1.1\r\n{headers}\r\n{body}");
        raw(&dashboard, request.as_bytes()).0
    };
    let port = dashboard.port();
    let local = format!("127.0.0.1:{port}");
    assert_eq!(sign_in("agent.test", "https://agent.test", ""), 200);
    assert_eq!(
        sign_in(
            &local,
            "https://agent.test",
            "Sec-Fetch-Site: same-origin\r\n"
        ),
        200
    );
    assert_eq!(
        sign_in(&local, &format!("http://localhost:{port}"), ""),
        200
    );
    for (host, origin) in [
        ("agent.test", "http://agent.test"),
        ("agent.test", "http://agent.test:31337"),
        ("agent.test", "https://agent.test:8443"),
        ("agent.test", "http://agent.tailnet.example:31337"),
        ("agent.test", "http://localhost"),
        ("agent.test", "https://127.0.0.1"),
        ("agent.test", "https://[::1]"),
        (local.as_str(), "http://127.0.0.1:1"),
        (local.as_str(), "null"),
    ] {
        assert_eq!(
            sign_in(host, origin, ""),
            403,
            "Host {host}, Origin {origin}"
        );
    }
    assert_eq!(
        sign_in(
            "agent.test",
            "https://agent.test",
            "Sec-Fetch-Site: same-site\r\n"
        ),
        403
    );
    assert_eq!(
        sign_in(
            "agent.test",
            "https://agent.test",
            "Sec-Fetch-Site: cross-site\r\n"
        ),
        403
    );
}

#[test]
fn probes_need_no_host_and_learn_no_names() {
    let home = Home::with_guests(&["known"]);
    let dashboard = start(&home);
    for path in ["/healthz", "/readyz"] {
        for (version, headers) in [
            ("1.0", ""),
            ("1.1", "Host: 10.1.2.3:9119\r\n"),
            ("1.1", "Host: \r\n"),
            ("1.1", "Host: localhost.\r\n"),
        ] {
            let (status, reply) = ask(&dashboard, &format!("GET {path} HTTP/{version}"), headers);
            assert_eq!(status, 200, "{path} {headers:?}: {reply}");
            let is_known = headers.contains("localhost");
            assert_eq!(
                reply.contains("known-0"),
                is_known && path == "/readyz",
                "{headers:?}: {reply}"
            );
        }
    }
    assert_eq!(ask(&dashboard, "GET /api/status HTTP/1.0", "").0, 400);
    assert_eq!(
        ask(
            &dashboard,
            "GET /api/status HTTP/1.1",
            "Host: LOCALHOST.\r\n"
        )
        .0,
        200
    );
}

#[test]
fn refused_host_is_named_with_the_setting() {
    let home = Home::new();
    let dashboard = home.dashboard();
    for (host, shown) in [
        ("evil.example", "evil.example"),
        ("[::1].evil.test", "[::1].evil.test"),
        ("localhost:x", "localhost:x"),
    ] {
        let (status, reply) = ask(&dashboard, "GET / HTTP/1.1", &format!("Host: {host}\r\n"));
        assert_eq!(status, 400, "{reply}");
        assert!(reply.contains(shown), "{reply}");
        eventually("the log names it", SOON, || {
            dashboard.log().contains(shown).then_some(())
        });
    }
    let (_, reply) = ask(&dashboard, "GET / HTTP/1.1", "Host: evil.example\r\n");
    assert!(reply.contains("dashboard.allowed_hosts"), "{reply}");
    let long = format!("Host: {}\r\n", "x".repeat(60_000));
    assert!(ask(&dashboard, "GET / HTTP/1.1", &long).1.len() < 2_000);
}

#[test]
fn client_is_read_in_every_form_that_proxies_write() {
    let home = Home::with_config("dashboard: {trusted_proxies: [127.0.0.1]}");
    let dashboard = home.dashboard();
    let unknown = "unknown client of 127.0.0.1";
    let forms: [(&[u8], &str); 14] = [
        (b"X-Forwarded-For: 203.0.113.10:51008", "203.0.113.10"),
        (b"X-Forwarded-For: [2001:db8::1]:443", "2001:db8::1"),
        (b"X-Forwarded-For: [2001:db8::2]", "2001:db8::2"),
        (b"X-Forwarded-For: \"[2001:db8::3]:4711\"", "2001:db8::3"),
        (b"X-Forwarded-For: fe80::1%eth0", "fe80::1"),
        (b"X-Forwarded-For: 203.0.113.11, ", "203.0.113.11"),
        (b"X-Forwarded-For: ::ffff:203.0.113.12", "203.0.113.12"),
        (b"X-Forwarded-For: unknown", unknown),
        (b"X-Forwarded-For: _hidden", unknown),
        (b"X-Forwarded-For: 203.0.113.010", unknown),
        (
            b"X-Forwarded-For: 6.6.6.6\r\nX-Forwarded-For: \xff",
            unknown,
        ),
        (b"X-Forwarded-For: \xff, 203.0.113.13", "203.0.113.13"),
        (
            b"Forwarded: for=\"[2001:db8::4]:4711\";proto=https",
            "2001:db8::4",
        ),
        (b"Forwarded: for=\"6.6.6.6, for=203.0.113.14", unknown),
    ];
    for (place, (header, expected)) in forms.into_iter().enumerate() {
        let start: &[u8] =
            b"GET /api/auth/whoami HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n";
        let (status, reply) = raw(&dashboard, &[start, header, b"\r\n\r\n"].concat());
        assert_eq!(status, 401, "{reply}");
        assert_eq!(
            audited_ip(&home, place),
            expected,
            "{}",
            header.escape_ascii()
        );
    }
    let warnings = dashboard
        .log()
        .matches("client address that cannot be read")
        .count();
    assert_eq!(warnings, 1, "{}", dashboard.log());
}

#[test]
fn people_behind_a_proxy_that_writes_ports_share_no_allowance() {
    let home = gated("http://agent.test", "  trusted_proxies: [127.0.0.1]\n");
    let dashboard = home.dashboard();
    let sign_in = |client: &str, user: &str, word: &str| {
        let headers = [
            ("content-type", "application/json"),
            ("x-forwarded-for", client),
        ];
        request(
            "POST",
            &dashboard.url("/auth/password-login"),
            &headers,
            &password(user, word),
        )
        .status
    };
    for place in 0..14 {
        let client = format!("203.0.113.{place}:51008");
        assert_eq!(
            sign_in(&client, &format!("user-{place}"), "wrong"),
            401,
            "{client}"
        );
    }
    // What cannot be read has one allowance, which is not the proxy's.
    let unknown: Vec<_> = (0..61)
        .map(|place| sign_in("unknown", &format!("other-{place}"), "wrong"))
        .collect();
    assert_eq!((unknown[59], unknown[60]), (401, 429));
    assert_eq!(sign_in("", "ada", "good"), 200);
}

#[test]
fn scheme_host_and_prefix_come_from_trusted_proxies() {
    let home = gated(
        "http://localhost",
        "  allowed_hosts: [agent.tailnet.example]\n  trusted_proxies: [127.0.0.1]\n",
    );
    // Without `public_url` what a proxy says counts.
    let config = std::fs::read_to_string(home.file("portcullis.yaml")).expect("the configuration");
    home.write(
        "portcullis.yaml",
        &config.replace("  public_url: http://localhost\n", ""),
    );
    let dashboard = home.dashboard();
    let sign_in = |headers: &[(&str, &str)]| {
        let kind = [("content-type", "application/json")];
        let headers: Vec<_> = headers.iter().chain(&kind).copied().collect();
        request(
            "POST",
            &dashboard.url("/auth/password-login"),
            &headers,
            &password("ada", "good"),
        )
    };
    for (headers, cookie) in [
        (
            &[("x-forwarded-proto", "https, http")][..],
            "__Host-hermes_session_at=",
        ),
        (
            &[(
                "forwarded",
                "for=192.0.2.7;proto=https;host=agent.tailnet.example",
            )],
            "__Host-hermes_session_at=",
        ),
        (
            &[
                ("x-forwarded-proto", "https"),
                ("x-forwarded-prefix", "hermes"),
            ],
            "__Secure-hermes_session_at=",
        ),
        (
            &[("x-forwarded-proto", "http, https")],
            "hermes_session_at=",
        ),
    ] {
        let reply = sign_in(headers);
        assert!(
            reply
                .set_cookies()
                .iter()
                .any(|found| found.starts_with(cookie)),
            "{headers:?}: {reply:?}"
        );
    }
    for (host, status) in [("agent.tailnet.example", 200), ("evil.example", 403)] {
        let origin = format!("https://{host}");
        let reply = sign_in(&[
            ("x-forwarded-proto", "https"),
            ("x-forwarded-host", host),
            ("origin", origin.as_str()),
        ]);
        assert_eq!(reply.status, status, "{reply:?}");
    }
    let asked = [
        ("x-forwarded-prefix", "hermes"),
        ("x-original-uri", "/hermes/app?x=1"),
    ];
    let reply = get(&dashboard.url("/auth/verify"), &asked);
    assert_eq!(
        reply.header("x-portcullis-login"),
        Some("/hermes/login?next=%2Fapp%3Fx%3D1")
    );
}

#[test]
fn prefix_of_a_trusted_proxy_counts_where_the_public_url_has_no_path() {
    let proxy = ("x-forwarded-prefix", "hermes");
    for (public_url, prefix) in [
        ("https://agent.test", "/hermes"),
        ("https://agent.test/fixed", "/fixed"),
    ] {
        let home = gated(public_url, "  trusted_proxies: [127.0.0.1]\n");
        let dashboard = home.dashboard();
        let refused = get(&dashboard.url("/x"), &[proxy]);
        assert_eq!(
            refused.header("location"),
            Some(format!("{prefix}/login?next=%2Fx").as_str())
        );
        let page = get(&dashboard.url("/login"), &[proxy]).body;
        assert!(
            page.contains(&format!("action=\"{prefix}/auth/password-login\"")),
            "{page}"
        );

        let headers = [proxy, ("content-type", "application/json")];
        let url = dashboard.url("/auth/password-login");
        let opened = post(&url, &headers, &password("ada", "good"));
        let path = format!("Path={prefix};");
        assert!(
            opened.set_cookies().iter().any(|cookie| {
                cookie.starts_with("__Secure-hermes_session_at=") && cookie.contains(&path)
            }),
            "{opened:?}"
        );
    }

    let home = gated("https://agent.test", "");
    let reply = get(&home.dashboard().url("/x"), &[proxy]);
    assert_eq!(
        reply.header("location"),
        Some("/login?next=%2Fx"),
        "no proxy is trusted"
    );
}

#[test]
fn verify_answers_below_its_path_and_keeps_its_head_small() {
    let home = gated("http://agent.test", "");
    let dashboard = home.dashboard();
    let login = |path: &str, headers: &[(&str, &str)]| {
        let reply = get(&dashboard.url(path), headers);
        assert_eq!(reply.status, 401, "{path}: {reply:?}");
        let head: usize = reply
            .headers
            .iter()
            .map(|(name, value)| name.len() + value.len() + 4)
            .sum();
        assert!(head < 4_000, "{path}: {head}");
        reply.header("x-portcullis-login").map(str::to_owned)
    };
    for (path, expected) in [
        ("/auth/verify", "/login?next=%2F"),
        ("/auth/verify/", "/login?next=%2F"),
        ("/auth/verify/app/x?q=1", "/login?next=%2Fapp%2Fx%3Fq%3D1"),
        ("/auth/verify/a%2Fb", "/login?next=%2Fa%252Fb"),
    ] {
        assert_eq!(login(path, &[]).as_deref(), Some(expected), "{path}");
    }
    let query = "/app?q=10%5C%5C.0%0A%E9";
    let expected = "/login?next=%2Fapp%3Fq%3D10%255C%255C.0%250A%25E9";
    assert_eq!(
        login("/auth/verify/x", &[("x-original-uri", query)]).as_deref(),
        Some(expected)
    );
    let long = format!("/app?q={}", "x".repeat(5_000));
    assert_eq!(
        login("/auth/verify", &[("x-original-uri", &long)]).as_deref(),
        Some("/login?next=%2Fapp")
    );
    assert_eq!(get(&dashboard.url("/auth/verifyx"), &[]).status, 302);
}

#[test]
fn connections_that_only_wait_do_not_delay_a_probe() {
    let home = Home::new();
    // 64 connections and as many files.
    let dashboard = Process::start_by(
        &["prlimit", "--nofile=128:128"],
        &home,
        &["serve", "--port", "0"],
        &[],
    );
    let dashboard = dashboard.ready("dashboard");
    let head = b"POST /auth/password-login HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
                 Content-Length: 100\r\n\r\n";
    let waiting: Vec<_> = (0..100)
        .map(|_| {
            let mut stream = connect(&dashboard);
            // The server may have closed it for one of the next.
            let _ = stream.write_all(head);
            stream
        })
        .collect();
    let began = Instant::now();
    assert_eq!(get(&dashboard.url("/healthz"), &[]).status, 200);
    assert!(
        began.elapsed() < Duration::from_secs(4),
        "{:?}",
        began.elapsed()
    );
    drop(waiting);
}

#[test]
fn idle_connection_outlasts_the_time_for_a_head() {
    let home = Home::new();
    let dashboard = home.dashboard();
    let mut stream = connect(&dashboard);
    let mut ask = |patience: u64| {
        stream
            .write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
            .expect("it is open");
        stream
            .set_read_timeout(Some(Duration::from_secs(patience)))
            .expect("a timeout");
        let (mut reply, mut buffer) = (Vec::new(), [0; 4096]);
        while !reply.ends_with(b"ok\n") {
            let read = stream.read(&mut buffer).expect("an answer");
            assert!(read > 0, "the connection ended");
            reply.extend_from_slice(&buffer[..read]);
        }
        // Nothing more comes, and the connection does not end, for longer than a head may take.
        stream.read(&mut buffer)
    };
    let silence = ask(12).expect_err("nothing comes");
    assert!(
        matches!(
            silence.kind(),
            std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut
        ),
        "{silence}"
    );
    assert!(ask(1).is_err());
}

#[test]
fn lost_schemes_and_plain_http_are_warned_of() {
    let home = gated("http://agent.test", "");
    let config = std::fs::read_to_string(home.file("portcullis.yaml")).expect("the configuration");
    home.write(
        "portcullis.yaml",
        &config.replace("  public_url: http://agent.test\n", "  host: 127.0.0.2\n"),
    );
    let dashboard = home.dashboard();
    assert!(
        dashboard.log().contains("plain http"),
        "{}",
        dashboard.log()
    );
    let url = dashboard.url("/login").replace("127.0.0.1", "127.0.0.2");
    for _ in 0..3 {
        assert_eq!(get(&url, &[("x-forwarded-proto", "https")]).status, 200);
    }
    let warnings = || {
        dashboard
            .log()
            .matches("not in dashboard.trusted_proxies")
            .count()
    };
    eventually("the warning is logged", SOON, || {
        (warnings() > 0).then_some(())
    });
    assert_eq!(warnings(), 1, "{}", dashboard.log());
}

#[test]
fn dashboard_that_takes_its_name_from_every_host_is_warned_of() {
    let home = gated("http://agent.test", "");
    let config = std::fs::read_to_string(home.file("portcullis.yaml")).expect("the configuration");
    for (place, is_warned_of) in [
        ("  host: 0.0.0.0\n", true),
        ("  host: 0.0.0.0\n  public_url: http://agent.test\n", false),
        ("  host: 127.0.0.2\n", false),
    ] {
        home.write(
            "portcullis.yaml",
            &config.replace("  public_url: http://agent.test\n", place),
        );
        let dashboard = home.dashboard();
        let log = dashboard.log();
        assert_eq!(
            log.contains("answers to every name"),
            is_warned_of,
            "{place}: {log}"
        );
    }
}

#[test]
fn public_url_with_a_path_of_another_meaning_is_refused() {
    for url in [
        "https://x//y",
        "https://x/a;Domain=evil.example",
        "https://x/a'b",
        "https://u@x",
        "https://x/?q",
        "https://x:99999",
    ] {
        let home = Home::with_config(&format!("dashboard:\n  port: 0\n  public_url: \"{url}\"\n"));
        let checked = Process::run(&home, &["config", "check"], &[]);
        assert_eq!(checked.code, Some(64), "{url}: {}", checked.stderr);
        assert!(
            checked.stderr.contains(":3:") && checked.stderr.contains("public_url"),
            "{}",
            checked.stderr
        );
    }
}
