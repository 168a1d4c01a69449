//! One published key (RFC 7517), and the check of one signature with it.

use crate::algorithm::Algorithm;
use crate::claims::text_of;
use crate::token::SignedToken;
use jsonwebtoken::{Algorithm as Library, DecodingKey, crypto};
use p521::ecdsa::signature::Verifier;
use p521::ecdsa::{Signature as P521Signature, VerifyingKey as P521Key};
use portcullis_guest::{base64url, from_base64url};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Sizes of an RSA modulus that are used, in bits: RFC 7518, section 3.3, and what the checking
/// library takes.
const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=4096;

/// What we need of a key, so that a set of them is small enough to be kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Key {
    /// A number becomes text.
    pub(crate) kid: Option<String>,
    /// The one algorithm that it is for, if it says so.
    algorithm: Option<Algorithm>,
    material: Material,
}

/// Numbers as base64url, coordinates in their full length.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Material {
    Rsa { n: String, e: String },
    P256 { x: String, y: String },
    P384 { x: String, y: String },
    P521 { x: String, y: String },
    Ed25519 { x: String },
}

impl Key {
    /// Reads a key. `None`: it is for another use, of another kind, or damaged.
    pub(crate) fn read(key: &Value) -> Option<Self> {
        let present = |name: &str| key.get(name).filter(|value| !value.is_null());
        let is_for_signatures = present("use").is_none_or(|named| named == "sig");
        let verifies = present("key_ops").is_none_or(|operations| {
            operations
                .as_array()
                .is_some_and(|operations| operations.iter().any(|one| one == "verify"))
        });
        if !is_for_signatures || !verifies {
            return None;
        }

        let algorithm = match present("alg") {
            Some(name) => Some(Algorithm::named(name.as_str()?)?),
            None => None,
        };
        Some(Self {
            kid: present("kid").and_then(text_of),
            algorithm,
            material: Material::read(key)?,
        })
    }

    /// Whether it can check signatures of this algorithm: the key's kind decides, and its own `alg`
    /// where it has one, so that a token cannot choose another.
    pub(crate) fn fits(&self, algorithm: Algorithm) -> bool {
        use Algorithm::{EdDsa, Es256, Es384, Es512, Ps256, Ps384, Ps512, Rs256, Rs384, Rs512};

        let is_of_kind = match &self.material {
            Material::Rsa { .. } => {
                matches!(algorithm, Rs256 | Rs384 | Rs512 | Ps256 | Ps384 | Ps512)
            }
            Material::P256 { .. } => algorithm == Es256,
            Material::P384 { .. } => algorithm == Es384,
            Material::P521 { .. } => algorithm == Es512,
            Material::Ed25519 { .. } => algorithm == EdDsa,
        };
        is_of_kind && self.algorithm.is_none_or(|own| own == algorithm)
    }

    /// Whether it signed the token.
    pub(crate) fn signed(&self, token: &SignedToken<'_>) -> bool {
        let key = match &self.material {
            Material::Rsa { n, e } => DecodingKey::from_rsa_components(n, e),
            Material::P256 { x, y } | Material::P384 { x, y } => {
                DecodingKey::from_ec_components(x, y)
            }
            Material::Ed25519 { x } => DecodingKey::from_ed_components(x),
            Material::P521 { x, y } => return signed_with_p521(x, y, token).is_some(),
        };
        let (Ok(key), Some(algorithm)) = (key, of_library(token.algorithm)) else {
            return false;
        };
        crypto::verify(token.signature, token.message.as_bytes(), &key, algorithm).unwrap_or(false)
    }
}

impl Material {
    fn read(key: &Value) -> Option<Self> {
        let text = |name: &str| key.get(name)?.as_str();
        let curve = text("crv").unwrap_or_default();

        match (text("kty")?, curve) {
            ("RSA", _) => {
                let n = number(text("n")?).filter(|n| RSA_BITS.contains(&bits(n)))?;
                let e = number(text("e")?)?;
                Some(Self::Rsa {
                    n: base64url(&n),
                    e: base64url(&e),
                })
            }
            ("EC", "P-256") => Some(Self::P256 {
                x: coordinate(text("x")?, 32)?,
                y: coordinate(text("y")?, 32)?,
            }),
            ("EC", "P-384") => Some(Self::P384 {
                x: coordinate(text("x")?, 48)?,
                y: coordinate(text("y")?, 48)?,
            }),
            ("EC", "P-521") => Some(Self::P521 {
                x: coordinate(text("x")?, 66)?,
                y: coordinate(text("y")?, 66)?,
            }),
            // The library takes the first 32 bytes and would panic if there are fewer.
            ("OKP", "Ed25519") => {
                let x = bytes(text("x")?).filter(|x| x.len() == 32)?;
                Some(Self::Ed25519 { x: base64url(&x) })
            }
            _ => None,
        }
    }
}

/// Base64url, also with the padding or the alphabet of plain base64, as some issuers write it.
fn bytes(text: &str) -> Option<Vec<u8>> {
    from_base64url(
        &text
            .trim_end_matches('=')
            .replace('+', "-")
            .replace('/', "_"),
    )
}

