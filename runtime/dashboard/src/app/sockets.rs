//! The sockets that the dashboard listens on: those that systemd hands over, else its own.

use super::StartError;
use crate::config::{DashboardConfig, HandedSocket, handed_sockets, is_loopback_name};
use std::fmt::Display;
use std::io;
use std::net::SocketAddr;
use tokio::net::TcpListener;

/// The names of sockets that are handed over.
const HTTPS: &str = "https";
const HTTP: &str = "http";

/// What the dashboard listens on.
pub(super) struct Sockets {
    /// The socket of the dashboard itself.
    pub(super) main: TcpListener,
    /// The socket of plain HTTP, which redirects to it.
    pub(super) redirect: Option<TcpListener>,
}

/// Sockets that were handed over, by what they are for.
#[derive(Debug, Default)]
struct Handed {
    main: Option<std::net::TcpListener>,
    redirect: Option<std::net::TcpListener>,
}

impl Sockets {
    /// Takes the sockets that were handed over, and binds the rest.
    ///
    /// # Errors
    /// One of the sockets cannot be used, or an address cannot be bound.
    pub(super) async fn open(dashboard: &DashboardConfig) -> Result<Self, StartError> {
        let sockets =
            handed_sockets().map_err(|error| StartError::HandedSocket(error.to_string()))?;
        let has_tls = dashboard.tls.is_some();
        let Handed { main, redirect } =
            assign(sockets, has_tls).map_err(StartError::HandedSocket)?;
        let main = match main {
            Some(handed) => take(handed, Some(&dashboard.host))?,
            None => bind(&dashboard.host, dashboard.port).await?,
        };
        let address = dashboard.redirect_http.filter(|_| has_tls);
        let redirect = match (redirect, address) {
            (Some(handed), _) => Some(take(handed, None)?),
            (None, Some(address)) => Some(bind(&address.ip().to_string(), address.port()).await?),
            (None, None) => None,
        };

        Ok(Self { main, redirect })
    }

    /// The address of the dashboard itself.
    ///
    /// # Errors
    /// The system does not report the address.
    pub(super) fn address(&self) -> io::Result<SocketAddr> {
        self.main.local_addr()
    }
}

/// One socket is the dashboard's, unless it is named as the other. Several are distinguished by
/// their names.
fn assign(sockets: Vec<HandedSocket>, has_tls: bool) -> Result<Handed, String> {
    let mut handed = Handed::default();
    let is_alone = sockets.len() == 1;
    for HandedSocket { name, listener } in sockets {
        let place = match name.as_deref() {
            Some(HTTP) if has_tls => &mut handed.redirect,
            Some(HTTP) => &mut handed.main,
            Some(HTTPS) if has_tls => &mut handed.main,
            _ if is_alone => &mut handed.main,
            name => {
                let name = name.unwrap_or("unnamed");
                let names = if has_tls {
                    "`https` and `http`"
                } else {
                    "`http`"
                };
                return Err(format!(
                    "there are several, and the use of `{name}` is not known: give them FileDescriptorName= {names}"
                ));
            }
        };
        if place.replace(listener).is_some() {
            return Err(
                "two of them have the same use: one address of each kind can be listened on"
                    .to_owned(),
            );
        }
    }

    Ok(handed)
}

/// Takes a socket over. `host` is `dashboard.host`, by which it is decided whether people must sign
/// in: a socket that others reach must not be taken for one of this machine alone.
fn take(handed: std::net::TcpListener, host: Option<&str>) -> Result<TcpListener, StartError> {
    let refuse = |why: &dyn Display| StartError::HandedSocket(why.to_string());
    let address = handed.local_addr().map_err(|error| refuse(&error))?;
    let is_open = !is_loopback_name(&address.ip().to_string());
    if let Some(host) = host.filter(|host| is_open && is_loopback_name(host)) {
        let why = format!(
            "it listens on {address}, but dashboard.host is {host}, for which people need not sign in: set dashboard.host to \
             {}",
            address.ip()
        );
        return Err(refuse(&why));
    }

    tracing::info!(%address, "listening on a socket that was handed over");
    TcpListener::from_std(handed).map_err(|error| refuse(&error))
}

async fn bind(host: &str, port: u16) -> Result<TcpListener, StartError> {
    let listener = TcpListener::bind((host, port)).await;
    listener.map_err(|cause| StartError::Listen {
        host: host.to_owned(),
        port,
        cause,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn socket(name: Option<&str>) -> HandedSocket {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        HandedSocket {
            name: name.map(str::to_owned),
            listener,
        }
    }

    #[test]
    fn sockets_are_told_apart_by_their_names() {
        let uses = |names: &[Option<&str>], has_tls| {
            let handed = assign(names.iter().map(|name| socket(*name)).collect(), has_tls);
            handed.map(|handed| (handed.main.is_some(), handed.redirect.is_some()))
        };
        for (names, has_tls, expected) in [
            (&[][..], false, (false, false)),
            (&[None][..], false, (true, false)),
            (&[Some("portcullis.socket")], true, (true, false)),
            (&[Some("http")], true, (false, true)),
            (&[Some("http")], false, (true, false)),
            (&[Some("http"), Some("https")], true, (true, true)),
        ] {
            assert_eq!(uses(names, has_tls), Ok(expected), "{names:?} {has_tls}");
        }
        for (names, has_tls, complaint) in [
            (&[None, None][..], true, "`unnamed` is not known"),
            (
                &[Some("http"), Some("https")],
                false,
                "`https` is not known",
            ),
            (&[Some("https"), Some("https")], true, "the same use"),
        ] {
            let refusal = uses(names, has_tls).unwrap_err();
            assert!(refusal.contains(complaint), "{refusal}");
        }
    }

    #[tokio::test]
    async fn socket_that_others_reach_needs_the_gate() {
        let open = || {
            let listener = std::net::TcpListener::bind("0.0.0.0:0").unwrap();
            listener.set_nonblocking(true).unwrap();
            listener
        };
        let refusal = take(open(), Some("127.0.0.1")).unwrap_err().to_string();
        assert!(
            refusal.contains("set dashboard.host to 0.0.0.0"),
            "{refusal}"
        );
        assert!(take(open(), Some("0.0.0.0")).is_ok());
        let local = socket(None).listener;
        local.set_nonblocking(true).unwrap();
        assert!(take(local, Some("localhost")).is_ok());
    }
}
