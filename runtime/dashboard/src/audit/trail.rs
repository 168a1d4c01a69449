//! One log: a chain of lines over a file and those that were moved aside.

use super::chain::{GENESIS, Pen, Point};
use super::ending::Ending;
use super::head::{HeadProof, Heads};
use super::key::AuditKey;
use super::mac::MacKey;
use super::rotating_file::{RotatingFile, numbered};
use super::unsigned::Unsigned;
use super::{EventName, Record, Rotation};
use sha2::{Digest, Sha256};
use std::io;
use std::path::{Path, PathBuf};

/// Appends to a log, and records in it what it finds wrong with its end. The caller holds the lock
/// of the log.
pub(super) struct Trail {
    path: PathBuf,
    /// In checkpoints and in the file of the heads.
    name: String,
    file: RotatingFile,
    /// The last line that this process knows of.
    last: Option<Point>,
    unsigned: Unsigned,
    /// The last write failed.
    is_failing: bool,
}

impl Trail {
    pub(super) fn new(path: PathBuf, rotation: Rotation) -> Self {
        let name = name_of(&path);
        let file = RotatingFile::new(path.clone(), rotation.max_file_bytes, rotation.kept_files);
        Self {
            path,
            name,
            file,
            last: None,
            unsigned: Unsigned::Nothing,
            is_failing: false,
        }
    }

    /// Returns whether the records were written. Only the first of several failures is logged.
    pub(super) fn append(
        &mut self,
        records: &[&Record],
        home: &Path,
        key: Option<&AuditKey>,
    ) -> bool {
        let written = self.try_append(records, home, key);
        self.note(&written)
    }

    /// Signs what was written since the last checkpoint, if anything was.
    pub(super) fn checkpoint(&mut self, home: &Path, key: &AuditKey) {
        if self.last.is_none() || self.unsigned == Unsigned::Nothing {
            return;
        }
        let written = self.try_checkpoint(home, key);
        self.note(&written);
    }

    /// Puts down that a log without a file begins here. Returns whether it does.
    pub(super) fn begin_head(&self, heads: &mut Heads, key: Option<&AuditKey>) -> bool {
        let begins = !self.path.exists() && heads.of(&self.name).is_none();
        if begins {
            let start = Point {
                seq: 0,
                chain: GENESIS,
            };
            heads.set(&self.name, start, key.map(AuditKey::macs));
        }
        begins
    }

    /// Puts down where the log ends.
    pub(super) fn note_head(&self, heads: &mut Heads, key: Option<&AuditKey>) {
        if let Some(last) = self.last {
            heads.set(&self.name, last, key.map(AuditKey::macs));
        }
    }

    /// Takes note of a write. Returns whether it succeeded.
    pub(super) fn note(&mut self, written: &io::Result<()>) -> bool {
        if let Err(error) = written
            && !self.is_failing
        {
            tracing::warn!(path = %self.path.display(), %error, "the audit log cannot be written");
        }
        self.is_failing = written.is_err();
        written.is_ok()
    }

    fn try_append(
        &mut self,
        records: &[&Record],
        home: &Path,
        key: Option<&AuditKey>,
    ) -> io::Result<()> {
        let start = self.pick_up(home, key)?;
        let mut pen = start.clone();
        self.write_records(&mut pen, records, key);
        if self.file.is_too_full_for(pen.lines.len()) {
            pen = self.turn_over(start, key)?;
            self.write_records(&mut pen, records, key);
        }

        self.put(&pen)
    }

    /// Signs what is before a record wherever that is due: a batch can span hours if the disk did
    /// not answer.
    fn write_records(&self, pen: &mut Pen, records: &[&Record], key: Option<&AuditKey>) {
        for record in records {
            if let Some(key) = key
                && pen
                    .unsigned
                    .is_due(pen.at.seq.saturating_add(1), record.ts())
            {
                pen.write(&checkpoint(&self.name, pen.at, key));
            }
            pen.write(record);
        }
    }

    fn try_checkpoint(&mut self, home: &Path, key: &AuditKey) -> io::Result<()> {
        let mut pen = self.pick_up(home, Some(key))?;
        // Another process may have written it.
        if pen.unsigned == Unsigned::Nothing && pen.lines.is_empty() {
            return Ok(());
        }
        pen.write(&checkpoint(&self.name, pen.at, key));
        self.put(&pen)
    }

