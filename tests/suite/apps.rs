//! Applications behind the gate, with the real binary and upstreams that the tests make: streams
//! and sockets, reloads, Unix sockets and the dashboard's own paths. The rest is in the modules.

mod callers;
mod failures;
mod field;
mod hermes;
mod messages;
mod upstream;

use super::people::{gated, signed_in};
use portcullis_tests::{Browser, Home, Process, Reply, SOON, eventually, get};
use sha2::{Digest, Sha256};
use std::io::{BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixListener;
use upstream::{OK, Upstream, read_head, write};

const PLAIN: &str = "http://agent.test";

/// A gated dashboard with one application at `/`.
fn home_of(upstream: &str, more: &str) -> Home {
    gated(
        PLAIN,
        &format!("  apps:\n    - {{name: app, path: /, upstream: '{upstream}'{more}}}\n"),
    )
}

fn home(upstream: &Upstream, more: &str) -> Home {
    home_of(&format!("http://127.0.0.1:{}", upstream.port), more)
}

fn cookie_line(browser: &Browser) -> String {
    let pairs: Vec<_> = browser
        .cookies
        .iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
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
    let mut stream = send(
        &dashboard,
        &format!("GET /events HTTP/1.1\r\nHost: localhost\r\nCookie: {cookies}\r\n\r\n"),
    );
    assert!(read_until(&mut stream, "data: one").contains("data: one"));
    assert_eq!(browser.post(&dashboard.url("/auth/logout"), "").status, 302);
    assert!(
        has_ended(&mut stream),
        "the stream goes on after the sign-out"
    );
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
    assert_eq!(
        received.all("origin"),
        [format!("http://127.0.0.1:{}", upstream.port)]
    );
    socket.write_all(b"hello").expect("it is open");
    assert_eq!(read_until(&mut socket, "hello"), "hello");

    let refused = read_until(
        &mut open_socket(&dashboard, "/api/ws", &cookies, "http://evil.test"),
        "\r\n\r\n",
    );
    assert!(refused.starts_with("HTTP/1.1 403"), "{refused}");
    let refused = read_until(
        &mut open_socket(&dashboard, "/api/ws", "a=b", PLAIN),
        "\r\n\r\n",
    );
    assert!(refused.starts_with("HTTP/1.1 401"), "{refused}");

    assert_eq!(browser.post(&dashboard.url("/auth/logout"), "").status, 302);
    assert!(
        has_ended(&mut socket),
        "the socket goes on after the sign-out"
    );
}

#[test]
fn web_socket_outlives_its_access_token_if_a_request_refreshes_the_session() {
    let upstream = Upstream::start(|received, stream| match received.line.as_str() {
        "GET /ws" => echo_socket(stream),
        _ => write(stream, OK),
    });
    let home = home(&upstream, "");
    let dashboard = home.dashboard();
    // Before the access token ends, which has a second.
    let open = |user: &str| {
        eventually("a socket is open", SOON, || {
            let browser = signed_in(&dashboard, user);
            let mut socket = open_socket(&dashboard, "/ws", &cookie_line(&browser), PLAIN);
            let is_open = read_until(&mut socket, "\r\n\r\n").starts_with("HTTP/1.1 101");
            is_open.then_some((browser, socket))
        })
    };
    let (_, mut abandoned) = open("short-gone");
    let (mut browser, mut socket) = open("short");
    eventually("the access token has ended", SOON, || {
        let is_refreshed = !browser
            .get(&dashboard.url("/page"))
            .set_cookies()
            .is_empty();
        is_refreshed.then_some(())
    });
    socket.write_all(b"hello").expect("it is open");
    assert_eq!(read_until(&mut socket, "hello"), "hello");
    assert!(
        has_ended(&mut abandoned),
        "the socket goes on without an access token"
    );
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
        &text.replace(
            &upstream,
            &format!("{upstream}, allow: {{groups: [others]}}"),
        ),
    );
    assert!(
        has_ended(&mut socket),
        "the socket goes on: {}",
        dashboard.log()
    );
}

