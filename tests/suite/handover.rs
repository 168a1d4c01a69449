//! Several hosts of one dashboard: one sign-in, which is handed over.

use portcullis_tests::{Browser, Home, Process, Reply, SOON, eventually, guest};
use serde_json::Value;

const SESSION: &str = "__Host-hermes_session_at";

fn two_hosts() -> Home {
    Home::with_config(&format!(
        "dashboard:\n  public_url: https://a.example\n  allowed_hosts: [a.example, b.example]\n  providers:\n    \
         - {{name: corp, component: {}}}\n",
        guest("redirects").display()
    ))
}

/// A browser: one cookie jar per host.
#[derive(Clone, Default)]
struct Person {
    a: Browser,
    b: Browser,
}

impl Person {
    fn jar(&mut self, host: &str) -> &mut Browser {
        if host == "a.example" {
            &mut self.a
        } else {
            &mut self.b
        }
    }

    fn ask(&mut self, dashboard: &Process, method: &str, url: &str) -> Reply {
        let (host, path) = parts(url);
        self.jar(host)
            .request(method, &dashboard.url(path), &[("host", host)], "")
    }

    /// Follows redirects from this address, and returns where they end: outside, or at a page.
    fn follow(&mut self, dashboard: &Process, url: &str) -> Vec<String> {
        let mut way = vec![url.to_owned()];
        while let Some(last) = way
            .last()
            .filter(|last| last.contains(".example/") && way.len() < 10)
            .cloned()
        {
            let (host, _) = parts(&last);
            let reply = self.ask(dashboard, "GET", &last);
            match reply.header("location") {
                Some(path) if path.starts_with('/') => way.push(format!("https://{host}{path}")),
                Some(location) => way.push(location.to_owned()),
                None => break,
            }
        }
        way
    }

    /// Begins a sign-in, and completes it as `user` if the identity provider has to be asked.
    /// Returns where that ends.
    fn sign_in(&mut self, dashboard: &Process, host: &str, user: &str) -> String {
        let begun = format!("https://{host}/auth/login?provider=corp&next=%2Fpage%3Fq%3D1");
        let way = self.follow(dashboard, &begun);
        let last = way.last().expect("a way");
        let Some((_, state)) = last.split_once("idp.example.test/authorize?state=") else {
            return last.clone();
        };
        let way = self.follow(
            dashboard,
            &format!("https://a.example/auth/callback?code={user}&state={state}"),
        );
        way.last().expect("a way").clone()
    }

    /// The user of the session at a host.
    fn user(&self, dashboard: &Process, host: &str) -> Option<String> {
        // By a copy: an answer of 401 deletes the cookies.
        let reply = self
            .clone()
            .ask(dashboard, "GET", &format!("https://{host}/api/auth/me"));
        reply.json()["user_id"].as_str().map(str::to_owned)
    }
}

fn parts(url: &str) -> (&str, &str) {
    let rest = url.strip_prefix("https://").expect("an address");
    let (host, _) = rest.split_once('/').expect("a path");
    (host, rest.strip_prefix(host).expect("it begins so"))
}

/// Where a person who asks for a session at `b.example` is sent with the ticket.
fn ticket(dashboard: &Process, person: &mut Person) -> String {
    let asked = person.ask(
        dashboard,
        "GET",
        "https://b.example/auth/login?provider=corp",
    );
    let errand = asked
        .header("location")
        .expect("the public host")
        .to_owned();
    let handed = person.ask(dashboard, "GET", &errand);
    let back = handed
        .header("location")
        .expect("the other host")
        .to_owned();
    assert!(
        back.starts_with("https://b.example/auth/handover?next=%2F&ticket="),
        "{back}"
    );
    back
}

#[test]
fn sign_in_that_begins_at_another_host_ends_there() {
    let home = two_hosts();
    let dashboard = home.dashboard();
    let mut ada = Person::default();
    assert_eq!(
        ada.sign_in(&dashboard, "b.example", "ada"),
        "https://b.example/page?q=1"
    );
    assert_eq!(ada.user(&dashboard, "b.example").as_deref(), Some("ada"));
    assert_eq!(
        ada.user(&dashboard, "a.example").as_deref(),
        Some("ada"),
        "one sign-in"
    );
    assert!(ada.a.cookies.contains_key(SESSION) && ada.b.cookies.contains_key(SESSION));

    let mut bob = Person::default();
    assert_eq!(
        bob.sign_in(&dashboard, "a.example", "bob"),
        "https://a.example/page?q=1"
    );
    assert_eq!(bob.user(&dashboard, "b.example"), None);
    assert_eq!(
        bob.sign_in(&dashboard, "b.example", "nobody"),
        "https://b.example/page?q=1",
        "without asking"
    );
    assert_eq!(bob.user(&dashboard, "b.example").as_deref(), Some("bob"));
    eventually("it is audited", SOON, || {
        let is_it =
            |line: &Value| line["event"] == "session_handed_over" && line["user_id"] == "bob";
        home.audit().iter().any(is_it).then_some(())
    });
}

#[test]
fn way_to_the_target_is_ascii_at_another_host() {
    let home = two_hosts();
    let dashboard = home.dashboard();
    let mut ada = Person::default();
    ada.sign_in(&dashboard, "a.example", "ada");
    let way = ticket(&dashboard, &mut ada);
    let way = way.replace("next=%2F&", "next=%2F%E2%93%90%20x%3Fq%3D1&");
    let reply = ada.ask(&dashboard, "GET", &way);
    assert_eq!(reply.header("location"), Some("/%E2%93%90%20x?q=1"));
}

