//! Applications behind the gate, with the real binary and upstreams that this file makes.

use super::people::{gated, signed_in};
use portcullis_tests::{Browser, Home, Process, Reply, SOON, eventually, get, request};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixListener;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};

const PLAIN: &str = "http://agent.test";

/// One request as an application received it.
#[derive(Clone, Debug)]
struct Received {
    /// The method and the target.
    line: String,
    /// In lower case.
    headers: Vec<(String, String)>,
}

impl Received {
    fn all(&self, name: &str) -> Vec<&str> {
        self.headers.iter().filter(|(known, _)| known == name).map(|(_, value)| value.as_str()).collect()
    }

    fn has(&self, name: &str) -> bool {
        !self.all(name).is_empty()
    }
}

/// An application: answers the first request of each connection.
struct Upstream {
    port: u16,
    received: Arc<Mutex<Vec<Received>>>,
}

impl Upstream {
    fn start(answer: impl Fn(&Received, &mut BufReader<TcpStream>) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().expect("its address").port();
        let received = Arc::new(Mutex::new(Vec::new()));
        let (seen, answer) = (received.clone(), Arc::new(answer));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (seen, answer) = (seen.clone(), answer.clone());
                std::thread::spawn(move || {
                    let mut stream = BufReader::new(stream);
                    let Some(request) = read_head(&mut stream) else { return };
                    seen.lock().unwrap_or_else(PoisonError::into_inner).push(request.clone());
                    answer(&request, &mut stream);
                });
            }
        });
        Self { port, received }
    }

    /// One that answers each request with the same.
    fn answering(answer: &'static str) -> Self {
        Self::start(move |_, stream| write(stream, answer))
    }

    fn received(&self) -> Vec<Received> {
        self.received.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn last(&self) -> Received {
        self.received().pop().expect("a request arrived")
    }
}

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok";

fn write(stream: &mut BufReader<TcpStream>, text: &str) {
    // The dashboard may have given up.
    let _ = stream.get_mut().write_all(text.as_bytes());
}

fn read_head(stream: &mut impl BufRead) -> Option<Received> {
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).ok()? == 0 {
            return None;
        }
        match line.trim_end() {
            "" => break,
            line => lines.push(line.to_owned()),
        }
    }
    let mut lines = lines.into_iter();
    let line = lines.next()?.trim_end_matches(" HTTP/1.1").to_owned();
    let header = |line: String| {
        let (name, value) = line.split_once(':').unwrap_or((&line, ""));
        (name.to_ascii_lowercase(), value.trim().to_owned())
    };
    Some(Received { line, headers: lines.map(header).collect() })
}

/// A gated dashboard with one application at `/`.
fn home_of(upstream: &str, more: &str) -> Home {
    gated(PLAIN, &format!("  apps:\n    - {{name: app, path: /, upstream: '{upstream}'{more}}}\n"))
}

fn home(upstream: &Upstream, more: &str) -> Home {
    home_of(&format!("http://127.0.0.1:{}", upstream.port), more)
}

fn cookie_line(browser: &Browser) -> String {
    let pairs: Vec<_> = browser.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
    pairs.join("; ")
}

/// A connection on which a request was sent.
fn send(dashboard: &Process, text: &str) -> TcpStream {
    let mut stream = TcpStream::connect(("127.0.0.1", dashboard.port())).expect("it listens");
    stream.set_read_timeout(Some(SOON)).expect("a socket");
    stream.write_all(text.as_bytes()).expect("it reads");
    stream
}

/// What arrives until it contains `end`, or the connection does.
fn read_until(stream: &mut TcpStream, end: &str) -> String {
    let mut text = Vec::new();
    let mut buffer = [0; 4096];
    while !String::from_utf8_lossy(&text).contains(end) {
        match stream.read(&mut buffer) {
            Ok(0) | Err(_) => break,
            Ok(read) => text.extend_from_slice(&buffer[..read]),
        }
    }
    String::from_utf8_lossy(&text).into_owned()
}

fn has_ended(stream: &mut TcpStream) -> bool {
    let mut rest = Vec::new();
    stream.set_read_timeout(Some(SOON)).expect("a socket");
    // A reset is an end as well; a timeout is none.
    match stream.read_to_end(&mut rest) {
        Ok(_) => true,
        Err(error) => error.kind() == std::io::ErrorKind::ConnectionReset,
    }
}

