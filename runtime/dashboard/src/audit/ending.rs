//! How a log ends: what a writer finds that is about to write on.

use super::EventName;
use super::chain::{ChainLine, Point};
use super::file_end::file_end;
use super::mac::MacKey;
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
        /// The last line that a process with the key wrote. `None`: there is none in what was read,
        /// or there is no key.
        own: Option<Point>,
        /// What stands after it: a line that was not written to its end, or damage.
        rest: Vec<u8>,
    },
}

impl Ending {
    /// Reads at most [`TAIL_BYTES`] of the file.
    pub(super) fn of(path: &Path, macs: Option<&MacKey>) -> io::Result<Self> {
        let tail = match file_end(path, TAIL_BYTES) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::Empty),
            tail => tail?,
        };
        Ok(Self::of_bytes(&tail, macs))
    }

    fn of_bytes(tail: &[u8], macs: Option<&MacKey>) -> Self {
        if let Some((line, end)) = last_line(tail) {
            return Self::Chained {
                last: line.at,
                is_checkpoint: line.event() == Some(EventName::Checkpoint),
                own: macs.and_then(|macs| last_own(tail, macs)),
                rest: tail[end..].to_vec(),
            };
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

/// The last line of a chain, and where the bytes after it begin.
fn last_line(tail: &[u8]) -> Option<(ChainLine<'_>, usize)> {
    let mut end = tail.len();
    while let Some(newline) = tail[..end].iter().rposition(|byte| *byte == b'\n') {
        let start = tail[..newline]
            .iter()
            .rposition(|byte| *byte == b'\n')
            .map_or(0, |before| before + 1);
        if let Some(line) = ChainLine::read(&tail[start..newline]) {
            return Some((line, newline + 1));
        }
        end = newline;
    }
    None
}

/// The last line that a process with the key wrote.
fn last_own(tail: &[u8], macs: &MacKey) -> Option<Point> {
    let (mut line, mut end) = last_line(tail)?;
    loop {
        // Without its newline, the line itself is not found again.
        let before = last_line(&tail[..end - 1]);
        let previous = before.as_ref().map(|(line, _)| line.at.chain);
        let is_own = line
            .previous(previous)
            .is_some_and(|previous| line.is_by(macs, &previous));
        if is_own {
            return Some(line.at);
        }
        (line, end) = before?;
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
            } = Ending::of_bytes(&tail, None)
            else {
                unreachable!("there is a chain before {rest:?}")
            };
            assert_eq!((last, &found[..]), (pen.at, rest.as_bytes()));
        }
        let whole = pen.lines.len();
        assert!(matches!(
            Ending::of_bytes(&pen.lines[..whole - 1], None),
            Ending::Damaged { is_torn: true }
        ));
        assert!(matches!(
            Ending::of_bytes(b"noise\n", None),
            Ending::Damaged { is_torn: false }
        ));
        assert!(matches!(
            Ending::of_bytes(b"{\"ts\":\"T\"}\n", None),
            Ending::Unchained
        ));
        assert!(matches!(Ending::of_bytes(b"\n", None), Ending::Empty));
    }
    #[test]
    fn last_line_of_a_process_with_the_key_is_found_before_others() {
        let key = MacKey::of(&[1; 32]);
        let genesis = Point {
            seq: 0,
            chain: GENESIS,
        };
        let mut own = Pen::after(genesis, Unsigned::Nothing).with_macs(Some(key.clone()));
        own.write(&Record::now(EventName::ChainStarted));
        own.write(&Record::now(EventName::DrainBegin));
        let of = |tail: &[u8], macs| match Ending::of_bytes(tail, macs) {
            Ending::Chained { last, own, .. } => (last, own),
            _ => unreachable!("there is a chain"),
        };
        assert_eq!(of(&own.lines, Some(&key)), (own.at, Some(own.at)));
        assert_eq!(of(&own.lines, None), (own.at, None));
        let other = MacKey::of(&[2; 32]);
        assert_eq!(of(&own.lines, Some(&other)), (own.at, None));

        let mut forger = Pen::after(own.at, Unsigned::Nothing);
        forger.write(&Record::now(EventName::Logout));
        forger.write(&Record::now(EventName::Logout));
        let tail = [&own.lines[..], b"noise\n", &forger.lines].concat();
        assert_eq!(of(&tail, Some(&key)), (forger.at, Some(own.at)));
    }
}
