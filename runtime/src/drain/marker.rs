use crate::atomic_file::{self, Durability};
use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// The marker's name in the home. The original's `gateway/drain_control.py` uses the same.
pub const MARKER_FILE: &str = ".drain_request.json";

/// A marker as it is written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Marker {
    action: &'static str,
    /// When the drain was asked for.
    pub requested_at: Timestamp,
    /// Who asked.
    pub principal: String,
    /// The epoch in which it counts.
    pub epoch: Option<String>,
    /// Should people be spared a message about it?
    pub suppress_notification: bool,
    /// When it stops counting.
    pub expires_at: Option<Timestamp>,
}

impl Marker {
    /// A marker that begins a drain.
    pub fn begin(
        requested_at: Timestamp,
        principal: String,
        epoch: Option<String>,
        suppress_notification: bool,
        expires_at: Option<Timestamp>,
    ) -> Self {
        Self { action: "drain", requested_at, principal, epoch, suppress_notification, expires_at }
    }
}

/// What was found in a marker that someone, perhaps another program, wrote. A field of another type than it
/// should have is a field that is not there; unknown keys are ignored.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MarkerContent {
    /// When the drain was asked for.
    pub requested_at: Option<Timestamp>,
    /// When it stops counting.
    pub expires_at: Option<Timestamp>,
    /// The epoch in which it counts.
    pub epoch: Option<String>,
    /// Who asked.
    pub principal: Option<String>,
    /// Should people be spared a message about it?
    pub suppress_notification: bool,
}

impl MarkerContent {
    /// `None`: this is no JSON object.
    fn parse(text: &[u8]) -> Option<Self> {
        let Ok(Value::Object(fields)) = serde_json::from_slice(text) else { return None };
        let text = |key: &str| fields.get(key).and_then(Value::as_str);
        let time = |key: &str| text(key).and_then(|text| text.parse().ok());
        Some(Self {
            requested_at: time("requested_at"),
            expires_at: time("expires_at"),
            epoch: text("epoch").map(str::to_owned),
            principal: text("principal").map(str::to_owned),
            suppress_notification: fields.get("suppress_notification") == Some(&Value::Bool(true)),
        })
    }
}

/// What stands at the marker's name. Presence is the signal: whatever is there but cannot be read means
/// "draining", since a begin that was damaged on its way must not be ignored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MarkerState {
    /// Nothing.
    Absent,
    /// Something without content: empty, garbage, not an object, a folder, unreadable, a dangling link.
    Unreadable {
        /// When it was last changed, if that is known.
        modified: Option<Timestamp>,
    },
    /// A marker.
    Present {
        /// What it says.
        content: MarkerContent,
        /// When it was last changed, if that is known.
        modified: Option<Timestamp>,
    },
}

/// The marker of one home.
#[derive(Clone, Debug)]
pub struct MarkerFile {
    path: PathBuf,
}

impl MarkerFile {
    /// The marker in this home.
    pub fn new(home: &Path) -> Self {
        Self { path: home.join(MARKER_FILE) }
    }

    /// Where it stands.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Looks. Never fails and never blocks: what cannot be read is [`MarkerState::Unreadable`].
    pub fn read(&self) -> MarkerState {
        let found = match fs::symlink_metadata(&self.path) {
            Ok(found) => found,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return MarkerState::Absent,
            Err(_) => return MarkerState::Unreadable { modified: None },
        };
        let modified = found.modified().ok().and_then(|time| Timestamp::try_from(time).ok());
        let content = atomic_file::read(&self.path);
        match content.map(|text| MarkerContent::parse(&text)) {
            Ok(Some(content)) => MarkerState::Present { content, modified },
            Ok(None) => MarkerState::Unreadable { modified },
            // Removed between the two looks, unless a dangling link still stands there.
            Err(error) if error.kind() == io::ErrorKind::NotFound && !found.is_symlink() => {
                MarkerState::Absent
            }
            Err(_) => MarkerState::Unreadable { modified },
        }
    }

    /// Writes the marker whole, so that it survives a loss of power.
    ///
    /// # Errors
    /// It could not be written, and what stood there before still stands.
    pub fn write(&self, marker: &Marker) -> io::Result<()> {
        let text = serde_json::to_vec(marker)?;
        atomic_file::replace(&self.path, &text, Durability::Synced)
    }

