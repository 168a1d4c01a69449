use crate::claims::{Claims, Rules};
use crate::{Documents, TokenError};
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};
use serde::{Deserialize, Serialize};
use std::collections::HashSet;

/// The published keys that we can use.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct KeySet(Vec<Jwk>);

impl KeySet {
    /// Reads a key set. A key of another kind, or for another use, is left out.
    ///
    /// # Errors
    /// It is no key set.
    pub fn read(text: &[u8]) -> Result<Self, String> {
        #[derive(Deserialize)]
        struct Published {
            keys: Vec<serde_json::Value>,
        }
        let published: Published =
            serde_json::from_slice(text).map_err(|error| format!("no key set: {error}"))?;
        let known = published.keys.into_iter().filter_map(|key| serde_json::from_value::<Jwk>(key).ok());
        let is_for_signatures =
            |key: &Jwk| !matches!(key.common.public_key_use, Some(PublicKeyUse::Encryption));
        let usable = |key: &Jwk| is_for_signatures(key) && algorithm_of(key).is_some();
        // Certificates make a set too large to keep, and say nothing that we ask.
        let plain = |mut key: Jwk| {
            key.common.x509_chain = None;
            key
        };
        Ok(Self(known.filter(usable).map(plain).collect()))
    }

    /// The key that a token names. One that names none may mean the only key that there is of its kind.
    fn find(&self, kid: Option<&str>, algorithm: Algorithm) -> Option<&Jwk> {
        let mut fitting = self.0.iter().filter(|key| {
            algorithm_of(key) == Some(algorithm)
                && kid.is_none_or(|kid| key.common.key_id.as_deref() == Some(kid))
        });
        let key = fitting.next();
        if kid.is_none() && fitting.next().is_some() { None } else { key }
    }
}

/// One algorithm a key, so that a token cannot choose another.
fn algorithm_of(key: &Jwk) -> Option<Algorithm> {
    let algorithm = match &key.algorithm {
        AlgorithmParameters::RSA(_) => Algorithm::RS256,
        AlgorithmParameters::EllipticCurve(curve) if curve.curve == EllipticCurve::P256 => Algorithm::ES256,
        AlgorithmParameters::OctetKeyPair(pair) if pair.curve == EllipticCurve::Ed25519 => Algorithm::EdDSA,
        _ => return None,
    };
    let named = key.common.key_algorithm.map(|named| named.to_string());
    named.is_none_or(|named| named == format!("{algorithm:?}")).then_some(algorithm)
}

/// Where an issuer's keys are.
#[derive(Clone, Debug)]
pub enum KeySource {
    /// At this address.
    Url(String),
    /// In the configuration.
    Inline(KeySet),
}

impl KeySource {
    /// Checks a token: its signature first, then what it claims. A key that is not known is looked for once more at
    /// the issuer, who may have a new one.
    ///
    /// # Errors
    /// It is not believed.
    pub fn check(
        &self,
        documents: &Documents<'_>,
        token: &str,
        rules: &Rules<'_>,
    ) -> Result<Claims, TokenError> {
        let header = decode_header(token).map_err(|error| TokenError::invalid(&error))?;
        if !matches!(header.alg, Algorithm::RS256 | Algorithm::ES256 | Algorithm::EdDSA) {
            return Err(TokenError::Invalid(format!("algorithm {:?} is not accepted", header.alg)));
        }
        let key = self.key(documents, header.kid.as_deref(), header.alg)?;
        let key = DecodingKey::from_jwk(&key).map_err(|error| TokenError::invalid(&error))?;
        // The signature here; the claims by our own clock and rules, below.
        let mut signature = Validation::new(header.alg);
        signature.validate_exp = false;
        signature.validate_aud = false;
        signature.required_spec_claims = HashSet::new();
        let claims = decode(token, &key, &signature).map_err(|error| TokenError::invalid(&error))?.claims;
        rules.check(Claims(claims), documents.now)
    }

    fn key(
        &self,
        documents: &Documents<'_>,
        kid: Option<&str>,
        algorithm: Algorithm,
    ) -> Result<Jwk, TokenError> {
        let unknown = || TokenError::Invalid("signed by a key that the issuer does not publish".to_owned());
        let url = match self {
            Self::Inline(keys) => return keys.find(kid, algorithm).cloned().ok_or_else(unknown),
            Self::Url(url) => url,
        };
        if let Some(key) = documents.get(url, KeySet::read)?.find(kid, algorithm) {
            return Ok(key.clone());
        }
        let fresh = documents.refresh(url, KeySet::read)?;
        fresh.and_then(|keys| keys.find(kid, algorithm).cloned()).ok_or_else(unknown)
    }
}
