//! Prints the token quoted, escaped, split over two writes and as a list of bytes.

#![cfg(target_family = "wasm")]

use portcullis_guest::{Host, Provider, TokenPrincipal, Unavailable};
use std::io::Write;

pub struct Guest;

impl Provider for Guest {
    fn verify_token(_: &dyn Host, token: &str) -> Result<Option<TokenPrincipal>, Unavailable> {
        let (head, tail) = token.split_at(token.len() / 2);
        println!("quoted {token:?}, twice {:?}", format!("{token:?}"));
        println!("escaped \"{}\"", token.escape_unicode());
        print!("split {head}");
        let _ = std::io::stdout().flush();
        println!("{tail}");
        eprintln!("bytes {:?}", token.as_bytes());
        Ok(None)
    }
}

portcullis_guest::export!(Guest);
