//! The page of results: each part has a section between two markers, which a run replaces.

use std::fs;

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/front-door.md");

/// Replaces the section of a part.
pub(crate) fn write(part: &str, section: &str) {
    let page = fs::read_to_string(PAGE).expect("docs/front-door.md");
    let written = with_section(&page, part, section);
    let written = written.expect("docs/front-door.md has the markers of each part");
    fs::write(PAGE, written).expect("docs/front-door.md can be written");
}

/// The page with this section in place of what stands between the markers of the part. `None`: it
/// lacks a marker.
fn with_section(page: &str, part: &str, section: &str) -> Option<String> {
    let (begin, end) = (
        format!("<!-- {part}: made by tests/benches/front_door. -->"),
        format!("<!-- {part}: the end of what is made. -->"),
    );
    let (before, rest) = page.split_once(&begin)?;
    let (_, after) = rest.split_once(&end)?;
    Some(format!(
        "{before}{begin}\n\n{}\n\n{end}{after}",
        section.trim()
    ))
}