#[test]
fn ticket_is_good_once_in_the_browser_and_at_the_host_that_asked() {
    let home = two_hosts();
    let dashboard = home.dashboard();
    let mut ada = Person::default();
    ada.sign_in(&dashboard, "a.example", "ada");
    let refused = |person: &mut Person, url: &str| {
        let reply = person.ask(&dashboard, "GET", url);
        assert_eq!(
            reply.header("location"),
            Some("/login?next=%2F&failed=expired"),
            "{reply:?}"
        );
        assert!(
            !reply
                .set_cookies()
                .iter()
                .any(|cookie| cookie.contains("session_at")),
            "{reply:?}"
        );
    };

    let stolen = ticket(&dashboard, &mut ada);
    let mut victim = Person::default();
    refused(&mut victim, &stolen);
    assert_eq!(victim.user(&dashboard, "b.example"), None);
    refused(&mut ada, &stolen);

    // A browser that has asked for a session itself has another nonce.
    victim.ask(
        &dashboard,
        "GET",
        "https://b.example/auth/login?provider=corp",
    );
    let stolen = ticket(&dashboard, &mut ada);
    refused(&mut victim, &stolen);

    let misled = ticket(&dashboard, &mut ada);
    refused(&mut ada, &misled.replace("b.example", "a.example"));
    refused(&mut ada, "https://b.example/auth/handover?ticket=");
    refused(&mut ada, "https://b.example/auth/handover");

    let good = ticket(&dashboard, &mut ada);
    assert_eq!(
        ada.ask(&dashboard, "GET", &good).header("location"),
        Some("/")
    );
    assert_eq!(ada.user(&dashboard, "b.example").as_deref(), Some("ada"));
    refused(&mut ada, &good);
    eventually("it is audited", SOON, || {
        home.audit()
            .iter()
            .any(|line| line["reason"] == "bad_handover")
            .then_some(())
    });
}

#[test]
fn sign_out_at_one_host_is_a_sign_out_at_all() {
    let home = two_hosts();
    let dashboard = home.dashboard();
    for host in ["a.example", "b.example"] {
        let mut ada = Person::default();
        ada.sign_in(&dashboard, "b.example", "ada");
        let out = ada.ask(&dashboard, "POST", &format!("https://{host}/auth/logout"));
        assert_eq!((out.status, out.header("location")), (302, Some("/login")));
        assert_eq!(ada.user(&dashboard, "a.example"), None, "{host}");
        assert_eq!(ada.user(&dashboard, "b.example"), None, "{host}");
        let way = ada.follow(&dashboard, "https://b.example/page");
        let last = way.last().expect("a way");
        assert!(
            last.starts_with("https://b.example/login?next=%2Fpage"),
            "no sign-in by itself: {way:?}"
        );
    }
}

#[test]
fn next_access_token_is_fetched_without_asking() {
    let home = two_hosts();
    let dashboard = home.dashboard();
    let mut ada = Person::default();
    ada.sign_in(&dashboard, "b.example", "ada");
    ada.b.cookies.remove(SESSION);
    let way = ada.follow(&dashboard, "https://b.example/");
    assert_eq!(
        way.last().map(String::as_str),
        Some("https://b.example/"),
        "{way:?}"
    );
    assert_eq!(ada.user(&dashboard, "b.example").as_deref(), Some("ada"));
}

#[test]
fn what_this_dashboard_did_not_seal_hands_nothing_over() {
    let home = two_hosts();
    let dashboard = home.dashboard();
    let mut ada = Person::default();
    ada.sign_in(&dashboard, "a.example", "ada");
    let forged =
        "https://a.example/auth/login?provider=corp&handover=eyJvcmlnaW4iOiJodHRwczovL2V2aWwifQ";
    let reply = ada.ask(&dashboard, "GET", forged);
    let location = reply.header("location").expect("a sign-in as any other");
    assert!(
        location.starts_with("https://idp.example.test/authorize?state="),
        "{location}"
    );
    let unknown = Browser::default().request(
        "GET",
        &dashboard.url("/login"),
        &[("host", "c.example")],
        "",
    );
    assert_eq!(unknown.status, 400);
}

#[test]
fn proxy_that_names_one_host_for_all_makes_no_loop() {
    let home = two_hosts();
    let dashboard = home.dashboard();
    let mut browser = Browser::default();
    let rewritten = [("host", "b.example")];
    let asked = browser.request(
        "GET",
        &dashboard.url("/auth/login?provider=corp"),
        &rewritten,
        "",
    );
    let (_, path) = parts(asked.header("location").expect("the public host"));
    let begun = browser.request("GET", &dashboard.url(path), &rewritten, "");
    let location = begun.header("location").expect("the identity provider");
    let (_, state) = location.split_once("state=").expect("a state");
    let callback = dashboard.url(&format!("/auth/callback?code=ada&state={state}"));
    assert_eq!(
        browser
            .request("GET", &callback, &rewritten, "")
            .header("location"),
        Some("/")
    );
    let me = browser.request("GET", &dashboard.url("/api/auth/me"), &rewritten, "");
    assert_eq!(me.json()["user_id"], "ada");
}
