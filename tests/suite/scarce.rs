//! Limits on threads, memory and file sizes that are too low for a service: it says so in one
//! sentence and ends, or serves. It never panics, aborts or hangs.

use portcullis_tests::{Finished, Home, Process, SOON, binary, eventually};
use std::fs;
use std::os::unix::fs::chown;
use std::process::Command;

const MIB: u64 = 1024 * 1024;
/// A user of this test alone: a limit on threads counts all processes of a user.
const USER: u32 = 41_234;

fn as_the_user() -> Vec<String> {
    vec![
        "setpriv".to_owned(),
        format!("--reuid={USER}"),
        format!("--regid={USER}"),
        "--clear-groups".to_owned(),
    ]
}

fn can_be_the_user() -> bool {
    let words = as_the_user();
    let tried = Command::new(&words[0])
        .args(&words[1..])
        .arg(binary())
        .arg("--version")
        .output();
    tried.is_ok_and(|output| output.status.success())
}

/// Runs a service to its end, which it reaches by itself because of the limit.
fn refused(wrapper: &[&str], home: &Home, service: &[&str]) -> Finished {
    let finished = Process::start_by(wrapper, home, service, &[]).finish();
    let told = format!("{wrapper:?} {service:?}: {finished:?}");
    assert_eq!(finished.code, Some(1), "{told}");
    assert_eq!(finished.stdout, "", "{told}");
    for sign in ["panicked", "memory allocation of", "backtrace"] {
        assert!(!finished.stderr.contains(sign), "{told}");
    }
    let sentences = finished
        .stderr
        .lines()
        .filter(|line| line.starts_with("portcullis: "))
        .count();
    assert_eq!(sentences, 1, "{told}");
    finished
}

const DASHBOARD: &[&str] = &["serve", "--port", "0"];
const GATEWAY: &[&str] = &["gateway", "--listen", "127.0.0.1:0"];

#[test]
fn service_names_a_limit_on_memory_that_is_too_low() {
    let home = Home::with_config("dashboard: {providers: []}");
    for (option, name, sizes) in [
        ("--data", "RLIMIT_DATA", [20, 24, 32, 40]),
        ("--as", "RLIMIT_AS", [152, 176, 200, 208]),
    ] {
        for size in sizes {
            let limit = format!("{option}={}", size * MIB);
            let finished = refused(&["prlimit", &limit], &home, DASHBOARD);
            assert!(
                finished.stderr.contains(&format!("{name}, is {size} MiB")),
                "{finished:?}"
            );
        }
    }
}

#[test]
fn service_names_a_limit_on_threads_that_is_too_low() {
    if !can_be_the_user() {
        eprintln!("SKIPPED: no other user can run the binary here");
        return;
    }
    let home = Home::with_config("dashboard: {providers: []}");
    fs::remove_file(home.file("cache")).expect("a link in the home");
    for file in [home.path().to_owned(), home.file("portcullis.yaml")] {
        chown(file, Some(USER), Some(USER)).expect("root may do that");
    }

    let by = as_the_user();
    for (service, limits) in [
        (DASHBOARD, &[1, 2, 3, 4, 5, 8, 12, 13, 14][..]),
        (GATEWAY, &[1, 2, 3, 4][..]),
    ] {
        for limit in limits {
            let limit = format!("--nproc={limit}");
            let wrapper: Vec<&str> = ["prlimit", &limit]
                .into_iter()
                .chain(by.iter().map(String::as_str))
                .collect();
            let finished = refused(&wrapper, &home, service);
            assert!(finished.stderr.contains("thread"), "{finished:?}");
        }
    }
}

#[test]
fn limit_on_file_sizes_is_no_trap_of_a_provider() {
    let home = Home::with_config(
        "dashboard:\n  providers:\n    - name: keys\n      component: builtin:service-keys\n      \
         config: {keys: [{sha256: cc8ac280df2a034034ee81de003aa693e22cfd9b963d0e8b9a13102b08c7893b, \
         principal: bot, scopes: [metrics.read]}]}\n      grants: {scopes: [metrics.read]}\n",
    );
    // So that the code comes from the cache, which cannot be written under the limit.
    let mut filled = home.dashboard();
    eventually("the provider is loaded", SOON, || {
        filled.log().contains("provider loaded").then_some(())
    });
    filled.terminate();

    let limited = Process::start_by(&["prlimit", "--fsize=8192"], &home, DASHBOARD, &[]);
    let log = eventually("the provider is loaded or refused", SOON, || {
        let log = limited.log();
        let is_over = log.contains("provider refused") || log.contains("provider loaded");
        is_over.then_some(log)
    });
    assert!(!log.contains("trapped"), "{log}");
}
