//! A home after ten years: each file that the product keeps is as full as it gets, or as broken as
//! a disk leaves it.

use super::people::password;
use portcullis_tests::{Browser, DRAIN_SECRET, Home, Process, SOON, eventually, get, post};
use redb::{Database, TableDefinition};
use rustix::process::Signal;
use std::fs;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// `lovelace`, as `hashlib.scrypt` of Python hashes it.
const HASH: &str = "scrypt$16384$8$1$30313233343536373839616263646566$803f085d71e969b8d600c2f22c9867b86d14dbd64338e7e433dc07c4a80dad87";
/// From the start of the process until it accepts requests.
const START: Duration = Duration::from_secs(20);
/// Resident memory of the dashboard. One that has just been set up takes some 80 MB; 131,072 keys
/// of a bucket, 100,000 ended sessions and what the build with debug assertions adds make up the
/// rest.
const MAX_RESIDENT_KIB: u64 = 350 * 1024;
/// What `serve` keeps of compiled components.
const MAX_ARTIFACTS: usize = 256;

const ENTRIES: TableDefinition<'_, &str, (u64, &[u8])> = TableDefinition::new("entries");

fn home() -> Home {
    Home::with_config(&format!(
        "dashboard:\n  public_url: http://agent.test\n  providers:\n    - name: people\n      component: builtin:basic\n      \
         config: {{secret: 9f3c1b7e2d8a4650c1e7b93f60d2a548, users: [{{username: ada, password_hash: \"{HASH}\"}}]}}\n      \
         grants: {{keyvalue: true}}\n      limits: {{deadline_ms: 5000}}\n"
    ))
}

fn private_folder(home: &Home, name: &str) {
    let made = fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(home.file(name));
    made.expect("a folder in the home");
}

/// Ten years of two sign-outs per hour and some more: 100,000.
fn fill_ended_sessions(home: &Home) {
    let lines: String = (0..100_000)
        .map(|number| format!("{number:032x}\n"))
        .collect();
    home.write("ended_sessions", &lines);
}

/// The current file and five rotated ones, all full.
fn fill_audit_log(home: &Home) {
    private_folder(home, "logs");
    let line = r#"{"ts":"2026-01-01T00:00:00Z","event":"token_auth_success","principal":"ci","provider":"service-keys","path":"/metrics","ip":"127.0.0.1"}"#;
    let full = format!("{line}\n").repeat(10 * 1024 * 1024 / (line.len() + 1));
    for name in ["dashboard-auth.log", "dashboard-auth-important.log"] {
        home.write(&format!("logs/{name}"), &full);
        for number in 1..=5 {
            home.write(&format!("logs/{name}.{number}"), &full);
        }
    }
}

/// All 131,072 keys: 100,000 sessions of this week, and sessions of the weeks before that make
/// room.
fn fill_bucket(home: &Home) {
    private_folder(home, "keyvalue");
    let database = Database::create(home.file("keyvalue/people.redb")).expect("a database");
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("a time")
        .as_secs();
    let transaction = database.begin_write().expect("a transaction");
    {
        let mut table = transaction.open_table(ENTRIES).expect("a table");
        for number in 0..131_072_u64 {
            let until = if number < 100_000 {
                now + 6 * 24 * 3600
            } else {
                now - 1
            };
            let key = format!("s:{number:022}");
            drop(
                table
                    .insert(key.as_str(), (until, &b"over"[..]))
                    .expect("an entry"),
            );
        }
    }
    transaction.commit().expect("a full bucket");
}

fn fill_cache(home: &Home) {
    fs::remove_file(home.file("cache")).expect("the link to the shared cache");
    private_folder(home, "cache/components");
    for number in 0..500 {
        home.write(
            &format!("cache/components/{number:064x}-{number:016x}.cwasm"),
            &"x".repeat(10_000),
        );
    }
}

/// What processes left that were killed while they wrote.
fn leave_temporary_files(home: &Home) {
    for number in 0..1_000 {
        for name in [
            ".drain_request.json",
            "gateway_state.json",
            "ended_sessions",
            "session_key",
        ] {
            home.write(&format!("{name}.{number:06}.tmp"), "half of a file");
        }
    }
}

fn resident_kib(dashboard: &Process) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", dashboard.pid())).expect("it runs");
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .expect("a size");
    line.trim()
        .trim_end_matches(" kB")
        .parse()
        .expect("a number")
}

/// Starts a dashboard, and waits until its providers are loaded.
fn started(home: &Home) -> Process {
    let began = Instant::now();
    let dashboard = home.dashboard();
    assert!(began.elapsed() < START, "it took {:?}", began.elapsed());
    eventually("the providers are loaded", SOON * 3, || {
        (get(&dashboard.url("/readyz"), &[]).status == 200).then_some(())
    });
    dashboard
}

