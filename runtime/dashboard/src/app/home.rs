//! The files of the home that the dashboard shares with the gateway, and its lock.

use super::StartError;
use crate::config::Config;
use crate::drain::DrainControl;
use crate::web::GatewayFiles;
use portcullis_home::home_lock::{DASHBOARD_LOCK, HomeLock};
use portcullis_home::{MarkerFile, RestartFile, StatusFile};
use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::sync::Arc;

/// Makes the home if there is none, and takes its lock.
pub(super) fn prepare_home(home: &Path) -> Result<Option<HomeLock>, StartError> {
    let failed = |cause| StartError::Home {
        home: home.to_owned(),
        cause,
    };
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(home)
        .map_err(failed)?;
    take_home(home)
}

/// One dashboard a home: a second one would not know who signed out at the first. `None`: nothing
/// can be written to the home, so there is nothing to share.
fn take_home(home: &Path) -> Result<Option<HomeLock>, StartError> {
    match HomeLock::take(&home.join(DASHBOARD_LOCK), &[]) {
        Ok(Some(lock)) => Ok(Some(lock)),
        Ok(None) => Err(StartError::HomeTaken(home.to_owned())),
        Err(error) if error.kind() == io::ErrorKind::ReadOnlyFilesystem => {
            tracing::warn!(home = %home.display(), "the home is on a read-only file system");
            Ok(None)
        }
        Err(cause) => Err(StartError::Home {
            home: home.join(DASHBOARD_LOCK),
            cause,
        }),
    }
}

/// Markers get the epoch of the gateway that runs over the home.
pub(super) fn drain_control(config: &Config) -> io::Result<DrainControl> {
    let status = StatusFile::new(&config.home);
    let epoch = Box::new(move || status.read().epoch);
    DrainControl::start(
        MarkerFile::new(&config.home),
        config.dashboard.max_marker_age,
        epoch,
    )
}

pub(super) fn gateway_view(config: &Config, drain: &DrainControl) -> GatewayFiles {
    let restart = RestartFile::new(&config.home);
    restart.sweep();
    GatewayFiles {
        status: StatusFile::new(&config.home),
        marker: MarkerFile::new(&config.home),
        restart,
        max_marker_age: config.dashboard.max_marker_age,
        generation: drain.generation(),
        shutdown_grace: config.gateway.shutdown_grace,
        last_trouble: Arc::default(),
    }
}
