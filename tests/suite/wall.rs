//! The product's own proof, run with limits that make it quick.

use portcullis_author::torture::ATTACKS;
use portcullis_tests::{Home, Process};
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::Path;

fn home(deadline_ms: u64) -> Home {
    Home::with_config(&format!(
        "dashboard: {{providers: [{{name: service-keys, component: 'builtin:service-keys', limits: {{deadline_ms: \
         {deadline_ms}}}}}]}}"
    ))
}

fn torture(deadline_ms: u64, arguments: &[&str]) -> Value {
    let arguments: Vec<_> = ["torture", "--format", "json"]
        .iter()
        .chain(arguments)
        .copied()
        .collect();
    let finished = Process::run(&home(deadline_ms), &arguments, &[]);
    assert_eq!(
        finished.code,
        Some(0),
        "{}\n{}",
        finished.stdout,
        finished.stderr
    );
    serde_json::from_str(&finished.stdout).expect("JSON")
}

/// The sources of the hostile guests.
fn guests() -> BTreeSet<String> {
    let folder = |name: &str| {
        Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../hostile")
            .join(name)
    };
    let files = ["rust", "wat"]
        .into_iter()
        .flat_map(|name| folder(name).read_dir().expect("the guests"));
    files
        .filter_map(|file| Some(file.ok()?.path().file_stem()?.to_str()?.to_owned()))
        .collect()
}

#[test]
fn every_attack_is_caught_as_it_is_meant_to_be() {
    let report = torture(300, &[]);
    let rows = report["rows"].as_array().expect("rows");
    let run: BTreeSet<_> = rows
        .iter()
        .filter_map(|row| row["attack"].as_str().map(str::to_owned))
        .collect();
    assert_eq!(run, guests(), "a guest that is not run proves nothing");
    for row in rows {
        assert_ne!(row["verdict"], "broken", "{row}");
        assert!(!row["caught_by"].is_null(), "{row}");
        assert_eq!(row["bystander"]["failed"], 0, "{row}");
        // Generous: how late exactly is a figure of `portcullis torture`, not of a test on a busy
        // machine.
        let is_in_time = row["after_ms"]
            .as_f64()
            .is_some_and(|after| after < 2_000.0);
        assert!(is_in_time || row["caught_by"] == "refused", "{row}");
    }
}

#[test]
fn wall_holds_on_a_small_machine() {
    let home = Home::with_config(
        "dashboard: {sandbox: {memory_mib: 64}, providers: [{name: service-keys, component: 'builtin:service-keys', \
         limits: {deadline_ms: 300}}]}",
    );
    let torture = std::process::Command::new("prlimit")
        .args(["--as=8589934592", "taskset", "-c", "0"])
        .arg(portcullis_tests::binary())
        .args(["torture", "--format", "json", "--only", "memory", "--home"])
        .arg(home.path())
        .output()
        .expect("prlimit and taskset");
    let log = String::from_utf8_lossy(&torture.stderr);
    assert!(log.contains("allocated on demand"), "{log}");
    let report: Value = serde_json::from_slice(&torture.stdout).expect(&log);
    let rows = report["rows"].as_array().expect("rows");
    assert!(rows.len() >= 7, "{report}");
    for row in rows {
        assert_ne!(row["verdict"], "broken", "{row}");
        assert!(!row["caught_by"].is_null(), "{row}");
        assert_eq!(row["bystander"]["failed"], 0, "{row}");
    }
}

#[test]
fn ten_thousand_hostile_calls_leave_nothing_behind() {
    // The first rounds bring in what stays: compiled code, and of each slot what is kept resident,
    // by the provider that is in it. Ten thousand more calls must add nothing.
    let report = torture(20, &["--calls", "45", "--rounds", "8"]);
    let rows = report["rows"].as_array().expect("rows");
    assert!(rows.iter().all(|row| row["verdict"] != "broken"));
    let last_two = &rows[rows.len() / 8 * 6..];
    let calls: u64 = last_two
        .iter()
        .filter_map(|row| row["calls"].as_u64())
        .sum();
    assert!(calls >= 10_000, "{calls}");
    let held =
        |place: usize, what: &str| report["footprint"][place][what].as_i64().expect("a number");
    let grown = held(8, "memory_bytes") - held(6, "memory_bytes");
    assert!(
        grown <= 5 << 20,
        "grown by {grown} bytes: {}",
        report["footprint"]
    );
    // A slot keeps the memory image of the component that was in it last, so the number does not
    // grow with calls.
    assert!(
        held(8, "open_files") <= held(2, "open_files") + 8,
        "{}",
        report["footprint"]
    );
}

