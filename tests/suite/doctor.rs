//! `portcullis doctor` over good and broken homes, and what `--online` says of issuers.

use portcullis_tests::{DRAIN_SECRET, Finished, Home, PROCESS_TOKEN, Process, guest, post};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::time::{Duration, SystemTime};

fn doctor(home: &Home, flags: &[&str]) -> Finished {
    let arguments: Vec<_> = ["doctor"].iter().chain(flags).copied().collect();
    Process::run(
        home,
        &arguments,
        &[("HERMES_DASHBOARD_DRAIN_SECRET", DRAIN_SECRET)],
    )
}

fn set_mode(home: &Home, name: &str, mode: u32) {
    fs::set_permissions(home.file(name), fs::Permissions::from_mode(mode))
        .expect("a file of our own");
}

fn mode(home: &Home, name: &str) -> u32 {
    fs::metadata(home.file(name))
        .expect("a file of our own")
        .mode()
        & 0o777
}

/// What the doctor says, with `HOME` in place of the home.
fn says(home: &Home, flags: &[&str]) -> (Option<i32>, String) {
    let Finished {
        code,
        stdout,
        stderr,
    } = doctor(home, flags);
    let text = stdout.replace(&home.path().display().to_string(), "HOME");
    (code, if text.is_empty() { stderr } else { text })
}

/// What the doctor says of everything but the machine and its folder for compiled components, whose
/// lines differ from one machine to another.
fn golden(home: &Home, flags: &[&str]) -> String {
    const OF_THE_MACHINE: [&str; 5] = ["cache", "descriptors", "disk", "sandbox", "threads"];
    let (_, text) = says(home, flags);
    let user = format!("user ({})", rustix::process::geteuid().as_raw());
    let text = text.replace(&user, "user (UID)");
    let check = |line: &str| {
        line.split_whitespace()
            .nth(1)
            .unwrap_or_default()
            .to_owned()
    };
    let lines = text
        .lines()
        .filter(|line| !OF_THE_MACHINE.contains(&check(line).as_str()));
    let without_digest = |line: &str| {
        line.split_once("sha256 ")
            .map_or(line.to_owned(), |(text, _)| format!("{text}sha256"))
    };
    lines.map(|line| without_digest(line) + "\n").collect()
}

#[test]
fn good_home_reads_as_it_always_did() {
    let home = Home::with_guests(&["known"]);
    set_mode(&home, ".", 0o700);
    assert_eq!(golden(&home, &[]), include_str!("doctor/good.txt"));
}

#[test]
fn home_with_problems_reads_as_it_always_did() {
    let home = Home::with_config(
        "dashboard:\n  public_url: http://agent.test\n  session_key: {file: key}\n",
    );
    set_mode(&home, ".", 0o700);
    home.write("key", PROCESS_TOKEN);
    set_mode(&home, "key", 0o644);
    home.write("gateway_state.json", "not JSON");
    home.write("audit_key", "broken");
    set_mode(&home, "audit_key", 0o644);
    leave_temporary(&home, "session_list.abc123.tmp");
    assert_eq!(golden(&home, &[]), include_str!("doctor/problems.txt"));
}

#[test]
fn trust_in_the_whole_internet_is_a_warning_of_each_command() {
    let home = Home::with_config("dashboard: {trusted_proxies: [0.0.0.0/0]}");
    let warning = "`dashboard.trusted_proxies` trusts 0.0.0.0/0: each client there can choose";

    let check = Process::run(&home, &["config", "check"], &[]);
    assert_eq!(check.code, Some(0), "{}", check.stderr);
    assert!(check.stderr.contains(warning), "{}", check.stderr);

    let (code, said) = says(&home, &[]);
    let is_warned = |line: &str| line.starts_with("warn ") && line.contains(warning);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.lines().any(is_warned), "{said}");

    let dashboard = home.dashboard_with(&["--port", "0"], &[]);
    assert_eq!(dashboard.log().matches(warning).count(), 1);
}

