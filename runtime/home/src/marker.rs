use super::{Epoch, Lease, Leases, MAX_LEASES, foreign_text};
use crate::atomic_file::{self, Durability};
use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// The marker's name in the home. The original's `gateway/drain_control.py` uses the same.
pub const MARKER_FILE: &str = ".drain_request.json";

/// A marker as it is written. The original's keys hold the newest lease and the latest end;
/// `holders` has all leases.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Marker {
    action: &'static str,
    requested_at: Timestamp,
    principal: String,
    epoch: Option<String>,
    suppress_notification: bool,
    expires_at: Option<Timestamp>,
    holders: Vec<Lease>,
    generation: u64,
}

impl Marker {
    /// Returns a marker with these leases; `None` if there are none. `epoch` is the one of the
    /// gateway that it is for, if known.
    pub fn of(leases: &Leases, epoch: Option<&Epoch>, generation: u64) -> Option<Self> {
        let newest = leases.newest()?;
        Some(Self {
            action: "drain",
            requested_at: newest.requested_at,
            principal: newest.principal.clone(),
            epoch: epoch.map(|epoch| epoch.as_str().to_owned()),
            suppress_notification: newest.suppress_notification,
            expires_at: leases.ends_at(),
            holders: leases.all().to_vec(),
            generation,
        })
    }
}

/// The content of a marker, which another program may have written. A field of a wrong type counts
/// as absent, and unknown keys are ignored. Texts are cut to their bounds, but for the epoch, which is
/// only compared.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MarkerContent {
    /// When the drain began.
    pub requested_at: Option<Timestamp>,
    /// When the drain ends.
    pub expires_at: Option<Timestamp>,
    /// The epoch in which the marker is valid.
    pub epoch: Option<String>,
    /// Principal of the newest lease.
    pub principal: Option<String>,
    /// Whether people get no message about the drain.
    pub suppress_notification: bool,
    /// Its leases; empty in a marker that the original wrote, which has its principal alone.
    pub holders: Vec<Lease>,
    /// The generation that it was written as; zero in a marker that the original wrote, or if it is
    /// above 2^52.
    pub generation: u64,
}

/// The largest generation that is believed, and so the largest that is written. JSON numbers are
/// exact up to 2^53.
const MAX_GENERATION: u64 = 1 << 52;

/// Returns the generation of the next change, after the own count and the generation that a marker
/// was written as. It differs from `own`, and a restart believes it.
pub fn next_generation(own: u64, written: u64) -> u64 {
    let last = own.max(written);
    if last < MAX_GENERATION {
        last + 1
    } else if own < MAX_GENERATION {
        // Another program wrote the largest one, which nothing can follow.
        own + 1
    } else {
        1
    }
}

impl MarkerContent {
    /// Returns `None` if the text is not a JSON object.
    fn parse(text: &[u8]) -> Option<Self> {
        let Ok(Value::Object(fields)) = serde_json::from_slice(text) else {
            return None;
        };
        let text = |key: &str| fields.get(key).and_then(Value::as_str);
        let time = |key: &str| text(key).and_then(parse_time);
        let holders = fields
            .get("holders")
            .and_then(Value::as_array)
            .into_iter()
            .flatten();
        let holders = holders
            .filter_map(|holder| Lease::deserialize(holder).ok())
            .take(MAX_LEASES);

        Some(Self {
            requested_at: time("requested_at"),
            expires_at: time("expires_at"),
            // The original writes an empty epoch where it cannot read `/proc`.
            epoch: text("epoch")
                .filter(|epoch| !epoch.is_empty())
                .map(str::to_owned),
            principal: text("principal")
                .map(|principal| foreign_text::principal(principal.to_owned()))
                .filter(|principal| !principal.is_empty()),
            suppress_notification: fields.get("suppress_notification") == Some(&Value::Bool(true)),
            holders: holders.collect(),
            generation: fields
                .get("generation")
                .and_then(Value::as_u64)
                .filter(|generation| *generation <= MAX_GENERATION)
                .unwrap_or_default(),
        })
    }
}

/// A time without a zone is UTC.
pub(crate) fn parse_time(text: &str) -> Option<Timestamp> {
    let without_zone = || text.parse::<DateTime>().ok()?.to_zoned(TimeZone::UTC).ok();
    text.parse()
        .ok()
        .or_else(|| without_zone().map(|time| time.timestamp()))
}

