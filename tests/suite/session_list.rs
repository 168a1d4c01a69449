//! Sessions that are seen and ended: over HTTP, on the command line, and by person where no list
//! has them.

use super::access::{Socket, with_access};
use super::people::{gated, signed_in};
use portcullis_tests::{Browser, Home, Process, SOON, eventually, guest};
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

const PLAIN: &str = "http://agent.test";

fn list(dashboard: &Process, browser: &mut Browser) -> Value {
    let reply = browser.get(&dashboard.url("/api/sessions"));
    assert_eq!(reply.status, 200, "{reply:?}");
    reply.json()
}

fn users(list: &Value) -> Vec<&str> {
    let sessions = list["sessions"].as_array().expect("a list");
    let mut users: Vec<_> = sessions
        .iter()
        .filter_map(|known| known["user_id"].as_str())
        .collect();
    users.sort_unstable();
    users
}

fn id_of(list: &Value, user: &str) -> String {
    let sessions = list["sessions"].as_array().expect("a list");
    let known = sessions
        .iter()
        .find(|known| known["user_id"] == user)
        .expect("it is listed");
    known["id"].as_str().expect("an identifier").to_owned()
}

fn end(dashboard: &Process, browser: &mut Browser, what: &str) -> (u16, Value) {
    let reply = browser.request(
        "DELETE",
        &dashboard.url(&format!("/api/sessions{what}")),
        &[],
        "",
    );
    (reply.status, reply.json())
}

/// The status of a request, by a copy: an answer of 401 deletes the cookies.
fn status(dashboard: &Process, browser: &Browser) -> u16 {
    browser.clone().get(&dashboard.url("/api/auth/me")).status
}

#[test]
fn pages_of_one_person_leave_sockets_to_others() {
    let home = gated(PLAIN, "");
    let dashboard = home.dashboard();
    let mut browsers: Vec<_> = (0..5).map(|_| signed_in(&dashboard, "ada")).collect();
    let (last, full) = browsers.split_last_mut().expect("there are five");
    let open: Vec<_> = full
        .iter_mut()
        .flat_map(|browser| {
            (0..16)
                .map(|_| Socket::open(&dashboard, browser))
                .collect::<Vec<_>>()
        })
        .collect();

    Socket::begin(&dashboard, last).until("too_many_sockets");
    Socket::open(&dashboard, &mut signed_in(&dashboard, "bob"));

    drop(open);
    eventually("a place is free", SOON, || {
        let mut socket = Socket::begin(&dashboard, last);
        socket.until("HTTP/1.1 ");
        socket.until("\r\n");
        socket.text().starts_with("HTTP/1.1 101").then_some(())
    });
}

const ADA_OPERATES: [&str; 2] = ["{role: operator, users: [ada]}", "{role: viewer}"];

#[test]
fn operator_sees_and_ends_every_session_others_their_own() {
    let home = with_access(&ADA_OPERATES);
    let dashboard = home.dashboard();
    let [mut ada, mut vi, vi_elsewhere, mut bob] =
        ["ada", "vi", "vi", "bob"].map(|user| signed_in(&dashboard, user));
    let socket = Socket::open(&dashboard, &mut bob);
    let all = list(&dashboard, &mut ada);
    assert_eq!(
        (users(&all), &all["complete"]),
        (vec!["ada", "bob", "vi", "vi"], &false.into())
    );
    assert!(all["since"].is_string());
    let current: Vec<_> = all["sessions"]
        .as_array()
        .into_iter()
        .flatten()
        .filter(|known| known["current"] == true)
        .collect();
    let [own] = &current[..] else {
        unreachable!("one session is the caller's: {all}")
    };
    assert_eq!(
        (&own["user_id"], &own["provider"], &own["address"]),
        (&"ada".into(), &"people".into(), &"127.0.0.1".into())
    );
    assert!(
        own["since"].is_string() && own["last_seen"].is_string() && own["user_agent"].is_string()
    );

    let of_vi = list(&dashboard, &mut vi);
    assert_eq!(users(&of_vi), ["vi", "vi"]);
    let (bobs, unknown) = (id_of(&all, "bob"), "0".repeat(32));
    for id in [bobs.as_str(), &unknown, "x", "%00"] {
        let expected = if id == "%00" { 400 } else { 404 };
        assert_eq!(
            end(&dashboard, &mut vi, &format!("/{id}")).0,
            expected,
            "{id}"
        );
    }
    for query in ["?user=bob", "?all=true", "?provider=people", "?user=vi"] {
        assert_eq!(end(&dashboard, &mut vi, query).0, 403, "{query}");
    }
    assert_eq!(status(&dashboard, &bob), 200);

    let other = of_vi["sessions"]
        .as_array()
        .into_iter()
        .flatten()
        .find(|known| known["current"] == false);
    let other = other
        .and_then(|known| known["id"].as_str())
        .expect("the session elsewhere");
    let ended = (200, json!({"ok": true, "ended": 1}));
    assert_eq!(end(&dashboard, &mut vi, &format!("/{other}")), ended);
    assert_eq!(
        (status(&dashboard, &vi), status(&dashboard, &vi_elsewhere)),
        (200, 401)
    );
    assert_eq!(end(&dashboard, &mut ada, &format!("/{bobs}")), ended);
    assert_eq!(status(&dashboard, &bob), 401, "at once");
    assert!(socket.rest().contains("the session is over"));
    assert_eq!(
        end(&dashboard, &mut ada, &format!("/{bobs}")).0,
        404,
        "it is no longer listed"
    );
    assert_eq!(users(&list(&dashboard, &mut ada)), ["ada", "vi"]);
    eventually("it is audited", SOON, || {
        let is_it = |line: &Value| {
            line["event"] == "logout" && line["by"] == "ada" && line["user_id"] == "bob"
        };
        home.audit().iter().any(is_it).then_some(())
    });

    drop(dashboard);
    let dashboard = home.dashboard();
    assert_eq!(
        (status(&dashboard, &bob), status(&dashboard, &vi)),
        (401, 200),
        "it survives a restart"
    );
}