/// A file as a process leaves it that was killed an hour ago, in the middle of a write.
fn leave_temporary(home: &Home, name: &str) {
    home.write(name, "half");
    let file = fs::File::options()
        .write(true)
        .open(home.file(name))
        .expect("a file of our own");
    file.set_modified(SystemTime::now() - Duration::from_secs(3_600))
        .expect("a file of our own");
}

#[test]
fn fix_removes_temporary_files_of_killed_processes_alone() {
    let home = Home::new();
    for name in [
        "session_list.abc123.tmp",
        "gateway_state.json.x.tmp",
        "sessions.old",
        "notes.abc123.tmp",
    ] {
        leave_temporary(&home, name);
    }
    // It may be of a write that is under way.
    home.write("audit_head.abc123.tmp", "");
    let (_, text) = says(&home, &["--fix"]);
    let removed = text
        .lines()
        .filter(|line| line.starts_with("ok       temporary "))
        .count();
    assert_eq!(removed, 2, "{text}");
    let is_left = |name: &str| home.file(name).exists();
    assert!(
        !is_left("session_list.abc123.tmp") && !is_left("gateway_state.json.x.tmp"),
        "{text}"
    );
    assert!(
        is_left("sessions.old") && is_left("notes.abc123.tmp") && is_left("audit_head.abc123.tmp")
    );
}

#[test]
fn audit_log_is_checked_and_its_public_key_printed() {
    let home = Home::new();
    let mut dashboard = home.dashboard();
    let bearer = format!("Bearer {DRAIN_SECRET}");
    post(
        &dashboard.url("/api/gateway/drain"),
        &[("authorization", &bearer)],
        "{}",
    );
    assert_eq!(dashboard.terminate().code(), Some(0));
    let key = Process::run(&home, &["audit", "key"], &[]).stdout;
    let (code, text) = says(&home, &[]);
    assert_eq!(code, Some(0), "{text}");
    assert!(
        text.contains(&format!(
            "ok       audit          the public key of the log is {key}"
        )),
        "{text}"
    );
    assert!(
        text.contains("audit          logs/dashboard-auth.log is as it was written (lines: "),
        "{text}"
    );

    let log = home.file("logs/dashboard-auth.log");
    let lines = fs::read_to_string(&log).expect("a log");
    fs::write(&log, lines.replace("drain_begin", "drain_cancel")).expect("the log is ours");
    let (code, text) = says(&home, &[]);
    let expected =
        "error    audit          logs/dashboard-auth.log is not as it was written (findings: ";
    assert!(code == Some(1) && text.contains(expected), "{text}");
    let (code, json) = says(&home, &["--json"]);
    let json: serde_json::Value = serde_json::from_str(&json).expect("one JSON object");
    assert_eq!((code, &json["ok"]), (Some(1), &false.into()), "{json}");
}

#[test]
fn good_home_has_no_error_and_one_line_per_check() {
    let home = Home::with_guests(&["known"]);
    set_mode(&home, ".", 0o700);
    let (code, text) = says(&home, &[]);
    assert_eq!(code, Some(0), "{text}");
    for expected in [
        "ok       configuration  HOME/portcullis.yaml: read\n",
        "ok       drain-secret   registered\n",
        "ok       home           HOME has mode 0700\n",
        "ok       home           HOME can be written\n",
        "ok       file-system    a rename replaces a file, and a lock (flock) shuts others out\n",
        "ok       processes      gateway: none runs over this home\n",
        "ok       processes      the gateway is stopped\n",
        "ok       providers      known-0: loaded, sha256 ",
        "ok       front          people need not sign in: the page is for this machine alone\n",
        "ok       sandbox        wasmtime ",
        "unknown  clock          whether the clock agrees with that of other machines",
    ] {
        assert!(text.contains(expected), "{expected}\n{text}");
    }
    for line in text.lines() {
        let severity = line.split_whitespace().next().unwrap_or_default();
        assert!(["ok", "unknown", "warn"].contains(&severity), "{line}");
    }
}

