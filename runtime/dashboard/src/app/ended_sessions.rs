//! Sessions that people have signed out of, kept in a file so that a restart brings none of them
//! back.
//!
//! One thread writes the file. Sign-outs that arrive while it waits for the disk share the next
//! write.
//!
//! **Invariant:** the file never holds more than twice [`MAX_ENDED`] lines, and nothing in it can
//! stop a start.

use portcullis_auth::{MAX_ENDED, SessionId};
use portcullis_home::atomic_file::{self, Durability};
use std::fs::OpenOptions;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender};
use std::thread;
use std::time::Duration;
use tokio::sync::oneshot;

/// In the home, for its owner alone: one identifier per line, the newest last.
const FILE: &str = "ended_sessions";

/// An identifier in hexadecimal digits, and the end of its line.
const LINE_BYTES: usize = 33;

/// How often what a full disk refused is tried again.
const RETRY_INTERVAL: Duration = Duration::from_secs(1);

/// Sign-outs that may wait for the disk. Those beyond are not written.
const MAX_WAITING: usize = 1_024;

/// Where ended sessions are kept.
#[derive(Clone)]
pub(super) struct EndedSessions {
    inbox: SyncSender<(SessionId, oneshot::Sender<bool>)>,
}

impl EndedSessions {
    /// Reads those of earlier runs, the oldest first, and starts the thread that writes the next
    /// ones. A file that cannot be read is an error in the log, and the dashboard starts without
    /// its content. Lines that cannot be read are a warning.
    ///
    /// # Errors
    /// The thread cannot be started.
    pub(super) fn open(home: &Path) -> io::Result<(Vec<SessionId>, Self)> {
        let path = home.join(FILE);
        let read = read_last(&path).unwrap_or_else(|error| {
            let path = path.display();
            tracing::error!(
                %path, %error,
                "cannot read which sessions were signed out: those sessions count again until they expire; \
                 repair or remove the file"
            );
            EndedLines::default()
        });
        if read.damaged > 0 {
            tracing::warn!(
                path = %path.display(), lines = read.damaged,
                "lines about sessions that were signed out cannot be read: those sessions may be open again until they \
                 expire; end them again with `portcullis session end`, and remove these lines"
            );
        }

        let (inbox, ended) = mpsc::sync_channel(MAX_WAITING);
        let mut writer = EndedSessionsWriter::new(path);
        thread::Builder::new()
            .name("ended-sessions".into())
            .spawn(move || writer.run(&ended))?;
        Ok((read.ids, Self { inbox }))
    }

    /// Returns whether the session's end is on the disk. If it cannot be put there, that is logged.
    pub(super) async fn remember(&self, id: SessionId) -> bool {
        let (written, done) = oneshot::channel();
        if self.inbox.try_send((id, written)).is_err() {
            tracing::warn!("a sign-out could not be written to {FILE}: too many wait for the disk");
            return false;
        }
        // An error means that the thread has ended, which it does with the process.
        done.await.unwrap_or(false)
    }
}

/// What the end of the file says.
#[derive(Debug, Default, PartialEq, Eq)]
struct EndedLines {
    /// The oldest first.
    ids: Vec<SessionId>,
    /// Lines that are no identifier. Where the ends of lines are damaged as well, as many lines as
    /// the bytes had room for.
    damaged: usize,
}

impl EndedLines {
    /// Reads lines of which the first may have begun before these bytes.
    fn of(bytes: &[u8], is_first_cut: bool) -> Self {
        let mut lines = Self::default();
        for (index, line) in bytes.split(|byte| *byte == b'\n').enumerate() {
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            let is_rest = is_first_cut && index == 0 && is_end_of_id(line);
            let id = std::str::from_utf8(line).ok().and_then(SessionId::written);
            match id {
                _ if line.is_empty() || is_rest => {}
                Some(id) => lines.ids.push(id),
                None => lines.damaged += ((line.len() + 1) / LINE_BYTES).max(1),
            }
        }
        lines
    }
}

/// Returns whether a line can be the end of one with an identifier.
fn is_end_of_id(line: &[u8]) -> bool {
    line.len() < LINE_BYTES && line.iter().all(u8::is_ascii_hexdigit)
}

/// The last [`MAX_ENDED`] lines.
fn read_last(path: &Path) -> io::Result<EndedLines> {
    let mut file = match atomic_file::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(EndedLines::default()),
        Err(error) => return Err(error),
    };

    // With the byte before them, which ends the line before if no line is damaged.
    let longest = (MAX_ENDED * LINE_BYTES) as u64 + 1;
    let start = file.metadata()?.len().saturating_sub(longest);
    file.seek(SeekFrom::Start(start))?;
    let mut bytes = Vec::new();
    file.take(longest).read_to_end(&mut bytes)?;
    Ok(EndedLines::of(&bytes, start > 0))
}

