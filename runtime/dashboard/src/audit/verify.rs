//! Checks a log: finds lines that were changed, removed, added or moved.
//!
//! **Invariant:** memory does not grow with the log.

use super::authorship::{Authorship, ForeignRun};
use super::chain::{ChainLine, Hash, Point, hash_of};
use super::head::HeadProof;
use super::key::{AuditKey, PublicKey};
use super::mac::MacKey;
use super::reading::{LogFile, LogFiles};
use super::trail::{CheckpointVersion, message, name_of};
use super::unsigned::is_too_long;
use super::unsigned_run::UnsignedRun;
use super::{EventName, Rotation};
use jiff::Timestamp;
use sha2::{Digest, Sha256};
use std::io;
use std::path::Path;

/// What is known of a log from outside of it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Expected {
    /// The key that signs its checkpoints. `None`: that of the home, if it has one.
    pub public_key: Option<PublicKey>,
    /// A number that the log has reached.
    pub seq: Option<u64>,
    /// How its files are rotated.
    pub rotation: Rotation,
}

/// What the check says of a place in the log, or of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remark {
    /// How much it weighs.
    pub kind: RemarkKind,
    /// The name of the file.
    pub file: Option<String>,
    /// The line in the file; the first is 1.
    pub line: Option<u64>,
    /// The number of the line.
    pub seq: Option<u64>,
    /// What is wrong, in one sentence.
    pub sentence: String,
}

/// How much a remark weighs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RemarkKind {
    /// The log is not as it was written, or its key cannot be read.
    Finding,
    /// Whether the log is as it was written cannot be known.
    Unknown,
    /// Has an innocent cause, or says what the check does not cover.
    Note,
}

/// What a verification says of the whole log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// All that can be checked is as it was written.
    Good,
    /// There are no findings, but nothing proves some of the lines.
    Unknown,
    /// There are findings.
    Findings,
}

/// What a verification checked and found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Files that were read.
    pub files: usize,
    /// Lines that were read.
    pub lines: u64,
    /// The number of the first line of the chain.
    pub first_seq: Option<u64>,
    /// The number of the last line of the chain.
    pub last_seq: Option<u64>,
    /// Checkpoints whose signature is right.
    pub checkpoints: u64,
    /// The number of the last line that such a checkpoint signs.
    pub signed_seq: Option<u64>,
    /// Remarks that are findings.
    pub findings: u64,
    /// Remarks that say that something cannot be known.
    pub unknowns: u64,
}

impl Summary {
    /// Returns the result of the verification.
    pub fn outcome(&self) -> Outcome {
        match (self.findings, self.unknowns) {
            (0, 0) => Outcome::Good,
            (0, _) => Outcome::Unknown,
            _ => Outcome::Findings,
        }
    }
}

/// The key that the signatures are checked with.
enum CheckKey {
    /// The caller has it from elsewhere.
    Given(PublicKey),
    OfHome(PublicKey),
    Missing,
    /// The home has a key that cannot be read.
    Unreadable(io::Error),
}

impl CheckKey {
    fn of(home: &Path, given: Option<PublicKey>) -> Self {
        if let Some(key) = given {
            return Self::Given(key);
        }
        match AuditKey::load(home) {
            Ok(Some(key)) => Self::OfHome(key.public()),
            Ok(None) => Self::Missing,
            Err(error) => Self::Unreadable(error),
        }
    }

    fn public(&self) -> Option<PublicKey> {
        match self {
            Self::Given(key) | Self::OfHome(key) => Some(*key),
            Self::Missing | Self::Unreadable(_) => None,
        }
    }

    /// The key of the codes. Returns `None` where the home's key is not that of the signatures.
    fn macs(&self, home: &Path) -> Option<MacKey> {
        let public = self.public()?;
        let key = AuditKey::load(home).ok().flatten()?;
        (key.public() == public).then(|| key.macs().clone())
    }
}

