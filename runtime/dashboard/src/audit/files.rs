//! The two logs of a home, and what they share: the lock, the key, and the file of their heads.

use super::Record;
use super::head::Heads;
use super::key::{AuditKey, PublicKey};
use super::thinning::Thinning;
use super::trail::Trail;
use super::unsigned::CHECKPOINT_INTERVAL;
use super::writer::BURST;
use portcullis_home::home_lock::HomeLock;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// The log's path in the home.
pub const AUDIT_FILE: &str = "logs/dashboard-auth.log";
/// The path in the home of the file that holds the important lines once more.
pub const IMPORTANT_FILE: &str = "logs/dashboard-auth-important.log";
/// In the home. Held for each write: `portcullis session end` writes while a dashboard runs.
pub(super) const LOCK_FILE: &str = "audit.lock";

/// Between two lines of one cause in the file of the important lines, after the burst.
const IMPORTANT_PERIOD: Duration = Duration::from_secs(60);
/// The time between two writes of the heads, while lines are written.
const HEAD_INTERVAL: Duration = Duration::from_secs(2);

/// The time between two looks at what was left out of the file of the important lines.
const LEFT_OUT_INTERVAL: Duration = Duration::from_secs(5);

/// How the files of a log are rotated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rotation {
    /// A file that would become longer, in bytes, is moved aside.
    pub max_file_bytes: u64,
    /// Files that were moved aside and are kept.
    pub kept_files: u32,
}

impl Default for Rotation {
    fn default() -> Self {
        Self {
            max_file_bytes: 10 * 1024 * 1024,
            kept_files: 5,
        }
    }
}

/// The audit log and the log of important events.
pub(super) struct Files {
    home: PathBuf,
    all: Trail,
    important: Trail,
    /// For the second file, which has to last longer.
    thinning: Thinning,
    key: Option<AuditKey>,
    /// Without a key, it is tried again with each checkpoint.
    has_tried_key: bool,
    /// When the heads are due. `None`: they were written, and no line was since.
    head_due: Option<Instant>,
    /// When a checkpoint is due. `None`: nothing was written since the last.
    checkpoint_due: Option<Instant>,
    /// When the second file may say what was left out of it. `None`: nothing was.
    left_out_due: Option<Instant>,
}

impl Files {
    pub(super) fn of(home: &Path, rotation: Rotation) -> Self {
        Self {
            home: home.to_owned(),
            all: Trail::new(home.join(AUDIT_FILE), rotation),
            important: Trail::new(home.join(IMPORTANT_FILE), rotation),
            thinning: Thinning::new(BURST, IMPORTANT_PERIOD),
            key: None,
            has_tried_key: false,
            head_due: None,
            checkpoint_due: None,
            left_out_due: None,
        }
    }

    /// Returns whether the records are in the file of all lines.
    pub(super) fn write(&mut self, records: &[Record]) -> bool {
        let important: Vec<_> = records
            .iter()
            .filter(|record| record.event().is_important())
            .filter_map(|record| self.thinning.pass(record.clone()).ok())
            .collect();
        let Some(_lock) = self.lock() else {
            return false;
        };
        if !self.has_tried_key {
            self.load_key();
            self.begin_heads();
        }

        let all: Vec<_> = records.iter().collect();
        let is_written = self.all.append(&all, &self.home, self.key.as_ref());
        if !important.is_empty() {
            let important: Vec<_> = important.iter().collect();
            self.important
                .append(&important, &self.home, self.key.as_ref());
        }

        self.note_lines();
        is_written
    }

    /// Before the first line of a log: a process that is killed between that line and the head after
    /// it leaves a log whose beginning is known.
    fn begin_heads(&self) {
        let mut heads = Heads::read(&self.home).unwrap_or_default();
        let key = self.key.as_ref();
        let begins = [&self.all, &self.important].map(|log| log.begin_head(&mut heads, key));
        if begins.contains(&true)
            && let Err(error) = heads.write(&self.home)
        {
            tracing::debug!(%error, "where the audit log begins cannot be written");
        }
    }

    /// Lines were written.
    fn note_lines(&mut self) {
        let now = Instant::now();
        self.checkpoint_due.get_or_insert(now + CHECKPOINT_INTERVAL);
        if self.thinning.owes() {
            self.left_out_due.get_or_insert(now + LEFT_OUT_INTERVAL);
        }
        // The first lines of a process: without a head, the next process could not notice that they
        // were cut off.
        if self.head_due.is_none() {
            self.write_heads();
            self.head_due = Some(now + HEAD_INTERVAL);
        }
    }