fn sign_in(dashboard: &Process) -> Browser {
    let mut browser = Browser::default();
    let reply = browser.post(
        &dashboard.url("/auth/password-login"),
        &password("ada", "lovelace"),
    );
    assert_eq!(reply.status, 200, "{reply:?}\n{}", dashboard.log());
    browser
}

fn me(dashboard: &Process, browser: &Browser) -> u16 {
    browser.clone().get(&dashboard.url("/api/auth/me")).status
}

#[test]
fn everything_works_in_a_home_that_is_full() {
    let home = home();
    fill_ended_sessions(&home);
    fill_audit_log(&home);
    fill_bucket(&home);
    fill_cache(&home);
    leave_temporary_files(&home);
    let dashboard = started(&home);

    let mut browser = sign_in(&dashboard);
    assert_eq!(me(&dashboard, &browser), 200);

    let authorization = format!("Bearer {DRAIN_SECRET}");
    for body in ["{}", r#"{"action":"cancel"}"#] {
        let url = dashboard.url("/api/gateway/drain");
        let reply = post(&url, &[("authorization", &authorization)], body);
        assert_eq!(reply.status, 200, "{reply:?}");
    }

    dashboard.signal(Signal::HUP);
    eventually("the providers are reloaded", SOON, || {
        dashboard.log().contains("providers reloaded").then_some(())
    });

    let before = browser.clone();
    assert_eq!(browser.post(&dashboard.url("/auth/logout"), "").status, 302);
    assert_eq!(me(&dashboard, &before), 401);
    eventually("all of it is audited", SOON, || {
        let is_audited = |event: &str| home.audit().iter().any(|line| line["event"] == event);
        [
            "login_success",
            "drain_begin",
            "drain_cancel",
            "logout",
            "revoke",
        ]
        .into_iter()
        .all(is_audited)
        .then_some(())
    });
    assert!(
        !dashboard.log().contains("the bucket is full"),
        "{}",
        dashboard.log()
    );

    let resident = resident_kib(&dashboard);
    assert!(resident < MAX_RESIDENT_KIB, "{resident} KiB");
    let artifacts = fs::read_dir(home.file("cache/components"))
        .expect("the cache")
        .count();
    assert!(artifacts <= MAX_ARTIFACTS, "{artifacts} artifacts");

    drop(dashboard);
    let dashboard = started(&home);
    assert_eq!(
        me(&dashboard, &before),
        401,
        "a restart brings no session back"
    );
    assert_eq!(me(&dashboard, &sign_in(&dashboard)), 200);
}

/// A dashboard that serves, or one that has ended and said which file is in its way.
fn serves_or_names(home: &Home, file: &str, what: &str) {
    let variables = [("HERMES_DASHBOARD_DRAIN_SECRET", DRAIN_SECRET)];
    let mut dashboard = Process::start(home, &["serve", "--port", "0"], &variables);
    if dashboard.line().starts_with("PORTCULLIS_READY") {
        assert_eq!(dashboard.terminate().code(), Some(0), "{what}");
        return;
    }
    let finished = dashboard.finish();
    assert!(
        finished.code.is_some_and(|code| code != 0),
        "{what}: {finished:?}"
    );
    assert!(finished.stderr.contains(file), "{what}: {finished:?}");
}

#[test]
fn broken_list_of_ended_sessions_stops_nothing_or_is_named() {
    let file = "ended_sessions";
    for what in [
        "garbage",
        "no text",
        "50 MB",
        "unreadable",
        "folder",
        "FIFO",
        "dangling link",
    ] {
        let home = home();
        let path = home.file(file);
        match what {
            "garbage" => home.write(file, "garbage\n\n0123\n"),
            "no text" => fs::write(&path, [0xff; 4_096]).expect("a file in the home"),
            "50 MB" => home.write(file, &format!("{:032x}\n", 1).repeat(50_000_000 / 33)),
            "unreadable" => {
                home.write(file, "");
                let nobody = fs::Permissions::from_mode(0o000);
                fs::set_permissions(&path, nobody).expect("a file in the home");
            }
            "folder" => fs::create_dir(&path).expect("a folder in the home"),
            "FIFO" => {
                rustix::fs::mknodat(
                    rustix::fs::CWD,
                    &path,
                    rustix::fs::FileType::Fifo,
                    0o600.into(),
                    0,
                )
                .expect("a FIFO");
            }
            _ => std::os::unix::fs::symlink(home.file("nowhere"), &path).expect("a link"),
        }
        serves_or_names(&home, file, what);
    }
}
