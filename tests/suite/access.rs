//! Roles: what a viewer may do, what an operator may do, and who gets no session at all.

use super::people::{gated, password, signed_in};
use portcullis_tests::{Browser, Home, Process, Reply, SOON, eventually};
use std::io::{Read, Write};
use std::net::TcpStream;

const PLAIN: &str = "http://agent.test";
/// The guest `people` gives everyone this address.
const EMAIL: &str = "a\u{e4}@example.test";

/// A gated dashboard with these rules, one per line.
pub(crate) fn with_access(rules: &[&str]) -> Home {
    gated(PLAIN, &access(rules))
}

fn access(rules: &[&str]) -> String {
    let rules: String = rules.iter().map(|rule| format!("    - {rule}\n")).collect();
    format!("  access:\n{rules}")
}

/// Puts other rules in the place of those that hold.
fn change_access(home: &Home, from: &[&str], to: &[&str]) {
    let file = std::fs::read_to_string(home.file("portcullis.yaml")).expect("a configuration");
    home.write("portcullis.yaml", &file.replace(&access(from), &access(to)));
}

/// An open web socket, read as bytes: what the server sends is not masked.
pub(crate) struct Socket {
    stream: TcpStream,
    seen: Vec<u8>,
}

impl Socket {
    pub(crate) fn open(dashboard: &Process, browser: &mut Browser) -> Self {
        let mut socket = Self::begin(dashboard, browser);
        socket.until(r#""type":"status""#);
        socket
    }

    /// Asks for one, which may be refused.
    pub(crate) fn begin(dashboard: &Process, browser: &mut Browser) -> Self {
        let ticket = browser
            .post(&dashboard.url("/api/auth/ws-ticket"), "")
            .json();
        let ticket = ticket["ticket"].as_str().expect("a ticket");
        let mut stream = TcpStream::connect(("127.0.0.1", dashboard.port())).expect("it listens");
        stream.set_read_timeout(Some(SOON)).expect("a socket");
        write!(
            stream,
            "GET /api/ws?ticket={ticket} HTTP/1.1\r\nHost: 127.0.0.1:{}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
            dashboard.port()
        )
        .expect("it is sent");
        Self {
            stream,
            seen: Vec::new(),
        }
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.seen).into_owned()
    }

    /// Reads until the server has sent this.
    pub(crate) fn until(&mut self, text: &str) {
        let mut buffer = [0; 4096];
        while !self.text().contains(text) {
            let read = self.stream.read(&mut buffer).expect("it sends in time");
            assert!(read > 0, "it ended: {}", self.text());
            self.seen.extend(buffer.iter().take(read));
        }
    }

    /// All that was sent until the server closed it.
    pub(crate) fn rest(mut self) -> String {
        self.stream
            .read_to_end(&mut self.seen)
            .expect("it ends in time");
        self.text()
    }
}

fn refused_for_want_of(role: &str, reply: &Reply) {
    let body = reply.json();
    assert_eq!(
        (reply.status, body["error"].as_str()),
        (403, Some("forbidden")),
        "{reply:?}"
    );
    assert!(
        body["detail"]
            .as_str()
            .is_some_and(|detail| detail.contains(role)),
        "{reply:?}"
    );
}