    /// Says what was left out of the second file: as far as its limits allow, or `all` of it.
    fn settle_left_out(&mut self, all: bool) {
        self.left_out_due = None;
        if let Some(_lock) = self.lock() {
            let records = self.thinning.settle(all);
            if !records.is_empty() {
                let records: Vec<_> = records.iter().collect();
                self.important
                    .append(&records, &self.home, self.key.as_ref());
                self.note_lines();
            }
        }
        if self.thinning.owes() {
            self.left_out_due
                .get_or_insert(Instant::now() + LEFT_OUT_INTERVAL);
        }
    }

    /// How long there is nothing to do without new lines. `None`: for ever.
    pub(super) fn patience(&self) -> Option<Duration> {
        let due = [self.head_due, self.checkpoint_due, self.left_out_due]
            .into_iter()
            .flatten()
            .min()?;
        Some(due.saturating_duration_since(Instant::now()))
    }

    /// Writes the heads and the checkpoints that are due, and what was left out.
    pub(super) fn keep_up(&mut self) {
        let now = Instant::now();
        let is_due = |due: Option<Instant>| due.is_some_and(|due| due <= now);
        if is_due(self.left_out_due) {
            self.settle_left_out(false);
        }
        if !is_due(self.head_due) && !is_due(self.checkpoint_due) {
            return;
        }
        let is_checkpoint_due = is_due(self.checkpoint_due);
        self.settle(is_checkpoint_due);
    }

    /// Says what was left out, and signs what is not signed yet.
    pub(super) fn close(&mut self) {
        if self.thinning.owes() {
            self.settle_left_out(true);
        }
        if self.checkpoint_due.is_some() {
            self.settle(true);
        }
    }

    fn settle(&mut self, with_checkpoint: bool) {
        self.head_due = None;
        if with_checkpoint {
            self.checkpoint_due = None;
        }

        let Some(_lock) = self.lock() else {
            let later = Some(Instant::now() + HEAD_INTERVAL);
            self.head_due = later;
            self.checkpoint_due = self.checkpoint_due.or(later);
            return;
        };
        if with_checkpoint {
            self.sign();
        }

        self.write_heads();
    }

    /// The key may have become readable since the last attempt: a disk was full, for example.
    fn sign(&mut self) {
        if self.key.is_none() {
            self.load_key();
        }
        match &self.key {
            Some(key) => {
                self.all.checkpoint(&self.home, key);
                self.important.checkpoint(&self.home, key);
            }
            None => self.checkpoint_due = Some(Instant::now() + CHECKPOINT_INTERVAL),
        }
    }

    /// Best effort: without it, lines that are cut off from the end are not noticed.
    fn write_heads(&self) {
        // A damaged file is replaced: what it said of logs that this process does not write is
        // unknown.
        let mut heads = Heads::read(&self.home).unwrap_or_default();
        let key = self.key.as_ref();
        self.all.note_head(&mut heads, key);
        self.important.note_head(&mut heads, key);
        if let Err(error) = heads.write(&self.home) {
            tracing::debug!(%error, "where the audit log ends cannot be written");
        }
    }

    fn load_key(&mut self) {
        self.has_tried_key = true;
        match AuditKey::load_or_make(&self.home) {
            Ok(key) => self.key = Some(key),
            Err(error) => {
                tracing::warn!(%error, "the audit log is not signed: its key cannot be read or made");
            }
        }
    }

    /// `None`: the log cannot be written now.
    fn lock(&mut self) -> Option<HomeLock> {
        match take_lock(&self.home) {
            Ok(lock) => Some(lock),
            Err(error) => {
                self.all.note(&Err(error));
                None
            }
        }
    }
}

/// Takes the lock of the logs. Waits for another process for half a second.
pub(super) fn take_lock(home: &Path) -> io::Result<HomeLock> {
    let held = || {
        io::Error::new(
            io::ErrorKind::WouldBlock,
            format!("another process holds {LOCK_FILE}"),
        )
    };
    HomeLock::take(&home.join(LOCK_FILE), &[])?.ok_or_else(held)
}

/// The public part of the key that signs the checkpoints of this home. The key is made if there is
/// none.
///
/// # Errors
/// The key cannot be read or made, or another process holds the lock of the log.
pub fn public_key(home: &Path) -> io::Result<PublicKey> {
    let _lock = take_lock(home)?;
    Ok(AuditKey::load_or_make(home)?.public())
}

