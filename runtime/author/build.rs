//! Builds the hostile guests and lists them in `hostile_guests.rs`. Writes the bindings of the
//! languages that `provider new` knows.

use portcullis_guest_build::{
    Target, build, build_text, guests_in, rerun_if_changed, write_bindings,
};
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

fn main() {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR"))
        .ancestors()
        .nth(2)
        .expect("the crate lies in the workspace");
    rerun_if_changed(
        workspace,
        &["hostile", "guest-sdk", "wit", "Cargo.toml", "Cargo.lock"],
    );
    list_hostile_guests(workspace);
    write_bindings(workspace, &out_dir().join("bindings"));
}

/// `(name, what it tries, component)` of each, where what it tries is the first line of its source.
fn list_hostile_guests(workspace: &Path) {
    let folder = workspace.join("hostile");
    let from_rust = build(
        workspace,
        Target::Wasi,
        &["--package", "hostile-guests", "--examples"],
    )
    .join("examples");
    let from_text = build_text(workspace, &folder.join("wat"));

    let mut list = String::from("&[\n");
    for (ending, comment, components) in [("rs", "//! ", from_rust), ("wat", ";; ", from_text)] {
        let sources = if ending == "rs" {
            folder.join("rust")
        } else {
            folder.join("wat")
        };
        for name in guests_in(&sources, ending) {
            let source = fs::read_to_string(sources.join(&name).with_extension(ending))
                .expect("a guest's source");
            let tries = source
                .lines()
                .next()
                .and_then(|line| line.strip_prefix(comment));
            let tries = tries.expect("a guest's first line says what it tries");
            let component = components.join(&name).with_extension("wasm");
            writeln!(
                list,
                "({name:?}, {tries:?}, include_bytes!({component:?}).as_slice()),"
            )
            .expect("a string");
        }
    }

    list.push_str("]\n");
    fs::write(out_dir().join("hostile_guests.rs"), list).expect("OUT_DIR can be written");
}

#[expect(
    clippy::disallowed_methods,
    reason = "the build script's own environment"
)]
fn out_dir() -> PathBuf {
    PathBuf::from(std::env::var_os("OUT_DIR").expect("cargo sets OUT_DIR for a build script"))
}
