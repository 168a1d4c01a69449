//! The application behind every front door: a fast server of short and long answers and of web
//! sockets.

use super::child::{is_dismissed, say};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONNECTION, HeaderValue, UPGRADE};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::upgrade::Upgraded;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use std::convert::Infallible;
use std::net::Ipv4Addr;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// Bytes of an answer.
pub(crate) const SHORT_BYTES: usize = 128;
/// Bytes of the answer at [`LONG_PATH`].
pub(crate) const LONG_BYTES: usize = 1 << 20;
/// The path of the long answer.
pub(crate) const LONG_PATH: &str = "/long";

/// Serves on a free port, which it prints, until this process is dismissed.
pub(crate) async fn serve() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .await
        .expect("a free port");
    say(&listener.local_addr().expect("its address").port());
    let (short, long) = (
        Bytes::from(vec![b'x'; SHORT_BYTES]),
        Bytes::from(vec![b'x'; LONG_BYTES]),
    );
    tokio::select! {
        () = accept(listener, short, long) => {}
        () = is_dismissed() => {}
    }
}

async fn accept(listener: TcpListener, short: Bytes, long: Bytes) {
    loop {
        let (stream, _) = listener
            .accept()
            .await
            .expect("there are descriptors enough");
        stream.set_nodelay(true).expect("a socket option");
        tokio::spawn(speak(stream, short.clone(), long.clone()));
    }
}

async fn speak(stream: TcpStream, short: Bytes, long: Bytes) {
    let service = service_fn(move |request: Request<Incoming>| {
        let response = match request.headers().contains_key(UPGRADE) {
            true => open_socket(request),
            false if request.uri().path() == LONG_PATH => Response::new(Full::new(long.clone())),
            false => Response::new(Full::new(short.clone())),
        };
        async move { Ok::<_, Infallible>(response) }
    });
    // A client that closes its connection is no failure.
    let _ = http1::Builder::new()
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades()
        .await;
}

fn open_socket(mut request: Request<Incoming>) -> Response<Full<Bytes>> {
    let upgrade = hyper::upgrade::on(&mut request);
    tokio::spawn(async move {
        if let Ok(upgraded) = upgrade.await {
            echo(upgraded).await;
        }
    });
    let mut response = Response::new(Full::default());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    response
        .headers_mut()
        .insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    response
        .headers_mut()
        .insert(UPGRADE, HeaderValue::from_static("websocket"));
    response
}

/// Sends back each byte, until the other end closes.
async fn echo(upgraded: Upgraded) {
    let mut stream = TokioIo::new(upgraded);
    let mut byte = [0];
    while let Ok(1) = stream.read(&mut byte).await {
        if stream.write_all(&byte).await.is_err() {
            break;
        }
    }
}