    /// Signs what is in the file, moves it aside, and links the new file to it.
    fn turn_over(&mut self, mut pen: Pen, key: Option<&AuditKey>) -> io::Result<Pen> {
        if let Some(key) = key
            && pen.unsigned != Unsigned::Nothing
        {
            pen.write(&checkpoint(&self.name, pen.at, key));
        }
        self.put(&pen)?;
        self.file.rotate()?;
        let mut pen = pen.next();
        pen.write(&continued(&self.name, pen.at));
        Ok(pen)
    }

    fn put(&mut self, pen: &Pen) -> io::Result<()> {
        self.file.append(&pen.lines)?;
        self.last = Some(pen.at);
        self.unsigned = pen.unsigned;
        Ok(())
    }

    /// A pen at the end of the log. Its lines say what is wrong with the log, if anything is.
    fn pick_up(&mut self, home: &Path, key: Option<&AuditKey>) -> io::Result<Pen> {
        let macs = key.map(AuditKey::macs);
        match self.last {
            Some(last) if self.file.is_untouched() => {
                Ok(Pen::after(last, self.unsigned).with_macs(macs.cloned()))
            }
            _ => self.recover(home, macs),
        }
    }

    /// Reads the end of a log that another process may have written to or changed.
    fn recover(&mut self, home: &Path, macs: Option<&MacKey>) -> io::Result<Pen> {
        let heads = read_heads(home);
        let expected = self.expected(&heads);
        // At 0 the log has only begun.
        let lost = expected.filter(|at| at.seq > 0);
        let ending = Ending::of(&self.path, macs)?;
        let is_new_file = matches!(ending, Ending::Empty);
        // A process can end between moving a file aside and writing to the new one.
        let ending = if is_new_file {
            Ending::of(&numbered(&self.path, 1), macs)?
        } else {
            ending
        };
        self.file.open()?;

        let start = |reason, expected, is_torn| Ok(self.start(reason, expected, is_torn, macs));
        let (last, is_checkpoint, own, rest) = match ending {
            Ending::Chained {
                last,
                is_checkpoint,
                own,
                rest,
            } => (last, is_checkpoint, own, rest),
            Ending::Empty if lost.is_some() => return start("missing", lost, false),
            Ending::Empty => return start("new", None, false),
            Ending::Unchained if lost.is_none() => return start("unchained", None, false),
            Ending::Unchained => return start("damaged", lost, false),
            Ending::Damaged { is_torn } => {
                return start("damaged", lost, is_torn && !is_new_file);
            }
        };

        let proof = macs.map(|macs| heads.proof(&self.name, macs));
        let found = Found {
            last,
            own,
            is_ours: self.is_ours(last, own, proof),
            expected: match proof {
                // Where the log has codes, its head has one.
                Some(HeadProof::Wrong) => self.last,
                Some(HeadProof::Missing) if own.is_some() => self.last,
                _ => expected,
            },
            rest: &rest,
        };
        let unsigned = match self.unsigned {
            _ if is_checkpoint && found.is_ours => Unsigned::Nothing,
            since @ Unsigned::Since { .. } if !is_new_file => since,
            // Lines of another process, or a file that another program moved aside: a checkpoint
            // comes next.
            _ => Unsigned::Unknown,
        };
        let mut pen = Pen::after(last, unsigned).with_macs(macs.cloned());
        if is_new_file {
            pen.write(&continued(&self.name, last));
        } else if rest.last().is_some_and(|byte| *byte != b'\n') {
            pen.lines.push(b'\n');
        }
        if let Some(restarted) = found.restarted() {
            let known = found.expected.map_or(0, |expected| expected.seq);
            pen.at.seq = pen.at.seq.max(known);
            pen.write(&restarted);
        }
        if !found.is_ours {
            tracing::error!(
                path = %self.path.display(), seq = last.seq, last_own_seq = own.map(|own| own.seq),
                "the audit log has lines that Portcullis did not write: see `portcullis audit verify`"
            );
        }
        if pen.lines.is_empty() {
            self.last = Some(last);
            self.unsigned = unsigned;
        }
        Ok(pen)
    }

    /// Returns whether a process of this home wrote the last line of the log. Lines without a code
    /// are from an earlier version, or from a process that could not read the key, if the log has
    /// no line with one yet.
    fn is_ours(&self, last: Point, own: Option<Point>, proof: Option<HeadProof>) -> bool {
        let Some(proof) = proof else { return true };
        match own {
            _ if self.last == Some(last) => true,
            Some(own) => own == last,
            None => proof == HeadProof::Missing,
        }
    }

