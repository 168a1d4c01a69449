//! What was found in a second attack on the wall, seen from outside: the dashboard, its other
//! routes and its other providers while one provider does its worst.

use portcullis_author::torture::ATTACKS;
use portcullis_tests::{DRAIN_SECRET, Finished, Home, Process, SOON, eventually, get, guest, post};
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

/// Longer than a request waits on a busy machine, and far shorter than what the attacks took
/// before.
const QUICK: Duration = Duration::from_millis(900);

const GOOD: &[(&str, &str)] = &[("authorization", "Bearer good-token")];
const OTHER: &[(&str, &str)] = &[("authorization", "Bearer some-other-token")];

/// Writes a hostile guest into the home and returns its path.
fn attack(home: &Home, name: &str) -> String {
    let attack = ATTACKS
        .iter()
        .find(|attack| attack.name == name)
        .expect("an attack of that name");
    let file = home.file(&format!("{name}.wasm"));
    fs::write(&file, attack.component).expect("a file in the home");
    file.display().to_string()
}

/// A home whose dashboard asks a good provider first, and then these attacks.
fn home_under(attacks: &[&str]) -> Home {
    let home = Home::new();
    let entries: String = attacks
        .iter()
        .map(|name| {
            let component = attack(&home, name);
            format!(
                "    - {{name: {}, component: {component}, grants: {{scopes: [metrics.read]}}}}\n",
                name.replace('_', "-")
            )
        })
        .collect();
    home.write(
        "portcullis.yaml",
        &format!(
            "dashboard:\n  token_routes: [{{path: /metrics, scope: metrics.read}}]\n  providers:\n    - {{name: good, \
             component: {}, grants: {{scopes: [metrics.read]}}}}\n{entries}",
            guest("known").display()
        ),
    );
    home
}

/// Calls the host's own routes and the good provider during the attack, and returns the slowest
/// answer.
fn slowest_meanwhile(dashboard: &Process, attack: impl FnOnce() + Send) -> Duration {
    std::thread::scope(|scope| {
        let attacked = scope.spawn(attack);
        let mut slowest = Duration::ZERO;
        while !attacked.is_finished() {
            for (path, headers) in [
                ("/healthz", &[][..]),
                ("/api/status", &[]),
                ("/metrics", GOOD),
            ] {
                let start = Instant::now();
                assert_eq!(get(&dashboard.url(path), headers).status, 200, "{path}");
                slowest = slowest.max(start.elapsed());
            }
        }
        slowest
    })
}

#[test]
fn no_guest_freezes_the_routes_of_the_host_or_another_provider() {
    for name in [
        "logs_in_a_straight_line",
        "asks_for_settings_in_a_straight_line",
        "fills_memory_in_a_straight_line",
        "fills_tables_in_a_straight_line",
        "takes_roots_in_a_straight_line",
        "initializes_memory_at_instantiation",
        "traps_in_twenty_exponential_names",
        "traps_in_a_long_name",
    ] {
        let home = home_under(&[name]);
        let dashboard = home.dashboard();
        let slowest = slowest_meanwhile(&dashboard, || {
            for _ in 0..3 {
                let start = Instant::now();
                let status = get(&dashboard.url("/metrics"), OTHER).status;
                assert!(matches!(status, 401 | 503), "{name}: {status}");
                assert!(
                    start.elapsed() < Duration::from_secs(2),
                    "{name} goes on for {:?}",
                    start.elapsed()
                );
            }
        });
        assert!(slowest < QUICK, "{name}: {slowest:?}");
    }
}

#[test]
fn component_that_the_compiler_cannot_finish_neither_delays_the_start_nor_the_end() {
    let home = home_under(&["carries_locals_through_nested_loops"]);
    // Its own: what another test has compiled would be quick.
    fs::remove_file(home.file("cache")).expect("the link to the shared cache");
    let port = free_port();
    let start = Instant::now();
    let mut dashboard = Process::start(
        &home,
        &["serve", "--port", &port.to_string()],
        &[("HERMES_DASHBOARD_DRAIN_SECRET", DRAIN_SECRET)],
    );
    let url = |path: &str| format!("http://127.0.0.1:{port}{path}");
    let answers = |path: &str| {
        std::net::TcpStream::connect(("127.0.0.1", port))
            .ok()
            .map(|_| get(&url(path), &[]))
    };
    let health = eventually("it listens before it compiles", SOON, || {
        answers("/healthz")
    });
    assert_eq!(health.status, 200);
    let drain = [("authorization", &*format!("Bearer {DRAIN_SECRET}"))];
    assert_eq!(
        post(&url("/api/gateway/drain"), &drain, "{}").status,
        200,
        "the secret needs no provider"
    );
    eventually("the good provider serves", SOON, || {
        (get(&url("/metrics"), GOOD).status == 200).then_some(())
    });
    assert_eq!(
        get(&url("/readyz"), &[]).status,
        503,
        "one is still being compiled"
    );
    assert!(
        start.elapsed() < Duration::from_secs(14),
        "{:?}",
        start.elapsed()
    );

    let stop = Instant::now();
    assert_eq!(dashboard.terminate().code(), Some(0));
    assert!(
        stop.elapsed() < Duration::from_secs(5),
        "{:?}",
        stop.elapsed()
    );
    eventually("its compiler is gone", SOON, || {
        compilers_of(home.path()).is_empty().then_some(())
    });
}

