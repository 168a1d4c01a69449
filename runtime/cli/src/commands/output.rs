//! Stdout of a command. `head` and pagers close it early: what is left is then dropped, and the
//! command ends with the exit code of its own result.

use std::io::{self, ErrorKind, Stdout, Write};

/// Drops what is written after the reader has closed the pipe.
pub(super) struct UntilClosed<W>(pub(super) W);

/// The stdout of the process.
pub(super) fn stdout() -> UntilClosed<Stdout> {
    UntilClosed(io::stdout())
}

impl<W: Write> Write for UntilClosed<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.0.write(bytes) {
            Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(bytes.len()),
            written => written,
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self.0.flush() {
            Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
            flushed => flushed,
        }
    }
}
