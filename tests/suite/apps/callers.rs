//! Who reaches an application, and what it learns of its caller.

use super::upstream::{OK, Upstream};
use super::{PLAIN, home};
use crate::people::{gated, signed_in};
use portcullis_tests::{DRAIN_SECRET, Home, get, request};
use sha2::{Digest, Sha256};

#[test]
fn application_learns_who_calls_and_nothing_from_outside() {
    let upstream = Upstream::answering(OK);
    let home = home(&upstream, ", headers: {X-Api-Key: 'of-the-operator'}");
    let dashboard = home.dashboard();
    let mut browser = signed_in(&dashboard, "grouped");
    let outside = [
        ("x-auth-user", "eve"),
        ("x-auth-user", "eve-again"),
        ("X-AUTH-EMAIL", "eve@evil.test"),
        ("x_auth_user", "eve"),
        ("x_auth-groups", "admins"),
        ("x.auth.scopes", "all"),
        ("x-forwarded-for", "6.6.6.6"),
        ("x-forwarded-host", "evil.test"),
        ("x_forwarded_proto", "https"),
        ("forwarded", "for=6.6.6.6"),
        ("x-api-key", "of-eve"),
        ("x_api_key", "of-eve"),
        ("connection", "x-private"),
        ("x-private", "1"),
        ("te", "trailers"),
        ("cookie", "theme=dark; hermes_session_9120_at=x"),
        ("referer", "http://agent.test/page?q"),
        ("x-of-the-client", "stays"),
    ];
    let reply = browser.request("GET", &dashboard.url("/page?q=1"), &outside, "");
    assert_eq!(
        (reply.status, reply.body.as_str()),
        (200, "ok"),
        "{reply:?}"
    );

    let received = upstream.last();
    assert_eq!(received.line, "GET /page?q=1");
    let host = format!("127.0.0.1:{}", upstream.port);
    let referer = format!("http://{host}/page?q");
    for (name, value) in [
        ("x-auth-user", "grouped"),
        ("x-auth-provider", "people"),
        ("x-auth-email", "a%C3%A4@example.test"),
        ("x-auth-groups", "admins,cn=ops%2Cdc=b %C3%A4 100%25"),
        ("x-auth-scopes", ""),
        ("x-forwarded-for", "127.0.0.1"),
        ("x-forwarded-host", "agent.test"),
        ("x-forwarded-proto", "http"),
        ("forwarded", "for=127.0.0.1;host=\"agent.test\";proto=http"),
        ("x-api-key", "of-the-operator"),
        ("cookie", "theme=dark"),
        ("host", host.as_str()),
        ("referer", referer.as_str()),
        ("x-of-the-client", "stays"),
    ] {
        assert_eq!(received.all(name), [value], "{name}: {received:?}");
    }
    for name in [
        "x_auth_user",
        "x_auth-groups",
        "x.auth.scopes",
        "x_forwarded_proto",
        "x_api_key",
        "x-private",
        "te",
    ] {
        assert!(!received.has(name), "{name}: {received:?}");
    }
}

#[test]
fn both_headers_name_the_clients_that_a_trusted_proxy_wrote() {
    let upstream = Upstream::answering(OK);
    let app = format!(
        "  trusted_proxies: [127.0.0.1]\n  apps:\n    - {{name: app, path: /, upstream: 'http://127.0.0.1:{}', allow: public}}\n",
        upstream.port
    );
    let home = gated(PLAIN, &app);
    let dashboard = home.dashboard();
    for (written, addresses, elements) in [
        (
            ("x-forwarded-for", "9.9.9.9, 2001:db8::1"),
            "9.9.9.9, 2001:db8::1, 127.0.0.1",
            "for=9.9.9.9, for=\"[2001:db8::1]\", for=127.0.0.1;",
        ),
        (
            ("forwarded", "for=8.8.8.8, for=\"[2001:db8::1]\""),
            "8.8.8.8, 2001:db8::1, 127.0.0.1",
            "for=8.8.8.8, for=\"[2001:db8::1]\", for=127.0.0.1;",
        ),
    ] {
        assert_eq!(get(&dashboard.url("/x"), &[written]).status, 200);
        let received = upstream.last();
        assert_eq!(received.all("x-forwarded-for"), [addresses]);
        assert!(
            received.all("forwarded")[0].starts_with(elements),
            "{received:?}"
        );
    }
}

#[test]
fn application_learns_the_prefix_that_a_trusted_proxy_takes_off() {
    let upstream = Upstream::answering(OK);
    let app = format!(
        "  trusted_proxies: [127.0.0.1]\n  apps:\n    - {{name: app, path: /, upstream: 'http://127.0.0.1:{}'}}\n",
        upstream.port
    );
    let home = gated(PLAIN, &app);
    let dashboard = home.dashboard();
    let mut browser = signed_in(&dashboard, "ada");
    let proxy = [("x-forwarded-prefix", "/hermes")];
    let reply = browser.request("GET", &dashboard.url("/page"), &proxy, "");
    assert_eq!(reply.status, 200, "{reply:?}");
    assert_eq!(upstream.last().all("x-forwarded-prefix"), ["/hermes"]);
}