/// The public part of the key that signs the checkpoints of this home. Returns `None` if no key was
/// made yet.
///
/// # Errors
/// The key cannot be read.
pub fn known_public_key(home: &Path) -> io::Result<Option<PublicKey>> {
    Ok(AuditKey::load(home)?.map(|key| key.public()))
}

#[cfg(test)]
mod tests {
    use super::super::chain::{ChainLine, Pen};
    use super::super::head::HeadProof;
    use super::super::unsigned::Unsigned;
    use super::super::{EventName, Expected, RemarkKind, verify};
    use super::*;
    use std::fs;

    fn events(text: &[u8]) -> Vec<EventName> {
        let lines = text
            .split(|byte| *byte == b'\n')
            .filter_map(ChainLine::read);
        lines.filter_map(|line| line.event()).collect()
    }

    #[test]
    fn drain_outlives_a_flood_of_calls() {
        let home = tempfile::tempdir().unwrap();
        let rotation = Rotation::default();
        let mut files = Files::of(home.path(), rotation);
        assert!(files.write(&[Record::now(EventName::DrainBegin)]));
        let call = Record::now(EventName::TokenAuthSuccess).with("path", "p".repeat(1_000));
        let calls = vec![call; 10_000];
        for _ in 0..8 {
            assert!(files.write(&calls));
        }
        let oldest = home
            .path()
            .join(format!("{AUDIT_FILE}.{}", rotation.kept_files));
        let oldest = events(&fs::read(oldest).unwrap());
        assert!(
            !oldest.contains(&EventName::DrainBegin),
            "all files were turned over"
        );
        assert_eq!(
            (oldest.first(), oldest.last()),
            (
                Some(&EventName::ChainContinued),
                Some(&EventName::Checkpoint)
            )
        );
        let important = events(&fs::read(home.path().join(IMPORTANT_FILE)).unwrap());
        assert_eq!(important, [EventName::ChainStarted, EventName::DrainBegin]);
    }

    #[test]
    fn checkpoint_is_written_when_it_is_due_and_not_again_without_lines() {
        let home = tempfile::tempdir().unwrap();
        let mut files = Files::of(home.path(), Rotation::default());
        assert!(files.patience().is_none());
        assert!(files.write(&[Record::now(EventName::DrainBegin)]));
        assert!(
            files
                .patience()
                .is_some_and(|patience| patience <= HEAD_INTERVAL)
        );
        files.keep_up();
        for _ in 0..2 {
            files.checkpoint_due = Some(Instant::now());
            files.keep_up();
            assert!(files.patience().is_none());
        }
        let text = fs::read(home.path().join(AUDIT_FILE)).unwrap();
        assert_eq!(
            events(&text),
            [
                EventName::ChainStarted,
                EventName::DrainBegin,
                EventName::Checkpoint
            ]
        );
        let last = text
            .trim_ascii_end()
            .split(|byte| *byte == b'\n')
            .next_back()
            .and_then(ChainLine::read);
        let head = Heads::read(home.path()).unwrap().of("dashboard-auth.log");
        assert_eq!(head, last.map(|line| line.at));
    }

    #[test]
    fn two_processes_write_one_chain() {
        let home = tempfile::tempdir().unwrap();
        let [mut one, mut other] = [(); 2].map(|()| Files::of(home.path(), Rotation::default()));
        for _ in 0..3 {
            assert!(one.write(&[Record::now(EventName::DrainBegin)]));
            assert!(other.write(&[Record::now(EventName::Logout)]));
        }
        other.close();
        one.close();
        let text = fs::read(home.path().join(AUDIT_FILE)).unwrap();
        let mut expected = vec![
            EventName::ChainStarted,
            EventName::DrainBegin,
            EventName::Checkpoint,
            EventName::Logout,
        ];
        expected.extend([EventName::DrainBegin, EventName::Logout].repeat(2));
        expected.push(EventName::Checkpoint);
        assert_eq!(
            events(&text),
            expected,
            "one checkpoint over the lines of another process, and one at the end"
        );
    }