#[test]
fn application_learns_who_calls_and_nothing_from_outside() {
    let upstream = Upstream::answering(OK);
    let home = home(&upstream, ", headers: {X-Api-Key: 'of-the-operator'}");
    let dashboard = home.dashboard();
    let mut browser = signed_in(&dashboard, "grouped");
    let outside = [
        ("x-auth-user", "eve"),
        ("x-auth-user", "eve-again"),
        ("X-AUTH-EMAIL", "eve@evil.test"),
        ("x_auth_user", "eve"),
        ("x_auth-groups", "admins"),
        ("x.auth.scopes", "all"),
        ("x-forwarded-for", "6.6.6.6"),
        ("x-forwarded-host", "evil.test"),
        ("x_forwarded_proto", "https"),
        ("forwarded", "for=6.6.6.6"),
        ("x-api-key", "of-eve"),
        ("x_api_key", "of-eve"),
        ("connection", "x-private"),
        ("x-private", "1"),
        ("te", "trailers"),
        ("cookie", "theme=dark; hermes_session_9120_at=x"),
        ("referer", "http://agent.test/page?q"),
        ("x-of-the-client", "stays"),
    ];
    let reply = browser.request("GET", &dashboard.url("/page?q=1"), &outside, "");
    assert_eq!((reply.status, reply.body.as_str()), (200, "ok"), "{reply:?}");

    let received = upstream.last();
    assert_eq!(received.line, "GET /page?q=1");
    let host = format!("127.0.0.1:{}", upstream.port);
    let referer = format!("http://{host}/page?q");
    for (name, value) in [
        ("x-auth-user", "grouped"),
        ("x-auth-provider", "people"),
        ("x-auth-email", "a%C3%A4@example.test"),
        ("x-auth-groups", "admins,cn=ops%2Cdc=b %C3%A4 100%25"),
        ("x-auth-scopes", ""),
        ("x-forwarded-for", "127.0.0.1"),
        ("x-forwarded-host", "agent.test"),
        ("x-forwarded-proto", "http"),
        ("forwarded", "for=127.0.0.1;host=\"agent.test\";proto=http"),
        ("x-api-key", "of-the-operator"),
        ("cookie", "theme=dark"),
        ("host", host.as_str()),
        ("referer", referer.as_str()),
        ("x-of-the-client", "stays"),
    ] {
        assert_eq!(received.all(name), [value], "{name}: {received:?}");
    }
    for name in
        ["x_auth_user", "x_auth-groups", "x.auth.scopes", "x_forwarded_proto", "x_api_key", "x-private", "te"]
    {
        assert!(!received.has(name), "{name}: {received:?}");
    }
}

#[test]
fn callers_without_a_session_are_sent_to_sign_in_or_told_where() {
    let upstream = Upstream::answering(OK);
    let home = home(&upstream, ", public_paths: [/hook]");
    let dashboard = home.dashboard();
    let page = [("accept", "text/html,*/*;q=0.8")];
    let reply = get(&dashboard.url("/page?q=1"), &page);
    assert_eq!((reply.status, reply.header("location")), (302, Some("/login?next=%2Fpage%3Fq%3D1")));
    let fetch = [("accept", "text/html"), ("sec-fetch-mode", "cors"), ("sec-fetch-dest", "empty")];
    let xhr = [("accept", "text/html"), ("x-requested-with", "XMLHttpRequest")];
    for (method, path, headers) in [
        ("GET", "/api/x", &page[..]),
        ("GET", "/page", &[("accept", "application/json")][..]),
        ("GET", "/page", &fetch[..]),
        ("GET", "/page", &xhr[..]),
        ("POST", "/page", &page[..]),
    ] {
        let reply = request(method, &dashboard.url(path), headers, "");
        assert_eq!(reply.status, 401, "{method} {path}: {reply:?}");
        assert!(reply.json()["login_url"].as_str().is_some_and(|url| url.starts_with("/login")), "{reply:?}");
    }
    assert!(upstream.received().is_empty());

    let reply = get(&dashboard.url("/hook"), &[("x-auth-user", "eve")]);
    assert_eq!((reply.status, upstream.last().has("x-auth-user")), (200, false));
    for path in ["/hook/", "/hook/x", "/%68ook", "//hook"] {
        assert_eq!(get(&dashboard.url(path), &page).status, 302, "{path}");
    }
    let foreign = [("origin", "http://evil.test")];
    assert_eq!(request("POST", &dashboard.url("/hook"), &foreign, "x").status, 403);
    assert_eq!(upstream.received().len(), 1);
}

