use portcullis_guest::Host;

/// Largest difference between clocks that an operator may allow, in seconds.
const MAX_LEEWAY: u64 = 3600;
/// What clocks may differ by unless the operator says otherwise, in seconds.
const DEFAULT_LEEWAY: u64 = 60;

/// Checks that every setting has one of these names.
///
/// # Errors
/// A sentence that names the unknown setting, and the known ones.
pub fn check_names(host: &dyn Host, known: &[&str]) -> Result<(), String> {
    match host
        .setting_names()
        .iter()
        .find(|name| !known.contains(&name.as_str()))
    {
        Some(unknown) => Err(format!(
            "unknown setting `{unknown}`: there are {}",
            known.join(", ")
        )),
        None => Ok(()),
    }
}

/// The setting `leeway_seconds`.
///
/// # Errors
/// A sentence for the operator.
pub fn leeway(host: &dyn Host) -> Result<u64, String> {
    let Some(text) = host.setting("leeway_seconds") else {
        return Ok(DEFAULT_LEEWAY);
    };
    let seconds = text
        .trim()
        .parse()
        .ok()
        .filter(|seconds| *seconds <= MAX_LEEWAY);
    seconds.ok_or_else(|| format!("`leeway_seconds` must be a whole number, at most {MAX_LEEWAY}"))
}
