//! The audit log: who was let in, who was not, who drained, and what providers did.
//!
//! **Invariant:** no field that may hold a secret is ever written, at any depth; and no request
//! waits for the log, or fails because of it.
//!
//! # What survives a flood
//!
//! All lines are in [`AUDIT_FILE`] and its five rotated files, 60 MB together. Events that a caller
//! can cause at will (`EventName::can_flood`) are thinned there: each principal, or for events
//! without one each kind, writes 1,000 lines at once and then one per second. The next line that is
//! written says in `left_out` how many were not.
//!
//! The important events (`EventName::is_important`) are written to [`IMPORTANT_FILE`] as well,
//! which has five rotated files of its own: drains, sign-ins, refused sign-ins, sign-outs, and what
//! became of providers. Nothing else is in it, so that no flood of calls pushes them out. Of those,
//! a stranger can cause refused sign-ins and faults: they are thinned to one per minute after
//! 1,000. 30 days of such a flood are some 45,000 lines of at most 440 bytes for each cause, 20 MB
//! of the 60 MB; the other important events of those 30 days, some 100,000 lines, keep their place.
//!
//! # What proves the log
//!
//! Each line has a number, a code that only the key of the home can make (`mac`), and a hash over
//! itself and the line before (`chain`). Checkpoints are signed. `files` holds what the two logs share, `trail` writes one of them, and
//! [`verify`](fn@verify) checks one. docs/audit.md defines all of it for a third party.

mod authorship;
mod chain;
mod ending;
mod event;
mod export;
mod file_end;
mod files;
mod head;
mod key;
mod last_faults;
mod mac;
mod query;
mod reading;
mod redact;
mod rotating_file;
mod tail;
mod thinning;
mod trail;
mod unsigned;
mod unsigned_run;
mod verify;
mod writer;

pub use event::{EventName, Record};
pub use export::{csv_heading, csv_row, ocsf_event};
pub use files::{AUDIT_FILE, IMPORTANT_FILE, Rotation, known_public_key, public_key};
pub use key::{BadPublicKey, PublicKey};
pub use last_faults::{LastFault, last_faults};
pub use query::{BadMoment, Filter, Moment, Visitor, search};
pub(crate) use rotating_file::RotatingFile;
pub use verify::{Expected, Outcome, Remark, RemarkKind, Summary, verify};
pub use writer::AuditLog;
