//! Whether the docs explain every file that the processes leave in a home.

use portcullis_tests::{DRAIN_SECRET, Home, post};
use std::fs;
use std::path::Path;

#[test]
fn every_file_of_a_home_is_explained() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/home.md");
    let page = fs::read_to_string(path).expect("docs/home.md");
    let home = Home::new();
    let (mut gateway, mut dashboard) = (home.gateway(), home.dashboard());
    let bearer = format!("Bearer {DRAIN_SECRET}");
    let begun = post(
        &dashboard.url("/api/gateway/drain"),
        &[("authorization", &bearer)],
        "{}",
    );
    assert_eq!(begun.status, 200, "{begun:?}");
    assert!(dashboard.terminate().success() && gateway.terminate().success());

    let entries = fs::read_dir(home.path()).expect("the home").flatten();
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    // The tests keep what the processes log.
    let names: Vec<_> = names.filter(|name| !name.starts_with("stderr.")).collect();
    assert!(
        names.iter().any(|name| name == ".drain_request.json"),
        "{names:?}"
    );
    let is_explained =
        |name: &String| page.contains(&format!("`{name}`")) || page.contains(&format!("`{name}/"));
    let missing: Vec<_> = names.iter().filter(|name| !is_explained(name)).collect();
    assert!(
        missing.is_empty(),
        "docs/home.md does not explain {missing:?}"
    );
}
