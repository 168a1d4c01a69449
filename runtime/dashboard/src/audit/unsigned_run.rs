//! A run of lines without a checkpoint, as the check of a log reads it.

use super::chain::ChainLine;
use super::unsigned::{has_too_many_lines, is_too_long};
use super::verify::LogPosition;
use jiff::Timestamp;
use std::mem;

/// The lines since the last checkpoint.
#[derive(Default)]
pub(super) struct UnsignedRun {
    /// The number and time of the first one.
    first: Option<(u64, Timestamp)>,
    long: Option<LongRun>,
}

/// A run that is longer than what a writer of version 2 leaves between two checkpoints.
pub(super) struct LongRun {
    /// The first line that is too far from the first line of the run.
    pub(super) place: LogPosition,
    /// It spans too much time. Otherwise it has too many lines, which writers of version 1 left.
    pub(super) spans_time: bool,
    pub(super) first_seq: u64,
    pub(super) last_seq: u64,
}

impl UnsignedRun {
    /// Adds a line that is no checkpoint.
    pub(super) fn add(&mut self, line: &ChainLine<'_>, ts: Timestamp, place: &LogPosition) {
        let seq = line.at.seq;
        let (first_seq, first) = *self.first.get_or_insert((seq, ts));
        let spans_time = is_too_long(first, ts);
        match &mut self.long {
            Some(long) => {
                long.last_seq = seq;
                long.spans_time |= spans_time;
            }
            None if spans_time || has_too_many_lines(first_seq, seq) => {
                self.long = Some(LongRun {
                    place: place.clone(),
                    spans_time,
                    first_seq,
                    last_seq: seq,
                });
            }
            None => {}
        }
    }

    /// Ends the run. Returns it if it was too long.
    pub(super) fn end(&mut self) -> Option<LongRun> {
        mem::take(self).long
    }
}

#[cfg(test)]
mod tests {
    use super::super::chain::{GENESIS, Pen, Point};
    use super::super::head::Heads;
    use super::super::key::{AuditKey, PublicKey};
    use super::super::trail::{CheckpointVersion, Trail, message};
    use super::super::unsigned::Unsigned;
    use super::super::{AUDIT_FILE, EventName, Expected, Outcome, Record, Rotation, verify};
    use std::fs;
    use std::path::Path;

    const LOG: &str = "dashboard-auth.log";

    fn at(ts: &str) -> Record {
        Record::now(EventName::DrainBegin).at(ts.parse().unwrap())
    }

    /// Writes batches of lines, as one process does that is killed after them.
    fn write(home: &Path, batches: &[&[&str]]) {
        let key = AuditKey::load_or_make(home).unwrap();
        let mut trail = Trail::new(home.join(AUDIT_FILE), Rotation::default());
        for batch in batches {
            let records: Vec<_> = batch.iter().map(|ts| at(ts)).collect();
            let records: Vec<_> = records.iter().collect();
            assert!(trail.append(&records, home, Some(&key)));
        }
        let mut heads = Heads::read(home).unwrap();
        trail.note_head(&mut heads, Some(&key));
        heads.write(home).unwrap();
    }

    fn public_key(home: &Path) -> PublicKey {
        AuditKey::load_or_make(home).unwrap().public()
    }

    fn check(home: &Path, public_key: Option<PublicKey>) -> (Outcome, String) {
        let expected = Expected {
            public_key,
            ..Expected::default()
        };
        let mut said = String::new();
        let summary = verify(home, &home.join(AUDIT_FILE), &expected, &mut |remark| {
            said.push_str(&format!("{:?}: {}\n", remark.kind, remark.sentence));
        });
        (summary.unwrap().unwrap().outcome(), said)
    }

    /// Writes the log anew without its checkpoints, but for the first ones, as a forger without the
    /// key can.
    fn strip(home: &Path, kept: usize) {
        let text = fs::read_to_string(home.join(AUDIT_FILE)).unwrap();
        let mut pen = Pen::after(
            Point {
                seq: 0,
                chain: GENESIS,
            },
            Unsigned::Nothing,
        );
        let mut log = String::new();
        let mut checkpoints = 0;
        for line in text.lines() {
            let fields: serde_json::Value = serde_json::from_str(line).unwrap();
            let is_drain = fields["event"] == "drain_begin";
            checkpoints += usize::from(fields["event"] == "checkpoint");
            if !is_drain && checkpoints <= kept {
                log.push_str(line);
                log.push('\n');
                let line = super::ChainLine::read(line.as_bytes()).unwrap();
                pen = Pen::after(line.at, Unsigned::Nothing);
            }
            if !is_drain {
                continue;
            }
            pen.write(&at(fields["ts"].as_str().unwrap()).with("principal", "eve"));
        }
        log.push_str(&String::from_utf8(pen.lines).unwrap());
        fs::write(home.join(AUDIT_FILE), log).unwrap();
        let mut heads = Heads::default();
        heads.set(LOG, pen.at, None);
        heads.write(home).unwrap();
    }

    /// A process that ran for two hours, and one that ran three days later.
    fn signed_log() -> tempfile::TempDir {
        let home = tempfile::tempdir().unwrap();
        write(
            home.path(),
            &[
                &["2026-01-01T10:00:00Z"],
                &["2026-01-01T10:50:00Z"],
                &["2026-01-01T11:05:00Z"],
                &["2026-01-01T12:10:00Z"],
            ],
        );
        write(home.path(), &[&["2026-01-04T09:00:00Z"]]);
        home
    }

