//! The checks of `provider check`, for authors before they ship a provider.
//!
//! **Invariant:** a provider is called through the very sandbox that `serve` uses; what passes here
//! is loaded there.

mod report;
mod suite;
mod tokens;

pub use report::{CheckFinding, Level, Report, Timings, difference};
pub use suite::{Subject, examine};