/// Opens a web socket as a program does: with a key, and without an origin.
fn open_socket_of_a_service(dashboard: &Process, key: &str) -> TcpStream {
    let mut socket = send(
        dashboard,
        &format!(
            "GET /ws HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {key}\r\nConnection: Upgrade\r\n\
             Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        ),
    );
    let head = read_until(&mut socket, "\r\n\r\n");
    assert!(head.starts_with("HTTP/1.1 101"), "{head}");
    socket
}

#[test]
fn socket_and_stream_of_a_service_end_when_its_key_is_revoked() {
    let upstream = Upstream::start(|received, stream| match received.line.as_str() {
        "GET /ws" => echo_socket(stream),
        _ => {
            write(
                stream,
                "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\ndata: one\n\n",
            );
            let _ = stream.read(&mut [0; 1]);
        }
    });
    let key_of = |principal: &str| {
        let digest = hex::encode(Sha256::digest(format!("key-of-{principal}")));
        format!("{{sha256: '{digest}', principal: {principal}, scopes: [app.use]}}")
    };
    let config = |principals: &[&str]| {
        let keys: Vec<_> = principals.iter().copied().map(key_of).collect();
        format!(
            "dashboard:\n  public_url: {PLAIN}\n  apps:\n    - {{name: app, path: /, upstream: 'http://127.0.0.1:{}', \
             allow: [people, {{scope: app.use}}]}}\n  providers:\n    - name: keys\n      component: builtin:service-keys\n      \
             config: {{keys: [{}]}}\n      grants: {{scopes: [app.use]}}\n    - {{name: people, component: {}}}\n",
            upstream.port,
            keys.join(", "),
            portcullis_tests::guest("people").display()
        )
    };
    let home = Home::with_config(&config(&["ci", "another"]));
    let dashboard = home.dashboard();
    let mut socket = open_socket_of_a_service(&dashboard, "key-of-ci");
    let mut stays = open_socket_of_a_service(&dashboard, "key-of-another");
    let mut stream = send(
        &dashboard,
        "GET /events HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer key-of-ci\r\n\r\n",
    );
    assert!(read_until(&mut stream, "data: one").contains("data: one"));
    socket.write_all(b"hello").expect("it is open");
    assert_eq!(read_until(&mut socket, "hello"), "hello");

    home.write("portcullis.yaml", &config(&["another"]));
    assert!(
        has_ended(&mut socket),
        "the socket goes on: {}",
        dashboard.log()
    );
    assert!(
        has_ended(&mut stream),
        "the stream goes on: {}",
        dashboard.log()
    );
    stays.write_all(b"again").expect("it is open");
    assert_eq!(read_until(&mut stays, "again"), "again");
}

#[test]
fn socket_of_a_service_ends_with_its_application() {
    let upstream = Upstream::start(|_, stream| echo_socket(stream));
    let digest = hex::encode(Sha256::digest("the-key"));
    let config = |app: &str| {
        format!(
            "dashboard:\n  public_url: {PLAIN}\n  apps:\n    - {{name: {app}, path: /, upstream: 'http://127.0.0.1:{}', \
             allow: [{{scope: app.use}}]}}\n  providers:\n    - name: keys\n      component: builtin:service-keys\n      \
             config: {{keys: [{{sha256: '{digest}', principal: ci, scopes: [app.use]}}]}}\n      \
             grants: {{scopes: [app.use]}}\n    - {{name: people, component: {}}}\n",
            upstream.port,
            portcullis_tests::guest("people").display()
        )
    };
    let home = Home::with_config(&config("app"));
    let dashboard = home.dashboard();
    let mut socket = open_socket_of_a_service(&dashboard, "the-key");

    home.write("portcullis.yaml", &config("another"));
    assert!(
        has_ended(&mut socket),
        "the socket goes on: {}",
        dashboard.log()
    );
}

#[test]
fn proxies_reach_the_open_paths_alone_of_a_dashboard_without_sign_in() {
    let upstream = Upstream::answering(OK);
    let home = Home::with_config(&format!(
        "dashboard:\n  apps:\n    - {{name: app, path: /, upstream: 'http://127.0.0.1:{}', public_paths: [/hook]}}\n",
        upstream.port
    ));
    let dashboard = home.dashboard();
    assert_eq!(get(&dashboard.url("/x"), &[]).status, 200);

    let forwarded = [("x-forwarded-for", "100.64.0.77")];
    let refused = get(&dashboard.url("/x"), &forwarded);
    assert_eq!(
        (refused.status, refused.json()["error"].as_str()),
        (403, Some("not_local"))
    );
    assert_eq!(get(&dashboard.url("/hook"), &forwarded).status, 200);
    let asked: Vec<_> = upstream
        .received()
        .into_iter()
        .map(|one| one.line)
        .collect();
    assert_eq!(asked, ["GET /x", "GET /hook"]);
}

#[test]
fn reload_swaps_the_applications() {
    let (old, new) = (Upstream::answering(OK), Upstream::answering(OK));
    let home = home(&old, "");
    let dashboard = home.dashboard();
    let mut browser = signed_in(&dashboard, "ada");
    assert_eq!(browser.get(&dashboard.url("/x")).status, 200);
    let text = std::fs::read_to_string(home.file("portcullis.yaml")).expect("its configuration");
    home.write(
        "portcullis.yaml",
        &text.replace(&old.port.to_string(), &new.port.to_string()),
    );
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
            if read_head(&mut reader).is_some_and(|received| received.all("host") == ["localhost"])
            {
                let _ = stream.write_all(OK.as_bytes());
            }
        }
    });
    let home = home_of(&format!("unix:{}", path.display()), "");
    let dashboard = home.dashboard();
    assert_eq!(
        signed_in(&dashboard, "ada").get(&dashboard.url("/x")).body,
        "ok"
    );
}

