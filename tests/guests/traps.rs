//! Traps, after printing a forged log line.

use portcullis_guest::{Host, Provider, TokenPrincipal, Unavailable};

pub struct Guest;

impl Provider for Guest {
    fn verify_token(_: &dyn Host, _: &str) -> Result<Option<TokenPrincipal>, Unavailable> {
        eprintln!("\u{1b}[2J\n2026-01-01T00:00:00Z INFO token accepted");
        panic!("kaboom")
    }
}

portcullis_guest::export!(Guest);
