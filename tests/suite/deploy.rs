//! What installs and starts the program: unit files, and the notices to the service manager.

use portcullis_tests::{DRAIN_SECRET, Home, Process, SOON, binary, eventually, post};
use rustix::process::Signal;
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

const UNITS: [&str; 3] = [
    "portcullis-gateway.service",
    "portcullis-dashboard.service",
    "portcullis.target",
];

fn deploy(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../deploy")
        .join(path)
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).expect("a file of deploy/")
}

/// The settings of a unit, by `Section.Key`.
fn settings(unit: &str) -> BTreeMap<String, Vec<String>> {
    let mut section = String::new();
    let mut settings = BTreeMap::<_, Vec<_>>::new();
    for line in unit
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with(['#', ';']))
    {
        if let Some(name) = line
            .strip_prefix('[')
            .and_then(|line| line.strip_suffix(']'))
        {
            name.clone_into(&mut section);
            continue;
        }
        let (key, value) = line
            .split_once('=')
            .expect("a line is a section or a setting");
        settings
            .entry(format!("{section}.{key}"))
            .or_default()
            .push(value.to_owned());
    }
    settings
}

#[test]
fn units_start_commands_that_exist() {
    let home = Home::new();
    for unit in UNITS.iter().filter(|unit| unit.ends_with(".service")) {
        let settings = settings(&read(&deploy("systemd").join(unit)));
        let start = settings["Service.ExecStart"].concat();
        let mut words = start.split_whitespace();
        assert_eq!(words.next(), Some("/usr/bin/portcullis"), "{unit}");
        let words: Vec<_> = words.collect();
        let command = ["gateway", "serve"]
            .into_iter()
            .find(|command| words.contains(command));
        let command = command.unwrap_or_else(|| panic!("{unit}: no command in {start}"));
        let help = Process::run(&home, &[command, "--help"], &[]).stdout;
        for flag in words.iter().filter(|word| word.starts_with("--")) {
            assert!(
                help.contains(&format!("{flag} ")),
                "{unit}: {command} has no {flag}"
            );
        }
    }
}

#[test]
fn units_leave_out_what_the_sandbox_cannot_bear_and_name_it() {
    let dashboard = read(&deploy("systemd/portcullis-dashboard.service"));
    let set = settings(&dashboard);
    for key in [
        "MemoryDenyWriteExecute",
        "LimitAS",
        "ProcSubset",
        "PrivateUsers",
    ] {
        assert!(!set.contains_key(&format!("Service.{key}")), "{key} is set");
        assert!(
            dashboard.contains(&format!("#   {key}=")),
            "{key} is not named"
        );
    }
    for unit in UNITS.iter().filter(|unit| unit.ends_with(".service")) {
        let set = settings(&read(&deploy("systemd").join(unit)));
        for (key, value) in [
            ("Type", "notify"),
            ("NotifyAccess", "main"),
            ("RestartForceExitStatus", "75"),
            ("RestartPreventExitStatus", "64"),
            ("NoNewPrivileges", "yes"),
            ("ProtectSystem", "strict"),
            ("KillMode", "mixed"),
        ] {
            assert_eq!(set[&format!("Service.{key}")], [value], "{unit}: {key}");
        }
    }
}

/// Where `systemd-analyze` is not installed, the other tests of the units have to do.
#[test]
fn units_are_what_systemd_understands() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let files: Vec<_> = UNITS
        .iter()
        .map(|unit| {
            let text = read(&deploy("systemd").join(unit));
            let here = text.replace("/usr/bin/portcullis", &binary().display().to_string());
            let file = folder.path().join(unit);
            fs::write(&file, here).expect("a file in a temporary folder");
            file
        })
        .collect();
    let Ok(checked) = Command::new("systemd-analyze")
        .arg("verify")
        .args(&files)
        .output()
    else {
        return;
    };
    let complaints = String::from_utf8_lossy(&checked.stderr);
    assert!(checked.status.success(), "{complaints}");
    let of_ours = complaints
        .lines()
        .filter(|line| line.contains("portcullis"))
        .collect::<Vec<_>>();
    assert!(of_ours.is_empty(), "{of_ours:#?}");
}

