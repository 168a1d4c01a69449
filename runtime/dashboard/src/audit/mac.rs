//! What a process without the key cannot make: a code (MAC) over a line, and over what the home
//! says of the end of a log.
//!
//! The hash of a line has no secret, so that anyone who can write the file can append a line that
//! fits. Its code tells such a line from one of a writer, before a checkpoint signs it.

use super::chain::{Hash, Point};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// Bytes of a code: the first half of an HMAC-SHA256 (RFC 2104, section 5).
pub(super) const MAC_BYTES: usize = 16;

/// A code over a line or a head.
pub(super) type Code = [u8; MAC_BYTES];

/// What each use of the secret begins with, so that no code of one use is one of another.
const LINES: &[u8] = b"portcullis audit line mac 1";
const HEADS: &[u8] = b"portcullis audit head mac 1";

/// Makes and checks the codes of a home.
#[derive(Clone)]
pub(super) struct MacKey {
    lines: Hmac<Sha256>,
    heads: Hmac<Sha256>,
}

impl MacKey {
    /// Derives the key from the secret that signs the checkpoints.
    pub(super) fn of(secret: &[u8; 32]) -> Self {
        let derived = |usage: &[u8]| keyed(&whole(keyed(secret).chain_update(usage)));
        Self {
            lines: derived(LINES),
            heads: derived(HEADS),
        }
    }

    /// The code of a line after one with this hash.
    pub(super) fn of_line(&self, previous: &Hash, content: &[u8]) -> Code {
        code(self.over_line(previous, content))
    }

    /// Returns whether the line has the right code.
    pub(super) fn has_written(&self, previous: &Hash, content: &[u8], code: &Code) -> bool {
        self.over_line(previous, content)
            .verify_truncated_left(code)
            .is_ok()
    }

    /// The code of the end of a log.
    pub(super) fn of_head(&self, log: &str, at: Point) -> Code {
        code(self.over_head(log, at))
    }

    /// Returns whether the end of the log has the right code.
    pub(super) fn has_noted(&self, log: &str, at: Point, code: &Code) -> bool {
        self.over_head(log, at).verify_truncated_left(code).is_ok()
    }

    fn over_line(&self, previous: &Hash, content: &[u8]) -> Hmac<Sha256> {
        self.lines
            .clone()
            .chain_update(previous)
            .chain_update(content)
    }

    fn over_head(&self, log: &str, at: Point) -> Hmac<Sha256> {
        let text = format!("{log}\n{}\n{}\n", at.seq, hex::encode(at.chain));
        self.heads.clone().chain_update(text.as_bytes())
    }
}

fn keyed(secret: &[u8]) -> Hmac<Sha256> {
    Hmac::new_from_slice(secret).expect("HMAC takes keys of every length")
}

fn whole(mac: Hmac<Sha256>) -> [u8; 32] {
    mac.finalize().into_bytes().into()
}

fn code(mac: Hmac<Sha256>) -> Code {
    let mut code = [0; MAC_BYTES];
    code.copy_from_slice(&whole(mac)[..MAC_BYTES]);
    code
}

#[cfg(test)]
mod tests {
    use super::super::chain::GENESIS;
    use super::*;

    #[test]
    fn code_is_of_one_key_one_place_and_one_text() {
        let key = MacKey::of(&[7; 32]);
        let code = key.of_line(&GENESIS, b"line");
        assert!(key.has_written(&GENESIS, b"line", &code));
        assert!(!key.has_written(&[1; 32], b"line", &code));
        assert!(!key.has_written(&GENESIS, b"lines", &code));
        assert!(!MacKey::of(&[8; 32]).has_written(&GENESIS, b"line", &code));

        let at = Point {
            seq: 3,
            chain: GENESIS,
        };
        let code = key.of_head("a.log", at);
        assert!(key.has_noted("a.log", at, &code) && !key.has_noted("b.log", at, &code));
        assert!(!key.has_noted("a.log", Point { seq: 2, ..at }, &code));
    }

    #[test]
    fn code_is_as_documented() {
        let derived = whole(keyed(&[7; 32]).chain_update(b"portcullis audit line mac 1"));
        let text = [&GENESIS[..], b"line"].concat();
        let mac = whole(keyed(&derived).chain_update(&text));
        assert_eq!(MacKey::of(&[7; 32]).of_line(&GENESIS, b"line"), mac[..16]);
    }
}
