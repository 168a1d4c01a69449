//! What the status, a drain and its client say of a gateway in every situation. `docs/liveness.md`
//! is made of these cases.

use crate::leftovers::leave_work;
use crate::turns::{Gate, start_turn_in_background};
use portcullis_tests::{DRAIN_SECRET, Home, Process, SOON, binary, eventually, get, post};
use serde_json::{Value, json};
use std::collections::HashSet;
use std::fmt::Write;
use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;
use std::process::Command;

const SECRET: (&str, &str) = ("HERMES_DASHBOARD_DRAIN_SECRET", DRAIN_SECRET);
const NEW_NAMESPACE: &[&str] = &["unshare", "--pid", "--fork", "--kill-child", "--mount-proc"];
/// The user, and the group, of a gateway that is not of the dashboard's user.
const GATEWAY_USER: u32 = 65_533;
const AS_GATEWAY_USER: [&str; 4] = [
    "setpriv",
    "--reuid=65533",
    "--regid=65533",
    "--clear-groups",
];
const AS_DASHBOARD_USER: [&str; 4] = [
    "setpriv",
    "--reuid=65534",
    "--regid=65533",
    "--clear-groups",
];

pub(crate) fn status(dashboard: &Process) -> Value {
    get(&dashboard.url("/api/status"), &[]).json()
}

pub(crate) fn begin(dashboard: &Process) -> u16 {
    let authorization = format!("Bearer {DRAIN_SECRET}");
    post(
        &dashboard.url("/api/gateway/drain"),
        &[("authorization", &authorization)],
        "",
    )
    .status
}

/// How `drain wait` ends, with a time that is enough for the end that is expected.
pub(crate) fn wait(home: &Home, dashboard: &Process, expected: i32) -> Option<i32> {
    let url = dashboard.url("");
    let timeout = if expected == 0 { "60" } else { "4" };
    Process::run(
        home,
        &["drain", "wait", "--timeout", timeout, "--url", &url],
        &[SECRET],
    )
    .code
}

pub(crate) fn start_time(pid: u32) -> u64 {
    portcullis_home::process_start_time(pid).expect("it runs")
}

/// One situation: what is done, and what is said of it.
struct Situation {
    says: &'static str,
    /// Whether this machine and user can make it.
    possible: fn() -> bool,
    make: fn(&Home) -> Vec<Process>,
    /// By way of which program the dashboard runs.
    by: fn(&Home) -> Vec<String>,
    /// What happens to the dashboard before the status is read.
    befalls: fn(&Process),
    /// The status of a begin.
    begin: u16,
    state: &'static str,
    /// `gateway_running`, as JSON.
    running: &'static str,
    /// After a begin, while no turn runs: `drained` and `quiesced`.
    drained: bool,
    quiesced: bool,
    /// The exit code of `portcullis drain wait`.
    wait: i32,
    /// Whether another gateway starts.
    starts: bool,
}

const PLAIN: Situation = Situation {
    says: "",
    possible: || true,
    make: |_| Vec::new(),
    by: |_| Vec::new(),
    befalls: |_| {},
    begin: 200,
    state: "stopped",
    running: "false",
    drained: false,
    quiesced: true,
    wait: 0,
    starts: true,
};

const UNKNOWN: Situation = Situation {
    state: "unknown",
    running: "null",
    quiesced: false,
    wait: 2,
    ..PLAIN
};

const RUNS: Situation = Situation {
    state: "running",
    running: "true",
    drained: true,
    wait: 0,
    starts: false,
    ..PLAIN
};

