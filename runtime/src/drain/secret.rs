use crate::auth::{
    BearerToken, BoxFuture, CallFault, Claims, Scope, SecretDigest, TokenProvider, TokenVerdict,
};
use std::collections::BTreeMap;
use std::time::Instant;

/// The name under which the drain secret's provider is registered.
pub const DRAIN_PROVIDER: &str = "drain-secret";
/// Principal of a caller with the drain secret.
pub const DRAIN_PRINCIPAL: &str = "drain-control";

const MIN_DISTINCT: usize = 16;
const MIN_BITS: f64 = 128.0;
/// `openssl rand -hex 32` prints 64 digits. 24 % of its values lack at least one of the sixteen digits.
const HEX_DIGITS: usize = 64;
const MIN_DISTINCT_HEX: usize = 10;

/// A drain secret that passed the strength gate. Only its digest is kept.
#[derive(Clone, Debug)]
pub struct DrainSecret(SecretDigest);

/// Why a secret is refused. The secret itself is in no message.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum WeakSecret {
    /// Fewer characters than `drain_auth.min_secret_chars`.
    #[error("it has {chars} characters and needs {min}: make one with `portcullis secret generate`")]
    TooShort {
        /// How many it has.
        chars: usize,
        /// How many it needs.
        min: usize,
    },
    /// Too few different characters.
    #[error("it has only {distinct} distinct characters and needs {min}")]
    FewDistinct {
        /// How many it has.
        distinct: usize,
        /// How many it needs.
        min: usize,
    },
    /// Too little Shannon entropy over its characters.
    #[error("it has {bits:.0} bits of entropy and needs {MIN_BITS}")]
    LowEntropy {
        /// How many it has.
        bits: f64,
    },
    /// One block is repeated.
    #[error("it repeats a block of {0} characters")]
    Repeats(usize),
    /// Characters that follow from one another, like `0123` or `aceg`.
    #[error("it runs along a sequence")]
    Sequence,
}

impl DrainSecret {
    /// The strength gate: at least `min_chars` characters, 16 of them distinct, 128 bits of Shannon entropy,
    /// no repetition and no sequence. 64 or more hex digits pass with 10 distinct ones.
    ///
    /// # Errors
    /// Why the secret is weak.
    pub fn new(secret: &str, min_chars: usize) -> Result<Self, WeakSecret> {
        let chars: Vec<char> = secret.chars().collect();
        if chars.len() < min_chars {
            return Err(WeakSecret::TooShort { chars: chars.len(), min: min_chars });
        }
        let is_hex = chars.len() >= HEX_DIGITS && chars.iter().all(char::is_ascii_hexdigit);
        let min = if is_hex { MIN_DISTINCT_HEX } else { MIN_DISTINCT };
        let counts = count(&chars);
        if counts.len() < min {
            return Err(WeakSecret::FewDistinct { distinct: counts.len(), min });
        }
        let bits = shannon_bits(&counts, chars.len());
        if bits < MIN_BITS {
            return Err(WeakSecret::LowEntropy { bits });
        }
        if let Some(period) = period(&chars) {
            return Err(WeakSecret::Repeats(period));
        }
        if is_sequence(&chars) {
            return Err(WeakSecret::Sequence);
        }
        Ok(Self(SecretDigest::of(secret.as_bytes())))
    }

    /// Returns whether the token is the secret. Compares digests in constant time, so that no length shows.
    pub fn matches(&self, token: &BearerToken) -> bool {
        self.0.matches(token.expose().as_bytes())
    }
}

/// Returns a secret that passes the strength gate: 32 random bytes as 64 hex digits.
///
/// # Errors
/// The operating system has no random numbers.
pub fn generate_secret() -> Result<String, getrandom::Error> {
    loop {
        let mut bytes = [0; HEX_DIGITS / 2];
        getrandom::fill(&mut bytes)?;
        let secret = hex::encode(bytes);
        // One value in some millions has fewer than ten distinct digits.
        if DrainSecret::new(&secret, HEX_DIGITS).is_ok() {
            return Ok(secret);
        }
    }
}

fn count(chars: &[char]) -> BTreeMap<char, usize> {
    let mut counts = BTreeMap::new();
    for &char in chars {
        *counts.entry(char).or_default() += 1;
    }
    counts
}

#[expect(clippy::cast_precision_loss, reason = "a secret is far shorter than 2^52 characters")]
fn shannon_bits(counts: &BTreeMap<char, usize>, len: usize) -> f64 {
    let len = len as f64;
    counts.values().map(|&count| -(count as f64) * (count as f64 / len).log2()).sum()
}

/// Returns the length of a block that at least half of the value repeats. In a random value, at most one character in sixteen
/// equals the one at a given distance before it.
fn period(chars: &[char]) -> Option<usize> {
    (1..=chars.len() / 2).find(|&period| {
        let pairs = chars.iter().zip(&chars[period..]);
        pairs.filter(|(early, late)| early == late).count() * 2 >= chars.len() - period
    })
}

