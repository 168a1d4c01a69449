//! Takes restart requests from the home, and hands out those that count.

use jiff::Timestamp;
use portcullis_home::Epoch;
use portcullis_home::{Ignored, RestartFile, RestartRequest};
use std::path::Path;
use std::time::Instant;

/// Looks for restart requests on behalf of one gateway.
pub(super) struct RestartWatch {
    file: RestartFile,
    epoch: Option<Epoch>,
    started: Instant,
    /// Whether it was logged that the present file cannot be removed.
    is_stuck: bool,
}

impl RestartWatch {
    /// Begins to look, and removes a request that is there already: it was made for an earlier
    /// gateway.
    pub(super) fn start(home: &Path) -> Self {
        let file = RestartFile::new(home);
        let mut watch = Self {
            file,
            epoch: Epoch::present(),
            started: Instant::now(),
            is_stuck: false,
        };
        if let Some(found) = watch.take() {
            watch.warn(&found.err().unwrap_or(Ignored::BeforeStart));
        }
        watch
    }

    /// Removes a request that is there, and returns it if it has to be acted on.
    pub(super) fn look(&mut self) -> Option<RestartRequest> {
        let found = self.take()?;
        // In this order: a pause between the two must not make the request look older than the
        // gateway.
        let now = Timestamp::now();
        let uptime = self.started.elapsed();
        match found.and_then(|request| request.judge(self.epoch.as_ref(), uptime, now)) {
            Ok(request) => Some(request),
            Err(reason) => {
                self.warn(&reason);
                None
            }
        }
    }

    /// A request that cannot be removed is not handed out: the next gateway would find it again.
    fn take(&mut self) -> Option<Result<RestartRequest, Ignored>> {
        match self.file.take() {
            Ok(found) => {
                self.is_stuck = false;
                found
            }
            Err(error) => {
                if !self.is_stuck {
                    let request = self.file.path().display();
                    tracing::error!(%request, %error, "a restart request cannot be removed, so it is not acted on");
                }
                self.is_stuck = true;
                None
            }
        }
    }

    fn warn(&self, reason: &Ignored) {
        tracing::warn!(request = %self.file.path().display(), %reason, "ignoring a restart request");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::time::Duration;

    fn request() -> RestartRequest {
        RestartRequest::new("ada", None, Some(Duration::ZERO), Epoch::present().as_ref()).unwrap()
    }

    #[test]
    fn request_from_before_the_start_is_removed_and_a_later_one_handed_out_once() {
        let home = tempfile::tempdir().unwrap();
        let file = RestartFile::new(home.path());
        file.write(&request()).unwrap();
        let mut watch = RestartWatch::start(home.path());
        assert!(!file.path().exists());
        assert_eq!(watch.look(), None);

        let later = request();
        file.write(&later).unwrap();
        assert_eq!(watch.look(), Some(later));
        assert!(!file.path().exists());
        assert_eq!(watch.look(), None);
    }

    #[test]
    fn what_cannot_be_removed_is_not_handed_out() {
        let home = tempfile::tempdir().unwrap();
        let file = RestartFile::new(home.path());
        let mut watch = RestartWatch::start(home.path());
        fs::create_dir_all(file.path().join("full")).unwrap();
        assert_eq!(watch.look(), None);
        assert!(watch.is_stuck);
        fs::remove_dir_all(file.path()).unwrap();
        assert_eq!(watch.look(), None);
        assert!(!watch.is_stuck);
    }
}
