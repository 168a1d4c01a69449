//! A reload every 100 ms under load, after `cargo build --release`:
//! `cargo bench --package portcullis-tests --bench reloads -- --seconds 600`.
//!
//! Four callers with a good token and one with a wrong one ask without pause. Every answer is
//! looked at; memory and open files are printed as they go. Ends with 1 when an answer was lost or
//! wrong.

use portcullis_tests::{Home, Process, get, linked_guest};
use rustix::process::Signal;
use std::fs;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

const EVERY: Duration = Duration::from_millis(100);
const CALLERS: usize = 4;
const REPORTS: u32 = 10;

fn main() -> ExitCode {
    let seconds = seconds();
    let home = Home::with_config(&format!(
        "dashboard:\n  providers:\n    - {{name: known, component: {}}}\n    - {{name: keys, component: 'builtin:service-keys'}}\n",
        linked_guest("known").display()
    ));
    let dashboard = home.dashboard();
    let done = AtomicBool::new(false);
    let (right, wrong) = (AtomicU64::new(0), AtomicU64::new(0));
    std::thread::scope(|scope| {
        for _ in 0..CALLERS {
            scope.spawn(|| ask(&dashboard, "Bearer good-token", 200, &done, &right, &wrong));
        }
        scope.spawn(|| {
            ask(
                &dashboard,
                "Bearer unknown-token",
                401,
                &done,
                &right,
                &wrong,
            );
        });
        reload(&dashboard, Duration::from_secs(seconds), &right, &wrong);
        done.store(true, Ordering::Relaxed);
    });
    let metrics = get(
        &dashboard.url("/metrics"),
        &[("x-hermes-session-token", &process_token(&dashboard))],
    )
    .body;
    for line in metrics
        .lines()
        .filter(|line| line.starts_with("portcullis_reloads_total"))
    {
        println!("{line}");
    }
    println!(
        "{} right, {} lost or wrong",
        right.load(Ordering::Relaxed),
        wrong.load(Ordering::Relaxed)
    );
    ExitCode::from(u8::from(wrong.load(Ordering::Relaxed) > 0))
}

fn seconds() -> u64 {
    let mut arguments = std::env::args()
        .skip_while(|argument| argument != "--seconds")
        .skip(1);
    arguments
        .next()
        .map_or(30, |text| text.parse().expect("--seconds takes a number"))
}

fn ask(
    dashboard: &Process,
    token: &str,
    status: u16,
    done: &AtomicBool,
    right: &AtomicU64,
    wrong: &AtomicU64,
) {
    let url = dashboard.url("/api/auth/whoami");
    while !done.load(Ordering::Relaxed) {
        let is_right = get(&url, &[("authorization", token)]).status == status;
        let count = if is_right { right } else { wrong };
        count.fetch_add(1, Ordering::Relaxed);
    }
}

fn reload(dashboard: &Process, for_so_long: Duration, right: &AtomicU64, wrong: &AtomicU64) {
    let start = Instant::now();
    let mut next_report = for_so_long / REPORTS;
    while start.elapsed() < for_so_long {
        dashboard.signal(Signal::HUP);
        std::thread::park_timeout(EVERY);
        if start.elapsed() >= next_report {
            next_report += for_so_long / REPORTS;
            println!(
                "{:>4} s: {:>8} right, {} lost or wrong, {} KiB, {} open files",
                start.elapsed().as_secs(),
                right.load(Ordering::Relaxed),
                wrong.load(Ordering::Relaxed),
                resident_kib(dashboard),
                open_files(dashboard)
            );
        }
    }
}

fn resident_kib(dashboard: &Process) -> String {
    let status =
        fs::read_to_string(format!("/proc/{}/status", dashboard.pid())).unwrap_or_default();
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    resident
        .unwrap_or("?")
        .trim()
        .trim_end_matches(" kB")
        .to_owned()
}

fn open_files(dashboard: &Process) -> usize {
    fs::read_dir(format!("/proc/{}/fd", dashboard.pid())).map_or(0, Iterator::count)
}

/// The page at `/` carries it.
fn process_token(dashboard: &Process) -> String {
    let page = get(&dashboard.url("/"), &[]).body;
    let token = page
        .split("__HERMES_SESSION_TOKEN__=\"")
        .nth(1)
        .and_then(|rest| rest.split('"').next());
    token.expect("the page carries the token").to_owned()
}
