//! The host's side of `wit/provider.wit`, and of the WASI interfaces that have no implementation to link.

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

/// The optional ways to sign a person in, and to keep a session alive. Their types are those of `provider`.
pub(super) mod password {
    wasmtime::component::bindgen!({
        inline: "package portcullis:host; world with-password { export portcullis:auth/password@0.1.0; }",
        path: "../wit",
        world: "portcullis:host/with-password",
        exports: { default: async },
        with: { "portcullis:auth/types@0.1.0": crate::sandbox::bindings::provider::portcullis::auth::types },
    });
}

pub(super) mod redirect {
    wasmtime::component::bindgen!({
        inline: "package portcullis:host; world with-redirect { export portcullis:auth/redirect@0.1.0; }",
        path: "../wit",
        world: "portcullis:host/with-redirect",
        exports: { default: async },
        with: { "portcullis:auth/types@0.1.0": crate::sandbox::bindings::provider::portcullis::auth::types },
    });
}

pub(super) mod refresh {
    wasmtime::component::bindgen!({
        inline: "package portcullis:host; world with-refresh { export portcullis:auth/refresh@0.1.0; }",
        path: "../wit",
        world: "portcullis:host/with-refresh",
        exports: { default: async },
        with: { "portcullis:auth/types@0.1.0": crate::sandbox::bindings::provider::portcullis::auth::types },
    });
}

/// What a provider may be granted to keep, and what every provider may read and log.
pub(super) mod granted {
    wasmtime::component::bindgen!({
        inline: "package portcullis:host;
                 world granted {
                     import wasi:keyvalue/store@0.2.0-draft;
                     import wasi:keyvalue/atomics@0.2.0-draft;
                     import wasi:logging/logging@0.1.0-draft;
                     import wasi:config/store@0.2.0-rc.1;
                 }",
        path: "../wit",
        world: "portcullis:host/granted",
        imports: {
            default: async | trappable,
            "wasi:logging/logging@0.1.0-draft": trappable,
            "wasi:config/store@0.2.0-rc.1": trappable,
        },
        with: { "wasi:keyvalue/store.bucket": crate::sandbox::keyvalue::OpenBucket },
    });
}

pub(super) use granted::wasi::config::store as config;
pub(super) use granted::wasi::keyvalue::{atomics, store};
pub(super) use granted::wasi::logging::logging;
pub(super) use password::WithPasswordPre;
pub(super) use password::exports::portcullis::auth::password as password_contract;
pub(super) use provider::AuthProviderPre;
pub(super) use provider::exports::portcullis::auth::provider as contract;
pub(super) use redirect::WithRedirectPre;
pub(super) use redirect::exports::portcullis::auth::redirect as redirect_contract;
pub(super) use refresh::WithRefreshPre;
pub(super) use refresh::exports::portcullis::auth::refresh as refresh_contract;
pub(super) use settings::WithSettingsPre;
