//! What the attacks that call out find on this machine: a host that they are granted, which
//! misbehaves on demand, and one that they are not, which counts who reaches it.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// Longest head of a request that is waited for.
const MAX_HEAD: usize = 4096;

/// A host on loopback, until it is dropped.
pub(super) struct LoopbackHost {
    address: SocketAddr,
    reached: Arc<AtomicUsize>,
    accepting: JoinHandle<()>,
}

impl Drop for LoopbackHost {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl LoopbackHost {
    /// Starts a server that redirects requests for `/redirect` to `elsewhere`.
    pub(super) async fn start(elsewhere: &str) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let reached = Arc::new(AtomicUsize::new(0));
        let (count, elsewhere) = (reached.clone(), elsewhere.to_owned());
        let accepting = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                count.fetch_add(1, Ordering::Relaxed);
                tokio::spawn(answer(stream, elsewhere.clone()));
            }
        });

        Ok(Self {
            address,
            reached,
            accepting,
        })
    }

    /// Returns its origin, by address.
    pub(super) fn origin(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Its origin under another name.
    pub(super) fn origin_as(&self, name: &str) -> String {
        format!("http://{name}:{}", self.address.port())
    }

    /// Returns the number of connections so far.
    pub(super) fn reached(&self) -> usize {
        self.reached.load(Ordering::Relaxed)
    }
}

/// Ends when the guest's side goes away, which its deadline makes sure of.
async fn answer(mut stream: TcpStream, elsewhere: String) -> io::Result<()> {
    let mut head = Vec::new();
    while !head.windows(4).any(|end| end == b"\r\n\r\n") && head.len() < MAX_HEAD {
        if stream.read_buf(&mut head).await? == 0 {
            return Ok(());
        }
    }

    let head = String::from_utf8_lossy(&head);
    match head.split(' ').nth(1) {
        Some("/redirect") => {
            let found = format!(
                "HTTP/1.1 302 Found\r\nLocation: {elsewhere}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
            );
            stream.write_all(found.as_bytes()).await
        }
        Some("/endless") => {
            stream
                .write_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")
                .await?;
            loop {
                stream.write_all(&[b'x'; 16 * 1024]).await?;
            }
        }
        Some("/slow") => {
            stream
                .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 3600\r\n\r\n")
                .await?;
            loop {
                stream.write_all(b"x").await?;
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        }
        _ => {
            stream
                .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")
                .await
        }
    }
}
