//! Opens many connections from many addresses, and holds them.

use super::child::{is_dismissed, say};
use serde::{Deserialize, Serialize};
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::timeout;

/// Connections that are being opened at a time.
const OPENING: usize = 64;
/// How long opening one may take, with its first answer.
const OPENS: Duration = Duration::from_secs(20);
/// Longest head of an answer.
const MAX_HEAD_BYTES: usize = 4096;

/// Which connections are held.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Plan {
    pub(crate) port: u16,
    /// Connections come from as many addresses of loopback.
    pub(crate) sources: usize,
    pub(crate) connections: usize,
    pub(crate) kind: Kind,
}

/// What a connection is for.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
pub(crate) enum Kind {
    /// Asked once, and then idle.
    Idle,
    /// A web socket on which one byte went both ways, to one of this many applications.
    Socket { apps: usize },
}

/// How many connections there are.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
pub(crate) struct Held {
    /// Opened and answered.
    pub(crate) opened: usize,
    /// Of those, the ones that the server has not closed since.
    pub(crate) open: usize,
}

/// Opens the connections and says how many there are; says it again when this process is dismissed.
pub(crate) async fn run(plan: Plan) {
    let plan = Arc::new(plan);
    let (opening, open) = (
        Arc::new(Semaphore::new(OPENING)),
        Arc::new(AtomicUsize::new(0)),
    );
    let mut attempts = JoinSet::new();
    for number in 0..plan.connections {
        attempts.spawn(hold(plan.clone(), number, opening.clone(), open.clone()));
    }
    let mut opened = 0;
    while let Some(attempt) = attempts.join_next().await {
        opened += usize::from(attempt.expect("an attempt does not panic"));
    }
    say(&Held {
        opened,
        open: open.load(Ordering::Relaxed),
    });
    is_dismissed().await;
    say(&Held {
        opened,
        open: open.load(Ordering::Relaxed),
    });
}

/// Opens a connection, and leaves it to a task that waits for its end. Returns whether it was
/// opened.
async fn hold(
    plan: Arc<Plan>,
    number: usize,
    opening: Arc<Semaphore>,
    open: Arc<AtomicUsize>,
) -> bool {
    let _permit = opening
        .acquire()
        .await
        .expect("the semaphore is never closed");
    match timeout(OPENS, opened(&plan, number))
        .await
        .unwrap_or_else(|late| Err(late.into()))
    {
        Ok(stream) => {
            open.fetch_add(1, Ordering::Relaxed);
            tokio::spawn(wait_for_end(stream, open));
            true
        }
        Err(error) => {
            eprintln!("connection {number}: {error}");
            false
        }
    }
}

async fn wait_for_end(mut stream: TcpStream, open: Arc<AtomicUsize>) {
    // The server sends nothing more: the next event is the end.
    let _ = stream.read_u8().await;
    open.fetch_sub(1, Ordering::Relaxed);
}

async fn opened(plan: &Plan, number: usize) -> io::Result<TcpStream> {
    let mut stream = connect(plan, number).await?;
    match plan.kind {
        Kind::Idle => {
            let answer = ask(
                &mut stream,
                "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n",
            )
            .await?;
            expect(answer.starts_with("HTTP/1.1 200 "), &answer)?;
        }
        Kind::Socket { apps } => {
            let opening = format!(
                "GET /app{}/socket HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                 Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
                number % apps
            );
            let answer = ask(&mut stream, &opening).await?;
            expect(answer.starts_with("HTTP/1.1 101 "), &answer)?;
            stream.write_all(b"x").await?;
            expect(stream.read_u8().await? == b'x', "another byte came back")?;
        }
    }
    Ok(stream)
}

async fn connect(plan: &Plan, number: usize) -> io::Result<TcpStream> {
    let source = u8::try_from(number % plan.sources + 1).map_err(io::Error::other)?;
    let socket = TcpSocket::new_v4()?;
    socket.bind(SocketAddr::from((Ipv4Addr::new(127, 0, 2, source), 0)))?;
    socket
        .connect(SocketAddr::from((Ipv4Addr::LOCALHOST, plan.port)))
        .await
}

/// Sends a request. Returns the answer with its body, whose length its head says.
async fn ask(stream: &mut TcpStream, request: &str) -> io::Result<String> {
    stream.write_all(request.as_bytes()).await?;
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") && head.len() < MAX_HEAD_BYTES {
        head.push(stream.read_u8().await?);
    }
    let mut answer = String::from_utf8_lossy(&head).into_owned();
    let length = answer.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length")
            .then(|| value.trim().parse::<usize>().ok())?
    });
    let mut body = vec![0; length.unwrap_or(0)];
    stream.read_exact(&mut body).await?;
    answer.push_str(&String::from_utf8_lossy(&body));
    Ok(answer)
}

fn expect(is_right: bool, answer: &str) -> io::Result<()> {
    if is_right {
        Ok(())
    } else {
        Err(io::Error::other(answer.to_owned()))
    }
}