const SITUATIONS: &[Situation] = &[
    Situation {
        says: "no gateway was ever here",
        ..PLAIN
    },
    Situation {
        says: "it runs",
        make: |home| vec![home.gateway()],
        ..RUNS
    },
    Situation {
        says: "it has stopped",
        make: |home| {
            home.gateway().terminate();
            Vec::new()
        },
        ..PLAIN
    },
    Situation {
        says: "it was killed",
        make: |home| {
            home.gateway().kill();
            Vec::new()
        },
        ..PLAIN
    },
    Situation {
        says: "it and the guard of a turn were killed together, and processes of the turn are left",
        make: |home| {
            leave_work(home);
            Vec::new()
        },
        ..UNKNOWN
    },
    Situation {
        says: "it runs in another pid namespace",
        possible: can_unshare,
        make: |home| vec![namespaced(home)],
        ..RUNS
    },
    Situation {
        says: "it was killed in another pid namespace",
        possible: can_unshare,
        make: |home| {
            namespaced(home).kill();
            eventually("the lock is released", SOON, || {
                (!is_held(home)).then_some(())
            });
            Vec::new()
        },
        ..PLAIN
    },
    Situation {
        says: "its process id belongs to another process by now",
        make: |home| {
            write_status(home, std::process::id(), "1", "running");
            Vec::new()
        },
        ..PLAIN
    },
    Situation {
        says: "its process id is in use, and the file does not say since when",
        make: |home| {
            write_status(home, std::process::id(), "null", "running");
            Vec::new()
        },
        ..UNKNOWN
    },
    Situation {
        says: "the start time in the file is no whole number",
        make: |home| {
            write_status(home, std::process::id(), "12.5", "running");
            Vec::new()
        },
        ..UNKNOWN
    },
    Situation {
        says: "it is in a state that is not known here (`degraded`)",
        make: |home| {
            let pid = std::process::id();
            write_status(home, pid, &start_time(pid).to_string(), "degraded");
            Vec::new()
        },
        state: "degraded",
        running: "true",
        quiesced: false,
        wait: 2,
        starts: false,
        ..PLAIN
    },
    Situation {
        says: "it is the original's, and does not act on the drain",
        make: |home| {
            pretend_original(home);
            Vec::new()
        },
        state: "running",
        running: "true",
        quiesced: false,
        wait: 2,
        starts: false,
        ..PLAIN
    },
    Situation {
        says: "it runs, and the dashboard cannot write: the disk is full",
        make: |home| vec![home.gateway()],
        by: |_| ["prlimit", "--fsize=0"].map(str::to_owned).to_vec(),
        begin: 500,
        drained: false,
        quiesced: false,
        wait: 2,
        ..RUNS
    },
    Situation {
        says: "it runs, and the dashboard cannot write: the home is read-only",
        possible: can_unshare,
        make: |home| vec![home.gateway()],
        by: read_only,
        begin: 500,
        drained: false,
        quiesced: false,
        wait: 2,
        ..RUNS
    },
    Situation {
        says: "it has stopped, and the home is read-only",
        possible: can_unshare,
        make: |home| {
            home.gateway().terminate();
            Vec::new()
        },
        by: read_only,
        begin: 500,
        ..PLAIN
    },
    Situation {
        says: "it runs as another user, and the dashboard cannot read its files",
        possible: can_be_another_user,
        make: |home| vec![of_another_user(home)],
        by: |_| AS_DASHBOARD_USER.map(str::to_owned).to_vec(),
        starts: false,
        ..UNKNOWN
    },
    Situation {
        says: "it runs, and the dashboard has no descriptors left",
        make: |home| vec![home.gateway()],
        befalls: leave_one_descriptor,
        begin: 500,
        starts: false,
        ..UNKNOWN
    },
    Situation {
        says: "the status file is damaged",
        make: |home| {
            home.write("gateway_state.json", "{\"pid\":");
            Vec::new()
        },
        ..UNKNOWN
    },
    Situation {
        says: "the status file is empty",
        make: |home| {
            home.write("gateway_state.json", "");
            Vec::new()
        },
        ..UNKNOWN
    },
    Situation {
        says: "a folder stands in the place of the status file",
        make: |home| {
            fs::create_dir(home.file("gateway_state.json")).expect("a folder");
            Vec::new()
        },
        ..UNKNOWN
    },
    Situation {
        says: "a FIFO stands in the place of the status file",
        make: |home| {
            fifo(&home.file("gateway_state.json"));
            Vec::new()
        },
        ..UNKNOWN
    },
    Situation {
        says: "another process holds the lock, and there is no status file",
        make: |home| {
            hold_lock(home);
            Vec::new()
        },
        starts: false,
        ..UNKNOWN
    },
    Situation {
        says: "another process holds the lock, and the status file is of a process that is gone",
        make: |home| {
            home.gateway().kill();
            hold_lock(home);
            Vec::new()
        },
        starts: false,
        ..UNKNOWN
    },
];

