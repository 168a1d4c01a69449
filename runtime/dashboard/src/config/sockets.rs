//! Listening sockets that systemd hands over (`sd_listen_fds(3)`).

use super::environment::variable;
use listenfd::ListenFd;
use std::io;
use std::net::TcpListener;

/// A listening socket that was handed over.
#[derive(Debug)]
pub struct HandedSocket {
    /// Its name: `FileDescriptorName=` of the socket unit, else the unit's own name. `None`: it has
    /// none.
    pub name: Option<String>,
    /// The listening socket that was handed over.
    pub listener: TcpListener,
}

/// Takes the sockets that `LISTEN_FDS` counts, if `LISTEN_PID` names this process. Later calls must
/// not be made: each socket has one owner.
///
/// # Errors
/// One of them is no TCP socket.
pub fn handed_sockets() -> io::Result<Vec<HandedSocket>> {
    let mut handed = ListenFd::from_env();
    let names = variable("LISTEN_FDNAMES").unwrap_or_default();
    let mut names = names.split(':');

    let mut sockets = Vec::new();
    for index in 0..handed.len() {
        let name = names
            .next()
            .filter(|name| !name.is_empty())
            .map(str::to_owned);
        if let Some(listener) = handed.take_tcp_listener(index)? {
            listener.set_nonblocking(true)?;
            sockets.push(HandedSocket { name, listener });
        }
    }

    Ok(sockets)
}
