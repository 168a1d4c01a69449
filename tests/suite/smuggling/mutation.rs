//! Requests that are wrong or odd in a few places, as bytes of HTTP/1.

use super::super::strangers::dice::Dice;
use super::EVIL;

/// Ends the connection. It is sent twice, since what stands before it may swallow the first.
const LAST: &str = "GET /open/last HTTP/1.1\r\nHost: agent.test\r\nConnection: close\r\n\r\n";

const METHODS: &[&str] = &[
    "GET", "GET", "POST", "POST", "PUT", "HEAD", "DELETE", "OPTIONS",
];
const ODD_METHODS: &[&str] = &[
    "get", "GET\t", " GET", "G(T", "CONNECT", "TRACE", "PRI", "", "G\0T", "GET GET", "\u{e9}",
];
const ODD_VERSIONS: &[&str] = &[
    "HTTP/1.0",
    "HTTP/1.0",
    "HTTP/0.9",
    "",
    "HTTP/1.2",
    "HTTP/2.0",
    "http/1.1",
    "HTTP/1.1 ",
    "HTTP/1.1\t",
    "HTTP/01.1",
    "HTTP/1.1 HTTP/1.1",
    "HTTP/1,1",
];
const ODD_ENDS: &[&str] = &[
    "\n", "\r", "\r\r\n", "\r\n ", "\n\r\n", "\0\r\n", " \r\n", "\t\r\n",
];
const PATHS: &[&str] = &[
    "/",
    "/page",
    "/hook",
    "/hook",
    "/admin",
    "/admin/x",
    "/open",
    "/open/x",
    "/openly",
    "/login",
    "/_portcullis/",
    "/api/auth/me",
    "/auth/verify/x",
    "/api/status",
];
/// Instead of a path with a query.
const ODD_TARGETS: &[&str] = &[
    "*",
    "agent.test:80",
    "",
    "admin",
    "?x",
    "http:",
    "http://",
    "http:///admin",
    "http://agent.test",
    "http://agent.test?x",
    "#",
    "/#/admin",
    "//",
    "///admin",
    "/?/../admin",
];
/// Before a path.
const AUTHORITIES: &[&str] = &[
    "http://agent.test",
    "http://agent.test",
    "http://localhost",
    "http://evil.test",
    "https://agent.test",
    "ftp://agent.test",
    "HTTP://AGENT.TEST",
    "http://user@agent.test",
    "http://agent.test:80",
    "//evil.test",
    "agent.test",
];
/// At a slash of a path.
const SEGMENTS: &[&str] = &[
    "/", "/.", "/..", "/%2e", "/%2e%2e", "/..;", "/.;x", "/%2E.", "/x/..", "/;", "/;x=1", "/%3b",
    "//open", "//admin",
];
/// Anywhere in a path.
const SIGNS: &[&str] = &[
    ";",
    ";x=1",
    "%3b",
    "%3bx",
    "\\",
    "%5c",
    "%2f",
    "%2F",
    "%00",
    "\0",
    "%c0%af",
    "%c0%ae",
    "%e0%80%af",
    "%",
    "%zz",
    "%2",
    "%3f",
    "%23",
    "#",
    "?",
    " ",
    "\t",
    "%0d%0a",
    "%20",
    "\u{e9}",
    "\u{7f}",
    "\r",
    "\n",
    "|",
    "{",
    "\"",
    "<",
    "^",
    "%2561",
];
const ODD_HOSTS: &[&[&str]] = &[
    &[],
    &["Host: agent.test", "Host: agent.test"],
    &["Host: agent.test", "Host: evil.test"],
    &["Host: evil.test"],
    &["Host : agent.test"],
    &[" Host: agent.test"],
    &["Host: agent.test, evil.test"],
    &["Host:"],
    &["Host: agent.test:80"],
    &["hOsT:localhost"],
    &["Host: agent.test#"],
    &["Host: user@agent.test"],
    &["Host: agent.test/admin"],
    &["H_ost: evil.test", "Host: agent.test"],
    &["Host: agent.test", "X-Forwarded-Host: evil-6.6.6.6"],
];
/// By these a program behind a gate learns who calls, or how the request came.
const NAMES: &[&str] = &[
    "X-Auth-User",
    "X-Auth-User",
    "X-Auth-Email",
    "X-Auth-Groups",
    "X-Auth-Scopes",
    "X-Auth-Provider",
    "X-Gate",
    "X-Forwarded-For",
    "X-Forwarded-Host",
    "X-Forwarded-Proto",
    "X-Forwarded-Prefix",
    "X-Forwarded-User",
    "Forwarded",
    "X-Real-IP",
    "Remote-User",
    "X-Original-URL",
    "X-Rewrite-URL",
    "X-Remote-User",
    "X-WebAuth-User",
    "X-Auth-Request-User",
];
const LINES: &[&str] = &[
    "Connection: close",
    "Connection: keep-alive",
    "Connection: X-Auth-User, X-Gate, Cookie",
    "Connection: x-request-id, content-length, host",
    "Connection: transfer-encoding",
    "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA",
    "Upgrade: websocket",
    "Upgrade: websocket, h2c",
    "Expect: 100-continue",
    "Expect: something",
    "TE: trailers",
    "Trailer: X-Auth-User",
    "Content_Length: 3",
    "Transfer_Encoding: chunked",
    "X_Request_Id: evil-6.6.6.6",
    "X-HTTP-Method-Override: DELETE",
    "Max-Forwards: 0",
    "Origin: http://evil.test",
    "Sec-Fetch-Site: cross-site",
    "Keep-Alive: timeout=5",
    "Proxy-Connection: keep-alive",
    "Transfer-Encoding: identity",
    "X-Note: a\r\n X-Auth-User: evil-6.6.6.6",
    "X-Note: a\r\n\tX-Auth-User: evil-6.6.6.6",
    "X-Note: a\nX-Auth-User: evil-6.6.6.6",
    "X-Note: a\rX-Auth-User: evil-6.6.6.6",
    "X-Note: a\0b",
    "X-Note: a\u{e9}b",
    "X-Note",
    ": evil-6.6.6.6",
    "X-Note : x",
    "X Note: x",
    "\u{e9}: x",
    "Cookie: a=b",
    "Cookie:",
    "Authorization: Bearer made-up",
    "X-Hermes-Session-Token: made-up",
];
const ODD_LENGTHS: &[&str] = &[
    "",
    "+",
    "-",
    "0x",
    "0",
    " ",
    "1e",
    "0, ",
    "9999999999999999999999",
    "0.",
    "\u{b}",
    "1 ",
    "\t",
];
const ODD_CODINGS: &[&str] = &[
    "chunked, chunked",
    "gzip, chunked",
    "chunked, gzip",
    "identity",
    "xchunked",
    "chunkedx",
    "CHUNKED",
    " chunked ",
    "\tchunked",
    "\u{b}chunked",
    "chunked\0",
    "\"chunked\"",
    "chunked;q=1",
    "",
    ",chunked",
    "chunked,",
];
const ODD_CODING_NAMES: &[&str] = &[
    "Transfer-Encoding ",
    " Transfer-Encoding",
    "Transfer-Encoding\t",
    "Transfer\u{2d}Encoding\0",
    "TRANSFER-ENCODING",
];

