//! Cut-offs: whose sessions were ended as of when, by an operator over HTTP or on the command line.
//!
//! The file in the home is replaced whole, under a lock, by the dashboard and by
//! `portcullis session end`. The dashboard watches it.
//!
//! **Invariant:** no change drops a cut-off that another process wrote, and nothing in the file can
//! stop a start.

use super::file_watch::FileWatch;
use portcullis_auth::{CutOff, CutOffs, People, SessionId, Whose};
use portcullis_home::atomic_file::{self, Durability};
use portcullis_home::home_lock::HomeLock;
use serde::{Deserialize, Serialize};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::sync::watch;

/// In the home, for its owner alone: one JSON object per line.
const FILE: &str = "ended_people";
/// Held while the file is read and replaced.
const LOCK: &str = "ended_people.lock";
/// Times that a lock is tried for which another process holds: each try takes half a second.
const LOCK_TRIES: usize = 10;
/// More than the longest file of `MAX_CUT_OFFS` lines.
const MAX_FILE_BYTES: u64 = 32 * 1024 * 1024;

/// One cut-off as it is written. Everyone is named, so that a damaged line does not end all
/// sessions.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct CutOffLine {
    at: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    provider: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    user_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    session: Option<SessionId>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    everyone: bool,
}

impl CutOffLine {
    fn of(cut_off: CutOff) -> Self {
        let everyone = cut_off.whose == Whose::default();
        let CutOff {
            whose:
                Whose {
                    provider,
                    user_id,
                    session,
                },
            at,
        } = cut_off;

        Self {
            at,
            provider,
            user_id,
            session,
            everyone,
        }
    }

    /// `None`: it is damaged.
    fn cut_off(self) -> Option<CutOff> {
        let Self {
            at,
            provider,
            user_id,
            session,
            everyone,
        } = self;

        let whose = Whose {
            provider,
            user_id,
            session,
        };
        (everyone == (whose == Whose::default())).then_some(CutOff { whose, at })
    }
}

/// The cut-offs in a home's file; none without a file. Damaged lines are left out, and counted in
/// the log.
///
/// # Errors
/// The file cannot be read.
pub fn read_ended_people(home: &Path) -> io::Result<CutOffs> {
    let path = home.join(FILE);
    let bytes = match atomic_file::read_at_most(&path, MAX_FILE_BYTES) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(CutOffs::default()),
        read => read?,
    };

    let mut cut_offs = CutOffs::default();
    let mut damaged = 0_usize;
    for line in bytes
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty())
    {
        match serde_json::from_slice(line)
            .ok()
            .and_then(CutOffLine::cut_off)
        {
            Some(cut_off) => cut_offs.add(cut_off),
            None => damaged += 1,
        }
    }

    if damaged > 0 {
        tracing::error!(path = %path.display(), damaged, "lines about ended sessions cannot be read: those sessions count");
    }
    Ok(cut_offs)
}

/// Adds a cut-off to a home's file, and returns it. `make` gets those that are there. When this
/// returns, the file is on the disk.
///
/// # Errors
/// The file cannot be read or replaced, or another process holds its lock for more than five
/// seconds.
pub fn record_ended_people(
    home: &Path,
    make: impl FnOnce(&CutOffs) -> CutOff,
) -> io::Result<CutOff> {
    let path = home.join(LOCK);
    let take = |_: usize| HomeLock::take(&path, &[]).transpose();
    let Some(lock) = (0..LOCK_TRIES).find_map(take).transpose()? else {
        return Err(io::Error::new(
            io::ErrorKind::WouldBlock,
            format!("another process holds {LOCK}"),
        ));
    };

    let mut cut_offs = read_ended_people(home)?;
    let cut_off = make(&cut_offs);
    cut_offs.add(cut_off.clone());
    let lines = cut_offs
        .all()
        .into_iter()
        .map(|cut_off| serde_json::to_string(&CutOffLine::of(cut_off)));
    let lines = lines.collect::<Result<Vec<_>, _>>()?;
    let text: String = lines
        .iter()
        .flat_map(|line| [line.as_str(), "\n"])
        .collect();
    atomic_file::replace(&home.join(FILE), text.as_bytes(), Durability::Synced)?;
    drop(lock);
    Ok(cut_off)
}

/// The file in one home, as the dashboard keeps it.
pub(super) struct EndedPeople {
    home: PathBuf,
    files: FileWatch,
}