/// Checks the log at this path, with the files that were moved aside, and hands each remark to
/// `report`. The home has the key, and says where its own two logs end. Returns `None` if there is
/// no log, and nothing says that there was one.
///
/// # Errors
/// A file cannot be read.
pub fn verify(
    home: &Path,
    log: &Path,
    expected: &Expected,
    report: &mut dyn FnMut(Remark),
) -> io::Result<Option<Summary>> {
    let LogFiles { files, heads } = LogFiles::open(home, log, expected.rotation)?;
    let name = name_of(log);
    let is_of_home = [super::AUDIT_FILE, super::IMPORTANT_FILE]
        .iter()
        .any(|own| home.join(own) == log);
    let head = if is_of_home {
        heads.as_ref().ok().and_then(|heads| heads.of(&name))
    } else {
        None
    };
    if files.is_empty() && head.is_none() && expected.seq.is_none() {
        return Ok(None);
    }

    let key = CheckKey::of(home, expected.public_key);
    let macs = key.macs(home);
    let proof = head.and_then(|_| {
        let heads = heads.as_ref().ok()?;
        Some(heads.proof(&name, macs.as_ref()?))
    });
    let mut check = ChainCheck {
        key,
        macs,
        authorship: Authorship::default(),
        head,
        proof,
        name: is_of_home.then(|| name.clone()),
        last: None,
        times: None,
        version: None,
        is_signed: false,
        moved: None,
        run: UnsignedRun::default(),
        stray: None,
        place: LogPosition::default(),
        summary: Summary {
            files: files.len(),
            ..Summary::default()
        },
        report,
    };
    check.numbers(&name, &files);
    let mut oldest = files.first().map(|file| file.number);
    for file in files {
        check.file(file, &mut oldest, expected.rotation)?;
    }
    check.end(&name, is_of_home, expected);
    if check.macs.is_none() && check.last.is_some() && check.key.public().is_some() {
        check.note("whether a process with the key wrote each line was not checked: that needs the file audit_key of the home");
    }
    if matches!(check.key, CheckKey::OfHome(_)) {
        check.note(
            "signatures were checked with the key in the home: who can write the log may be able to read it",
        );
    }
    Ok(Some(check.summary))
}

/// A line of a file.
#[derive(Clone, Default)]
pub(super) struct LogPosition {
    file: String,
    line: u64,
}

struct ChainCheck<'a> {
    key: CheckKey,
    /// Checks the codes. `None`: they are not checked.
    macs: Option<MacKey>,
    authorship: Authorship,
    /// Where the log ends, as the home says.
    head: Option<Point>,
    /// Whether a process with the key says so. `None`: that is not checked.
    proof: Option<HeadProof>,
    /// The name of the log in its own lines. `None`: not read yet.
    name: Option<String>,
    /// The last line of the chain so far.
    last: Option<Point>,
    /// What was read after it and is no line of the chain.
    stray: Option<Stray>,
    /// The times of the oldest and the youngest line.
    times: Option<(Timestamp, Timestamp)>,
    /// The writer of the last checkpoint whose signature is right.
    version: Option<CheckpointVersion>,
    /// The last line is a checkpoint.
    is_signed: bool,
    /// The first line of a file, if the file before does not end with a checkpoint.
    moved: Option<(LogPosition, u64)>,
    run: UnsignedRun,
    place: LogPosition,
    summary: Summary,
    report: &'a mut dyn FnMut(Remark),
}