/// One mutated request, perhaps a second one, and the end of the connection.
pub(super) fn case(dice: &mut Dice, number: usize, cookies: &str) -> Vec<u8> {
    let mut bytes = request(dice, number, cookies);
    match dice.below(8) {
        0 => bytes.extend(request(dice, number, cookies)),
        1 => bytes.extend(smuggled(number)),
        _ => {}
    }
    bytes.extend(LAST.repeat(2).into_bytes());
    bytes
}

/// A request that no one may make: it reaches the application only if the gate takes it for a part
/// of another.
pub(super) fn smuggled(number: usize) -> Vec<u8> {
    let line = format!("GET /smuggled?case={number} HTTP/1.1\r\nHost: agent.test\r\n");
    format!("{line}X-Auth-User: {EVIL}\r\nX-Gate: admin\r\n\r\n").into_bytes()
}

fn request(dice: &mut Dice, number: usize, cookies: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    if dice.below(40) == 0 {
        bytes.extend(
            dice.pick(&["\r\n", "\n", "\r\n\r\n", " ", "\0", "\r"])
                .bytes(),
        );
    }
    let method = if dice.below(15) == 0 {
        dice.pick(ODD_METHODS)
    } else {
        dice.pick(METHODS)
    };
    bytes.extend(method.bytes());
    bytes.extend(space(dice).bytes());
    bytes.extend(target(dice, number));
    bytes.extend(space(dice).bytes());
    let version = if dice.below(15) == 0 {
        dice.pick(ODD_VERSIONS)
    } else {
        "HTTP/1.1"
    };
    bytes.extend(version.bytes());
    bytes.extend(line_end(dice).bytes());

    let body = Framed::of(dice, number);
    let mut lines = headers(dice, cookies);
    let at = dice.below(lines.len() + 1);
    drop(lines.splice(at..at, body.lines));
    for line in lines {
        bytes.extend(line);
        bytes.extend(line_end(dice).bytes());
    }
    bytes.extend(b"\r\n");
    bytes.extend(body.bytes);
    bytes
}

