//! Builds the bundled providers, links the core modules of each, and leaves its path in a variable
//! `BUNDLED_NAME`.

use portcullis_guest_build::{Target, build, link, rerun_if_changed};
use std::path::Path;

const BUNDLED: &[(&str, Target)] = &[
    ("service-keys", Target::Bare),
    ("basic-provider", Target::Wasi),
    ("oidc-provider", Target::Wasi),
    ("nous-provider", Target::Wasi),
    ("jwt-provider", Target::Wasi),
];

fn main() {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR"))
        .ancestors()
        .nth(2)
        .expect("the crate lies in the workspace");
    rerun_if_changed(
        workspace,
        &["providers", "guest-sdk", "wit", "Cargo.toml", "Cargo.lock"],
    );

    // One build each: a component's exports follow the SDK's features, which one build would mix.
    for (package, target) in BUNDLED {
        let file = format!("{}.wasm", package.replace('-', "_"));
        let component = build(workspace, *target, &["--package", package]).join(file);
        let name = package.trim_end_matches("-provider");
        let component = link(&component, name);
        let variable = name.replace('-', "_").to_uppercase();
        println!(
            "cargo::rustc-env=BUNDLED_{variable}={}",
            component.display()
        );
    }
}
