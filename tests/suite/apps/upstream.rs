//! The applications behind the gate that the tests make.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};

/// One request as an application received it.
#[derive(Clone, Debug)]
pub(super) struct Received {
    /// The method and the target.
    pub(super) line: String,
    /// In lower case.
    pub(super) headers: Vec<(String, String)>,
}

impl Received {
    pub(super) fn all(&self, name: &str) -> Vec<&str> {
        self.headers
            .iter()
            .filter(|(known, _)| known == name)
            .map(|(_, value)| value.as_str())
            .collect()
    }

    pub(super) fn has(&self, name: &str) -> bool {
        !self.all(name).is_empty()
    }
}

/// An application: answers the first request of each connection.
pub(super) struct Upstream {
    pub(super) port: u16,
    received: Arc<Mutex<Vec<Received>>>,
}

impl Upstream {
    pub(super) fn start(
        answer: impl Fn(&Received, &mut BufReader<TcpStream>) + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().expect("its address").port();
        let received = Arc::new(Mutex::new(Vec::new()));
        let (seen, answer) = (received.clone(), Arc::new(answer));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (seen, answer) = (seen.clone(), answer.clone());
                std::thread::spawn(move || {
                    let mut stream = BufReader::new(stream);
                    let Some(request) = read_head(&mut stream) else {
                        return;
                    };
                    seen.lock()
                        .unwrap_or_else(PoisonError::into_inner)
                        .push(request.clone());
                    answer(&request, &mut stream);
                });
            }
        });
        Self { port, received }
    }

    /// One that answers each request with the same.
    pub(super) fn answering(answer: &'static str) -> Self {
        Self::start(move |_, stream| write(stream, answer))
    }

    pub(super) fn received(&self) -> Vec<Received> {
        self.received
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    pub(super) fn last(&self) -> Received {
        self.received().pop().expect("a request arrived")
    }
}

pub(super) const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok";

pub(super) fn write(stream: &mut BufReader<TcpStream>, text: &str) {
    // The dashboard may have given up.
    let _ = stream.get_mut().write_all(text.as_bytes());
}

pub(super) fn read_head(stream: &mut impl BufRead) -> Option<Received> {
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
    Some(Received {
        line,
        headers: lines.map(header).collect(),
    })
}
