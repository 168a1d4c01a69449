//! The host's side of `wit/provider.wit`.

/// What every provider exports.
pub(super) mod provider {
    wasmtime::component::bindgen!({
        path: "../wit",
        world: "auth-provider",
        exports: { default: async },
    });
}

/// The optional check of a provider's settings.
pub(super) mod settings {
    wasmtime::component::bindgen!({
        inline: "package portcullis:host; world with-settings { export portcullis:auth/settings@0.1.0; }",
        path: "../wit",
        world: "portcullis:host/with-settings",
        exports: { default: async },
    });
}

pub(super) use provider::AuthProviderPre;
pub(super) use provider::exports::portcullis::auth::provider as contract;
pub(super) use settings::WithSettingsPre;