/// The running gateway of the original, with the lock, the record and the status file that it has.
fn pretend_original(home: &Home) {
    let pid = std::process::id();
    let start_time = start_time(pid);
    write_status(home, pid, &start_time.to_string(), "running");
    hold_lock(home);
    let record = json!({"pid": pid, "kind": "hermes-gateway", "argv": ["hermes", "gateway"], "start_time": start_time});
    home.write("gateway.lock", &record.to_string());
}

/// The gateway of a user who shares the home with the dashboard's, and whose files are for that
/// user alone.
fn of_another_user(home: &Home) -> Process {
    // The folder behind it belongs to the user of the tests.
    fs::remove_file(home.file("cache")).expect("a link in the home");
    chown(home.path(), Some(GATEWAY_USER), Some(GATEWAY_USER)).expect("root may do that");
    let shared = fs::Permissions::from_mode(0o770);
    fs::set_permissions(home.path(), shared).expect("root may do that");
    Process::start_by(
        &AS_GATEWAY_USER,
        home,
        &["gateway", "--listen", "127.0.0.1:0"],
        &[],
    )
    .ready("gateway")
}

/// Lowers the limit of open files until a connection can be accepted, and a file cannot be opened
/// meanwhile. What the dashboard still opens or closes after its start changes what is left, so the
/// limit is set until it holds.
fn leave_one_descriptor(dashboard: &Process) {
    eventually("a file cannot be opened", SOON, || {
        let pid = dashboard.pid();
        let open = fs::read_dir(format!("/proc/{pid}/fd"))
            .expect("it runs")
            .flatten();
        let open: HashSet<u64> = open
            .filter_map(|file| file.file_name().to_str()?.parse().ok())
            .collect();
        let spare = (0..)
            .find(|number| !open.contains(number))
            .expect("there are more numbers than files");
        let lowered = Command::new("prlimit")
            .args([
                "--pid",
                &pid.to_string(),
                &format!("--nofile={}:", spare + 1),
            ])
            .status();
        assert!(lowered.expect("prlimit is installed").success());
        (status(dashboard)["gateway_state"] == "unknown").then_some(())
    });
}

/// Runs a program for which the home is on a file system that is read-only.
fn read_only(home: &Home) -> Vec<String> {
    let home = home.path().display();
    let script = format!(
        "mount --bind {home} {home} && mount -o remount,bind,ro {home} && exec \"$0\" \"$@\""
    );
    ["unshare", "--mount", "sh", "-c", &script]
        .map(str::to_owned)
        .to_vec()
}

pub(crate) fn namespaced(home: &Home) -> Process {
    Process::start_by(
        NEW_NAMESPACE,
        home,
        &["gateway", "--listen", "127.0.0.1:0"],
        &[],
    )
    .ready("gateway")
}

fn fifo(path: &Path) {
    let kind = rustix::fs::FileType::Fifo;
    rustix::fs::mknodat(rustix::fs::CWD, path, kind, 0o600.into(), 0).expect("a FIFO");
}

/// As the original holds it. Until the test's process ends.
fn hold_lock(home: &Home) {
    let file = fs::File::create(home.file("gateway.lock")).expect("a file in the home");
    file.lock().expect("the lock is free");
    std::mem::forget(file);
}

fn is_held(home: &Home) -> bool {
    let file = fs::File::open(home.file("gateway.lock")).expect("it is there");
    file.try_lock_shared().is_err()
}

fn write_status(home: &Home, pid: u32, start_time: &str, state: &str) {
    let text = format!(
        r#"{{"pid":{pid},"kind":"hermes-gateway","start_time":{start_time},"gateway_state":"{state}","active_agents":3}}"#
    );
    home.write("gateway_state.json", &text);
}