#[test]
fn identifier_is_no_credential_and_forms_of_other_pages_end_nothing() {
    let home = gated(PLAIN, "");
    let dashboard = home.dashboard();
    let mut ada = signed_in(&dashboard, "ada");
    let id = id_of(&list(&dashboard, &mut ada), "ada");
    let cookies = [("hermes_session_at".to_owned(), id.clone())]
        .into_iter()
        .collect();
    assert_eq!(status(&dashboard, &Browser { cookies }), 401);
    let from_elsewhere = [("origin", "http://evil.example")];
    let url = dashboard.url(&format!("/api/sessions/{id}"));
    assert_eq!(ada.request("DELETE", &url, &from_elsewhere, "").status, 403);
    assert_eq!(status(&dashboard, &ada), 200);
}

#[test]
fn end_by_person_holds_for_sessions_that_no_list_has() {
    let home = with_access(&ADA_OPERATES);
    let mut dashboard = home.dashboard();
    let [mut ada, before] = ["ada", "vi"].map(|user| signed_in(&dashboard, user));
    dashboard.terminate();
    fs::remove_file(home.file("session_list")).expect("the list");
    let dashboard = home.dashboard();
    let listed = list(&dashboard, &mut ada);
    assert_eq!(
        (users(&listed), &listed["complete"]),
        (vec!["ada"], &false.into())
    );
    assert_eq!(
        end(&dashboard, &mut ada, "?user=vi"),
        (200, json!({"ok": true, "ended": 0}))
    );
    assert_eq!(status(&dashboard, &before), 401);
    let between = signed_in(&dashboard, "vi");
    assert_eq!(
        status(&dashboard, &between),
        200,
        "a new sign-in counts, also within the same second"
    );
    assert_eq!(
        end(&dashboard, &mut ada, "?user=vi&provider=people").1["ended"],
        1
    );
    let after = signed_in(&dashboard, "vi");
    assert_eq!(
        end(&dashboard, &mut ada, "?user=vi&provider=others").1["ended"],
        0
    );

    drop(dashboard);
    let dashboard = home.dashboard();
    let statuses = [&before, &between, &after, &ada].map(|browser| status(&dashboard, browser));
    assert_eq!(statuses, [401, 401, 200, 200]);
}

#[test]
fn end_of_all_is_the_end_of_every_session() {
    let home = with_access(&ADA_OPERATES);
    let dashboard = home.dashboard();
    let [mut ada, vi] = ["ada", "vi"].map(|user| signed_in(&dashboard, user));
    let before = ada.clone();
    assert_eq!(end(&dashboard, &mut ada, "").0, 400);
    assert_eq!(end(&dashboard, &mut ada, "?user=&provider=people").0, 400);
    assert_eq!(
        end(&dashboard, &mut ada, "?all=true"),
        (200, json!({"ok": true, "ended": 2}))
    );
    assert_eq!(
        [&before, &vi].map(|browser| status(&dashboard, browser)),
        [401, 401]
    );
    let mut again = signed_in(&dashboard, "ada");
    let listed = list(&dashboard, &mut again);
    assert_eq!(
        (users(&listed), &listed["complete"]),
        (vec!["ada"], &true.into()),
        "no other session can be open"
    );
}

