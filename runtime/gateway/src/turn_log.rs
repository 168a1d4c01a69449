//! What a turn's command writes on stderr, as lines of the gateway's log.
//!
//! **Invariant:** a turn adds at most [`MAX_LINES`] lines of [`MAX_LINE_BYTES`] each, and one that
//! counts the rest.

use super::turns::TurnId;
use tokio::io::AsyncReadExt;
use tokio::process::ChildStderr;

const MAX_LINE_BYTES: usize = 1024;
const MAX_LINES: u64 = 200;

/// Logs the lines of one turn until the pipe is closed.
pub(super) async fn log_stderr(turn: TurnId, stderr: Option<ChildStderr>) {
    let Some(mut stderr) = stderr else { return };
    // As a field, so that the log's format escapes control characters.
    let log = |line: &str| tracing::info!(turn, line, "stderr");
    let mut lines = OutputLines::default();
    let mut buffer = vec![0; 4096];
    while let Ok(read @ 1..) = stderr.read(&mut buffer).await {
        lines.push(&buffer[..read], log);
    }
    let left_out = lines.finish(log);
    if left_out > 0 {
        tracing::info!(turn, left_out, "stderr: further lines are left out");
    }
}

/// Splits bytes into lines, and cuts both.
#[derive(Default)]
struct OutputLines {
    line: Vec<u8>,
    count: u64,
}

impl OutputLines {
    fn push(&mut self, bytes: &[u8], log: impl Fn(&str)) {
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            let text = piece.strip_suffix(b"\n").unwrap_or(piece);
            let room = MAX_LINE_BYTES.saturating_sub(self.line.len());
            self.line.extend_from_slice(&text[..text.len().min(room)]);
            if text.len() < piece.len() {
                self.end_line(&log);
            }
        }
    }

    fn end_line(&mut self, log: impl Fn(&str)) {
        self.count += 1;
        if self.count <= MAX_LINES {
            log(&String::from_utf8_lossy(&self.line));
        }
        self.line.clear();
    }

    /// Ends the last line, and returns how many lines were left out.
    fn finish(mut self, log: impl Fn(&str)) -> u64 {
        if !self.line.is_empty() {
            self.end_line(log);
        }
        self.count.saturating_sub(MAX_LINES)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;

    #[test]
    fn lines_are_put_together_cut_and_counted() {
        let logged = RefCell::new(Vec::new());
        let log = |line: &str| logged.borrow_mut().push(line.to_owned());
        let mut lines = OutputLines::default();
        lines.push(b"on", log);
        lines.push(b"e\n\ntw", log);
        lines.push(&[b'x'; 5_000], log);
        lines.push(&b"\n".repeat(300), log);
        let left_out = lines.finish(log);
        let logged = logged.into_inner();
        assert_eq!(
            (logged[0].as_str(), logged[1].as_str(), logged[2].len()),
            ("one", "", MAX_LINE_BYTES)
        );
        assert_eq!((logged.len(), left_out), (200, 102));
    }
}