#[test]
fn one_object_holds_every_finding() {
    let home = Home::new();
    let printed = doctor(&home, &["--json"]);
    let object: Value = serde_json::from_str(&printed.stdout).expect("one JSON object");
    assert_eq!(object["ok"], true, "{object}");
    let findings = object["findings"].as_array().expect("a list");
    let checks: BTreeSet<_> = findings
        .iter()
        .filter_map(|finding| finding["check"].as_str())
        .collect();
    for check in [
        "cache",
        "clock",
        "configuration",
        "descriptors",
        "disk",
        "file-system",
        "front",
        "home",
        "processes",
        "sandbox",
        "threads",
    ] {
        assert!(checks.contains(check), "{check}: {checks:?}");
    }
}

#[test]
fn running_processes_are_seen() {
    let home = Home::new();
    let (_gateway, _dashboard) = (home.gateway(), home.dashboard());
    let (code, text) = says(&home, &[]);
    assert_eq!(code, Some(0), "{text}");
    for expected in [
        "gateway: one runs",
        "dashboard: one runs",
        "`up`: none runs",
        "the gateway is running",
    ] {
        assert!(text.contains(expected), "{expected}\n{text}");
    }
}

#[test]
fn what_is_wrong_is_an_error_with_its_remedy() {
    let known = guest("known").display().to_string();
    let digest = "0".repeat(64);
    for (yaml, expected) in [
        (
            "dashboard:\n  prot: 1\n".to_owned(),
            "HOME/portcullis.yaml:2:3: unknown key `prot`",
        ),
        (
            "dashboard:\n  host: a: b\n".to_owned(),
            "unknown  providers      the providers were not loaded",
        ),
        (
            "dashboard:\n  providers:\n    - {name: a, component: x, limit: 1}\n".to_owned(),
            "unknown  providers      some providers were not loaded: their entries have mistakes",
        ),
        (
            "dashboard: {host: 0.0.0.0}".to_owned(),
            "HOME/portcullis.yaml:1:19: 0.0.0.0 is not a loopback address, but no provider can sign a person in -> add \
             builtin:basic",
        ),
        (
            format!(
                "dashboard:\n  providers:\n    - {{name: a, component: {known}, sha256: '{digest}'}}\n"
            ),
            "error    providers      HOME/portcullis.yaml:3:",
        ),
        (
            "dashboard:\n  providers:\n    - {name: a, component: no-such.wasm}\n".to_owned(),
            "error    providers      HOME/portcullis.yaml:3:17: provider `a`: ",
        ),
    ] {
        let home = Home::with_config(&yaml);
        let (code, text) = says(&home, &[]);
        assert_eq!(code, Some(1), "{yaml}\n{text}");
        assert!(text.contains(expected), "{expected}\n{text}");
    }
}

#[test]
fn broken_home_is_an_error() {
    let home = Home::new();
    set_mode(&home, "", 0o777);
    fs::create_dir(home.file("gateway.lock")).expect("a folder in the home");
    let (code, text) = says(&home, &[]);
    assert_eq!(code, Some(1), "{text}");
    assert!(
        text.contains("error    home           HOME has mode 0777: users other"),
        "{text}"
    );
    assert!(text.contains("-> chmod 700 HOME\n"), "{text}");
    assert!(
        text.contains("error    processes      gateway: HOME/gateway.lock is no lock: "),
        "{text}"
    );
}

#[test]
fn file_and_folder_in_the_place_of_the_other_are_errors() {
    let home = Home::new();
    home.write("logs", "in the way");
    for name in ["drain-secret", "session_key", "service-key", "audit_key"] {
        fs::create_dir(home.file(name)).expect("a folder in the home");
    }
    let (code, text) = says(&home, &[]);
    assert_eq!(code, Some(1), "{text}");
    assert!(
        text.contains("error    home           HOME/logs is no folder: "),
        "{text}"
    );
    for name in ["drain-secret", "session_key", "service-key", "audit_key"] {
        let expected =
            format!("error    configuration  HOME/{name} is a folder, and a file belongs there");
        assert!(text.contains(&expected), "{expected}\n{text}");
        let is_wrong = |line: &str| line.contains(name) && line.contains("chmod");
        assert!(!text.lines().any(is_wrong), "{text}");
    }
}

