//! The providers that come with the binary.
//!
//! **Invariant:** what is bundled was built from this checkout, by the build script.

/// Names and components; the build script builds them.
const COMPONENTS: &[(&str, &[u8])] = &[
    ("service-keys", include_bytes!(env!("BUNDLED_SERVICE_KEYS"))),
    ("basic", include_bytes!(env!("BUNDLED_BASIC"))),
    ("oidc", include_bytes!(env!("BUNDLED_OIDC"))),
    ("nous", include_bytes!(env!("BUNDLED_NOUS"))),
    ("jwt", include_bytes!(env!("BUNDLED_JWT"))),
];

/// Returns the component of `builtin:NAME`.
pub fn component(name: &str) -> Option<&'static [u8]> {
    COMPONENTS
        .iter()
        .find(|(known, _)| *known == name)
        .map(|(_, component)| *component)
}

/// Settings of builtins that are secrets of the host: they sign what a provider hands out.
const SECRET_SETTINGS: &[(&str, &[&str])] = &[("basic", &["secret"])];

/// Returns whether this setting of the builtin is a secret of the host, which has to pass its
/// strength gate.
pub fn is_secret(builtin: &str, setting: &str) -> bool {
    SECRET_SETTINGS
        .iter()
        .any(|(name, settings)| *name == builtin && settings.contains(&setting))
}

/// Returns the names of all bundled components.
pub fn names() -> impl Iterator<Item = &'static str> {
    COMPONENTS.iter().map(|(name, _)| *name)
}
