use std::collections::BTreeMap;

/// What the host offers a provider. In a component it is the host; in a test it is a [`FakeHost`].
pub trait Host {
    /// One of the provider's own settings (`config:` in `portcullis.yaml`), through `wasi:config/store`.
    /// A setting that is not a string arrives as JSON text.
    fn setting(&self, key: &str) -> Option<String>;

    /// The names of all settings, sorted.
    fn setting_names(&self) -> Vec<String>;

    /// Seconds since the Unix epoch, through `wasi:clocks/wall-clock`.
    fn now(&self) -> u64;
}

/// A host for native tests: settings from a map, time standing still.
#[derive(Clone, Debug, Default)]
pub struct FakeHost {
    /// The provider's settings.
    pub settings: BTreeMap<String, String>,
    /// Seconds since the Unix epoch.
    pub now: u64,
}

impl FakeHost {
    /// A host with one setting, at time zero.
    pub fn with_setting(key: &str, value: impl Into<String>) -> Self {
        Self { settings: BTreeMap::from([(key.to_owned(), value.into())]), now: 0 }
    }

    /// The same host at another time.
    pub fn at(self, now: u64) -> Self {
        Self { now, ..self }
    }
}

impl Host for FakeHost {
    fn setting(&self, key: &str) -> Option<String> {
        self.settings.get(key).cloned()
    }

    fn setting_names(&self) -> Vec<String> {
        self.settings.keys().cloned().collect()
    }

    fn now(&self) -> u64 {
        self.now
    }
}
