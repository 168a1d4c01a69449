//! Lines whose code no process with the key of the home made, as the check of a log reads them.

use super::chain::ChainLine;
use super::verify::LogPosition;

/// Follows who wrote the lines of a log.
#[derive(Default)]
pub(super) struct Authorship {
    /// A line with a right code was read: from there on, the writer gives each line one.
    is_coded: bool,
    run: Option<ForeignRun>,
}

/// Lines one after another without a right code.
pub(super) struct ForeignRun {
    pub(super) place: LogPosition,
    pub(super) first_seq: u64,
    pub(super) last_seq: u64,
    /// The lines have no code, and stand before the first one that has: an earlier version may have
    /// written them, or a process that could not read the key.
    pub(super) may_be_early: bool,
}

impl Authorship {
    /// Adds a line whose hash is right. Returns the lines before it that no process with the key
    /// wrote, if they end here.
    pub(super) fn add(
        &mut self,
        line: &ChainLine<'_>,
        is_own: bool,
        place: &LogPosition,
    ) -> Option<ForeignRun> {
        if is_own {
            self.is_coded = true;
            return self.end();
        }
        let may_be_early = !self.is_coded && !line.has_mac();
        let seq = line.at.seq;
        match &mut self.run {
            Some(run) => {
                run.last_seq = seq;
                run.may_be_early &= may_be_early;
            }
            None => {
                self.run = Some(ForeignRun {
                    place: place.clone(),
                    first_seq: seq,
                    last_seq: seq,
                    may_be_early,
                });
            }
        }
        None
    }

    /// Returns the lines without a right code that were read last.
    pub(super) fn end(&mut self) -> Option<ForeignRun> {
        self.run.take()
    }

    /// Returns whether the log has lines with a right code.
    pub(super) fn is_coded(&self) -> bool {
        self.is_coded
    }
}
