#[cfg(feature = "keyvalue")]
use crate::Bucket;
#[cfg(feature = "http")]
use crate::Http;

/// What the host offers a provider. In a component it is the host; in a test it is a
/// [`MockHost`](crate::MockHost).
pub trait Host {
    /// One of the provider's own settings (`config:` in `portcullis.yaml`), through
    /// `wasi:config/store`. A setting that is not a string arrives as JSON text.
    fn setting(&self, key: &str) -> Option<String>;

    /// The names of all settings, sorted.
    fn setting_names(&self) -> Vec<String>;

    /// Seconds since the Unix epoch, through `wasi:clocks/wall-clock`.
    fn now(&self) -> u64;

    /// What the provider keeps from call to call (feature `keyvalue`; the operator grants
    /// `keyvalue: true`).
    #[cfg(feature = "keyvalue")]
    fn bucket(&self) -> &dyn Bucket;

    /// Requests to the origins that the operator grants under `http` (feature `http`).
    #[cfg(feature = "http")]
    fn http(&self) -> &dyn Http;
}

/// A setting that is JSON: a list, a map, a number.
///
/// # Errors
/// It is there and cannot be read: a sentence for the operator that names the setting.
///
/// ```
/// # use portcullis_guest::{MockHost, json_setting};
/// let host = MockHost::default().with_setting("allowed", r#"["ada", "grace"]"#);
/// assert_eq!(json_setting::<Vec<String>>(&host, "allowed").unwrap().unwrap().len(), 2);
/// assert!(json_setting::<u64>(&host, "allowed").unwrap_err().starts_with("`allowed`: "));
/// assert_eq!(json_setting::<u64>(&host, "missing"), Ok(None));
/// ```
#[cfg(feature = "json")]
pub fn json_setting<T: serde::de::DeserializeOwned>(
    host: &dyn Host,
    key: &str,
) -> Result<Option<T>, String> {
    let Some(text) = host.setting(key) else {
        return Ok(None);
    };
    // The place in this text is no place in the configuration, so it is not named.
    let Ok(value) = serde_json::from_str::<serde_json::Value>(&text) else {
        return Err(format!("`{key}`: must not be a string"));
    };
    serde_json::from_value(value).map_err(|error| format!("`{key}`: {error}"))
}
