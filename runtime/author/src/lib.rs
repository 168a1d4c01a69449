//! Tools for authors of providers: a new project, a check of a component against the contract, and
//! hostile guests that try the sandbox.
//!
//! **Invariant:** a component is judged by what the sandbox does with it, by the rules that the
//! dashboard has.

pub mod conformance;
pub mod scaffold;
pub mod torture;
