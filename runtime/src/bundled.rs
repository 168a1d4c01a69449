//! The providers that come with the binary.

/// Names and components; `runtime/build.rs` builds them.
const COMPONENTS: &[(&str, &[u8])] = &[
    ("service-keys", include_bytes!(env!("BUNDLED_SERVICE_KEYS"))),
    ("basic", include_bytes!(env!("BUNDLED_BASIC"))),
    ("oidc", include_bytes!(env!("BUNDLED_OIDC"))),
    ("nous", include_bytes!(env!("BUNDLED_NOUS"))),
    ("jwt", include_bytes!(env!("BUNDLED_JWT"))),
];

/// The component of `builtin:NAME`.
pub fn component(name: &str) -> Option<&'static [u8]> {
    COMPONENTS.iter().find(|(known, _)| *known == name).map(|(_, component)| *component)
}

/// All names.
pub fn names() -> impl Iterator<Item = &'static str> {
    COMPONENTS.iter().map(|(name, _)| *name)
}