    #[test]
    fn key_that_could_not_be_made_is_tried_again_with_the_next_checkpoint() {
        let home = tempfile::tempdir().unwrap();
        let in_the_way = home.path().join("audit_key");
        fs::create_dir(&in_the_way).unwrap();
        let mut files = Files::of(home.path(), Rotation::default());
        let log = || events(&fs::read(home.path().join(AUDIT_FILE)).unwrap());
        assert!(files.write(&[Record::now(EventName::DrainBegin)]));
        files.checkpoint_due = Some(Instant::now());
        files.keep_up();
        assert!(!log().contains(&EventName::Checkpoint));
        assert!(files.checkpoint_due.is_some(), "it is tried again");

        fs::remove_dir(&in_the_way).unwrap();
        files.checkpoint_due = Some(Instant::now());
        files.keep_up();
        assert_eq!(log().last(), Some(&EventName::Checkpoint));
    }

    #[test]
    fn lines_of_a_process_that_was_killed_are_signed_by_the_next_one() {
        let home = tempfile::tempdir().unwrap();
        for event in [EventName::DrainBegin, EventName::Logout] {
            let mut files = Files::of(home.path(), Rotation::default());
            assert!(files.write(&[Record::now(event)]));
        }
        let text = fs::read(home.path().join(AUDIT_FILE)).unwrap();
        assert_eq!(
            events(&text),
            [
                EventName::ChainStarted,
                EventName::DrainBegin,
                EventName::Checkpoint,
                EventName::Logout
            ]
        );
    }

    /// Appends lines that follow the last one, as anyone can who may write to the file. Returns the
    /// number of the last one.
    fn forge(home: &Path, file: &str, lines: usize) -> u64 {
        let path = home.join(file);
        let text = fs::read(&path).unwrap();
        let last = text
            .trim_ascii_end()
            .rsplit(|byte| *byte == b'\n')
            .find_map(ChainLine::read)
            .unwrap();
        let mut pen = Pen::after(last.at, Unsigned::Nothing);
        for _ in 0..lines {
            pen.write(&Record::now(EventName::DrainCancel).with("principal", "eve"));
        }
        fs::write(&path, [&text[..], &pen.lines].concat()).unwrap();
        pen.at.seq
    }

    fn findings(home: &Path, file: &str) -> String {
        let mut said = String::new();
        let expected = Expected::default();
        verify(home, &home.join(file), &expected, &mut |remark| {
            if remark.kind == RemarkKind::Finding {
                said.push_str(&format!("{:?} {}\n", remark.seq, remark.sentence));
            }
        })
        .unwrap();
        said
    }

    fn restarts(home: &Path, file: &str) -> Vec<(String, u64, u64)> {
        let text = fs::read(home.join(file)).unwrap();
        let lines = text
            .split(|byte| *byte == b'\n')
            .filter_map(ChainLine::read)
            .filter(|line| line.event() == Some(EventName::ChainRestarted));
        lines
            .map(|line| {
                (
                    line.text("reason").unwrap_or_default().to_owned(),
                    line.number("own_seq").unwrap_or_default(),
                    line.number("found_seq").unwrap_or_default(),
                )
            })
            .collect()
    }

    #[test]
    fn beginning_of_a_log_is_known_before_its_first_line() {
        let home = tempfile::tempdir().unwrap();
        let mut files = Files::of(home.path(), Rotation::default());
        files.write(&[Record::now(EventName::TokenAuthSuccess)]);
        // The second file is not there yet.
        assert_eq!(findings(home.path(), IMPORTANT_FILE), "");
        let before = fs::read(home.path().join("audit_head")).unwrap();
        files.write(&[Record::now(EventName::DrainBegin)]);
        // As after a kill between the first line of the second file and the head after it.
        fs::write(home.path().join("audit_head"), before).unwrap();
        let assert_good = || {
            for file in [AUDIT_FILE, IMPORTANT_FILE] {
                assert_eq!(findings(home.path(), file), "", "{file}");
            }
        };
        assert_good();

        let mut next = Files::of(home.path(), Rotation::default());
        next.write(&[Record::now(EventName::DrainCancel)]);
        assert_good();
    }

