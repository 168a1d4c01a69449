//! Web sockets over HTTP/2 (RFC 8441), with the real binary.

use super::people::{gated, password};
use super::tls::{BOTH, TLS, client, put};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http2::{self, SendRequest};
use hyper::ext::Protocol;
use hyper::upgrade::Upgraded;
use hyper::{Method, Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use portcullis_tests::{Home, Process, SOON};
use rustix::process::Signal;
use rustls::ALL_VERSIONS;
use rustls::pki_types::ServerName;
use serde_json::Value;
use sha1::{Digest, Sha1};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_rustls::TlsConnector;

const SITE: &str = "https://agent.test";

/// An application that opens web sockets and sends back what arrives on them. `/plain` answers
/// without changing the protocol, and `/unproven` with the proof of another key.
struct Upstream {
    port: u16,
    heads: Arc<Mutex<Vec<String>>>,
}

impl Upstream {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().expect("its address").port();
        let heads = Arc::new(Mutex::new(Vec::new()));
        let seen = heads.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let seen = seen.clone();
                std::thread::spawn(move || serve(&mut BufReader::new(stream), &seen));
            }
        });
        Self { port, heads }
    }

    /// The head of the last request, with names of headers in lower case.
    fn last(&self) -> String {
        let heads = self.heads.lock().unwrap_or_else(PoisonError::into_inner);
        heads.last().expect("a request arrived").clone()
    }

    fn count(&self) -> usize {
        self.heads
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .len()
    }
}

fn serve(stream: &mut BufReader<TcpStream>, seen: &Mutex<Vec<String>>) {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if !matches!(stream.read_line(&mut head), Ok(1..)) {
            return;
        }
    }
    seen.lock()
        .unwrap_or_else(PoisonError::into_inner)
        .push(head.clone());
    let key = head
        .lines()
        .find_map(|line| line.strip_prefix("sec-websocket-key: "))
        .unwrap_or_default();
    let answer = match head.split(' ').nth(1) {
        Some("/plain") => {
            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok".to_owned()
        }
        Some("/unproven") => opened(&proof_of("another key")),
        _ => opened(&proof_of(key)),
    };
    // The dashboard may have given up.
    let _ = stream.get_mut().write_all(answer.as_bytes());
    if !answer.starts_with("HTTP/1.1 101 ") {
        return;
    }
    let mut buffer = [0; 1024];
    while let Ok(read @ 1..) = stream.read(&mut buffer) {
        let _ = stream.get_mut().write_all(&buffer[..read]);
    }
}

fn opened(proof: &str) -> String {
    format!(
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: {proof}\r\n\r\n"
    )
}