/// What is at the marker's path. Presence is the signal: anything there that cannot be read means
/// "draining", since a damaged begin must not be ignored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MarkerState {
    /// There is no such file.
    Absent,
    /// A file without content (empty, garbage, not an object, unreadable), a folder, or a dangling
    /// link.
    Unreadable {
        /// Modification time, if it is known.
        modified: Option<Timestamp>,
    },
    /// There is a marker with content.
    Present {
        /// What the marker says.
        content: MarkerContent,
        /// Modification time, if it is known.
        modified: Option<Timestamp>,
    },
}

/// The marker of one home.
#[derive(Clone, Debug)]
pub struct MarkerFile {
    path: PathBuf,
}

impl MarkerFile {
    /// Names the marker file in this home.
    pub fn new(home: &Path) -> Self {
        Self {
            path: home.join(MARKER_FILE),
        }
    }

    /// Returns the path of the marker.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Reads the marker. Never fails and never blocks: a marker that cannot be read is
    /// [`MarkerState::Unreadable`].
    pub fn read(&self) -> MarkerState {
        let found = match fs::symlink_metadata(&self.path) {
            Ok(found) => found,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return MarkerState::Absent,
            Err(_) => return MarkerState::Unreadable { modified: None },
        };

        let modified = found
            .modified()
            .ok()
            .and_then(|time| Timestamp::try_from(time).ok());
        let content = atomic_file::read(&self.path);
        match content.map(|text| MarkerContent::parse(&text)) {
            Ok(Some(content)) => MarkerState::Present { content, modified },
            Ok(None) => MarkerState::Unreadable { modified },
            // Removed between the two calls, unless it is a dangling link.
            Err(error) if error.kind() == io::ErrorKind::NotFound && !found.is_symlink() => {
                MarkerState::Absent
            }
            Err(_) => MarkerState::Unreadable { modified },
        }
    }

    /// Replaces the marker durably: it survives a loss of power. A symbolic link to a file is
    /// written through, as the original does. A link to anything else, such as a device, is replaced.
    ///
    /// # Errors
    /// The marker could not be written, or is longer than what is read. The previous one remains.
    pub fn write(&self, marker: &Marker) -> io::Result<()> {
        let text = serde_json::to_vec(marker)?;
        // It would be presence without content, and its leases would be lost.
        if text.len() as u64 > atomic_file::MAX_BYTES {
            return Err(io::Error::other("it would be too long to be read again"));
        }
        atomic_file::replace(&self.target(), &text, Durability::Synced)
    }

    /// Returns the path to write: the marker's, or the target of a symbolic link there.
    fn target(&self) -> PathBuf {
        let dangling = || {
            let leads_to = fs::read_link(&self.path).ok()?;
            Some(self.path.parent()?.join(leads_to))
        };
        let target = fs::canonicalize(&self.path).ok().or_else(dangling);
        // A rename would put the marker in the place of a device, for every program of the machine.
        target
            .filter(|target| fs::symlink_metadata(target).map_or(true, |found| found.is_file()))
            .unwrap_or_else(|| self.path.clone())
    }

    /// Removes the marker. Does nothing if there is none.
    ///
    /// # Errors
    /// The marker remains: it is a folder that is not empty, or the home may not be written.
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

