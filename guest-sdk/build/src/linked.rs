//! Guests whose core modules are linked before they are used: a call of a linked guest takes less
//! time to begin.

use portcullis_module_linker::NotLinked;
use std::fs;
use std::path::{Path, PathBuf};

/// Returns the folder in which [`link`] writes.
pub fn linked_dir() -> PathBuf {
    super::out_dir().join("linked")
}

/// Links the core modules of a component as `portcullis provider link` does, and returns the file:
/// `NAME.wasm` in [`linked_dir`]. A component that has nothing to link is copied.
///
/// # Panics
/// A build script can only fail by panicking: when the component cannot be linked.
#[expect(clippy::panic, reason = "a build script has no other way to fail")]
pub fn link(component: &Path, name: &str) -> PathBuf {
    let bytes =
        fs::read(component).unwrap_or_else(|error| panic!("{}: {error}", component.display()));
    let linked = match portcullis_module_linker::link(&bytes) {
        Ok(linked) => linked,
        Err(NotLinked::OneModule) => bytes,
        Err(why) => panic!("{} cannot be linked: {why}", component.display()),
    };

    let folder = linked_dir();
    fs::create_dir_all(&folder).expect("OUT_DIR can be written");
    let file = folder.join(name).with_extension("wasm");
    fs::write(&file, linked).expect("OUT_DIR can be written");
    file
}