/// The thread that owns the file.
struct EndedSessionsWriter {
    path: PathBuf,
    /// Lines in the file, or more than that.
    lines: usize,
    /// What a full disk refused. It is written as soon as that is possible.
    unwritten: Vec<SessionId>,
    /// The file may end within a line: a write was cut off, now or in an earlier run.
    is_torn: bool,
    warned: bool,
}

impl EndedSessionsWriter {
    fn new(path: PathBuf) -> Self {
        let bytes = std::fs::metadata(&path).map_or(0, |file| file.len());
        let lines = usize::try_from(bytes.div_ceil(LINE_BYTES as u64)).unwrap_or(usize::MAX);
        let is_torn = !ends_with_a_line(&path).unwrap_or(false);
        Self {
            path,
            lines,
            unwritten: Vec::new(),
            is_torn,
            warned: false,
        }
    }

    fn run(&mut self, inbox: &Receiver<(SessionId, oneshot::Sender<bool>)>) {
        loop {
            let first = match inbox.recv_timeout(RETRY_INTERVAL) {
                Ok(first) => Some(first),
                Err(RecvTimeoutError::Timeout) if self.unwritten.is_empty() => continue,
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => return,
            };
            let (ids, waiting): (Vec<_>, Vec<_>) =
                first.into_iter().chain(inbox.try_iter()).unzip();
            self.unwritten.extend(ids);

            let is_full = self.lines.saturating_add(self.unwritten.len()) > 2 * MAX_ENDED;
            let written = if is_full {
                self.rewrite()
            } else {
                self.append()
            };
            let is_written = written.is_ok();
            self.report(written);
            // A caller that has gone does not wait.
            for caller in waiting {
                let _ = caller.send(is_written);
            }
        }
    }

    fn append(&mut self) -> io::Result<()> {
        let mut file =
            atomic_file::open_own(OpenOptions::new().append(true).create(true), &self.path)?;
        // A line of its own ends the one that may have been cut off. Empty lines are ignored.
        let end_of_line = if self.is_torn { "\n" } else { "" };
        // Before the write: a part of it may land.
        self.lines += self.unwritten.len() + end_of_line.len();
        self.is_torn = true;
        file.write_all(format!("{end_of_line}{}", lines_of(&self.unwritten)).as_bytes())?;
        file.sync_data()?;
        self.is_torn = false;
        Ok(())
    }

    /// Keeps the newest [`MAX_ENDED`].
    fn rewrite(&mut self) -> io::Result<()> {
        let mut kept = read_last(&self.path)?.ids;
        kept.extend(self.unwritten.iter().cloned());
        kept.drain(..kept.len().saturating_sub(MAX_ENDED));

        atomic_file::replace(&self.path, lines_of(&kept).as_bytes(), Durability::Synced)?;
        self.lines = kept.len();
        self.is_torn = false;
        Ok(())
    }

    fn report(&mut self, written: io::Result<()>) {
        match written {
            Ok(()) => {
                self.unwritten.clear();
                self.warned = false;
            }
            Err(error) => {
                let excess = self.unwritten.len().saturating_sub(MAX_ENDED);
                self.unwritten.drain(..excess);
                if !self.warned {
                    let path = self.path.display();
                    tracing::warn!(
                        %path, %error,
                        "sign-outs cannot be written: after a restart those sessions count again"
                    );
                }
                self.warned = true;
            }
        }
    }
}

/// Returns whether the file is absent, empty, or ends with the end of a line.
fn ends_with_a_line(path: &Path) -> io::Result<bool> {
    let mut file = match atomic_file::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(true),
        opened => opened?,
    };
    if file.metadata()?.len() == 0 {
        return Ok(true);
    }
    let mut last = [0];
    file.seek(SeekFrom::End(-1))?;
    file.read_exact(&mut last)?;
    Ok(last == *b"\n")
}