/// Returns whether more than half of the characters continue the step between the two before.
fn is_sequence(chars: &[char]) -> bool {
    let steps: Vec<i64> =
        chars.windows(2).map(|pair| i64::from(pair[1] as u32) - i64::from(pair[0] as u32)).collect();
    let steady = steps.windows(2).filter(|pair| pair[0] == pair[1]).count();
    steady * 2 > steps.len()
}

/// The token provider for the drain secrets. It is native and is asked before any other.
pub struct DrainSecretProvider {
    secrets: Vec<DrainSecret>,
    claims: Claims,
}

impl DrainSecretProvider {
    /// A caller with one of the secrets is [`DRAIN_PRINCIPAL`] with this scope.
    ///
    /// # Panics
    /// Never: the claims are made of a constant and of a scope that was checked.
    pub fn new(secrets: Vec<DrainSecret>, scope: &Scope) -> Self {
        let claims = Claims::new(DRAIN_PRINCIPAL.to_owned(), &[scope.as_str().to_owned()])
            .expect("a constant principal and a checked scope are within bounds");
        Self { secrets, claims }
    }
}

impl TokenProvider for DrainSecretProvider {
    fn verify_token<'a>(
        &'a self,
        token: &'a BearerToken,
        _: Instant,
    ) -> BoxFuture<'a, Result<TokenVerdict, CallFault>> {
        // All are compared, so that the time does not reveal which one matched.
        let is_match = self.secrets.iter().fold(false, |found, secret| found | secret.matches(token));
        let verdict = match is_match {
            true => TokenVerdict::Recognized(self.claims.clone()),
            false => TokenVerdict::NotRecognized,
        };
        Box::pin(std::future::ready(Ok(verdict)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn assess(secret: &str) -> Result<(), WeakSecret> {
        DrainSecret::new(secret, 43).map(drop)
    }

    #[test]
    fn generated_and_customary_secrets_pass() {
        for _ in 0..200 {
            assert_eq!(assess(&generate_secret().unwrap()), Ok(()));
        }
        // token_urlsafe(32), openssl rand -base64 32, a UUID pair, and hex that misses three digits.
        for secret in [
            "Jx3_8vTqk0ZrWm2yLhNcPd5uBfGa7sEoKi9tRb1XwQc",
            "pX7mQ2vK9sT4wE8rY1uI6oA3dF5gH0jL+zC/nB2vM4k=",
            "0f8fad5bd9cb469fa16570867728950e7c9e66794c1a4b6f93d2f5a8c0b1e3d7",
            "90817263549081726a5a4f3a2b1a09a8b7a6f5a4a3a2b1908172635498071625",
        ] {
            assert_eq!(assess(secret), Ok(()), "{secret}");
        }
    }

    #[test]
    fn weak_secrets_are_refused_for_their_weakness() {
        assert_eq!(assess(""), Err(WeakSecret::TooShort { chars: 0, min: 43 }));
        assert_eq!(assess(&"a1B2c3".repeat(7)), Err(WeakSecret::TooShort { chars: 42, min: 43 }));
        assert_eq!(assess(&"a".repeat(60)), Err(WeakSecret::FewDistinct { distinct: 1, min: 16 }));
        assert_eq!(assess(&"abcd".repeat(15)), Err(WeakSecret::FewDistinct { distinct: 4, min: 16 }));
        assert_eq!(assess(&"012345678".repeat(8)), Err(WeakSecret::FewDistinct { distinct: 9, min: 10 }));
        assert_eq!(assess(&"0123456789abcdef".repeat(3)), Err(WeakSecret::Repeats(16)));
        for padded in ["!{}", "{}!", "x{}yz"] {
            let padded = padded.replace("{}", &"Password1234567890".repeat(3));
            assert_eq!(assess(&padded), Err(WeakSecret::Repeats(18)), "{padded}");
        }
        let skewed = format!("{}bcdefghijklmnopq", "a".repeat(40));
        assert!(matches!(assess(&skewed), Err(WeakSecret::LowEntropy { .. })));
        for run in
            ["0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJ", "zyxwvutsrqponmlkjihgfedcbaZYXWVUTSRQPONMLKJ"]
        {
            assert_eq!(assess(run), Err(WeakSecret::Sequence), "{run}");
        }
    }

    #[test]
    fn length_is_counted_in_characters() {
        let secret: String = (0..43u32).map(|i| char::from_u32(0x4e00 + i * i % 997 * 7).unwrap()).collect();
        assert_eq!(assess(&secret), Ok(()));
    }

    #[test]
    fn only_the_secret_itself_matches() {
        let text = generate_secret().unwrap();
        let secret = DrainSecret::new(&text, 43).unwrap();
        let matches = |token: &str| secret.matches(&BearerToken::by_hand(token.into()));
        assert!(matches(&text));
        for wrong in [&text[1..], &format!("{text}0"), &text.to_uppercase(), "", "x"] {
            assert!(!matches(wrong), "{wrong}");
        }
        assert!(!format!("{secret:?}").contains(&text));
    }
}