#[test]
fn end_that_cannot_be_written_is_said() {
    let home = with_access(&ADA_OPERATES);
    let dashboard = home.dashboard();
    let [mut ada, vi] = ["ada", "vi"].map(|user| signed_in(&dashboard, user));
    home.block("ended_people");
    let (code, body) = end(&dashboard, &mut ada, "?user=vi");
    assert_eq!(
        (code, &body["error"]),
        (500, &"not_written".into()),
        "{body}"
    );
    assert_eq!(status(&dashboard, &vi), 401, "it holds here all the same");
}

fn session(home: &Home, arguments: &[&str]) -> (Option<i32>, String) {
    let arguments: Vec<_> = ["session"].iter().chain(arguments).copied().collect();
    let finished = Process::run(home, &arguments, &[]);
    (
        finished.code,
        format!("{}{}", finished.stdout, finished.stderr),
    )
}

#[test]
fn command_line_lists_and_ends_with_and_without_a_dashboard() {
    let home = gated(PLAIN, "");
    assert_eq!(session(&home, &["list"]).0, Some(1), "there is no list yet");
    let mut dashboard = home.dashboard();
    let [ada, mut vi] = ["ada", "vi"].map(|user| signed_in(&dashboard, user));
    let socket = Socket::open(&dashboard, &mut vi);
    let shown = eventually("both are listed", SOON, || {
        let (code, shown) = session(&home, &["list"]);
        (code == Some(0) && shown.contains("ada") && shown.contains("vi ")).then_some(shown)
    });
    assert!(
        shown.contains("127.0.0.1") && shown.contains("s old"),
        "{shown}"
    );
    let mode = fs::metadata(home.file("session_list"))
        .expect("the list")
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);

    let (code, said) = session(&home, &["end", "--user", "a\u{e4}@example.test"]);
    assert_eq!(code, Some(64), "{said}");
    assert!(said.contains("is an e-mail address"), "{said}");
    let (code, said) = session(&home, &["end", "--user", "vi"]);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("1 listed session ended"), "{said}");
    assert!(socket.rest().contains("the session is over"));
    assert_eq!(
        (status(&dashboard, &vi), status(&dashboard, &ada)),
        (401, 200)
    );
    let listed = Process::run(&home, &["session", "list", "--json"], &[]).stdout;
    let listed: Value = serde_json::from_str(&listed).expect("one JSON object");
    assert_eq!(users(&listed), ["ada"]);
    eventually("it is audited", SOON, || {
        home.audit()
            .iter()
            .any(|line| line["event"] == "logout" && line["by"] == "command-line")
            .then_some(())
    });

    let again = signed_in(&dashboard, "vi");
    assert_eq!(status(&dashboard, &again), 200);
    dashboard.terminate();
    let id = id_of(&listed, "ada");
    assert_eq!(session(&home, &["end", &id]).0, Some(0));
    let dashboard = home.dashboard();
    assert_eq!(
        (status(&dashboard, &ada), status(&dashboard, &again)),
        (401, 200)
    );
    assert_eq!(
        session(&home, &["end", "--all", "--json"]),
        (Some(0), "{\"ok\":true,\"ended\":1}\n".to_owned())
    );
    eventually("the last session is over", SOON, || {
        (status(&dashboard, &again) == 401).then_some(())
    });
}

#[test]
fn command_line_ends_nothing_that_was_not_said() {
    let home = gated(PLAIN, "");
    for arguments in [
        &["end"][..],
        &["end", "--all", "--user", "ada"],
        &["end", "--user", ""],
        &["end", "--json"],
        &["end", "no-identifier"],
        &["end", "00000000000000000000000000000000", "--user", "ada"],
        &["end", "--provider", "nope"],
        &["end", "--provider", "nope", "--user", "ada"],
    ] {
        assert_eq!(session(&home, arguments).0, Some(64), "{arguments:?}");
    }
    for arguments in [&["end", "--json"][..], &["end", "--user", "", "--json"]] {
        let printed = session(&home, arguments).1;
        // Stdout comes first.
        let object = printed.lines().next().expect("a line");
        let mistake: Value = serde_json::from_str(object).expect("an object");
        assert_eq!(mistake["error"], "usage", "{arguments:?}");
    }
    let (_, said) = session(&home, &["end", "--provider", "nope"]);
    assert!(
        said.contains("no provider is named `nope` in the configuration"),
        "{said}"
    );
    assert!(!home.file("ended_people").exists());
}

#[test]
fn command_line_ends_a_session_that_is_not_listed() {
    let home = gated(PLAIN, "");
    let mut dashboard = home.dashboard();
    let [mut ada, vi] = ["ada", "vi"].map(|user| signed_in(&dashboard, user));
    let id = id_of(&list(&dashboard, &mut ada), "ada");
    dashboard.terminate();
    fs::remove_file(home.file("session_list")).expect("the list");

    let (code, said) = session(&home, &["end", &id.to_ascii_uppercase()]);
    assert_eq!(code, Some(0), "{said}");
    assert!(
        said.contains("0 listed sessions ended") && said.contains("No such session is listed"),
        "{said}"
    );
    let dashboard = home.dashboard();
    assert_eq!(
        (status(&dashboard, &ada), status(&dashboard, &vi)),
        (401, 200)
    );

    let unknown = ["end", "00000000000000000000000000000000", "--json"];
    let finished = Process::run(&home, &[&["session"][..], &unknown].concat(), &[]);
    assert_eq!(
        (finished.code, finished.stdout.as_str()),
        (Some(0), "{\"ok\":true,\"ended\":0}\n")
    );
}

