//! Links the core modules of a component into one before it is compiled, as a static linker does
//! with libraries.
//!
//! A component of CPython is fourteen modules that import 2,300 things from each other, and fill
//! 5,700 places of a table that one of them owns: half a millisecond of every fresh instance. One
//! module has nothing to import, and its table is filled as it is used: eight microseconds. A
//! component of one module and its shim for imports (what `wit-component` makes of everything) has
//! one instance less to make.
//!
//! **Invariant:** what comes out is valid, and needs garbage collection only if what went in does.
//! It behaves as before: modules that would then behave in another way are left apart, and what the
//! linker does not know is refused.
//!
//! `layout` reads what the component is made of (`core_module`: what each module is), `plan`
//! chooses who is linked, `module` makes the one module (by the indices of `renumber`), `rewrite`
//! puts it in the place of the others.

mod core_module;
mod kinds;
mod layout;
mod module;
mod plan;
mod renumber;
mod rewrite;
#[cfg(test)]
mod tests;

use layout::Layout;
use plan::Plan;
use wasm_encoder::reencode;
use wasmparser::{Parser, Payload, Validator, WasmFeatures};

/// Why a component stays as it is.
#[derive(Debug, thiserror::Error)]
pub enum NotLinked {
    /// It is something else: a core module, for instance.
    #[error("it is not a component")]
    NotAComponent,
    /// It is not a valid component.
    #[error("it is not valid: {0}")]
    Invalid(#[from] wasmparser::Error),
    /// It has nothing to link.
    #[error("no two of its modules can be linked")]
    OneModule,
    /// It has something that the linker does not handle.
    #[error("{0} is not known to the linker")]
    Unknown(&'static str),
    /// An index or a name leads nowhere.
    #[error("it refers to something that is not there")]
    Dangling,
    /// Linked, it would need garbage collection, which it does not need now: an initial value that
    /// is read from a global of another module, for instance, would be read from a global of its
    /// own.
    #[error("it would then need a feature of WebAssembly that it does not need now: {0}")]
    Demanding(wasmparser::Error),
}

impl From<reencode::Error> for NotLinked {
    fn from(error: reencode::Error) -> Self {
        match error {
            reencode::Error::ParseError(error) => Self::Invalid(error),
            _ => Self::Unknown("an instruction or a type"),
        }
    }
}

/// Returns the same component with fewer modules.
///
/// # Errors
///
/// Why it stays as it is.
pub fn link(component: &[u8]) -> Result<Vec<u8>, NotLinked> {
    if !Parser::is_component(component) {
        return Err(NotLinked::NotAComponent);
    }
    let features = features_of(component)?;
    let layout = Layout::read(component)?;
    let plan = Plan::of(&layout)?;
    let module = module::link(&layout, &plan)?;
    let linked = rewrite::rewrite(&layout, &plan, &module)?;

    validate(&linked, features).map_err(NotLinked::Demanding)?;
    Ok(linked)
}

/// Returns how many core modules a component has, at any depth.
///
/// # Errors
/// It cannot be parsed.
pub fn modules(component: &[u8]) -> Result<usize, NotLinked> {
    let mut count = 0;
    for payload in Parser::new(0).parse_all(component) {
        count += usize::from(matches!(payload?, Payload::ModuleSection { .. }));
    }
    Ok(count)
}

/// Returns the features that a component may use. The compiler decides which of them are enabled,
/// but for garbage collection: few hosts have it, and linking could make a component need it.
fn features_of(component: &[u8]) -> Result<WasmFeatures, NotLinked> {
    let without = WasmFeatures::all().difference(WasmFeatures::GC);
    if validate(component, without).is_ok() {
        return Ok(without);
    }
    validate(component, WasmFeatures::all())?;
    Ok(WasmFeatures::all())
}

fn validate(component: &[u8], features: WasmFeatures) -> Result<(), wasmparser::Error> {
    Validator::new_with_features(features)
        .validate_all(component)
        .map(drop)
}