#[test]
fn reload_that_compiles_for_minutes_gives_way_to_its_correction() {
    let home = home_under(&[]);
    fs::remove_file(home.file("cache")).expect("the link to the shared cache");
    let good = fs::read_to_string(home.file("portcullis.yaml")).expect("the configuration");
    let other = home_under(&["carries_locals_through_nested_loops"]);
    let slow = fs::read_to_string(other.file("portcullis.yaml")).expect("the configuration");
    let dashboard = home.dashboard();

    home.write("portcullis.yaml", &slow);
    eventually("it compiles", SOON, || {
        (!compilers_of(home.path()).is_empty()).then_some(())
    });
    home.write("portcullis.yaml", &format!("{good}# mended\n"));
    eventually("the correction serves", SOON, || {
        dashboard.log().contains("providers reloaded").then_some(())
    });
    eventually("the compiler ends", SOON, || {
        compilers_of(home.path()).is_empty().then_some(())
    });
    assert_eq!(get(&dashboard.url("/metrics"), GOOD).status, 200);
}

fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).expect("a port");
    listener.local_addr().expect("its address").port()
}

/// Processes that compile for a dashboard over this home. Their own command line does not say for
/// which, but their parent's does.
fn compilers_of(home: &Path) -> Vec<u32> {
    let cmdline = |pid: u32| fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let parent = |pid: u32| -> Option<u32> {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        status
            .lines()
            .find_map(|line| line.strip_prefix("PPid:"))?
            .trim()
            .parse()
            .ok()
    };
    let pids = fs::read_dir("/proc").expect("/proc").flatten();
    pids.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(|pid| cmdline(*pid).contains("compile-component"))
        .filter(|pid| {
            parent(*pid).is_none_or(|parent| {
                parent == 1 || cmdline(parent).contains(&*home.to_string_lossy())
            })
        })
        .collect()
}

#[test]
fn compile_bombs_are_refused_at_a_reload_and_the_others_go_on() {
    let home = home_under(&[]);
    let mut dashboard = home.dashboard();
    for name in [
        "instantiates_a_hundred_trillion_components",
        "instantiates_components_that_it_is_given",
        "instantiates_a_module_in_each_of_many_components",
        "fills_tables_at_an_imported_offset",
        "exports_a_type_of_billions_of_fields",
    ] {
        let before = dashboard.log().matches("reload refused").count();
        let good = format!(
            "{{name: good, component: {}, grants: {{scopes: [metrics.read]}}}}",
            guest("known").display()
        );
        home.write(
            "portcullis.yaml",
            &format!(
                "dashboard:\n  token_routes: [{{path: /metrics, scope: metrics.read}}]\n  providers: [{good}, {{name: bomb, \
                 component: {}}}]\n",
                attack(&home, name)
            ),
        );
        eventually("the reload is refused", SOON * 3, || {
            (dashboard.log().matches("reload refused").count() > before).then_some(())
        });
        assert_eq!(get(&dashboard.url("/metrics"), GOOD).status, 200, "{name}");
    }
    assert_eq!(dashboard.terminate().code(), Some(0));
}

#[test]
fn damaged_cache_is_compiled_again_and_never_run() {
    let home = home_under(&[]);
    fs::remove_file(home.file("cache")).expect("the link to the shared cache");
    drop(home.dashboard());
    let cached = || {
        let files = fs::read_dir(home.file("cache/components"))
            .expect("the cache")
            .flatten();
        files
            .map(|file| file.path())
            .find(|path| path.extension().is_some_and(|ending| ending == "cwasm"))
    };
    let whole = fs::read(cached().expect("a compiled component")).expect("it can be read");
    for sector in (0..whole.len() / 512).step_by(whole.len() / 512 / 7) {
        let mut damaged = whole.clone();
        damaged[sector * 512..(sector + 1) * 512]
            .iter_mut()
            .for_each(|byte| *byte = !*byte);
        fs::write(cached().expect("a compiled component"), &damaged).expect("it can be written");
        let mut dashboard = home.dashboard();
        assert_eq!(
            get(&dashboard.url("/metrics"), GOOD).status,
            200,
            "sector {sector}"
        );
        assert!(
            dashboard
                .log()
                .contains("a compiled component is compiled again"),
            "sector {sector}"
        );
        // A file that is cut short while the code runs is nothing to a process that has read it.
        fs::write(cached().expect("a compiled component"), b"").expect("it can be written");
        assert_eq!(
            get(&dashboard.url("/metrics"), GOOD).status,
            200,
            "sector {sector}"
        );
        assert_eq!(dashboard.terminate().code(), Some(0));
    }
}

