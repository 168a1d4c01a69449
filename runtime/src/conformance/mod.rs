//! What an author should know of a provider before anybody runs it.
//!
//! **Invariant:** a provider is called through the very sandbox that `serve` uses; what passes here is loaded there.

mod report;
mod suite;
mod tokens;

pub use report::{Finding, Level, Report, Timings, difference};
pub use suite::{Subject, examine};