fn space(dice: &mut Dice) -> &'static str {
    if dice.below(60) == 0 {
        dice.pick(&["  ", "\t", "", "\u{b}", " \t", "\r"])
    } else {
        " "
    }
}

fn line_end(dice: &mut Dice) -> &'static str {
    if dice.below(60) == 0 {
        dice.pick(ODD_ENDS)
    } else {
        "\r\n"
    }
}

fn target(dice: &mut Dice, number: usize) -> Vec<u8> {
    let mut target = match dice.below(12) {
        0 => return dice.pick(ODD_TARGETS).into(),
        1 => dice.pick(AUTHORITIES).as_bytes().to_vec(),
        _ => Vec::new(),
    };
    target.extend(path(dice, number));
    target
}

/// A path with a few twists, and perhaps a query.
pub(super) fn path(dice: &mut Dice, number: usize) -> Vec<u8> {
    let mut path = dice.pick(PATHS).as_bytes().to_vec();
    for _ in 0..dice.below(3) {
        twist(dice, &mut path);
    }
    if dice.below(3) > 0 {
        path.extend(format!("?case={number}").bytes());
    }
    path
}

fn twist(dice: &mut Dice, path: &mut Vec<u8>) {
    let anywhere = dice.below(path.len() + 1);
    match dice.below(7) {
        0 => {
            let Some(byte) = path.get(anywhere).copied() else {
                return;
            };
            drop(path.splice(anywhere..=anywhere, format!("%{byte:02x}").into_bytes()));
        }
        1 | 2 => {
            let slashes: Vec<_> = (0..path.len()).filter(|at| path[*at] == b'/').collect();
            let at = if slashes.is_empty() {
                0
            } else {
                dice.pick(&slashes)
            };
            drop(path.splice(at..at, dice.pick(SEGMENTS).bytes()));
        }
        3 | 4 => drop(path.splice(anywhere..anywhere, dice.pick(SIGNS).bytes())),
        5 => path.make_ascii_uppercase(),
        _ if dice.below(40) == 0 => {
            path.extend(std::iter::repeat_n(
                b'x',
                dice.pick(&[9_000, 70_000, 140_000]),
            ));
        }
        _ => path.push(0x80 | u8::try_from(dice.below(128)).unwrap_or_default()),
    }
}

fn headers(dice: &mut Dice, cookies: &str) -> Vec<Vec<u8>> {
    let hosts: &[&str] = if dice.below(12) == 0 {
        dice.pick(ODD_HOSTS)
    } else {
        &["Host: agent.test"]
    };
    let mut lines: Vec<Vec<u8>> = hosts.iter().map(|line| (*line).into()).collect();
    if dice.below(4) > 0 {
        lines.push(format!("Cookie: {cookies}").into());
    }
    for _ in 0..dice.below(4) {
        let line = match dice.below(3) {
            0 => dice.pick(LINES).into(),
            _ => identity(dice),
        };
        let at = dice.below(lines.len() + 1);
        lines.insert(at, line);
    }
    if dice.below(200) == 0 {
        lines.push(
            format!(
                "X-Note: {}",
                "x".repeat(dice.pick(&[9_000, 70_000, 140_000]))
            )
            .into(),
        );
    }
    lines
}

/// A header that only the dashboard may set.
fn identity(dice: &mut Dice) -> Vec<u8> {
    format!(
        "{}:{}{EVIL}",
        spelled(dice),
        dice.pick(&[" ", "", "\t", "  "])
    )
    .into()
}

/// The name of such a header in some spelling.
pub(super) fn spelled(dice: &mut Dice) -> String {
    let name = dice.pick(NAMES);
    match dice.below(9) {
        0 => name.to_lowercase(),
        1 => name.to_uppercase(),
        2 => name.replace('-', "_"),
        3 => name.replacen('-', "_", 1),
        4 => name.replace('-', "."),
        5 => format!(
            "{name}{}",
            dice.pick(&[" ", "\t", "\0", "\u{b}", "\r", ":"])
        ),
        6 => format!("{}{name}", dice.pick(&[" ", "\t", "\n", "\0"])),
        7 => name.replace('-', dice.pick(&["~", "^", "!", "--", " ", "\u{2010}"])),
        _ => name.to_owned(),
    }
}

