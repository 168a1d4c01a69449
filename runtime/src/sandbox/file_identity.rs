//! What the system says of a file that any change of its content changes too: reading and hashing twelve megabytes at
//! every start takes longer than all else of loading them compiled.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::time::{Duration, SystemTime};

/// File systems stamp changes by a clock that ticks as slowly as this (FAT): a second change within it leaves no trace.
/// Git has the same trouble with its index, and the same cure.
const STILL: Duration = Duration::from_secs(2);

/// One state of one file. Whoever writes to it changes the time of its inode, which nobody can set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct FileIdentity {
    device: u64,
    inode: u64,
    pub(super) bytes: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl FileIdentity {
    pub(super) fn of(found: &Metadata) -> Self {
        Self {
            device: found.dev(),
            inode: found.ino(),
            bytes: found.len(),
            modified: (found.mtime(), found.mtime_nsec()),
            changed: (found.ctime(), found.ctime_nsec()),
        }
    }

    /// Has it been still for so long that its next change will be seen?
    pub(super) fn is_still(&self, now: SystemTime) -> bool {
        let (seconds, nanoseconds) = self.modified.max(self.changed);
        let (Ok(seconds), Ok(nanoseconds)) = (u64::try_from(seconds), u32::try_from(nanoseconds)) else {
            return false;
        };
        let latest = SystemTime::UNIX_EPOCH + Duration::new(seconds, nanoseconds);
        now.duration_since(latest).is_ok_and(|still| still > STILL)
    }

    /// The name of what is remembered of it.
    pub(super) fn name(&self) -> String {
        let Self { device, inode, bytes, modified, changed } = self;
        let times = format!("{}.{:09}-{}.{:09}", modified.0, modified.1, changed.0, changed.1);
        format!("file-{device:x}-{inode:x}-{bytes:x}-{times}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{self, File, FileTimes};

    #[test]
    fn change_of_a_file_is_another_identity() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("provider.wasm");
        let identity = || FileIdentity::of(&fs::metadata(&path).unwrap());
        fs::write(&path, "one").unwrap();
        let old = identity();
        assert_eq!(identity(), old);
        let modified = fs::metadata(&path).unwrap().modified().unwrap();

        // Its length and the time that anybody can set are as they were.
        let deadline = SystemTime::now() + Duration::from_secs(10);
        while identity() == old {
            assert!(SystemTime::now() < deadline, "the file system's clock stands");
            fs::write(&path, "two").unwrap();
            File::options()
                .write(true)
                .open(&path)
                .unwrap()
                .set_times(FileTimes::new().set_modified(modified))
                .unwrap();
        }
        assert_eq!((identity().bytes, identity().modified), (old.bytes, old.modified));
        assert_ne!(identity().name(), old.name());
    }

    #[test]
    fn only_what_has_been_still_counts() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let found = file.as_file().metadata().unwrap();
        let (identity, written) = (FileIdentity::of(&found), found.modified().unwrap());
        assert!(!identity.is_still(written));
        assert!(!identity.is_still(written + STILL));
        assert!(identity.is_still(written + STILL + Duration::from_millis(1)));
        let before = written - Duration::from_secs(3600);
        assert!(!identity.is_still(before), "a clock that was set back proves nothing");
    }
}