#[test]
fn secret_of_two_lines_or_with_other_letters_is_an_error() {
    for (secret, expected) in [
        (
            format!("{DRAIN_SECRET}\n{PROCESS_TOKEN}\n"),
            "it has 2 lines, and a secret has one: keep one line; where two secrets are valid at once, write a list of two",
        ),
        (
            format!("{DRAIN_SECRET}\u{e9}"),
            "is not visible ASCII, which is all that a header can carry",
        ),
    ] {
        let home = Home::new();
        home.write("drain-secret", &secret);
        set_mode(&home, "drain-secret", 0o600);
        let Finished { code, stdout, .. } = Process::run(&home, &["doctor"], &[]);
        assert_eq!(code, Some(1), "{stdout}");
        assert!(stdout.contains("error    drain-secret"), "{stdout}");
        assert!(stdout.contains(expected), "{expected}\n{stdout}");
    }
}

#[test]
fn what_works_and_should_be_changed_is_a_warning() {
    let home = Home::with_config(
        "dashboard: {host: 127.0.0.2, providers: [{name: a, component: 'builtin:basic', \
        config: {users: []}, grants: {keyvalue: true}}]}",
    );
    fs::remove_file(home.file("cache")).expect("the link to the shared cache");
    let folder = home.file("cache/components");
    fs::create_dir_all(folder).expect("a folder in the home");
    set_mode(&home, "cache/components", 0o755);
    home.write("gateway_state.json", "not JSON");
    let (code, text) = says(&home, &[]);
    assert_eq!(code, Some(0), "{text}");
    for expected in [
        "warn     cache          HOME/cache/components is not used: ",
        "warn     processes      whether a gateway runs cannot be determined: ",
        "warn     front          cookies are not Secure: people come over plain http",
        "unknown  front          whether a proxy that is not trusted forwards requests",
    ] {
        assert!(text.contains(expected), "{expected}\n{text}");
    }
}

#[test]
fn low_limits_are_named() {
    let home = Home::new();
    for (limit, code, expected) in [
        (
            "--nofile=100:100",
            1,
            "error    descriptors    the limit is 100",
        ),
        (
            "--nofile=1000:1000",
            0,
            "warn     descriptors    the limit is 1000",
        ),
        (
            "--as=17179869184",
            0,
            "warn     sandbox        the address space has room for 1 of 24 calls",
        ),
    ] {
        let finished = Process::start_by(&["prlimit", limit], &home, &["doctor"], &[]).finish();
        assert_eq!(
            finished.code,
            Some(code),
            "{limit}\n{}\n{}",
            finished.stdout,
            finished.stderr
        );
        assert!(
            finished.stdout.contains(expected),
            "{expected}\n{}",
            finished.stdout
        );
    }
}

