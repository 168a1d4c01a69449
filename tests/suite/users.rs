//! The users of `builtin:basic` in a file of their own, changed while the dashboard runs.

use portcullis_tests::{Browser, Finished, Home, Process, SOON, binary, eventually, request};
use serde_json::{Value, json};
use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};
use std::thread;

/// `Zoë` in its two forms.
const COMPOSED: &str = "Zo\u{eb}";
const DECOMPOSED: &str = "Zoe\u{308}";

/// A dashboard that is gated, whose users stand in `users.yaml`.
fn home(more: &str) -> Home {
    Home::with_config(&format!(
        "dashboard:\n  public_url: http://agent.test\n  providers:\n    - name: local\n      component: builtin:basic\n      \
         config: {{users_file: users.yaml{more}}}\n      grants: {{keyvalue: true}}\n      limits: {{deadline_ms: 10000}}\n"
    ))
}

/// Runs a command with this standard input.
fn run(arguments: &[&str], input: &[u8]) -> Finished {
    let mut child = Command::new(binary())
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary starts");
    let mut stdin = child.stdin.take().expect("stdin is piped");
    // A command that refuses its arguments reads nothing.
    let _ = stdin.write_all(input);
    drop(stdin);
    let output = child.wait_with_output().expect("it ends");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
    Finished {
        code: output.status.code(),
        stdout: text(output.stdout),
        stderr: text(output.stderr),
    }
}

/// `portcullis user VERB ... --file users.yaml` over a home, with a password.
fn user(home: &Home, arguments: &[&str], password: &str) -> Finished {
    let file = home.file("users.yaml").display().to_string();
    let arguments: Vec<&str> = ["user"]
        .iter()
        .chain(arguments)
        .copied()
        .chain(["--file", &file])
        .collect();
    run(&arguments, format!("{password}\n").as_bytes())
}

/// The same, and waits until the dashboard has read the file again.
fn changed(home: &Home, dashboard: &Process, arguments: &[&str], password: &str) {
    let reloads = || dashboard.log().matches("providers reloaded").count();
    let before = reloads();
    let finished = user(home, arguments, password);
    assert_eq!(finished.code, Some(0), "{finished:?}");
    eventually("the users are read again", SOON, || {
        (reloads() > before).then_some(())
    });
}

fn sign_in(dashboard: &Process, name: &str, password: &str) -> (u16, Browser) {
    let mut browser = Browser::default();
    let body = json!({"provider": "local", "username": name, "password": password}).to_string();
    let reply = browser.post(&dashboard.url("/auth/password-login"), &body);
    (reply.status, browser)
}

fn is_signed_in(dashboard: &Process, browser: &mut Browser) -> bool {
    browser.get(&dashboard.url("/api/auth/me")).status == 200
}

#[test]
fn users_are_added_changed_and_removed_at_a_running_dashboard() {
    let home = home("");
    home.write("users.yaml", "[]\n");
    let dashboard = home.dashboard();
    assert_eq!(sign_in(&dashboard, "ada", "lovelace").0, 401);

    let more = [
        "add",
        "ada",
        "--user-id",
        "u-1",
        "--email",
        "ada@example.test",
        "--display-name",
        "Ada L.",
    ];
    changed(&home, &dashboard, &more, "lovelace");
    let (status, mut browser) = sign_in(&dashboard, "ada", "lovelace");
    assert_eq!(status, 200);
    let me = browser.get(&dashboard.url("/api/auth/me")).json();
    assert_eq!(
        (&me["user_id"], &me["email"], &me["display_name"]),
        (&"u-1".into(), &"ada@example.test".into(), &"Ada L.".into())
    );

    changed(&home, &dashboard, &["add", "bob"], "another");
    assert!(
        is_signed_in(&dashboard, &mut browser),
        "another user's arrival ends no session"
    );

    changed(&home, &dashboard, &["passwd", "ada"], "analytical");
    assert!(
        !is_signed_in(&dashboard, &mut browser),
        "the session ends with the password"
    );
    assert_eq!(sign_in(&dashboard, "ada", "lovelace").0, 401);
    let (status, mut browser) = sign_in(&dashboard, "ada", "analytical");
    assert_eq!(status, 200);

    changed(&home, &dashboard, &["remove", "ada"], "");
    assert!(!is_signed_in(&dashboard, &mut browser));
    assert_eq!(sign_in(&dashboard, "ada", "analytical").0, 401);
    assert_eq!(sign_in(&dashboard, "bob", "another").0, 200);
}