#[test]
fn allow_says_who_passes() {
    let upstream = Upstream::answering(OK);
    let app = |name: &str, allow: &str| {
        format!(
            "    - {{name: {name}, path: /{name}, upstream: 'http://127.0.0.1:{}', allow: {allow}}}\n",
            upstream.port
        )
    };
    let apps = [
        app("everyone", "public"),
        app("people", "people"),
        app("operators", "{role: operator}"),
        app("viewers", "{role: viewer}"),
        app("admins", "{groups: [admins]}"),
        app("others", "{groups: [of-no-one-here]}"),
    ];
    let roles = "  access: [{role: operator, users: [ada]}, {role: viewer, users: [grouped]}]\n";
    let home = gated(PLAIN, &format!("{roles}  apps:\n{}", apps.concat()));
    let dashboard = home.dashboard();
    for (user, passes) in
        [("ada", [true, true, true, true, false, false]), ("grouped", [true, true, false, true, true, false])]
    {
        let mut browser = signed_in(&dashboard, user);
        for (path, passes) in
            ["/everyone", "/people", "/operators", "/viewers", "/admins", "/others"].iter().zip(passes)
        {
            let reply = browser.get(&dashboard.url(path));
            assert_eq!(reply.status, if passes { 200 } else { 403 }, "{user} {path}: {reply:?}");
        }
        let page = browser.request("GET", &dashboard.url("/others"), &[("accept", "text/html")], "");
        assert!(page.status == 403 && page.body.contains("may not use the application others"), "{page:?}");
        for path in ["/%6fthers", "//others", "/others;x/y"] {
            assert_eq!(browser.get(&dashboard.url(path)).status, 403, "{path}");
        }
    }
}

#[test]
fn host_of_an_application_has_no_page_of_the_dashboard() {
    let upstream = Upstream::answering(OK);
    let app = format!(
        "  allowed_hosts: [tools.test]\n  apps:\n    - {{name: app, path: /, host: tools.test, upstream: 'http://127.0.0.1:{}'}}\n",
        upstream.port
    );
    let home = gated(PLAIN, &app);
    let dashboard = home.dashboard();
    let mut browser = signed_in(&dashboard, "ada");
    for (method, path, at_the_public_host, at_its_own) in [
        ("GET", "/_portcullis/api/sessions", 200, 404),
        ("GET", "/_portcullis/", 200, 404),
        ("POST", "/api/auth/ws-ticket", 200, 404),
        ("GET", "/api/auth/me", 200, 200),
    ] {
        for (host, status) in [("agent.test", at_the_public_host), ("tools.test", at_its_own)] {
            let origin = format!("http://{host}");
            let headers = [("host", host), ("origin", origin.as_str())];
            let reply = browser.request(method, &dashboard.url(path), &headers, "");
            assert_eq!(reply.status, status, "{method} {path} at {host}: {reply:?}");
        }
    }
    assert_eq!(browser.request("GET", &dashboard.url("/"), &[("host", "tools.test")], "").body, "ok");
}

