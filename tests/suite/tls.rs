//! The dashboard's own TLS: handshakes, HTTP/2, renewals, the redirect from plain HTTP, and sockets
//! that are handed over. Certificates are ordered in `tests/interop/test_acme.py`; here the ACME
//! directory cannot be reached.

use crate::people::{gated, password};
use hyper::body::{Body, Bytes, Frame};
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use portcullis_tests::{DRAIN_SECRET, Home, PROCESS_TOKEN, Process, SOON, eventually, guest};
use rustix::io::{FdFlags, fcntl_setfd};
use rustix::process::Signal;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::version::{TLS12, TLS13};
use rustls::{
    ALL_VERSIONS, ClientConfig, ClientConnection, ProtocolVersion, RootCertStore, StreamOwned,
    SupportedProtocolVersion,
};
use std::convert::Infallible;
use std::fs;
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::sync::oneshot;
use tokio_rustls::TlsConnector;

pub(crate) const TLS: &str = "  tls: {certificate: chain.pem, key: key.pem}\n";
pub(crate) const BOTH: [&str; 2] = ["h2", "http/1.1"];

/// A file of `tests/certificates`.
fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("certificates")
        .join(name)
}

pub(crate) fn put(home: &Home, certificate: &str, key: &str) {
    for (from, to) in [(certificate, "chain.pem"), (key, "key.pem")] {
        fs::copy(fixture(from), home.file(to)).expect("a file in the home");
    }
}

/// A home with a certificate for `localhost`, and more of `dashboard`.
fn home(more: &str) -> Home {
    let home = Home::with_config(&format!("dashboard:\n{TLS}{more}"));
    put(&home, "good.pem", "server.key");
    home
}

fn chain(name: &str) -> Vec<CertificateDer<'static>> {
    let chain = CertificateDer::pem_file_iter(fixture(name)).expect("the certificate is there");
    chain.collect::<Result<_, _>>().expect("it is PEM")
}

/// A client that trusts the authority, and presents a certificate of its own if one is named.
pub(crate) fn client(
    versions: &[&'static SupportedProtocolVersion],
    protocols: &[&str],
    own: Option<(&str, &str)>,
) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    chain("authority.pem")
        .into_iter()
        .for_each(|authority| roots.add(authority).expect("an authority"));
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(versions)
        .expect("the provider has the versions")
        .with_root_certificates(roots);
    let mut config = match own {
        None => builder.with_no_client_auth(),
        Some((certificate, key)) => {
            let key = PrivateKeyDer::from_pem_file(fixture(key)).expect("the key is there");
            builder
                .with_client_auth_cert(chain(certificate), key)
                .expect("the key is the certificate's")
        }
    };
    config.alpn_protocols = protocols
        .iter()
        .map(|name| name.as_bytes().to_vec())
        .collect();
    Arc::new(config)
}

fn usual_client() -> Arc<ClientConfig> {
    client(ALL_VERSIONS, &["http/1.1"], None)
}

pub(crate) type Stream = StreamOwned<ClientConnection, TcpStream>;

pub(crate) fn connect(port: u16, config: Arc<ClientConfig>) -> io::Result<Stream> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(SOON))?;
    let name = ServerName::try_from("localhost").expect("a name");
    let mut connection = ClientConnection::new(config, name).map_err(io::Error::other)?;
    while connection.is_handshaking() {
        connection.complete_io(&mut stream)?;
    }
    Ok(StreamOwned::new(connection, stream))
}

/// Sends a request and reads its answer: status, and the whole text. The connection stays open.
pub(crate) fn ask(
    stream: &mut (impl Read + Write),
    head: &str,
    body: &str,
) -> io::Result<(u16, String)> {
    let length = if body.is_empty() {
        String::new()
    } else {
        format!("Content-Length: {}\r\n", body.len())
    };
    stream.write_all(format!("{head}\r\n{length}\r\n{body}").as_bytes())?;
    stream.flush()?;
    read_answer(stream)
}

fn read_answer(stream: &mut impl Read) -> io::Result<(u16, String)> {
    let mut text = Vec::new();
    let mut byte = [0];
    while !text.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte)?;
        text.extend(byte);
    }
    let head = String::from_utf8_lossy(&text).to_ascii_lowercase();
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length: "));
    let length = length
        .and_then(|length| length.parse().ok())
        .unwrap_or_default();
    let mut body = vec![0; length];
    stream.read_exact(&mut body)?;
    text.extend(body);
    let status = head
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok())
        .unwrap_or_default();
    Ok((status, String::from_utf8_lossy(&text).into_owned()))
}