#[test]
fn broken_file_keeps_the_users_of_before() {
    let home = home("");
    assert_eq!(user(&home, &["add", "ada"], "lovelace").code, Some(0));
    let dashboard = home.dashboard();
    for broken in [
        "users: []\n",
        "- {username: ada\n",
        "- {username: ada, password_hash: plain}\n",
    ] {
        let refusals = || dashboard.log().matches("reload refused").count();
        let before = refusals();
        home.write("users.yaml", broken);
        eventually(broken, SOON, || (refusals() > before).then_some(()));
        assert!(
            dashboard.log().contains("users_file"),
            "{}",
            dashboard.log()
        );
    }
    assert_eq!(sign_in(&dashboard, "ada", "lovelace").0, 200);
}

#[test]
fn emptied_file_keeps_the_users_of_before_and_an_explicit_empty_list_does_not() {
    let home = home("");
    assert_eq!(user(&home, &["add", "ada"], "lovelace").code, Some(0));
    let good = fs::read_to_string(home.file("users.yaml")).expect("the file");
    let dashboard = home.dashboard();
    let refusals = || {
        let log = dashboard.log();
        log.matches("users.yaml has no users in it any more")
            .count()
    };
    for blank in ["", "\n", "# every user was removed\n", "---\n"] {
        let before = refusals();
        home.write("users.yaml", blank);
        eventually("the reload is refused", SOON, || {
            (refusals() > before).then_some(())
        });
        assert_eq!(sign_in(&dashboard, "ada", "lovelace").0, 200, "{blank:?}");
        home.write("users.yaml", &good);
    }

    let (_, mut browser) = sign_in(&dashboard, "ada", "lovelace");
    assert!(is_signed_in(&dashboard, &mut browser));
    home.write("users.yaml", "[]\n");
    eventually("the user is gone", SOON, || {
        (!is_signed_in(&dashboard, &mut browser)).then_some(())
    });
    assert_eq!(sign_in(&dashboard, "ada", "lovelace").0, 401);
}

#[test]
fn names_and_passwords_are_the_same_however_they_are_typed() {
    for (stored, typed) in [(COMPOSED, DECOMPOSED), (DECOMPOSED, COMPOSED)] {
        let home = home("");
        assert_eq!(
            user(
                &home,
                &["add", stored],
                &format!("{stored} br\u{fb}l\u{e9}e")
            )
            .code,
            Some(0)
        );
        let again = user(&home, &["add", typed], "another");
        assert_eq!(again.code, Some(64), "{again:?}");
        let dashboard = home.dashboard();
        for (name, password) in [(stored, typed), (typed, stored), (typed, typed)] {
            let password = format!("{password} bru\u{302}le\u{301}e");
            assert_eq!(
                sign_in(&dashboard, name, &password).0,
                200,
                "{name:?} {password:?}"
            );
        }
        let (_, mut browser) = sign_in(&dashboard, typed, &format!("{typed} br\u{fb}l\u{e9}e"));
        assert_eq!(
            browser.get(&dashboard.url("/api/auth/me")).json()["user_id"],
            COMPOSED
        );
        assert_eq!(user(&home, &["remove", typed], "").code, Some(0));
    }
}