fn proof_of(key: &str) -> String {
    let text = format!("{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    STANDARD.encode(Sha1::digest(text))
}

fn home(upstream: &Upstream, more: &str) -> Home {
    let app = format!(
        "{{name: app, path: /, upstream: 'http://127.0.0.1:{}'{more}}}",
        upstream.port
    );
    let home = gated(SITE, &format!("{TLS}  apps: [{app}]\n"));
    put(&home, "good.pem", "server.key");
    home
}

/// A browser with one connection of HTTP/2.
struct Client {
    sender: SendRequest<Full<Bytes>>,
    cookies: String,
}

impl Client {
    async fn connect(dashboard: &Process) -> Self {
        let stream = tokio::net::TcpStream::connect(("127.0.0.1", dashboard.port())).await;
        let name = ServerName::try_from("localhost").expect("a name");
        let connector = TlsConnector::from(client(ALL_VERSIONS, &BOTH, None));
        let stream = connector
            .connect(name, stream.expect("it listens"))
            .await
            .expect("a handshake");
        let handshake = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await;
        let (sender, connection) = handshake.expect("HTTP/2 is spoken");
        tokio::spawn(connection);
        let mut client = Self {
            sender,
            cookies: String::new(),
        };
        // After its answer the client knows the settings of the server.
        assert_eq!(client.ask(Method::GET, "/healthz", "").await.0, 200);
        client
    }

    /// One of a person who is signed in.
    async fn signed_in(dashboard: &Process) -> Self {
        let mut client = Self::connect(dashboard).await;
        let body = password("ada", "good");
        let answer = client
            .send(client.request(Method::POST, "/auth/password-login", body))
            .await;
        assert_eq!(answer.status(), 200);
        let cookies = answer.headers().get_all("set-cookie").iter();
        let pairs = cookies.filter_map(|cookie| cookie.to_str().ok()?.split(';').next());
        client.cookies = pairs.collect::<Vec<_>>().join("; ");
        client
    }

    fn request(&self, method: Method, target: &str, body: String) -> Request<Full<Bytes>> {
        let request = Request::builder()
            .method(method)
            .uri(format!("{SITE}{target}"));
        let request = match self.cookies.as_str() {
            "" => request,
            cookies => request.header("cookie", cookies),
        };
        let request = match body.as_str() {
            "" => request,
            _ => request.header("content-type", "application/json"),
        };
        request
            .body(Full::new(Bytes::from(body)))
            .expect("a request")
    }

    async fn send(&mut self, request: Request<Full<Bytes>>) -> Response<Incoming> {
        let answer = tokio::time::timeout(SOON, self.sender.send_request(request)).await;
        answer.expect("an answer in time").expect("an answer")
    }

    async fn ask(&mut self, method: Method, target: &str, body: &str) -> (u16, String) {
        let answer = self
            .send(self.request(method, target, body.to_owned()))
            .await;
        let status = answer.status().as_u16();
        let body = answer
            .into_body()
            .collect()
            .await
            .expect("a body")
            .to_bytes();
        (status, String::from_utf8_lossy(&body).into_owned())
    }

    async fn connect_to(
        &mut self,
        protocol: &'static str,
        target: &str,
        origin: &str,
    ) -> Response<Incoming> {
        let mut request = self.request(Method::CONNECT, target, String::new());
        for (name, value) in [("origin", origin), ("sec-websocket-version", "13")] {
            request
                .headers_mut()
                .insert(name, value.parse().expect("a value"));
        }
        request
            .extensions_mut()
            .insert(Protocol::from_static(protocol));
        self.send(request).await
    }

    async fn open(&mut self, target: &str) -> Socket {
        let answer = self.connect_to("websocket", target, SITE).await;
        assert_eq!(answer.status(), 200, "{:?}", answer.headers());
        for name in [
            "connection",
            "upgrade",
            "sec-websocket-accept",
            "content-length",
        ] {
            assert!(!answer.headers().contains_key(name), "{name}");
        }
        Socket(TokioIo::new(
            hyper::upgrade::on(answer)
                .await
                .expect("the socket is open"),
        ))
    }
}

struct Socket(TokioIo<Upgraded>);

impl Socket {
    async fn echoes(&mut self, text: &str) {
        self.0.write_all(text.as_bytes()).await.expect("it is open");
        self.until(text).await;
    }

    /// Reads until this has arrived.
    async fn until(&mut self, text: &str) {
        let mut all = Vec::new();
        let mut buffer = [0; 16 * 1024];
        while !String::from_utf8_lossy(&all).contains(text) {
            let read = tokio::time::timeout(SOON, self.0.read(&mut buffer)).await;
            let read = read.expect("it sends in time").expect("it is open");
            assert!(read > 0, "it ended after {}", String::from_utf8_lossy(&all));
            all.extend_from_slice(&buffer[..read]);
        }
    }

    /// Waits for the end. A reset is an end as well.
    async fn ends(&mut self) {
        let rest = tokio::time::timeout(SOON, self.0.read_to_end(&mut Vec::new())).await;
        let _ = rest.expect("it ends in time");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn application_gets_an_upgrade_and_the_rules_are_those_of_http1() {
    let upstream = Upstream::start();
    let home = home(&upstream, ", headers: {X-Api-Key: of-the-operator}");
    let dashboard = home.dashboard();
    let mut client = Client::signed_in(&dashboard).await;
    let mut first = client.open("/live?x=1").await;
    let head = upstream.last();
    let origin = format!("origin: http://127.0.0.1:{}\r\n", upstream.port);
    for part in [
        "GET /live?x=1 HTTP/1.1\r\n",
        "\r\nconnection: Upgrade\r\n",
        "\r\nupgrade: websocket\r\n",
        "\r\nsec-websocket-version: 13\r\n",
        "\r\nx-auth-user: ada\r\n",
        "\r\nx-api-key: of-the-operator\r\n",
        "\r\nx-forwarded-proto: https\r\n",
        origin.as_str(),
    ] {
        assert!(head.contains(part), "{part}: {head}");
    }
    assert!(!head.contains("session_at"), "{head}");

    let mut second = client.open("/live").await;
    first.echoes("hello").await;
    second.echoes("again").await;
    let long = "x".repeat(200_000);
    first.echoes(&long).await;
    assert_eq!(
        client.ask(Method::GET, "/plain", "").await,
        (200, "ok".to_owned()),
        "requests go on beside"
    );

    let before = upstream.count();
    assert_eq!(
        client
            .connect_to("websocket", "/live", "https://evil.test")
            .await
            .status(),
        403
    );
    assert_eq!(
        client
            .connect_to("websocket", "/a%2fb", SITE)
            .await
            .status(),
        400
    );
    assert_eq!(
        client
            .connect_to("connect-udp", "/live", SITE)
            .await
            .status(),
        501
    );
    let mut stranger = Client::connect(&dashboard).await;
    assert_eq!(
        stranger
            .connect_to("websocket", "/live", SITE)
            .await
            .status(),
        401
    );
    assert_eq!(upstream.count(), before, "the application was not asked");
    let answer = client.connect_to("websocket", "/healthz", SITE).await;
    assert_eq!(answer.status(), 502);
    for target in ["/plain", "/unproven"] {
        let answer = client.connect_to("websocket", target, SITE).await;
        assert_eq!(answer.status(), 502, "{target}");
        let kind = answer.headers()["content-type"].clone();
        let body = answer.into_body().collect().await.expect("a body");
        let body = String::from_utf8_lossy(&body.to_bytes()).into_owned();
        assert_eq!(kind, "application/json", "{target}: {body}");
        let sentence = "The application app did not open the web socket";
        assert!(body.contains(sentence), "{target}: {body}");
    }

    let (status, answer) = client.ask(Method::POST, "/auth/logout", "").await;
    assert_eq!(status, 302, "{answer}");
    first.ends().await;
    second.ends().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn silent_socket_ends_and_its_connection_stays() {
    let upstream = Upstream::start();
    let home = home(&upstream, ", limits: {idle_seconds: 1}");
    let dashboard = home.dashboard();
    let mut client = Client::signed_in(&dashboard).await;
    let mut socket = client.open("/live").await;
    socket.echoes("hello").await;
    socket.ends().await;
    client.open("/live").await.echoes("again").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn live_page_has_its_socket_and_no_socket_holds_up_the_end() {
    let upstream = Upstream::start();
    let home = home(&upstream, "");
    let mut dashboard = home.dashboard();
    let mut client = Client::signed_in(&dashboard).await;
    let (status, ticket) = client.ask(Method::POST, "/api/auth/ws-ticket", "").await;
    assert_eq!(status, 200, "{ticket}");
    let ticket: Value = serde_json::from_str(&ticket).expect("JSON");
    let target = format!(
        "/_portcullis/api/ws?ticket={}",
        ticket["ticket"].as_str().expect("a ticket")
    );
    let mut page = client.open(&target).await;
    page.until(r#""type":"status""#).await;
    assert_eq!(
        client.connect_to("websocket", &target, SITE).await.status(),
        401,
        "a ticket is spent once"
    );
    let mut socket = client.open("/live").await;
    socket.echoes("hello").await;

    dashboard.signal(Signal::TERM);
    page.until("the dashboard ends").await;
    socket.ends().await;
    assert_eq!(dashboard.wait().code(), Some(0));
    assert!(
        !dashboard.log().contains("outlived the grace"),
        "{}",
        dashboard.log()
    );
}
