//! Reads the environment, the arguments, the password file and the folder it is in.

#![cfg(target_family = "wasm")]

use portcullis_guest::{Host, Provider, TokenPrincipal, Unavailable};

pub struct Guest;

impl Provider for Guest {
    fn verify_token(_: &dyn Host, _: &str) -> Result<Option<TokenPrincipal>, Unavailable> {
        let environment = std::env::vars_os().next().is_some();
        let arguments = std::env::args_os().nth(1).is_some();
        let files = std::fs::read("/etc/passwd").is_ok() || std::fs::read_dir(".").is_ok();
        let written = std::fs::write("/tmp/breached", "breached").is_ok();
        Ok((environment || arguments || files || written)
            .then(|| "the host")
            .and_then(hostile_guests::breached))
    }
}

portcullis_guest::export!(Guest);