    /// The first line of a new chain, whose numbers continue those of the old one.
    fn start(
        &self,
        reason: &'static str,
        expected: Option<Point>,
        is_torn: bool,
        macs: Option<&MacKey>,
    ) -> Pen {
        let seq = expected.map_or(0, |expected| expected.seq);
        let genesis = Point {
            seq,
            chain: GENESIS,
        };
        let mut pen = Pen::after(genesis, Unsigned::Nothing).with_macs(macs.cloned());
        if is_torn {
            pen.lines.push(b'\n');
        }

        let started = Record::now(EventName::ChainStarted)
            .with("log", self.name.as_str())
            .with("reason", reason);
        pen.write(&with_expected(started, expected));
        pen
    }

    /// Where the log ended, as far as this process and the home's file know.
    fn expected(&self, heads: &Heads) -> Option<Point> {
        [self.last, heads.of(&self.name)]
            .into_iter()
            .flatten()
            .max_by_key(|point| point.seq)
    }
}

fn read_heads(home: &Path) -> Heads {
    Heads::read(home).unwrap_or_else(|error| {
        tracing::warn!(%error, "where the audit log ended is not known");
        Heads::default()
    })
}

/// The name of a log: that of its file.
pub(super) fn name_of(path: &Path) -> String {
    path.file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned()
}

/// Which writer made a checkpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CheckpointVersion {
    /// It signed by its own clock alone: after a kill or a suspended machine, a run of lines
    /// without a checkpoint could span any time.
    One = 1,
    /// It signs a run before the run is too long (see `unsigned`).
    Two = 2,
}

/// What the signature of a checkpoint covers.
pub(super) fn message(
    version: CheckpointVersion,
    log: &str,
    seq: u64,
    ts: &str,
    head: &str,
) -> String {
    let version = version as u8;
    format!("portcullis audit checkpoint {version}\n{log}\n{seq}\n{ts}\n{head}\n")
}

/// The line that signs all lines up to this point.
fn checkpoint(log: &str, last: Point, key: &AuditKey) -> Record {
    let record = Record::now(EventName::Checkpoint);
    let head = hex::encode(last.chain);
    let signature = key.sign(&message(
        CheckpointVersion::Two,
        log,
        last.seq.saturating_add(1),
        &record.ts().to_string(),
        &head,
    ));

    record
        .with("log", log)
        .with("head", head)
        .with("key", key.public().to_string())
        .with("signature", signature)
}

/// The first line of a file that follows one which was moved aside.
fn continued(log: &str, last: Point) -> Record {
    Record::now(EventName::ChainContinued)
        .with("log", log)
        .with("previous", hex::encode(last.chain))
}

/// The end of a log that has a chain, as its writer found it.
struct Found<'a> {
    last: Point,
    /// The last line that a process with the key wrote, as far as it was looked for.
    own: Option<Point>,
    /// A process of this home wrote the last line.
    is_ours: bool,
    /// Where the log ended, as far as that is known.
    expected: Option<Point>,
    /// What stands after the last line.
    rest: &'a [u8],
}

impl Found<'_> {
    /// The line that says what is wrong between the last line of the chain and the next one.
    /// `None`: nothing is.
    fn restarted(&self) -> Option<Record> {
        let (last, rest) = (self.last, self.rest);
        let reason = match self.expected {
            _ if !self.is_ours => "foreign",
            None => "head_missing",
            Some(expected) if expected.seq > last.seq => "cut",
            Some(expected) if expected.seq == last.seq && expected.chain != last.chain => "changed",
            Some(_) if !rest.is_empty() => "torn",
            Some(_) => return None,
        };

        let mut record = Record::now(EventName::ChainRestarted)
            .with("reason", reason)
            .with("found_seq", last.seq);
        if let Some(own) = self.own.filter(|_| !self.is_ours) {
            record = record.with("own_seq", own.seq);
        }
        if reason != "torn" {
            record = with_expected(record, self.expected);
        }
        if rest.is_empty() {
            return Some(record);
        }
        Some(
            record
                .with("torn_bytes", rest.len())
                .with("torn_sha256", hex::encode(Sha256::digest(rest))),
        )
    }
}

fn with_expected(record: Record, expected: Option<Point>) -> Record {
    match expected {
        Some(expected) => record
            .with("expected_seq", expected.seq)
            .with("expected_chain", hex::encode(expected.chain)),
        None => record,
    }
}