#[test]
fn own_paths_stand_below_their_prefix_when_an_application_has_the_rest() {
    let upstream = Upstream::answering(OK);
    let home = home(&upstream, "");
    let dashboard = home.dashboard();
    let mut browser = signed_in(&dashboard, "ada");
    for path in [
        "/",
        "/api/status",
        "/metrics",
        "/api/drain",
        "/api/ws",
        "/assets/x.js",
        "/favicon.ico",
    ] {
        assert_eq!(browser.get(&dashboard.url(path)).body, "ok", "{path}");
    }
    let count = upstream.received().len();
    let page = browser.get(&dashboard.url("/_portcullis/"));
    assert!(page.body.contains(r#""mount":"/_portcullis""#), "{page:?}");
    assert!(
        page.body.contains(r#"action="/_portcullis/api/drain""#),
        "{page:?}"
    );
    assert_eq!(
        browser
            .get(&dashboard.url("/_portcullis"))
            .header("location"),
        Some("_portcullis/")
    );
    let status = get(&dashboard.url("/_portcullis/api/status"), &[]);
    assert!(
        status.status == 200 && status.json()["auth_required"] == true,
        "{status:?}"
    );
    assert!(
        browser
            .get(&dashboard.url("/_portcullis/metrics"))
            .body
            .contains("portcullis_app_requests_total{app=\"app\",status=\"2xx\"}")
    );
    assert_eq!(get(&dashboard.url("/_portcullis/metrics"), &[]).status, 302);
    assert_eq!(
        get(&dashboard.url("/_portcullis/api/sessions"), &[]).status,
        401
    );
    assert_eq!(
        browser
            .get(&dashboard.url("/_portcullis/api/sessions"))
            .status,
        200
    );
    let drained = browser.form(&dashboard.url("/_portcullis/api/drain"), "action=drain");
    assert_eq!(
        (drained.status, drained.header("location")),
        (303, Some("/_portcullis/")),
        "{drained:?}"
    );
    for path in [
        "/login",
        "/healthz",
        "/readyz",
        "/api/auth/me",
        "/api/auth/providers",
    ] {
        assert_eq!(browser.get(&dashboard.url(path)).status, 200, "{path}");
    }
    assert_eq!(browser.get(&dashboard.url("/auth/anything")).status, 404);

    let ticket = browser
        .post(&dashboard.url("/api/auth/ws-ticket"), "")
        .json()["ticket"]
        .clone();
    let target = format!(
        "/_portcullis/api/ws?ticket={}",
        ticket.as_str().unwrap_or_default()
    );
    let mut socket = open_socket(&dashboard, &target, "", PLAIN);
    assert!(read_until(&mut socket, "gateway_state").contains("HTTP/1.1 101"));
    assert_eq!(
        upstream.received().len(),
        count,
        "none of these reached the application"
    );
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
    assert_eq!(
        (reply.status, reply.body.as_str()),
        (200, "ok"),
        "{reply:?}"
    );
    assert!(
        reply
            .set_cookies()
            .iter()
            .any(|cookie| cookie.starts_with("hermes_session_at=")),
        "{reply:?}"
    );
    assert_eq!(upstream.last().all("x-auth-user"), ["short"]);
}
