//! The same over HTTP/2, in frames that are written by hand: a client library would refuse to send
//! most of them.

use super::super::people::password;
use super::super::strangers::dice::Dice;
use super::super::tls::{self, Stream, TLS};
use super::{CASE, EVIL, Scene, mutation};
use rustls::ALL_VERSIONS;
use std::collections::BTreeSet;
use std::io::{self, Read, Write};
use std::sync::{Mutex, PoisonError};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Streams of one connection, far fewer than the frames of errors that h2 takes from one.
const STREAMS: u32 = 50;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
/// A flag of SETTINGS and PING.
const ACK: u8 = 1;
/// Flags of HEADERS and DATA.
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

/// Fields that HTTP/2 does not have, or that say where a body ends.
const FIELDS: &[(&str, &str)] = &[
    ("connection", "close"),
    ("connection", "x-auth-user, x-gate"),
    ("keep-alive", "timeout=5"),
    ("proxy-connection", "keep-alive"),
    ("transfer-encoding", "chunked"),
    ("Transfer-Encoding", "chunked"),
    ("transfer_encoding", "chunked"),
    ("upgrade", "websocket"),
    ("upgrade", "h2c"),
    ("te", "trailers"),
    ("te", "gzip"),
    ("host", "agent.test"),
    ("host", "evil.test"),
    ("Host", "evil.test"),
    ("content-length", "0"),
    ("content-length", "5"),
    ("content-length", "100000"),
    ("content-length", "+9"),
    ("content_length", "5"),
    ("expect", "100-continue"),
    ("trailer", "x-auth-user"),
    ("cookie", "a=b"),
    ("x-note", "a\r\nX-Auth-User: evil-6.6.6.6"),
    ("x-note", "a\nX-Auth-User: evil-6.6.6.6"),
    ("x-note", "a\0b"),
    ("x-note: a\r\nx-auth-user", EVIL),
    ("x-auth-user: x\r\n", EVIL),
    ("x note", "x"),
    ("", "x"),
    (":path", "/admin"),
    (":unknown", "x"),
    (":protocol", "websocket"),
    (":status", "200"),
];
const METHODS: &[&str] = &[
    "get",
    "GET /admin HTTP/1.1\r\nX: ",
    "GET ",
    "",
    "CONNECT",
    "TRACE",
    "G\r\nT",
    "PRI",
    "OPTIONS",
    "HEAD",
];
const PATHS: &[&str] = &[
    "",
    "*",
    "admin",
    "/page HTTP/1.1\r\nX-Auth-User: evil-6.6.6.6\r\nX: ",
    "/page\r\n\r\nGET /smuggled HTTP/1.1\r\n\r\n",
    "/page x",
    "/page\0",
    "http://evil.test/",
    "//evil.test/admin",
    "/page#/admin",
    "/page\t",
];
const AUTHORITIES: &[&str] = &[
    "evil.test",
    "agent.test:80",
    "user@agent.test",
    "agent.test/admin",
    "agent.test\r\nX-Auth-User: evil-6.6.6.6",
    "",
    "agent.test, evil.test",
    "AGENT.TEST",
    "localhost",
    "agent.test#",
];
const SCHEMES: &[&str] = &["http", "ftp", "", "https://x", "https\r\nX: y"];

/// Sends mutated requests over HTTP/2, and judges what arrived.
pub(super) fn send(requests: usize, seed: u64) {
    let scene = Scene::start("https://agent.test", TLS, |home| {
        tls::put(home, "good.pem", "server.key");
    });
    let port = scene.dashboard.port();
    let cookies = sign_in(port);
    let may_be_given_up = Mutex::new(BTreeSet::new());
    scene.visit(requests, seed, |mut dice, share| {
        let mut connection = Connection::open(port);
        for number in 0..share {
            if connection.stream > 2 * STREAMS || !connection.is_open {
                connection = Connection::open(port);
            }
            let case = Case::of(&mut dice, number, &cookies);
            let end = connection.exchange(&case);
            // The dashboard may have ended the connection.
            connection.is_open &= end.is_ok();
            if case.has_more() && !matches!(end, Ok(End::Answered)) {
                may_be_given_up
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .insert(case.id);
            }
        }
    });
    let may_be_given_up = may_be_given_up
        .into_inner()
        .unwrap_or_else(PoisonError::into_inner);
    scene.judge(requests / 40, &may_be_given_up);
}

