//! Whether the clock can be right. Sessions, tokens, leases and certificates all go by it.

use super::Finding;
use std::collections::VecDeque;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

const CHECK: &str = "clock";
/// 2026-01-01 in seconds since 1970: this program is not older.
const EARLIEST: Duration = Duration::from_secs(1_767_225_600);
/// How far a file may be ahead of the clock: some file systems keep times of whole seconds, or of
/// another machine.
const TOLERANCE: Duration = Duration::from_secs(120);
/// Most files and folders of the home that are looked at.
const MAX_LOOKED_AT: usize = 10_000;

pub(super) fn check(home: &Path) -> Vec<Finding> {
    let now = SystemTime::now();
    let network = Finding::unknown(
        CHECK,
        "whether the clock agrees with that of other machines cannot be seen here",
    )
    .mended_by("compare `date -u` with `timedatectl status`");
    vec![against_the_past(now, home), network]
}

fn against_the_past(now: SystemTime, home: &Path) -> Finding {
    let fix = "set the clock, and run a time service such as chrony";
    let is_possible = now
        .duration_since(SystemTime::UNIX_EPOCH)
        .is_ok_and(|since| since >= EARLIEST);
    if !is_possible {
        return Finding::error(CHECK, "the clock is before 2026")
            .because("every certificate and token would appear to be from the future")
            .mended_by(fix);
    }

    match look(home, now, MAX_LOOKED_AT) {
        Look::Ahead(path) => Finding::warn(
            CHECK,
            format!("{} was written in the future", path.display()),
        )
        .because("the clock was ahead then, or is behind now")
        .mended_by(fix),
        Look::NoneOfAll => Finding::ok(
            CHECK,
            "the clock is after 2026 began, and no file of the home is ahead of it",
        ),
        Look::NoneOfSome => Finding::ok(
            CHECK,
            format!(
                "the clock is after 2026 began, and none of {MAX_LOOKED_AT} files of the home is ahead of it"
            ),
        ),
    }
}

/// What a look at the files and folders of a home found.
#[derive(Debug, PartialEq, Eq)]
enum Look {
    /// The first that is ahead of the clock.
    Ahead(PathBuf),
    NoneOfAll,
    /// The home has more than were looked at.
    NoneOfSome,
}

/// Looks at up to `most` files and folders below a folder, one folder after another and each by
/// name. A link counts with the time of what it leads to, and is not gone into.
fn look(home: &Path, now: SystemTime, most: usize) -> Look {
    let mut left = most;
    let mut folders = VecDeque::from([home.to_owned()]);

    while let Some(folder) = folders.pop_front() {
        let entries = fs::read_dir(&folder).into_iter().flatten().flatten();
        let mut paths: Vec<_> = entries.map(|entry| entry.path()).take(left + 1).collect();
        let is_cut = paths.len() > left;
        paths.truncate(left);
        paths.sort();
        left -= paths.len();

        for path in paths {
            if is_of_the_future(&path, now) {
                return Look::Ahead(path);
            }
            if fs::symlink_metadata(&path).is_ok_and(|found| found.is_dir()) {
                folders.push_back(path);
            }
        }
        if is_cut {
            return Look::NoneOfSome;
        }
    }

    Look::NoneOfAll
}

fn is_of_the_future(path: &Path, now: SystemTime) -> bool {
    let written = fs::metadata(path).and_then(|found| found.modified());
    written.is_ok_and(|written| {
        written
            .duration_since(now)
            .is_ok_and(|ahead| ahead > TOLERANCE)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use portcullis_home::STATUS_FILE;
    use std::fs::File;

    fn date(path: &Path, time: SystemTime) {
        File::open(path).unwrap().set_modified(time).unwrap();
    }

    #[test]
    fn every_file_and_folder_of_the_home_is_looked_at() {
        let now = SystemTime::now();
        let home = tempfile::tempdir().unwrap();
        let names = [
            "portcullis.yaml",
            "drain-secret",
            ".drain_request.json",
            "logs/a.log",
            "logs",
        ];
        fs::create_dir(home.path().join("logs")).unwrap();
        for name in &names[..4] {
            fs::write(home.path().join(name), "").unwrap();
        }
        assert_eq!(look(home.path(), now, 10), Look::NoneOfAll);
        assert_eq!(look(home.path(), now, 5), Look::NoneOfAll);
        assert_eq!(look(home.path(), now, 4), Look::NoneOfSome);

        for name in names {
            let path = home.path().join(name);
            date(&path, now + Duration::from_secs(86_400));
            assert_eq!(look(home.path(), now, 10), Look::Ahead(path.clone()));
            date(&path, now);
        }
    }

    #[test]
    fn folder_behind_a_link_is_not_gone_into() {
        let now = SystemTime::now();
        let (home, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        fs::write(other.path().join("file"), "").unwrap();
        date(
            &other.path().join("file"),
            now + Duration::from_secs(86_400),
        );
        std::os::unix::fs::symlink(other.path(), home.path().join("cache")).unwrap();
        assert_eq!(look(home.path(), now, 10), Look::NoneOfAll);
    }

    #[test]
    fn clock_that_cannot_be_right_is_found() {
        let home = tempfile::tempdir().unwrap();
        fs::write(home.path().join(STATUS_FILE), "{}").unwrap();
        let severity = |now| {
            against_the_past(now, home.path())
                .to_string()
                .split(' ')
                .next()
                .map(str::to_owned)
        };
        let start = SystemTime::UNIX_EPOCH + EARLIEST;
        assert_eq!(
            severity(start - Duration::from_secs(1)).as_deref(),
            Some("error")
        );
        assert_eq!(
            severity(start).as_deref(),
            Some("warn"),
            "the file was written after that"
        );
        assert_eq!(severity(SystemTime::now()).as_deref(), Some("ok"));
    }
}
