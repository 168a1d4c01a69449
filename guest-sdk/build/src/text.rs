//! Guests in WebAssembly's text format: a whole component as it stands, or a core module that is
//! wrapped into a component of the world `auth-provider` of the contract 0.1.0.
//!
//! A large source stays small in the repository by one macro, which [`expand`] replaces before the
//! text is parsed: `;;repeat N: TEXT`.

use crate::frozen::PACKAGES;
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
        let component = encode(workspace, &path)
            .unwrap_or_else(|error| panic!("{}: {error:#}", path.display()));
        fs::write(out.join(&name).with_extension("wasm"), component)
            .expect("OUT_DIR can be written");
    }
    out
}

fn encode(workspace: &Path, path: &Path) -> Result<Vec<u8>, String> {
    let source = fs::read_to_string(path).map_err(|error| error.to_string())?;
    let mut bytes = wat::parse_str(expand(&source)).map_err(|error| error.to_string())?;
    // The layer field that follows magic and version: 0 is a core module.
    if bytes[6] != 0 {
        return Ok(bytes);
    }

    let text = |error| format!("{error:#}");
    let mut resolve = Resolve::default();
    let mut contract = None;

    for package in PACKAGES {
        contract = Some(
            resolve
                .push_file(workspace.join("wit").join(package))
                .map_err(text)?,
        );
    }

    let world = resolve
        .select_world(contract.as_slice(), Some("auth-provider"))
        .map_err(text)?;
    embed_component_metadata(&mut bytes, &resolve, world, StringEncoding::UTF8).map_err(text)?;

    // What is to be refused must be built first: validating is the host's part.
    ComponentEncoder::default()
        .validate(false)
        .module(&bytes)
        .and_then(|mut encoder| encoder.encode())
        .map_err(text)
}

/// Replaces each line `;;repeat N: TEXT` by N lines of TEXT, in which `{i}` is the index of the
/// copy, from 0, and `{next}` is the index after it. Then joins each line that ends in a backslash
/// with the line after it, since a string of the text format cannot span lines.
fn expand(source: &str) -> String {
    let mut out = String::with_capacity(source.len());
    for line in source.lines() {
        match repetition(line.trim_start()) {
            Some((count, text)) => {
                for index in 0..count {
                    let copy = text.replace("{i}", &index.to_string());
                    out.push_str(&copy.replace("{next}", &(index + 1).to_string()));
                    out.push('\n');
                }
            }
            None => {
                out.push_str(line);
                out.push('\n');
            }
        }
    }

    out.replace("\\\n", "")
}

/// The parts of `;;repeat N: TEXT`. Any other line is none.
fn repetition(line: &str) -> Option<(usize, &str)> {
    let (count, text) = line.strip_prefix(";;repeat ")?.split_once(": ")?;
    Some((count.parse().ok()?, text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_repetition_becomes_numbered_lines() {
        let source = "(module\n  ;;repeat 2: (func $f{i} (call $f{next}))\n  (func $f2))";
        let expected = "(module\n(func $f0 (call $f1))\n(func $f1 (call $f2))\n  (func $f2))\n";
        assert_eq!(expand(source), expected);
    }

    #[test]
    fn a_repetition_may_lie_within_a_string() {
        assert_eq!(expand("\"x\\\n;;repeat 3: ab\\\n\""), "\"xababab\"\n");
    }

    #[test]
    fn other_comments_stay() {
        for comment in [";; repeat 2: a\n", ";;repeat two: a\n", ";;repeat 2\n"] {
            assert_eq!(expand(comment), comment);
        }
    }
}
