//! Builds the guests that the suites load.

use portcullis_guest_build::{Target, build, rerun_if_changed};
use std::path::Path;

fn main() {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ lies in the workspace");
    rerun_if_changed(workspace, &["tests/guests", "hostile", "guest-sdk", "wit", "Cargo.toml", "Cargo.lock"]);
    let components = build(workspace, Target::Wasi, &["--package", "test-guests", "--examples"]);
    let bare = build(workspace, Target::Bare, &["--package", "test-guests", "--example", "minimal"]);
    println!("cargo::rustc-env=BARE_GUEST={}", bare.join("examples/minimal.wasm").display());
    println!("cargo::rustc-env=TEST_GUESTS={}", components.join("examples").display());
}