#[test]
fn service_passes_with_the_scope_and_its_key_stays_with_the_host() {
    let upstream = Upstream::answering(OK);
    let digest = |key: &str| hex::encode(Sha256::digest(key));
    let home = Home::with_config(&format!(
        "dashboard:\n  public_url: {PLAIN}\n  apps:\n    - {{name: app, path: /, upstream: 'http://127.0.0.1:{}', \
         allow: [people, {{scope: app.use}}]}}\n  providers:\n    - name: keys\n      component: builtin:service-keys\n      \
         config: {{keys: [{{sha256: '{}', principal: ci, scopes: [app.use]}}, {{sha256: '{}', principal: other, scopes: [metrics.read]}}]}}\n      \
         grants: {{scopes: [app.use, metrics.read]}}\n    - {{name: people, component: {}}}\n",
        upstream.port,
        digest("the-key-of-ci"),
        digest("the-key-of-another"),
        portcullis_tests::guest("people").display(),
    ));
    let dashboard = home.dashboard();
    let bearer = |key: &str| get(&dashboard.url("/api/x"), &[("authorization", &format!("Bearer {key}"))]);
    assert_eq!(bearer("the-key-of-ci").status, 200);
    let received = upstream.last();
    assert_eq!((received.all("x-auth-user"), received.all("x-auth-scopes")), (vec!["ci"], vec!["app.use"]));
    assert!(!received.has("authorization"), "{received:?}");
    assert_eq!(bearer("the-key-of-another").status, 403);
    assert_eq!(bearer("made-up").status, 401);
    assert_eq!(bearer(portcullis_tests::DRAIN_SECRET).status, 403);

    // With a session, another `Authorization` is the application's own.
    let mut browser = signed_in(&dashboard, "ada");
    let reply = browser.request("GET", &dashboard.url("/api/x"), &[("authorization", "Basic eDp5")], "");
    assert_eq!((reply.status, upstream.last().all("authorization")), (200, vec!["Basic eDp5"]));
}

#[test]
fn answers_are_streamed_and_bodies_are_passed_on() {
    let (go, wait) = channel::<()>();
    let wait = Mutex::new(wait);
    let upstream = Upstream::start(move |received, stream| {
        if received.line == "POST /echo" {
            let length = received.all("content-length").first().and_then(|length| length.parse().ok());
            let mut body = vec![0; length.unwrap_or_default()];
            stream.read_exact(&mut body).expect("a body");
            let body = String::from_utf8_lossy(&body).into_owned();
            let head = format!(
                "HTTP/1.1 201 Created\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
                body.len()
            );
            return write(stream, &(head + &body));
        }
        write(
            stream,
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n5\r\nfirst\r\n",
        );
        let _ = wait.lock().unwrap_or_else(PoisonError::into_inner).recv_timeout(SOON);
        write(stream, "4\r\nlast\r\n0\r\n\r\n");
    });
    let home = home(&upstream, "");
    let dashboard = home.dashboard();
    let mut browser = signed_in(&dashboard, "ada");
    let cookies = cookie_line(&browser);
    let mut stream = send(
        &dashboard,
        &format!("GET /s HTTP/1.1\r\nHost: localhost\r\nCookie: {cookies}\r\nConnection: close\r\n\r\n"),
    );
    let start = read_until(&mut stream, "first");
    assert!(start.contains("first") && !start.contains("last"), "{start}");
    go.send(()).expect("the upstream waits");
    assert!(read_until(&mut stream, "last").contains("last"));

    let body = "x".repeat(300_000);
    let reply = browser.request("POST", &dashboard.url("/echo"), &[], &body);
    assert_eq!((reply.status, reply.body == body), (201, true));
}

#[test]
fn event_stream_ends_with_its_session() {
    let upstream = Upstream::start(|_, stream| {
        write(
            stream,
            "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\ndata: one\n\n",
        );
        // Until the dashboard closes the connection.
        let _ = stream.read(&mut [0; 1]);
    });
    let home = home(&upstream, "");
    let dashboard = home.dashboard();
    let mut browser = signed_in(&dashboard, "ada");
    let cookies = cookie_line(&browser);
    let mut stream =
        send(&dashboard, &format!("GET /events HTTP/1.1\r\nHost: localhost\r\nCookie: {cookies}\r\n\r\n"));
    assert!(read_until(&mut stream, "data: one").contains("data: one"));
    assert_eq!(browser.post(&dashboard.url("/auth/logout"), "").status, 302);
    assert!(has_ended(&mut stream), "the stream goes on after the sign-out");
}

/// Answers the opening of a web socket and sends back what arrives.
fn echo_socket(stream: &mut BufReader<TcpStream>) {
    write(
        stream,
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: x\r\n\r\n",
    );
    let mut buffer = [0; 1024];
    while let Ok(read @ 1..) = stream.read(&mut buffer) {
        let text = String::from_utf8_lossy(&buffer[..read]).into_owned();
        write(stream, &text);
    }
}