    #[test]
    fn honest_log_is_good_after_kills_suspended_machines_and_clocks_that_were_set() {
        let home = tempfile::tempdir().unwrap();
        // `chain_started` has the time of the test.
        let processes: &[&[&[&str]]] = &[
            &[&["2026-01-01T10:00:00Z"], &["2026-01-01T10:50:00Z"]],
            &[&["2026-01-09T10:00:00Z"], &["2026-01-09T22:00:00Z"]],
            &[&["2026-01-09T22:10:00Z"], &["1970-01-01T00:00:00Z"]],
            &[&[
                "2026-01-10T01:00:00Z",
                "2026-01-10T03:00:00Z",
                "2026-01-10T06:00:00Z",
            ]],
            &[&["2026-01-10T06:00:01Z"]],
        ];
        for batches in processes {
            write(home.path(), batches);
            let (outcome, said) = check(home.path(), Some(public_key(home.path())));
            assert_eq!(outcome, Outcome::Good, "{said}");
        }
    }

    #[test]
    fn lines_whose_checkpoints_were_removed_are_found() {
        let home = signed_log();
        assert_eq!(check(home.path(), None).0, Outcome::Good);
        strip(home.path(), 1);
        let (outcome, said) = check(home.path(), None);
        assert_eq!(outcome, Outcome::Findings, "{said}");
        assert!(said.contains("span more than an hour"), "{said}");
    }

    #[test]
    fn file_that_was_moved_aside_without_a_checkpoint_is_found() {
        let small = Rotation {
            max_file_bytes: 2_000,
            ..Rotation::default()
        };
        for (is_signed, expected) in [(true, Outcome::Good), (false, Outcome::Findings)] {
            let home = tempfile::tempdir().unwrap();
            let key = AuditKey::load_or_make(home.path()).unwrap();
            let mut trail = Trail::new(home.path().join(AUDIT_FILE), small);
            for _ in 0..20 {
                let record = Record::now(EventName::DrainBegin);
                let key = is_signed.then_some(&key);
                assert!(trail.append(&[&record], home.path(), key));
            }
            let mut heads = Heads::default();
            trail.note_head(&mut heads, is_signed.then_some(&key));
            heads.write(home.path()).unwrap();

            let (outcome, said) = check(home.path(), Some(key.public()));
            assert_eq!(outcome, expected, "{said}");
            let is_found = said.contains("does not end with a checkpoint");
            assert_eq!(is_found, !is_signed, "{said}");
        }
    }

    #[test]
    fn log_without_any_signature_is_never_good() {
        let home = signed_log();
        strip(home.path(), 0);
        let (outcome, said) = check(home.path(), None);
        assert_eq!(outcome, Outcome::Findings, "{said}");
        assert!(
            said.contains("not written with the key of the home"),
            "{said}"
        );
        let public = public_key(home.path());
        let (outcome, said) = check(home.path(), Some(public));
        assert_eq!(outcome, Outcome::Findings, "{said}");
        assert!(said.contains("no line is signed by the key"), "{said}");

        // Without the key, nothing tells who wrote the lines.
        fs::remove_file(home.path().join("audit_key")).unwrap();
        assert_eq!(check(home.path(), None).0, Outcome::Unknown);
        assert_eq!(check(home.path(), Some(public)).0, Outcome::Findings);
    }

    #[test]
    fn key_that_is_missing_or_cannot_be_read_makes_no_log_good() {
        let home = signed_log();
        let public = public_key(home.path());
        let path = home.path().join("audit_key");
        fs::write(&path, "broken").unwrap();
        let (outcome, said) = check(home.path(), None);
        assert_eq!(outcome, Outcome::Findings, "{said}");
        assert!(said.contains("is not 64 hexadecimal digits"), "{said}");

        fs::remove_file(&path).unwrap();
        let (outcome, said) = check(home.path(), None);
        assert_eq!(outcome, Outcome::Unknown, "{said}");
        let (outcome, said) = check(home.path(), Some(public));
        assert_eq!(outcome, Outcome::Good, "{said}");
    }

    #[test]
    fn run_that_an_earlier_version_signed_late_is_no_finding() {
        let home = tempfile::tempdir().unwrap();
        let key = AuditKey::load_or_make(home.path()).unwrap();
        let genesis = Point {
            seq: 0,
            chain: GENESIS,
        };
        let mut pen = Pen::after(genesis, Unsigned::Nothing);
        let started =
            Record::now(EventName::ChainStarted).at("2026-01-01T10:00:00Z".parse().unwrap());
        pen.write(&started.with("log", LOG).with("reason", "new"));
        pen.write(&at("2026-01-05T10:00:00Z"));
        let ts = "2026-01-05T10:59:00Z";
        let head = hex::encode(pen.at.chain);
        let text = message(CheckpointVersion::One, LOG, pen.at.seq + 1, ts, &head);
        let checkpoint = Record::now(EventName::Checkpoint)
            .at(ts.parse().unwrap())
            .with("log", LOG)
            .with("head", head)
            .with("key", key.public().to_string())
            .with("signature", key.sign(&text));
        pen.write(&checkpoint);
        fs::create_dir(home.path().join("logs")).unwrap();
        fs::write(home.path().join(AUDIT_FILE), &pen.lines).unwrap();
        let mut heads = Heads::default();
        heads.set(LOG, pen.at, None);
        heads.write(home.path()).unwrap();

        let (outcome, said) = check(home.path(), None);
        assert_eq!(outcome, Outcome::Good, "{said}");
        assert!(said.contains("an earlier version"), "{said}");
    }
}
