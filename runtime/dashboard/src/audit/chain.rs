//! The chain of a log: each line has a number, and a hash over itself and the line before.
//!
//! **Invariant:** the hash covers the bytes of a line as they are in the file, so that no reader
//! has to agree on how JSON is written.

use super::mac::{Code, MAC_BYTES, MacKey};
use super::unsigned::Unsigned;
use super::{EventName, Record};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

/// A hash of the chain.
pub(super) type Hash = [u8; 32];

/// Stands for the hash of the line before, in the first line of a chain.
pub(super) const GENESIS: Hash = [0; 32];

/// Between the content of a line and the hash of it.
const KEY: &[u8] = b",\"chain\":\"";
/// Between the content of a line and the code over it, which the hash covers as well.
const MAC: &[u8] = b",\"mac\":\"";
/// What follows the hash at the end of a line.
const END: &[u8] = b"\"}";
/// Digits of a hash in hexadecimal.
const HASH_DIGITS: usize = 64;

/// Number and hash of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Point {
    pub(super) seq: u64,
    pub(super) chain: Hash,
}

/// Lines that are about to be written, and where the log stands after them.
#[derive(Clone)]
pub(super) struct Pen {
    /// `None`: the lines have no code.
    macs: Option<MacKey>,
    pub(super) lines: Vec<u8>,
    pub(super) at: Point,
    pub(super) unsigned: Unsigned,
}

impl Pen {
    /// Writes on after this line, where these lines are not signed.
    pub(super) fn after(at: Point, unsigned: Unsigned) -> Self {
        Self {
            macs: None,
            lines: Vec::new(),
            at,
            unsigned,
        }
    }

    /// The same, with a code in each line.
    pub(super) fn with_macs(self, macs: Option<MacKey>) -> Self {
        Self { macs, ..self }
    }

    /// A pen without lines at the point that this one reached.
    pub(super) fn next(&self) -> Self {
        Self::after(self.at, self.unsigned).with_macs(self.macs.clone())
    }

    /// Appends a line to the chain.
    pub(super) fn write(&mut self, record: &Record) {
        let start = self.lines.len();
        let seq = self.at.seq.saturating_add(1);
        // Text keys and plain values always serialise, and a vector always takes them.
        let _ = serde_json::to_writer(&mut self.lines, record);
        // The closing brace: two fields follow.
        self.lines.pop();
        self.lines
            .extend_from_slice(format!(",\"seq\":{seq}").as_bytes());
        if let Some(macs) = &self.macs {
            let code = macs.of_line(&self.at.chain, &self.lines[start..]);
            self.lines.extend_from_slice(MAC);
            self.lines.extend_from_slice(hex::encode(code).as_bytes());
            self.lines.push(b'"');
        }
        let chain = link(&self.at.chain, &self.lines[start..]);

        self.lines.extend_from_slice(KEY);
        self.lines.extend_from_slice(hex::encode(chain).as_bytes());
        self.lines.extend_from_slice(END);
        self.lines.push(b'\n');
        self.at = Point { seq, chain };
        self.unsigned = match self.unsigned {
            _ if record.event() == EventName::Checkpoint => Unsigned::Nothing,
            Unsigned::Nothing => Unsigned::Since {
                seq,
                ts: record.ts(),
            },
            known => known,
        };
    }
}

/// The hash of a line: SHA-256 over the 32 bytes of the previous hash and the line's content.
fn link(previous: &Hash, content: &[u8]) -> Hash {
    Sha256::new()
        .chain_update(previous)
        .chain_update(content)
        .finalize()
        .into()
}

/// A line of a chain, as it was read.
pub(super) struct ChainLine<'a> {
    content: &'a [u8],
    pub(super) at: Point,
    pub(super) fields: Map<String, Value>,
}

impl<'a> ChainLine<'a> {
    /// Takes a line, without its newline, apart. Returns `None` if it is no JSON object, or has no
    /// number and hash where [`Pen::write`] puts them.
    pub(super) fn read(line: &'a [u8]) -> Option<Self> {
        let (rest, digits) = line.strip_suffix(END).and_then(|line| {
            let length = line.len().checked_sub(HASH_DIGITS)?;
            line.split_at_checked(length)
        })?;
        let content = rest.strip_suffix(KEY)?;
        // One way to write a hash: otherwise a changed letter would go unnoticed.
        if digits.iter().any(u8::is_ascii_uppercase) {
            return None;
        }

        let mut chain = GENESIS;
        hex::decode_to_slice(digits, &mut chain).ok()?;
        let fields: Map<String, Value> = serde_json::from_slice(line).ok()?;
        let seq = fields.get("seq")?.as_u64()?;

        Some(Self {
            content,
            at: Point { seq, chain },
            fields,
        })
    }

    /// Returns whether the line's hash is right if this is the hash of the line before.
    pub(super) fn follows(&self, previous: &Hash) -> bool {
        link(previous, self.content) == self.at.chain
    }

    /// Returns whether a process with the key wrote the line after one with this hash.
    pub(super) fn is_by(&self, macs: &MacKey, previous: &Hash) -> bool {
        self.coded()
            .is_some_and(|(content, code)| macs.has_written(previous, content, &code))
    }

    /// Returns whether the line has a code, be it right or wrong.
    pub(super) fn has_mac(&self) -> bool {
        self.coded().is_some()
    }