#[test]
fn viewer_looks_and_operator_acts() {
    let by_email = format!("{{role: operator, provider: people, users: [\"{EMAIL}\"]}}");
    let home = with_access(&["{role: viewer, users: [vi, bob]}", &by_email]);
    let dashboard = home.dashboard();
    let mut viewer = signed_in(&dashboard, "vi");
    let me = viewer.get(&dashboard.url("/api/auth/me")).json();
    assert_eq!(
        (&me["role"], &me["groups"]),
        (&"viewer".into(), &serde_json::json!([]))
    );
    for path in ["/api/drain", "/api/restart", "/api/gateway/restart"] {
        refused_for_want_of("operator", &viewer.post(&dashboard.url(path), "{}"));
    }
    refused_for_want_of("operator", &viewer.get(&dashboard.url("/metrics")));
    assert!(!home.file(".drain_request.json").exists());
    let page = viewer.get(&dashboard.url("/"));
    assert_eq!(page.status, 200);
    for hidden in [
        "id=\"drain-form\"",
        "id=\"restart-form\"",
        "id=\"turns\"",
        "id=\"providers\"",
        "id=\"audit\"",
    ] {
        assert!(!page.body.contains(hidden), "{hidden}");
    }
    assert!(page.body.contains("id=\"state\"") && page.body.contains("id=\"active\""));
    assert_eq!(viewer.get(&dashboard.url("/auth/verify")).status, 200);

    let mut operator = signed_in(&dashboard, "ada");
    assert_eq!(
        operator.get(&dashboard.url("/api/auth/me")).json()["role"],
        "operator"
    );
    assert!(
        operator
            .get(&dashboard.url("/"))
            .body
            .contains("id=\"drain-form\"")
    );
    assert_eq!(operator.get(&dashboard.url("/metrics")).status, 200);
    assert_eq!(
        operator
            .post(&dashboard.url("/api/drain"), r#"{"reason":"disk"}"#)
            .status,
        200
    );
    assert!(home.file(".drain_request.json").exists());
    assert!(
        !viewer.get(&dashboard.url("/")).body.contains("disk"),
        "whose drain it is, is for operators"
    );
}

#[test]
fn person_without_a_role_gets_no_session() {
    for rules in [
        &["{role: none, users: [eve]}", "{role: operator}"][..],
        &["{role: operator, users: [ada]}"],
    ] {
        let home = with_access(rules);
        let dashboard = home.dashboard();
        signed_in(&dashboard, "ada");
        let mut eve = Browser::default();
        let reply = eve.post(
            &dashboard.url("/auth/password-login"),
            &password("eve", "good"),
        );
        refused_for_want_of("viewer", &reply);
        let page = eve.form(
            &dashboard.url("/auth/password-login"),
            "provider=people&username=eve&password=good",
        );
        assert_eq!(page.status, 403);
        assert!(page.body.contains("has no role"), "{}", page.body);
        assert!(!eve.cookies.contains_key("hermes_session_at"));
        let line = eventually("the refusal is audited", SOON, || {
            home.audit()
                .into_iter()
                .find(|line| line["event"] == "login_failure")
        });
        assert_eq!(
            (&line["reason"], &line["user_id"]),
            (&"not_permitted".into(), &"eve".into())
        );
        assert_eq!(line["email"], EMAIL);
        let wrong = eve.post(
            &dashboard.url("/auth/password-login"),
            &password("eve", "bad"),
        );
        assert_eq!(
            wrong.status, 401,
            "a wrong password is refused before the role is looked at"
        );
    }
}

#[test]
fn changed_rules_hold_for_sessions_that_are_open() {
    let everyone = ["{role: operator}"];
    let home = with_access(&everyone);
    let dashboard = home.dashboard();
    let mut ada = signed_in(&dashboard, "ada");
    let mut vi = signed_in(&dashboard, "vi");
    let [of_ada, of_vi] = [&mut ada, &mut vi].map(|browser| Socket::open(&dashboard, browser));

    let fewer = ["{role: viewer, users: [vi]}", "{role: none}"];
    change_access(&home, &everyone, &fewer);
    for socket in [of_ada, of_vi] {
        let seen = socket.rest();
        assert!(
            seen.contains(r#""type":"audit""#) && seen.contains("the role has changed"),
            "{seen}"
        );
    }
    refused_for_want_of("viewer", &ada.get(&dashboard.url("/api/auth/me")));
    refused_for_want_of("viewer", &ada.get(&dashboard.url("/auth/verify")));
    refused_for_want_of("viewer", &ada.get(&dashboard.url("/api/sessions")));
    refused_for_want_of(
        "viewer",
        &ada.post(&dashboard.url("/api/auth/ws-ticket"), ""),
    );
    let page = ada.get(&dashboard.url("/"));
    assert!(
        page.status == 403 && page.body.contains("Sign out"),
        "{page:?}"
    );
    refused_for_want_of("operator", &vi.post(&dashboard.url("/api/drain"), "{}"));

    let of_vi = Socket::open(&dashboard, &mut vi);
    change_access(&home, &fewer, &everyone);
    let seen = of_vi.rest();
    assert!(
        !seen.contains(r#""type":"audit""#) && !seen.contains(r#""type":"providers""#),
        "{seen}"
    );
    assert_eq!(
        ada.get(&dashboard.url("/api/auth/me")).json()["role"],
        "operator",
        "the session was not ended"
    );

    change_access(&home, &everyone, &fewer);
    eventually("the person has no role", SOON, || {
        (ada.get(&dashboard.url("/api/auth/me")).status == 403).then_some(())
    });
    assert_eq!(ada.post(&dashboard.url("/auth/logout"), "").status, 302);
    assert!(!ada.cookies.contains_key("hermes_session_at"));
}

#[test]
fn rule_that_says_nothing_refuses_the_start() {
    for (rules, complaint) in [
        ("access:", "`dashboard.access` has no value"),
        (
            "access: [{role: operator, users: }]",
            "`dashboard.access[0].users` is empty",
        ),
        (
            "access: [{role: none, provider: corp}]",
            "no provider is named `corp`",
        ),
    ] {
        let home = gated(PLAIN, &format!("  {rules}\n"));
        let finished = Process::run(&home, &["config", "check"], &[]);
        assert_eq!(finished.code, Some(64), "{}", finished.stderr);
        assert!(
            finished.stderr.contains("portcullis.yaml:3:") && finished.stderr.contains(complaint),
            "{}",
            finished.stderr
        );
    }
}

#[test]
fn dashboard_without_rules_warns() {
    let warning = "dashboard.access is not set";
    assert!(gated(PLAIN, "").dashboard().log().contains(warning));
    assert!(
        !with_access(&["{role: operator}"])
            .dashboard()
            .log()
            .contains(warning)
    );
    assert!(
        !Home::new().dashboard().log().contains(warning),
        "where nobody signs in"
    );
}