#[test]
fn names_in_a_component_drive_no_terminal_and_fill_no_log() {
    for name in [
        "imports_a_name_that_clears_the_screen",
        "imports_a_long_name",
        "exports_only_other_names",
        "exports_thousands_of_names",
        "exports_a_long_name",
    ] {
        let home = home_under(&[name]);
        let component = attack(&home, name);
        let mut dashboard = home.dashboard();
        let mut shown = vec![dashboard.log()];
        for command in [
            &["provider", "inspect", &component][..],
            &["provider", "inspect", "--json", &component],
            &["provider", "check", &component],
            &["provider", "list"],
            &["config", "check"],
        ] {
            let Finished {
                code,
                stdout,
                stderr,
            } = run(&home, command);
            assert!(
                code.is_some_and(|code| code != 101),
                "{command:?} panics: {stderr}"
            );
            shown.extend([stdout, stderr]);
        }
        dashboard.terminate();
        for text in shown {
            assert!(!text.contains('\u{1b}'), "{name}: {text:?}");
            assert!(
                text.lines().all(|line| line.len() < 8_000),
                "{name}: a line of {} bytes",
                text.len()
            );
            assert!(
                !text
                    .lines()
                    .any(|line| line.starts_with("2026-11-26T00:00:00Z")),
                "{name}: {text}"
            );
        }
    }
}

fn run(home: &Home, arguments: &[&str]) -> Finished {
    Process::run(home, arguments, &[])
}

#[test]
fn provider_without_the_scope_of_a_route_never_sees_its_tokens() {
    let home = Home::new();
    let prints = attack(&home, "prints_the_token_in_disguise");
    home.write(
        "portcullis.yaml",
        &format!(
            "dashboard:\n  token_routes: [{{path: /metrics, scope: metrics.read}}]\n  providers:\n    - {{name: nodrain, \
             component: {prints}, grants: {{scopes: [metrics.read]}}}}\n"
        ),
    );
    let dashboard = home.dashboard();
    let next_secret = [("authorization", "Bearer the-secret-of-tomorrow-0123456789")];
    assert_eq!(
        post(&dashboard.url("/api/gateway/drain"), &next_secret, "{}").status,
        401
    );
    assert!(
        !dashboard.log().contains("a provider printed"),
        "{}",
        dashboard.log()
    );
    get(&dashboard.url("/metrics"), &next_secret);
    eventually("it is asked where it could authorise", SOON, || {
        dashboard.log().contains("a provider printed").then_some(())
    });
    assert!(
        !dashboard.log().contains("the-secret-of-tomorrow"),
        "{}",
        dashboard.log()
    );
}

#[test]
fn callers_that_disconnect_do_not_quarantine_a_provider_that_is_merely_slow() {
    let home = Home::with_guests(&["dozes"]);
    let dashboard = home.dashboard();
    let port = dashboard.port();
    for _ in 0..12 {
        std::thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(move || hang_up_after(port, Duration::from_millis(270)));
            }
        });
    }
    assert_eq!(get(&dashboard.url("/metrics"), GOOD).status, 200);
    let ready = get(&dashboard.url("/readyz"), &[]).json();
    assert_eq!(ready["providers"]["quarantined"], 0, "{ready}");
    assert!(
        home.audit()
            .iter()
            .all(|line| line["event"] != "provider_quarantined")
    );
}

/// Sends a token that is not known, and closes the connection before the answer.
fn hang_up_after(port: u16, wait: Duration) {
    use std::io::{Read, Write};
    let mut stream =
        std::net::TcpStream::connect(("127.0.0.1", port)).expect("the dashboard listens");
    stream.set_read_timeout(Some(wait)).expect("a timeout");
    let request =
        "GET /metrics HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer stranger-token\r\n\r\n";
    stream
        .write_all(request.as_bytes())
        .expect("the dashboard reads");
    let _ = stream.read(&mut [0; 1]);
}

#[test]
fn callers_that_disconnect_leave_their_slots_to_those_that_wait() {
    let home = Home::with_guests(&["dozes"]);
    let dashboard = home.dashboard();
    let port = dashboard.port();
    std::thread::scope(|scope| {
        for _ in 0..40 {
            scope.spawn(move || hang_up_after(port, Duration::from_millis(10)));
        }
    });
    // The slots are full of calls that continue although their callers are gone.
    let statuses: Vec<_> = (0..5)
        .map(|_| get(&dashboard.url("/metrics"), GOOD).status)
        .collect();
    assert_eq!(statuses, [200; 5]);
}

