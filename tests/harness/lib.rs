//! Drives the real binary: homes in temporary folders, processes on ports of their own, and waiting
//! that always has a deadline.

mod browser;
mod home;
mod http;
pub mod languages;
pub mod linked;
mod process;
pub mod reads;
mod wait;

use portcullis_home::{Lease, Marker};

pub use browser::Browser;
pub use home::{Home, bare_guest, guest, linked_guest};
pub use http::{Reply, get, post, request};
pub use process::{Finished, Process, binary};
pub use reads::READERS;
pub use wait::{SOON, eventually};

/// A drain marker with one lease, as a dashboard writes it.
///
/// # Panics
/// Never: one lease is not too many.
pub fn marker_of_one_lease() -> Marker {
    let lease = Lease {
        owner: "nas".into(),
        principal: "nas".into(),
        reason: None,
        requested_at: jiff::Timestamp::now(),
        expires_at: None,
        suppress_notification: false,
    };
    Marker::of(&vec![lease].into(), None, 1).expect("it has a lease")
}

/// A token of a dashboard's process that passes the strength gate.
pub const PROCESS_TOKEN: &str = "Jx3_8vTqk0ZrWm2yLhNcPd5uBfGa7sEoKi9tRb1XwQc";

/// A drain secret that passes the strength gate.
pub const DRAIN_SECRET: &str = "0f8fad5bd9cb469fa16570867728950e7c9e66794c1a4b6f93d2f5a8c0b1e3d7";
