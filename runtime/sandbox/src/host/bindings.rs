//! The host's side of the WASI interfaces that have no implementation to link.

/// What a provider may be granted to keep, and what every provider may read and log.
pub(crate) mod granted {
    wasmtime::component::bindgen!({
        inline: "package portcullis:host;
                 world granted {
                     import wasi:keyvalue/store@0.2.0-draft;
                     import wasi:keyvalue/atomics@0.2.0-draft;
                     import wasi:logging/logging@0.1.0-draft;
                     import wasi:config/store@0.2.0-rc.1;
                 }",
        path: "../../wit",
        world: "portcullis:host/granted",
        imports: {
            default: async | trappable,
            "wasi:logging/logging@0.1.0-draft": trappable,
            "wasi:config/store@0.2.0-rc.1": trappable,
        },
        with: { "wasi:keyvalue/store.bucket": crate::host::keyvalue::OpenBucket },
    });
}

pub(crate) use granted::wasi::config::store as config;
pub(crate) use granted::wasi::keyvalue::{atomics, store};
pub(crate) use granted::wasi::logging::logging;