#[test]
fn memory_that_a_guest_wrote_is_given_back_when_its_call_ends() {
    let report = torture(10_000, &["--only", "fills_its_memory", "--calls", "60"]);
    assert_eq!(report["rows"][0]["caught_by"], "out_of_memory", "{report}");
    assert_eq!(report["rows"][0]["memory_bytes"], 64 << 20, "{report}");
    let held = |place: usize| {
        report["footprint"][place]["memory_bytes"]
            .as_i64()
            .expect("a number")
    };
    // Less than the memory of a single call.
    let grown = held(1) - held(0);
    assert!(
        grown <= 32 << 20,
        "grown by {grown} bytes: {}",
        report["footprint"]
    );
}

/// Attacks on the compiler or the host's threads, which answer as a good provider does. (The
/// compiler takes minutes for the last two.)
const ONLY_COSTLY: &[&str] = &[
    "drops_handles_in_a_straight_line",
    "fills_tables_in_a_straight_line",
    "grows_memory_in_a_straight_line",
    "takes_roots_in_a_straight_line",
    "initializes_memory_at_instantiation",
    "compiles_to_megabytes",
    "jumps_by_huge_tables",
    "declares_thousands_of_globals",
    "declares_fifty_thousand_locals_many_times",
    "exports_a_type_of_half_a_million_fields",
    "declares_hundreds_of_types",
    "nests_blocks",
    "exports_a_long_name",
    "nests_loops",
    "carries_locals_through_nested_loops",
];

#[test]
fn check_says_of_each_hostile_guest_what_is_wrong() {
    let home = home(100);
    let settings = [
        "canary=http://127.0.0.1:1",
        "granted=http://127.0.0.1:9",
        "rebound=http://x.invalid",
    ];
    for attack in ATTACKS
        .iter()
        .filter(|attack| !ONLY_COSTLY.contains(&attack.name))
    {
        let (guest, file) = (attack.name, home.file("hostile.wasm"));
        std::fs::write(&file, attack.component).expect("a file in the home");
        let component = file.to_str().expect("a path that is text");
        let mut arguments = vec![
            "provider",
            "check",
            component,
            "--entry",
            "service-keys",
            "--format",
            "json",
        ];
        arguments.extend(settings.iter().flat_map(|setting| ["--setting", setting]));
        let finished = Process::run(&home, &arguments, &[]);
        let report: Value = serde_json::from_str(&finished.stdout).expect("JSON");
        let findings = report["findings"].as_array().expect("findings");
        let complaints = findings
            .iter()
            .filter(|finding| finding["level"] != "pass")
            .count();
        assert!(complaints > 0, "{guest}: {}", finished.stdout);
        assert_eq!(
            finished.code,
            Some(i32::from(report["passed"] == false)),
            "{guest}"
        );
    }
}

#[test]
fn bundled_providers_pass_the_check() {
    let home = home(1_000);
    for name in portcullis_bundled::names() {
        let component = format!("builtin:{name}");
        let mut arguments = vec!["provider", "check", &component, "--format", "json"];
        arguments.extend(
            least_settings(name)
                .iter()
                .flat_map(|setting| ["--setting", setting]),
        );
        let finished = Process::run(&home, &arguments, &[]);
        assert_eq!(finished.code, Some(0), "{}", finished.stdout);
    }
}

/// Without which a provider does not load.
fn least_settings(name: &str) -> &'static [&'static str] {
    match name {
        "basic" => &["users=[]", "secret=a-secret-of-more-than-32-characters"],
        "oidc" => &["issuer=http://127.0.0.1:9", "client_id=us"],
        "nous" => &["portal_url=http://127.0.0.1:9", "client_id=agent:7"],
        "jwt" => &[
            "issuer=http://127.0.0.1:9",
            "audience=us",
            "jwks={\"keys\":[]}",
        ],
        _ => &[],
    }
}

#[test]
fn check_names_what_a_new_version_needs_more() {
    let home = home(1_000);
    let (old, new) = (
        portcullis_tests::guest("known"),
        portcullis_tests::guest("counts"),
    );
    let (old, new) = (old.display().to_string(), new.display().to_string());
    let finished = Process::run(&home, &["provider", "check", &new, "--diff", &old], &[]);
    assert!(
        finished
            .stdout
            .contains("newly imports wasi:keyvalue/store@0.2.0-draft (needs grants.keyvalue)"),
        "{}",
        finished.stdout
    );
}