#[test]
fn password_that_can_be_set_can_be_typed() {
    let home = home("");
    // 1,024 bytes in its normalised form, 1,536 as it is typed.
    let longest = "\u{e9}".repeat(512);
    assert_eq!(user(&home, &["add", "ada"], &longest).code, Some(0));
    assert_eq!(
        user(
            &home,
            &["add", "bob"],
            &format!("\u{feff} {} ", "x".repeat(1_022))
        )
        .code,
        Some(0)
    );
    let dashboard = home.dashboard();
    assert_eq!(sign_in(&dashboard, "ada", &longest).0, 200);
    assert_eq!(sign_in(&dashboard, "ada", &"e\u{301}".repeat(512)).0, 200);
    assert_eq!(sign_in(&dashboard, "ada", &format!("{longest}x")).0, 401);
    assert_eq!(
        sign_in(&dashboard, "bob", &format!(" {} ", "x".repeat(1_022))).0,
        200
    );

    let page = request("GET", &dashboard.url("/login"), &[], "").body;
    let (_, rest) = page
        .split_once("type=\"password\"")
        .expect("a field for the password");
    let (_, rest) = rest.split_once("maxlength=\"").expect("a limit");
    let limit: usize = rest
        .split('"')
        .next()
        .unwrap_or_default()
        .parse()
        .expect("a number");
    assert!(limit >= 1_024, "the page cuts off what can be set: {limit}");

    for too_long in [
        "x".repeat(1_025),
        "\u{1f600}".repeat(300),
        "x".repeat(20_000),
    ] {
        for arguments in [
            &["provider", "hash-password"][..],
            &["user", "passwd", "ada", "--file"],
        ] {
            let file = home.file("users.yaml").display().to_string();
            let file = Some(file.as_str()).filter(|_| arguments.contains(&"user"));
            let arguments: Vec<&str> = arguments.iter().copied().chain(file).collect();
            let finished = run(&arguments, too_long.as_bytes());
            assert_eq!(finished.code, Some(64), "{finished:?}");
            assert!(
                finished.stdout.is_empty() && finished.stderr.contains("password"),
                "{finished:?}"
            );
        }
    }
}

#[test]
fn hashed_password_is_what_was_typed_and_no_more() {
    for input in ["", "\n", "\u{feff}\n", "two\nlines\n", "two\n\n"] {
        let finished = run(&["provider", "hash-password"], input.as_bytes());
        assert_eq!(finished.code, Some(64), "{input:?}: {finished:?}");
    }
    assert_eq!(
        run(&["provider", "hash-password"], b"\xff\xfe").code,
        Some(64)
    );
    assert!(
        run(&["provider", "hash-password"], b"lovelace\r\n")
            .stdout
            .starts_with("$argon2id$")
    );
}

#[test]
fn mistakes_change_nothing_and_say_what_is_wrong() {
    let home = home("");
    assert_eq!(user(&home, &["add", "ada"], "lovelace").code, Some(0));
    let before = fs::read(home.file("users.yaml")).expect("the file");
    assert_eq!(
        fs::metadata(home.file("users.yaml"))
            .expect("the file")
            .permissions()
            .mode()
            & 0o777,
        0o600
    );
    let too_long = "x".repeat(257);
    for (arguments, complaint) in [
        (&["add", "ada"][..], "already has a user \"ada\""),
        (
            &["add", "bob", "--user-id", "ada"],
            "already has a user with the identifier \"ada\"",
        ),
        (&["add", ""], "the user name must not be empty"),
        (
            &["add", " ada"],
            "the user name must not begin or end with a space",
        ),
        (
            &["add", "a\u{200b}da"],
            "the user name must not have control, invisible",
        ),
        (
            &["add", &too_long],
            "the user name must have at most 256 bytes",
        ),
        (
            &["add", "bob", "--email", "a\tb"],
            "--email must not have control",
        ),
        (&["passwd", "bob"], "has no user \"bob\""),
        (&["remove", "bob"], "has no user \"bob\""),
    ] {
        let finished = user(&home, arguments, "lovelace");
        assert_eq!(finished.code, Some(64), "{arguments:?}: {finished:?}");
        assert!(
            finished.stderr.contains(complaint),
            "{arguments:?}: {finished:?}"
        );
    }
    assert_eq!(
        run(&["user", "list", "--file", "/no/such/file"], b"").code,
        Some(1)
    );
    assert_eq!(run(&["user", "list"], b"").code, Some(64));
    assert_eq!(fs::read(home.file("users.yaml")).expect("the file"), before);
}

