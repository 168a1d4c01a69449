//! The files of a home that the gateway and the dashboard share: the drain marker with its leases,
//! the gateway's status, its locks, and restart requests; and what a process has of the system: its parent, and threads.
//!
//! **Invariant:** a file of the home is written atomically and read with a bound. What a file
//! cannot say is unknown; it is never taken for "stopped" or for "no drain".

pub mod atomic_file;
mod epoch;
mod foreign_text;
pub mod home_lock;
mod leases;
mod marker;
pub mod parent_watch;
mod restart_request;
mod run_lock;
mod state;
mod status_file;
pub mod threads;
mod verdict;

pub use epoch::{Epoch, has_own_proc, process_start_time};
pub use foreign_text::{MAX_OWNER_CHARS, MAX_REASON_CHARS};
pub use leases::{Lease, Leases, MAX_LEASES, MAX_TTL_SECONDS, TooManyLeases};
pub use marker::{MARKER_FILE, Marker, MarkerContent, MarkerFile, MarkerState, next_generation};
pub use restart_request::{
    Ignored, MAX_RESTART_GRACE_SECONDS, RESTART_FILE, RestartFile, RestartRequest,
};
pub use run_lock::{RUN_LOCKS, RunLock, leftover_turns, lock_files, remove_if_free};
pub use state::{Demand, ExitReason, GatewayState};
pub use status_file::{
    ObservedState, STATUS_FILE, Status, StatusFile, StatusReading, TurnInFlight,
};
pub use verdict::{DrainVerdict, DrainView, StaleReason, expiry_after, judge};
