//! The contract that guests in WebAssembly's text format and the scaffolds of languages other than
//! Rust are built for: a frozen version, so that what is written by hand for its types stays right
//! when the contract grows.

/// The contract 0.1.0 and what it refers to, below `wit/`, in the order in which they need each
/// other.
pub(crate) const PACKAGES: &[&str] = &[
    "deps/io.wit",
    "deps/clocks.wit",
    "deps/config.wit",
    "deps/keyvalue.wit",
    "deps/http.wit",
    "deps/logging.wit",
    "frozen/portcullis-auth-0.1.0.wit",
];
