//! Names what went wrong in a call. A guest can only say "unavailable"; the host names every other
//! fault here.

use crate::engine::limits::{CallLimits, MAX_ANSWER_BYTES, MAX_CALLS_IN_FLIGHT};
use crate::engine::machine;
use crate::guest_text::{MAX_NAME, bounded, cut, words};
use portcullis_auth::ProviderFault;
use rustix::io::Errno;
use std::char::{CharTryFromError, DecodeUtf16Error};
use std::io;
use std::str::Utf8Error;
use wasmtime::{FrameInfo, OutOfMemory, PoolConcurrencyLimitError, Trap, WasmBacktrace};

/// Longest mangled name that is looked at, in characters.
const MAX_MANGLED: usize = 1_000;

/// Functions of a guest that are named when it traps.
const MAX_FRAMES: usize = 4;

/// Names the error that ended a call.
pub(crate) fn classify(error: &wasmtime::Error, limits: &CallLimits) -> ProviderFault {
    if let Some(denied) = &limits.denied {
        return denied.clone();
    }
    if error.is::<PoolConcurrencyLimitError>() {
        return ProviderFault::Saturated {
            limit: MAX_CALLS_IN_FLIGHT,
            unit: "calls in flight",
        };
    }
    if is_for_want_of_memory(error) {
        return ProviderFault::Unavailable(no_memory(machine::memory_limits_in_words()));
    }
    if let Some(refusal) = refusal_of_the_system(error) {
        return ProviderFault::Unavailable(refusal);
    }

    let cause = error.root_cause().to_string();
    // wasmtime keeps the type of this error to itself.
    if cause.contains("fuel allocated for hostcalls") {
        return ProviderFault::Malformed(format!(
            "more than {MAX_ANSWER_BYTES} bytes passed to the host"
        ));
    }

    match error.downcast_ref::<Trap>() {
        Some(
            Trap::InvalidChar
            | Trap::StringOutOfBounds
            | Trap::ListOutOfBounds
            | Trap::InvalidDiscriminant
            | Trap::UnalignedPointer,
        ) => ProviderFault::Malformed(words(cause)),
        None if is_lifting_error(error, &cause) => ProviderFault::Malformed(words(cause)),
        _ => ProviderFault::Trapped(words(format_args!("{cause}{}", trace(error)))),
    }
}

/// The guest's own functions on the stack, innermost first, as far as its component has names.
/// Functions of the language's runtime are left out. The names are the guest's: each is cut before
/// anything else is done with it.
fn trace(error: &wasmtime::Error) -> String {
    let Some(backtrace) = error.downcast_ref::<WasmBacktrace>() else {
        return String::new();
    };
    let names = backtrace
        .frames()
        .iter()
        .filter_map(FrameInfo::func_name)
        .map(function_name);
    let own: Vec<_> = names
        .filter(|name| !is_machinery(name))
        .take(MAX_FRAMES)
        .collect();

    if own.is_empty() {
        String::new()
    } else {
        format!(", in {}", own.join(", called by "))
    }
}

/// The readable form of a function's name, of at most [`MAX_NAME`] characters. Only Rust's names
/// are demangled: the length of a C++ name's readable form is exponential in that of the name, and
/// demanglers build it whole.
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
    let parts = name
        .split('[')
        .enumerate()
        .map(|(index, part)| match part.split_once(']') {
            _ if index == 0 => part.to_owned(),
            Some((hash, rest))
                if hash.len() >= 8 && hash.bytes().all(|byte| byte.is_ascii_hexdigit()) =>
            {
                rest.to_owned()
            }
            _ => format!("[{part}"),
        });

    parts.collect()
}

fn is_machinery(function: &str) -> bool {
    let function = function.trim_start_matches('<');
    let beginnings = [
        "std::",
        "core::",
        "alloc::",
        "wasm function",
        "__rust",
        "rust_",
        "abort",
        "panic",
    ];

    beginnings
        .iter()
        .any(|beginning| function.starts_with(beginning))
}

/// Returns whether the machine could not give the call memory. wasmtime allocates on the heap, maps
/// pages through `rustix`, and changes their protection through the standard library.
fn is_for_want_of_memory(error: &wasmtime::Error) -> bool {
    let is_kind = |error: &io::Error| error.kind() == io::ErrorKind::OutOfMemory;
    error.is::<OutOfMemory>()
        || error.downcast_ref::<Errno>() == Some(&Errno::NOMEM)
        || error.downcast_ref::<io::Error>().is_some_and(is_kind)
}

/// What is said when there is no memory: the limit of this process, if it has one, may be the reason.
fn no_memory(limits: Option<String>) -> String {
    match limits {
        Some(limits) => format!("this process gets no memory for the call: {limits}"),
        None => "the machine has no memory for the call".to_owned(),
    }
}

