//! From a component's bytes to native code. Everything that works on a component's bytes is here and in the survey, so
//! that it can run in a process of its own.

use super::artifact::Artifact;
use super::error::Unloadable;
use super::survey::{Facts, survey};
use crate::sandbox::fault::words;
use crate::sandbox::linking::{self, NotLinked};
use std::any::Any;
use std::panic::{self, AssertUnwindSafe};
use wasmtime::Engine;

/// Part of the key of what is cached: changes with what is made of a component.
pub(super) const COMPILER_VERSION: u32 = 2;

/// The most that compiling may multiply a component's size. CPython's doubles, and that of small components grows threefold.
/// What is beyond it is no code: types refer to each other, so that a kilobyte stands for a million of them.
const MAX_EXPANSION: u64 = 16;
/// The size that every compiled component may have, in bytes.
const ALWAYS_ACCEPTED_BYTES: u64 = 8 * 1024 * 1024;

/// Surveys and compiles a component.
///
/// # Errors
/// It is refused by the survey or by the compiler, or the compiler panics.
pub(super) fn compile(engine: &Engine, bytes: &[u8]) -> Result<Artifact, Unloadable> {
    let caught = panic::catch_unwind(AssertUnwindSafe(|| compile_unguarded(engine, bytes)));
    caught.unwrap_or_else(|panic| Err(Unloadable::CompilerFailed(words(panic_text(&*panic)))))
}

fn compile_unguarded(engine: &Engine, bytes: &[u8]) -> Result<Artifact, Unloadable> {
    let facts = survey(bytes)?;
    let Some(linked) = link(bytes) else { return code_of(engine, bytes, facts) };

    // What the linker makes has one module where there were many: its functions are the same, but data that was in place
    // before may now be copied.
    let linked_facts = survey(&linked).map(|linked| Facts {
        is_fit_for_fast_path: facts.is_fit_for_fast_path && linked.is_fit_for_fast_path,
        ..facts.clone()
    });
    linked_facts.and_then(|facts| code_of(engine, &linked, facts)).or_else(|why| {
        tracing::debug!(%why, "a component is compiled without linking its modules");
        code_of(engine, bytes, facts)
    })
}

fn code_of(engine: &Engine, bytes: &[u8], facts: Facts) -> Result<Artifact, Unloadable> {
    let compiled = engine.precompile_component(bytes);
    let code = compiled.map_err(|error| refusal(words(format_args!("{error:#}"))))?;
    let limit = facts.code_bytes.saturating_mul(MAX_EXPANSION).saturating_add(ALWAYS_ACCEPTED_BYTES);
    if code.len() as u64 > limit {
        let unit = "bytes when it is compiled, most of them types or tables".to_owned();
        return Err(Unloadable::TooMany { found: code.len() as u64, limit, unit });
    }
    Ok(Artifact::new(facts, &code))
}

fn refusal(error: String) -> Unloadable {
    if error.contains("gc types are disallowed") {
        let what = "references to objects of the host (externref) or of a garbage collector";
        return Unloadable::Forbidden(what.to_owned());
    }
    Unloadable::Invalid(error)
}

/// The component with its core modules linked, if they can be. A bug of the linker's costs nothing but that.
fn link(component: &[u8]) -> Option<Vec<u8>> {
    let linked = panic::catch_unwind(|| linking::link(component)).unwrap_or(Err(NotLinked::Failed));
    linked.inspect_err(|why| tracing::debug!(%why, "the modules of a component are not linked")).ok()
}

fn panic_text(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("it panicked")
}
