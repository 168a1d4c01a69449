use sha2::{Digest, Sha256};
use std::fmt;
use subtle::ConstantTimeEq;

/// The SHA-256 digest of a secret of the host. Comparing digests, which are all of one size, keeps
/// the length out of the time as well; the comparison itself is constant-time.
#[derive(Clone)]
pub struct SecretDigest([u8; 32]);

impl SecretDigest {
    /// Makes the digest of a secret that was just read or made.
    pub fn of(secret: &[u8]) -> Self {
        Self(Sha256::digest(secret).into())
    }

    /// Returns whether this is the secret, in constant time.
    pub fn matches(&self, presented: &[u8]) -> bool {
        self.0.ct_eq(&Self::of(presented).0).into()
    }
}

impl fmt::Debug for SecretDigest {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("SecretDigest(redacted)")
    }
}
