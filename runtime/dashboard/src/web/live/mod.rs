//! The live page: its web sockets, and the feed of states that they send.

mod feed;
mod gate;
mod socket;

pub(super) use feed::LiveState;
pub use feed::{Feed, FeedSources};
pub use gate::{Live, RefusedProvider, Serving};
pub(super) use socket::socket;
