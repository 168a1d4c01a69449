//! Builds the components that come with the binary: the bundled providers, whose paths it leaves in `BUNDLED_*`
//! variables, and the hostile guests, which it lists in `hostile_guests.rs`. Writes the bindings of the languages that
//! `provider new` knows.

use portcullis_guest_build::{Target, build, build_text, guests_in, rerun_if_changed, write_bindings};
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

fn main() {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("runtime/ lies in the workspace");
    rerun_if_changed(workspace, &["providers", "hostile", "guest-sdk", "wit", "Cargo.toml", "Cargo.lock"]);
    // One build each: a component's exports follow the SDK's features, which one build would mix.
    for (package, target) in BUNDLED {
        let file = format!("{}.wasm", package.replace('-', "_"));
        let component = build(workspace, *target, &["--package", package]).join(file);
        let variable = package.trim_end_matches("-provider").replace('-', "_").to_uppercase();
        println!("cargo::rustc-env=BUNDLED_{variable}={}", component.display());
    }
    println!("cargo::rustc-env=WASMTIME_VERSION={}", engine_version(workspace));
    list_hostile_guests(workspace);
    write_bindings(workspace, &out_dir().join("bindings"));
}

const BUNDLED: &[(&str, Target)] = &[
    ("service-keys", Target::Bare),
    ("basic-provider", Target::Wasi),
    ("oidc-provider", Target::Wasi),
    ("nous-provider", Target::Wasi),
    ("jwt-provider", Target::Wasi),
];

/// The version of wasmtime that this build is locked to.
fn engine_version(workspace: &Path) -> String {
    let lock = fs::read_to_string(workspace.join("Cargo.lock")).expect("the workspace has a lock file");
    let (_, rest) = lock.split_once("name = \"wasmtime\"\nversion = \"").expect("wasmtime is locked");
    rest.split('"').next().unwrap_or_default().to_owned()
}

/// `(name, what it tries, component)` of each, where what it tries is the first line of its source.
fn list_hostile_guests(workspace: &Path) {
    let folder = workspace.join("hostile");
    let from_rust =
        build(workspace, Target::Wasi, &["--package", "hostile-guests", "--examples"]).join("examples");
    let from_text = build_text(workspace, &folder.join("wat"));
    let mut list = String::from("&[\n");
    for (ending, comment, components) in [("rs", "//! ", from_rust), ("wat", ";; ", from_text)] {
        let sources = if ending == "rs" { folder.join("rust") } else { folder.join("wat") };
        for name in guests_in(&sources, ending) {
            let source =
                fs::read_to_string(sources.join(&name).with_extension(ending)).expect("a guest's source");
            let tries = source.lines().next().and_then(|line| line.strip_prefix(comment));
            let tries = tries.expect("a guest's first line says what it tries");
            let component = components.join(&name).with_extension("wasm");
            writeln!(list, "({name:?}, {tries:?}, include_bytes!({component:?}).as_slice()),")
                .expect("a string");
        }
    }
    list.push_str("]\n");
    fs::write(out_dir().join("hostile_guests.rs"), list).expect("OUT_DIR can be written");
}

#[expect(clippy::disallowed_methods, reason = "the build script's own environment")]
fn out_dir() -> PathBuf {
    PathBuf::from(std::env::var_os("OUT_DIR").expect("cargo sets OUT_DIR for a build script"))
}
