//! What is left of a turn when the gateway and the turn's guard are killed together.

use crate::liveness::{begin, can_unshare, namespaced, start_time, status, wait};
use crate::turn_processes::{pids, send};
use crate::turns::{is_gone, start_turn_in_background};
use portcullis_tests::{Home, SOON, eventually, get, post};
use rustix::process::Signal;
use serde_json::json;
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

/// Writes the process ids of the guard and of all that it starts.
const SCRIPT: &str =
    "sleep 661 & first=$!; setsid sleep 662 & echo $PPID $$ $first $! > $0/pids; wait; echo end";

/// Runs a turn in the home and kills its guard and its gateway, neither of which gets to end the
/// turn. Returns the turn's processes.
pub(crate) fn leave_work(home: &Home) -> Vec<u32> {
    let folder = home.path().display();
    home.write(
        "portcullis.yaml",
        &format!("gateway: {{command: [sh, -c, '{SCRIPT}', '{folder}']}}"),
    );
    let mut gateway = home.gateway();
    let turn = start_turn_in_background(&gateway, "s");
    let mut processes = pids(&home.file("pids"), 4);
    let guard = processes.remove(0);

    // Stopped, the gateway does not see the guard die. The other way round, the kernel wakes a
    // stopped guard when its process group is orphaned.
    gateway.signal(Signal::STOP);
    eventually("the gateway is stopped", SOON, || {
        is_stopped(gateway.pid()).then_some(())
    });
    send(guard, Signal::KILL);
    eventually("the guard is gone", SOON, || is_gone(guard).then_some(()));
    gateway.kill();
    assert!(
        turn.join().is_err(),
        "a gateway that was killed does not answer"
    );
    processes
}

fn is_stopped(pid: u32) -> bool {
    let threads = fs::read_dir(format!("/proc/{pid}/task"))
        .expect("it runs")
        .flatten();
    let mut stats =
        threads.filter_map(|thread| fs::read_to_string(thread.path().join("stat")).ok());
    stats.all(|stat| stat.contains(") T "))
}

fn names(folder: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(folder).expect("the folder is there");
    entries
        .map(|entry| {
            entry
                .expect("an entry")
                .file_name()
                .to_string_lossy()
                .into_owned()
        })
        .collect()
}

#[test]
fn work_that_outlives_gateway_and_guard_is_unknown_until_the_next_gateway_kills_it() {
    let home = Home::new();
    let work = leave_work(&home);
    let dashboard = home.dashboard();
    let now = status(&dashboard);
    assert_eq!(
        (
            &now["gateway_state"],
            &now["gateway_running"],
            &now["quiesced"]
        ),
        (&json!("unknown"), &json!(null), &json!(false)),
        "{now}"
    );
    assert_eq!(begin(&dashboard), 200);
    assert_eq!(wait(&home, &dashboard, 2), Some(2));
    assert!(
        !work.iter().any(|pid| is_gone(*pid)),
        "it is work that is left"
    );

    let mut gateway = home.gateway();
    eventually("the work is gone", SOON, || {
        work.iter().all(|pid| is_gone(*pid)).then_some(())
    });
    assert!(
        gateway
            .log()
            .contains("killed what an earlier run of the gateway left"),
        "{}",
        gateway.log()
    );
    eventually("drained", SOON, || {
        (status(&dashboard)["drained"] == true).then_some(())
    });

    let folder = home.file("turns");
    let mode = fs::metadata(&folder)
        .expect("it was made")
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o700);
    assert_eq!(names(&folder).len(), 1, "only the lock of this run is left");
    assert!(gateway.terminate().success());
    assert_eq!(names(&folder), BTreeSet::new());
    assert_eq!(status(&dashboard)["quiesced"], true);
}

#[test]
fn start_removes_free_lock_files_and_leaves_other_files_alone() {
    let home = Home::with_config("gateway: {command: [cat]}");
    let folder = home.file("turns");
    fs::create_dir(&folder).expect("a folder in the home");
    let others = [
        "notes.txt",
        "1-2.lock.bak",
        "+1-2.lock",
        "01-2.lock",
        "-1-2.lock",
        "1-2-3.lock",
        ".lock",
    ];
    for name in others {
        home.write(&format!("turns/{name}"), "");
    }
    for run in 1..=1_000 {
        home.write(&format!("turns/{run}-1.lock"), "");
    }
    let mut expected = BTreeSet::from(others.map(str::to_owned));

    let mut gateway = home.gateway();
    let own = format!("{}-{}.lock", gateway.pid(), start_time(gateway.pid()));
    let mode = fs::metadata(folder.join(&own))
        .expect("the lock of this run")
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
    expected.insert(own.clone());
    assert_eq!(names(&folder), expected);

    assert!(gateway.terminate().success());
    expected.remove(&own);
    assert_eq!(names(&folder), expected);
}

#[test]
fn process_that_only_reads_a_lock_file_is_not_killed() {
    let home = Home::new();
    let work = leave_work(&home);
    let folder = home.file("turns");
    let lock = names(&folder)
        .into_iter()
        .next()
        .expect("the lock of the killed run");
    let lock = File::open(folder.join(lock)).expect("it is readable");
    let mut reader = Command::new("sleep")
        .arg("663")
        .stdin(lock)
        .spawn()
        .expect("sleep starts");

    let _gateway = home.gateway();
    eventually("the work is gone", SOON, || {
        work.iter().all(|pid| is_gone(*pid)).then_some(())
    });
    let ended = reader.try_wait().expect("our own child");
    reader
        .kill()
        .and_then(|()| reader.wait())
        .expect("our own child");
    assert_eq!(ended, None);
}

#[test]
fn work_that_cannot_be_found_counts_as_a_turn_until_it_ends() {
    if !can_unshare() {
        eprintln!("SKIPPED: no pid namespace can be made here");
        return;
    }
    let home = Home::with_config("gateway: {command: [cat]}");
    fs::create_dir(home.file("turns")).expect("a folder in the home");
    let lock = home.file("turns/1-1.lock");
    // This process holds it, which a gateway in another pid namespace does not see.
    let held = File::create(&lock).expect("a file in the home");
    held.lock().expect("the lock is free");
    let (dashboard, gateway) = (home.dashboard(), namespaced(&home));
    let now = status(&dashboard);
    assert_eq!(
        (&now["gateway_state"], &now["active_agents"]),
        (&json!("running"), &json!(1)),
        "{now}"
    );
    assert_eq!(get(&gateway.url("/health"), &[]).json()["active_agents"], 1);
    assert!(
        get(&gateway.url("/metrics"), &[])
            .body
            .contains("portcullis_turns_in_flight 1\n")
    );
    let reply = post(
        &gateway.url("/v1/turns"),
        &[],
        r#"{"session":"s","text":"hi"}"#,
    );
    assert_eq!(
        (reply.status, reply.body.as_str()),
        (200, "hi"),
        "turns are admitted as usual"
    );

    assert_eq!(begin(&dashboard), 200);
    assert_eq!(wait(&home, &dashboard, 2), Some(2));
    assert_eq!(status(&dashboard)["drained"], false);
    drop(held);
    eventually("drained", SOON, || {
        (status(&dashboard)["drained"] == true).then_some(())
    });
    assert!(!lock.exists());
}
