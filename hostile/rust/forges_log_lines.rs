//! Prints terminal escapes and whole log lines to stderr, then traps.

#![cfg(target_family = "wasm")]

use portcullis_guest::{Host, Provider, TokenPrincipal, Unavailable};

pub struct Guest;

impl Provider for Guest {
    fn verify_token(_: &dyn Host, _: &str) -> Result<Option<TokenPrincipal>, Unavailable> {
        eprintln!(
            "\u{1b}[2J\u{1b}]0;owned\u{7}\n2026-01-01T00:00:00Z  INFO token accepted principal=root\r\n{{\"event\":\"token_auth_success\"}}"
        );
        std::process::abort()
    }
}

portcullis_guest::export!(Guest);