const HEALTH: &str = "GET /healthz HTTP/1.1\r\nHost: localhost";

fn is_alive(stream: &mut Stream) -> bool {
    ask(stream, HEALTH, "").is_ok_and(|(status, _)| status == 200)
}

fn is_presented(dashboard: &Process, name: &str) -> bool {
    let stream = connect(dashboard.port(), usual_client()).expect("a handshake");
    stream
        .conn
        .peer_certificates()
        .is_some_and(|presented| presented == chain(name))
}

fn logged(dashboard: &Process, text: &str) {
    eventually(text, SOON, || dashboard.log().contains(text).then_some(()));
}

#[test]
fn both_versions_and_both_protocols_are_spoken() {
    let home = home("");
    let dashboard = home.dashboard();
    for (version, expected) in [
        (&TLS12, ProtocolVersion::TLSv1_2),
        (&TLS13, ProtocolVersion::TLSv1_3),
    ] {
        let config = client(&[version], &["http/1.1"], None);
        let mut stream = connect(dashboard.port(), config).expect("a handshake");
        assert_eq!(stream.conn.protocol_version(), Some(expected));
        assert!(
            is_alive(&mut stream) && is_alive(&mut stream),
            "the connection is kept"
        );
    }
    for (offered, chosen) in [
        (&BOTH[..], Some("h2")),
        (&["http/1.1"], Some("http/1.1")),
        (&[], None),
    ] {
        let stream =
            connect(dashboard.port(), client(ALL_VERSIONS, offered, None)).expect("a handshake");
        assert_eq!(
            stream.conn.alpn_protocol(),
            chosen.map(str::as_bytes),
            "{offered:?}"
        );
    }
    let only_other = client(ALL_VERSIONS, &["spdy/3"], None);
    assert!(
        connect(dashboard.port(), only_other).is_err(),
        "there is no protocol in common"
    );

    let mut plain =
        TcpStream::connect(("127.0.0.1", dashboard.port())).expect("the dashboard listens");
    plain.set_read_timeout(Some(SOON)).expect("a timeout");
    assert!(
        ask(&mut plain, HEALTH, "").is_err(),
        "plain HTTP is not answered"
    );
}

#[test]
fn oldest_version_can_be_set() {
    let home = Home::with_config(
        "dashboard: {tls: {certificate: chain.pem, key: key.pem, min_version: '1.3'}}",
    );
    put(&home, "good.pem", "server.key");
    let dashboard = home.dashboard();
    assert!(connect(dashboard.port(), client(&[&TLS12], &[], None)).is_err());
    assert!(connect(dashboard.port(), client(&[&TLS13], &[], None)).is_ok());
}

#[test]
fn http2_is_not_spoken_in_the_clear() {
    let dashboard = Home::new().dashboard();
    let mut stream =
        TcpStream::connect(("127.0.0.1", dashboard.port())).expect("the dashboard listens");
    stream.set_read_timeout(Some(SOON)).expect("a timeout");
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
    stream.write_all(preface).expect("the dashboard reads");
    let mut reply = Vec::new();
    let _ = stream.read_to_end(&mut reply);
    assert!(
        reply.is_empty() || reply.starts_with(b"HTTP/1.1 "),
        "{reply:?}"
    );
}

/// A body that arrives when it is sent, or is empty when its sender is gone.
struct Late(Option<oneshot::Receiver<Bytes>>);

