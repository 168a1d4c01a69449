//! What the dashboard shows as it happens.

mod feed;
mod gate;
mod socket;

pub(super) use feed::Moment;
pub use feed::{Feed, FeedSources};
pub use gate::{Live, RefusedProvider, Serving};
pub(super) use socket::socket;