pub(crate) fn can_unshare() -> bool {
    let tried = Command::new("unshare")
        .args(&NEW_NAMESPACE[1..])
        .arg("true")
        .status();
    tried.is_ok_and(|status| status.success())
}

/// Whether the binary can be run as another user: that user may not reach the folder in which it
/// lies.
fn can_be_another_user() -> bool {
    let [program, arguments @ ..] = AS_DASHBOARD_USER;
    let tried = Command::new(program)
        .args(arguments)
        .arg(binary())
        .arg("--version")
        .output();
    tried.is_ok_and(|output| output.status.success())
}

#[test]
fn every_situation_is_told_as_it_is() {
    std::thread::scope(|scope| {
        for situation in SITUATIONS {
            if !(situation.possible)() {
                eprintln!("SKIPPED: {}: this cannot be made here", situation.says);
                continue;
            }
            scope.spawn(|| check(situation));
        }
    });
}

fn check(situation: &Situation) {
    let says = situation.says;
    let key = "dashboard: {session_key: 9f3c1b7e2d8a4650c1e7b93f60d2a548}";
    let home = Home::with_config(&format!("{key}\ngateway: {{command: [cat]}}"));
    let processes = (situation.make)(&home);
    let by = (situation.by)(&home);
    let by: Vec<_> = by.iter().map(String::as_str).collect();
    let arguments = ["serve", "--port", "0"];
    let dashboard = Process::start_by(&by, &home, &arguments, &[SECRET]).ready("dashboard");
    (situation.befalls)(&dashboard);
    let before = status(&dashboard);
    assert_eq!(before["gateway_state"], situation.state, "{says}: {before}");
    assert_eq!(
        before["gateway_running"].to_string(),
        situation.running,
        "{says}: {before}"
    );

    assert_eq!(begin(&dashboard), situation.begin, "{says}");
    if situation.drained {
        eventually(&format!("{says}: drained"), SOON, || {
            (status(&dashboard)["drained"] == true).then_some(())
        });
    }
    let after = status(&dashboard);
    assert_eq!(
        (&after["drained"], &after["quiesced"]),
        (&json!(situation.drained), &json!(situation.quiesced)),
        "{says}: {after}"
    );
    assert_eq!(
        wait(&home, &dashboard, situation.wait),
        Some(situation.wait),
        "{says}"
    );
    if situation.state == "unknown" {
        assert!(
            dashboard
                .log()
                .contains("the state of the gateway is unknown"),
            "{says}: {}",
            dashboard.log()
        );
    }

    let content = || {
        let path = home.file("gateway_state.json");
        path.is_file()
            .then(|| fs::read(path).expect("it can be read"))
    };
    let written = content();
    let mut second = Process::start(&home, &["gateway", "--listen", "127.0.0.1:0"], &[]);
    let line = second.line();
    assert_eq!(
        line.starts_with("PORTCULLIS_READY"),
        situation.starts,
        "{says}: {}",
        second.log()
    );
    if !situation.starts {
        assert_eq!(second.wait().code(), Some(1), "{says}");
        assert!(
            second.log().contains("another gateway runs over"),
            "{says}: {}",
            second.log()
        );
        if processes.is_empty() {
            assert_eq!(content(), written, "{says}: its file is left alone");
        }
    }
}

#[test]
fn table_in_the_docs_is_made_of_these_cases() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/liveness.md");
    let table = document();
    if fs::read_to_string(&path).unwrap_or_default() == table {
        return;
    }
    fs::write(&path, table).expect("docs/ is there");
    panic!("docs/liveness.md was not made of these cases; it is now: commit it");
}

fn document() -> String {
    let mut text = String::from(
        "# What is said of the gateway\n\nMade from the cases in `tests/suite/liveness.rs`, which run against the real binary. \
         `drained`, `quiesced` and the exit\ncode of `portcullis drain wait` are those after a drain was begun, with no turn in \
         flight. The last column says whether\nanother `portcullis gateway` starts over the same home.\n\n\
         | situation | `gateway_state` | `gateway_running` | begin | `drained` | `quiesced` | `drain wait` | another gateway |\n\
         |---|---|---|---|---|---|---|---|\n",
    );
    for Situation {
        says,
        state,
        running,
        begin,
        drained,
        quiesced,
        wait,
        starts,
        ..
    } in SITUATIONS
    {
        let starts = if *starts { "starts" } else { "exit 1" };
        writeln!(
            text,
            "| {says} | `{state}` | {running} | {begin} | {drained} | {quiesced} | {wait} | {starts} |"
        )
        .expect("writing to a string");
    }
    text
}