/// An unsigned number without leading zeros.
fn number(text: &str) -> Option<Vec<u8>> {
    let mut bytes = bytes(text)?;
    let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
    bytes.drain(..zeros);
    (!bytes.is_empty()).then_some(bytes)
}

fn bits(number: &[u8]) -> usize {
    let unused = number.first().map_or(0, |byte| byte.leading_zeros());
    (number.len() * 8).saturating_sub(unused as usize)
}

/// A coordinate in its full length (RFC 7518, section 6.2.1.2); some issuers leave leading zeros
/// out.
fn coordinate(text: &str, length: usize) -> Option<String> {
    let number = number(text)?;
    let missing = length.checked_sub(number.len())?;
    let mut padded = vec![0; missing];
    padded.extend(number);
    Some(base64url(&padded))
}

/// `None` for ES512, which the library does not have.
fn of_library(algorithm: Algorithm) -> Option<Library> {
    Some(match algorithm {
        Algorithm::Rs256 => Library::RS256,
        Algorithm::Rs384 => Library::RS384,
        Algorithm::Rs512 => Library::RS512,
        Algorithm::Ps256 => Library::PS256,
        Algorithm::Ps384 => Library::PS384,
        Algorithm::Ps512 => Library::PS512,
        Algorithm::Es256 => Library::ES256,
        Algorithm::Es384 => Library::ES384,
        Algorithm::EdDsa => Library::EdDSA,
        Algorithm::Es512 => return None,
    })
}

fn signed_with_p521(x: &str, y: &str, token: &SignedToken<'_>) -> Option<()> {
    // An uncompressed point (SEC 1, section 2.3.3).
    let mut point = vec![4];
    point.extend(from_base64url(x)?);
    point.extend(from_base64url(y)?);
    let key = P521Key::from_sec1_bytes(&point).ok()?;
    let signature = P521Signature::from_slice(&from_base64url(token.signature)?).ok()?;
    key.verify(token.message.as_bytes(), &signature).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn ed25519(change: impl FnOnce(&mut Value)) -> Option<Key> {
        let mut key = json!({"kty": "OKP", "crv": "Ed25519", "x": base64url(&[7; 32])});
        change(&mut key);
        Key::read(&key)
    }

    #[test]
    fn only_what_says_that_it_is_for_signatures_or_says_nothing_is_read() {
        for (name, value, is_read) in [
            ("use", json!("sig"), true),
            ("use", json!(null), true),
            ("use", json!("enc"), false),
            ("use", json!("SIG"), false),
            ("use", json!(["sig"]), false),
            ("key_ops", json!(["verify"]), true),
            ("key_ops", json!(["sign", "verify"]), true),
            ("key_ops", json!(["encrypt"]), false),
            ("key_ops", json!([]), false),
            ("key_ops", json!("verify"), false),
            ("alg", json!("EdDSA"), true),
            ("alg", json!("Ed25519"), true),
            ("alg", json!("HS256"), false),
            ("alg", json!("none"), false),
            ("alg", json!(1), false),
            ("kid", json!({"deep": [1]}), true),
            ("x5c", json!(7), true),
            ("kty", json!("oct"), false),
            ("kty", json!(null), false),
            ("crv", json!("Ed448"), false),
            ("x", json!(base64url(&[7; 31])), false),
            ("x", json!(base64url(&[7; 33])), false),
            ("x", json!(""), false),
            ("x", json!(7), false),
        ] {
            let read = ed25519(|key| key[name] = value.clone());
            assert_eq!(read.is_some(), is_read, "{name} = {value}");
        }
        for nonsense in [json!(null), json!([]), json!("key"), json!(1), json!({})] {
            assert_eq!(Key::read(&nonsense), None, "{nonsense}");
        }
    }

    #[test]
    fn key_decides_which_algorithms_a_token_may_have() {
        let modulus = base64url(&[0xff; 256]);
        let rsa = |more: Value| {
            let mut key = json!({"kty": "RSA", "n": modulus, "e": "AQAB"});
            key.as_object_mut()
                .unwrap()
                .extend(more.as_object().unwrap().clone());
            Key::read(&key).unwrap()
        };
        assert!(rsa(json!({})).fits(Algorithm::Rs512) && rsa(json!({})).fits(Algorithm::Ps256));
        assert!(!rsa(json!({})).fits(Algorithm::Es256));
        assert!(!rsa(json!({"alg": "RS256"})).fits(Algorithm::Rs512));
        assert_eq!(
            Key::read(&json!({"kty": "RSA", "n": base64url(&[0xff; 128]), "e": "AQAB"})),
            None
        );
        assert_eq!(
            Key::read(&json!({"kty": "RSA", "n": "", "e": "AQAB"})),
            None
        );
        assert_eq!(
            Key::read(&json!({"kty": "RSA", "n": modulus, "e": "AAAA"})),
            None
        );
    }

    #[test]
    fn coordinates_get_their_full_length() {
        assert_eq!(coordinate("AQ", 4), Some(base64url(&[0, 0, 0, 1])));
        assert_eq!(coordinate("AQ==", 4), Some(base64url(&[0, 0, 0, 1])));
        assert_eq!(
            coordinate(&base64url(&[0, 1, 2]), 2),
            Some(base64url(&[1, 2]))
        );
        assert_eq!(coordinate(&base64url(&[1, 2, 3]), 2), None);
    }
}
