use super::LogFormat;
use portcullis::config::Environment;
use std::io::{self, IsTerminal};
use tracing_subscriber::EnvFilter;

/// Logs to stderr, at `info` unless `RUST_LOG` says otherwise.
pub(super) fn start(format: LogFormat) {
    let filter = Environment::read().log_filter;
    let filter = EnvFilter::builder().parse_lossy(filter.as_deref().unwrap_or("info"));
    // A stderr that nobody reads any more must not bring anything down.
    let subscriber =
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr).log_internal_errors(false);
    match format {
        LogFormat::Text => subscriber.with_ansi(io::stderr().is_terminal()).with_target(false).init(),
        LogFormat::Json => subscriber.json().flatten_event(true).init(),
    }
}
