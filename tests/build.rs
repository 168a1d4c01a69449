//! Builds the guests that the suites load.

use portcullis_guest_build::{Target, build, link, linked_dir, rerun_if_changed};
use std::path::Path;

/// The guests of `tests/guests` whose calls are measured.
const MEASURED: &[&str] = &["known", "minimal", "people"];

fn main() {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("tests/ lies in the workspace");
    rerun_if_changed(
        workspace,
        &[
            "tests/guests",
            "hostile",
            "guest-sdk",
            "wit",
            "Cargo.toml",
            "Cargo.lock",
        ],
    );
    let components = build(
        workspace,
        Target::Wasi,
        &["--package", "test-guests", "--examples"],
    );
    let bare = build(
        workspace,
        Target::Bare,
        &["--package", "test-guests", "--example", "minimal"],
    );
    let (bare, components) = (bare.join("examples"), components.join("examples"));
    for name in MEASURED {
        link(&components.join(name).with_extension("wasm"), name);
    }
    println!(
        "cargo::rustc-env=BARE_GUEST={}",
        link(&bare.join("minimal.wasm"), "bare").display()
    );
    println!("cargo::rustc-env=LINKED_GUESTS={}", linked_dir().display());
    println!("cargo::rustc-env=TEST_GUESTS={}", components.display());
}
