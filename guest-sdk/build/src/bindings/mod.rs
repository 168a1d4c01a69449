//! What wit-bindgen makes of the contract for languages whose own tools make nothing: the files lie
//! in every folder that `portcullis provider new` writes, so that an author needs no wit-bindgen.

mod c;
mod go;

use crate::frozen::PACKAGES;
use std::fs;
use std::path::Path;
use wit_bindgen_core::wit_parser::{Resolve, WorldId};
use wit_bindgen_core::{Files, WorldGenerator};

/// All that a provider can export, and what it may import. A component whose own world has less is
/// made from the same bindings: what is not called is not linked, and `wasm-tools component new`
/// passes over exports that the world does not name.
const WORLD: &str = "
    package local:bindings;
    world component {
        include portcullis:auth/auth-provider@0.1.0;
        export portcullis:auth/settings@0.1.0;
        export portcullis:auth/password@0.1.0;
        export portcullis:auth/redirect@0.1.0;
        export portcullis:auth/refresh@0.1.0;
        import wasi:config/store@0.2.0-rc.1;
        import wasi:clocks/wall-clock@0.2.12;
        import wasi:logging/logging@0.1.0-draft;
        import wasi:keyvalue/store@0.2.0-draft;
        import wasi:http/outgoing-handler@0.2.12;
    }
";

/// Writes the bindings for C into `<out>/c`, and those for Go into `<out>/go`.
///
/// # Panics
/// A build script can only fail by panicking: when the WIT is wrong, or nothing can be written.
pub fn write_bindings(workspace: &Path, out: &Path) {
    let mut resolve = Resolve::default();
    for package in PACKAGES {
        resolve
            .push_file(workspace.join("wit").join(package))
            .expect("a package of wit/");
    }

    let package = resolve.push_str("bindings.wit", WORLD).expect("the world");
    let world = resolve
        .select_world(&[package], Some("component"))
        .expect("the world");

    for (folder, files) in [
        ("c", c::bindings(resolve.clone(), world)),
        ("go", go::bindings(resolve, world)),
    ] {
        for (name, text) in files {
            let path = out.join(folder).join(name);
            fs::create_dir_all(path.parent().expect("a file has a folder"))
                .expect("OUT_DIR can be written");
            fs::write(path, text).expect("OUT_DIR can be written");
        }
    }
}

/// The files that a generator makes, by name.
fn generate(
    mut generator: Box<dyn WorldGenerator>,
    mut resolve: Resolve,
    world: WorldId,
) -> Vec<(String, String)> {
    let mut files = Files::default();
    generator
        .generate(&mut resolve, world, &mut files)
        .expect("bindings");
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("bindings are text");

    files
        .iter()
        .map(|(name, bytes)| (name.to_owned(), text(bytes)))
        .collect()
}
