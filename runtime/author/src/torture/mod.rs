//! Runs hostile providers against the real sandbox, and reports what each tried, what stopped it
//! and what it cost.
//!
//! **Invariant:** an attack is judged by the gate's own decision, never by what the guest says of
//! itself.

mod attack;
mod bystander;
mod catalogue;
mod loopback_host;
mod process;

pub use attack::{AttackRow, AttackRunner, AttackRunnerError, AttackVerdict, TortureReport};
pub use bystander::CallTimes;
pub use catalogue::{ATTACKS, Attack, Catch};
pub use process::Footprint;
