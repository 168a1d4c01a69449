//! Putting the parts together: from settings to a dashboard that serves.

mod certificate;
mod certificates;
mod drain_secret;
mod ended_people;
mod ended_sessions;
mod file_watch;
mod gate;
mod home;
mod loading;
mod ordered_certificate;
mod people_access;
mod providers;
mod reload;
mod reloadable;
mod server;
mod session_key;
mod session_list;
mod sockets;
mod start;
mod start_error;
mod warnings;
mod web_settings;

pub use drain_secret::{DrainRegistration, drain_registration};
pub use ended_people::{read_ended_people, record_ended_people};
pub use providers::{COMPONENT_CACHE, ProviderReport, Providers, Touch, load_providers};
pub use reload::ReloadRequest;
pub use server::Server;
pub use session_key::SessionKeyError;
pub use session_list::{SessionList, read_session_list};
pub use start_error::StartError;

pub use crate::web::AccessLogTarget;