fn open_socket(dashboard: &Process, target: &str, cookies: &str, origin: &str) -> TcpStream {
    send(
        dashboard,
        &format!(
            "GET {target} HTTP/1.1\r\nHost: localhost\r\nCookie: {cookies}\r\nOrigin: {origin}\r\nConnection: Upgrade\r\n\
             Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        ),
    )
}

#[test]
fn web_socket_passes_both_ways_and_ends_with_its_session() {
    let upstream = Upstream::start(|_, stream| echo_socket(stream));
    let home = home(&upstream, "");
    let dashboard = home.dashboard();
    let mut browser = signed_in(&dashboard, "ada");
    let cookies = cookie_line(&browser);
    let mut socket = open_socket(&dashboard, "/api/ws?x=1", &cookies, PLAIN);
    let head = read_until(&mut socket, "\r\n\r\n");
    assert!(head.starts_with("HTTP/1.1 101"), "{head}");
    let received = upstream.last();
    assert_eq!(received.line, "GET /api/ws?x=1");
    assert_eq!(received.all("origin"), [format!("http://127.0.0.1:{}", upstream.port)]);
    socket.write_all(b"hello").expect("it is open");
    assert_eq!(read_until(&mut socket, "hello"), "hello");

    let refused =
        read_until(&mut open_socket(&dashboard, "/api/ws", &cookies, "http://evil.test"), "\r\n\r\n");
    assert!(refused.starts_with("HTTP/1.1 403"), "{refused}");
    let refused = read_until(&mut open_socket(&dashboard, "/api/ws", "a=b", PLAIN), "\r\n\r\n");
    assert!(refused.starts_with("HTTP/1.1 401"), "{refused}");

    assert_eq!(browser.post(&dashboard.url("/auth/logout"), "").status, 302);
    assert!(has_ended(&mut socket), "the socket goes on after the sign-out");
}

#[test]
fn web_socket_ends_when_its_application_admits_the_person_no_more() {
    let upstream = Upstream::start(|_, stream| echo_socket(stream));
    let home = home(&upstream, "");
    let dashboard = home.dashboard();
    let cookies = cookie_line(&signed_in(&dashboard, "ada"));
    let mut socket = open_socket(&dashboard, "/ws", &cookies, PLAIN);
    assert!(read_until(&mut socket, "\r\n\r\n").starts_with("HTTP/1.1 101"));
    let text = std::fs::read_to_string(home.file("portcullis.yaml")).expect("its configuration");
    let upstream = format!("upstream: 'http://127.0.0.1:{}'", upstream.port);
    home.write(
        "portcullis.yaml",
        &text.replace(&upstream, &format!("{upstream}, allow: {{groups: [others]}}")),
    );
    assert!(has_ended(&mut socket), "the socket goes on: {}", dashboard.log());
}

#[test]
fn reload_swaps_the_applications() {
    let (old, new) = (Upstream::answering(OK), Upstream::answering(OK));
    let home = home(&old, "");
    let dashboard = home.dashboard();
    let mut browser = signed_in(&dashboard, "ada");
    assert_eq!(browser.get(&dashboard.url("/x")).status, 200);
    let text = std::fs::read_to_string(home.file("portcullis.yaml")).expect("its configuration");
    home.write("portcullis.yaml", &text.replace(&old.port.to_string(), &new.port.to_string()));
    eventually("the new application is asked", SOON, || {
        browser.get(&dashboard.url("/x"));
        (!new.received().is_empty()).then_some(())
    });
}

#[test]
fn application_on_a_unix_socket() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("app.sock");
    let listener = UnixListener::bind(&path).expect("a socket");
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut reader = BufReader::new(stream.try_clone().expect("a socket"));
            if read_head(&mut reader).is_some_and(|received| received.all("host") == ["localhost"]) {
                let _ = stream.write_all(OK.as_bytes());
            }
        }
    });
    let home = home_of(&format!("unix:{}", path.display()), "");
    let dashboard = home.dashboard();
    assert_eq!(signed_in(&dashboard, "ada").get(&dashboard.url("/x")).body, "ok");
}

