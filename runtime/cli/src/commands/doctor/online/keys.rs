//! The keys of an issuer (RFC 7517, section 5).

use super::super::Finding;
use super::CHECK;
use super::client::GrantedClient;
use portcullis_dashboard::config::ProviderConfig;
use serde_json::Value;

/// Kinds of keys with which the bundled providers check signatures.
const KINDS: [&str; 3] = ["RSA", "EC", "OKP"];

pub(super) fn check(provider: &ProviderConfig, client: &GrantedClient<'_>, url: &str) -> Finding {
    let name = &provider.name;
    let answer = match client.get(url) {
        Ok(answer) => answer,
        Err(why) => {
            return Finding::error(CHECK, format!("{name}: no keys from {url}")).because(why);
        }
    };
    let Some(keys) = answer.body["keys"]
        .as_array()
        .filter(|_| answer.status == 200)
    else {
        let why = format!("it answered {} without a list `keys`", answer.status);
        return Finding::error(CHECK, format!("{name}: no keys from {url}")).because(why);
    };

    match keys.iter().filter(|key| is_usable(key)).count() {
        0 => {
            Finding::error(CHECK, format!("{name}: {url} has no key that signs")).because(format!(
                "none of its {} keys has `kty` RSA, EC or OKP and is for signatures",
                keys.len()
            ))
        }
        count => Finding::ok(
            CHECK,
            format!("{name}: {url} has keys: {count} of {} sign", keys.len()),
        ),
    }
}

fn is_usable(key: &Value) -> bool {
    let is_of_a_kind = key["kty"]
        .as_str()
        .is_some_and(|kind| KINDS.contains(&kind));
    is_of_a_kind && key["use"].as_str().is_none_or(|usage| usage == "sig")
}
