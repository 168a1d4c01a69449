//! An HTTP/1.1 server in the process of the test, which keeps connections open.

use percent_encoding::percent_decode_str;
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};

/// A request that was read whole.
#[derive(Debug)]
pub(crate) struct Asked {
    /// Without the query.
    pub(crate) path: String,
    /// The parameters of the query, and those of a form in the body.
    pub(crate) parameters: BTreeMap<String, String>,
    /// Names in lower case.
    headers: BTreeMap<String, String>,
}

/// What a request gets.
#[derive(Debug)]
pub(crate) struct Answer {
    status: u16,
    location: Option<String>,
    body: String,
}

impl Answer {
    /// 200 with this body.
    pub(crate) fn ok(body: impl Into<String>) -> Self {
        Self::error(200, body)
    }

    /// Another status with this body.
    pub(crate) fn error(status: u16, body: impl Into<String>) -> Self {
        Self {
            status,
            location: None,
            body: body.into(),
        }
    }

    /// 302 to this address.
    pub(crate) fn redirect(location: String) -> Self {
        Self {
            status: 302,
            location: Some(location),
            body: String::new(),
        }
    }

    fn text(&self) -> String {
        let location = self
            .location
            .as_ref()
            .map(|to| format!("Location: {to}\r\n"))
            .unwrap_or_default();
        let Self { status, body, .. } = self;
        let length = body.len();
        format!(
            "HTTP/1.1 {status} Answer\r\nContent-Type: application/json\r\n{location}\
             Content-Length: {length}\r\n\r\n{body}"
        )
    }
}

impl Asked {
    /// A parameter; empty where it is missing.
    pub(crate) fn parameter(&self, name: &str) -> &str {
        self.parameters
            .get(name)
            .map(String::as_str)
            .unwrap_or_default()
    }

    /// A header, by its name in lower case; empty where it is missing.
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map(String::as_str)
            .unwrap_or_default()
    }

    /// `None` at the end of the connection, or if it is no request.
    fn read(reader: &mut impl BufRead) -> Option<Self> {
        let first = read_line(reader)?;
        let target = first.split(' ').nth(1)?;
        let mut headers = BTreeMap::new();
        loop {
            let line = read_line(reader)?;
            if line.is_empty() {
                break;
            }
            let (name, value) = line.split_once(':')?;
            headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
        }
        let body = String::from_utf8(read_body(reader, &headers)?).ok()?;
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        Some(Self {
            path: path.to_owned(),
            parameters: parameters(&format!("{query}&{body}")),
            headers,
        })
    }
}

/// A line without its end. `None` at the end of the connection.
fn read_line(reader: &mut impl BufRead) -> Option<String> {
    let mut line = String::new();
    let read = reader.read_line(&mut line).ok()?;
    (read > 0).then(|| line.trim_end().to_owned())
}

/// A body with a length, or in chunks (RFC 9112, section 7.1).
fn read_body(reader: &mut impl BufRead, headers: &BTreeMap<String, String>) -> Option<Vec<u8>> {
    let is_chunked = headers
        .get("transfer-encoding")
        .is_some_and(|coding| coding == "chunked");
    if !is_chunked {
        let length = headers
            .get("content-length")
            .and_then(|length| length.parse().ok());
        return read_bytes(reader, length.unwrap_or_default());
    }
    let mut body = Vec::new();
    loop {
        let length = usize::from_str_radix(&read_line(reader)?, 16).ok()?;
        body.extend(read_bytes(reader, length)?);
        read_line(reader)?;
        if length == 0 {
            return Some(body);
        }
    }
}

fn read_bytes(reader: &mut impl BufRead, length: usize) -> Option<Vec<u8>> {
    let mut bytes = vec![0; length];
    reader.read_exact(&mut bytes).ok()?;
    Some(bytes)
}

/// The parameters of a query or a form.
pub(crate) fn parameters(text: &str) -> BTreeMap<String, String> {
    let decoded = |text: &str| {
        percent_decode_str(&text.replace('+', " "))
            .decode_utf8_lossy()
            .into_owned()
    };
    let pairs = text.split('&').filter(|pair| !pair.is_empty());
    let pairs = pairs.map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    pairs
        .map(|(name, value)| (decoded(name), decoded(value)))
        .collect()
}

/// A port of this machine, and its address as an origin.
pub(crate) fn bind() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    (listener, format!("http://{address}"))
}

/// Answers every request, each connection on a thread of its own, until the process ends.
pub(crate) fn serve(
    listener: TcpListener,
    answer: impl Fn(&Asked) -> Answer + Clone + Send + 'static,
) {
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let answer = answer.clone();
            std::thread::spawn(move || converse(&stream, &answer));
        }
    });
}

fn converse(stream: &TcpStream, answer: &impl Fn(&Asked) -> Answer) {
    let mut reader = BufReader::new(stream);
    let mut writer = stream;
    while let Some(asked) = Asked::read(&mut reader) {
        if writer.write_all(answer(&asked).text().as_bytes()).is_err() {
            return;
        }
    }
}
