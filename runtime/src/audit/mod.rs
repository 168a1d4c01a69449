//! The audit log: who was let in, who was not, who drained, and what providers did.
//!
//! **Invariant:** no field that may hold a secret is ever written, whatever its depth; and no request waits
//! for the log, or fails because of it.

mod event;
mod last_faults;
mod redact;
mod rotating_file;
mod tail;
mod writer;

pub use event::{EventName, Record};
pub use last_faults::{LastFault, last_faults};
pub use writer::{AUDIT_FILE, AuditLog};
