//! Builds the bundled providers and leaves the paths of their components in `BUNDLED_*` variables.

use portcullis_guest_build::{Target, build, rerun_if_changed};
use std::path::Path;

fn main() {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("runtime/ lies in the workspace");
    rerun_if_changed(workspace, &["providers", "guest-sdk", "wit", "Cargo.toml", "Cargo.lock"]);
    let components = build(workspace, Target::Bare, &["--package", "service-keys"]);
    let service_keys = components.join("service_keys.wasm");
    println!("cargo::rustc-env=BUNDLED_SERVICE_KEYS={}", service_keys.display());
}