/// A socket that takes the place of the service manager's.
struct Notices {
    socket: UnixDatagram,
    path: PathBuf,
}

impl Notices {
    fn new(home: &Home) -> Self {
        let path = home.file("notify");
        let socket = UnixDatagram::bind(&path).expect("a socket in the home");
        socket
            .set_read_timeout(Some(Duration::from_millis(100)))
            .expect("a socket of our own");
        Self { socket, path }
    }

    fn path(&self) -> &str {
        self.path.to_str().expect("a temporary folder is text")
    }

    /// The notices up to the first one with this line.
    fn until(&self, wanted: &str) -> Vec<String> {
        let end = Instant::now() + SOON;
        let mut lines = Vec::new();
        let mut buffer = [0; 4096];
        loop {
            assert!(Instant::now() < end, "no {wanted}: {lines:?}");
            let Ok(length) = self.socket.recv(&mut buffer) else {
                continue;
            };
            lines.extend(
                String::from_utf8_lossy(&buffer[..length])
                    .lines()
                    .map(str::to_owned),
            );
            if lines.iter().any(|line| line == wanted) {
                return lines;
            }
        }
    }
}

#[test]
fn service_manager_learns_of_start_life_reload_and_end() {
    for arguments in [
        &["serve", "--port", "0"][..],
        &["gateway", "--listen", "127.0.0.1:0"],
    ] {
        let home = Home::new();
        let notices = Notices::new(&home);
        let variables = [
            ("NOTIFY_SOCKET", notices.path()),
            ("WATCHDOG_USEC", "200000"),
        ];
        let process = Process::start(&home, arguments, &variables);
        let component = if arguments[0] == "serve" {
            "dashboard"
        } else {
            "gateway"
        };
        let mut process = process.ready(component);

        notices.until("READY=1");
        notices.until("WATCHDOG=1");
        notices.until("WATCHDOG=1");
        if component == "dashboard" {
            process.signal(Signal::HUP);
            let begin = notices.until("RELOADING=1");
            assert!(
                begin.iter().any(|line| line.starts_with("MONOTONIC_USEC=")),
                "{begin:?}"
            );
            notices.until("READY=1");
        }
        process.signal(Signal::TERM);
        notices.until("STOPPING=1");
        // A full queue of a socket that is not read would hold up the last sign of life.
        drop(notices);
        assert!(process.wait().success(), "{component}");
    }
}

#[test]
fn without_a_watchdog_no_sign_of_life_is_sent() {
    let home = Home::new();
    let notices = Notices::new(&home);
    let variables = [("NOTIFY_SOCKET", notices.path()), ("WATCHDOG_USEC", "0")];
    let process = Process::start(&home, &["serve", "--port", "0"], &variables).ready("dashboard");
    notices.until("READY=1");
    process.signal(Signal::TERM);
    let rest = notices.until("STOPPING=1");
    assert!(!rest.contains(&"WATCHDOG=1".to_owned()), "{rest:?}");
}

#[test]
fn service_manager_that_is_gone_ends_no_process() {
    let home = Home::new();
    let nowhere = home.file("no-such-socket").display().to_string();
    let variables = [
        ("NOTIFY_SOCKET", nowhere.as_str()),
        ("WATCHDOG_USEC", "200000"),
    ];
    let mut process =
        Process::start(&home, &["serve", "--port", "0"], &variables).ready("dashboard");
    eventually("the log names the variable", SOON, || {
        process.log().contains("NOTIFY_SOCKET").then_some(())
    });
    assert!(process.terminate().success());
}

#[test]
fn commands_of_turns_cannot_speak_for_the_gateway() {
    let home = Home::with_config("gateway: {command: [env]}");
    let notices = Notices::new(&home);
    let variables = [
        ("NOTIFY_SOCKET", notices.path()),
        ("WATCHDOG_USEC", "60000000"),
    ];
    let gateway =
        Process::start(&home, &["gateway", "--listen", "127.0.0.1:0"], &variables).ready("gateway");
    let turn = post(
        &gateway.url("/v1/turns"),
        &[],
        r#"{"session":"s","text":"x"}"#,
    );
    assert!(turn.body.contains("PATH="), "{}", turn.body);
    assert!(
        !turn.body.contains("NOTIFY_SOCKET") && !turn.body.contains("WATCHDOG_"),
        "{}",
        turn.body
    );
}

