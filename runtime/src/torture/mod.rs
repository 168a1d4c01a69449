//! Providers that wish the host ill, run against the real wall: what each tried, what caught it, what it cost.
//!
//! **Invariant:** an attack is judged by the gate's own decision, never by what the guest says of itself.

mod attack;
mod bystander;
mod catalogue;
mod peers;
mod process;

pub use attack::{Arena, ArenaError, MAX_LATE, Report, Row, Verdict};
pub use bystander::Latency;
pub use catalogue::{ATTACKS, Attack, Catch};
pub use process::Footprint;