    /// Removes whatever stands there. Nothing there is fine.
    ///
    /// # Errors
    /// It is still there: a folder that is not empty, or one that may not be written.
    pub fn clear(&self) -> io::Result<()> {
        let removed = match fs::symlink_metadata(&self.path) {
            Ok(found) if found.is_dir() => fs::remove_dir(&self.path),
            Ok(_) => fs::remove_file(&self.path),
            Err(error) => Err(error),
        };
        match removed {
            Ok(()) => atomic_file::sync_folder(self.path.parent().unwrap_or(Path::new("."))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Removes what a process that was killed while it wrote left beside the marker.
    pub fn sweep(&self) {
        atomic_file::sweep(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn marker_file() -> (tempfile::TempDir, MarkerFile) {
        let home = tempfile::tempdir().unwrap();
        let marker = MarkerFile::new(home.path());
        (home, marker)
    }

    #[test]
    fn what_is_written_is_read() {
        let (_home, file) = marker_file();
        assert_eq!(file.read(), MarkerState::Absent);
        let now = Timestamp::from_second(1_800_000_000).unwrap();
        file.write(&Marker::begin(now, "nas".into(), Some("b:1".into()), true, Some(now))).unwrap();
        let MarkerState::Present { content, modified } = file.read() else { panic!("it was written") };
        let expected = MarkerContent {
            requested_at: Some(now),
            expires_at: Some(now),
            epoch: Some("b:1".into()),
            principal: Some("nas".into()),
            suppress_notification: true,
        };
        assert_eq!(content, expected);
        assert!(modified.is_some());
        file.clear().unwrap();
        assert_eq!(file.read(), MarkerState::Absent);
        file.clear().unwrap();
    }

    #[test]
    fn marker_of_the_original_is_read() {
        let (_home, file) = marker_file();
        let text = "{\n  \"action\": \"drain\",\n  \"requested_at\": \"2026-06-22T01:27:44.123456+00:00\",\n  \
                    \"principal\": \"drain-control\"\n}";
        fs::write(file.path(), text).unwrap();
        let MarkerState::Present { content, .. } = file.read() else { panic!("the original wrote it") };
        assert_eq!(content.requested_at, Some("2026-06-22T01:27:44.123456Z".parse().unwrap()));
        assert_eq!(content.principal.as_deref(), Some("drain-control"));
    }

    #[test]
    fn presence_without_content_is_still_presence() {
        let long = format!("{{\"action\":\"{}\"}}", "x".repeat(70_000));
        for text in ["", "{not json", "null", "[]", "7", "\"drain\"", &long] {
            let (_home, file) = marker_file();
            fs::write(file.path(), text).unwrap();
            assert!(matches!(file.read(), MarkerState::Unreadable { modified: Some(_) }), "{text:.20}");
        }
        let (_home, file) = marker_file();
        fs::write(file.path(), b"\xff\xfe{}").unwrap();
        assert!(matches!(file.read(), MarkerState::Unreadable { .. }));
    }

    #[test]
    fn odd_things_at_its_name_are_presence_and_never_block() {
        let (home, file) = marker_file();
        fs::create_dir(file.path()).unwrap();
        assert!(matches!(file.read(), MarkerState::Unreadable { .. }));
        file.clear().unwrap();
        std::os::unix::fs::symlink(home.path().join("nowhere"), file.path()).unwrap();
        assert!(matches!(file.read(), MarkerState::Unreadable { .. }));
        file.clear().unwrap();
        std::os::unix::fs::symlink(file.path(), file.path()).unwrap();
        assert!(matches!(file.read(), MarkerState::Unreadable { .. }));
        file.clear().unwrap();
        rustix::fs::mknodat(rustix::fs::CWD, file.path(), rustix::fs::FileType::Fifo, 0o600.into(), 0)
            .unwrap();
        assert!(matches!(file.read(), MarkerState::Unreadable { .. }));
        file.clear().unwrap();
        assert_eq!(file.read(), MarkerState::Absent);
    }

    #[test]
    fn fields_of_another_type_are_not_there() {
        let (_home, file) = marker_file();
        let text = r#"{"requested_at":7,"expires_at":"soon","epoch":null,"principal":[],"suppress_notification":"yes"}"#;
        fs::write(file.path(), text).unwrap();
        let MarkerState::Present { content, .. } = file.read() else { panic!("an object is content") };
        assert_eq!(content, MarkerContent::default());
    }
}
