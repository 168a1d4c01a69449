//! Naming what went wrong in a call. A guest can only say "unavailable"; all else is named here.

use super::limits::{CallLimits, Denied, MAX_ANSWER_BYTES, MAX_CALLS_IN_FLIGHT};
use crate::auth::ProviderFault;
use wasmtime::{PoolConcurrencyLimitError, Trap, WasmBacktrace};

/// Longest text of a guest that reaches a log line, in characters.
const MAX_WORDS: usize = 300;

/// Functions of a guest that are named when it traps.
const MAX_FRAMES: usize = 4;

/// Names the error that ended a call.
pub(super) fn classify(error: &wasmtime::Error, limits: &CallLimits) -> ProviderFault {
    if let Some(Denied { wanted, limit, unit }) = limits.denied {
        return ProviderFault::OutOfMemory { wanted, limit, unit };
    }
    if error.is::<PoolConcurrencyLimitError>() {
        return ProviderFault::Saturated { limit: MAX_CALLS_IN_FLIGHT, unit: "calls in flight" };
    }
    let cause = error.root_cause().to_string();
    if cause.contains("fuel allocated for hostcalls") {
        return ProviderFault::Malformed(format!("more than {MAX_ANSWER_BYTES} bytes passed to the host"));
    }
    match error.downcast_ref::<Trap>() {
        Some(
            Trap::InvalidChar
            | Trap::StringOutOfBounds
            | Trap::ListOutOfBounds
            | Trap::InvalidDiscriminant
            | Trap::UnalignedPointer,
        ) => ProviderFault::Malformed(words(&cause)),
        None if is_lifting_error(&cause) => ProviderFault::Malformed(words(&cause)),
        _ => ProviderFault::Trapped(words(&format!("{cause}{}", trace(error)))),
    }
}

/// Where the guest was, innermost first, as far as its component has names: what its author needs to know. The
/// language's own way of panicking is left out.
fn trace(error: &wasmtime::Error) -> String {
    let Some(backtrace) = error.downcast_ref::<WasmBacktrace>() else { return String::new() };
    // Its text has the names demangled: "    0: 0x1f - <unknown>!my_provider::look_up".
    let text = backtrace.to_string();
    let functions =
        text.lines().filter_map(|line| line.split_once('!')).map(|(_, name)| without_hashes(name.trim()));
    let own: Vec<_> = functions.filter(|name| !is_machinery(name)).take(MAX_FRAMES).collect();
    if own.is_empty() { String::new() } else { format!(", in {}", own.join(", called by ")) }
}

/// `my_provider[d123b7a1a2ed1472]::look_up` without the crate's hash.
fn without_hashes(name: &str) -> String {
    let parts = name.split('[').enumerate().map(|(index, part)| match part.split_once(']') {
        _ if index == 0 => part.to_owned(),
        Some((hash, rest)) if hash.len() >= 8 && hash.bytes().all(|byte| byte.is_ascii_hexdigit()) => {
            rest.to_owned()
        }
        _ => format!("[{part}"),
    });
    parts.collect()
}

fn is_machinery(function: &str) -> bool {
    let function = function.trim_start_matches('<');
    let beginnings = ["std::", "core::", "alloc::", "wasm function", "__rust", "rust_", "abort", "panic"];
    beginnings.iter().any(|beginning| function.starts_with(beginning))
}

/// What wasmtime says when an answer does not have the shape that its type promises.
fn is_lifting_error(cause: &str) -> bool {
    ["utf-8", "utf8", "out of bounds", "discriminant", "unaligned", "not aligned", "invalid value for `bool`"]
        .iter()
        .any(|sign| cause.contains(sign))
}

/// A guest's or trap's own words, fit for a log line: bounded, and nothing that drives a terminal.
pub(super) fn words(text: &str) -> String {
    let mut out: String = text.chars().take(MAX_WORDS).flat_map(char::escape_debug).collect();
    if text.chars().nth(MAX_WORDS).is_some() {
        out.push('…');
    }
    out
}

/// The text without the credential that the guest was handed. (What is too short to be one is too common in
/// plain text to be cut out.)
pub(super) fn without(credential: &str, text: &str) -> String {
    if credential.len() < 8 { text.to_owned() } else { text.replace(credential, "[credential]") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_functions_are_those_of_the_source() {
        assert_eq!(without_hashes("my_provider[d123b7a1a2ed1472]::look_up"), "my_provider::look_up");
        assert_eq!(without_hashes("<[u8] as a[0123456789abcdef]::B>::c"), "<[u8] as a::B>::c");
        assert!(is_machinery("std::panicking::panic_with_hook") && is_machinery("<core::fmt::A>::b"));
        assert!(!is_machinery("my_provider::look_up"));
    }

    #[test]
    fn words_are_bounded_and_escaped() {
        assert_eq!(words("a\u{1b}[2J\nb"), "a\\u{1b}[2J\\nb");
        let long = words(&"x".repeat(10_000));
        assert_eq!(long.chars().count(), MAX_WORDS + 1);
    }
}
