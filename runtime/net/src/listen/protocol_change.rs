//! Connections, and streams of HTTP/2, that speak another protocol after a request.

use super::connections::{ConnectionSlot, Exchange};
use std::sync::Arc;
use tokio::sync::watch;

/// Keeps the place of a connection after a request has changed its protocol. Every request that
/// asks for a change carries one as an extension.
///
/// The task that speaks the other protocol holds it to its end. Without it, the connection would
/// count neither for its address nor among all.
#[derive(Clone)]
pub struct ProtocolChange {
    closed: watch::Receiver<bool>,
    _exchange: Arc<Exchange>,
    _place: Arc<ConnectionSlot>,
}

impl ProtocolChange {
    pub(super) fn new(
        exchange: Arc<Exchange>,
        place: Arc<ConnectionSlot>,
        closed: watch::Receiver<bool>,
    ) -> Self {
        Self {
            closed,
            _exchange: exchange,
            _place: place,
        }
    }

    /// Waits until the server ends. The other protocol then ends as well, since the server waits
    /// for it.
    pub async fn server_ends(&mut self) {
        // An error means that the server is gone.
        let _ = self.closed.wait_for(|closed| *closed).await;
    }
}
