//! A request to restart the gateway: a file in the home, which the dashboard or the command line
//! writes.
//!
//! **Invariant:** a request is removed before it is acted on, so it ends one gateway once.

use crate::atomic_file::{self, Durability};
use crate::{Epoch, foreign_text};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The request's name in the home.
pub const RESTART_FILE: &str = ".restart_request.json";
/// Longest grace that a caller may ask for, in seconds.
pub const MAX_RESTART_GRACE_SECONDS: u64 = 3600;

/// Age at which a request is no longer acted on.
const MAX_AGE: Duration = Duration::from_secs(5 * 60);
/// Longest grace that is accepted from a file, in seconds: the longest that
/// `gateway.shutdown_grace_seconds` may set.
const MAX_FILE_GRACE_SECONDS: u64 = 86_400;
const ID_BYTES: usize = 16;

/// A request to end the gateway so that its supervisor starts it again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RestartRequest {
    id: String,
    requested_at: Timestamp,
    principal: String,
    #[serde(default)]
    reason: Option<String>,
    /// `None`: the grace of the gateway's own configuration.
    #[serde(default)]
    grace_seconds: Option<u64>,
    #[serde(default)]
    epoch: Option<String>,
}

/// Why a request is removed without being acted on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Ignored {
    /// The file is no request, or cannot be read.
    #[error("it cannot be read: {0}")]
    Damaged(String),
    /// It names the epoch of another gateway.
    #[error("it is for a gateway of another epoch ({0})")]
    OtherEpoch(String),
    /// It is more than 5 minutes old.
    #[error("it was made at {0}, more than 5 minutes ago")]
    TooOld(Timestamp),
    /// It is older than the gateway that read it.
    #[error("it was made before this gateway started")]
    BeforeStart,
}

impl RestartRequest {
    /// A request with a new random id, made now. `grace`: how long turns in flight may continue;
    /// `None`: as long as the gateway's configuration says. `epoch`: that of the gateway that is
    /// meant, if it is known.
    ///
    /// # Errors
    /// The system gives no random numbers.
    pub fn new(
        principal: &str,
        reason: Option<String>,
        grace: Option<Duration>,
        epoch: Option<&Epoch>,
    ) -> Result<Self, getrandom::Error> {
        let mut id = [0; ID_BYTES];
        getrandom::fill(&mut id)?;

        Ok(Self {
            id: hex::encode(id),
            requested_at: Timestamp::now(),
            principal: principal.to_owned(),
            reason,
            grace_seconds: grace.map(|grace| grace.as_secs()),
            epoch: epoch.map(|epoch| epoch.as_str().to_owned()),
        })
    }

    /// Names the request in answers and audit lines.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Returns who asked for the restart.
    pub fn principal(&self) -> &str {
        &self.principal
    }

    /// Returns the reason that was given with it.
    pub fn reason(&self) -> Option<&str> {
        self.reason.as_deref()
    }

    /// Returns how long turns in flight may continue. `None`: as long as the gateway's
    /// configuration says.
    pub fn grace(&self) -> Option<Duration> {
        self.grace_seconds.map(Duration::from_secs)
    }

    fn parse(text: &[u8]) -> Result<Self, Ignored> {
        let request: Self =
            serde_json::from_slice(text).map_err(|error| Ignored::Damaged(error.to_string()))?;
        // Texts that are compared are refused; those that are shown are cut.
        let is_bad = |text: &str| !foreign_text::is_identifier(text);
        if is_bad(&request.id) || request.epoch.as_deref().is_some_and(is_bad) {
            return Err(Ignored::Damaged(
                "`id` or `epoch` is too long, empty or not visible".to_owned(),
            ));
        }
        if request
            .grace_seconds
            .is_some_and(|seconds| seconds > MAX_FILE_GRACE_SECONDS)
        {
            return Err(Ignored::Damaged(format!(
                "`grace_seconds` is over {MAX_FILE_GRACE_SECONDS}"
            )));
        }

        Ok(Self {
            principal: foreign_text::principal(request.principal),
            reason: request.reason.map(foreign_text::reason),
            ..request
        })
    }

    /// Returns the request if a gateway of this epoch that has been up for `uptime` has to act on
    /// it.
    ///
    /// Ages are compared, and not times: a clock that is corrected while the gateway runs would
    /// make every later request look older than the gateway.
    ///
    /// # Errors
    /// Why it is not to be acted on.
    pub fn judge(
        self,
        epoch: Option<&Epoch>,
        uptime: Duration,
        now: Timestamp,
    ) -> Result<Self, Ignored> {
        if let (Some(meant), Some(present)) = (&self.epoch, epoch)
            && meant != present.as_str()
        {
            return Err(Ignored::OtherEpoch(meant.clone()));
        }

        // A time in the future has no age.
        let age = Duration::try_from(now.duration_since(self.requested_at)).unwrap_or_default();
        if age > MAX_AGE {
            return Err(Ignored::TooOld(self.requested_at));
        }

        if age > uptime {
            return Err(Ignored::BeforeStart);
        }

        Ok(self)
    }
}

/// The restart request of one home.
#[derive(Clone, Debug)]
pub struct RestartFile {
    path: PathBuf,
}

impl RestartFile {
    /// Names the request file in this home.
    pub fn new(home: &Path) -> Self {
        Self {
            path: home.join(RESTART_FILE),
        }
    }

    /// Returns the path of the file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes the request, private to its owner (0600), so that it survives a loss of power. It
    /// replaces a request that no gateway has taken yet.
    ///
    /// # Errors
    /// It could not be written.
    pub fn write(&self, request: &RestartRequest) -> io::Result<()> {
        atomic_file::replace(
            &self.path,
            &serde_json::to_vec(request)?,
            Durability::Synced,
        )
    }

