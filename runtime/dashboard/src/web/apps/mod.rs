//! Applications behind the gate: `dashboard.apps`.
//!
//! **Invariant:** a request reaches an application after the gate has decided by the application's
//! `allow`, and what the application reads of its caller is from that decision alone.

mod activity;
mod body;
mod client_span;
mod connector;
mod failure;
mod forward;
mod headers;
mod hermes;
mod hop;
mod ownership;
mod paths;
mod refusal;
mod session_watch;
mod settings;
mod slots;
mod socket;
mod table;
mod token_watch;
mod way;

pub(super) use forward::{OfApp, Passed, forward};
pub use headers::is_of_the_host;
pub(super) use hop::refuse_loop;
pub use ownership::{owner_of_path, why_unreachable};
pub(super) use paths::{OWN_PREFIX, mount_of, without_own_prefix};
pub use paths::{below_own_prefix, is_always_own};
pub(super) use refusal::{refuse, target};
pub use settings::{AppLimits, AppSettings, Preset, Upstream};
pub(super) use table::App;
pub use table::AppTable;