#[test]
fn fix_closes_files_of_our_own_and_no_other() {
    let config = format!("dashboard: {{session_key: {PROCESS_TOKEN}}}");
    let home = Home::with_config(&config);
    set_mode(&home, "portcullis.yaml", 0o644);
    home.write("elsewhere", DRAIN_SECRET);
    set_mode(&home, "elsewhere", 0o644);
    symlink("elsewhere", home.file("drain-secret")).expect("a link in the home");
    home.write("service-key", PROCESS_TOKEN);
    set_mode(&home, "service-key", 0o666);
    fs::hard_link(home.file("service-key"), home.file("other-name")).expect("a second name");

    let (code, text) = says(&home, &[]);
    assert_eq!(code, Some(0), "{text}");
    assert!(
        text.contains("warn     modes          HOME/portcullis.yaml has mode 0644"),
        "{text}"
    );
    assert!(text.contains("-> portcullis doctor --fix\n"), "{text}");
    assert_eq!(
        mode(&home, "portcullis.yaml"),
        0o644,
        "nothing is changed without --fix"
    );

    let (_, text) = says(&home, &["--fix"]);
    assert!(
        text.contains("ok       modes          HOME/portcullis.yaml: the mode is now 0600\n"),
        "{text}"
    );
    assert_eq!(mode(&home, "portcullis.yaml"), 0o600);
    for (name, why) in [
        ("drain-secret", "it is a symbolic link"),
        ("service-key", "it has another name"),
    ] {
        let expected = format!("warn     modes          HOME/{name} has mode ");
        let line = text
            .lines()
            .find(|line| line.starts_with(&expected))
            .expect(&expected);
        assert!(
            line.contains(&format!("the mode was not changed: {why}")),
            "{line}"
        );
    }
    assert_eq!(mode(&home, "elsewhere"), 0o644);
    assert_eq!(mode(&home, "other-name"), 0o666);
}

#[test]
fn every_file_that_others_may_use_is_judged_and_closed() {
    let home = Home::with_config(
        "dashboard: {providers: [{name: local, component: 'builtin:basic', config: {users_file: \
         users.yaml}, grants: {keyvalue: true}}]}",
    );
    let (read, written) = (
        "HOME/NAME has mode 0644: it ",
        "HOME/NAME has mode 0666: users other than its owner may change it",
    );
    for folder in ["keyvalue", "logs"] {
        fs::create_dir(home.file(folder)).expect("a folder in the home");
    }
    let files = [
        ("users.yaml", 0o666, written),
        ("keyvalue/corp.redb", 0o644, read),
        ("session_list", 0o644, read),
        ("logs/dashboard-auth.log", 0o644, read),
        ("ended_sessions", 0o666, written),
        ("audit_head", 0o666, written),
        (".drain_request.json", 0o666, written),
        ("gateway.lock", 0o666, written),
    ];
    for (name, mode, _) in files {
        home.write(name, if name == "users.yaml" { "[]" } else { "" });
        set_mode(&home, name, mode);
    }

    let (_, text) = says(&home, &[]);
    let check = Process::run(&home, &["config", "check"], &[]).stderr;
    for (name, _, complaint) in files {
        let complaint = complaint.replace("NAME", name);
        let expected = format!("warn     modes          {complaint}");
        assert!(text.contains(&expected), "{expected}\n{text}");
        let path = home.file(name).display().to_string();
        assert!(
            check.contains(&format!("{path} has mode ")),
            "{name}: {check}"
        );
    }

    home.write("portcullis.yaml", "dashboard: {prot: 1}");
    let (_, text) = says(&home, &["--fix"]);
    for (name, _, _) in &files[1..] {
        let expected = format!("ok       modes          HOME/{name}: the mode is now 0600\n");
        assert!(text.contains(&expected), "{expected}\n{text}");
        assert_eq!(mode(&home, name), 0o600, "{name}");
    }
}

#[test]
fn users_file_that_others_may_use_is_a_warning_of_the_start() {
    let home = Home::with_config(
        "dashboard: {providers: [{name: local, component: 'builtin:basic', config: {users_file: \
         users.yaml}, grants: {keyvalue: true}}]}",
    );
    home.write("users.yaml", "[]");
    set_mode(&home, "users.yaml", 0o644);
    let dashboard = home.dashboard();
    let warning = "users.yaml has mode 0644: it holds secrets";
    assert!(dashboard.log().contains(warning), "{}", dashboard.log());
}

#[test]
fn file_that_is_dated_in_the_future_is_named() {
    for name in ["portcullis.yaml", "logs"] {
        let home = Home::with_config("dashboard: {}");
        fs::create_dir(home.file("logs")).expect("a folder in the home");
        let dated = fs::File::open(home.file(name)).expect("a file of our own");
        dated
            .set_modified(SystemTime::now() + Duration::from_secs(86_400))
            .expect("a file of our own");
        let (_, text) = says(&home, &[]);
        let expected = format!("warn     clock          HOME/{name} was written in the future");
        assert!(text.contains(&expected), "{expected}\n{text}");
    }
}

