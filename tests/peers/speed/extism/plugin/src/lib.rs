//! Compares its input, a bearer token, with the one good token: "1" if they are equal, else "0".

use extism_pdk::*;

/// Set while compiling: PEER_TOKEN=... cargo build. std has no constant-time compare.
const GOOD: &str = match option_env!("PEER_TOKEN") {
    Some(token) => token,
    None => "good-token",
};

#[plugin_fn]
pub fn verify(token: String) -> FnResult<String> {
    let (a, b) = (token.as_bytes(), GOOD.as_bytes());
    // Every byte is compared, so the time shows only the length.
    let good = a.len() == b.len() && a.iter().zip(b).fold(0, |d, (x, y)| d | (x ^ y)) == 0;
    Ok(if good { "1" } else { "0" }.into())
}
