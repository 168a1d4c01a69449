//! Whether the clock can be right. Sessions, tokens, leases and certificates all go by it.

use super::Finding;
use portcullis_dashboard::config::SESSION_KEY_FILE;
use portcullis_home::STATUS_FILE;
use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime};

const CHECK: &str = "clock";
/// 2026-01-01 in seconds since 1970: this program is not older.
const EARLIEST: Duration = Duration::from_secs(1_767_225_600);
/// How far a file may be ahead of the clock: some file systems keep times of whole seconds, or of
/// another machine.
const TOLERANCE: Duration = Duration::from_secs(120);
/// Files that a gateway or a dashboard writes.
const WRITTEN: [&str; 4] = [
    STATUS_FILE,
    SESSION_KEY_FILE,
    "session_list",
    "logs/dashboard-auth.log",
];

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

    match WRITTEN
        .iter()
        .map(|name| home.join(name))
        .find(|path| is_of_the_future(path, now))
    {
        Some(path) => Finding::warn(
            CHECK,
            format!("{} was written in the future", path.display()),
        )
        .because("the clock was ahead then, or is behind now")
        .mended_by(fix),
        None => Finding::ok(
            CHECK,
            "the clock is after 2026 began, and no file of the home is ahead of it",
        ),
    }
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