#[test]
fn doctor_leaves_the_home_as_it_is() {
    let home = Home::with_guests(&["known"]);
    fs::remove_file(home.file("cache")).expect("the link to the shared cache");
    let content = || {
        let entries = fs::read_dir(home.path()).expect("the home");
        let names = entries.map(|entry| entry.expect("an entry").file_name());
        names
            .filter(|name| !name.to_string_lossy().starts_with("stderr."))
            .collect::<BTreeSet<_>>()
    };
    let before = content();
    assert_eq!(doctor(&home, &["--fix"]).code, Some(0));
    assert_eq!(content(), before);
}

/// The answers of an issuer, by path: a status and a body.
type Pages = BTreeMap<&'static str, (u16, String)>;

/// An issuer on this machine. Returns its origin; `pages` makes its answers of the origin.
fn issuer(pages: impl Fn(&str) -> Pages) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let origin = format!("http://{}", listener.local_addr().expect("an address"));
    let pages = pages(&origin);
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let mut reader = BufReader::new(stream);
            let (mut head, mut length) = (String::new(), 0);
            while reader.read_line(&mut head).is_ok_and(|read| read > 2) {}
            for line in head.to_lowercase().lines() {
                let value = line.strip_prefix("content-length:");
                length = value
                    .and_then(|value| value.trim().parse().ok())
                    .unwrap_or(length);
            }
            let _ = reader.read_exact(&mut vec![0; length]);
            let path = head.split(' ').nth(1).unwrap_or_default();
            let (status, body) = pages
                .get(path)
                .cloned()
                .unwrap_or((404, "nothing here".to_owned()));
            let answer = format!(
                "HTTP/1.1 {status} X\r\nContent-Length: {}\r\nConnection: close\r\nLocation: /\r\n\r\n{body}",
                body.len()
            );
            let _ = reader.get_mut().write_all(answer.as_bytes());
        }
    });
    origin
}

const DISCOVERY: &str = "/.well-known/openid-configuration";

fn document(origin: &str) -> Value {
    json!({
        "issuer": origin,
        "authorization_endpoint": format!("{origin}/authorize"),
        "token_endpoint": format!("{origin}/token"),
        "jwks_uri": format!("{origin}/jwks"),
        "id_token_signing_alg_values_supported": ["RS256", "HS256"],
        "code_challenge_methods_supported": ["plain", "S256"],
    })
}

fn good_pages(origin: &str) -> Pages {
    let keys = json!({"keys": [{"kty": "RSA", "use": "sig", "kid": "a"}, {"kty": "oct"}]});
    [
        (DISCOVERY, (200, document(origin).to_string())),
        ("/jwks", (200, keys.to_string())),
        (
            "/token",
            (400, json!({"error": "invalid_grant"}).to_string()),
        ),
    ]
    .into()
}

fn home_of(origin: &str) -> Home {
    Home::with_config(&format!(
        "dashboard:\n  providers:\n    - name: corp\n      component: builtin:oidc\n      \
         config: {{issuer: '{origin}', client_id: agent}}\n      \
         grants: {{keyvalue: true, http: ['{origin}']}}\n"
    ))
}

#[test]
fn issuer_that_has_all_that_a_sign_in_needs_passes() {
    let home = home_of(&issuer(good_pages));
    for command in [
        &["config", "check", "--online"][..],
        &["doctor", "--online"],
    ] {
        let finished = Process::run(&home, command, &[]);
        assert_eq!(
            finished.code,
            Some(0),
            "{}\n{}",
            finished.stdout,
            finished.stderr
        );
        for expected in [
            "corp: the issuer calls itself \"http://127.0.0.1:",
            "corp: ID tokens are signed with RS256, HS256",
            "has keys: 1 of 2 sign",
            "knows the client, and refuses a made-up code",
        ] {
            assert!(
                finished.stdout.contains(expected),
                "{expected}\n{}",
                finished.stdout
            );
        }
    }
    let without = Process::run(&home, &["config", "check"], &[]);
    assert!(
        !without.stdout.contains("made-up code"),
        "{}",
        without.stdout
    );
}

