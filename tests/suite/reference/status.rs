//! Whether the docs explain every key of `GET /api/status`.

use portcullis_tests::{Home, get};
use std::fs;
use std::path::Path;

#[test]
fn every_key_of_the_status_is_explained() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/drain/protocol.md");
    let page = fs::read_to_string(path).expect("docs/drain/protocol.md");
    let home = Home::new();
    let status = get(&home.dashboard().url("/api/status"), &[]).json();
    let keys: Vec<_> = status
        .as_object()
        .expect("a JSON object")
        .keys()
        .cloned()
        .collect();
    assert!(keys.len() > 10, "{keys:?}");
    let rows: Vec<_> = page
        .lines()
        .filter(|line| line.starts_with("| `"))
        .collect();
    let is_explained = |key: &str| {
        rows.iter()
            .any(|row| row.contains(&format!("`{key}`")) || row.contains(&format!("`{key}.")))
    };
    let missing: Vec<_> = keys.iter().filter(|key| !is_explained(key)).collect();
    assert!(
        missing.is_empty(),
        "docs/drain/protocol.md does not explain {missing:?}"
    );
}