    /// Removes what a process that was killed while it wrote left beside the file.
    pub fn sweep(&self) {
        atomic_file::sweep(&self.path);
    }

    /// Removes the request and returns it, or says why it cannot be read. `None`: there is none.
    ///
    /// # Errors
    /// It is still there.
    pub fn take(&self) -> io::Result<Option<Result<RestartRequest, Ignored>>> {
        let found = match atomic_file::read(&self.path) {
            Ok(text) => RestartRequest::parse(&text),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => Err(Ignored::Damaged(error.to_string())),
        };
        match self.remove() {
            Ok(()) => Ok(Some(found)),
            // A person removed it in this moment, so that it is not acted on.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn remove(&self) -> io::Result<()> {
        match fs::symlink_metadata(&self.path)?.is_dir() {
            true => fs::remove_dir(&self.path),
            false => fs::remove_file(&self.path),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    const HOUR: Duration = Duration::from_secs(3600);

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn request(epoch: Option<&str>) -> RestartRequest {
        let request = RestartRequest::new("ada", None, Some(Duration::ZERO), None).unwrap();
        RestartRequest {
            requested_at: at(1_000),
            epoch: epoch.map(str::to_owned),
            ..request
        }
    }

    #[test]
    fn texts_of_another_program_are_read_within_their_bounds() {
        let long = "x".repeat(30_000);
        let parse = |id: &str, epoch: &str| {
            let request = RestartRequest {
                id: id.to_owned(),
                principal: long.clone(),
                reason: Some(long.clone()),
                ..request(Some(epoch))
            };
            RestartRequest::parse(&serde_json::to_vec(&request).unwrap())
        };
        let read = parse("7f", "boot:1").unwrap();
        assert_eq!((read.principal().len(), read.id()), (256, "7f"));
        assert_eq!(read.reason().map(str::len), Some(256));
        for (id, epoch) in [(long.as_str(), "boot:1"), ("", "boot:1"), ("7f", &long)] {
            assert!(matches!(parse(id, epoch), Err(Ignored::Damaged(_))));
        }
    }

    #[test]
    fn request_of_a_moment_ago_counts() {
        let epoch = Epoch::known("boot:1");
        for meant in [None, Some("boot:1")] {
            let request = request(meant);
            assert_eq!(
                request.clone().judge(Some(&epoch), HOUR, at(1_001)),
                Ok(request.clone())
            );
            assert_eq!(
                request.clone().judge(None, HOUR, at(1_300)),
                Ok(request.clone())
            );
            let ahead = request.clone().judge(Some(&epoch), Duration::ZERO, at(990));
            assert_eq!(ahead, Ok(request), "a clock that was ahead");
        }
    }

    #[test]
    fn stale_requests_are_ignored() {
        let epoch = Epoch::known("boot:2");
        let other = request(Some("boot:1")).judge(Some(&epoch), HOUR, at(1_001));
        assert_eq!(other, Err(Ignored::OtherEpoch("boot:1".to_owned())));
        assert_eq!(
            request(None).judge(Some(&epoch), HOUR, at(1_301)),
            Err(Ignored::TooOld(at(1_000)))
        );
        let uptime = Duration::from_secs(9);
        assert_eq!(
            request(None).judge(Some(&epoch), uptime, at(1_010)),
            Err(Ignored::BeforeStart)
        );
    }

    #[test]
    fn request_is_private_and_taken_once() {
        let home = tempfile::tempdir().unwrap();
        let file = RestartFile::new(home.path());
        assert_eq!(file.take().unwrap(), None);
        let written = RestartRequest::new(
            "ada",
            Some("stuck".to_owned()),
            None,
            Epoch::present().as_ref(),
        );
        let written = written.unwrap();
        file.write(&written).unwrap();
        assert_eq!(
            fs::metadata(file.path()).unwrap().permissions().mode() & 0o777,
            0o600
        );
        assert_eq!((written.id().len(), written.grace()), (2 * ID_BYTES, None));
        assert_eq!(file.take().unwrap(), Some(Ok(written)));
        assert_eq!(file.take().unwrap(), None);
        assert_eq!(fs::read_dir(home.path()).unwrap().count(), 0);
    }

    #[test]
    fn damaged_requests_are_removed() {
        let home = tempfile::tempdir().unwrap();
        let file = RestartFile::new(home.path());
        let long = " ".repeat(65 * 1024);
        for text in [
            "",
            "{",
            "null",
            "[]",
            "{}",
            r#"{"id":7,"requested_at":"2026-01-01T00:00:00Z","principal":"ada"}"#,
            r#"{"id":"a","requested_at":"yesterday","principal":"ada"}"#,
            r#"{"id":"a","requested_at":"2026-01-01T00:00:00Z","principal":"ada","grace_seconds":-1}"#,
            r#"{"id":"a","requested_at":"2026-01-01T00:00:00Z","principal":"ada","grace_seconds":86401}"#,
            &long,
        ] {
            fs::write(file.path(), text).unwrap();
            assert!(
                matches!(file.take().unwrap(), Some(Err(Ignored::Damaged(_)))),
                "{text:.100}"
            );
            assert!(!file.path().exists(), "{text:.100}");
        }
        fs::create_dir(file.path()).unwrap();
        assert!(matches!(
            file.take().unwrap(),
            Some(Err(Ignored::Damaged(_)))
        ));
    }

    #[test]
    fn request_that_cannot_be_removed_is_an_error() {
        let home = tempfile::tempdir().unwrap();
        let file = RestartFile::new(home.path());
        fs::create_dir_all(file.path().join("full")).unwrap();
        assert!(file.take().is_err());
    }
}