impl Body for Late {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let Some(receiver) = &mut self.0 else {
            return Poll::Ready(None);
        };
        let Poll::Ready(received) = Pin::new(receiver).poll(cx) else {
            return Poll::Pending;
        };
        self.0 = None;
        Poll::Ready(received.ok().map(|bytes| Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_none()
    }
}

/// Opens a connection with HTTP/2.
async fn http2_client(port: u16) -> SendRequest<Late> {
    let stream = tokio::net::TcpStream::connect(("127.0.0.1", port))
        .await
        .expect("the dashboard listens");
    let name = ServerName::try_from("localhost").expect("a name");
    let connector = TlsConnector::from(client(ALL_VERSIONS, &BOTH, None));
    let stream = connector.connect(name, stream).await.expect("a handshake");
    let handshake = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await;
    let (sender, connection) = handshake.expect("HTTP/2 is spoken");
    tokio::spawn(connection);
    sender
}

#[tokio::test(flavor = "multi_thread")]
async fn http2_has_many_requests_at_once_and_one_host() {
    let home = home("");
    let dashboard = home.dashboard();
    let sender = http2_client(dashboard.port()).await;
    let get = |uri: &'static str, host: Option<&'static str>| {
        let mut sender = sender.clone();
        async move {
            let request = hyper::Request::builder().uri(uri);
            let request = host
                .into_iter()
                .fold(request, |request, host| request.header("host", host));
            let request = request.body(Late(None)).expect("a request");
            sender
                .send_request(request)
                .await
                .expect("an answer")
                .status()
                .as_u16()
        }
    };
    let all: Vec<_> = (0..100)
        .map(|_| tokio::spawn(get("https://localhost/api/status", None)))
        .collect();
    for one in all {
        assert_eq!(one.await.expect("no panic"), 200);
    }
    assert_eq!(
        get("https://localhost/api/status", Some("localhost")).await,
        200
    );
    assert_eq!(
        get("https://localhost/api/status", Some("127.0.0.1")).await,
        400,
        "two hosts"
    );
    assert_eq!(get("https://evil.example/api/status", None).await, 400);
    assert_eq!(
        get("https://evil.example/api/status", Some("evil.example")).await,
        400
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn request_in_flight_ends_before_the_dashboard_does() {
    let home = home("");
    let mut dashboard = home.dashboard();
    let mut sender = http2_client(dashboard.port()).await;
    let (finish, body) = oneshot::channel();
    let request = hyper::Request::builder()
        .method("POST")
        .uri("https://localhost/api/gateway/drain")
        .header("authorization", format!("Bearer {DRAIN_SECRET}"))
        .header("content-type", "application/json")
        .body(Late(Some(body)))
        .expect("a request");
    let answer = tokio::spawn(sender.send_request(request));
    // Its head was sent before that of another request, which is answered.
    let other = hyper::Request::builder()
        .uri("https://localhost/healthz")
        .body(Late(None))
        .expect("a request");
    assert_eq!(
        sender
            .send_request(other)
            .await
            .expect("an answer")
            .status(),
        200
    );

    // The same over HTTP/1.1.
    let mut upload = connect(dashboard.port(), usual_client()).expect("a handshake");
    let cancel = r#"{"action":"cancel"}"#;
    let head = format!(
        "POST /api/gateway/drain HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {DRAIN_SECRET}\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\nExpect: 100-continue\r\n\r\n",
        cancel.len()
    );
    upload
        .write_all(head.as_bytes())
        .expect("the dashboard reads");
    let (status, _) = read_answer(&mut upload).expect("the body is asked for");
    assert_eq!(status, 100);

    dashboard.signal(Signal::TERM);
    eventually("new connections are refused", SOON, || {
        TcpStream::connect(("127.0.0.1", dashboard.port()))
            .is_err()
            .then_some(())
    });
    finish
        .send(Bytes::from_static(cancel.as_bytes()))
        .expect("the request is in flight");
    assert_eq!(
        answer.await.expect("no panic").expect("an answer").status(),
        200
    );
    upload
        .write_all(cancel.as_bytes())
        .expect("the dashboard reads");
    assert_eq!(read_answer(&mut upload).expect("an answer").0, 200);
    assert_eq!(dashboard.wait().code(), Some(0));
}

#[test]
fn renewed_certificate_is_presented_and_open_connections_stay() {
    let home = home("");
    let dashboard = home.dashboard_with(
        &["--port", "0"],
        &[("HERMES_DASHBOARD_SESSION_TOKEN", PROCESS_TOKEN)],
    );
    let mut open = connect(dashboard.port(), usual_client()).expect("a handshake");
    assert!(is_alive(&mut open) && is_presented(&dashboard, "good.pem"));
    put(&home, "renewed.pem", "server.key");
    eventually("the renewed one is presented", SOON, || {
        is_presented(&dashboard, "renewed.pem").then_some(())
    });
    assert!(is_alive(&mut open), "the connection is the same");

    let metrics = format!(
        "GET /metrics HTTP/1.1\r\nHost: localhost\r\nX-Hermes-Session-Token: {PROCESS_TOKEN}"
    );
    let (_, metrics) = ask(&mut open, &metrics, "").expect("an answer");
    // 2126-01-01.
    assert!(
        metrics.contains("portcullis_certificate_expiry_timestamp_seconds 4922899200"),
        "{metrics}"
    );
}

#[test]
fn replacement_with_a_problem_is_kept_out() {
    let home = home("  public_url: https://localhost\n");
    let dashboard = home.dashboard();
    let half = fs::read_to_string(fixture("renewed.pem")).expect("the certificate is there");
    let half = half[..half.len() / 2].to_owned();
    let cases: [(&str, &dyn Fn(), &str); 6] = [
        (
            "expired",
            &|| put(&home, "expired.pem", "server.key"),
            "expired at 2011-01-01T00:00:00Z",
        ),
        (
            "too early",
            &|| put(&home, "not-yet.pem", "server.key"),
            "is not valid before 2120-01-01T00:00:00Z",
        ),
        (
            "other names",
            &|| put(&home, "wrong-name.pem", "server.key"),
            "is not for localhost",
        ),
        (
            "another key",
            &|| put(&home, "renewed.pem", "other.key"),
            "does not belong to the first certificate",
        ),
        (
            "half-written",
            &|| home.write("chain.pem", &half),
            "is not PEM: a section has no END line",
        ),
        (
            "gone",
            &|| fs::remove_file(home.file("chain.pem")).expect("it is there"),
            "cannot be read: ",
        ),
    ];
    for (what, replace, complaint) in cases {
        replace();
        dashboard.signal(Signal::HUP);
        eventually(what, SOON, || {
            let log = dashboard.log();
            log.lines()
                .any(|line| line.contains(complaint) && line.contains("the present one stays"))
                .then_some(())
        });
        assert!(is_presented(&dashboard, "good.pem"), "{what}");
    }
    put(&home, "renewed.pem", "server.key");
    dashboard.signal(Signal::HUP);
    eventually("the good one is presented", SOON, || {
        is_presented(&dashboard, "renewed.pem").then_some(())
    });
}

#[test]
fn certificate_is_renewed_although_the_configuration_is_refused() {
    let home = home("");
    let dashboard = home.dashboard();
    home.write("portcullis.yaml", "dashboard: [");
    logged(&dashboard, "is not closed");
    put(&home, "renewed.pem", "server.key");
    eventually("the renewed one is presented", SOON, || {
        is_presented(&dashboard, "renewed.pem").then_some(())
    });
}

#[test]
fn start_refuses_files_that_cannot_serve_and_warns_of_those_that_browsers_refuse() {
    for (certificate, key, complaint) in [
        (
            "good.pem",
            "other.key",
            "does not belong to the first certificate in ",
        ),
        ("server.key", "server.key", "chain.pem holds no certificate"),
        ("good.pem", "good.pem", "key.pem holds no private key"),
    ] {
        let home = home("");
        put(&home, certificate, key);
        for arguments in [&["serve", "--port", "0"][..], &["config", "check"]] {
            let refused = Process::run(&home, arguments, &[]);
            assert_eq!(refused.code, Some(64), "{}", refused.stderr);
            assert!(refused.stderr.contains(complaint), "{}", refused.stderr);
        }
    }
    let home = home("");
    put(&home, "expired.pem", "server.key");
    let checked = Process::run(&home, &["config", "check"], &[]);
    assert_eq!(checked.code, Some(64), "{}", checked.stderr);
    assert!(
        checked
            .stderr
            .contains("chain.pem expired at 2011-01-01T00:00:00Z"),
        "{}",
        checked.stderr
    );
    let dashboard = home.dashboard();
    logged(&dashboard, "browsers refuse the certificate");
    put(&home, "good.pem", "server.key");
    logged(&dashboard, "certificate replaced");
    let checked = Process::run(&home, &["config", "check"], &[]);
    assert!(
        checked
            .stdout
            .contains("chain.pem is valid until 2126-01-01T00:00:00Z"),
        "{}",
        checked.stdout
    );
}

#[test]
fn people_are_on_https() {
    let sign_in = |home: &Home, host: &str| {
        put(home, "good.pem", "server.key");
        let dashboard = home.dashboard();
        let mut stream = connect(dashboard.port(), usual_client()).expect("a handshake");
        let head = format!(
            "POST /auth/password-login HTTP/1.1\r\nHost: {host}\r\nOrigin: https://{host}\r\n\
             Content-Type: application/json"
        );
        let (status, answer) =
            ask(&mut stream, &head, &password("ada", "good")).expect("an answer");
        assert_eq!(status, 200, "{answer}");
        answer.to_ascii_lowercase()
    };
    let answer = sign_in(&gated("https://agent.test", TLS), "agent.test");
    assert!(
        answer.contains("strict-transport-security: max-age="),
        "{answer}"
    );
    assert!(
        answer.contains("set-cookie: __host-hermes_session_at="),
        "{answer}"
    );

    // Without public_url the connection says what the scheme is.
    let people = guest("people").display().to_string();
    let home = Home::with_config(&format!(
        "dashboard:\n{TLS}  allowed_hosts: [agent.test]\n  providers: [{{name: people, component: {people}}}]\n"
    ));
    let answer = sign_in(&home, "agent.test");
    let cookie = answer
        .lines()
        .find(|line| line.starts_with("set-cookie: ") && line.contains("session_at="));
    assert!(
        cookie.is_some_and(|cookie| cookie.contains("; secure")),
        "{answer}"
    );
}

#[test]
fn clients_may_present_a_certificate_of_the_authority() {
    let authority = fixture("client-authority.pem");
    let home = Home::with_config(&format!(
        "dashboard: {{tls: {{certificate: chain.pem, key: key.pem, client_ca: {}}}}}",
        authority.display()
    ));
    put(&home, "good.pem", "server.key");
    let dashboard = home.dashboard_with(&["--port", "0"], &[("RUST_LOG", "debug")]);
    let is_answered = |own| {
        let stream = connect(dashboard.port(), client(ALL_VERSIONS, &["http/1.1"], own));
        stream.is_ok_and(|mut stream| is_alive(&mut stream))
    };
    assert!(is_answered(None));
    assert!(
        !is_answered(Some(("good.pem", "server.key"))),
        "another authority's"
    );
    assert!(is_answered(Some(("client.pem", "client.key"))));
    logged(&dashboard, "CN=client");
}

#[test]
fn silent_clients_are_cut_off() {
    let home = home("");
    let dashboard = home.dashboard();
    let open = |start: &[u8]| {
        let mut stream =
            TcpStream::connect(("127.0.0.1", dashboard.port())).expect("the dashboard listens");
        stream.set_read_timeout(Some(SOON * 3)).expect("a timeout");
        stream.write_all(start).expect("the dashboard reads");
        stream
    };
    // Nothing, the start of a ClientHello, and a handshake without a request over either protocol.
    let silent = [open(b""), open(&[0x16, 3, 1, 2, 0])];
    let shaken = [&BOTH[..], &["http/1.1"]].map(|protocols| {
        let stream =
            connect(dashboard.port(), client(ALL_VERSIONS, protocols, None)).expect("a handshake");
        stream
            .sock
            .set_read_timeout(Some(SOON * 3))
            .expect("a timeout");
        stream.sock
    });
    for mut stream in silent.into_iter().chain(shaken) {
        let end = stream.read_to_end(&mut Vec::new());
        let is_timeout = |error: &io::Error| error.kind() == io::ErrorKind::WouldBlock;
        assert!(
            !end.is_err_and(|error| is_timeout(&error)),
            "the connection ends"
        );
    }
}

/// Starts a dashboard to which these sockets are handed over by name, as systemd does it.
fn start_with_sockets(home: &Home, sockets: &[(&str, &TcpListener)]) -> Process {
    let mut sockets = sockets.to_vec();
    // In this order no descriptor is overwritten before it is copied.
    sockets.sort_by_key(|(_, socket)| socket.as_raw_fd());
    let mut redirections = String::new();
    for ((_, socket), descriptor) in sockets.iter().zip(3..) {
        fcntl_setfd(socket, FdFlags::empty()).expect("the socket is open");
        redirections += &format!(" {descriptor}<&{}", socket.as_raw_fd());
    }
    let names: Vec<_> = sockets.iter().map(|(name, _)| *name).collect();
    let script = format!(
        "LISTEN_PID=$$ LISTEN_FDS={} LISTEN_FDNAMES={} exec \"$0\" \"$@\"{redirections}",
        sockets.len(),
        names.join(":")
    );
    Process::start_by(&["bash", "-c", &script], home, &["serve"], &[])
}

#[test]
fn sockets_that_are_handed_over_are_used_and_plain_http_is_led_to_https() {
    let home = home("");
    let bind = || TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = |socket: &TcpListener| socket.local_addr().expect("an address").port();
    let (https, http) = (bind(), bind());
    let mut dashboard =
        start_with_sockets(&home, &[("http", &http), ("https", &https)]).ready("dashboard");
    assert_eq!(dashboard.port(), port(&https));
    assert!(is_presented(&dashboard, "good.pem"));

    let ask_plainly = |path: &str, host: &str| {
        let mut stream =
            TcpStream::connect(("127.0.0.1", port(&http))).expect("the dashboard listens");
        stream.set_read_timeout(Some(SOON)).expect("a timeout");
        ask(
            &mut stream,
            &format!("GET {path} HTTP/1.1\r\nHost: {host}"),
            "",
        )
        .expect("an answer")
    };
    let (status, answer) = ask_plainly("/a?b=c", "localhost:80");
    assert_eq!(status, 308, "{answer}");
    let location = format!("location: https://localhost:{}/a?b=c\r\n", port(&https));
    assert!(answer.to_ascii_lowercase().contains(&location), "{answer}");
    assert!(
        !answer
            .to_ascii_lowercase()
            .contains("strict-transport-security"),
        "{answer}"
    );
    assert_eq!(ask_plainly("/", "evil.example").0, 400);
    assert_eq!(
        ask_plainly("/.well-known/acme-challenge/x", "localhost").0,
        404
    );
    assert_eq!(dashboard.terminate().code(), Some(0));

    // One socket is the dashboard's, and two without names cannot be distinguished.
    let alone = bind();
    let dashboard = start_with_sockets(&home, &[("portcullis.socket", &alone)]).ready("dashboard");
    assert_eq!(dashboard.port(), port(&alone));
    drop(dashboard);
    let refused = start_with_sockets(&home, &[("", &bind()), ("", &bind())]).finish();
    assert_eq!(refused.code, Some(64), "{}", refused.stderr);
    assert!(
        refused
            .stderr
            .contains("FileDescriptorName= `https` and `http`"),
        "{}",
        refused.stderr
    );
}

#[test]
fn socket_that_others_reach_is_not_taken_for_one_of_this_machine() {
    let home = home("");
    let open = TcpListener::bind("0.0.0.0:0").expect("a port");
    let refused = start_with_sockets(&home, &[("https", &open)]).finish();
    assert_eq!(refused.code, Some(64), "{}", refused.stderr);
    assert!(
        refused.stderr.contains("set dashboard.host to 0.0.0.0"),
        "{}",
        refused.stderr
    );
}

/// Nothing listens there.
const UNREACHABLE_DIRECTORY: &str = "http://127.0.0.1:9/";

fn home_that_orders(domain: &str) -> Home {
    Home::with_config(&format!(
        "dashboard: {{tls: {{acme: {{domains: [{domain}], directory: '{UNREACHABLE_DIRECTORY}'}}}}}}"
    ))
}

#[test]
fn without_a_first_certificate_handshakes_fail_and_the_dashboard_keeps_trying() {
    let home = home_that_orders("agent.example.com");
    let mut dashboard = home.dashboard();
    logged(&dashboard, "there is no certificate yet");
    logged(
        &dashboard,
        "no certificate was obtained, so no TLS handshake succeeds",
    );
    let line = dashboard
        .log()
        .lines()
        .find(|line| line.contains("no certificate was obtained"))
        .map(str::to_owned);
    let line = line.expect("the line that was waited for");
    for part in [
        UNREACHABLE_DIRECTORY,
        "Connection refused",
        "retry_in_seconds",
    ] {
        assert!(line.contains(part), "{line}");
    }
    assert!(connect(dashboard.port(), usual_client()).is_err());
    let examined = Process::run(&home, &["doctor"], &[]).stdout;
    assert!(
        examined.contains(&format!(
            "there is no certificate of {UNREACHABLE_DIRECTORY} yet"
        )),
        "{examined}"
    );
    assert_eq!(dashboard.terminate().code(), Some(0));
}

#[test]
fn ordered_certificate_that_the_home_keeps_is_presented_without_its_directory() {
    for (domain, said) in [
        (
            "localhost",
            "the certificate that the home keeps is presented",
        ),
        (
            "other.example.com",
            "the certificate is not renewed: the present one stays",
        ),
    ] {
        let home = home_that_orders(domain);
        let read = |name: &str| fs::read_to_string(fixture(name)).expect("a fixture");
        let kept = format!(
            "Directory: {UNREACHABLE_DIRECTORY}\n{}{}",
            read("server.key"),
            read("good.pem")
        );
        fs::create_dir(home.file("acme")).expect("a folder in the home");
        fs::write(home.file("acme/certificate.pem"), kept).expect("a file in the home");

        let dashboard = home.dashboard();
        logged(&dashboard, said);
        assert!(is_presented(&dashboard, "good.pem"), "{domain}");
        let has_tried = dashboard.log().contains("Connection refused");
        assert_eq!(has_tried, domain != "localhost", "{}", dashboard.log());
    }
}
