//! How many connections the dashboard keeps at once.

use portcullis_tests::{Home, Process, SOON};
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;

const ASK: &[u8] = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n";

/// Asks on a connection that is kept, and reads the head of the answer. `None`: the connection has
/// ended.
fn ask(stream: &mut TcpStream) -> Option<()> {
    stream.write_all(ASK).ok()?;
    let mut answer = Vec::new();
    let mut buffer = [0; 1024];
    while !String::from_utf8_lossy(&answer).contains("\r\n\r\n") {
        let read = stream.read(&mut buffer).ok().filter(|read| *read > 0)?;
        answer.extend_from_slice(&buffer[..read]);
    }
    answer.starts_with(b"HTTP/1.1 200 ").then_some(())
}

fn kept(dashboard: &Process) -> TcpStream {
    let mut stream = TcpStream::connect(("127.0.0.1", dashboard.port())).expect("it listens");
    stream.set_read_timeout(Some(SOON)).expect("a timeout");
    ask(&mut stream).expect("an answer");
    stream
}

#[test]
fn connection_above_the_limit_takes_the_place_of_the_one_that_has_waited_longest() {
    let home = Home::with_config("dashboard: {connections: {in_all: 2}}");
    let dashboard = home.dashboard();
    let mut connections: Vec<_> = (0..3).map(|_| kept(&dashboard)).collect();
    // Far shorter than the 75 seconds that an idle connection has.
    assert!(has_ended(&mut connections[0]), "the first one is kept");
    for connection in &mut connections[1..] {
        ask(connection).expect("the others are kept");
    }
}

/// Waits for the end of a connection. A reset is an end, and a timeout is none.
fn has_ended(stream: &mut TcpStream) -> bool {
    match stream.read_to_end(&mut Vec::new()) {
        Ok(_) => true,
        Err(error) => error.kind() == ErrorKind::ConnectionReset,
    }
}

#[test]
fn one_address_that_may_have_all_connections_is_a_finding() {
    for (limits, is_found) in [
        ("{in_all: 4, per_address: 4}", true),
        ("{in_all: 4, per_address: 3}", false),
        ("{per_address: 300}", false),
    ] {
        let home = Home::with_config(&format!("dashboard: {{connections: {limits}}}"));
        let checked = Process::run(&home, &["config", "check"], &[]);
        let found = checked
            .stderr
            .contains("`dashboard.connections.per_address` is not below `in_all`");
        assert_eq!(found, is_found, "{limits}: {}", checked.stderr);
        assert!(
            !is_found || checked.code == Some(64),
            "{limits}: {:?}",
            checked.code
        );
    }
}