/// A body, and the headers that say where it ends.
struct Framed {
    lines: Vec<Vec<u8>>,
    bytes: Vec<u8>,
}

impl Framed {
    fn of(dice: &mut Dice, number: usize) -> Self {
        let content = if dice.below(2) == 0 {
            smuggled(number)
        } else {
            b"some=text".to_vec()
        };
        let length = format!("Content-Length: {}", content.len());
        let coding = "Transfer-Encoding: chunked".to_owned();
        let (lines, bytes) = match dice.below(12) {
            0..=3 => (Vec::new(), Vec::new()),
            4 | 5 => (vec![length], content),
            6 => (vec![coding], chunked(&content)),
            7 => (vec![odd_length(dice, content.len())], content),
            8 => (vec![odd_coding(dice)], chunked(&content)),
            9 => (vec![coding], oddly_chunked(dice, &content)),
            10 => (both(dice, content.len()), chunked(&content)),
            _ => (both(dice, content.len()), content),
        };
        Self {
            lines: lines.into_iter().map(String::into_bytes).collect(),
            bytes,
        }
    }
}

fn odd_length(dice: &mut Dice, length: usize) -> String {
    match dice.below(4) {
        // No more than what ends the connection.
        0 => format!("Content-Length: {}", length + dice.below(LAST.len() - 10)),
        1 => format!("Content-Length: {}", length - dice.below(length)),
        2 => format!(
            "Content-Length: {length}{}",
            dice.pick(&[",", ", 0", " 0", ";", "\0", ".0", "\u{b}", "a"])
        ),
        _ => format!("Content-Length: {}{length}", dice.pick(ODD_LENGTHS)),
    }
}

fn odd_coding(dice: &mut Dice) -> String {
    match dice.below(3) {
        0 => format!("{}: chunked", dice.pick(ODD_CODING_NAMES)),
        _ => format!("Transfer-Encoding: {}", dice.pick(ODD_CODINGS)),
    }
}

/// Two headers that say different things of the end of a body.
fn both(dice: &mut Dice, length: usize) -> Vec<String> {
    let all = [
        format!("Content-Length: {length}"),
        format!("content-length: {}", length - dice.below(length)),
        "Transfer-Encoding: chunked".to_owned(),
        odd_coding(dice),
        odd_length(dice, length),
    ];
    let (first, second) = (dice.pick(&all), dice.pick(&all));
    match dice.below(6) {
        0 => vec![first, "X-Note: between".to_owned(), second],
        _ => vec![first, second],
    }
}

fn chunked(content: &[u8]) -> Vec<u8> {
    let mut bytes = format!("{:x}\r\n", content.len()).into_bytes();
    bytes.extend(content);
    bytes.extend(b"\r\n0\r\n\r\n");
    bytes
}

/// The same with one oddity.
fn oddly_chunked(dice: &mut Dice, content: &[u8]) -> Vec<u8> {
    let size = format!("{:x}", content.len());
    let (size, end, last) = match dice.below(6) {
        0 => (
            format!(
                "{size}{}",
                dice.pick(&[
                    ";a",
                    ";a=\"b\"",
                    ";a=\"\r\"",
                    ";\n",
                    " ",
                    "\t",
                    ";a\0",
                    ";a=b;"
                ])
            ),
            "\r\n",
            "0\r\n\r\n",
        ),
        1 => (
            format!(
                "{}{size}",
                dice.pick(&["0x", "+", "-", " ", "000000", "ffffffffffffffff", "\u{b}"])
            ),
            "\r\n",
            "0\r\n\r\n",
        ),
        2 => (
            size,
            dice.pick(&["\n", "\r", "", "\r\n\r\n", "x\r\n"]),
            "0\r\n\r\n",
        ),
        3 => (
            size,
            "\r\n",
            dice.pick(&[
                "0\r\nX-Auth-User: evil-6.6.6.6\r\n\r\n",
                "0\r\nContent-Length: 5\r\n\r\n",
                "0\r\nbad\r\n\r\n",
            ]),
        ),
        4 => (
            size,
            "\r\n",
            dice.pick(&[
                "0\n\n",
                "0\r\n",
                "0",
                "",
                "00000\r\n\r\n",
                "0;x\r\n\r\n",
                "0\r\n\n",
            ]),
        ),
        _ => (
            format!("{:x}", content.len() - dice.below(content.len())),
            "\r\n",
            "0\r\n\r\n",
        ),
    };
    let mut bytes = format!("{size}\r\n").into_bytes();
    bytes.extend(content);
    bytes.extend(end.bytes());
    bytes.extend(last.bytes());
    bytes
}
