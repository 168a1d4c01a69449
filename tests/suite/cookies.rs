//! Cookies of several dashboards, sign-ins, prefixes and devices in one browser, and what people
//! read when a sign-in fails.

use super::people::{gated, password};
use portcullis_tests::{Home, Process, Reply, SOON, eventually, guest, request};
use serde_json::json;

const PLAIN: &str = "http://agent.test";
const JSON: (&str, &str) = ("content-type", "application/json");

/// One host's cookies as a browser keeps them: by name and path, for all ports (RFC 6265, section
/// 8.5).
#[derive(Clone, Debug, Default)]
struct Jar {
    cookies: Vec<Kept>,
    /// The path prefix under which the browser reaches the dashboard.
    prefix: String,
}

#[derive(Clone, Debug)]
struct Kept {
    name: String,
    path: String,
    value: String,
}

impl Jar {
    fn ask(
        &mut self,
        dashboard: &Process,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Reply {
        let line = self.line(&format!("{}{path}", self.prefix));
        let cookies = Some(("cookie", line.as_str())).filter(|(_, line)| !line.is_empty());
        let headers: Vec<_> = headers.iter().copied().chain(cookies).collect();
        let reply = request(method, &dashboard.url(path), &headers, body);
        reply
            .set_cookies()
            .into_iter()
            .for_each(|cookie| self.take(cookie));
        reply
    }

    fn get(&mut self, dashboard: &Process, path: &str) -> Reply {
        self.ask(dashboard, "GET", path, &[], "")
    }

    /// The `Cookie` header for a path, the longest paths first (RFC 6265, section 5.4).
    fn line(&self, path: &str) -> String {
        let path = path.split('?').next().unwrap_or_default();
        let is_below = |parent: &str| {
            let rest = path.strip_prefix(parent);
            rest.is_some_and(|rest| {
                rest.is_empty() || parent.ends_with('/') || rest.starts_with('/')
            })
        };
        let mut sent: Vec<_> = self
            .cookies
            .iter()
            .filter(|cookie| is_below(&cookie.path))
            .collect();
        sent.sort_by_key(|cookie| std::cmp::Reverse(cookie.path.len()));
        sent.iter()
            .map(|cookie| format!("{}={}", cookie.name, cookie.value))
            .collect::<Vec<_>>()
            .join("; ")
    }

    fn take(&mut self, line: &str) {
        let (pair, attributes) = line.split_once(';').expect("a cookie has attributes");
        let (name, value) = pair.split_once('=').expect("a cookie has a value");
        let path = attributes
            .split(';')
            .find_map(|attribute| attribute.trim().strip_prefix("Path="));
        let path = path.expect("a cookie has a path");
        self.cookies
            .retain(|cookie| (cookie.name.as_str(), cookie.path.as_str()) != (name, path));
        if !attributes.contains("Max-Age=0") {
            self.plant(name, value, path);
        }
    }

    fn plant(&mut self, name: &str, value: &str, path: &str) {
        self.cookies.push(Kept {
            name: name.to_owned(),
            path: path.to_owned(),
            value: value.to_owned(),
        });
    }

    fn named(&self, part: &str) -> usize {
        self.cookies
            .iter()
            .filter(|cookie| cookie.name.contains(part))
            .count()
    }

    fn session_cookies(&self) -> usize {
        let is_one = |cookie: &&Kept| cookie.name.ends_with("_at") || cookie.name.ends_with("_rt");
        self.cookies.iter().filter(is_one).count()
    }

    fn sign_in(&mut self, dashboard: &Process, user: &str) {
        let reply = self.ask(
            dashboard,
            "POST",
            "/auth/password-login",
            &[JSON],
            &password(user, "good"),
        );
        assert_eq!(reply.status, 200, "{reply:?}");
    }

    fn sign_out(&mut self, dashboard: &Process) {
        assert_eq!(
            self.ask(dashboard, "POST", "/auth/logout", &[], "").status,
            302
        );
    }

    /// Who is signed in.
    fn user(&mut self, dashboard: &Process) -> Option<String> {
        let reply = self.get(dashboard, "/api/auth/me");
        reply.json()["user_id"].as_str().map(str::to_owned)
    }

    /// Begins a sign-in at an identity provider, and returns its state.
    fn begin(&mut self, dashboard: &Process, provider: &str, next: &str) -> String {
        let reply = self.get(
            dashboard,
            &format!("/auth/login?provider={provider}&next={next}"),
        );
        let location = reply.header("location").expect("a redirect");
        let (_, state) = location.split_once("?state=").expect(location);
        state.to_owned()
    }

    /// Comes back from the identity provider, and returns where to.
    fn come_back(&mut self, dashboard: &Process, state: &str, code: &str) -> String {
        let reply = self.get(
            dashboard,
            &format!("/auth/callback?state={state}&code={code}"),
        );
        reply.header("location").expect("a redirect").to_owned()
    }
}

/// A dashboard with two identity providers.
fn with_identity_providers(more: &str) -> Home {
    let redirects = guest("redirects");
    let redirects = redirects.display();
    Home::with_config(&format!(
        "dashboard:\n  public_url: {PLAIN}\n{more}  providers:\n    - {{name: corp, component: {redirects}}}\n    \
         - {{name: other, component: {redirects}}}\n"
    ))
}

#[test]
fn two_dashboards_on_one_host_stay_signed_in() {
    let homes = [gated(PLAIN, ""), gated(PLAIN, "")];
    let [one, other] = [homes[0].dashboard(), homes[1].dashboard()];
    for (first, second) in [(&one, &other), (&other, &one)] {
        let mut jar = Jar::default();
        jar.sign_in(first, "ada");
        let reply = jar.get(second, "/api/auth/me");
        assert_eq!(
            (reply.status, reply.json()["error"].as_str()),
            (401, Some("session_expired"))
        );
        jar.sign_in(second, "bob");
        assert_eq!(
            (jar.user(first), jar.user(second)),
            (Some("ada".into()), Some("bob".into()))
        );

        jar.sign_out(second);
        assert_eq!(
            (jar.user(first), jar.user(second)),
            (Some("ada".into()), None)
        );
        jar.sign_in(second, "bob");
        jar.sign_out(first);
        assert_eq!(
            (jar.user(first), jar.user(second)),
            (None, Some("bob".into()))
        );
        jar.sign_in(first, "ada");
        assert_eq!(
            (jar.user(first), jar.user(second)),
            (Some("ada".into()), Some("bob".into()))
        );
    }
}

#[test]
fn cookies_carry_the_configured_name() {
    let home = gated(PLAIN, "  cookie_name: agent\n");
    let dashboard = home.dashboard();
    let mut jar = Jar::default();
    jar.sign_in(&dashboard, "ada");
    assert!(
        jar.cookies
            .iter()
            .all(|cookie| cookie.name.starts_with("agent_")),
        "{jar:?}"
    );
    assert_eq!(jar.user(&dashboard).as_deref(), Some("ada"));
}

#[test]
fn planted_cookies_do_not_lock_a_person_out() {
    for (public_url, form, prefix) in [(PLAIN, "", ""), ("https://agent.test/a", "__Secure-", "/a")]
    {
        let home = gated(public_url, "");
        let dashboard = home.dashboard();
        let mut stranger = Jar {
            prefix: prefix.to_owned(),
            ..Jar::default()
        };
        stranger.sign_in(&dashboard, "mallory");
        let mut jar = stranger.clone();
        jar.cookies
            .iter_mut()
            .for_each(|cookie| cookie.path = "/".to_owned());
        jar.plant(&format!("{form}hermes_session_at"), "garbage", "/");
        jar.plant(&format!("{form}hermes_session_rt"), "", "/");
        jar.sign_in(&dashboard, "ada");
        assert_eq!(jar.user(&dashboard).as_deref(), Some("ada"), "{jar:?}");
        jar.sign_out(&dashboard);
        assert_eq!(
            (jar.user(&dashboard), jar.session_cookies()),
            (None, 0),
            "{jar:?}"
        );
    }
}

#[test]
fn garbage_is_deleted_under_every_form_of_the_name() {
    let home = gated(PLAIN, "");
    let dashboard = home.dashboard();
    let mut jar = Jar::default();
    jar.plant("hermes_session_at", "garbage", "/");
    let reply = jar.get(&dashboard, "/api/auth/me");
    let expected = json!({"error": "session_expired", "detail": "Unauthorized",
                          "reason": "invalid_or_expired_session", "login_url": "/login"});
    assert_eq!((reply.status, reply.json()), (401, expected));
    for form in ["", "__Host-", "__Secure-"] {
        for name in ["hermes_session_at", "hermes_session_rt"] {
            let is_deleted = |cookie: &&str| cookie.starts_with(&format!("{form}{name}=;"));
            let deletion = reply
                .set_cookies()
                .into_iter()
                .find(is_deleted)
                .expect(name);
            assert!(deletion.ends_with("Path=/; Max-Age=0"), "{deletion}");
        }
    }
    assert_eq!(jar.session_cookies(), 0);
}

#[test]
fn change_of_the_prefix_locks_nobody_out() {
    for (before, after, first, second) in [
        (PLAIN, "http://agent.test/agent", "", "/agent"),
        (
            "https://agent.test/agent",
            "https://agent.test/agent/v2",
            "/agent",
            "/agent/v2",
        ),
        (
            "https://agent.test/agent/v2",
            "https://agent.test/agent",
            "/agent/v2",
            "/agent",
        ),
    ] {
        let home = gated(before, "");
        let mut jar = Jar {
            prefix: first.to_owned(),
            ..Jar::default()
        };
        let dashboard = home.dashboard();
        jar.sign_in(&dashboard, "ada");
        drop(dashboard);

        let text =
            std::fs::read_to_string(home.file("portcullis.yaml")).expect("the configuration");
        home.write(
            "portcullis.yaml",
            &text.replace(
                &format!("public_url: {before}\n"),
                &format!("public_url: {after}\n"),
            ),
        );
        let dashboard = home.dashboard();
        jar.prefix = second.to_owned();
        jar.sign_in(&dashboard, "bob");
        assert_eq!(
            jar.user(&dashboard).as_deref(),
            Some("bob"),
            "{before} -> {after}"
        );
        jar.sign_out(&dashboard);
        assert_eq!(jar.user(&dashboard), None, "{before} -> {after}");
        let left = jar.line(&format!("{second}/"));
        assert!(
            !left.contains("_at=") && !left.contains("_rt="),
            "{before} -> {after}: {left}"
        );
    }
}

#[test]
fn sign_ins_in_several_tabs_do_not_disturb_each_other() {
    let home = with_identity_providers("");
    let dashboard = home.dashboard();
    for order in [[0, 1, 2], [2, 1, 0], [1, 0, 2]] {
        let mut jar = Jar::default();
        let tabs = [("corp", "/one"), ("corp", "/two"), ("other", "/three")];
        let states = tabs.map(|(provider, next)| jar.begin(&dashboard, provider, next));
        for tab in order {
            assert_eq!(
                jar.come_back(&dashboard, &states[tab], "ada"),
                tabs[tab].1,
                "{order:?}"
            );
        }
        assert_eq!(
            (jar.user(&dashboard).as_deref(), jar.named("pkce")),
            (Some("ada"), 0)
        );
    }
}

#[test]
fn of_ten_tabs_the_oldest_are_dropped_with_a_sentence() {
    let home = with_identity_providers("");
    let dashboard = home.dashboard();
    let mut jar = Jar::default();
    let states: Vec<_> = (0..10)
        .map(|tab| jar.begin(&dashboard, "corp", &format!("/{tab}")))
        .collect();
    assert_eq!(jar.named("pkce"), 5);
    for state in &states[..5] {
        let reply = jar.get(
            &dashboard,
            &format!("/auth/callback?state={state}&code=ada"),
        );
        assert_eq!(
            reply.header("location"),
            Some("/login?next=%2F&failed=expired")
        );
        assert!(
            reply.set_cookies().is_empty(),
            "an unknown state deletes nothing"
        );
    }
    let page = jar.get(&dashboard, "/login?next=%2F&failed=expired").body;
    assert!(page.contains("Please start again."), "{page}");
    for (tab, state) in states.iter().enumerate().skip(5) {
        assert_eq!(jar.come_back(&dashboard, state, "ada"), format!("/{tab}"));
    }
}

#[test]
fn callback_that_comes_twice_costs_no_session() {
    let home = with_identity_providers("");
    let dashboard = home.dashboard();
    let mut jar = Jar::default();
    let state = jar.begin(&dashboard, "corp", "/page");
    let url = format!("/auth/callback?state={state}&code=ada");
    assert_eq!(
        jar.ask(&dashboard, "HEAD", &url, &[], "").status,
        405,
        "and the sign-in is not spent"
    );
    let mut thief = jar.clone();
    assert_eq!(jar.come_back(&dashboard, &state, "ada"), "/page");

    assert_eq!(jar.come_back(&dashboard, &state, "ada"), "/", "a reload");
    assert_eq!(jar.come_back(&dashboard, "unknown", "ada"), "/");
    let pending = jar.begin(&dashboard, "corp", "/later");
    assert_eq!(jar.come_back(&dashboard, "unknown", "ada"), "/");
    assert_eq!(jar.come_back(&dashboard, &pending, "ada"), "/later");
    assert_eq!(jar.user(&dashboard).as_deref(), Some("ada"));

    assert_eq!(
        thief.come_back(&dashboard, &state, "ada"),
        "/login?next=%2Fpage&failed=expired"
    );
    assert_eq!(thief.user(&dashboard), None);

    // Of two copies at once, the second has no session yet when it is refused.
    let late = "/login?next=%2Fpage&failed=expired";
    let reply = jar.get(&dashboard, late);
    assert_eq!(
        (reply.status, reply.header("location")),
        (302, Some("/page"))
    );
    assert_eq!(thief.get(&dashboard, late).status, 200);
    assert_eq!(
        jar.get(&dashboard, "/login?next=%2Fpage&failed=denied")
            .status,
        200,
        "every other failure is read"
    );
}

#[test]
fn long_target_survives_a_sign_in_with_a_small_cookie() {
    let home = with_identity_providers("");
    let dashboard = home.dashboard();
    let mut jar = Jar::default();
    let next = format!("/app?q={}", "x".repeat(5000));
    let encoded = next.replace('?', "%3F").replace('=', "%3D");
    let reply = jar.get(
        &dashboard,
        &format!("/auth/login?provider=corp&next={encoded}"),
    );
    assert!(
        reply
            .set_cookies()
            .iter()
            .all(|cookie| cookie.len() <= 2048),
        "{reply:?}"
    );
    let (_, state) = reply
        .header("location")
        .and_then(|url| url.split_once("?state="))
        .expect("a state");
    assert_eq!(jar.come_back(&dashboard, state, "ada"), next);
}

#[test]
fn images_of_other_pages_do_not_use_up_a_visitors_sign_ins() {
    let home = with_identity_providers("");
    let dashboard = home.dashboard();
    let mut jar = Jar::default();
    let state = jar.begin(&dashboard, "corp", "/page");
    for number in 0..70 {
        assert_eq!(
            Jar::default().get(&dashboard, "/auth/callback").status,
            302,
            "{number}"
        );
        let image = [("sec-fetch-dest", "image")];
        let reply = jar.ask(&dashboard, "GET", "/auth/login?provider=corp", &image, "");
        assert_eq!(
            (reply.status, reply.set_cookies().len()),
            (400, 0),
            "{number}"
        );
    }
    assert_eq!(jar.come_back(&dashboard, &state, "ada"), "/page");
    let page = [("sec-fetch-dest", "document")];
    assert_eq!(
        jar.ask(&dashboard, "GET", "/auth/login?provider=corp", &page, "")
            .status,
        302
    );
}

/// One attempt with a password, and its status.
fn attempt(jar: &mut Jar, dashboard: &Process, address: &str, word: &str) -> u16 {
    let headers = [JSON, ("x-forwarded-for", address)];
    jar.ask(
        dashboard,
        "POST",
        "/auth/password-login",
        &headers,
        &password("ada", word),
    )
    .status
}

#[test]
fn known_device_is_not_held_up_by_strangers_also_after_a_restart() {
    let home = gated(PLAIN, "  trusted_proxies: [127.0.0.0/8]\n");
    let dashboard = home.dashboard();
    let mut owner = Jar::default();
    assert_eq!(attempt(&mut owner, &dashboard, "198.51.100.7", "good"), 200);
    owner.sign_out(&dashboard);
    assert_eq!(owner.named("device"), 1);
    drop(dashboard);

    let dashboard = home.dashboard();
    // Beside the owner, so that both the address and the account are used up.
    for _ in 0..11 {
        attempt(&mut Jar::default(), &dashboard, "192.0.2.1", "wrong");
    }
    assert_eq!(
        attempt(&mut Jar::default(), &dashboard, "192.0.2.1", "good"),
        429
    );
    assert_eq!(attempt(&mut owner, &dashboard, "192.0.2.1", "good"), 200);

    let mut changed = owner.clone();
    changed
        .cookies
        .iter_mut()
        .for_each(|cookie| cookie.value = cookie.value.replacen(['A', 'B', 'C'], "D", 3));
    assert_eq!(
        attempt(&mut changed, &dashboard, "192.0.2.1", "good"),
        429,
        "only a cookie that opens counts"
    );
}

#[test]
fn strangers_in_a_few_networks_do_not_lock_a_new_device_out() {
    for strangers in [1, 3] {
        let home = gated(PLAIN, "  trusted_proxies: [127.0.0.0/8]\n");
        let dashboard = home.dashboard();
        for number in 0..20 * strangers {
            let address = format!("203.0.{}.9", number % strangers);
            attempt(&mut Jar::default(), &dashboard, &address, "wrong");
        }
        assert_eq!(
            attempt(&mut Jar::default(), &dashboard, "198.51.100.7", "good"),
            200,
            "{strangers}"
        );
    }
}

#[test]
fn people_read_why_a_sign_in_failed() {
    let home = with_identity_providers("");
    let dashboard = home.dashboard();
    let cases = [
        (
            "code=stranger",
            "denied",
            "<bdi>a visitor</bdi> is signed in at the identity provider, but may not enter",
            "not_allowed",
        ),
        (
            "code=forged",
            "1",
            "Sign-in failed. Please try again.",
            "invalid_code",
        ),
        ("code=down", "unanswered", "did not answer", "unavailable"),
        ("code=traps", "out_of_order", "out of order", "trapped"),
        (
            "code=huge",
            "too_large",
            "session is too large for this dashboard",
            "session_too_large",
        ),
        (
            "error=access_denied",
            "refused",
            "did not sign you in",
            "identity_provider_refused",
        ),
        (
            "error=server_error",
            "unanswered",
            "did not answer",
            "identity_provider_refused",
        ),
    ];
    let jar_page = |path: &str| Jar::default().get(&dashboard, path).body;
    for (number, (query, word, sentence, reason)) in cases.into_iter().enumerate() {
        let mut jar = Jar::default();
        let state = jar.begin(&dashboard, "corp", "/x");
        let reply = jar.get(&dashboard, &format!("/auth/callback?state={state}&{query}"));
        let location = reply
            .header("location")
            .expect("the way to the sign-in page")
            .to_owned();
        let (before, after) = location.split_once("&failed=").expect("why it failed");
        assert_eq!(
            (before, after.split('&').next()),
            ("/login?next=%2Fx", Some(word)),
            "{query}"
        );
        assert_eq!(jar.named("pkce"), 0, "{query}");
        let page = jar.get(&dashboard, &location).body;
        assert!(page.contains(sentence), "{query}: {page}");
        assert_eq!(jar.named("refused"), usize::from(word == "denied"));
        assert!(
            !jar_page(&location).contains("a visitor"),
            "people choose their names: {query} shows none in another browser"
        );
        let told = eventually("the failure is audited", SOON, || {
            home.audit()
                .into_iter()
                .filter(|line| line["event"] == "login_failure")
                .nth(number)
        });
        assert_eq!(
            (told["reason"].as_str(), told["provider"].as_str()),
            (Some(reason), Some("corp")),
            "{query}"
        );
        assert!(
            reason != "not_allowed" || told["account"] == "a visitor",
            "{told}"
        );
    }
    let forged = jar_page("/login?failed=denied&person=mallory");
    assert!(
        forged.contains("You are signed in at the identity provider, but"),
        "{forged}"
    );
    let page = jar_page("/login?failed=%3Cscript%3Ealert");
    assert!(
        page.contains("Sign-in failed. Please try again.") && !page.contains("script>alert"),
        "{page}"
    );

    let mut jar = Jar::default();
    let state = jar.begin(&dashboard, "corp", "/x");
    jar.come_back(&dashboard, &state, "ada");
    let told = eventually("the success is audited", SOON, || {
        home.audit()
            .into_iter()
            .find(|line| line["event"] == "login_success")
    });
    assert_eq!(
        (&told["email"], &told["org_id"]),
        (&"ada@example.test".into(), &"example".into())
    );
}

#[test]
fn failed_password_keeps_the_user_name_on_the_page() {
    let home = gated(PLAIN, "");
    let dashboard = home.dashboard();
    let form = [("content-type", "application/x-www-form-urlencoded")];
    let body = "provider=people&username=%22%3E%3Cb%3Eada&password=wrong";
    let page = Jar::default()
        .ask(&dashboard, "POST", "/auth/password-login", &form, body)
        .body;
    assert!(
        page.contains("value=\"&quot;&gt;&lt;b&gt;ada\"") && page.contains("autofocus"),
        "{page}"
    );
    assert!(!page.contains("value=\"wrong\""), "{page}");
    let told = eventually("the failure is audited", SOON, || {
        home.audit()
            .into_iter()
            .find(|line| line["event"] == "login_failure")
    });
    assert_eq!(told["account"], "\"><b>ada");
    let untouched = Jar::default().get(&dashboard, "/login").body;
    // The nonce of the page may have the same letters.
    assert!(!untouched.contains("&gt;ada"), "{untouched}");
}

#[test]
fn list_is_no_credentials() {
    let home = gated(PLAIN, "");
    let dashboard = home.dashboard();
    let body = json!(["people", "ada", "good", "/"]).to_string();
    let reply = Jar::default().ask(&dashboard, "POST", "/auth/password-login", &[JSON], &body);
    assert_eq!(
        (reply.status, reply.set_cookies().len()),
        (400, 0),
        "{reply:?}"
    );
}
