//! Whether the file system of the home does what a home needs: a rename that replaces, and locks;
//! and whether it has room.

use super::Finding;
use rustix::fs::{StatVfs, statfs, statvfs};
use std::fs::{self, File, TryLockError};
use std::io;
use std::path::Path;

const CHECK: &str = "file-system";

/// Numbers (statfs(2)) of file systems that several machines may share.
const SHARED: [(u64, &str); 5] = [
    (0x6969, "NFS"),
    (0xff53_4d42, "CIFS"),
    (0xfe53_4d42, "SMB"),
    (0x0102_1997, "9P"),
    (0x00c3_6400, "Ceph"),
];

/// Below this no marker and no audit line may be written any more.
const TOO_LITTLE_BYTES: u64 = 16 * 1024 * 1024;
/// Compiled components alone may take more.
const LITTLE_BYTES: u64 = 256 * 1024 * 1024;
const TOO_FEW_FILES: u64 = 100;
const FEW_FILES: u64 = 1_000;

pub(super) fn check(home: &Path) -> Vec<Finding> {
    let mut findings = vec![tried(home)];
    findings.extend(shared(home));
    match statvfs(home) {
        Ok(found) => findings.extend([space(&found), files(&found)]),
        Err(error) => {
            findings.push(Finding::unknown("disk", "the free space is not known").because(error));
        }
    }
    findings
}

fn tried(home: &Path) -> Finding {
    let folder = match tempfile::Builder::new().prefix(".doctor-").tempdir_in(home) {
        Ok(folder) => folder,
        Err(error) => {
            let unknown = Finding::unknown(CHECK, "renames and locks were not tried");
            return unknown.because(format!("nothing can be written: {error}"));
        }
    };

    let rename =
        replaces(folder.path()).and_then(|does| does.then_some(()).ok_or_else(not_replaced));
    let lock = || locks(folder.path()).and_then(|does| does.then_some(()).ok_or_else(not_locked));

    match rename.and_then(|()| lock()) {
        Ok(()) => Finding::ok(
            CHECK,
            "a rename replaces a file, and a lock (flock) shuts others out",
        ),
        Err(error) => Finding::error(CHECK, "this file system cannot hold a home")
            .because(error)
            .mended_by("put the home on a local file system"),
    }
}

fn not_replaced() -> io::Error {
    io::Error::other("a rename did not replace a file")
}

fn not_locked() -> io::Error {
    io::Error::other("two may hold one lock (flock)")
}

/// Returns whether a rename puts one file in the place of another.
fn replaces(folder: &Path) -> io::Result<bool> {
    let (old, new) = (folder.join("file"), folder.join("file.tmp"));
    fs::write(&old, "old")?;
    fs::write(&new, "new")?;
    fs::rename(&new, &old)?;
    Ok(fs::read(&old)? == b"new" && !new.exists())
}

/// Returns whether a lock on a file keeps another from it.
fn locks(folder: &Path) -> io::Result<bool> {
    let path = folder.join("lock");
    let holder = File::create(&path)?;
    holder.try_lock().map_err(io::Error::other)?;
    let other = File::open(&path)?;
    match other.try_lock_shared() {
        Ok(()) => Ok(false),
        Err(TryLockError::WouldBlock) => Ok(true),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

/// Warns of a file system of a network.
fn shared(home: &Path) -> Option<Finding> {
    let number = u64::try_from(statfs(home).ok()?.f_type).ok()?;
    let (_, name) = SHARED.iter().find(|(known, _)| *known == number)?;
    let finding = Finding::warn(CHECK, format!("{} is on {name}", home.display()));
    Some(
        finding
            .because("whether its locks and renames hold between machines cannot be tried from one of them")
            .mended_by("run one gateway and one dashboard over a home, both on one machine"),
    )
}

fn space(found: &StatVfs) -> Finding {
    let bytes = found.f_bavail.saturating_mul(found.f_frsize);
    let what = format!("{} MiB are free", bytes >> 20);
    let fix = "make room, or put the home elsewhere";
    match bytes {
        0..TOO_LITTLE_BYTES => Finding::error("disk", what)
            .because("drain markers and the audit log may be lost")
            .mended_by(fix),
        TOO_LITTLE_BYTES..LITTLE_BYTES => Finding::warn("disk", what)
            .because("compiled components and the audit log need more")
            .mended_by(fix),
        _ => Finding::ok("disk", what),
    }
}

fn files(found: &StatVfs) -> Finding {
    // Some file systems, such as Btrfs, make inodes as they need them.
    if found.f_files == 0 {
        return Finding::ok("disk", "the number of files has no limit");
    }
    let what = format!("{} more files can be made", found.f_favail);
    let fix = "remove files, or put the home elsewhere";
    match found.f_favail {
        0..TOO_FEW_FILES => Finding::error("disk", what).mended_by(fix),
        TOO_FEW_FILES..FEW_FILES => Finding::warn("disk", what).mended_by(fix),
        _ => Finding::ok("disk", what),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn local_folder_holds_a_home() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(
            tried(folder.path()).to_string().split_whitespace().next(),
            Some("ok")
        );
        assert_eq!(
            fs::read_dir(folder.path()).unwrap().count(),
            0,
            "what was tried is removed"
        );
    }

    #[test]
    fn full_disk_is_an_error_and_a_fullish_one_a_warning() {
        let mut found = statvfs("/").unwrap();
        found.f_frsize = 1;
        found.f_files = 1_000_000;
        for (bytes, files_left, expected) in [
            (TOO_LITTLE_BYTES - 1, TOO_FEW_FILES - 1, "error"),
            (TOO_LITTLE_BYTES, TOO_FEW_FILES, "warn"),
            (LITTLE_BYTES - 1, FEW_FILES - 1, "warn"),
            (LITTLE_BYTES, FEW_FILES, "ok"),
        ] {
            found.f_bavail = bytes;
            found.f_favail = files_left;
            assert!(space(&found).to_string().starts_with(expected));
            assert!(files(&found).to_string().starts_with(expected));
        }
    }
}