#[test]
fn list_shows_users_and_no_hash() {
    let home = home("");
    assert_eq!(
        user(
            &home,
            &["add", "ada", "--email", "ada@example.test"],
            "lovelace"
        )
        .code,
        Some(0)
    );
    let shown = user(&home, &["list"], "").stdout;
    assert!(
        shown.contains("ada@example.test") && !shown.contains("argon2"),
        "{shown}"
    );
    let listed = user(&home, &["list", "--format", "json"], "").stdout;
    let listed: Value = serde_json::from_str(&listed).expect("JSON");
    assert_eq!(
        listed,
        json!([{"username": "ada", "email": "ada@example.test"}])
    );
}

#[test]
fn commands_at_the_same_time_lose_no_user() {
    let home = home("");
    let names: Vec<String> = (10..18).map(|number| format!("user-{number}")).collect();
    thread::scope(|scope| {
        for name in &names {
            let home = &home;
            scope.spawn(move || assert_eq!(user(home, &["add", name], "lovelace").code, Some(0)));
        }
    });
    let listed = user(&home, &["list", "--format", "json"], "").stdout;
    let listed: Vec<Value> = serde_json::from_str(&listed).expect("a list");
    let mut found: Vec<&str> = listed
        .iter()
        .filter_map(|user| user["username"].as_str())
        .collect();
    found.sort_unstable();
    assert_eq!(found, names);
}

#[test]
fn session_without_a_secret_survives_a_restart() {
    let home = home("");
    assert_eq!(user(&home, &["add", "ada"], "lovelace").code, Some(0));
    let mut dashboard = home.dashboard();
    let (status, mut browser) = sign_in(&dashboard, "ada", "lovelace");
    assert_eq!(status, 200);
    dashboard.terminate();
    let dashboard = home.dashboard();
    assert!(is_signed_in(&dashboard, &mut browser));
}

#[test]
fn setting_that_is_no_secret_signs_nothing() {
    let home = home(", secret: {evn: A_VARIABLE_WITH_A_NAME_OF_MORE_THAN_32_CHARACTERS}");
    home.write("users.yaml", "[]\n");
    let check = Process::run(&home, &["config", "check"], &[]);
    assert_ne!(check.code, Some(0), "{check:?}");
    assert!(check.stderr.contains("secret"), "{check:?}");
}

#[test]
fn what_strangers_type_is_no_fault_of_the_provider() {
    let home = home("");
    assert_eq!(user(&home, &["add", "ada"], "lovelace").code, Some(0));
    let dashboard = home.dashboard();
    let long = "x".repeat(300);
    for name in [
        long.as_str(),
        "\u{390}\u{390}",
        "a\tb",
        " ada",
        "a\u{202e}b",
        "",
        "\u{feff}ada",
    ] {
        assert_eq!(sign_in(&dashboard, name, "lovelace").0, 401, "{name:?}");
    }
    assert_eq!(sign_in(&dashboard, "ada", "lovelace").0, 200);
    eventually("every failure is audited", SOON, || {
        let lines = home
            .audit()
            .into_iter()
            .filter(|line| line["event"] == "login_failure");
        let reasons: Vec<Value> = lines.map(|line| line["reason"].clone()).collect();
        (reasons.len() == 7 && reasons.iter().all(|reason| reason == "invalid_credentials"))
            .then_some(())
    });
}
