//! Builds and links the guest that is measured, with and without the standard library's imports.

use portcullis_guest_build::{Target, build, link, rerun_if_changed};
use std::path::Path;

fn main() {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("xtask/ lies in the workspace");
    rerun_if_changed(
        workspace,
        &[
            "tests/guests",
            "guest-sdk",
            "wit",
            "Cargo.toml",
            "Cargo.lock",
        ],
    );

    for (name, target) in [("STD_GUEST", Target::Wasi), ("BARE_GUEST", Target::Bare)] {
        let components = build(
            workspace,
            target,
            &["--package", "test-guests", "--example", "minimal"],
        );
        let linked = link(&components.join("examples/minimal.wasm"), name);
        println!("cargo::rustc-env={name}={}", linked.display());
    }
}