#[test]
fn failures_are_named() {
    let silent = Upstream::start(|_, stream| {
        let _ = stream.read(&mut [0; 1]);
    });
    let cut_off = Upstream::start(|_, _| {});
    let reads = Upstream::start(|_, stream| {
        let _ = stream.read_to_end(&mut Vec::new());
    });
    let plain = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let plain_port = plain.local_addr().expect("its address").port();
    std::thread::spawn(move || {
        for mut stream in plain.incoming().flatten() {
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n");
            let _ = stream.read_to_end(&mut Vec::new());
        }
    });
    let garbage = Upstream::answering("garbage\r\n\r\n");
    let free =
        TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port").port();
    let app = |name: &str, upstream: String, more: &str| {
        format!("    - {{name: {name}, path: /{name}, upstream: '{upstream}'{more}}}\n")
    };
    let http = |port: u16| format!("http://127.0.0.1:{port}");
    let apps = [
        app("silent", http(silent.port), ", limits: {idle_seconds: 1}"),
        app("reads", http(reads.port), ", limits: {body_mib: 1}"),
        app("cut-off", http(cut_off.port), ""),
        app("garbage", http(garbage.port), ""),
        app("closed", http(free), ""),
        app("unknown", "http://no-such-host.invalid".to_owned(), ""),
        app("no-tls", format!("https://127.0.0.1:{plain_port}"), ""),
        app("no-socket", "unix:/no/such/socket".to_owned(), ""),
    ];
    let home = gated(PLAIN, &format!("  apps:\n{}", apps.concat()));
    let dashboard = home.dashboard();
    let mut browser = signed_in(&dashboard, "ada");
    for (path, status, words) in [
        ("/silent", 504, "sent nothing for 1 s"),
        ("/cut-off", 502, "closed the connection"),
        ("/garbage", 502, "not HTTP/1.1"),
        ("/closed", 502, "its connection is refused"),
        ("/unknown", 502, "is not found"),
        ("/no-tls", 502, "TLS with the application no-tls failed"),
        ("/no-socket", 502, "its socket does not exist"),
    ] {
        let reply = browser.get(&dashboard.url(path));
        let detail = reply.json()["detail"].as_str().unwrap_or_default().to_owned();
        assert!(reply.status == status && detail.contains(words), "{path}: {reply:?}");
        let page = browser.request("GET", &dashboard.url(path), &[("accept", "text/html")], "");
        assert!(page.status == status && page.body.contains(words), "{path}: {page:?}");
    }
    assert_eq!(cut_off.received().len(), 2, "a new connection that is closed is not tried again");

    let large = "x".repeat((1 << 20) + 1);
    let head = format!("POST /reads HTTP/1.1\r\nHost: localhost\r\nCookie: {}\r\n", cookie_line(&browser));
    let announced = format!("{head}Content-Length: {}\r\n\r\n", large.len());
    let chunked =
        format!("{head}Transfer-Encoding: chunked\r\n\r\n{:x}\r\n{large}\r\n0\r\n\r\n", large.len());
    for text in [announced, chunked] {
        let refused = read_until(&mut send(&dashboard, &text), "\r\n\r\n");
        assert!(refused.starts_with("HTTP/1.1 413"), "{refused}");
    }
}

