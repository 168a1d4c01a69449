//! Temporary files of processes that were killed while they replaced a file.

use super::Finding;
use portcullis_dashboard::config::{DRAIN_SECRET_FILE, SERVICE_KEY_FILE, SESSION_KEY_FILE};
use portcullis_home::MARKER_FILE;
use portcullis_home::atomic_file::leftovers;
use portcullis_home::{RESTART_FILE, STATUS_FILE};
use portcullis_net::acme::{ACCOUNT_FILE, CERTIFICATE_FILE};
use rustix::process::geteuid;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

const CHECK: &str = "temporary";
/// Files of the home that are replaced whole.
const REPLACED: [&str; 13] = [
    MARKER_FILE,
    RESTART_FILE,
    STATUS_FILE,
    DRAIN_SECRET_FILE,
    SERVICE_KEY_FILE,
    SESSION_KEY_FILE,
    "audit_head",
    "audit_key",
    "ended_people",
    "ended_sessions",
    "session_list",
    ACCOUNT_FILE,
    CERTIFICATE_FILE,
];
/// A replacement takes milliseconds: a younger file may be of one that is under way.
const STALE: Duration = Duration::from_secs(60);

pub(super) fn check(home: &Path, fix: bool) -> Vec<Finding> {
    let now = SystemTime::now();
    let left = REPLACED
        .iter()
        .flat_map(|name| leftovers(&home.join(name)).unwrap_or_default());
    let stale: Vec<PathBuf> = left.filter(|path| is_stale(path, now)).collect();
    match stale.is_empty() {
        true => vec![Finding::ok(CHECK, "no temporary file is left")],
        false => stale.iter().map(|path| of_file(path, fix)).collect(),
    }
}

fn is_stale(path: &Path, now: SystemTime) -> bool {
    let found = fs::symlink_metadata(path)
        .ok()
        .filter(fs::Metadata::is_file);
    let age = found.and_then(|found| now.duration_since(found.modified().ok()?).ok());
    age.is_some_and(|age| age > STALE)
}

fn of_file(path: &Path, fix: bool) -> Finding {
    let shown = path.display();
    let left = Finding::warn(
        CHECK,
        format!("{shown} is left of a write that did not end"),
    );
    if !fix {
        return left.mended_by("portcullis doctor --fix");
    }
    match remove(path) {
        Ok(()) => Finding::ok(CHECK, format!("{shown} is removed")),
        Err(error) => left.because(format!("it was not removed: {error}")),
    }
}

fn remove(path: &Path) -> io::Result<()> {
    if fs::symlink_metadata(path)?.uid() != geteuid().as_raw() {
        return Err(io::Error::other("it belongs to another user"));
    }
    fs::remove_file(path)
}
