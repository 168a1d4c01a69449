//! A line on a terminal that says how far a long command has come.

use std::io::{IsTerminal, Write, stderr};

/// Shows the line in the place of the one before. Nothing is shown if stderr is no terminal.
pub(super) fn show(line: &str) {
    if stderr().is_terminal() {
        let _ = write!(stderr(), "\r\x1b[2K{line}");
    }
}

/// Takes the line away.
pub(super) fn clear() {
    show("");
}
