//! What `wasip2` does not bring: the key-value store and the log.

wit_bindgen::generate!({
    inline: "package test:hostile;
             world imports {
                 import wasi:keyvalue/store@0.2.0-draft;
                 import wasi:keyvalue/atomics@0.2.0-draft;
                 import wasi:logging/logging@0.1.0-draft;
             }",
    path: "../wit",
    world: "test:hostile/imports",
    generate_all,
});