#[test]
fn own_paths_stand_below_their_prefix_when_an_application_has_the_rest() {
    let upstream = Upstream::answering(OK);
    let home = home(&upstream, "");
    let dashboard = home.dashboard();
    let mut browser = signed_in(&dashboard, "ada");
    for path in ["/", "/api/status", "/metrics", "/api/drain", "/api/ws", "/assets/x.js", "/favicon.ico"] {
        assert_eq!(browser.get(&dashboard.url(path)).body, "ok", "{path}");
    }
    let count = upstream.received().len();
    let page = browser.get(&dashboard.url("/_portcullis/"));
    assert!(page.body.contains(r#""mount":"/_portcullis""#), "{page:?}");
    assert!(page.body.contains(r#"action="/_portcullis/api/drain""#), "{page:?}");
    assert_eq!(browser.get(&dashboard.url("/_portcullis")).header("location"), Some("_portcullis/"));
    let status = get(&dashboard.url("/_portcullis/api/status"), &[]);
    assert!(status.status == 200 && status.json()["auth_required"] == true, "{status:?}");
    assert!(
        browser
            .get(&dashboard.url("/_portcullis/metrics"))
            .body
            .contains("portcullis_app_requests_total{app=\"app\",status=\"2xx\"}")
    );
    assert_eq!(get(&dashboard.url("/_portcullis/metrics"), &[]).status, 302);
    assert_eq!(get(&dashboard.url("/_portcullis/api/sessions"), &[]).status, 401);
    assert_eq!(browser.get(&dashboard.url("/_portcullis/api/sessions")).status, 200);
    let drained = browser.form(&dashboard.url("/_portcullis/api/drain"), "action=drain");
    assert_eq!((drained.status, drained.header("location")), (303, Some("/_portcullis/")), "{drained:?}");
    for path in ["/login", "/healthz", "/readyz", "/api/auth/me", "/api/auth/providers"] {
        assert_eq!(browser.get(&dashboard.url(path)).status, 200, "{path}");
    }
    assert_eq!(browser.get(&dashboard.url("/auth/anything")).status, 404);

    let ticket = browser.post(&dashboard.url("/api/auth/ws-ticket"), "").json()["ticket"].clone();
    let target = format!("/_portcullis/api/ws?ticket={}", ticket.as_str().unwrap_or_default());
    let mut socket = open_socket(&dashboard, &target, "", PLAIN);
    assert!(read_until(&mut socket, "gateway_state").contains("HTTP/1.1 101"));
    assert_eq!(upstream.received().len(), count, "none of these reached the application");
}

#[test]
fn headers_of_the_application_are_its_own_but_for_the_cookies_of_the_host() {
    let upstream = Upstream::start(|received, stream| {
        let host = received.all("host").first().map(|host| (*host).to_owned()).unwrap_or_default();
        let answer = format!(
            "HTTP/1.1 302 Found\r\nLocation: http://{host}/next\r\nSet-Cookie: theme=dark\r\n\
             Set-Cookie: hermes_session_at=evil; Path=/\r\nKeep-Alive: timeout=5\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        );
        write(stream, &answer);
    });
    let home = home(&upstream, "");
    let dashboard = home.dashboard();
    let mut browser = signed_in(&dashboard, "ada");
    let reply = browser.get(&dashboard.url("/x"));
    assert_eq!((reply.status, reply.header("location")), (302, Some("http://agent.test/next")));
    assert_eq!(reply.set_cookies(), ["theme=dark"]);
    for name in ["keep-alive", "content-security-policy", "cache-control"] {
        assert_eq!(reply.header(name), None, "{name}");
    }
}

#[test]
fn session_is_refreshed_within_the_request() {
    let upstream = Upstream::answering(OK);
    let home = home(&upstream, "");
    let dashboard = home.dashboard();
    let browser = signed_in(&dashboard, "short");
    let reply: Reply = eventually("the access token has ended", SOON, || {
        let reply = browser.clone().get(&dashboard.url("/api/x"));
        (!reply.set_cookies().is_empty()).then_some(reply)
    });
    assert_eq!((reply.status, reply.body.as_str()), (200, "ok"), "{reply:?}");
    assert!(reply.set_cookies().iter().any(|cookie| cookie.starts_with("hermes_session_at=")), "{reply:?}");
    assert_eq!(upstream.last().all("x-auth-user"), ["short"]);
}

#[test]
fn request_with_two_lengths_is_one_request() {
    let (done, bodies): (Sender<String>, Receiver<String>) = channel();
    let done = Mutex::new(done);
    let upstream = Upstream::start(move |received, stream| {
        assert!(received.has("transfer-encoding") != received.has("content-length"), "{received:?}");
        let mut body = Vec::new();
        while !String::from_utf8_lossy(&body).contains("0\r\n\r\n") {
            let mut byte = [0; 1];
            if stream.read_exact(&mut byte).is_err() {
                break;
            }
            body.extend_from_slice(&byte);
        }
        let _ = done
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .send(String::from_utf8_lossy(&body).into_owned());
        write(stream, OK);
    });
    let home = home(&upstream, "");
    let dashboard = home.dashboard();
    let cookies = cookie_line(&signed_in(&dashboard, "ada"));
    let head = format!("POST /x HTTP/1.1\r\nHost: localhost\r\nCookie: {cookies}\r\n");
    let text = format!(
        "{head}Content-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: localhost\r\n\r\n"
    );
    let answer = read_until(&mut send(&dashboard, &text), "\r\n\r\n");
    match bodies.recv_timeout(SOON) {
        Ok(body) => assert!(
            answer.starts_with("HTTP/1.1 200") && body.ends_with("hi\r\n0\r\n\r\n"),
            "{answer} {body}"
        ),
        Err(_) => assert!(answer.starts_with("HTTP/1.1 400"), "{answer}"),
    }
    assert!(upstream.received().iter().all(|received| !received.line.contains("smuggled")));

    for bad in
        ["X-A: 1\r\n folded: 2\r\n", "Content-Length: 1\r\nContent-Length: 2\r\n", "Transfer-Encoding: x\r\n"]
    {
        let answer = read_until(&mut send(&dashboard, &format!("{head}{bad}\r\n")), "\r\n\r\n");
        assert!(answer.starts_with("HTTP/1.1 400"), "{bad:?}: {answer}");
    }
}

/// The original's dashboard, as far as the preset knows it. The first token is good until the second request with it.
fn hermes(token: &Arc<Mutex<&'static str>>) -> Upstream {
    let token = token.clone();
    Upstream::start(move |received, stream| {
        let token = *token.lock().unwrap_or_else(PoisonError::into_inner);
        let is_known = received.all("x-hermes-session-token") == [token];
        let answer = |status: &str, kind: &str, body: &str| {
            format!(
                "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
                body.len()
            )
        };
        let page = format!("<html><script>window.__HERMES_SESSION_TOKEN__=\"{token}\";</script></html>");
        let path = received.line.split([' ', '?']).nth(1).unwrap_or_default();
        let text = match path {
            "/api/ws" if received.line.ends_with(&format!("token={token}")) => return echo_socket(stream),
            "/api/status" => answer("200 OK", "application/json", r#"{"version":"0.19","hermes_home":"/h"}"#),
            "/assets/index.js" => answer("200 OK", "text/javascript", "script"),
            "/api/cron/fire" | "/api/mcp/oauth/callback/a/b" => {
                answer("200 OK", "text/html; charset=utf-8", &page)
            }
            path if path.starts_with("/api/") && !is_known => {
                answer("401 Unauthorized", "application/json", "{}")
            }
            path if path.starts_with("/api/") => answer("200 OK", "application/json", r#"{"ok":true}"#),
            _ => answer("200 OK", "text/html; charset=utf-8", &page),
        };
        write(stream, &text);
    })
}

#[test]
fn preset_hermes_knows_its_token_its_files_and_its_status() {
    let token = Arc::new(Mutex::new("the-first-token"));
    let upstream = hermes(&token);
    let home = home(&upstream, ", preset: hermes");
    let dashboard = home.dashboard();
    let mut browser = signed_in(&dashboard, "ada");
    let outside = [("x-hermes-session-token", "of-eve"), ("x_hermes_session_token", "of-eve")];
    let reply = browser.request("GET", &dashboard.url("/api/sessions"), &outside, "");
    assert_eq!((reply.status, reply.body.as_str()), (200, r#"{"ok":true}"#), "{reply:?}");
    assert!(!upstream.last().has("x_hermes_session_token"));

    *token.lock().unwrap_or_else(PoisonError::into_inner) = "the-second-token";
    assert_eq!(
        browser.get(&dashboard.url("/api/sessions")).status,
        200,
        "the token is read again after a 401"
    );
    let cookies = cookie_line(&browser);
    let mut socket = open_socket(&dashboard, "/api/ws?token=stale", &cookies, PLAIN);
    assert!(read_until(&mut socket, "\r\n\r\n").starts_with("HTTP/1.1 101"));

    assert_eq!(get(&dashboard.url("/assets/index.js"), &[]).body, "script");
    assert_eq!(get(&dashboard.url("/assets/none.js"), &[]).status, 404, "not the page with the token");
    for path in ["/api/cron/fire", "/api/mcp/oauth/callback/a/b"] {
        assert_eq!(get(&dashboard.url(path), &[]).status, 404, "{path} answers with the page");
    }
    assert_eq!(get(&dashboard.url("/"), &[("accept", "text/html")]).status, 302);
    assert_eq!(get(&dashboard.url("/api/sessions"), &[]).status, 401);
    let public: Value = get(&dashboard.url("/api/status"), &[]).json();
    assert_eq!(
        (&public["version"], &public["hermes_home"], &public["drained"]),
        (&json!("0.19"), &Value::Null, &json!(false))
    );
    assert_eq!(public["auth_required"], true);
    assert_eq!(browser.get(&dashboard.url("/api/status")).json()["hermes_home"], "/h");
}
