//! Opens a socket, and looks up a name.

#![cfg(target_family = "wasm")]

use portcullis_guest::{Host, Provider, TokenPrincipal, Unavailable};
use std::net::{TcpListener, TcpStream, ToSocketAddrs, UdpSocket};

pub struct Guest;

impl Provider for Guest {
    fn verify_token(_: &dyn Host, _: &str) -> Result<Option<TokenPrincipal>, Unavailable> {
        let opened = TcpStream::connect("127.0.0.1:1").is_ok()
            || TcpListener::bind("127.0.0.1:0").is_ok()
            || UdpSocket::bind("127.0.0.1:0").is_ok()
            || "localhost:80".to_socket_addrs().is_ok();
        Ok(opened
            .then(|| "a socket")
            .and_then(hostile_guests::breached))
    }
}

portcullis_guest::export!(Guest);
