//! From a component's bytes to native code. Everything that works on a component's bytes is here
//! and in the survey, so that it can run in a process of its own.

use super::artifact::Artifact;
use super::error::Unloadable;
use super::survey::{Facts, survey};
use crate::guest_text::words;
use portcullis_module_linker::NotLinked;
use std::any::Any;
use std::fmt::Display;
use std::panic::{self, AssertUnwindSafe};
use wasmtime::Engine;

/// Part of the key of what is cached: changes with what is made of a component.
pub(super) const COMPILER_VERSION: u32 = 4;

/// The most that compiling may multiply a component's size. CPython's doubles, and that of small
/// components grows threefold. What is beyond it is no code: types refer to each other, so that a
/// kilobyte stands for a million of them.
const MAX_EXPANSION: u64 = 16;
/// The size that every compiled component may have, in bytes.
const ALWAYS_ACCEPTED_BYTES: u64 = 8 * 1024 * 1024;

/// Surveys and compiles a component, after linking its core modules if `link_modules` is set.
///
/// # Errors
/// It is refused by the survey, by the linker or by the compiler, or one of them panics.
pub(super) fn compile(
    engine: &Engine,
    bytes: &[u8],
    link_modules: bool,
) -> Result<Artifact, Unloadable> {
    let caught = panic::catch_unwind(AssertUnwindSafe(|| {
        compile_unguarded(engine, bytes, link_modules)
    }));
    caught.unwrap_or_else(|panic| Err(Unloadable::CompilerFailed(words(panic_text(&*panic)))))
}

fn compile_unguarded(
    engine: &Engine,
    bytes: &[u8],
    link_modules: bool,
) -> Result<Artifact, Unloadable> {
    let facts = survey(bytes)?;
    if !link_modules {
        return code_of(engine, bytes, facts);
    }

    match portcullis_module_linker::link(bytes) {
        // The facts are those of the code that runs: data that was in place before may now be
        // copied.
        Ok(linked) => survey(&linked)
            .and_then(|facts| code_of(engine, &linked, facts))
            .map_err(not_linked),
        // The author may have linked it already.
        Err(NotLinked::OneModule) => code_of(engine, bytes, facts),
        Err(NotLinked::Invalid(error)) => Err(Unloadable::Invalid(words(error))),
        Err(why) => Err(not_linked(why)),
    }
}

fn not_linked(why: impl Display) -> Unloadable {
    Unloadable::NotLinked(words(why))
}

fn code_of(engine: &Engine, bytes: &[u8], facts: Facts) -> Result<Artifact, Unloadable> {
    let compiled = engine.precompile_component(bytes);
    let code = compiled.map_err(|error| refusal(words(format_args!("{error:#}"))))?;
    let limit = facts
        .code_bytes
        .saturating_mul(MAX_EXPANSION)
        .saturating_add(ALWAYS_ACCEPTED_BYTES);
    if code.len() as u64 > limit {
        let unit = "bytes when it is compiled, most of them types or tables".to_owned();
        return Err(Unloadable::TooMany {
            found: code.len() as u64,
            limit,
            unit,
        });
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

fn panic_text(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("it panicked")
}

#[cfg(test)]
mod tests {
    use crate::{ComponentSource, LoadError, Sandbox, SandboxSettings, Unloadable};

    const LINKABLE: &str = r#"(component
        (core module $a (func (export "seven") (result i32) i32.const 7))
        (core module $b
            (import "a" "seven" (func $seven (result i32)))
            (func (export "run") (result i32) call $seven))
        (core instance $a (instantiate $a))
        (core instance $b (instantiate $b (with "a" (instance $a))))
        (func (export "run") (result u32) (canon lift (core func $b "run"))))"#;

    /// A constant of the linked module would name a global of its own, which only the proposal for
    /// garbage collection has.
    const NOT_LINKABLE: &str = r#"(component
        (core module $a (global (export "base") i64 i64.const 7))
        (core module $b
            (import "a" "base" (global $base i64))
            (global $copy i64 global.get $base)
            (func (export "run") (result i32) (i32.wrap_i64 (global.get $copy))))
        (core instance $a (instantiate $a))
        (core instance $b (instantiate $b (with "a" (instance $a))))
        (func (export "run") (result u32) (canon lift (core func $b "run"))))"#;

    fn source(text: &str) -> ComponentSource {
        ComponentSource::Bundled(wat::parse_str(text).unwrap().leak())
    }

    #[tokio::test]
    async fn modules_are_linked_only_when_that_is_asked_for() {
        let sandbox = Sandbox::start(&SandboxSettings::default()).unwrap();
        let source = source(LINKABLE);
        let as_it_is = sandbox.inspect(&source).await.unwrap();
        let linked = sandbox.inspect_linked(&source).await.unwrap();
        assert_eq!((as_it_is.core_instances, linked.core_instances), (2, 1));
        assert_eq!(
            (linked.sha256, linked.exports),
            (as_it_is.sha256, as_it_is.exports),
            "of the same file"
        );
    }

    #[tokio::test]
    async fn component_that_cannot_be_linked_is_refused_only_when_that_is_asked_for() {
        let sandbox = Sandbox::start(&SandboxSettings::default()).unwrap();
        let source = source(NOT_LINKABLE);
        assert_eq!(sandbox.inspect(&source).await.unwrap().exports, ["run"]);
        let refused = sandbox.inspect_linked(&source).await.unwrap_err();
        assert!(
            matches!(refused, LoadError::Unloadable(Unloadable::NotLinked(_))),
            "{refused}"
        );
    }

    #[tokio::test]
    async fn component_with_nothing_to_link_is_compiled_as_it_is() {
        let sandbox = Sandbox::start(&SandboxSettings::default()).unwrap();
        let source = source("(component (core module $m) (core instance (instantiate $m)))");
        assert_eq!(
            sandbox
                .inspect_linked(&source)
                .await
                .unwrap()
                .core_instances,
            1
        );
    }
}