#[test]
fn component_that_is_composed_of_two_loads_and_answers() {
    let source =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../hostile/wat/lies_to_its_own_component.wat");
    let honest = fs::read_to_string(source)
        .expect("the guest's source")
        .replace("(i32.const 2147483392)", "(i32.const 64)")
        .replace(
            "(i32.const 516) (i32.const 64)",
            "(i32.const 516) (i32.const 5)",
        )
        .replace(
            "(memory (export \"memory\") 1)",
            "(memory (export \"memory\") 1) (data (i32.const 64) \"inner\")",
        )
        .replace(
            "(i32.store (i32.const 1032) (i32.const 256))",
            "(i32.store (i32.const 1032) (i32.load (i32.const 2048)))",
        )
        .replace(
            "(i32.store (i32.const 1036) (i32.const 8))",
            "(i32.store (i32.const 1036) (i32.load (i32.const 2052)))",
        );
    let home = Home::new();
    let file = home.file("composed.wasm");
    fs::write(&file, wat::parse_str(&honest).expect("a component")).expect("a file in the home");
    home.write(
        "portcullis.yaml",
        &format!(
            "dashboard: {{providers: [{{name: composed, component: {}}}]}}",
            file.display()
        ),
    );
    let dashboard = home.dashboard();
    let reply = get(&dashboard.url("/api/auth/whoami"), OTHER);
    assert_eq!(reply.status, 200, "{}", dashboard.log());
    assert_eq!(reply.json()["principal"], "inner");
}

#[test]
fn guests_share_the_memory_that_the_operator_gives_them() {
    let home = Home::new();
    let fills = attack(&home, "fills_its_memory_and_sleeps");
    home.write(
        "portcullis.yaml",
        &format!(
            "dashboard:\n  sandbox: {{memory_mib: 64}}\n  token_routes: [{{path: /metrics, scope: metrics.read}}]\n  \
             providers:\n    - {{name: fills, component: {fills}, grants: {{scopes: [metrics.read]}}}}\n"
        ),
    );
    let dashboard = home.dashboard();
    let resident = || {
        let status =
            fs::read_to_string(format!("/proc/{}/status", dashboard.pid())).expect("its status");
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:"))
            .expect("its memory")
            .trim()
            .to_owned();
        line.trim_end_matches(" kB")
            .parse::<u64>()
            .expect("a number")
            >> 10
    };
    let before = resident();
    let url = dashboard.url("/metrics");
    let mut most = 0;
    std::thread::scope(|scope| {
        let calls: Vec<_> = (0..16)
            .map(|_| scope.spawn(|| get(&url, OTHER).status))
            .collect();
        while calls.iter().any(|call| !call.is_finished()) {
            most = most.max(resident());
        }
        for call in calls {
            assert!(matches!(call.join().expect("an answer"), 401 | 503));
        }
    });
    assert!(
        most.saturating_sub(before) < 120,
        "{before} MiB grew to {most} MiB"
    );
}

#[test]
fn dashboard_serves_within_a_small_address_space_and_says_so() {
    let home = home_under(&[]);
    for (limit, providers) in [("8589934592", "[]"), ("8589934592", "good")] {
        let home = if providers == "good" {
            &home
        } else {
            &Home::with_config("dashboard: {providers: []}")
        };
        let mut command = std::process::Command::new("prlimit");
        let mut child = command
            .arg(format!("--as={limit}"))
            .arg(portcullis_tests::binary())
            .args(["serve", "--port", "0", "--home"])
            .arg(home.path())
            .env("HERMES_DASHBOARD_DRAIN_SECRET", DRAIN_SECRET)
            .stdout(std::process::Stdio::piped())
            .stderr(fs::File::create(home.file("small")).expect("a file"))
            .spawn()
            .expect("prlimit starts it");
        let mut line = String::new();
        std::io::BufRead::read_line(
            &mut std::io::BufReader::new(child.stdout.take().expect("stdout is piped")),
            &mut line,
        )
        .expect("stdout is text");
        let log = fs::read_to_string(home.file("small")).expect("its log");
        let port = line
            .trim()
            .rsplit('=')
            .next()
            .unwrap_or_default()
            .to_owned();
        assert!(port.parse::<u16>().is_ok(), "{line:?}\n{log}");
        if providers == "good" {
            assert!(log.contains("allocated on demand"), "{log}");
            assert_eq!(
                get(&format!("http://127.0.0.1:{port}/metrics"), GOOD).status,
                200,
                "{log}"
            );
        }
        child
            .kill()
            .and_then(|()| child.wait())
            .expect("our own child");
    }
}
