//! Native code with the facts of its component: one unit of bytes, which the compiler's process
//! writes and the cache keeps.

use super::survey::Facts;
use sha2::{Digest, Sha256};
use std::ops::Range;

/// The first bytes: changes with the layout of what follows.
pub(super) const MAGIC: &[u8] = b"portcullis artifact 2\n";
const DIGEST_BYTES: usize = 32;
const LENGTH_BYTES: usize = 8;
/// Name of an artifact on its way from the compiler's process, which has none yet.
pub(super) const UNNAMED: &str = "";

/// Why bytes are no artifact.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum BadArtifact {
    #[error("it is not an artifact of this version")]
    OtherFormat,
    #[error("it is damaged, or it was made for another component")]
    Damaged,
}

/// What is loaded of a component.
#[derive(Debug)]
pub(super) struct Artifact {
    pub(super) facts: Facts,
    bytes: Vec<u8>,
    code: Range<usize>,
    /// The SHA-256 digest of everything after the seal.
    content_digest: [u8; DIGEST_BYTES],
}

impl Artifact {
    /// Puts facts and code into one: magic, seal, length of the facts, facts as JSON, code. It is
    /// sealed with no name, until [`seal_as`](Self::seal_as).
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

        let content_digest = Sha256::digest(&bytes[MAGIC.len() + DIGEST_BYTES..]).into();
        let code = start..bytes.len();
        let mut artifact = Self {
            facts,
            bytes,
            code,
            content_digest,
        };
        artifact.seal_as(UNNAMED);
        artifact
    }

    /// Checks the seal, which must be of this name, and takes the bytes apart.
    ///
    /// # Errors
    /// They are damaged, sealed with another name, or no artifact.
    pub(super) fn read(bytes: Vec<u8>, name: &str) -> Result<Self, BadArtifact> {
        let rest = bytes.strip_prefix(MAGIC).ok_or(BadArtifact::OtherFormat)?;
        let (found, content) = rest
            .split_at_checked(DIGEST_BYTES)
            .ok_or(BadArtifact::Damaged)?;
        let content_digest: [u8; DIGEST_BYTES] = Sha256::digest(content).into();
        if found != seal(&content_digest, name) {
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
        Ok(Self {
            facts,
            bytes,
            code,
            content_digest,
        })
    }

    /// Seals it anew, with the name under which it is kept: bytes that are moved to another name
    /// are not accepted there.
    pub(super) fn seal_as(&mut self, name: &str) {
        let seal = seal(&self.content_digest, name);
        self.bytes[MAGIC.len()..MAGIC.len() + DIGEST_BYTES].copy_from_slice(&seal);
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

/// Digest of the content and of the name that it is kept under. A digest of the content alone would
/// be right for every component whose file holds these bytes.
fn seal(content_digest: &[u8; DIGEST_BYTES], name: &str) -> [u8; DIGEST_BYTES] {
    let mut hasher = Sha256::new();
    hasher.update(content_digest);
    hasher.update(name);
    hasher.finalize().into()
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
        let read = Artifact::read(artifact.bytes().to_vec(), UNNAMED).unwrap();
        assert_eq!(
            (read.facts, read.bytes[read.code].to_vec()),
            (facts, b"native code".to_vec())
        );

        for index in 0..artifact.bytes().len() {
            let mut damaged = artifact.bytes().to_vec();
            damaged[index] ^= 1;
            assert!(Artifact::read(damaged, UNNAMED).is_err(), "byte {index}");
            assert!(
                Artifact::read(artifact.bytes()[..index].to_vec(), UNNAMED).is_err(),
                "cut at {index}"
            );
        }
        let mut longer = artifact.bytes().to_vec();
        longer.push(0);
        assert_eq!(
            Artifact::read(longer, UNNAMED).unwrap_err(),
            BadArtifact::Damaged
        );
    }

    #[test]
    fn artifact_is_read_by_the_name_that_it_was_sealed_with_alone() {
        let mut artifact = Artifact::new(Facts::default(), b"native code");
        artifact.seal_as("a");
        let read = |name| Artifact::read(artifact.bytes().to_vec(), name).map(drop);
        assert_eq!(read("a"), Ok(()));
        assert_eq!(read("b"), Err(BadArtifact::Damaged));
        assert_eq!(read(UNNAMED), Err(BadArtifact::Damaged));
    }
}