#[test]
fn callers_without_a_session_are_sent_to_sign_in_or_told_where() {
    let upstream = Upstream::answering(OK);
    let home = home(&upstream, ", public_paths: [/hook]");
    let dashboard = home.dashboard();
    let page = [("accept", "text/html,*/*;q=0.8")];
    let reply = get(&dashboard.url("/page?q=1"), &page);
    assert_eq!(
        (reply.status, reply.header("location")),
        (302, Some("/login?next=%2Fpage%3Fq%3D1"))
    );
    let navigates = [
        ("accept", "*/*"),
        ("sec-fetch-mode", "navigate"),
        ("sec-fetch-dest", "document"),
    ];
    for headers in [
        &navigates[..],
        &navigates[1..],
        &[("accept", "application/xhtml+xml")],
        &[("accept", "TEXT/HTML")],
    ] {
        let reply = get(&dashboard.url("/page"), headers);
        assert_eq!(reply.status, 302, "{headers:?}: {reply:?}");
    }
    let embeds = [("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "embed")];
    let fetch = [
        ("accept", "text/html"),
        ("sec-fetch-mode", "cors"),
        ("sec-fetch-dest", "empty"),
    ];
    let xhr = [
        ("accept", "text/html"),
        ("x-requested-with", "XMLHttpRequest"),
    ];
    for (method, path, headers) in [
        ("GET", "/api/x", &page[..]),
        ("GET", "/page", &[("accept", "application/json")][..]),
        ("GET", "/page", &[("accept", "*/*")][..]),
        ("GET", "/page", &[("accept", "text/html;q=0")][..]),
        ("GET", "/page", &[("accept-language", "en")][..]),
        ("GET", "/api/x", &navigates[..]),
        ("POST", "/page", &navigates[..]),
        ("GET", "/page", &embeds[..]),
        ("GET", "/page", &fetch[..]),
        ("GET", "/page", &xhr[..]),
        ("POST", "/page", &page[..]),
    ] {
        let reply = request(method, &dashboard.url(path), headers, "");
        assert_eq!(reply.status, 401, "{method} {path}: {reply:?}");
        assert!(
            reply.json()["login_url"]
                .as_str()
                .is_some_and(|url| url.starts_with("/login")),
            "{reply:?}"
        );
    }
    assert!(upstream.received().is_empty());

    let reply = get(&dashboard.url("/hook"), &[("x-auth-user", "eve")]);
    assert_eq!(
        (reply.status, upstream.last().has("x-auth-user")),
        (200, false)
    );
    for path in ["/hook/", "/hook/x", "/%68ook", "//hook"] {
        assert_eq!(get(&dashboard.url(path), &page).status, 302, "{path}");
    }
    let foreign = [("origin", "http://evil.test")];
    assert_eq!(
        request("POST", &dashboard.url("/hook"), &foreign, "x").status,
        403
    );
    assert_eq!(upstream.received().len(), 1);
}

#[test]
fn allow_says_who_passes() {
    let upstream = Upstream::answering(OK);
    let app = |name: &str, allow: &str| {
        format!(
            "    - {{name: {name}, path: /{name}, upstream: 'http://127.0.0.1:{}', allow: {allow}}}\n",
            upstream.port
        )
    };
    let apps = [
        app("everyone", "public"),
        app("people", "people"),
        app("operators", "{role: operator}"),
        app("viewers", "{role: viewer}"),
        app("admins", "{groups: [admins]}"),
        app("others", "{groups: [of-no-one-here]}"),
        app("services", "{scope: app.use}"),
    ];
    let roles = "  access: [{role: operator, users: [ada]}, {role: viewer, users: [grouped]}]\n";
    let home = gated(PLAIN, &format!("{roles}  apps:\n{}", apps.concat()));
    let dashboard = home.dashboard();
    for (user, passes) in [
        ("ada", [true, true, true, true, false, false, false]),
        ("grouped", [true, true, false, true, true, false, false]),
    ] {
        let mut browser = signed_in(&dashboard, user);
        for (path, passes) in [
            "/everyone",
            "/people",
            "/operators",
            "/viewers",
            "/admins",
            "/others",
            "/services",
        ]
        .iter()
        .zip(passes)
        {
            let reply = browser.get(&dashboard.url(path));
            assert_eq!(
                reply.status,
                if passes { 200 } else { 403 },
                "{user} {path}: {reply:?}"
            );
        }
        for app in ["others", "services"] {
            let url = dashboard.url(&format!("/{app}"));
            let program = browser.get(&url);
            assert_eq!(program.json()["error"], "forbidden", "{program:?}");
            let page = browser.request("GET", &url, &[("accept", "text/html")], "");
            let sentence = format!("may not use the application {app}");
            assert!(
                page.status == 403 && page.body.contains(&sentence),
                "{page:?}"
            );
        }
        for path in ["/%6fthers", "//others", "/others;x/y"] {
            assert_eq!(browser.get(&dashboard.url(path)).status, 403, "{path}");
        }
    }

    let without = get(&dashboard.url("/services"), &[]);
    assert_eq!(
        (without.status, without.header("www-authenticate")),
        (401, Some("Bearer"))
    );
}

#[test]
fn host_of_an_application_has_no_page_of_the_dashboard_on_any_port() {
    let upstream = Upstream::answering(OK);
    let app = format!(
        "  allowed_hosts: [tools.test]\n  apps:\n    - {{name: app, path: /, host: tools.test, upstream: 'http://127.0.0.1:{}'}}\n",
        upstream.port
    );
    let home = gated(PLAIN, &app);
    let dashboard = home.dashboard();
    let mut browser = signed_in(&dashboard, "ada");
    let port = dashboard.port();
    let own: Vec<_> = ["", ":80", ":9", ":443", &format!(":{port}")]
        .iter()
        .map(|port| format!("tools.test{port}"))
        .collect();

    for (method, path, at_the_public_host, at_its_own) in [
        ("GET", "/_portcullis/api/sessions", 200, 404),
        ("GET", "/_portcullis/", 200, 404),
        ("POST", "/api/auth/ws-ticket", 200, 404),
        // No gateway runs.
        ("POST", "/api/gateway/restart", 409, 404),
        ("GET", "/api/auth/me", 200, 200),
    ] {
        let mut ask = |host: &str| {
            let origin = format!("http://{host}");
            let headers = [("host", host), ("origin", origin.as_str())];
            browser.request(method, &dashboard.url(path), &headers, "")
        };
        let reply = ask("agent.test");
        assert_eq!(
            reply.status, at_the_public_host,
            "{method} {path}: {reply:?}"
        );
        for host in &own {
            let reply = ask(host);
            assert_eq!(
                reply.status, at_its_own,
                "{method} {path} at {host}: {reply:?}"
            );
        }
    }
    for host in &own {
        let reply = browser.request("GET", &dashboard.url("/"), &[("host", host)], "");
        assert_eq!(reply.body, "ok", "{host}");
    }

    let secret = format!("Bearer {DRAIN_SECRET}");
    let headers = [("host", "tools.test"), ("authorization", secret.as_str())];
    let drain = request("GET", &dashboard.url("/api/gateway/drain"), &headers, "");
    assert_eq!(
        drain.status, 200,
        "a token route needs no cookie: {drain:?}"
    );
}

#[test]
fn page_is_kept_from_the_host_of_an_application_that_is_not_listed() {
    let upstream = Upstream::answering(OK);
    let app = format!(
        "  host: 0.0.0.0\n  apps:\n    - {{name: app, path: /, host: tools.test, upstream: 'http://127.0.0.1:{}'}}\n",
        upstream.port
    );
    let home = gated(PLAIN, &app);
    let dashboard = home.dashboard();
    let mut browser = signed_in(&dashboard, "ada");
    let mut ask = |host: &str| {
        let url = dashboard.url("/_portcullis/");
        browser.request("GET", &url, &[("host", host)], "").status
    };
    assert_eq!((ask("agent.test"), ask("tools.test")), (200, 404));
}

#[test]
fn service_passes_with_the_scope_and_its_key_stays_with_the_host() {
    let upstream = Upstream::answering(OK);
    let digest = |key: &str| hex::encode(Sha256::digest(key));
    let home = Home::with_config(&format!(
        "dashboard:\n  public_url: {PLAIN}\n  apps:\n    - {{name: app, path: /, upstream: 'http://127.0.0.1:{}', \
         allow: [people, {{scope: app.use}}]}}\n  providers:\n    - name: keys\n      component: builtin:service-keys\n      \
         config: {{keys: [{{sha256: '{}', principal: ci, scopes: [app.use]}}, {{sha256: '{}', principal: other, scopes: [metrics.read]}}]}}\n      \
         grants: {{scopes: [app.use, metrics.read]}}\n    - {{name: people, component: {}}}\n",
        upstream.port,
        digest("the-key-of-ci"),
        digest("the-key-of-another"),
        portcullis_tests::guest("people").display(),
    ));
    let dashboard = home.dashboard();
    let bearer = |key: &str| {
        get(
            &dashboard.url("/api/x"),
            &[("authorization", &format!("Bearer {key}"))],
        )
    };
    assert_eq!(bearer("the-key-of-ci").status, 200);
    let received = upstream.last();
    assert_eq!(
        (received.all("x-auth-user"), received.all("x-auth-scopes")),
        (vec!["ci"], vec!["app.use"])
    );
    assert!(!received.has("authorization"), "{received:?}");
    assert_eq!(bearer("the-key-of-another").status, 403);
    assert_eq!(bearer("made-up").status, 401);
    assert_eq!(bearer(DRAIN_SECRET).status, 403);

    // With a session, another `Authorization` is the application's own.
    let mut browser = signed_in(&dashboard, "ada");
    let reply = browser.request(
        "GET",
        &dashboard.url("/api/x"),
        &[("authorization", "Basic eDp5")],
        "",
    );
    assert_eq!(
        (reply.status, upstream.last().all("authorization")),
        (200, vec!["Basic eDp5"])
    );
}
