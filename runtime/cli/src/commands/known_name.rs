//! The name under which a gateway runs.

use super::{Cli, Command};
use std::ffi::OsStr;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process;

/// What the original calls a gateway.
const KNOWN_NAME: &str = "hermes-gateway";

impl Cli {
    /// Starts this program again under the name by which the original knows a gateway, if that is
    /// what it is to run. The process stays the same. The original takes a process for a gateway by
    /// its command line, and removes the lock of one that it does not recognise.
    ///
    /// To be called on the main thread: a signal that the process asked for at its parent's death
    /// belongs to that thread.
    pub(crate) fn take_known_name(&self) {
        let mut arguments = std::env::args_os();
        let name = arguments.next().unwrap_or_default();
        let is_known = Path::new(&name).file_name() == Some(OsStr::new(KNOWN_NAME));
        if is_known || !matches!(self.command, Command::Gateway(_)) {
            return;
        }

        if let Ok(binary) = std::env::current_exe() {
            // Returns only if it fails: then it runs under the name that it has.
            let _ = process::Command::new(binary)
                .arg0(KNOWN_NAME)
                .args(arguments)
                .exec();
        }
    }
}