    /// What the code covers, and the code.
    fn coded(&self) -> Option<(&'a [u8], Code)> {
        let (rest, digits) = self
            .content
            .strip_suffix(b"\"")?
            .split_last_chunk::<{ 2 * MAC_BYTES }>()?;
        let mut code = [0; MAC_BYTES];
        hex::decode_to_slice(digits, &mut code).ok()?;
        Some((rest.strip_suffix(MAC)?, code))
    }

    /// The hash before the line: that of the line before it in the file, unless it is the first of
    /// its file and says itself what it follows.
    pub(super) fn previous(&self, before: Option<Hash>) -> Option<Hash> {
        match (self.event(), before) {
            (Some(EventName::ChainStarted), _) => Some(GENESIS),
            (Some(EventName::ChainContinued), None) => self.text("previous").and_then(hash_of),
            (_, before) => before,
        }
    }

    /// Returns `None` for an event of another version.
    pub(super) fn event(&self) -> Option<EventName> {
        EventName::deserialize(self.fields.get("event")?).ok()
    }

    /// When the event happened. Returns `None` if the line does not say it as every writer does.
    pub(super) fn time(&self) -> Option<Timestamp> {
        self.text("ts")?.parse().ok()
    }

    /// A field that is text.
    pub(super) fn text(&self, key: &str) -> Option<&str> {
        self.fields.get(key)?.as_str()
    }

    /// A field that is a whole number.
    pub(super) fn number(&self, key: &str) -> Option<u64> {
        self.fields.get(key)?.as_u64()
    }
}

/// A hash as it is written.
pub(super) fn hash_of(digits: &str) -> Option<Hash> {
    let mut hash = GENESIS;
    hex::decode_to_slice(digits, &mut hash).ok()?;
    Some(hash)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn line_ends_with_its_number_and_hash_and_follows_the_one_before() {
        let genesis = Point {
            seq: 0,
            chain: GENESIS,
        };
        let mut pen = Pen::after(genesis, Unsigned::Nothing);
        pen.write(
            &Record::now(EventName::DrainBegin)
                .with("seq", 7)
                .with("mac", "x")
                .with("chain", "x"),
        );
        pen.write(&Record::now(EventName::Logout));
        let text = String::from_utf8(pen.lines).unwrap();
        let lines: Vec<_> = text
            .lines()
            .map(|line| ChainLine::read(line.as_bytes()).unwrap())
            .collect();
        let [first, second] = &lines[..] else {
            unreachable!("two lines: {text}")
        };
        assert_eq!((first.at.seq, second.at.seq), (1, 2));
        assert!(
            first.follows(&GENESIS) && second.follows(&first.at.chain) && !second.follows(&GENESIS)
        );
        assert_eq!(second.at, pen.at);

        // As docs/audit.md says it.
        let line = text.lines().next().unwrap();
        let (content, end) = line.split_at(line.len() - 76);
        let hash = hex::encode(
            Sha256::new()
                .chain_update([0_u8; 32])
                .chain_update(content)
                .finalize(),
        );
        assert_eq!(end, format!(r#","chain":"{hash}"}}"#));
        assert!(
            content.ends_with(r#","seq":1"#) && content.starts_with(r#"{"ts":""#),
            "{content}"
        );
    }

    #[test]
    fn code_of_a_line_is_part_of_what_its_hash_covers() {
        let genesis = Point {
            seq: 0,
            chain: GENESIS,
        };
        let (own, other) = (MacKey::of(&[1; 32]), MacKey::of(&[2; 32]));
        let mut pen = Pen::after(genesis, Unsigned::Nothing).with_macs(Some(own.clone()));
        pen.write(&Record::now(EventName::DrainBegin));
        let text = String::from_utf8(pen.lines).unwrap();
        let line = ChainLine::read(text.trim_end().as_bytes()).unwrap();
        assert!(line.follows(&GENESIS) && line.has_mac());
        assert!(line.is_by(&own, &GENESIS) && !line.is_by(&other, &GENESIS));
        assert!(!line.is_by(&own, &[1; 32]), "it is of one place");
        assert!(text.contains(r#","seq":1,"mac":""#), "{text}");

        let mut forger = Pen::after(genesis, Unsigned::Nothing);
        forger.write(&Record::now(EventName::DrainBegin));
        let line = ChainLine::read(forger.lines.trim_ascii_end()).unwrap();
        assert!(line.follows(&GENESIS));
        assert!(!line.has_mac() && !line.is_by(&own, &GENESIS));
    }

    #[test]
    fn other_ways_to_write_a_line_are_no_lines_of_the_chain() {
        let genesis = Point {
            seq: 0,
            chain: GENESIS,
        };
        let mut pen = Pen::after(genesis, Unsigned::Nothing);
        pen.write(&Record::now(EventName::DrainBegin));
        let line = String::from_utf8(pen.lines).unwrap().trim_end().to_owned();
        assert!(ChainLine::read(line.as_bytes()).is_some());
        let (content, hash) = line.split_at(line.len() - 66);
        let changed = [
            format!("{line} "),
            format!(" {line}}}"),
            format!("{content}{}", hash.to_uppercase()),
            String::new(),
        ];
        for line in changed {
            assert!(ChainLine::read(line.as_bytes()).is_none(), "{line}");
        }
    }
}
