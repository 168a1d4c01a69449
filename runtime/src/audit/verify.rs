//! Checks a log: finds lines that were changed, removed, added or moved.
//!
//! **Invariant:** memory does not grow with the log.

use super::chain::{GENESIS, Hash, Line, Point, hash_of};
use super::key::{AuditKey, PublicKey};
use super::reading::{LogFile, LogFiles};
use super::trail::{message, name_of};
use super::{EventName, Rotation};
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
    /// The log is not as it was written. Otherwise it is something that cannot be known, or has an innocent cause.
    pub is_finding: bool,
    /// The name of the file.
    pub file: Option<String>,
    /// The line in the file; the first is 1.
    pub line: Option<u64>,
    /// The number of the line.
    pub seq: Option<u64>,
    /// What is wrong, in one sentence.
    pub sentence: String,
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
}

/// Checks the log at this path, with the files that were moved aside, and hands each remark to `report`. The home has the
/// key, and says where its own two logs end. Returns `None` if there is no log, and nothing says that there was one.
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
    let is_of_home = [super::AUDIT_FILE, super::IMPORTANT_FILE].iter().any(|own| home.join(own) == log);
    let head = if is_of_home { heads.as_ref().ok().and_then(|heads| heads.of(&name)) } else { None };
    if files.is_empty() && head.is_none() && expected.seq.is_none() {
        return Ok(None);
    }

    let key = match expected.public_key {
        Some(key) => Some(key),
        None => AuditKey::load(home).ok().flatten().map(|key| key.public()),
    };
    let mut check = Check {
        key,
        head,
        name: is_of_home.then(|| name.clone()),
        last: None,
        stray: None,
        place: Place::default(),
        summary: Summary { files: files.len(), ..Summary::default() },
        report,
    };
    check.numbers(&name, &files);
    let mut oldest = files.first().map(|file| file.number);
    for file in files {
        check.file(file, &mut oldest, expected.rotation)?;
    }
    check.end(&name, is_of_home, expected);
    if expected.public_key.is_none() && check.key.is_some() {
        check.note(
            "signatures were checked with the key in the home: who can write the log may be able to read it",
        );
    }
    Ok(Some(check.summary))
}

#[derive(Clone, Default)]
struct Place {
    file: String,
    line: u64,
}

struct Check<'a> {
    key: Option<PublicKey>,
    /// Where the log ends, as the home says.
    head: Option<Point>,
    /// The name of the log in its own lines. `None`: not read yet.
    name: Option<String>,
    /// The last line of the chain so far.
    last: Option<Point>,
    /// What was read after it and is no line of the chain.
    stray: Option<Stray>,
    place: Place,
    summary: Summary,
    report: &'a mut dyn FnMut(Remark),
}

