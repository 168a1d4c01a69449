//! `wasi:logging`: lines of the same bounded log field that stdout and stderr end up in.

use crate::host::HostState;
use crate::host::bindings::logging::{self, Level};
use wasmtime::component::{HasSelf, Linker};

pub(crate) fn link(linker: &mut Linker<HostState>) -> wasmtime::Result<()> {
    logging::add_to_linker::<_, HasSelf<HostState>>(linker, |state| state)
}

impl logging::Host for HostState {
    fn log(&mut self, level: Level, context: String, message: String) -> wasmtime::Result<()> {
        let level = match level {
            Level::Trace => "trace",
            Level::Debug => "debug",
            Level::Info => "info",
            Level::Warn => "warn",
            Level::Error => "error",
            Level::Critical => "critical",
        };
        self.record
            .output()
            .note(&format!("{level} {context}: {message}"));
        Ok(())
    }
}
