//! Links the core modules of a component into one before it is compiled, as a static linker does with libraries.
//!
//! A component of CPython is fourteen modules that import 2,300 things from each other, and fill 5,700 places of a table
//! that one of them owns: half a millisecond of every fresh instance. One module has nothing to import, and its table is
//! filled as it is used: eight microseconds. A component of one module and its shim for imports (what `wit-component`
//! makes of everything) has one instance less to make.
//!
//! **Invariant:** what comes out is compiled like any other component, and validated with it: nothing here is trusted.
//! What cannot be linked, or would then behave in another way, runs as it is.
//!
//! [`layout`] reads what the component is made of ([`core_module`]: what each module is), [`plan`] chooses who is linked,
//! [`module`] makes the one module (by the indices of [`renumber`]), [`rewrite`] puts it in the place of the others.

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
use wasmparser::{Validator, WasmFeatures};

/// Why a component stays as it is.
#[derive(Debug, thiserror::Error)]
pub(super) enum NotLinked {
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
    /// The linker has a bug.
    #[error("the linker fails on it")]
    Failed,
}

impl From<reencode::Error> for NotLinked {
    fn from(error: reencode::Error) -> Self {
        match error {
            reencode::Error::ParseError(error) => Self::Invalid(error),
            _ => Self::Unknown("an instruction or a type"),
        }
    }
}

/// The same component with fewer modules.
pub(super) fn link(component: &[u8]) -> Result<Vec<u8>, NotLinked> {
    // All proposals count as valid here: the compiler decides which are enabled.
    Validator::new_with_features(WasmFeatures::all()).validate_all(component)?;
    let layout = Layout::read(component)?;
    let plan = Plan::of(&layout)?;
    let linked = module::link(&layout, &plan)?;
    rewrite::rewrite(&layout, &plan, &linked)
}
