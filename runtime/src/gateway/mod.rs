//! The gateway: it runs turns, and stops starting new ones while a drain is on.
//!
//! **Invariant:** a turn is admitted in the same step that reads whether turns are admitted, so none starts
//! after a drain began; and nothing here depends on who began the drain.

mod api_key;
mod children;
mod custody;
mod leftovers;
mod metrics;
mod records;
mod restart_request;
mod restart_watch;
mod run_lock;
mod runner;
mod server;
mod state;
mod status_file;
mod supervisor;
mod sync;
mod turn_end;
mod turn_guard;
mod turn_log;
pub mod turns;
mod watcher;

pub use api_key::ApiKey;
pub use restart_request::{MAX_RESTART_GRACE_SECONDS, RESTART_FILE, RestartFile, RestartRequest};
pub use run_lock::leftover_turns;
pub use server::INTERNAL_SOCKET;
pub use state::{Demand, ExitReason, GatewayState};
pub use status_file::{
    MAX_TURNS_TOLD, ObservedState, STATUS_FILE, Status, StatusFile, StatusReading, TurnInFlight,
};
pub use supervisor::{Gateway, GatewayError, GatewaySettings};
pub use turn_guard::guard_turn;
