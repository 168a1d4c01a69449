//! `wasi:config`: the settings of one provider. Records each lookup of an unknown key, so that
//! `provider check` can report it.

use crate::guest_text::words;
use crate::host::HostState;
use crate::host::bindings::config::{self, Error};
use wasmtime::component::{HasSelf, Linker};

pub(crate) fn link(linker: &mut Linker<HostState>) -> wasmtime::Result<()> {
    config::add_to_linker::<_, HasSelf<HostState>>(linker, |state| state)
}

impl config::Host for HostState {
    fn get(&mut self, key: String) -> wasmtime::Result<Result<Option<String>, Error>> {
        let value = self.settings.get(&key).cloned();
        if value.is_none() {
            self.record.miss(&words(key));
        }
        Ok(Ok(value))
    }

    fn get_all(&mut self) -> wasmtime::Result<Result<Vec<(String, String)>, Error>> {
        Ok(Ok(self
            .settings
            .iter()
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect()))
    }
}