    /// Removes temporary files that a killed process left beside the marker.
    pub fn sweep(&self) {
        atomic_file::sweep(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{MAX_OWNER_CHARS, MAX_REASON_CHARS};
    use serde_json::json;

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
        let lease = Lease {
            owner: "platform".into(),
            principal: "nas".into(),
            reason: Some("upgrade".into()),
            requested_at: now,
            expires_at: Some(now),
            suppress_notification: true,
        };
        let mut leases = Leases::default();
        leases.begin(lease.clone()).unwrap();
        file.write(&Marker::of(&leases, Some(&Epoch::known("b:1")), 7).unwrap())
            .unwrap();
        let MarkerState::Present { content, modified } = file.read() else {
            panic!("it was written")
        };
        let expected = MarkerContent {
            requested_at: Some(now),
            expires_at: Some(now),
            epoch: Some("b:1".into()),
            principal: Some("nas".into()),
            suppress_notification: true,
            holders: vec![lease],
            generation: 7,
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
        let MarkerState::Present { content, .. } = file.read() else {
            panic!("the original wrote it")
        };
        assert_eq!(
            content.requested_at,
            Some("2026-06-22T01:27:44.123456Z".parse().unwrap())
        );
        assert_eq!(content.principal.as_deref(), Some("drain-control"));

        let text = r#"{"requested_at":"2026-06-22T01:27:44","epoch":""}"#;
        fs::write(file.path(), text).unwrap();
        let MarkerState::Present { content, .. } = file.read() else {
            panic!("an object is content")
        };
        assert_eq!(
            content.requested_at,
            Some("2026-06-22T01:27:44Z".parse().unwrap()),
            "no zone is UTC"
        );
        assert_eq!(content.epoch, None, "an empty epoch is none");
    }

    fn one_lease() -> Leases {
        let mut leases = Leases::default();
        let now = Timestamp::from_second(1_800_000_000).unwrap();
        let lease = Lease {
            owner: "a".into(),
            principal: "a".into(),
            reason: None,
            requested_at: now,
            expires_at: None,
            suppress_notification: false,
        };
        leases.begin(lease).unwrap();
        leases
    }

    #[test]
    fn link_is_written_through() {
        let (home, file) = marker_file();
        let target = home.path().join("elsewhere.json");
        std::os::unix::fs::symlink("elsewhere.json", file.path()).unwrap();
        for generation in 1..3 {
            file.write(&Marker::of(&one_lease(), None, generation).unwrap())
                .unwrap();
            assert!(target.is_file() && fs::symlink_metadata(file.path()).unwrap().is_symlink());
        }
    }

    #[test]
    fn generation_above_the_largest_counts_as_none() {
        let generation = |written: u64| {
            let text = json!({"action": "drain", "generation": written}).to_string();
            MarkerContent::parse(text.as_bytes()).map(|content| content.generation)
        };
        assert_eq!(generation(MAX_GENERATION), Some(MAX_GENERATION));
        for written in [MAX_GENERATION + 1, u64::MAX - 12, u64::MAX] {
            assert_eq!(generation(written), Some(0), "{written}");
        }
    }

    #[test]
    fn next_generation_is_another_one_that_is_believed() {
        assert_eq!(next_generation(7, 0), 8);
        assert_eq!(next_generation(7, 9), 10);
        assert_eq!(next_generation(7, MAX_GENERATION - 1), MAX_GENERATION);
        assert_eq!(next_generation(7, MAX_GENERATION), 8);
        assert_eq!(next_generation(MAX_GENERATION, 7), 1);
        assert_eq!(next_generation(MAX_GENERATION, MAX_GENERATION), 1);
    }

    #[test]
    fn largest_marker_is_read_again() {
        let (_home, file) = marker_file();
        // Four bytes per character, or a backslash before each: what takes the most in JSON.
        let time: Timestamp = "-009998-06-01T00:00:00.000000001Z".parse().unwrap();
        let lease = |number: usize| Lease {
            owner: format!("{number:02}{}", "𝕏".repeat(MAX_OWNER_CHARS - 2)),
            principal: "\"".repeat(256),
            reason: Some("𝕏".repeat(MAX_REASON_CHARS)),
            requested_at: time,
            expires_at: Some(time),
            suppress_notification: false,
        };
        let mut leases = Leases::default();
        for number in 1..MAX_LEASES {
            leases.begin(lease(number)).unwrap();
        }
        // The last place is for an owner that is named by its principal.
        let platform = Lease {
            owner: "\"".repeat(MAX_OWNER_CHARS),
            principal: "\"".repeat(MAX_OWNER_CHARS),
            ..lease(0)
        };
        leases.begin(platform).unwrap();

        let epoch = Epoch::known("\"".repeat(128));
        file.write(&Marker::of(&leases, Some(&epoch), MAX_GENERATION).unwrap())
            .unwrap();
        let MarkerState::Present { content, .. } = file.read() else {
            panic!("it is within the bounds")
        };
        assert_eq!(content.holders, leases.all());
        assert_eq!(content.epoch.as_deref(), Some(epoch.as_str()));
        assert_eq!(content.generation, MAX_GENERATION);
    }

    #[test]
    fn marker_that_could_not_be_read_again_is_not_written() {
        let (_home, file) = marker_file();
        file.write(&Marker::of(&one_lease(), None, 1).unwrap())
            .unwrap();
        let before = file.read();
        let mut leases = one_lease();
        let long = Lease {
            owner: "b".into(),
            reason: Some("x".repeat(70_000)),
            ..leases.all()[0].clone()
        };
        leases.begin(long).unwrap();
        assert!(file.write(&Marker::of(&leases, None, 2).unwrap()).is_err());
        assert_eq!(file.read(), before);
    }

    #[test]
    fn texts_of_another_program_are_read_within_their_bounds() {
        let long = "x".repeat(30_000);
        let now = "2026-11-27T17:22:40Z";
        let text = json!({
            "principal": long,
            "epoch": &long[..1_000],
            "holders": [
                {"owner": &long[..20_000], "reason": "a\u{1b}[2J", "requested_at": now},
                {"owner": "b", "principal": "\u{7}".repeat(300), "requested_at": now},
                {"owner": " ", "requested_at": now},
            ],
        });
        let content = MarkerContent::parse(text.to_string().as_bytes()).unwrap();
        assert_eq!(content.principal, Some("x".repeat(256)));
        assert_eq!(
            content.epoch.as_deref(),
            Some(&long[..1_000]),
            "a cut epoch could be another one"
        );
        let [first, second] = &content.holders[..] else {
            panic!("an owner has a name: {:?}", content.holders)
        };
        assert_eq!(first.owner, "x".repeat(MAX_OWNER_CHARS));
        assert_eq!(first.reason.as_deref(), Some("a\u{fffd}[2J"));
        assert_eq!(second.principal, "\u{fffd}".repeat(256 / 3));
        let unnamed = MarkerContent::parse(br#"{"principal":" "}"#).unwrap();
        assert_eq!(unnamed.principal, None);
    }

    #[test]
    fn times_of_holders_may_lack_the_zone() {
        let holder = json!({"owner": "a", "requested_at": "2026-11-27T17:22:40.1", "expires_at": "2026-11-27T18:22:40"});
        let text = json!({"action": "drain", "holders": [holder]}).to_string();
        let content = MarkerContent::parse(text.as_bytes()).unwrap();
        let lease = &content.holders[0];
        assert_eq!(
            (lease.requested_at, lease.expires_at),
            (
                "2026-11-27T17:22:40.1Z".parse().unwrap(),
                Some("2026-11-27T18:22:40Z".parse().unwrap())
            )
        );
    }

    #[test]
    fn link_to_something_else_than_a_file_is_replaced() {
        let (home, file) = marker_file();
        let (pipe, folder) = (home.path().join("pipe"), home.path().join("folder"));
        fs::create_dir(&folder).unwrap();
        rustix::fs::mknodat(
            rustix::fs::CWD,
            &pipe,
            rustix::fs::FileType::Fifo,
            0o600.into(),
            0,
        )
        .unwrap();
        let marker = Marker::of(&one_lease(), None, 1).unwrap();
        for target in [&pipe, &folder] {
            let before = fs::symlink_metadata(target).unwrap().file_type();
            std::os::unix::fs::symlink(target, file.path()).unwrap();
            file.write(&marker).unwrap();
            assert!(fs::symlink_metadata(file.path()).unwrap().is_file());
            assert_eq!(fs::symlink_metadata(target).unwrap().file_type(), before);
            file.clear().unwrap();
        }
    }

    #[test]
    fn presence_without_content_is_still_presence() {
        let long = format!("{{\"action\":\"{}\"}}", "x".repeat(70_000));
        for text in ["", "{not json", "null", "[]", "7", "\"drain\"", &long] {
            let (_home, file) = marker_file();
            fs::write(file.path(), text).unwrap();
            assert!(
                matches!(file.read(), MarkerState::Unreadable { modified: Some(_) }),
                "{text:.20}"
            );
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
        rustix::fs::mknodat(
            rustix::fs::CWD,
            file.path(),
            rustix::fs::FileType::Fifo,
            0o600.into(),
            0,
        )
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
        let MarkerState::Present { content, .. } = file.read() else {
            panic!("an object is content")
        };
        assert_eq!(content, MarkerContent::default());
    }
}
