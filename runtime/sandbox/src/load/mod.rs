//! From a file to a component that can be instantiated.
//!
//! - [`source`]: where a component's bytes come from.
//! - [`survey`]: what a component consists of, counted without compiling it.
//! - [`compile`]: bytes in, native code and facts out. It runs in a process of its own ([`child`]).
//! - [`artifact`]: native code and facts as one checked unit of bytes; [`cache`]: artifacts on
//!   disk.
//! - [`compiler`]: finds or makes the artifact of a component, once for all that ask at the same
//!   time.
//! - [`inspection`]: what a component is and needs; [`error`]: why a provider is not loaded.
//!
//! **Invariant:** this process runs no compiler and no parser over a component's bytes when it has
//! a child to do so, and it loads no native code whose digest it has not checked.

mod artifact;
mod cache;
mod child;
mod compile;
mod compiler;
mod error;
mod inspection;
mod source;
mod survey;

pub(crate) use cache::CodeKey;
pub use cache::check_private;
pub use child::{ChildLimits, run_compiler};
pub use compiler::CompilerProcess;
pub(crate) use compiler::{Code, Compilers};
pub use error::{LoadError, Unloadable};
pub use inspection::{Inspection, Need};
pub use source::ComponentSource;
pub(crate) use survey::Facts;