fn lines_of(ids: &[SessionId]) -> String {
    ids.iter().map(|id| format!("{}\n", id.as_str())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    async fn remember(ended: &EndedSessions, count: usize) -> Vec<SessionId> {
        let ids: Vec<_> = (0..count).map(|_| SessionId::generate().unwrap()).collect();
        let all = ids.iter().map(|id| ended.remember(id.clone()));
        futures_util::future::join_all(all).await;
        ids
    }

    #[tokio::test]
    async fn sign_outs_are_known_after_a_restart() {
        let home = tempfile::tempdir().unwrap();
        let (known, ended) = EndedSessions::open(home.path()).unwrap();
        assert!(known.is_empty());
        let ids = remember(&ended, 20).await;
        assert_eq!(EndedSessions::open(home.path()).unwrap().0, ids);
    }

    #[tokio::test]
    async fn line_that_was_cut_off_costs_no_other() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join(FILE);
        fs::write(&path, "0123456789").unwrap();
        let (_, ended) = EndedSessions::open(home.path()).unwrap();
        let ids = remember(&ended, 2).await;
        assert_eq!(EndedSessions::open(home.path()).unwrap().0, ids);
        assert_eq!(fs::read_to_string(&path).unwrap().lines().count(), 3);
    }

    #[tokio::test]
    async fn file_is_bounded_while_it_grows() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join(FILE);
        let many: String = (0..3 * MAX_ENDED)
            .map(|id| format!("{id:032x}\n"))
            .collect();
        fs::write(&path, many).unwrap();

        let (known, ended) = EndedSessions::open(home.path()).unwrap();
        assert_eq!(known.len(), MAX_ENDED, "the newest");
        assert_eq!(
            known.last().unwrap().as_str(),
            format!("{:032x}", 3 * MAX_ENDED - 1)
        );

        let mut writer = EndedSessionsWriter::new(path.clone());
        let (sender, inbox) = mpsc::sync_channel(1);
        let newest = SessionId::generate().unwrap();
        sender.send((newest.clone(), oneshot::channel().0)).unwrap();
        drop((sender, ended));
        writer.run(&inbox);
        assert_eq!(
            fs::metadata(&path).unwrap().len(),
            (MAX_ENDED * LINE_BYTES) as u64
        );
        assert_eq!(
            EndedSessions::open(home.path()).unwrap().0.last(),
            Some(&newest)
        );
    }

    #[test]
    fn lines_that_cannot_be_read_are_counted() {
        let [one, other] = [1, 2].map(|id| format!("{id:032x}"));
        let zeros = "\0".repeat(10 * LINE_BYTES);
        for (text, known, damaged) in [
            (format!("{one}\n{other}\n"), 2, 0),
            (format!("{one}\n\n{other}\r\n"), 2, 0),
            // The end of the line is missing, but not the identifier.
            (format!("{one}\n{other}"), 2, 0),
            // A write that was cut off, before and after the next one.
            (format!("{one}\n0123456789"), 1, 1),
            (format!("0123456789\n{one}\n"), 1, 1),
            (format!("{one}\n\u{fffd}{}\n", "0".repeat(29)), 1, 1),
            (format!("{one}0\n{other}\n"), 1, 1),
            // A block of the disk: ten lines, and the one that follows without the end of theirs.
            (format!("{one}\n{zeros}{other}\n"), 1, 11),
            (zeros.clone(), 0, 10),
        ] {
            let read = EndedLines::of(text.as_bytes(), false);
            assert_eq!((read.ids.len(), read.damaged), (known, damaged), "{text:?}");
        }
    }

    #[test]
    fn line_that_is_read_in_part_is_not_damaged() {
        let id = format!("{:032x}", 1);
        for (first, damaged) in [("", 0), ("0aF", 0), (&id[1..], 0), ("\0\0", 1), ("0z", 1)] {
            let read = EndedLines::of(format!("{first}\n{id}\n").as_bytes(), true);
            assert_eq!((read.ids.len(), read.damaged), (1, damaged), "{first:?}");
        }
        let long = "0".repeat(3 * LINE_BYTES);
        assert_eq!(EndedLines::of(long.as_bytes(), true).damaged, 3);
    }

    #[tokio::test]
    async fn what_stands_in_the_files_place_stops_no_start_and_no_sign_out() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join(FILE);
        fs::create_dir(&path).unwrap();
        let (known, ended) = EndedSessions::open(home.path()).unwrap();
        assert!(known.is_empty());
        let mut ids = remember(&ended, 3).await;

        fs::remove_dir(&path).unwrap();
        ids.extend(remember(&ended, 1).await);
        assert_eq!(
            EndedSessions::open(home.path()).unwrap().0,
            ids,
            "written with the next one"
        );

        fs::write(&path, b"\xff\xfe garbage\n\0\n").unwrap();
        assert!(EndedSessions::open(home.path()).unwrap().0.is_empty());
    }
}