/// Less than the interval at which mere uses are written.
const AT_ONCE: Duration = Duration::from_secs(3);

#[test]
fn command_line_knows_a_session_right_after_the_sign_in_and_after_its_end() {
    let home = gated(PLAIN, "");
    let dashboard = home.dashboard();
    let count_listed = || {
        let printed = Process::run(&home, &["session", "list", "--json"], &[]).stdout;
        let list: Value = serde_json::from_str(&printed).unwrap_or_default();
        list["sessions"].as_array().map_or(0, Vec::len)
    };
    for count in 1..=3 {
        let mut browser = signed_in(&dashboard, "ada");
        eventually("the new session is listed", AT_ONCE, || {
            (count_listed() == count).then_some(())
        });
        if count == 3 {
            let id = id_of(&list(&dashboard, &mut browser), "ada");
            assert_eq!(end(&dashboard, &mut browser, &format!("/{id}")).0, 200);
        }
    }
    eventually("the ended session is not listed", AT_ONCE, || {
        (count_listed() == 2).then_some(())
    });
}

#[test]
fn command_line_says_how_many_of_the_listed_sessions_ended() {
    let home = gated(PLAIN, "");
    let none = "0 listed sessions ended. A session that is not on the list is over as well.";
    for arguments in [
        &["end", "--user", "nobody"][..],
        &["end", "--provider", "people"],
    ] {
        let (code, said) = session(&home, arguments);
        assert_eq!(code, Some(0), "{arguments:?}: {said}");
        assert!(said.contains(none), "{arguments:?}: {said}");
    }

    home.write("portcullis.yaml", "dashboard: {prot: 1}");
    let (code, said) = session(&home, &["end", "--provider", "people"]);
    assert_eq!(code, Some(0), "a mistake holds up no end: {said}");
}

/// Waits until the dashboard has reloaded once more.
fn reloaded(dashboard: &Process, change: impl FnOnce()) {
    let count = || dashboard.log().matches("providers reloaded").count();
    let before = count();
    change();
    eventually("a reload", SOON, || (count() > before).then_some(()));
}

#[test]
fn rotated_keys_end_no_session_and_need_no_restart() {
    let [old, new] = [
        "9f3c1b7e2d8a4650c1e7b93f60d2a548",
        "tQ7mX2vK9sB4wE8rY1uI6oA3dF5gH0jL",
    ];
    let config = |keys: &str| {
        format!(
            "dashboard:\n  public_url: {PLAIN}\n  session_key: {keys}\n  providers: [{{name: people, component: {}}}]\n",
            guest("people").display()
        )
    };
    let configured = Home::with_config(&config(&format!("\"{old}\"")));
    let own = gated(PLAIN, "");
    own.write("session_key", &format!("{old}\n"));
    let steps: [(&Home, &str, [String; 2]); 2] = [
        (
            &configured,
            "portcullis.yaml",
            [
                config(&format!("[\"{new}\", \"{old}\"]")),
                config(&format!("\"{new}\"")),
            ],
        ),
        (
            &own,
            "session_key",
            [format!("{new}\n{old}\n"), format!("{new}\n")],
        ),
    ];
    for (home, file, [both, new_alone]) in steps {
        let dashboard = home.dashboard();
        let before = signed_in(&dashboard, "ada");
        reloaded(&dashboard, || home.write(file, &both));
        assert_eq!(
            status(&dashboard, &before),
            200,
            "{file}: the key before opens"
        );
        let after = signed_in(&dashboard, "vi");
        reloaded(&dashboard, || home.write(file, &new_alone));
        let statuses = [&before, &after].map(|browser| status(&dashboard, browser));
        assert_eq!(
            statuses,
            [401, 200],
            "{file}: the new key sealed the second session"
        );
    }
}

#[test]
fn lost_key_file_changes_nothing_until_a_restart() {
    let home = gated(PLAIN, "");
    let dashboard = home.dashboard();
    let ada = signed_in(&dashboard, "ada");
    fs::remove_file(home.file("session_key")).expect("the key");
    eventually("it is logged", SOON, || {
        dashboard
            .log()
            .contains("the present session keys stay")
            .then_some(())
    });
    assert_eq!(status(&dashboard, &ada), 200);
}
