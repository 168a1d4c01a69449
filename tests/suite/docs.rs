//! The README is true: its provider works, and its limits are those of the code.

use portcullis_tests::{Home, get, guest};
use std::fs;
use std::path::Path;

fn project(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)).expect(path)
}

#[test]
fn provider_in_the_readme_is_one_that_works() {
    let source = project("tests/guests/minimal.rs");
    let (_, code) = source.split_once("\n\n").expect("a line that says what it is, then the code");
    assert!(
        project("README.md").contains(&format!("```rust\n{code}```")),
        "the README shows another provider"
    );
    assert!(code.lines().count() <= 25, "a minimal provider is small");
    let home = Home::with_config(&format!(
        "dashboard: {{providers: [{{name: demo, component: {}, config: {{token: open-sesame}}, \
         grants: {{scopes: [metrics.read]}}}}]}}",
        guest("minimal").display()
    ));
    let dashboard = home.dashboard();
    let whoami = |token: &str| {
        get(&dashboard.url("/api/auth/whoami"), &[("authorization", &format!("Bearer {token}"))])
    };
    assert_eq!(
        whoami("open-sesame").body,
        r#"{"principal":"demo","provider":"demo","scopes":["metrics.read"],"groups":[]}"#
    );
    assert_eq!(whoami("open-sesam").status, 401);
}

#[test]
fn limits_in_the_readme_are_those_in_the_code() {
    use portcullis::sandbox::{
        Limits, MAX_ANSWER_BYTES, MAX_CALLS_IN_FLIGHT, MAX_HANDLES, MAX_RANDOM_BYTES, MAX_STACK_BYTES,
        MAX_TABLES,
    };
    let readme = project("README.md");
    let row = |start: &str| {
        let line = readme.lines().find(|line| line.starts_with(&format!("| {start}")));
        line.unwrap_or_else(|| panic!("no row `{start}`")).to_owned()
    };
    let defaults = Limits::default();
    for (start, value) in [
        ("**linear memory**", format!("{} MiB", defaults.memory_bytes >> 20)),
        ("**deadline**", format!("{} ms", "1,000")),
        ("**bytes that reach the host**", format!("{} KiB", MAX_ANSWER_BYTES >> 10)),
        ("**calls in flight**", format!("| {MAX_CALLS_IN_FLIGHT} |")),
        ("handles", format!("{},000", MAX_HANDLES / 1000)),
        (
            "core instances",
            format!("{}, {MAX_TABLES}, {},000", defaults.core_instances, defaults.table_elements / 1000),
        ),
        ("random bytes", format!("{} KiB", MAX_RANDOM_BYTES >> 10)),
        ("guest stack", format!("{} KiB", MAX_STACK_BYTES >> 10)),
        ("component file", format!("{} MiB", defaults.component_bytes >> 20)),
    ] {
        assert!(row(start).contains(&value), "{start}: {value} is not in {}", row(start));
    }
    assert_eq!(defaults.deadline.as_millis(), 1_000);
}
