//! The gateway: it runs turns, and stops starting new ones while a drain is on.
//!
//! **Invariant:** a turn is admitted in the same step that reads whether turns are admitted, so
//! none starts after a drain began; and nothing here depends on who began the drain.

mod api_key;
mod children;
mod custody;
mod leftovers;
mod metrics;
mod records;
mod restart_watch;
mod runner;
mod server;
mod supervisor;
mod sync;
mod turn_end;
mod turn_guard;
mod turn_log;
pub mod turns;
mod watcher;

pub use api_key::ApiKey;
pub use supervisor::{Gateway, GatewayError, GatewaySettings, check_listen};
pub use turn_guard::guard_turn;
