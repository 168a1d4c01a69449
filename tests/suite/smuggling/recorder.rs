//! An application that reads requests by a strict parser of its own (RFC 9112), and notes what that
//! finds wrong.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};

/// A request as it arrived.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    pub(super) method: String,
    pub(super) target: String,
    /// With the names as they were spelled.
    pub(super) headers: Vec<(String, String)>,
    /// Whether its body arrived to its end.
    pub(super) is_complete: bool,
}

impl Seen {
    pub(super) fn all(&self, name: &str) -> Vec<&str> {
        self.headers
            .iter()
            .filter(|(spelled, _)| spelled == name)
            .map(|(_, value)| value.as_str())
            .collect()
    }

    pub(super) fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or_default()
    }
}

#[derive(Default)]
struct Kept {
    seen: Vec<Seen>,
    faults: Vec<String>,
}

/// Answers every request with 200, on connections that it never closes first.
pub(super) struct Recorder {
    pub(super) port: u16,
    kept: Arc<Mutex<Kept>>,
}

impl Recorder {
    pub(super) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().expect("its address").port();
        let kept = Arc::new(Mutex::new(Kept::default()));
        let shared = kept.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let kept = shared.clone();
                std::thread::spawn(move || record(stream, &kept));
            }
        });
        Self { port, kept }
    }

    /// What arrived so far, and what of it no strict reader takes.
    pub(super) fn kept(&self) -> (Vec<Seen>, Vec<String>) {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        (kept.seen.clone(), kept.faults.clone())
    }
}

fn record(stream: TcpStream, kept: &Mutex<Kept>) {
    let kept = || kept.lock().unwrap_or_else(PoisonError::into_inner);
    let mut stream = BufReader::new(stream);
    loop {
        let seen = match read_request(&mut stream) {
            Ok(Some(seen)) => seen,
            Ok(None) => return,
            Err(fault) => return kept().faults.push(fault),
        };
        let is_complete = seen.is_complete;
        let body = if seen.method == "HEAD" { "" } else { "ok" };
        kept().seen.push(seen);
        let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{body}");
        if !is_complete || stream.get_mut().write_all(answer.as_bytes()).is_err() {
            return;
        }
    }
}

/// Reads one request. `None`: the connection has ended.
///
/// # Errors
/// What a strict reader refuses.
fn read_request(stream: &mut BufReader<TcpStream>) -> Result<Option<Seen>, String> {
    let Some(line) = read_line(stream)? else {
        return Ok(None);
    };
    let (method, target) = read_request_line(&line)?;
    let mut headers = Vec::new();
    loop {
        let line = read_line(stream)?.ok_or_else(|| format!("the head of {target} has no end"))?;
        if line.is_empty() {
            break;
        }
        headers.push(read_header(&line)?);
    }
    let mut seen = Seen {
        method,
        target,
        headers,
        is_complete: true,
    };
    seen.is_complete = read_body(stream, &seen)?;
    Ok(Some(seen))
}

/// One line without its end. `None`: the connection has ended before it.
fn read_line(stream: &mut BufReader<TcpStream>) -> Result<Option<Vec<u8>>, String> {
    let mut line = Vec::new();
    // A reset is an end.
    let _ = stream.read_until(b'\n', &mut line);
    if line.is_empty() {
        return Ok(None);
    }
    let Some(text) = line.strip_suffix(b"\r\n") else {
        return Err(format!(
            "a line without CRLF at its end: {}",
            line.escape_ascii()
        ));
    };
    match text
        .iter()
        .any(|byte| matches!(byte, b'\r' | b'\n' | b'\0'))
    {
        true => Err(format!("CR, LF or NUL in a line: {}", text.escape_ascii())),
        false => Ok(Some(text.to_vec())),
    }
}

fn read_request_line(line: &[u8]) -> Result<(String, String), String> {
    let fault = || format!("a request line: {}", line.escape_ascii());
    let text = std::str::from_utf8(line)
        .ok()
        .filter(|text| text.is_ascii())
        .ok_or_else(fault)?;
    let words: Vec<_> = text.split(' ').collect();
    match words[..] {
        [method, target, "HTTP/1.1"]
            if is_token(method)
                && target.starts_with('/')
                && target.bytes().all(|byte| byte.is_ascii_graphic()) =>
        {
            Ok((method.to_owned(), target.to_owned()))
        }
        _ => Err(fault()),
    }
}

fn read_header(line: &[u8]) -> Result<(String, String), String> {
    let fault = || format!("a header: {}", line.escape_ascii());
    let colon = line
        .iter()
        .position(|byte| *byte == b':')
        .ok_or_else(fault)?;
    let (name, value) = line.split_at(colon);
    let name = std::str::from_utf8(name)
        .ok()
        .filter(|name| is_token(name))
        .ok_or_else(fault)?;
    let value = value[1..].trim_ascii();
    Ok((name.to_owned(), String::from_utf8_lossy(value).into_owned()))
}

/// RFC 9110 section 5.6.2.
fn is_token(text: &str) -> bool {
    let is_of_it = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !text.is_empty() && text.bytes().all(is_of_it)
}

/// Reads the body to its end. Returns whether there was one.
fn read_body(stream: &mut BufReader<TcpStream>, seen: &Seen) -> Result<bool, String> {
    let values = |name: &str| {
        let named = seen
            .headers
            .iter()
            .filter(|(spelled, _)| spelled.eq_ignore_ascii_case(name));
        named.map(|(_, value)| value.as_str()).collect::<Vec<_>>()
    };
    let (lengths, codings) = (values("content-length"), values("transfer-encoding"));
    match (&lengths[..], &codings[..]) {
        ([], []) => Ok(true),
        ([length], [])
            if !length.is_empty() && length.bytes().all(|byte| byte.is_ascii_digit()) =>
        {
            let length: usize = length.parse().map_err(|_| format!("a length: {length}"))?;
            Ok(stream.read_exact(&mut vec![0; length]).is_ok())
        }
        ([], ["chunked"]) => read_chunks(stream),
        _ => Err(format!(
            "lengths {lengths:?} and codings {codings:?} of {}",
            seen.target
        )),
    }
}

fn read_chunks(stream: &mut BufReader<TcpStream>) -> Result<bool, String> {
    loop {
        let mut line = Vec::new();
        let _ = stream.read_until(b'\n', &mut line);
        let Some(size) = line.strip_suffix(b"\r\n") else {
            // The connection may end in the middle of a body.
            return if line.ends_with(b"\n") {
                Err(format!("a chunk: {}", line.escape_ascii()))
            } else {
                Ok(false)
            };
        };
        let is_size = !size.is_empty() && size.iter().all(u8::is_ascii_hexdigit);
        let size = std::str::from_utf8(size).ok().filter(|_| is_size);
        let size = size.and_then(|size| usize::from_str_radix(size, 16).ok());
        let size = size.ok_or_else(|| format!("the size of a chunk: {}", line.escape_ascii()))?;
        let mut chunk = vec![0; size + 2];
        if stream.read_exact(&mut chunk).is_err() {
            return Ok(false);
        }
        if !chunk.ends_with(b"\r\n") {
            return Err(format!(
                "the end of a chunk, or trailers: {}",
                chunk.escape_ascii()
            ));
        }
        if size == 0 {
            return Ok(true);
        }
    }
}
