//! Naming what went wrong in a call. A guest can only say "unavailable"; all else is named here.

use super::limits::{CallLimits, MAX_ANSWER_BYTES, MAX_CALLS_IN_FLIGHT};
use crate::auth::ProviderFault;
use std::fmt::{self, Display, Write};
use wasmtime::{FrameInfo, PoolConcurrencyLimitError, Trap, WasmBacktrace};

/// Longest text of a guest that reaches a log line, in characters.
const MAX_WORDS: usize = 300;

/// Longest name of a function, import or export that is shown, in characters.
const MAX_NAME: usize = 120;

/// Longest mangled name that is looked at, in characters.
const MAX_MANGLED: usize = 1_000;

/// Functions of a guest that are named when it traps.
const MAX_FRAMES: usize = 4;

/// Names the error that ended a call.
pub(super) fn classify(error: &wasmtime::Error, limits: &CallLimits) -> ProviderFault {
    if let Some(denied) = &limits.denied {
        return denied.clone();
    }
    if error.is::<PoolConcurrencyLimitError>() {
        return ProviderFault::Saturated { limit: MAX_CALLS_IN_FLIGHT, unit: "calls in flight" };
    }
    let cause = error.root_cause().to_string();
    if cause.contains("Cannot allocate memory") {
        return ProviderFault::Unavailable("the machine has no memory for the call".into());
    }
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
        ) => ProviderFault::Malformed(words(cause)),
        None if is_lifting_error(&cause) => ProviderFault::Malformed(words(cause)),
        _ => ProviderFault::Trapped(words(format_args!("{cause}{}", trace(error)))),
    }
}

/// The guest's own functions on the stack, innermost first, as far as its component has names. Functions of the
/// language's runtime are left out. The names are the guest's: each is cut before anything else is done with it.
fn trace(error: &wasmtime::Error) -> String {
    let Some(backtrace) = error.downcast_ref::<WasmBacktrace>() else { return String::new() };
    let names = backtrace.frames().iter().filter_map(FrameInfo::func_name).map(function_name);
    let own: Vec<_> = names.filter(|name| !is_machinery(name)).take(MAX_FRAMES).collect();
    if own.is_empty() { String::new() } else { format!(", in {}", own.join(", called by ")) }
}

/// The readable form of a function's name, of at most [`MAX_NAME`] characters. Only Rust's names are demangled: the
/// length of a C++ name's readable form is exponential in that of the name, and demanglers build it whole.
fn function_name(mangled: &str) -> String {
    let mangled = cut(mangled, MAX_MANGLED);
    let name = match rustc_demangle::try_demangle(mangled) {
        Ok(readable) => bounded(format_args!("{readable:#}"), MAX_NAME),
        Err(_) => bounded(mangled, MAX_NAME),
    };
    without_hashes(&name)
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
    [
        "utf-8",
        "utf8",
        "utf-16",
        "utf16",
        "surrogate",
        "out of bounds",
        "discriminant",
        "unaligned",
        "not aligned",
        "invalid value for `bool`",
    ]
    .iter()
    .any(|sign| cause.contains(sign))
}

/// Text that a guest chose, fit for a log line or a terminal: at most [`MAX_WORDS`] characters, each of which that could
/// drive a terminal or forge a line escaped.
pub(super) fn words(text: impl Display) -> String {
    escaped(&bounded(text, MAX_WORDS))
}

/// The same without a credential that the guest was handed.
pub(super) fn words_without(credential: &str, text: &str) -> String {
    // Redacted before it is escaped: an escaped credential would not be found. Cut after it is redacted: half a
    // credential would not be found either.
    words(without(credential, text))
}

/// A name that a component chose, in words of at most [`MAX_NAME`] characters.
pub(super) fn name_in_words(name: &str) -> String {
    escaped(&bounded(name, MAX_NAME))
}

/// The text without the credential that the guest was handed. (What is too short to be one is too common in
/// plain text to be cut out.)
pub(super) fn without(credential: &str, text: &str) -> String {
    if credential.len() < 8 { text.to_owned() } else { text.replace(credential, "[credential]") }
}

/// Returns whether the text repeats the credential. A name that is written to logs must not.
pub(super) fn repeats(credential: &str, text: &str) -> bool {
    credential.len() >= 8 && text.contains(credential)
}

/// Quotes stay as they are: the log and JSON escape them once more where they need to.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '"' | '\'' => out.push(character),
            _ => out.extend(character.escape_debug()),
        }
    }
    out
}

/// The first characters of a text, and `…` where there are more. What lies beyond them is never formatted.
fn bounded(text: impl Display, most: usize) -> String {
    let mut out = Bounded { text: String::new(), left: most };
    if write!(out, "{text}").is_err() {
        out.text.push('…');
    }
    out.text
}

/// The first `most` characters.
fn cut(text: &str, most: usize) -> &str {
    text.char_indices().nth(most).map_or(text, |(end, _)| &text[..end])
}

/// A writer that takes a bounded number of characters, and then refuses.
struct Bounded {
    text: String,
    left: usize,
}

impl fmt::Write for Bounded {
    fn write_str(&mut self, more: &str) -> fmt::Result {
        let kept = cut(more, self.left);
        self.text.push_str(kept);
        self.left -= kept.chars().count();
        if kept.len() == more.len() { Ok(()) } else { Err(fmt::Error) }
    }
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
    fn name_that_is_exponential_when_it_is_demangled_is_only_cut() {
        // Ten levels, each of which refers to the one before eight times: 10^9 characters when demangled.
        let levels: String = (0..10).map(|level| format!("IS{level}_S{level}_S{level}_S{level}_E")).collect();
        let name = format!("_Z4trap1XIiiiiiiiiE{levels}");
        let shown = function_name(&name);
        assert!(name.starts_with(shown.trim_end_matches('…')), "{shown}");
        assert_eq!(shown.chars().count(), MAX_NAME + 1);
        let long = format!("_Z{}", "P".repeat(90_000));
        assert_eq!(function_name(&long).chars().count(), MAX_NAME + 1);
        assert_eq!(function_name("_ZN11my_provider7look_up17h0123456789abcdefE"), "my_provider::look_up");
    }

    #[test]
    fn credential_is_cut_out_before_the_text_is_escaped() {
        let password = "canary\"pass\\word-8642é";
        let said = words_without(password, &format!("login with {password}\n"));
        assert_eq!(said, "login with [credential]\\n");
    }

    #[test]
    fn words_are_bounded_and_escaped() {
        assert_eq!(words("a\u{1b}[2J\nb"), "a\\u{1b}[2J\\nb");
        assert_eq!(words("the claim \"aud\" isn't ours"), "the claim \"aud\" isn't ours");
        let long = words("x".repeat(10_000));
        assert_eq!(long.chars().count(), MAX_WORDS + 1);
        assert_eq!(name_in_words(&"n".repeat(90_000)).chars().count(), MAX_NAME + 1);
    }
}
