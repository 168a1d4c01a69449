//! Native code with the facts of its component: one unit of bytes, which the compiler's process
//! writes and the cache keeps.

use super::survey::Facts;
use sha2::{Digest, Sha256};
use std::ops::Range;

/// The first bytes: changes with the layout of what follows.
const MAGIC: &[u8] = b"portcullis artifact 1\n";
const DIGEST_BYTES: usize = 32;
const LENGTH_BYTES: usize = 8;

/// Why bytes are no artifact.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum BadArtifact {
    #[error("it is not an artifact of this version")]
    OtherFormat,
    #[error("its content does not have the digest that it was written with")]
    Damaged,
}

/// What is loaded of a component.
#[derive(Debug)]
pub(super) struct Artifact {
    pub(super) facts: Facts,
    bytes: Vec<u8>,
    code: Range<usize>,
}

impl Artifact {
    /// Puts facts and code into one: magic, digest of the rest, length of the facts, facts as JSON,
    /// code.
    pub(super) fn new(facts: Facts, code: &[u8]) -> Self {
        let written = serde_json::to_vec(&facts).expect("facts are numbers and text");
        let mut bytes = Vec::with_capacity(
            MAGIC.len() + DIGEST_BYTES + LENGTH_BYTES + written.len() + code.len(),
        );
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&[0; DIGEST_BYTES]);
        bytes.extend_from_slice(&(written.len() as u64).to_le_bytes());
        bytes.extend_from_slice(&written);
        let start = bytes.len();
        bytes.extend_from_slice(code);

        let digest = Sha256::digest(&bytes[MAGIC.len() + DIGEST_BYTES..]);
        bytes[MAGIC.len()..MAGIC.len() + DIGEST_BYTES].copy_from_slice(&digest);
        let code = start..bytes.len();
        Self { facts, bytes, code }
    }

    /// Checks the digest and takes the bytes apart.
    ///
    /// # Errors
    /// They are damaged, or no artifact.
    pub(super) fn read(bytes: Vec<u8>) -> Result<Self, BadArtifact> {
        let rest = bytes.strip_prefix(MAGIC).ok_or(BadArtifact::OtherFormat)?;
        let (digest, content) = rest
            .split_at_checked(DIGEST_BYTES)
            .ok_or(BadArtifact::Damaged)?;
        if digest != Sha256::digest(content).as_slice() {
            return Err(BadArtifact::Damaged);
        }

        let (length, rest) = content
            .split_first_chunk::<LENGTH_BYTES>()
            .ok_or(BadArtifact::OtherFormat)?;
        let length =
            usize::try_from(u64::from_le_bytes(*length)).map_err(|_| BadArtifact::OtherFormat)?;
        let facts = rest.get(..length).ok_or(BadArtifact::OtherFormat)?;
        let facts = serde_json::from_slice(facts).map_err(|_| BadArtifact::OtherFormat)?;
        let code = bytes.len() - (rest.len() - length)..bytes.len();
        Ok(Self { facts, bytes, code })
    }

    /// All of it, as it is sent and stored.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Returns the native code.
    pub(super) fn code(&self) -> &[u8] {
        &self.bytes[self.code.clone()]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_damaged_byte_is_found() {
        let facts = Facts {
            core_instances: 3,
            imports: vec!["wasi:io/poll@0.2.0".into()],
            ..Facts::default()
        };
        let artifact = Artifact::new(facts.clone(), b"native code");
        let read = Artifact::read(artifact.bytes().to_vec()).unwrap();
        assert_eq!(
            (read.facts, read.bytes[read.code].to_vec()),
            (facts, b"native code".to_vec())
        );

        for index in 0..artifact.bytes().len() {
            let mut damaged = artifact.bytes().to_vec();
            damaged[index] ^= 1;
            assert!(Artifact::read(damaged).is_err(), "byte {index}");
            assert!(
                Artifact::read(artifact.bytes()[..index].to_vec()).is_err(),
                "cut at {index}"
            );
        }
        let mut longer = artifact.bytes().to_vec();
        longer.push(0);
        assert_eq!(Artifact::read(longer).unwrap_err(), BadArtifact::Damaged);
    }
}
