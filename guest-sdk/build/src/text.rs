//! Guests in WebAssembly's text format: a whole component as it stands, or a core module that is wrapped into a
//! component of the world `auth-provider`.

use std::fs;
use std::path::{Path, PathBuf};
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

/// Builds every `.wat` file of a folder and returns the folder that holds the components.
///
/// # Panics
/// A build script can only fail by panicking: when a file is no guest.
#[expect(clippy::panic, reason = "a build script has no other way to fail")]
pub fn build_text(workspace: &Path, folder: &Path) -> PathBuf {
    let out = super::out_dir().join("text");
    fs::create_dir_all(&out).expect("OUT_DIR can be written");
    for name in super::guests_in(folder, "wat") {
        let path = folder.join(&name).with_extension("wat");
        let component =
            encode(workspace, &path).unwrap_or_else(|error| panic!("{}: {error:#}", path.display()));
        fs::write(out.join(&name).with_extension("wasm"), component).expect("OUT_DIR can be written");
    }
    out
}

fn encode(workspace: &Path, path: &Path) -> Result<Vec<u8>, String> {
    let mut bytes = wat::parse_file(path).map_err(|error| error.to_string())?;
    // The layer field that follows magic and version: 0 is a core module.
    if bytes[6] != 0 {
        return Ok(bytes);
    }
    let text = |error| format!("{error:#}");
    let mut resolve = Resolve::default();
    let (package, _) = resolve.push_dir(workspace.join("wit")).map_err(text)?;
    let world = resolve.select_world(&[package], Some("auth-provider")).map_err(text)?;
    embed_component_metadata(&mut bytes, &resolve, world, StringEncoding::UTF8).map_err(text)?;
    // What is to be refused must be built first: validating is the host's part.
    ComponentEncoder::default()
        .validate(false)
        .module(&bytes)
        .and_then(|mut encoder| encoder.encode())
        .map_err(text)
}
