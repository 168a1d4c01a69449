//! The provider that the documentation shows works.

use portcullis_tests::{Home, get, guest};
use std::fs;
use std::path::Path;

fn project(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)).expect(path)
}

#[test]
fn provider_in_the_docs_is_one_that_works() {
    let source = project("tests/guests/minimal.rs");
    let (_, code) = source
        .split_once("\n\n")
        .expect("a line that says what it is, then the code");
    assert!(
        project("docs/providers/rust.md").contains(&format!("```rust\n{code}```")),
        "docs/providers/rust.md shows another provider"
    );
    assert!(code.lines().count() <= 25, "a minimal provider is small");
    let home = Home::with_config(&format!(
        "dashboard: {{providers: [{{name: demo, component: {}, config: {{token: open-sesame}}, \
         grants: {{scopes: [metrics.read]}}}}]}}",
        guest("minimal").display()
    ));
    let dashboard = home.dashboard();
    let whoami = |token: &str| {
        get(
            &dashboard.url("/api/auth/whoami"),
            &[("authorization", &format!("Bearer {token}"))],
        )
    };
    assert_eq!(
        whoami("open-sesame").body,
        r#"{"principal":"demo","provider":"demo","scopes":["metrics.read"],"groups":[]}"#
    );
    assert_eq!(whoami("open-sesam").status, 401);
}
