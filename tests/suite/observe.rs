//! Metrics of the real binary, and what is made of them: `docs/reference/metrics.md`, the alerts,
//! the dashboard.

use crate::people::{gated, password, signed_in};
use crate::reference::check_page;
use portcullis_tests::{Browser, Home, PROCESS_TOKEN, Process, Reply, get, guest};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const TOKEN: (&str, &str) = ("x-hermes-session-token", PROCESS_TOKEN);

fn project(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

fn start(home: &Home) -> Process {
    home.dashboard_with(
        &["--port", "0"],
        &[("HERMES_DASHBOARD_SESSION_TOKEN", PROCESS_TOKEN)],
    )
}

/// A dashboard with a provider that works and one whose file is missing.
fn with_providers() -> Home {
    Home::with_config(&format!(
        "dashboard:\n  providers:\n    - {{name: good, component: {}}}\n    - {{name: gone, component: \
         nowhere.wasm}}\n",
        guest("known").display()
    ))
}

fn metrics(process: &Process, headers: &[(&str, &str)]) -> Reply {
    let headers: Vec<_> = headers.iter().copied().chain([TOKEN]).collect();
    get(&process.url("/metrics"), &headers)
}

fn has(text: &str, line: &str) -> bool {
    text.lines().any(|found| found == line)
}

/// `(type, help)` of every metric in the text.
fn described(text: &str) -> BTreeMap<String, (String, String)> {
    let of = |start: &str| -> BTreeMap<String, String> {
        let lines = text
            .lines()
            .filter_map(|line| line.strip_prefix(start)?.split_once(' '));
        lines
            .map(|(name, rest)| (name.to_owned(), rest.to_owned()))
            .collect()
    };
    let helps = of("# HELP ");
    let kinds = of("# TYPE ").into_iter();
    kinds
        .map(|(name, kind)| (name.clone(), (kind, helps[&name].clone())))
        .collect()
}

/// The text of the dashboard and that of the gateway.
fn both_texts() -> [String; 2] {
    let home = with_providers();
    let (gateway, dashboard) = (home.gateway(), start(&home));
    [metrics(&dashboard, &[]).body, metrics(&gateway, &[]).body]
}

#[test]
fn format_is_the_one_that_accept_asks_for() {
    let home = Home::new();
    for process in [start(&home), home.gateway()] {
        let older = metrics(&process, &[]);
        assert_eq!(
            older.header("content-type"),
            Some("text/plain; version=0.0.4; charset=utf-8")
        );
        assert!(!older.body.contains("# EOF"));
        let open_metrics = metrics(
            &process,
            &[("accept", "application/openmetrics-text;version=1.0.0")],
        );
        let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
        assert_eq!(open_metrics.header("content-type"), Some(kind));
        assert!(
            open_metrics.body.ends_with("\n# EOF\n"),
            "{}",
            open_metrics.body
        );
        assert!(has(
            &open_metrics.body,
            "# TYPE portcullis_gateway_restarts counter"
        ));
        assert!(has(
            &older.body,
            "# TYPE portcullis_gateway_restarts_total counter"
        ));
    }
}

#[test]
fn state_of_every_provider_is_one_of_four() {
    let home = with_providers();
    let dashboard = start(&home);
    let text = metrics(&dashboard, &[]).body;
    for (provider, present) in [("good", "serving"), ("gone", "refused")] {
        for state in ["serving", "quarantined", "loading", "refused"] {
            let value = u8::from(state == present);
            let line = format!(
                r#"portcullis_provider_state{{provider="{provider}",state="{state}"}} {value}"#
            );
            assert!(has(&text, &line), "{line} is not in:\n{text}");
        }
    }
    assert!(
        has(
            &text,
            r#"portcullis_providers_refused{reason="unreadable"} 1"#
        ),
        "{text}"
    );
}

#[test]
fn quarantine_is_a_state() {
    let home = Home::with_config(&format!(
        "dashboard: {{providers: [{{name: brittle, component: {}}}]}}",
        guest("brittle").display()
    ));
    let dashboard = start(&home);
    let state = |state: &str| {
        let line = format!(r#"portcullis_provider_state{{provider="brittle",state="{state}"}} 1"#);
        has(&metrics(&dashboard, &[]).body, &line)
    };
    assert!(state("serving") && !state("quarantined"));
    let whoami = dashboard.url("/api/auth/whoami");
    (0..5).for_each(|_| {
        assert_eq!(
            get(&whoami, &[("authorization", "Bearer trap-token")]).status,
            401
        );
    });
    assert!(state("quarantined") && !state("serving"));
}

#[test]
fn requests_are_timed_by_pattern_method_and_class() {
    let home = Home::new();
    let dashboard = start(&home);
    get(&dashboard.url("/healthz"), &[]);
    get(&dashboard.url("/a-path-of-a-stranger/81723"), &[TOKEN]);
    get(
        &dashboard.url("/auth/verify/a-path-of-a-stranger"),
        &[TOKEN],
    );
    let text = metrics(&dashboard, &[]).body;
    let count = "portcullis_http_request_duration_seconds_count";
    for line in [
        format!(r#"{count}{{route="/healthz",method="GET",status="2xx"}} 1"#),
        format!(r#"{count}{{route="other",method="GET",status="4xx"}} 1"#),
        r#"portcullis_requests_total{route="/healthz",status="200"} 1"#.to_owned(),
    ] {
        assert!(has(&text, &line), "{line} is not in:\n{text}");
    }
    assert!(text.contains(r#"route="/auth/verify/{*path}""#), "{text}");
    assert!(!text.contains("stranger"), "{text}");
}

#[test]
fn sign_ins_are_counted_by_configured_providers_alone() {
    let home = gated("http://agent.test", "");
    let dashboard = home.dashboard();
    let made_up = password("ada", "good").replace("people", "made-up-by-a-stranger");
    Browser::default().post(&dashboard.url("/auth/password-login"), &made_up);
    let mut ada = signed_in(&dashboard, "ada");
    let text = ada.get(&dashboard.url("/metrics")).body;
    for line in [
        r#"portcullis_sign_ins_total{provider="people",outcome="success"} 1"#,
        r#"portcullis_sign_ins_total{provider="",outcome="no_such_provider"} 1"#,
        "portcullis_sessions_listed 1",
    ] {
        assert!(has(&text, line), "{line} is not in:\n{text}");
    }
    assert!(!text.contains("stranger"), "{text}");
}

#[test]
fn figures_of_the_process_and_the_build_are_known_on_both() {
    for text in both_texts() {
        for name in [
            "process_cpu_seconds_total",
            "process_start_time_seconds",
            "process_resident_memory_bytes",
            "process_virtual_memory_bytes",
            "process_threads",
            "process_open_fds",
            "process_max_fds",
        ] {
            let value = text
                .lines()
                .find_map(|line| line.strip_prefix(name)?.trim().parse::<f64>().ok());
            let value = value.unwrap_or_else(|| panic!("no {name} in:\n{text}"));
            assert!(
                value > 0.0 || name == "process_cpu_seconds_total",
                "{name}: {value}"
            );
        }
        let build = format!(
            r#"portcullis_build_info{{version="{}",wasmtime=""#,
            env!("CARGO_PKG_VERSION")
        );
        assert!(
            text.lines()
                .any(|line| line.starts_with(&build) && line.ends_with(" 1")),
            "{text}"
        );
    }
}

/// Returns whether promtool is installed, and says so if it is not.
fn has_promtool() -> bool {
    let found = Command::new("promtool").arg("--version").output().is_ok();
    if !found {
        println!("SKIPPED: metrics and rules are not checked without promtool");
    }
    found
}

fn promtool(arguments: &[&str], stdin: &str) {
    let mut child = Command::new("promtool")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("promtool");
    child
        .stdin
        .take()
        .expect("a pipe")
        .write_all(stdin.as_bytes())
        .expect("promtool reads");
    let output = child.wait_with_output().expect("promtool ends");
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {said}\n{stdin}");
}

#[test]
fn promtool_has_no_complaint_about_names_and_types() {
    if has_promtool() {
        both_texts()
            .iter()
            .for_each(|text| promtool(&["check", "metrics"], text));
    }
}

#[test]
fn alerting_rules_fire_when_they_should() {
    if has_promtool() {
        let file = project("deploy/prometheus/alerts.test.yaml");
        promtool(
            &["test", "rules", file.to_str().expect("a path of text")],
            "",
        );
    }
}

/// Names of metrics that a file mentions.
fn mentioned(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    let is_metric = |word: &&str| word.starts_with("portcullis_") || word.starts_with("process_");
    words
        .filter(is_metric)
        .map(|word| word.trim_end_matches("_bucket").to_owned())
        .collect()
}

#[test]
fn rules_and_dashboard_name_metrics_that_exist() {
    let known: BTreeSet<_> = both_texts()
        .iter()
        .flat_map(|text| described(text).into_keys())
        .collect();
    for path in [
        "deploy/prometheus/alerts.yaml",
        "deploy/grafana/portcullis.json",
    ] {
        let text = fs::read_to_string(project(path)).expect(path);
        let named = mentioned(&text);
        assert!(named.len() > 5, "{path}: {named:?}");
        let unknown: Vec<_> = named.difference(&known).collect();
        assert!(unknown.is_empty(), "{path} names {unknown:?}");
    }
    let panels =
        fs::read_to_string(project("deploy/grafana/portcullis.json")).expect("the dashboard");
    assert!(serde_json::from_str::<serde_json::Value>(&panels).is_ok());
}

#[test]
fn every_alert_is_explained() {
    let read = |path: &str| fs::read_to_string(project(path)).expect(path);
    let (rules, page) = (
        read("deploy/prometheus/alerts.yaml"),
        read("docs/observe.md"),
    );
    let names: Vec<_> = rules
        .lines()
        .filter_map(|line| line.trim().strip_prefix("- alert: "))
        .collect();
    assert!(names.len() > 5, "{names:?}");
    for name in names {
        assert!(
            page.contains(&format!("`{name}`")),
            "docs/observe.md does not explain {name}"
        );
    }
}

#[test]
fn metrics_page_is_made_of_the_running_binary() {
    let intro = "# Metrics\n\nMade from the answers of both processes to `GET /metrics` by `tests/suite/observe.rs`; \
                 [observe.md](../observe.md) has their labels.\n\n";
    check_page("metrics.md", &format!("{intro}{}", table()));
}

fn table() -> String {
    let mut rows: BTreeMap<_, Vec<&str>> = BTreeMap::new();
    for (text, origin) in both_texts().iter().zip(["dashboard", "gateway"]) {
        for (name, (kind, help)) in described(text) {
            rows.entry((name, kind, help)).or_default().push(origin);
        }
    }
    let mut table = String::from("| metric | type | of | |\n|---|---|---|---|\n");
    for ((name, kind, help), origins) in rows {
        writeln!(
            table,
            "| `{name}` | {kind} | {} | {help} |",
            origins.join(", ")
        )
        .expect("a string");
    }
    table
}
