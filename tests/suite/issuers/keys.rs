//! The key of the issuers, and tokens that it signs.

use portcullis_guest::base64url;
use rustls::SignatureScheme;
use rustls::crypto::ring::sign::any_supported_type;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;
use rustls::sign::SigningKey;
use serde_json::{Value, json};
use std::path::Path;
use std::sync::{Arc, LazyLock};

/// The modulus of the key in `providers/oidc/tests/rsa.pem`.
const MODULUS: &str = "qcN6Plkk57T78iCzRIxLnOizRIaaElkJMXSw_uL4xJMdR8w4MbzgfCc7lLP56fBsxFrenu1sqjZ985symQdZvTfCpkyHTvjTLTU0\
                       XsOHgLoDbApInIwhpI_gq7eSjZt3-4wtaqn7OAfX9mbG8VN-IDrb17M2Xy1fcjrxZd1jD8imZ7vf4FP7CtutVHBTjQbUAHxt8DIR\
                       XpMlgbTFpC6bwsS5vs_UMFMgrXd7so5G7vr_X0k_xWQILSZx2Zxdr7CwoU56ItzMKNY1Dsv-QZHW3viZJIS0zoPlkdnsYFO9bUV0\
                       IMVGh7ypjGCgHuOodqhkInTYDsPMOTwl6AQWBgC8aQ";
/// What the issuers call their key.
pub(crate) const KEY_ID: &str = "key-1";

static KEY: LazyLock<Arc<dyn SigningKey>> = LazyLock::new(|| {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../providers/oidc/tests/rsa.pem");
    let key = PrivateKeyDer::from_pem_file(file).expect("the key is there");
    any_supported_type(&key).expect("an RSA key")
});

/// The published key (RFC 7517).
pub(crate) fn key() -> Value {
    json!({"kty": "RSA", "use": "sig", "alg": "RS256", "kid": KEY_ID, "n": MODULUS, "e": "AQAB"})
}

/// The published keys.
pub(crate) fn key_set() -> Value {
    json!({"keys": [key()]})
}

/// The header of an ordinary token.
pub(crate) fn header() -> Value {
    json!({"alg": "RS256", "kid": KEY_ID, "typ": "JWT"})
}

/// Signs with RS256.
pub(crate) fn signature(message: &str) -> Vec<u8> {
    let signer = KEY
        .choose_scheme(&[SignatureScheme::RSA_PKCS1_SHA256])
        .expect("an RSA key");
    signer.sign(message.as_bytes()).expect("a signature")
}

/// What is signed: header and claims.
pub(crate) fn message(header: &Value, claims: &Value) -> String {
    let part = |value: &Value| base64url(value.to_string().as_bytes());
    format!("{}.{}", part(header), part(claims))
}

/// A token with this header, which may name another algorithm than the one that signs.
pub(crate) fn token(header: &Value, claims: &Value) -> String {
    let message = message(header, claims);
    let signature = base64url(&signature(&message));
    format!("{message}.{signature}")
}