#[test]
fn drain_holds_across_pid_namespaces_while_a_turn_runs() {
    if !can_unshare() {
        eprintln!("SKIPPED: no pid namespace can be made here");
        return;
    }
    let gate = Gate::new();
    let home = Home::with_config(&gate.config());
    let (dashboard, gateway) = (home.dashboard(), namespaced(&home));
    let turn = start_turn_in_background(&gateway, "long");
    eventually("the turn is counted", SOON, || {
        (status(&dashboard)["active_agents"] == 1).then_some(())
    });
    assert_eq!(begin(&dashboard), 200);
    eventually("draining", SOON, || {
        (status(&dashboard)["gateway_state"] == "draining").then_some(())
    });
    assert_eq!(status(&dashboard)["quiesced"], false);
    assert_eq!(wait(&home, &dashboard, 2), Some(2));
    let body = json!({"session": "new", "text": "hi"}).to_string();
    assert_eq!(post(&gateway.url("/v1/turns"), &[], &body).status, 503);
    gate.open();
    assert_eq!(turn.join().expect("an answer").status, 200);
    eventually("drained", SOON, || {
        (status(&dashboard)["drained"] == true).then_some(())
    });
}

#[test]
fn lock_that_was_removed_is_taken_again() {
    let home = Home::new();
    let _gateway = home.gateway();
    fs::remove_file(home.file("gateway.lock")).expect("it is there");
    eventually("the lock is there and held", SOON, || {
        (home.file("gateway.lock").exists() && is_held(&home)).then_some(())
    });
}

#[test]
fn status_file_that_was_removed_is_written_again() {
    let home = Home::new();
    let (dashboard, _gateway) = (home.dashboard(), home.gateway());
    fs::remove_file(home.file("gateway_state.json")).expect("it is there");
    eventually("running", SOON, || {
        (status(&dashboard)["gateway_state"] == "running").then_some(())
    });
}

#[test]
fn one_process_of_each_kind_runs_over_a_home() {
    let home = Home::new();
    let (_dashboard, _gateway) = (home.dashboard(), home.gateway());
    for (arguments, says) in [
        (&["serve", "--port", "0"][..], "another dashboard runs over"),
        (
            &["gateway", "--listen", "127.0.0.1:0"],
            "another gateway runs over",
        ),
        (
            &["up", "--port", "0", "--listen", "127.0.0.1:0"],
            "another gateway runs over",
        ),
    ] {
        let refused = Process::run(&home, arguments, &[SECRET]);
        assert_eq!(refused.code, Some(1), "{arguments:?}: {}", refused.stderr);
        assert_eq!(
            refused.stderr.matches(says).count(),
            1,
            "{arguments:?}: {}",
            refused.stderr
        );
        assert!(!refused.stdout.contains("READY"), "{arguments:?}");
    }
}

#[test]
fn status_is_told_while_strangers_use_up_the_connections() {
    let home = Home::new();
    let gateway = home.gateway();
    let wrapper = ["prlimit", "--nofile=256:256"];
    let arguments = ["serve", "--port", "0"];
    let dashboard = Process::start_by(&wrapper, &home, &arguments, &[SECRET]).ready("dashboard");
    assert_eq!(status(&dashboard)["gateway_state"], "running");
    let silent: Vec<_> = (0..300)
        .map_while(|_| std::net::TcpStream::connect(("127.0.0.1", dashboard.port())).ok())
        .collect();
    assert!(silent.len() > 200);
    // The slots of silent connections are given back after their time, so an answer comes.
    let told = status(&dashboard);
    assert_eq!(
        (&told["gateway_state"], &told["gateway_running"]),
        (&json!("running"), &json!(true)),
        "{told}"
    );
    drop((silent, gateway));
}