/// One change of the good pages.
type Change = fn(&str, &mut Pages);

fn change_document(origin: &str, pages: &mut Pages, key: &str, value: Value) {
    let mut changed = document(origin);
    changed[key] = value;
    pages.insert(DISCOVERY, (200, changed.to_string()));
}

#[test]
fn issuer_that_no_sign_in_would_work_with_is_a_mistake() {
    let cases: [(Change, &str); 9] = [
        (
            |origin, pages| {
                change_document(origin, pages, "issuer", json!(format!("{origin}/realms/a")));
            },
            "portcullis.yaml:5:16: provider `corp`: `issuer` is ",
        ),
        (
            |origin, pages| {
                change_document(
                    origin,
                    pages,
                    "id_token_signing_alg_values_supported",
                    json!(["HS256"]),
                );
            },
            "ID tokens are signed with HS256: the provider checks RS256",
        ),
        (
            |origin, pages| {
                change_document(
                    origin,
                    pages,
                    "token_endpoint",
                    json!("http://127.0.0.2:9/token"),
                );
            },
            "it may not call its token endpoint: http://127.0.0.2:9 is not in `grants.http`",
        ),
        (
            |origin, pages| change_document(origin, pages, "jwks_uri", Value::Null),
            "has no `jwks_uri`",
        ),
        (
            |_, pages| {
                drop(pages.insert(
                    "/jwks",
                    (200, json!({"keys": [{"kty": "oct"}]}).to_string()),
                ));
            },
            "has no key that signs",
        ),
        (
            |_, pages| drop(pages.remove("/jwks")),
            "it answered 404 without a list `keys`",
        ),
        (
            |_, pages| drop(pages.remove("/token")),
            "is no token endpoint: it answered 404",
        ),
        (
            |_, pages| drop(pages.insert(DISCOVERY, (302, String::new()))),
            "no discovery document at ",
        ),
        (
            |_, pages| drop(pages.insert(DISCOVERY, (200, "[]".to_owned()))),
            "or what is no JSON object",
        ),
    ];
    for (change, expected) in cases {
        let home = home_of(&issuer(|origin| {
            let mut pages = good_pages(origin);
            change(origin, &mut pages);
            pages
        }));
        let checked = Process::run(&home, &["config", "check", "--online"], &[]);
        assert_eq!(
            checked.code,
            Some(64),
            "{expected}\n{}\n{}",
            checked.stdout,
            checked.stderr
        );
        assert!(
            checked.stderr.contains(expected),
            "{expected}\n{}",
            checked.stderr
        );
        assert_eq!(doctor(&home, &["--online"]).code, Some(1), "{expected}");
    }
}

#[test]
fn issuer_that_refuses_the_client_is_a_warning() {
    let home = home_of(&issuer(|origin| {
        let mut pages = good_pages(origin);
        pages.insert(
            "/token",
            (401, json!({"error": "invalid_client"}).to_string()),
        );
        pages
    }));
    let checked = Process::run(&home, &["config", "check", "--online"], &[]);
    assert_eq!(
        checked.code,
        Some(0),
        "{}\n{}",
        checked.stdout,
        checked.stderr
    );
    assert!(
        checked
            .stderr
            .contains("refuses the client: invalid_client -> "),
        "{}",
        checked.stderr
    );
}

#[test]
fn issuer_out_of_reach_is_a_mistake() {
    let home = home_of("http://127.0.0.1:1");
    let checked = Process::run(&home, &["config", "check", "--online"], &[]);
    assert_eq!(checked.code, Some(64), "{}", checked.stderr);
    assert!(
        checked
            .stderr
            .contains("corp: no discovery document at http://127.0.0.1:1/"),
        "{}",
        checked.stderr
    );
}
