//! How a log ends: what a writer finds that is about to write on.

use super::EventName;
use super::chain::{ChainLine, Point};
use super::file_end::file_end;
use serde_json::{Map, Value};
use std::io;
use std::path::Path;

/// Read from the end of a file. Longer than any line.
const TAIL_BYTES: u64 = 1024 * 1024;

/// The end of a file.
pub(super) enum Ending {
    /// There is no file, or nothing in it.
    Empty,
    /// The last line is JSON without a number and a hash: it is from before the log had a chain.
    Unchained,
    /// There is no line of a chain.
    Damaged {
        /// The last byte is no newline.
        is_torn: bool,
    },
    /// There is a line of a chain.
    Chained {
        last: Point,
        is_checkpoint: bool,
        /// What stands after it: a line that was not written to its end, or damage.
        rest: Vec<u8>,
    },
}

impl Ending {
    /// Reads at most [`TAIL_BYTES`] of the file.
    pub(super) fn of(path: &Path) -> io::Result<Self> {
        let tail = match file_end(path, TAIL_BYTES) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::Empty),
            tail => tail?,
        };
        Ok(Self::of_bytes(&tail))
    }

    fn of_bytes(tail: &[u8]) -> Self {
        let mut end = tail.len();
        while let Some(newline) = tail[..end].iter().rposition(|byte| *byte == b'\n') {
            let start = tail[..newline]
                .iter()
                .rposition(|byte| *byte == b'\n')
                .map_or(0, |before| before + 1);
            if let Some(line) = ChainLine::read(&tail[start..newline]) {
                let is_checkpoint = line.event() == Some(EventName::Checkpoint);
                return Self::Chained {
                    last: line.at,
                    is_checkpoint,
                    rest: tail[newline + 1..].to_vec(),
                };
            }
            end = newline;
        }

        let is_torn = tail.last().is_some_and(|byte| *byte != b'\n');
        match tail
            .split(|byte| *byte == b'\n')
            .rfind(|line| !line.is_empty())
        {
            None => Self::Empty,
            Some(line) if !is_torn && is_unchained(line) => Self::Unchained,
            Some(_) => Self::Damaged { is_torn },
        }
    }
}

fn is_unchained(line: &[u8]) -> bool {
    let fields: Option<Map<String, Value>> = serde_json::from_slice(line).ok();
    fields.is_some_and(|fields| !fields.contains_key("seq") && !fields.contains_key("chain"))
}

#[cfg(test)]
mod tests {
    use super::super::Record;
    use super::super::chain::{GENESIS, Pen};
    use super::super::unsigned::Unsigned;
    use super::*;

    #[test]
    fn last_line_of_the_chain_is_found_before_any_damage_after_it() {
        let at = Point {
            seq: 4,
            chain: GENESIS,
        };
        let mut pen = Pen::after(at, Unsigned::Nothing);
        pen.write(&Record::now(EventName::DrainBegin));
        for rest in ["", "{\"ts\":\"2026", "\n{}\nnoise\n"] {
            let tail = [&pen.lines[..], rest.as_bytes()].concat();
            let Ending::Chained {
                last, rest: found, ..
            } = Ending::of_bytes(&tail)
            else {
                unreachable!("there is a chain before {rest:?}")
            };
            assert_eq!((last, &found[..]), (pen.at, rest.as_bytes()));
        }
        let whole = pen.lines.len();
        assert!(matches!(
            Ending::of_bytes(&pen.lines[..whole - 1]),
            Ending::Damaged { is_torn: true }
        ));
        assert!(matches!(
            Ending::of_bytes(b"noise\n"),
            Ending::Damaged { is_torn: false }
        ));
        assert!(matches!(
            Ending::of_bytes(b"{\"ts\":\"T\"}\n"),
            Ending::Unchained
        ));
        assert!(matches!(Ending::of_bytes(b"\n"), Ending::Empty));
    }
}