/// The number after `name` in a text.
fn number_after(text: &str, name: &str) -> u64 {
    let (_, rest) = text.split_once(name).expect(name);
    let digits: String = rest
        .chars()
        .skip_while(|c| " :=".contains(*c))
        .take_while(char::is_ascii_digit)
        .collect();
    digits.parse().expect(name)
}

#[test]
fn pod_gets_the_time_that_its_hook_and_its_turns_need() {
    let pod = read(&deploy("kubernetes/agent.yaml"));
    let config = read(&deploy("kubernetes/portcullis.yaml"));
    let hook = number_after(&pod, "drain wait --timeout");
    let grace = number_after(&config, "shutdown_grace_seconds");
    assert!(number_after(&pod, "terminationGracePeriodSeconds") >= hook + grace + 5);
    assert!(
        number_after(&pod, "--ttl") > hook,
        "the drain must outlive the wait"
    );
    assert!(
        !pod.contains("drain cancel"),
        "a cancel lets new turns into a pod that ends"
    );

    let unit = read(&deploy("systemd/portcullis-gateway.service"));
    assert!(
        number_after(&unit, "TimeoutStopSec") >= 60 + 5,
        "the default grace, and the end"
    );
}

#[test]
fn configuration_of_the_pod_has_no_mistake() {
    let home = Home::new();
    let hash =
        "scrypt$16384$8$1$MDEyMzQ1Njc4OWFiY2RlZg==$gD8IXXHpabjWAMLyLJhnuG0U29ZDOOfkM9wHxKgNrYc=";
    home.write(
        "users",
        &format!("- {{username: ada, password_hash: \"{hash}\"}}\n"),
    );
    let config = read(&deploy("kubernetes/portcullis.yaml"));
    let here = config.replace(
        "/run/secrets/portcullis/users",
        &home.file("users").display().to_string(),
    );
    assert_ne!(here, config);
    home.write("portcullis.yaml", &here);
    let checked = Process::run(
        &home,
        &["config", "check"],
        &[("HERMES_DASHBOARD_DRAIN_SECRET", DRAIN_SECRET)],
    );
    assert_eq!(
        checked.code,
        Some(0),
        "{}\n{}",
        checked.stdout,
        checked.stderr
    );
}

#[test]
fn hook_of_the_pod_is_a_command_that_exists() {
    let home = Home::new();
    for (action, flags) in [
        ("begin", &["--owner", "--ttl"][..]),
        ("wait", &["--timeout"]),
    ] {
        let help = Process::run(&home, &["drain", action, "--help"], &[]).stdout;
        for flag in flags {
            assert!(
                help.contains(&format!("{flag} <")),
                "drain {action} has no {flag}"
            );
        }
    }
}

#[test]
fn package_names_files_that_exist() {
    let crate_folder = deploy("../runtime/cli");
    let manifest = read(&crate_folder.join("Cargo.toml"));
    let (_, package) = manifest
        .split_once("[package.metadata.deb]")
        .expect("the Debian package");
    // What is below `target` is written by `deploy/debian/build.py`.
    let paths: Vec<_> = package
        .split('"')
        .filter(|text| text.starts_with("../") && !text.contains("/target/"))
        .collect();
    assert!(paths.len() > 5, "{paths:?}");
    for path in paths {
        let is_there = match path.split_once('*') {
            Some((folder, ending)) => fs::read_dir(crate_folder.join(folder))
                .into_iter()
                .flatten()
                .filter_map(Result::ok)
                .any(|entry| entry.file_name().to_string_lossy().ends_with(ending)),
            None => crate_folder.join(path).exists(),
        };
        assert!(is_there, "{path}");
    }
}
