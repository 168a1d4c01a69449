//! Targets that every reader takes for the same path.

use axum::http::Uri;
use percent_encoding::percent_decode_str;

/// What one reader of a target decodes, skips or replaces, another takes as it is.
pub(super) fn is_plain_target(uri: &Uri) -> bool {
    let is_ascii = uri.path().is_ascii() && uri.query().is_none_or(str::is_ascii);
    is_ascii && is_plain_path(uri.path())
}

/// Encoded slashes and dot segments mean one path to a proxy and another to a router.
fn is_plain_path(path: &str) -> bool {
    // Nearly every path: nothing in it can mean anything else.
    if !path.contains(['%', '\\', '.']) {
        return true;
    }

    let lower = path.to_ascii_lowercase();
    let encoded = ["%2f", "%5c", "%00", "\\"]
        .iter()
        .any(|sign| lower.contains(sign));
    let dots = lower.split('/').any(|segment| {
        let segment = segment.replace("%2e", ".");
        // Servlet containers take path parameters off before they look for dots: `/..;x/` is `/../`
        // to them. A program that decodes first ends the path at an encoded `?` or `#`.
        let ends = ["%3b", "%3f", "%23", ";"];
        let name = ends.iter().fold(segment.as_str(), |name, end| {
            name.split(end).next().unwrap_or_default()
        });
        matches!(name, "." | "..")
    });
    !encoded && !dots && has_plain_escapes(path)
}

/// Returns whether each `%` begins an escape, and no escapes are an overlong form of an ASCII
/// character (RFC 3629 section 3), which old decoders read as that character: `%c0%ae` as a dot.
fn has_plain_escapes(path: &str) -> bool {
    let is_escape = |rest: &str| {
        rest.as_bytes()
            .first_chunk()
            .is_some_and(|digits: &[u8; 2]| digits.iter().all(u8::is_ascii_hexdigit))
    };
    let decoded: Vec<u8> = percent_decode_str(path).collect();
    let is_overlong = |pair: &[u8]| {
        matches!(
            pair,
            [0xC0 | 0xC1, 0x80..=0xBF] | [0xE0, 0x80..=0x9F] | [0xF0, 0x80..=0x8F]
        )
    };

    path.split('%').skip(1).all(is_escape) && !decoded.windows(2).any(is_overlong)
}