impl ChainCheck<'_> {
    /// Returns whether the home says that the log has begun, and nothing of a line.
    fn has_only_begun(&self) -> bool {
        self.head.is_some_and(|head| head.seq == 0)
            && !matches!(self.proof, Some(HeadProof::Wrong | HeadProof::Missing))
    }

    /// The files must have all numbers from that of the oldest to 0.
    fn numbers(&mut self, name: &str, files: &[LogFile]) {
        // A process that is killed before its first line of a log leaves no file.
        if files.is_empty() && self.has_only_begun() {
            return;
        }
        let oldest = files.first().map_or(0, |file| file.number);
        for number in (0..=oldest)
            .rev()
            .filter(|number| files.iter().all(|file| file.number != *number))
        {
            let file = if number == 0 {
                name.to_owned()
            } else {
                format!("{name}.{number}")
            };
            self.find_in_log(format!("the file {file} is missing"));
        }
    }

    /// `oldest`: the number of the oldest file, until a line of the chain was read.
    fn file(
        &mut self,
        mut file: LogFile,
        oldest: &mut Option<u32>,
        rotation: Rotation,
    ) -> io::Result<()> {
        self.place = LogPosition {
            file: file.name.clone(),
            line: 0,
        };
        let mut line = Vec::new();

        while file.next_line(&mut line)? {
            self.place.line += 1;
            self.summary.lines += 1;
            let read = line.strip_suffix(b"\n").and_then(ChainLine::read);
            let Some(read) = read else {
                self.stray
                    .get_or_insert_with(|| Stray::at(&self.place))
                    .add(&line);
                continue;
            };
            if let Some(number) = oldest.take() {
                self.beginning(&read, number, rotation);
            }
            self.line(&read);
        }
        Ok(())
    }

    /// The first line of the chain in the oldest file.
    fn beginning(&mut self, line: &ChainLine<'_>, number: u32, rotation: Rotation) {
        let seq = line.at.seq;
        self.summary.first_seq = Some(seq);

        match line.event() {
            Some(EventName::ChainStarted) => {}
            Some(EventName::ChainContinued) if number == rotation.kept_files => {
                self.note(format!(
                    "the log begins at seq {seq}: rotation deleted the older files"
                ));
            }
            Some(EventName::ChainContinued) => {
                self.find(
                    seq,
                    "the log begins here, but rotation has not deleted older files yet: they are missing",
                );
            }
            _ => self.find(
                seq,
                "the log begins in the middle of a file: the lines before were removed",
            ),
        }
    }

    fn line(&mut self, line: &ChainLine<'_>) {
        let event = line.event();
        let stray = self.stray.take();
        match event {
            Some(EventName::ChainStarted) => self.started(line, stray.as_ref()),
            Some(EventName::ChainRestarted) => self.restarted(line, stray.as_ref()),
            _ => self.strays(stray.as_ref()),
        }

        let previous = line.previous(self.last.map(|last| last.chain));
        let follows = self.link(line, event, previous);
        if matches!(
            event,
            Some(EventName::ChainStarted | EventName::ChainContinued | EventName::Checkpoint)
        ) {
            self.name(line);
        }

        self.signing(line, event);
        if let Some(previous) = previous.filter(|_| follows) {
            self.author(line, &previous);
        }
        if self
            .head
            .is_some_and(|head| head.seq == line.at.seq && head.chain != line.at.chain)
        {
            self.find(
                line.at.seq,
                "the line is not the one that the file audit_head names",
            );
        }

        self.last = Some(line.at);
        self.summary.last_seq = Some(line.at.seq);
    }

    /// Checks that a process with the key wrote a line whose hash is right. Of a line whose hash is
    /// wrong, that is known already.
    fn author(&mut self, line: &ChainLine<'_>, previous: &Hash) {
        let Some(macs) = &self.macs else { return };
        let is_own = line.is_by(macs, previous);
        let run = self.authorship.add(line, is_own, &self.place);
        self.foreign(run);
    }

    fn foreign(&mut self, run: Option<ForeignRun>) {
        let Some(run) = run else { return };
        let is_signed = self
            .summary
            .signed_seq
            .is_some_and(|signed| signed >= run.last_seq);
        if run.may_be_early && is_signed {
            return;
        }

        let lines = if run.first_seq == run.last_seq {
            "the line is".to_owned()
        } else {
            format!("the lines from here to seq {} are", run.last_seq)
        };
        let (kind, cause) = if run.may_be_early {
            (
                RemarkKind::Unknown,
                "an earlier version wrote them, the key could not be read, or they were added",
            )
        } else {
            (
                RemarkKind::Finding,
                "lines were added, or the key could not be read",
            )
        };
        let sentence = format!("{lines} not written with the key of the home: {cause}");
        self.say(kind, Some(run.place), Some(run.first_seq), sentence);
    }

    /// Checks that the lines are signed as often as the writer signs them.
    fn signing(&mut self, line: &ChainLine<'_>, event: Option<EventName>) {
        let seq = line.at.seq;
        let time = line.time();
        match time {
            None => self.find(seq, "it has no time"),
            Some(ts) => {
                let (oldest, youngest) = self.times.unwrap_or((ts, ts));
                self.times = Some((oldest.min(ts), youngest.max(ts)));
            }
        }

        let is_checkpoint = event == Some(EventName::Checkpoint);
        // The file that another program moved aside: a checkpoint is the next line.
        let moved = self.moved.take().filter(|_| !is_checkpoint);
        self.moved_unsigned(moved);
        if is_checkpoint {
            self.checkpoint(line);
        } else if let Some(ts) = time {
            self.run.add(line, ts, &self.place);
        }

        if event == Some(EventName::ChainContinued) && self.last.is_some() && !self.is_signed {
            self.moved = Some((self.place.clone(), seq));
        }
        self.is_signed = is_checkpoint;
    }

    fn moved_unsigned(&mut self, moved: Option<(LogPosition, u64)>) {
        let Some((place, seq)) = moved else { return };
        let kind = match self.key.public() {
            Some(_) => RemarkKind::Finding,
            None => RemarkKind::Unknown,
        };
        let sentence = "the file before it does not end with a checkpoint: it was removed, or the log could not be signed";
        self.say(kind, Some(place), Some(seq), sentence.to_owned());
    }

    /// A run of lines ends with this checkpoint, if its signature is right, or with the log.
    fn end_run(&mut self, signed_by: Option<CheckpointVersion>) {
        let Some(long) = self.run.end() else { return };
        let (kind, cause) = match (self.version, signed_by) {
            (Some(CheckpointVersion::Two), None | Some(CheckpointVersion::Two)) => (
                RemarkKind::Finding,
                "checkpoints were removed, or the log could not be signed",
            ),
            _ if !long.spans_time => return,
            (_, Some(CheckpointVersion::One)) => (
                RemarkKind::Note,
                "a dashboard of an earlier version was killed, or its machine was suspended",
            ),
            _ => (
                RemarkKind::Unknown,
                "a dashboard of an earlier version was killed, or checkpoints were removed",
            ),
        };
        let length = if long.spans_time {
            "span more than an hour"
        } else {
            "are too many to be"
        };
        let sentence = format!(
            "the lines from seq {} to {} {length} without a checkpoint: {cause}",
            long.first_seq, long.last_seq
        );
        self.say(kind, Some(long.place), None, sentence);
    }

    /// Checks the number and the hash of a line. Returns whether it follows the one before.
    fn link(
        &mut self,
        line: &ChainLine<'_>,
        event: Option<EventName>,
        previous: Option<Hash>,
    ) -> bool {
        let seq = line.at.seq;
        let named = || line.text("previous").and_then(hash_of);

        self.boundary(line, event);
        let is_named =
            event != Some(EventName::ChainContinued) || (previous.is_some() && named() == previous);
        let follows = is_named && previous.is_none_or(|previous| line.follows(&previous));
        let next = self.next_seq(line, event);

        if follows && next.is_none_or(|next| next == seq) {
            return true;
        }
        let sentence = match next {
            Some(next) if seq > next.saturating_add(1) => {
                format!(
                    "the lines with seq {next} to {} before it are missing, or were changed",
                    seq - 1
                )
            }
            Some(next) if seq > next => {
                format!("the line with seq {next} before it is missing, or was changed")
            }
            Some(next) if seq < next => {
                format!(
                    "it stands after seq {}: it was added, repeated or moved",
                    next.saturating_sub(1)
                )
            }
            _ => "its hash does not fit: it or the line before was changed".to_owned(),
        };
        self.find(seq, sentence);
        false
    }

    /// Files begin where the writer began them.
    fn boundary(&mut self, line: &ChainLine<'_>, event: Option<EventName>) {
        let begins = matches!(
            event,
            Some(EventName::ChainStarted | EventName::ChainContinued)
        );
        let is_first = self.place.line == 1;
        if event == Some(EventName::ChainContinued) && !is_first {
            self.find(
                line.at.seq,
                "it is the first line of a file, but stands after others",
            );
        }

        if is_first && !begins && self.last.is_some() {
            self.find(
                line.at.seq,
                "it is not the first line of a file, but stands at the beginning of one",
            );
        }
    }

    /// The number that the line must have. `None`: any.
    fn next_seq(&self, line: &ChainLine<'_>, event: Option<EventName>) -> Option<u64> {
        let said = line.number("expected_seq");
        let last = match event {
            Some(EventName::ChainStarted) => Some(said.unwrap_or_default()),
            Some(EventName::ChainRestarted) => {
                self.last.map(|last| last.seq.max(said.unwrap_or_default()))
            }
            _ => self.last.map(|last| last.seq),
        };
        last.map(|last| last.saturating_add(1))
    }

    /// A new chain begins: what stood before it is proven no longer.
    fn started(&mut self, line: &ChainLine<'_>, stray: Option<&Stray>) {
        let seq = line.at.seq;
        let is_first = self.last.is_none();

        match (line.text("reason").unwrap_or_default(), stray) {
            ("new", None) if is_first => {}
            ("unchained", Some(stray)) if is_first => {
                self.note(format!(
                    "{} before seq {seq} have no hash: they are from before the chain",
                    stray.lines()
                ));
            }
            ("unchained", None) if is_first => {
                self.note(format!(
                    "the lines before seq {seq} had no hash, and are gone"
                ));
            }
            ("missing", _) => {
                let sentence = match line.number("expected_seq") {
                    Some(expected) => format!(
                        "the log was missing when this line was written: it had reached seq {expected}"
                    ),
                    None => "the log was missing when this line was written".to_owned(),
                };
                self.strays(stray);
                self.find(seq, sentence);
            }
            ("damaged", _) => {
                self.strays(stray);
                self.find(
                    seq,
                    "the log before this line was damaged beyond recognition: nothing proves it",
                );
            }
            _ => {
                self.strays(stray);
                self.find(
                    seq,
                    "a new chain begins in the middle of the log: nothing proves the lines before",
                );
            }
        }
    }

    /// The writer found the log not as it was left.
    fn restarted(&mut self, line: &ChainLine<'_>, stray: Option<&Stray>) {
        let seq = line.at.seq;
        let is_told = match (line.number("torn_bytes"), line.text("torn_sha256"), stray) {
            (Some(bytes), Some(digest), Some(stray)) => stray.is(bytes, digest),
            (None, None, None) => true,
            _ => false,
        };

        if !is_told {
            self.strays(stray);
            self.find(seq, "it does not name the damage that is before it");
        }

        let sentence = match line.text("reason").unwrap_or_default() {
            "torn" if stray.is_some_and(|stray| stray.lines == 1) => {
                if is_told {
                    self.note_at(seq, "the line before was not written to its end, and the writer said so: a crash or loss of power");
                }
                return;
            }
            "torn" => "the writer found lines before it that are no lines of the chain",
            "cut" => {
                "the writer found that lines before it had been cut off, or were lost with the power"
            }
            "changed" => "the writer found another last line than the one that it had written",
            "head_missing" => {
                "the file audit_head was missing or changed: lines before this one may have been cut off"
            }
            "foreign" => {
                let sentence = match line.number("own_seq") {
                    Some(own) => format!(
                        "the writer found lines before it that it had not written: all after seq {own}"
                    ),
                    None => "the writer found lines before it that it had not written".to_owned(),
                };
                return self.find(seq, sentence);
            }
            _ => "it gives no known reason",
        };
        self.find(seq, sentence);
    }

    fn strays(&mut self, stray: Option<&Stray>) {
        if let Some(stray) = stray {
            let sentence = format!(
                "{} no part of the chain: changed, added or damaged",
                stray.lines_are()
            );
            let place = stray.place.clone();
            self.say(RemarkKind::Finding, Some(place), None, sentence);
        }
    }

    /// The log's name in its own lines: a line of another log of the same home has another.
    fn name(&mut self, line: &ChainLine<'_>) {
        let name = line.text("log").unwrap_or_default();
        let known = self.name.get_or_insert_with(|| name.to_owned());
        if *known != name {
            let sentence = format!("it is from the log {name:?}, not from {known:?}");
            self.find(line.at.seq, sentence);
        }
    }

    fn checkpoint(&mut self, line: &ChainLine<'_>) {
        let signed_by = self.signer(line);
        self.end_run(signed_by);
        if signed_by.is_some() {
            self.version = signed_by;
            self.summary.checkpoints += 1;
            self.summary.signed_seq = Some(line.at.seq);
        }
    }

    /// Checks a signature. Returns the writer that made it if it is right.
    fn signer(&mut self, line: &ChainLine<'_>) -> Option<CheckpointVersion> {
        let key = self.key.public()?;
        let seq = line.at.seq;
        let part = |name| line.text(name).unwrap_or_default();
        if part("key") != key.to_string() {
            let sentence = format!("the checkpoint is signed by another key than {key}");
            self.find(seq, sentence);
            return None;
        }

        let head = part("head");
        let is_of_last = self
            .last
            .is_none_or(|last| hash_of(head) == Some(last.chain));
        let has_signed = |version: &CheckpointVersion| {
            let message = message(*version, part("log"), seq, part("ts"), head);
            key.has_signed(&message, part("signature"))
        };
        let signed_by = [CheckpointVersion::Two, CheckpointVersion::One]
            .into_iter()
            .find(|version| is_of_last && has_signed(version));
        if signed_by.is_none() {
            self.find(seq, "the signature of the checkpoint is wrong");
        }
        signed_by
    }

    /// `is_of_home`: the home must say where the log ends.
    fn end(&mut self, name: &str, is_of_home: bool, expected: &Expected) {
        if let Some(stray) = self.stray.take() {
            self.strays_at_end(&stray);
        }
        let moved = self.moved.take();
        self.moved_unsigned(moved);
        self.end_run(None);
        let foreign = self.authorship.end();
        self.foreign(foreign);
        self.head_itself();

        let last = self.last.map_or(0, |last| last.seq);
        let head = self
            .head
            .map(|head| (head.seq, "the file audit_head names"));
        let seq = expected.seq.map(|seq| (seq, "it was expected to reach"));
        for (seq, who) in [head, seq]
            .into_iter()
            .flatten()
            .filter(|(seq, _)| *seq > last)
        {
            self.find_in_log(match self.last {
                Some(_) => {
                    format!("the log {name} was cut: it ends at seq {last}, but {who} seq {seq}")
                }
                None => format!("the log {name} has no line of the chain, but {who} seq {seq}"),
            });
        }
        if let Some(head) = self.head
            && self.macs.is_none()
            && last > head.seq
        {
            self.note(format!(
                "the file audit_head names seq {} as the last line: the lines after it were written in the seconds after that, or were added",
                head.seq
            ));
        }

        if self.head.is_none() && expected.seq.is_none() {
            let what = format!(
                "nothing says where {name} ends: lines that were cut off from its end are not noticed"
            );
            let kind = if is_of_home {
                RemarkKind::Finding
            } else {
                RemarkKind::Note
            };
            self.say(kind, None, None, what);
        }
        self.signatures(last);
    }

    /// Where the log has codes, what the home says of its end has one.
    fn head_itself(&mut self) {
        let sentence = match self.proof {
            Some(HeadProof::Wrong) => {
                "the file audit_head was changed, or written with another key: lines may have been cut off"
            }
            Some(HeadProof::Missing) if self.authorship.is_coded() => {
                "the file audit_head was not written with the key of the home: lines may have been cut off"
            }
            _ => return,
        };
        self.find_in_log(sentence.to_owned());
    }

    fn strays_at_end(&mut self, stray: &Stray) {
        let place = Some(stray.place.clone());
        if stray.is_torn && stray.lines == 1 {
            let sentence =
                "the last line has no end: it was cut off, or was not written to its end";
            self.say(RemarkKind::Finding, place, None, sentence.to_owned());
        } else if self.last.is_none() && self.head.is_none() && !stray.is_torn {
            let sentence = format!(
                "{} no hash: they are from an earlier version, or are no lines of an audit log",
                stray.lines_have()
            );
            self.say(RemarkKind::Unknown, place, None, sentence);
        } else {
            self.strays(Some(stray));
        }
    }

    /// What the signatures prove of the lines up to this number, which is that of the last one.
    fn signatures(&mut self, last: u64) {
        let signed = self.summary.signed_seq;
        match (&self.key, signed) {
            (CheckKey::Unreadable(error), _) => {
                let sentence = format!(
                    "no signature was checked: the key of the home cannot be read: {error}"
                );
                self.find_in_log(sentence);
            }
            (CheckKey::Missing, _) => self.unknown(
                "no signature was checked: the home has no key, and no public key was given",
            ),
            (_, Some(signed)) if signed < last => self.note(format!(
                "the lines after seq {signed} are chained, but not signed yet"
            )),
            (_, Some(_)) => {}
            (_, None) if self.last.is_none() && self.has_only_begun() => {
                self.note("the log has no line yet");
            }
            (CheckKey::Given(_), None) if self.last.is_none() => self.find_in_log(
                "no line is signed by the key that was given: the log has no line of a chain"
                    .to_owned(),
            ),
            (CheckKey::OfHome(_), None) if self.last.is_none() => {
                self.unknown("nothing is signed: the log has no line of a chain");
            }
            (_, None) if self.is_young() => {
                self.note("nothing is signed yet: all lines are younger than an hour");
            }
            (CheckKey::Given(_), None) => self.find_in_log(
                "no line is signed by the key that was given, and lines are older than an hour"
                    .to_owned(),
            ),
            (CheckKey::OfHome(_), None) => self.unknown(
                "no line is signed, and lines are older than an hour: the dashboard was killed before its first checkpoint, or checkpoints were removed",
            ),
        }
    }

    /// Returns whether no line is old enough to need a signature.
    fn is_young(&self) -> bool {
        let now = Timestamp::now();
        self.times.is_some_and(|(oldest, youngest)| {
            !is_too_long(oldest, now) && !is_too_long(youngest, now)
        })
    }

    fn find(&mut self, seq: u64, sentence: impl Into<String>) {
        let place = Some(self.place.clone());
        self.say(RemarkKind::Finding, place, Some(seq), sentence.into());
    }

    fn find_in_log(&mut self, sentence: String) {
        self.say(RemarkKind::Finding, None, None, sentence);
    }

    fn note(&mut self, sentence: impl Into<String>) {
        self.say(RemarkKind::Note, None, None, sentence.into());
    }

    fn unknown(&mut self, sentence: &str) {
        self.say(RemarkKind::Unknown, None, None, sentence.to_owned());
    }

    fn note_at(&mut self, seq: u64, sentence: &str) {
        self.say(
            RemarkKind::Note,
            Some(self.place.clone()),
            Some(seq),
            sentence.to_owned(),
        );
    }

    fn say(
        &mut self,
        kind: RemarkKind,
        place: Option<LogPosition>,
        seq: Option<u64>,
        sentence: String,
    ) {
        self.summary.findings += u64::from(kind == RemarkKind::Finding);
        self.summary.unknowns += u64::from(kind == RemarkKind::Unknown);
        let (file, line) = place.map(|place| (place.file, place.line)).unzip();

        (self.report)(Remark {
            kind,
            file,
            line,
            seq,
            sentence,
        });
    }
}