    #[test]
    fn line_that_was_added_is_found_at_once_and_for_ever() {
        for file in [AUDIT_FILE, IMPORTANT_FILE] {
            for is_running in [true, false] {
                let home = tempfile::tempdir().unwrap();
                let mut files = Files::of(home.path(), Rotation::default());
                assert!(files.write(&[Record::now(EventName::DrainBegin)]));
                if !is_running {
                    files.close();
                    files = Files::of(home.path(), Rotation::default());
                }
                assert_eq!(findings(home.path(), file), "");

                let found = forge(home.path(), file, 3);
                let said = findings(home.path(), file);
                assert!(said.contains("not written with the key"), "{said}");
                assert!(files.write(&[Record::now(EventName::DrainBegin)]));
                files.close();
                let mark = ("foreign".to_owned(), found - 3, found);
                assert_eq!(restarts(home.path(), file), [mark]);

                // Also for a reader who has the public key alone.
                let public = known_public_key(home.path()).unwrap();
                fs::remove_file(home.path().join("audit_key")).unwrap();
                let expected = Expected {
                    public_key: public,
                    ..Expected::default()
                };
                let mut said = String::new();
                verify(
                    home.path(),
                    &home.path().join(file),
                    &expected,
                    &mut |remark| {
                        said.push_str(&format!("{:?} {}\n", remark.kind, remark.sentence));
                    },
                )
                .unwrap();
                assert!(said.contains("Finding the writer found lines"), "{said}");
                assert!(said.contains("needs the file audit_key"), "{said}");
            }
        }
    }

    #[test]
    fn line_that_was_added_before_a_rotation_is_found() {
        let home = tempfile::tempdir().unwrap();
        let small = Rotation {
            max_file_bytes: 3_000,
            ..Rotation::default()
        };
        let mut files = Files::of(home.path(), small);
        assert!(files.write(&[Record::now(EventName::DrainBegin)]));
        forge(home.path(), AUDIT_FILE, 1);
        for _ in 0..20 {
            assert!(files.write(&[Record::now(EventName::DrainBegin)]));
        }
        files.close();
        assert!(home.path().join(format!("{AUDIT_FILE}.1")).exists());
        let mut said = String::new();
        let expected = Expected {
            rotation: small,
            ..Expected::default()
        };
        verify(
            home.path(),
            &home.path().join(AUDIT_FILE),
            &expected,
            &mut |remark| {
                said.push_str(&format!("{}\n", remark.sentence));
            },
        )
        .unwrap();
        assert!(said.contains("not written with the key"), "{said}");
    }

    #[test]
    fn end_that_was_cut_off_is_found_where_the_head_was_changed_with_it() {
        for is_restarted in [false, true] {
            let home = tempfile::tempdir().unwrap();
            let mut files = Files::of(home.path(), Rotation::default());
            assert!(files.write(&[Record::now(EventName::DrainBegin)]));
            assert!(files.write(&[Record::now(EventName::Logout)]));
            files.close();

            let path = home.path().join(AUDIT_FILE);
            let text = fs::read_to_string(&path).unwrap();
            let kept: Vec<_> = text.lines().take(2).collect();
            fs::write(&path, kept.join("\n") + "\n").unwrap();
            let last = ChainLine::read(kept[1].as_bytes()).unwrap();
            let mut heads = Heads::default();
            heads.set("dashboard-auth.log", last.at, None);
            heads.write(home.path()).unwrap();
            if is_restarted {
                let mut files = Files::of(home.path(), Rotation::default());
                assert!(files.write(&[Record::now(EventName::DrainBegin)]));
                files.close();
            }
            let said = findings(home.path(), AUDIT_FILE);
            assert!(said.contains("audit_head was"), "{said}");
        }
    }

    #[test]
    fn log_of_an_earlier_version_is_taken_over_once() {
        let home = tempfile::tempdir().unwrap();
        let key = AuditKey::load_or_make(home.path()).unwrap();
        let mut trail = Trail::new(home.path().join(AUDIT_FILE), Rotation::default());
        assert!(trail.append(&[&Record::now(EventName::DrainBegin)], home.path(), None));
        let mut heads = Heads::default();
        trail.note_head(&mut heads, None);
        heads.write(home.path()).unwrap();

        let mut files = Files::of(home.path(), Rotation::default());
        assert!(files.write(&[Record::now(EventName::Logout)]));
        files.close();
        assert_eq!(findings(home.path(), AUDIT_FILE), "");
        assert!(restarts(home.path(), AUDIT_FILE).is_empty());
        let heads = Heads::read(home.path()).unwrap();
        let proof = heads.proof("dashboard-auth.log", key.macs());
        assert_eq!(proof, HeadProof::Right);

        forge(home.path(), AUDIT_FILE, 1);
        assert_ne!(findings(home.path(), AUDIT_FILE), "");
    }
}
