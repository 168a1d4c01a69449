//! The key that signs checkpoints: in a file of the home, made once.
//!
//! **Invariant:** a key that cannot be read is not replaced: the log is then without checkpoints,
//! and says so.

use super::mac::MacKey;
use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};
use portcullis_home::atomic_file::{self, Durability};
use std::fmt;
use std::io;
use std::path::Path;
use std::str::FromStr;

/// In the home, for its owner alone: the 32 bytes of an Ed25519 key (RFC 8032), in hexadecimal.
pub(super) const KEY_FILE: &str = "audit_key";

/// The Ed25519 key that signs checkpoints, and the key of the codes, which is derived from it.
pub(super) struct AuditKey {
    key: SigningKey,
    macs: MacKey,
}

impl AuditKey {
    /// The key of this home. One is made where there is no file. The caller holds the lock of the
    /// log.
    pub(super) fn load_or_make(home: &Path) -> io::Result<Self> {
        if let Some(key) = Self::load(home)? {
            return Ok(key);
        }
        let mut seed = [0; 32];
        getrandom::fill(&mut seed).map_err(io::Error::other)?;
        let text = format!("{}\n", hex::encode(seed));
        atomic_file::replace(&home.join(KEY_FILE), text.as_bytes(), Durability::Synced)?;
        Ok(Self::of(&seed))
    }

    fn of(seed: &[u8; 32]) -> Self {
        Self {
            key: SigningKey::from_bytes(seed),
            macs: MacKey::of(seed),
        }
    }

    /// The key of this home. Returns `None` if there is no file.
    pub(super) fn load(home: &Path) -> io::Result<Option<Self>> {
        let text = match atomic_file::read(&home.join(KEY_FILE)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            read => read?,
        };
        let mut seed = [0; 32];
        let broken = |_| {
            io::Error::new(
                io::ErrorKind::InvalidData,
                format!("{KEY_FILE} is not 64 hexadecimal digits"),
            )
        };
        hex::decode_to_slice(text.trim_ascii(), &mut seed).map_err(broken)?;

        Ok(Some(Self::of(&seed)))
    }

    pub(super) fn macs(&self) -> &MacKey {
        &self.macs
    }

    pub(super) fn public(&self) -> PublicKey {
        PublicKey {
            key: self.key.verifying_key(),
        }
    }

    /// The signature in hexadecimal.
    pub(super) fn sign(&self, message: &str) -> String {
        hex::encode(self.key.sign(message.as_bytes()).to_bytes())
    }
}

/// The public part of the key that signs checkpoints: 64 hexadecimal digits as text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PublicKey {
    key: VerifyingKey,
}

impl PublicKey {
    /// Returns whether this key made the signature, given in hexadecimal.
    pub(super) fn has_signed(&self, message: &str, signature: &str) -> bool {
        let mut bytes = [0; 64];
        hex::decode_to_slice(signature, &mut bytes).is_ok()
            && self
                .key
                .verify_strict(message.as_bytes(), &Signature::from_bytes(&bytes))
                .is_ok()
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.key.to_bytes()))
    }
}

/// The text is no Ed25519 public key.
#[derive(Debug, thiserror::Error)]
#[error("a public key is 64 hexadecimal digits, as `portcullis audit key` prints it")]
pub struct BadPublicKey;

impl FromStr for PublicKey {
    type Err = BadPublicKey;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut bytes = [0; 32];
        hex::decode_to_slice(text.trim(), &mut bytes).map_err(|_| BadPublicKey)?;
        let key = VerifyingKey::from_bytes(&bytes).map_err(|_| BadPublicKey)?;
        Ok(Self { key })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn key_is_made_once_and_a_broken_one_is_kept() {
        let home = tempfile::tempdir().unwrap();
        assert!(AuditKey::load(home.path()).unwrap().is_none());
        let made = AuditKey::load_or_make(home.path()).unwrap();
        let again = AuditKey::load_or_make(home.path()).unwrap();
        let public = again.public();
        assert_eq!(public, made.public());
        assert_eq!(public.to_string().parse::<PublicKey>().unwrap(), public);
        let signature = made.sign("message");
        assert!(
            public.has_signed("message", &signature) && !public.has_signed("other", &signature)
        );

        let path = home.path().join(KEY_FILE);
        assert_eq!(
            std::fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );
        std::fs::write(&path, "broken").unwrap();
        assert!(AuditKey::load_or_make(home.path()).is_err());
        assert_eq!(std::fs::read(&path).unwrap(), b"broken");
    }
}