/// Bytes between two lines of the chain.
struct Stray {
    place: LogPosition,
    lines: u64,
    bytes: u64,
    digest: Sha256,
    /// Without the last newline: a writer ends a torn line by one before it says what it found.
    digest_without_newline: Sha256,
    /// There is no newline at its end.
    is_torn: bool,
}

impl Stray {
    fn at(place: &LogPosition) -> Self {
        Self {
            place: place.clone(),
            lines: 0,
            bytes: 0,
            digest: Sha256::new(),
            digest_without_newline: Sha256::new(),
            is_torn: false,
        }
    }

    fn add(&mut self, line: &[u8]) {
        let content = line.strip_suffix(b"\n").unwrap_or(line);
        self.digest_without_newline = self.digest.clone().chain_update(content);
        self.digest.update(line);
        self.lines += 1;
        self.bytes += line.len() as u64;
        self.is_torn = content.len() == line.len();
    }

    /// Returns whether the writer found this.
    fn is(&self, bytes: u64, digest: &str) -> bool {
        let is = |own: &Sha256| hex::encode(own.clone().finalize()) == digest;
        (bytes == self.bytes && is(&self.digest))
            || (bytes.checked_add(1) == Some(self.bytes)
                && !self.is_torn
                && is(&self.digest_without_newline))
    }

    fn lines(&self) -> String {
        if self.lines == 1 {
            "1 line".to_owned()
        } else {
            format!("{} lines", self.lines)
        }
    }

    fn lines_are(&self) -> String {
        let verb = if self.lines == 1 { "is" } else { "are" };
        format!("{} from here {verb}", self.lines())
    }

    fn lines_have(&self) -> String {
        let verb = if self.lines == 1 { "has" } else { "have" };
        format!("{} from here {verb}", self.lines())
    }
}