/// Names what the system refused to the host while it made an instance. An error that was raised
/// below a guest's function has a backtrace: that is left to the guest, which must not be able to
/// call a trap the system's.
fn refusal_of_the_system(error: &wasmtime::Error) -> Option<String> {
    if error.is::<WasmBacktrace>() {
        return None;
    }
    let code = match error.downcast_ref::<Errno>() {
        Some(errno) => errno.raw_os_error(),
        None => {
            // The crate that makes files in memory has the cause as its source.
            let as_source = || {
                error
                    .chain()
                    .find_map(|cause| cause.downcast_ref::<io::Error>())
            };
            let of_io = error.downcast_ref::<io::Error>().or_else(as_source);
            of_io?.raw_os_error()?
        }
    };
    let advice = match Errno::from_raw_os_error(code) {
        Errno::FBIG => "; the limit on files, RLIMIT_FSIZE (`ulimit -f`), is too low",
        Errno::MFILE | Errno::NFILE => "; the limit on open files is too low",
        _ => "",
    };
    let said = io::Error::from_raw_os_error(code);
    Some(format!(
        "the system refuses what an instance needs: {said}{advice}"
    ))
}

/// Returns whether an answer does not have the shape that its type promises.
fn is_lifting_error(error: &wasmtime::Error, cause: &str) -> bool {
    let is_bad_text =
        error.is::<Utf8Error>() || error.is::<DecodeUtf16Error>() || error.is::<CharTryFromError>();
    // Pointers, discriminants, and strings that one component passes to another: wasmtime 48 gives
    // these errors no type.
    let signs = [
        "invalid utf8 encoding",
        "invalid utf16 encoding",
        "out of bounds",
        "discriminant",
        "not aligned",
    ];
    is_bad_text || signs.iter().any(|sign| cause.contains(sign))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_that_cannot_be_lifted_is_known_by_the_type_of_its_error() {
        let half = &"é".as_bytes()[..1];
        let utf8 = std::str::from_utf8(half).unwrap_err();
        let utf16 = char::decode_utf16([0xd800]).next().unwrap().unwrap_err();
        let scalar = char::try_from(0xd800_u32).unwrap_err();
        let errors = [wasmtime::Error::from(utf8), utf16.into(), scalar.into()];
        for error in errors.map(|error| error.context("in the result of a call")) {
            assert!(is_lifting_error(&error, ""), "{error:?}");
        }
        let other = wasmtime::Error::msg("a guest that speaks of utf-8");
        assert!(!is_lifting_error(&other, &other.to_string()));
    }

    #[test]
    fn machine_without_memory_is_known_by_the_type_of_its_error() {
        let of_the_system = io::Error::from(Errno::NOMEM);
        for error in [wasmtime::Error::from(Errno::NOMEM), of_the_system.into()] {
            assert!(is_for_want_of_memory(&error.context("mapping a stack")));
        }
        for other in [
            wasmtime::Error::msg("Cannot allocate memory"),
            Errno::INVAL.into(),
        ] {
            assert!(!is_for_want_of_memory(&other), "{other:?}");
        }
    }

    #[test]
    fn limit_of_the_process_is_named_where_memory_is_refused() {
        assert_eq!(no_memory(None), "the machine has no memory for the call");
        let named = no_memory(Some("RLIMIT_AS (`ulimit -v`) is 512 MiB".to_owned()));
        assert!(
            named.ends_with("RLIMIT_AS (`ulimit -v`) is 512 MiB"),
            "{named}"
        );
    }

    #[test]
    fn refusal_of_the_system_is_no_trap_of_the_guest() {
        let of_io = io::Error::from_raw_os_error(Errno::FBIG.raw_os_error());
        for error in [wasmtime::Error::from(Errno::FBIG), of_io.into()] {
            let refusal = refusal_of_the_system(&error.context("making an image")).unwrap();
            assert!(refusal.contains("RLIMIT_FSIZE"), "{refusal}");
        }
        for other in [
            wasmtime::Error::msg("File too large"),
            wasmtime::Error::from(io::Error::other("a guest's stream")),
            wasmtime::Error::from(Trap::UnreachableCodeReached),
        ] {
            assert_eq!(refusal_of_the_system(&other), None);
        }
    }

    #[test]
    fn names_of_functions_are_those_of_the_source() {
        assert_eq!(
            without_hashes("my_provider[d123b7a1a2ed1472]::look_up"),
            "my_provider::look_up"
        );
        assert_eq!(
            without_hashes("<[u8] as a[0123456789abcdef]::B>::c"),
            "<[u8] as a::B>::c"
        );
        assert!(
            is_machinery("std::panicking::panic_with_hook") && is_machinery("<core::fmt::A>::b")
        );
        assert!(!is_machinery("my_provider::look_up"));
    }

    #[test]
    fn name_that_is_exponential_when_it_is_demangled_is_only_cut() {
        // Ten levels, each of which refers to the one before eight times: 10^9 characters when
        // demangled.
        let levels: String = (0..10)
            .map(|level| format!("IS{level}_S{level}_S{level}_S{level}_E"))
            .collect();
        let name = format!("_Z4trap1XIiiiiiiiiE{levels}");
        let shown = function_name(&name);
        assert!(name.starts_with(shown.trim_end_matches('…')), "{shown}");
        assert_eq!(shown.chars().count(), MAX_NAME + 1);
        let long = format!("_Z{}", "P".repeat(90_000));
        assert_eq!(function_name(&long).chars().count(), MAX_NAME + 1);
        assert_eq!(
            function_name("_ZN11my_provider7look_up17h0123456789abcdefE"),
            "my_provider::look_up"
        );
    }
}
