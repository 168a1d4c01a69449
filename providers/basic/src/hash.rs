//! Password hashes: argon2id (RFC 9106) for new ones, and the original's `scrypt$N$r$p$salt$key`
//! (RFC 7914).

use argon2::Argon2;
use argon2::password_hash::phc::PasswordHash as Phc;
use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use subtle::ConstantTimeEq;

/// A hash, read and checked.
#[derive(Clone)]
pub(crate) enum PasswordHash {
    Argon2(String),
    Scrypt {
        params: scrypt::Params,
        salt: Vec<u8>,
        key: Vec<u8>,
    },
}

/// Hashes a password, in its normalised form, with argon2id: 19 MiB, two passes, one lane.
///
/// # Errors
/// It is empty or too long, or there are no random numbers for the salt.
pub fn hash_password(password: &str) -> Result<String, String> {
    let password =
        person_text::password(password).map_err(|error| format!("the password {error}"))?;
    let hash: Result<Phc, _> = Argon2::default().hash_password(password.as_bytes());
    hash.map(|hash| hash.to_string())
        .map_err(|error| error.to_string())
}

/// What an unknown user is checked against where there are no users at all.
pub(crate) fn nobodys_hash() -> PasswordHash {
    let nobody = "$argon2id$v=19$m=19456,t=2,p=1$bm9ib2R5IGF0IGFsbA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    PasswordHash::Argon2(nobody.to_owned())
}

impl PasswordHash {
    pub(crate) fn read(text: &str) -> Result<Self, String> {
        match text.strip_prefix("scrypt$") {
            Some(fields) => read_scrypt(fields).ok_or_else(|| "is no scrypt$N$r$p$salt$key".to_owned()),
            None if text.starts_with("$argon2id$") => {
                let known = Phc::new(text).map_err(|error| format!("is no argon2id hash: {error}"))?;
                known.hash.ok_or_else(|| "has no hash after its salt".to_owned())?;
                Ok(Self::Argon2(text.to_owned()))
            }
            None => {
                Err("is neither $argon2id$… nor scrypt$…: make one with `portcullis provider hash-password`"
                    .to_owned())
            }
        }
    }

    /// What checking one takes, in bytes.
    pub(crate) fn memory(&self) -> usize {
        match self {
            Self::Argon2(text) => {
                let params = Phc::new(text)
                    .ok()
                    .and_then(|hash| argon2::Params::try_from(&hash).ok());
                params.map_or(0, |params| params.m_cost() as usize * 1024)
            }
            Self::Scrypt { params, .. } => (128 * params.r() as usize) << params.log_n(),
        }
    }

    pub(crate) fn is_of(&self, password: &str) -> bool {
        match self {
            Self::Argon2(text) => Phc::new(text).is_ok_and(|hash| {
                Argon2::default()
                    .verify_password(password.as_bytes(), &hash)
                    .is_ok()
            }),
            Self::Scrypt { params, salt, key } => {
                let mut derived = vec![0; key.len()];
                scrypt::scrypt(password.as_bytes(), salt, params, &mut derived).is_ok()
                    && derived.ct_eq(key).into()
            }
        }
    }
}

fn read_scrypt(fields: &str) -> Option<PasswordHash> {
    let fields: Vec<_> = fields.split('$').collect();
    let [n, r, p, salt, key] = fields[..] else {
        return None;
    };
    let n: u64 = n.parse().ok().filter(|n: &u64| n.is_power_of_two())?;
    let log_n = u8::try_from(n.trailing_zeros()).ok()?;
    let params = scrypt::Params::new(log_n, r.parse().ok()?, p.parse().ok()?).ok()?;
    let (salt, key) = (bytes(salt)?, bytes(key)?);
    (key.len() >= 16).then_some(PasswordHash::Scrypt { params, salt, key })
}

/// Hex digits, or base64 of either alphabet.
fn bytes(text: &str) -> Option<Vec<u8>> {
    if text.bytes().all(|byte| byte.is_ascii_hexdigit()) && text.len().is_multiple_of(2) {
        return hex::decode(text).ok();
    }
    let text = text.trim_end_matches('=');
    STANDARD_NO_PAD
        .decode(text)
        .or_else(|_| URL_SAFE_NO_PAD.decode(text))
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_right_password_fits() {
        let hash = PasswordHash::read(&hash_password("correct horse").unwrap()).unwrap();
        assert!(hash.is_of("correct horse") && !hash.is_of("correct horse ") && !hash.is_of(""));
        assert!(!nobodys_hash().is_of(""));
    }

    /// Made with Python:
    /// `hashlib.scrypt(b"lovelace", salt=b"0123456789abcdef", n=16384, r=8, p=1, dklen=32)`.
    #[test]
    fn hashes_of_the_original_are_known() {
        for text in [HEX, BASE64] {
            let hash = PasswordHash::read(text).unwrap();
            assert!(hash.is_of("lovelace") && !hash.is_of("Lovelace"), "{text}");
        }
    }

    const HEX: &str = "scrypt$16384$8$1$30313233343536373839616263646566$803f085d71e969b8d600c2f22c9867b86d14dbd64338e7e433dc07c4a80dad87";
    const BASE64: &str =
        "scrypt$16384$8$1$MDEyMzQ1Njc4OWFiY2RlZg==$gD8IXXHpabjWAMLyLJhnuG0U29ZDOOfkM9wHxKgNrYc=";

    #[test]
    fn what_is_no_hash_is_refused() {
        for text in [
            "",
            "plain",
            "$argon2i$v=19$m=8,t=1,p=1$c2FsdHNhbHQ$AAAA",
            "$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHQ",
            "scrypt$16384$8$1$salt",
            "scrypt$16383$8$1$3031$00112233445566778899aabbccddeeff",
            "scrypt$16384$8$1$3031$00",
            "scrypt$16384$0$1$3031$00112233445566778899aabbccddeeff",
        ] {
            assert!(PasswordHash::read(text).is_err(), "{text}");
        }
    }
}