/// How a stream ended.
enum End {
    Answered,
    Reset,
}

/// The cookies of a person who is signed in.
fn sign_in(port: u16) -> String {
    let mut stream =
        tls::connect(port, tls::client(ALL_VERSIONS, &["http/1.1"], None)).expect("a handshake");
    let head =
        "POST /auth/password-login HTTP/1.1\r\nHost: agent.test\r\nContent-Type: application/json";
    let (status, answer) =
        tls::ask(&mut stream, head, &password("ada", "good")).expect("an answer");
    assert_eq!(status, 200, "{answer}");
    let cookies = answer.lines().filter_map(|line| {
        let (name, value) = line.split_once(": ")?;
        name.eq_ignore_ascii_case("set-cookie")
            .then(|| value.split(';').next().unwrap_or_default())
    });
    cookies.collect::<Vec<_>>().join("; ")
}

type Field = (Vec<u8>, Vec<u8>);

fn field(name: impl Into<Vec<u8>>, value: impl Into<Vec<u8>>) -> Field {
    (name.into(), value.into())
}

struct Case {
    /// The value of its field [`CASE`].
    id: String,
    fields: Vec<Field>,
    body: Option<Vec<u8>>,
    trailers: Option<Vec<Field>>,
}

impl Case {
    fn of(dice: &mut Dice, number: usize, cookies: &str) -> Self {
        let mut odd = |usual: &str, odd: &[&str]| match dice.below(20) {
            0 => dice.pick(odd).to_owned(),
            _ => usual.to_owned(),
        };
        let method = odd("GET", METHODS);
        let scheme = odd("https", SCHEMES);
        let authority = odd("agent.test", AUTHORITIES);
        let odd_path = odd("", PATHS);
        let path = if odd_path.is_empty() {
            mutation::path(dice, number)
        } else {
            odd_path.into_bytes()
        };
        let mut fields = vec![
            field(":method", method),
            field(":scheme", scheme),
            field(":authority", authority),
            field(":path", path),
        ];
        if dice.below(20) == 0 {
            fields.remove(dice.below(fields.len()));
        }
        if dice.below(4) > 0 {
            fields.push(field("cookie", cookies));
        }
        for _ in 0..dice.below(3) {
            let at = if dice.below(8) == 0 {
                dice.below(fields.len() + 1)
            } else {
                fields.len()
            };
            fields.insert(at, odd_field(dice));
        }
        let body = (dice.below(3) == 0).then(|| mutation::smuggled(number));
        if let Some(body) = body.as_ref().filter(|_| dice.below(2) == 0) {
            fields.push(field("content-length", body.len().to_string()));
        }
        let trailers = (dice.below(10) == 0).then(|| vec![odd_field(dice)]);
        let id = hex::encode(dice.bytes(8));
        fields.push(field(CASE, id.as_str()));
        Self {
            id,
            fields,
            body,
            trailers,
        }
    }

    /// Returns whether frames follow the head. The dashboard may pass on the request before it has
    /// read them: where one of them breaks a rule, it resets the stream, and gives up the request
    /// without an answer. What ends with its head is either refused before it is passed on, or
    /// answered.
    fn has_more(&self) -> bool {
        self.body.is_some() || self.trailers.is_some()
    }
}

fn odd_field(dice: &mut Dice) -> Field {
    match dice.below(3) {
        0 => {
            let (name, value) = dice.pick(FIELDS);
            field(name, value)
        }
        1 => field(mutation::spelled(dice).to_lowercase(), EVIL),
        _ => field(mutation::spelled(dice), EVIL),
    }
}

