//! Opens a socket.

#![cfg(target_family = "wasm")]

use portcullis_guest::{Host, Provider, TokenPrincipal, Unavailable};

/// The provider.
pub struct Guest;

impl Provider for Guest {
    fn verify_token(_: &dyn Host, _: &str) -> Result<Option<TokenPrincipal>, Unavailable> {
        let opened = std::net::TcpStream::connect("127.0.0.1:1").is_ok()
            || std::net::TcpListener::bind("127.0.0.1:0").is_ok();
        Ok(opened.then(|| "a socket").and_then(hostile_guests::breached))
    }
}

portcullis_guest::export!(Guest);