impl EndedPeople {
    /// Reads the cut-offs of earlier runs, and begins to watch the file. A file that cannot be read
    /// is an error in the log, and the dashboard starts without its content.
    pub(super) fn open(home: &Path) -> (CutOffs, Self) {
        // First, so that no change is missed between reading and watching.
        let files = FileWatch::start([home.join(FILE)].into());
        atomic_file::sweep(&home.join(FILE));
        let cut_offs = read_ended_people(home).unwrap_or_else(|error| {
            log_unreadable(home, &error);
            CutOffs::default()
        });

        (
            cut_offs,
            Self {
                home: home.to_owned(),
                files,
            },
        )
    }

    /// Ends the sessions that other processes cut off, until `closed` turns true.
    pub(super) async fn follow(mut self, people: Arc<People>, mut closed: watch::Receiver<bool>) {
        loop {
            tokio::select! {
                _ = closed.wait_for(|closed| *closed) => return,
                () = self.files.changed() => {}
            }
            let home = self.home.clone();
            let read = tokio::task::spawn_blocking(move || read_ended_people(&home))
                .await
                .unwrap_or_else(|error| Err(io::Error::other(error)));
            match read {
                Ok(cut_offs) => apply(&people, &cut_offs),
                Err(error) => log_unreadable(&self.home, &error),
            }
        }
    }
}

/// Returns whether the cut-off is on the disk. If it cannot be put there, that is logged.
pub(super) async fn remember(home: PathBuf, cut_off: CutOff) -> bool {
    let write = move || record_ended_people(&home, |_| cut_off);
    let written = tokio::task::spawn_blocking(write)
        .await
        .unwrap_or_else(|error| Err(io::Error::other(error)));
    written
        .inspect_err(|error| tracing::error!(%error, "ended sessions cannot be written: after a restart they count again"))
        .is_ok()
}

fn apply(people: &People, cut_offs: &CutOffs) {
    for cut_off in people.sessions.new_among(cut_offs) {
        let ended = people.cut_off(&cut_off).len();
        tracing::info!(ended, "sessions were ended by another process");
    }
}

fn log_unreadable(home: &Path, error: &io::Error) {
    let path = home.join(FILE);
    tracing::error!(
        path = %path.display(), %error,
        "cannot read whose sessions were ended: those sessions count until they expire; repair or remove the file"
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn user(name: &str) -> Whose {
        Whose {
            user_id: Some(name.to_owned()),
            ..Whose::default()
        }
    }

    #[test]
    fn what_each_process_writes_is_kept() {
        let home = tempfile::tempdir().unwrap();
        let one = Whose {
            session: Some(SessionId::generate().unwrap()),
            ..Whose::default()
        };
        let corp = Whose {
            provider: Some("corp".to_owned()),
            ..user("a\"b\\")
        };
        let all = [user("ada"), corp, one, Whose::default()];
        let path = home.path();
        std::thread::scope(|scope| {
            for whose in &all {
                scope.spawn(move || {
                    record_ended_people(path, |known| known.next(whose.clone(), 5)).unwrap()
                });
            }
        });
        let read = read_ended_people(home.path()).unwrap();
        let mut times: Vec<_> = read.all().iter().map(|cut_off| cut_off.at).collect();
        times.sort_unstable();
        assert_eq!(times, [5, 6, 7, 8], "each is later than the one before");
        assert!(
            all.iter()
                .all(|whose| read.all().iter().any(|cut_off| cut_off.whose == *whose))
        );
        assert_eq!(EndedPeople::open(home.path()).0, read);
    }

    #[test]
    fn damaged_line_ends_no_other_sessions() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join(FILE);
        for damaged in [
            "{\"at\":9}",
            "{\"at\":9,\"user\":\"ada\"}",
            "{\"at\":9,\"everyone\":true,\"user_id\":\"a\"}",
            "\u{0}",
        ] {
            fs::write(
                &path,
                format!("{damaged}\n{{\"user_id\":\"ada\",\"at\":7}}\n"),
            )
            .unwrap();
            let expected = [CutOff {
                whose: user("ada"),
                at: 7,
            }];
            assert_eq!(
                read_ended_people(home.path()).unwrap().all(),
                expected,
                "{damaged}"
            );
        }
    }

    #[test]
    fn what_stands_in_the_files_place_stops_no_start() {
        let home = tempfile::tempdir().unwrap();
        fs::create_dir(home.path().join(FILE)).unwrap();
        assert_eq!(EndedPeople::open(home.path()).0, CutOffs::default());
        assert!(record_ended_people(home.path(), |known| known.next(user("ada"), 5)).is_err());
    }
}