/// One connection of HTTP/2.
struct Connection {
    io: Stream,
    /// The number of the next stream.
    stream: u32,
    is_open: bool,
}

impl Connection {
    fn open(port: u16) -> Self {
        let io = tls::connect(port, tls::client(ALL_VERSIONS, &["h2"], None)).expect("a handshake");
        let mut connection = Self {
            io,
            stream: 1,
            is_open: true,
        };
        connection
            .io
            .write_all(PREFACE)
            .expect("the dashboard reads");
        connection
            .write(SETTINGS, 0, 0, &[])
            .expect("the dashboard reads");
        // Room for all answers of the connection.
        let room = (1_u32 << 30).to_be_bytes();
        connection
            .write(WINDOW_UPDATE, 0, 0, &room)
            .expect("the dashboard reads");
        connection
    }

    /// Sends a request, and reads until its stream or the connection ends.
    fn exchange(&mut self, case: &Case) -> io::Result<End> {
        let stream = self.stream;
        self.stream += 2;
        self.write_fields(stream, &case.fields, !case.has_more())?;
        if let Some(body) = &case.body {
            let flags = if case.trailers.is_some() {
                0
            } else {
                END_STREAM
            };
            self.write(DATA, flags, stream, body)?;
        }
        if let Some(trailers) = &case.trailers {
            self.write_fields(stream, trailers, true)?;
        }
        self.io.flush()?;
        loop {
            let (kind, flags, number, payload) = self.read()?;
            match kind {
                SETTINGS if flags & ACK == 0 => self.write(SETTINGS, ACK, 0, &[])?,
                PING if flags & ACK == 0 => self.write(PING, ACK, 0, &payload)?,
                GOAWAY => self.is_open = false,
                RST_STREAM if number == stream => return Ok(End::Reset),
                DATA | HEADERS if number == stream && flags & END_STREAM != 0 => {
                    return Ok(End::Answered);
                }
                _ => {}
            }
        }
    }

    fn write_fields(&mut self, stream: u32, fields: &[Field], is_end: bool) -> io::Result<()> {
        let block: Vec<u8> = fields
            .iter()
            .flat_map(|(name, value)| literal(name, value))
            .collect();
        self.write(
            HEADERS,
            END_HEADERS | if is_end { END_STREAM } else { 0 },
            stream,
            &block,
        )
    }

    /// Writes one frame (RFC 9113 section 4.1).
    fn write(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) -> io::Result<()> {
        let length = u32::try_from(payload.len())
            .map_err(io::Error::other)?
            .to_be_bytes();
        let mut frame = vec![length[1], length[2], length[3], kind, flags];
        frame.extend(stream.to_be_bytes());
        frame.extend(payload);
        self.io.write_all(&frame)
    }

    fn read(&mut self) -> io::Result<(u8, u8, u32, Vec<u8>)> {
        let mut head = [0; 9];
        self.io.read_exact(&mut head)?;
        let [a, b, c, kind, flags, stream @ ..] = head;
        let length = usize::try_from(u32::from_be_bytes([0, a, b, c])).map_err(io::Error::other)?;
        let mut payload = vec![0; length];
        self.io.read_exact(&mut payload)?;
        Ok((kind, flags, u32::from_be_bytes(stream), payload))
    }
}

/// A field as HPACK writes it without its tables (RFC 7541 section 6.2.2).
fn literal(name: &[u8], value: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0];
    for text in [name, value] {
        write_length(&mut bytes, text.len());
        bytes.extend(text);
    }
    bytes
}

/// An integer with a prefix of seven bits (RFC 7541 section 5.1).
fn write_length(bytes: &mut Vec<u8>, length: usize) {
    let byte = |part: usize| u8::try_from(part).unwrap_or_default();
    if length < 127 {
        return bytes.push(byte(length));
    }
    bytes.push(127);
    let mut rest = length - 127;
    while rest >= 128 {
        bytes.push(byte(rest % 128 + 128));
        rest /= 128;
    }
    bytes.push(byte(rest));
}
