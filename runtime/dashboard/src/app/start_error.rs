//! Why the dashboard cannot start.

use super::session_key::SessionKeyError;
use crate::config::GateReason;
use crate::web::AccessLogTarget;
use portcullis_auth::RegistryError;
use portcullis_net::tls::IdentityError;
use portcullis_sandbox::SandboxError;
use std::io;
use std::path::PathBuf;

/// The dashboard cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// People must sign in, and no provider can sign them in.
    #[error(
        "{0}, so people must sign in, but no provider can sign anyone in. Add a password or redirect provider to \
         dashboard.providers, or bind 127.0.0.1 without another name, or (for a test, with no gate at all) pass \
         --insecure"
    )]
    NobodySignsIn(GateReason),
    /// The address is taken or not ours.
    #[error("cannot listen on {host}:{port}: {cause}")]
    Listen {
        /// The name or address to bind.
        host: String,
        /// The port to bind.
        port: u16,
        /// What the system says.
        cause: io::Error,
    },
    /// A socket that was handed over cannot be used.
    #[error("a socket that was handed over (LISTEN_FDS) cannot be used: {0}")]
    HandedSocket(String),
    /// The certificate or its key cannot be used.
    #[error("dashboard.tls: {0}")]
    Certificate(IdentityError),
    /// The key that seals cookies cannot be kept.
    #[error(transparent)]
    SessionKey(#[from] SessionKeyError),
    /// Another dashboard serves the home.
    #[error("another dashboard runs over {0}: end it first, or use another --home")]
    HomeTaken(PathBuf),
    /// The home cannot be used.
    #[error("cannot use {home}: {cause}")]
    Home {
        /// The folder that was to be used.
        home: PathBuf,
        /// What the system says.
        cause: io::Error,
    },
    /// The access log cannot be written.
    #[error("cannot write the access log to {target}: {cause}")]
    AccessLog {
        /// Where it should be written.
        target: AccessLogTarget,
        /// What the system says.
        cause: io::Error,
    },
    /// The sandbox did not come up.
    #[error(transparent)]
    Sandbox(#[from] SandboxError),
    /// Two providers share a name.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// The system has no random numbers.
    #[error("the system gives no random numbers: {0}")]
    Random(getrandom::Error),
    /// A thread could not be started.
    #[error("a thread cannot start: {0}")]
    Thread(io::Error),
}

impl StartError {
    /// Returns whether the command line or the configuration is wrong.
    pub fn is_usage(&self) -> bool {
        matches!(
            self,
            Self::NobodySignsIn(_)
                | Self::Registry(_)
                | Self::HandedSocket(_)
                | Self::Certificate(_)
        )
    }
}