impl Check<'_> {
    /// The files must have all numbers from that of the oldest to 0.
    fn numbers(&mut self, name: &str, files: &[LogFile]) {
        let oldest = files.first().map_or(0, |file| file.number);
        for number in (0..=oldest).rev().filter(|number| files.iter().all(|file| file.number != *number)) {
            let file = if number == 0 { name.to_owned() } else { format!("{name}.{number}") };
            self.find_in_log(format!("the file {file} is missing"));
        }
    }

    /// `oldest`: the number of the oldest file, until a line of the chain was read.
    fn file(&mut self, mut file: LogFile, oldest: &mut Option<u32>, rotation: Rotation) -> io::Result<()> {
        self.place = Place { file: file.name.clone(), line: 0 };
        let mut line = Vec::new();
        while file.next_line(&mut line)? {
            self.place.line += 1;
            self.summary.lines += 1;
            let read = line.strip_suffix(b"\n").and_then(Line::read);
            let Some(read) = read else {
                self.stray.get_or_insert_with(|| Stray::at(&self.place)).add(&line);
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
    fn beginning(&mut self, line: &Line<'_>, number: u32, rotation: Rotation) {
        let seq = line.at.seq;
        self.summary.first_seq = Some(seq);
        match line.event() {
            Some(EventName::ChainStarted) => {}
            Some(EventName::ChainContinued) if number == rotation.kept_files => {
                self.note(format!("the log begins at seq {seq}: rotation deleted the older files"));
            }
            Some(EventName::ChainContinued) => {
                self.find(
                    seq,
                    "the log begins here, but rotation has not deleted older files yet: they are missing",
                );
            }
            _ => self.find(seq, "the log begins in the middle of a file: the lines before were removed"),
        }
    }

    fn line(&mut self, line: &Line<'_>) {
        let event = line.event();
        let stray = self.stray.take();
        match event {
            Some(EventName::ChainStarted) => self.started(line, stray.as_ref()),
            Some(EventName::ChainRestarted) => self.restarted(line, stray.as_ref()),
            _ => self.strays(stray.as_ref()),
        }
        self.link(line, event);
        if matches!(event, Some(EventName::ChainStarted | EventName::ChainContinued | EventName::Checkpoint))
        {
            self.name(line);
        }
        if event == Some(EventName::Checkpoint) {
            self.checkpoint(line);
        }
        if self.head.is_some_and(|head| head.seq == line.at.seq && head.chain != line.at.chain) {
            self.find(line.at.seq, "the line is not the one that the file audit_head names");
        }
        self.last = Some(line.at);
        self.summary.last_seq = Some(line.at.seq);
    }

    /// Checks the number and the hash of a line.
    fn link(&mut self, line: &Line<'_>, event: Option<EventName>) {
        let seq = line.at.seq;
        let named = || line.text("previous").and_then(hash_of);
        let previous: Option<Hash> = match (event, self.last) {
            (Some(EventName::ChainStarted), _) => Some(GENESIS),
            (Some(EventName::ChainContinued), None) => named(),
            (_, last) => last.map(|last| last.chain),
        };
        self.boundary(line, event);
        let is_named =
            event != Some(EventName::ChainContinued) || (previous.is_some() && named() == previous);
        let follows = is_named && previous.is_none_or(|previous| line.follows(&previous));
        let next = self.next_seq(line, event);
        if follows && next.is_none_or(|next| next == seq) {
            return;
        }
        let sentence = match next {
            Some(next) if seq > next.saturating_add(1) => {
                format!("the lines with seq {next} to {} before it are missing, or were changed", seq - 1)
            }
            Some(next) if seq > next => {
                format!("the line with seq {next} before it is missing, or was changed")
            }
            Some(next) if seq < next => {
                format!("it stands after seq {}: it was added, repeated or moved", next.saturating_sub(1))
            }
            _ => "its hash does not fit: it or the line before was changed".to_owned(),
        };
        self.find(seq, sentence);
    }

    /// Files begin where the writer began them.
    fn boundary(&mut self, line: &Line<'_>, event: Option<EventName>) {
        let begins = matches!(event, Some(EventName::ChainStarted | EventName::ChainContinued));
        let is_first = self.place.line == 1;
        if event == Some(EventName::ChainContinued) && !is_first {
            self.find(line.at.seq, "it is the first line of a file, but stands after others");
        }
        if is_first && !begins && self.last.is_some() {
            self.find(line.at.seq, "it is not the first line of a file, but stands at the beginning of one");
        }
    }

    /// The number that the line must have. `None`: any.
    fn next_seq(&self, line: &Line<'_>, event: Option<EventName>) -> Option<u64> {
        let said = line.number("expected_seq");
        let last = match event {
            Some(EventName::ChainStarted) => Some(said.unwrap_or_default()),
            Some(EventName::ChainRestarted) => self.last.map(|last| last.seq.max(said.unwrap_or_default())),
            _ => self.last.map(|last| last.seq),
        };
        last.map(|last| last.saturating_add(1))
    }

    /// A new chain begins: what stood before it is proven no longer.
    fn started(&mut self, line: &Line<'_>, stray: Option<&Stray>) {
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
                self.note(format!("the lines before seq {seq} had no hash, and are gone"));
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
                self.find(seq, "the log before this line was damaged beyond recognition: nothing proves it");
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
    fn restarted(&mut self, line: &Line<'_>, stray: Option<&Stray>) {
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
            "cut" => "the writer found that lines before it had been cut off, or were lost with the power",
            "changed" => "the writer found another last line than the one that it had written",
            "head_missing" => "the file audit_head was missing: lines before this one may have been cut off",
            _ => "it gives no known reason",
        };
        self.find(seq, sentence);
    }

    fn strays(&mut self, stray: Option<&Stray>) {
        if let Some(stray) = stray {
            let sentence = format!("{} no part of the chain: changed, added or damaged", stray.lines_are());
            let place = stray.place.clone();
            self.say(true, Some(place), None, sentence);
        }
    }

    /// The log's name in its own lines: a line of another log of the same home has another.
    fn name(&mut self, line: &Line<'_>) {
        let name = line.text("log").unwrap_or_default();
        let known = self.name.get_or_insert_with(|| name.to_owned());
        if *known != name {
            let sentence = format!("it is from the log {name:?}, not from {known:?}");
            self.find(line.at.seq, sentence);
        }
    }

    fn checkpoint(&mut self, line: &Line<'_>) {
        let Some(key) = self.key else { return };
        let seq = line.at.seq;
        let part = |name| line.text(name).unwrap_or_default();
        if part("key") != key.to_string() {
            let sentence = format!("the checkpoint is signed by another key than {key}");
            return self.find(seq, sentence);
        }
        let head = part("head");
        let is_of_last = self.last.is_none_or(|last| hash_of(head) == Some(last.chain));
        if !is_of_last || !key.has_signed(&message(part("log"), seq, part("ts"), head), part("signature")) {
            return self.find(seq, "the signature of the checkpoint is wrong");
        }
        self.summary.checkpoints += 1;
        self.summary.signed_seq = Some(seq);
    }

    /// `is_of_home`: the home must say where the log ends.
    fn end(&mut self, name: &str, is_of_home: bool, expected: &Expected) {
        if let Some(stray) = self.stray.take() {
            if stray.is_torn && stray.lines == 1 {
                let sentence = "the last line has no end: it was cut off, or was not written to its end";
                self.say(true, Some(stray.place), None, sentence.to_owned());
            } else {
                self.strays(Some(&stray));
            }
        }
        let last = self.last.map_or(0, |last| last.seq);
        let head = self.head.map(|head| (head.seq, "the file audit_head names"));
        let seq = expected.seq.map(|seq| (seq, "it was expected to reach"));
        for (seq, who) in [head, seq].into_iter().flatten().filter(|(seq, _)| *seq > last) {
            self.find_in_log(format!("the log {name} was cut: it ends at seq {last}, but {who} seq {seq}"));
        }
        if self.head.is_none() && expected.seq.is_none() {
            let what = format!(
                "nothing says where {name} ends: lines that were cut off from its end are not noticed"
            );
            self.say(is_of_home, None, None, what);
        }
        match (self.key, self.summary.signed_seq) {
            (None, _) => self.note("no signature was checked: there is no key"),
            (Some(_), None) => self.note("no checkpoint is signed: the lines are chained alone"),
            (Some(_), Some(signed)) if signed < last => {
                self.note(format!("the lines after seq {signed} are chained, but not signed yet"));
            }
            (Some(_), Some(_)) => {}
        }
    }

    fn find(&mut self, seq: u64, sentence: impl Into<String>) {
        self.say(true, Some(self.place.clone()), Some(seq), sentence.into());
    }

    fn find_in_log(&mut self, sentence: String) {
        self.say(true, None, None, sentence);
    }

    fn note(&mut self, sentence: impl Into<String>) {
        self.say(false, None, None, sentence.into());
    }

    fn note_at(&mut self, seq: u64, sentence: &str) {
        self.say(false, Some(self.place.clone()), Some(seq), sentence.to_owned());
    }

    fn say(&mut self, is_finding: bool, place: Option<Place>, seq: Option<u64>, sentence: String) {
        self.summary.findings += u64::from(is_finding);
        let (file, line) = place.map(|place| (place.file, place.line)).unzip();
        (self.report)(Remark { is_finding, file, line, seq, sentence });
    }
}

/// Bytes between two lines of the chain.
struct Stray {
    place: Place,
    lines: u64,
    bytes: u64,
    digest: Sha256,
    /// Without the last newline: a writer ends a torn line by one before it says what it found.
    digest_without_newline: Sha256,
    /// There is no newline at its end.
    is_torn: bool,
}

impl Stray {
    fn at(place: &Place) -> Self {
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
            || (bytes.checked_add(1) == Some(self.bytes) && !self.is_torn && is(&self.digest_without_newline))
    }

    fn lines(&self) -> String {
        if self.lines == 1 { "1 line".to_owned() } else { format!("{} lines", self.lines) }
    }

    fn lines_are(&self) -> String {
        format!("{} from here {}", self.lines(), if self.lines == 1 { "is" } else { "are" })
    }
}
