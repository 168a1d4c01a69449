//! The strength gate: which text may be a secret of the host.
//!
//! **Invariant:** no message from here contains a character of the text that it judges.

mod known_digests;

use known_digests::is_known_digest;
use std::collections::BTreeMap;

/// Fewest characters of a key that seals or signs.
const MIN_KEY_CHARS: usize = 32;
const MIN_DISTINCT: usize = 16;
const MIN_BITS: f64 = 128.0;
/// 4 % of random texts of 32 small letters and digits have a Shannon entropy below 128 bits, and
/// hardly any are below this.
const MIN_KEY_BITS: f64 = 112.0;
/// `openssl rand -hex 32` prints 64 digits. 24 % of its values lack at least one of the sixteen
/// digits.
const HEX_DIGITS: usize = 64;
const MIN_DISTINCT_HEX: usize = 10;
/// 32 random hex digits have 3.6 bits of Shannon entropy per digit on average, and hardly ever less
/// than this.
const MIN_BITS_PER_HEX_DIGIT: f64 = 3.0;

/// What a secret needs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Strength {
    min_chars: usize,
    min_distinct: usize,
    min_bits: f64,
    /// From this many hex digits on, a secret of hex digits alone may lack some of the sixteen.
    hex_digits: usize,
}

/// Why a secret is refused. The secret itself is in no message.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum WeakSecret {
    /// It stands for a secret that was never filled in.
    #[error("it looks like an unexpanded variable or a placeholder, not like a secret")]
    Placeholder,
    /// It has several lines.
    #[error("it has {0} lines, and a secret has one")]
    Lines(usize),
    /// A character, counted from 1, is a space, a control character or not ASCII. No `Authorization`
    /// header can carry it (RFC 6750, section 2.1).
    #[error("its character {0} is not visible ASCII, which is all that a header can carry")]
    Invisible(usize),
    /// It has too few characters.
    #[error("it is too short ({chars} of at least {min} characters)")]
    TooShort {
        /// How many it has.
        chars: usize,
        /// How many it needs.
        min: usize,
    },
    /// Too few different characters.
    #[error("it has too few distinct characters ({distinct} of {min})")]
    FewDistinct {
        /// How many it has.
        distinct: usize,
        /// How many it needs.
        min: usize,
    },
    /// Too little Shannon entropy over its characters.
    #[error("it has too little entropy ({bits:.0} of {min:.0} bits)")]
    LowEntropy {
        /// How many it has.
        bits: f64,
        /// How many it needs.
        min: f64,
    },
    /// One block is repeated.
    #[error("it repeats a block of {0} characters")]
    Repeats(usize),
    /// Characters that follow from one another, like `0123` or `aceg`.
    #[error("it runs along a sequence")]
    Sequence,
    /// Characters that lie side by side on a keyboard, like `qwerty` or `1qaz`.
    #[error("it runs along the keys of a keyboard")]
    KeyboardRun,
    /// The digest of nothing or of a common word, such as a script makes of an unset variable.
    #[error("it is a digest of nothing or of a common word, which everyone can compute")]
    KnownDigest,
    /// It has the digits of pi or of another number that everyone knows.
    #[error("it has the digits of a number that everyone knows, such as pi")]
    KnownNumber,
    /// It is an address of something, not a secret.
    #[error("it is a URL, not a secret")]
    Url,
}

impl WeakSecret {
    /// Returns what the operator does about it, as a clause.
    pub fn advice(&self) -> &'static str {
        match self {
            Self::Lines(_) => {
                "keep one line; where two secrets are valid at once, write a list of two"
            }
            _ => "make one with `portcullis secret generate`",
        }
    }
}

impl Strength {
    /// For a key that seals or signs: at least 32 characters with 112 bits of Shannon entropy.
    pub const KEY: Self = Self {
        min_chars: MIN_KEY_CHARS,
        min_bits: MIN_KEY_BITS,
        hex_digits: MIN_KEY_CHARS,
        ..Self::drain(0)
    };

    /// For a token that callers present, such as `gateway.api_key`: at least 16 characters, 8 of
    /// them distinct, with 40 bits of Shannon entropy. It is compared whole, so each guess costs a
    /// request to the host.
    pub const TOKEN: Self = Self {
        min_chars: 16,
        min_distinct: 8,
        min_bits: 40.0,
        hex_digits: 16,
    };

    /// For the drain secret: at least `min_chars` characters with 128 bits of Shannon entropy.
    pub const fn drain(min_chars: usize) -> Self {
        Self {
            min_chars,
            min_distinct: MIN_DISTINCT,
            min_bits: MIN_BITS,
            hex_digits: HEX_DIGITS,
        }
    }

    /// Judges a secret: one line of visible ASCII, enough characters, enough of them distinct,
    /// enough Shannon entropy, no placeholder, no repetition, no sequence, no run along a keyboard,
    /// no URL, and nothing that everyone can compute. Enough hex digits pass with 10 distinct ones
    /// and 3 bits per digit.
    ///
    /// # Errors
    /// Why the secret is weak.
    pub fn judge(self, secret: &str) -> Result<(), WeakSecret> {
        if is_placeholder(secret) {
            return Err(WeakSecret::Placeholder);
        }
        let lines = secret.trim_end().lines().count();
        if lines > 1 {
            return Err(WeakSecret::Lines(lines));
        }
        if let Some(index) = secret.chars().position(|char| !char.is_ascii_graphic()) {
            return Err(WeakSecret::Invisible(index + 1));
        }
        if is_url(secret) {
            return Err(WeakSecret::Url);
        }

        let chars: Vec<char> = secret.chars().collect();
        if chars.len() < self.min_chars {
            return Err(WeakSecret::TooShort {
                chars: chars.len(),
                min: self.min_chars,
            });
        }
        if is_known_digest(secret) {
            return Err(WeakSecret::KnownDigest);
        }
        if has_known_number(secret) {
            return Err(WeakSecret::KnownNumber);
        }

        let is_hex = chars.len() >= self.hex_digits && chars.iter().all(char::is_ascii_hexdigit);
        let min = if is_hex {
            self.min_distinct.min(MIN_DISTINCT_HEX)
        } else {
            self.min_distinct
        };
        let counts = count(&chars);
        if counts.len() < min {
            return Err(WeakSecret::FewDistinct {
                distinct: counts.len(),
                min,
            });
        }

        let min = if is_hex {
            self.min_bits.min(hex_bits(chars.len()))
        } else {
            self.min_bits
        };
        let bits = shannon_bits(&counts, chars.len());
        if bits < min {
            return Err(WeakSecret::LowEntropy { bits, min });
        }

        if let Some(period) = period(&chars) {
            return Err(WeakSecret::Repeats(period));
        }
        if is_sequence(&chars) {
            return Err(WeakSecret::Sequence);
        }
        if is_keyboard_run(&chars) {
            return Err(WeakSecret::KeyboardRun);
        }

        Ok(())
    }
}

/// Returns a secret that passes the strength gate: 32 random bytes as 64 hex digits.
///
/// # Errors
/// The operating system has no random numbers.
pub fn generate_secret() -> Result<String, getrandom::Error> {
    generate_secret_of(HEX_DIGITS)
}

/// Returns a secret that passes the strength gate and has at least `min_chars` characters: as many
/// hex digits, but not fewer than 64.
///
/// # Errors
/// The operating system has no random numbers.
pub fn generate_secret_of(min_chars: usize) -> Result<String, getrandom::Error> {
    let digits = min_chars.max(HEX_DIGITS);
    loop {
        let mut bytes = vec![0_u8; digits.div_ceil(2)];
        getrandom::fill(&mut bytes)?;
        let secret = hex::encode(&bytes);
        // One value in some millions has fewer than ten distinct digits.
        if Strength::drain(digits).judge(&secret).is_ok() {
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

#[expect(
    clippy::cast_precision_loss,
    reason = "a secret is far shorter than 2^52 characters"
)]
fn shannon_bits(counts: &BTreeMap<char, usize>, len: usize) -> f64 {
    let len = len as f64;
    counts
        .values()
        .map(|&count| -(count as f64) * (count as f64 / len).log2())
        .sum()
}

#[expect(
    clippy::cast_precision_loss,
    reason = "a secret is far shorter than 2^52 characters"
)]
fn hex_bits(digits: usize) -> f64 {
    digits as f64 * MIN_BITS_PER_HEX_DIGIT
}

/// Returns the length of a block that at least half of the value repeats. In a random value, at
/// most one character in sixteen equals the one at a given distance before it.
fn period(chars: &[char]) -> Option<usize> {
    (1..=chars.len() / 2).find(|&period| {
        let pairs = chars.iter().zip(&chars[period..]);
        pairs.filter(|(early, late)| early == late).count() * 2 >= chars.len() - period
    })
}

/// Returns whether more than half of the characters continue the step between the two before.
fn is_sequence(chars: &[char]) -> bool {
    is_most(chars, is_steady)
}

/// Returns whether more than half of the characters continue a row or a column of a keyboard, or a
/// sequence.
fn is_keyboard_run(chars: &[char]) -> bool {
    let keys: Vec<char> = chars.iter().map(|&char| key_of(char)).collect();
    is_most(&keys, |three| is_steady(three) || is_along_keys(three))
}

/// Returns whether the predicate holds for more than half of all three characters in a row.
fn is_most(chars: &[char], holds: impl Fn(&[char]) -> bool) -> bool {
    let count = chars.windows(3).filter(|three| holds(three)).count();
    count * 2 > chars.len().saturating_sub(1)
}

fn is_steady(three: &[char]) -> bool {
    let step = |from: char, to: char| i64::from(to as u32) - i64::from(from as u32);
    matches!(*three, [a, b, c] if step(a, b) == step(b, c))
}

/// Returns whether the keys lie side by side, in the order of the keyboard or against it.
fn is_along_keys(three: &[char]) -> bool {
    KEYBOARD_LINES.iter().any(|line| {
        let mut windows = line.as_bytes().windows(3);
        windows.any(|keys| {
            let is_same = |(key, char): (&u8, &char)| char::from(*key) == *char;
            keys.iter().zip(three).all(is_same) || keys.iter().rev().zip(three).all(is_same)
        })
    })
}

/// The character that the key of this one has without Shift, on a US keyboard.
fn key_of(char: char) -> char {
    let shifted = SHIFTED_DIGITS.chars().position(|shifted| shifted == char);
    shifted
        .and_then(|index| DIGITS.chars().nth(index))
        .unwrap_or(char.to_ascii_lowercase())
}

/// Returns whether the text begins as a URL does, with a scheme (RFC 3986, section 3.1) and `://`.
fn is_url(text: &str) -> bool {
    let scheme = text.split_once("://").map(|(scheme, _)| scheme);
    let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.');
    scheme.is_some_and(|scheme| {
        scheme.starts_with(|c: char| c.is_ascii_alphabetic()) && scheme.chars().all(is_part)
    })
}

/// Returns whether the text has the digits of a number that everyone knows, with or without the
/// point.
fn has_known_number(text: &str) -> bool {
    let text = text.replace('.', "");
    KNOWN_NUMBERS.iter().any(|digits| text.contains(digits))
}

const DIGITS: &str = "1234567890";
const SHIFTED_DIGITS: &str = "!@#$%^&*()";
/// Rows and columns of keyboards for English, German and French.
const KEYBOARD_LINES: &[&str] = &[
    DIGITS,
    "qwertyuiop[]",
    "asdfghjkl;'",
    "zxcvbnm,./",
    "qwertzuiop",
    "yxcvbnm",
    "azertyuiop",
    "qsdfghjklm",
    "wxcvbn",
    "1qaz",
    "2wsx",
    "3edc",
    "4rfv",
    "5tgb",
    "6yhn",
    "7ujm",
    "8ik,",
    "9ol.",
    "0p;/",
];
/// Sixteen digits each of pi, e, the golden ratio and the square roots of 2 and 3. The first digit
/// is left out, since it may stand before the point.
const KNOWN_NUMBERS: &[&str] = &[
    "1415926535897932",
    "7182818284590452",
    "6180339887498948",
    "4142135623730950",
    "7320508075688772",
];

/// What shells, templates and deployment tools put around a command or an expression. No secret has
/// these at its ends.
const AROUND_ANYTHING: &[(&str, &str)] = &[
    ("${", "}"),
    ("$(", ")"),
    ("$env:", ""),
    ("{{", "}}"),
    ("<%", "%>"),
    ("#{", "}"),
    ("[[", "]]"),
    ("ENC[", "]"),
    ("env:", ""),
    ("file:", ""),
    ("env(", ")"),
    ("file(", ")"),
    ("!env ", ""),
    ("!file ", ""),
    ("op://", ""),
    ("vault:", ""),
];
/// What they put around a name. A secret may begin or end so, if there is more than a name in
/// between.
const AROUND_NAMES: &[(&str, &str)] = &[
    ("$", ""),
    ("%", "%"),
    ("{", "}"),
    ("<", ">"),
    ("@", "@"),
    ("__", "__"),
    ("[", "]"),
    ("%(", ")s"),
];
/// What examples say in the place of a secret, in letters and digits alone.
const STAND_INS: &[&str] = &[
    "changeme",
    "changethis",
    "changeit",
    "replaceme",
    "replacethis",
    "replacewith",
    "yoursecret",
    "yourkeyhere",
    "insertsecret",
    "insertkey",
    "placeholder",
];

/// Returns whether text in the place of a secret stands for one: a variable that was not expanded
/// (`${NAME}`, `$NAME`, `%NAME%`, `{{ NAME }}`), also within other text (`Bearer ${NAME}`), or a
/// stand-in such as `CHANGE_ME`.
pub fn is_placeholder(text: &str) -> bool {
    let text = text.trim();
    let between = |(start, end): &(&str, &str)| {
        let inner = text.strip_prefix(start)?.strip_suffix(end)?.trim();
        (!inner.is_empty()).then_some(inner)
    };
    let letters: String = text.chars().filter(char::is_ascii_alphanumeric).collect();
    let letters = letters.to_ascii_lowercase();

    AROUND_ANYTHING
        .iter()
        .any(|around| between(around).is_some())
        || AROUND_NAMES.iter().filter_map(between).any(is_name)
        || has_expression(text, "${", "}")
        || has_expression(text, "{{", "}}")
        || STAND_INS.iter().any(|stand_in| letters.contains(stand_in))
}

/// Returns the name in `${NAME}` or `$NAME`, if it is written as names of environment variables
/// are: in capitals.
pub fn variable_in(text: &str) -> Option<&str> {
    let text = text.trim().strip_prefix('$')?;
    let inner = text
        .strip_prefix('{')
        .and_then(|text| text.strip_suffix('}'))
        .unwrap_or(text);
    let is_part = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_';
    let is_variable =
        inner.bytes().all(is_part) && inner.starts_with(|c: char| c.is_ascii_uppercase());
    is_variable.then_some(inner)
}

/// Words in letters and digits, joined as names are: `SESSION_KEY`, `env.KEY`, `your session key`.
fn is_name(text: &str) -> bool {
    let text = text.trim_start_matches('$');
    let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | ' ');
    text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_' || c == '.')
        && text.chars().all(is_part)
}

/// Returns whether `start` NAME `end` is in the text, also with a default behind the name
/// (`${NAME:-default}`).
fn has_expression(text: &str, start: &str, end: &str) -> bool {
    text.match_indices(start).any(|(at, _)| {
        let inner = text
            .get(at + start.len()..)
            .and_then(|rest| rest.split_once(end))
            .map(|(inner, _)| inner);
        let name = inner.map(|inner| {
            inner
                .split([':', '?', '|'])
                .next()
                .unwrap_or_default()
                .trim()
        });
        name.is_some_and(is_name)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judge(secret: &str) -> Result<(), WeakSecret> {
        Strength::drain(43).judge(secret)
    }

    #[test]
    fn generated_and_customary_secrets_pass() {
        for _ in 0..200 {
            let secret = generate_secret().unwrap();
            assert_eq!(
                (judge(&secret), Strength::KEY.judge(&secret)),
                (Ok(()), Ok(()))
            );
        }
        for (min_chars, chars) in [
            (0, 64),
            (43, 64),
            (64, 64),
            (90, 90),
            (91, 92),
            (4096, 4096),
        ] {
            let secret = generate_secret_of(min_chars).unwrap();
            assert_eq!(secret.len(), chars);
            assert_eq!(Strength::drain(min_chars).judge(&secret), Ok(()));
        }
        // token_urlsafe(32), openssl rand -base64 32, a UUID pair, and hex that misses three
        // digits.
        for secret in [
            "Jx3_8vTqk0ZrWm2yLhNcPd5uBfGa7sEoKi9tRb1XwQc",
            "pX7mQ2vK9sT4wE8rY1uI6oA3dF5gH0jL+zC/nB2vM4k=",
            "0f8fad5bd9cb469fa16570867728950e7c9e66794c1a4b6f93d2f5a8c0b1e3d7",
            "90817263549081726a5a4f3a2b1a09a8b7a6f5a4a3a2b1908172635498071625",
        ] {
            assert_eq!(
                (judge(secret), Strength::KEY.judge(secret)),
                (Ok(()), Ok(())),
                "{secret}"
            );
        }
    }

    #[test]
    fn weak_secrets_are_refused_for_their_weakness() {
        assert_eq!(judge(""), Err(WeakSecret::TooShort { chars: 0, min: 43 }));
        assert_eq!(
            judge(&"a1B2c3".repeat(7)),
            Err(WeakSecret::TooShort { chars: 42, min: 43 })
        );
        assert_eq!(
            judge(&"a".repeat(60)),
            Err(WeakSecret::FewDistinct {
                distinct: 1,
                min: 16
            })
        );
        assert_eq!(
            judge(&"abcd".repeat(15)),
            Err(WeakSecret::FewDistinct {
                distinct: 4,
                min: 16
            })
        );
        assert_eq!(
            judge(&"012345678".repeat(8)),
            Err(WeakSecret::FewDistinct {
                distinct: 9,
                min: 10
            })
        );
        assert_eq!(
            judge(&"0123456789abcdef".repeat(3)),
            Err(WeakSecret::Repeats(16))
        );
        for padded in ["!{}", "{}!", "x{}yz"] {
            let padded = padded.replace("{}", &"Password1234567890".repeat(3));
            assert_eq!(judge(&padded), Err(WeakSecret::Repeats(18)), "{padded}");
        }
        let skewed = format!("{}bcdefghijklmnopq", "a".repeat(40));
        assert!(matches!(judge(&skewed), Err(WeakSecret::LowEntropy { .. })));
        for run in [
            "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJ",
            "zyxwvutsrqponmlkjihgfedcbaZYXWVUTSRQPONMLKJ",
        ] {
            assert_eq!(judge(run), Err(WeakSecret::Sequence), "{run}");
        }
    }

    #[test]
    fn runs_along_a_keyboard_are_refused() {
        for run in [
            "qwertyuiopasdfghjklzxcvbnm1234567890",
            "QWERTYUIOPasdfghjklZXCVBNM!@#$%^&*()",
            "poiuytrewqlkjhgfdsamnbvcxz0987654321",
            "1qaz2wsx3edc4rfv5tgb6yhn7ujm8ik,9ol.0p;/",
            "1qaz@WSX3edc$RFV5tgb^YHN7ujm*IK,9ol.)P;/",
            "azertyuiopqsdfghjklmwxcvbn1234567890",
            "qwertyuiopasdfghjklzxcvbnmabcdefghijklmn",
        ] {
            let weak = Strength::KEY.judge(run);
            assert_eq!(weak, Err(WeakSecret::KeyboardRun), "{run}");
        }
    }

    #[test]
    fn numbers_that_everyone_knows_are_refused() {
        for digits in [
            "3.141592653589793238462643383279502884197",
            "3141592653589793238462643383279502884197",
            "1415926535897932384626433832795028841971",
            "2.718281828459045235360287471352662497757",
            "my-very-secret-key-3141592653589793238462",
        ] {
            let weak = Strength::KEY.judge(digits);
            assert_eq!(weak, Err(WeakSecret::KnownNumber), "{digits}");
        }
    }

    #[test]
    fn urls_are_no_secrets() {
        for url in [
            "https://agent.example.com/dashboard/settings?tab=3",
            "postgres://ada:x7Qm2vK9sT4wE8rY@db.example.com/agents",
            "HTTPS://a",
        ] {
            assert_eq!(Strength::KEY.judge(url), Err(WeakSecret::Url), "{url}");
        }
        let within = "Jx3_8vTqk0ZrWm2yLhN://cPd5uBfGa7sEoKi9tRb1XwQc";
        assert_eq!(Strength::KEY.judge(within), Ok(()));
    }

    #[test]
    fn other_secrets_need_32_characters() {
        // openssl rand -hex 16, openssl rand -base64 24.
        for secret in [
            "9f3c1b7e2d8a4650c1e7b93f60d2a548",
            "tQ7mX2vK9sB4wE8rY1uI6oA3dF5gH0jL",
        ] {
            assert_eq!(Strength::KEY.judge(secret), Ok(()), "{secret}");
            assert!(judge(secret).is_err(), "{secret}");
        }
        assert_eq!(
            Strength::KEY.judge("9f3c1b7e2d8a4650c1e7b93f60d2a54"),
            Err(WeakSecret::TooShort { chars: 31, min: 32 })
        );
        assert!(Strength::KEY.judge(&"a".repeat(32)).is_err());
        assert_eq!(
            Strength::KEY.judge(&"0123456789abcdef".repeat(2)),
            Err(WeakSecret::Repeats(16))
        );
    }

    #[test]
    fn tokens_need_16_characters() {
        for token in ["9f3c1b7e2d8a4650", "tQ7mX2vK9sB4wE8r", "key-of-the-gateway"] {
            assert_eq!(Strength::TOKEN.judge(token), Ok(()), "{token}");
        }
        for token in [
            "9f3c1b7e2d8a465",
            "aaaaaaaaaaaaaaaa",
            "abababababababab",
            "${GATEWAY_API_KEY}",
            "changeme-changeme",
        ] {
            assert!(Strength::TOKEN.judge(token).is_err(), "{token}");
        }
    }

    #[test]
    fn secret_is_one_line_that_a_header_can_carry() {
        let good = "Jx3_8vTqk0ZrWm2yLhNcPd5uBfGa7sEoKi9tRb1XwQc";
        let other = "pX7mQ2vK9sT4wE8rY1uI6oA3dF5gH0jL+zC/nB2vM4k=";
        for strength in [Strength::drain(43), Strength::KEY, Strength::TOKEN] {
            for character in [
                '\u{e9}', '\u{4e2d}', ' ', '\t', '\0', '\u{7f}', '\u{fffd}', '\u{200b}',
            ] {
                let text = format!("{good}{character}{other}");
                let weak = strength.judge(&text);
                assert_eq!(weak, Err(WeakSecret::Invisible(44)), "{text:?}");
            }
            for lines in [format!("{good}\n{other}"), format!("{good}\r\n{other}\r\n")] {
                let weak = strength.judge(&lines).unwrap_err();
                assert_eq!(weak, WeakSecret::Lines(2), "{lines:?}");
                assert!(weak.advice().contains("write a list of two"));
            }
            assert_eq!(strength.judge(good), Ok(()));
        }
    }

    #[test]
    fn placeholders_are_no_secrets() {
        for text in [
            "${DASHBOARD_SESSION_KEY}",
            " ${DASHBOARD_SESSION_KEY:-a default of many characters} ",
            "$DASHBOARD_SESSION_KEY",
            "$(cat /run/secrets/session-key)",
            "%DASHBOARD_SESSION_KEY%",
            "{{ DASHBOARD_SESSION_KEY }}",
            "{{ vault.session_key | default('x') }}",
            "{env.DASHBOARD_SESSION_KEY}",
            "{$DASHBOARD_SESSION_KEY}",
            "<your session key of at least 32 characters>",
            "#{DASHBOARD_SESSION_KEY}",
            "@DASHBOARD_SESSION_KEY@",
            "__DASHBOARD_SESSION_KEY__",
            "env:DASHBOARD_SESSION_KEY",
            "file:/run/secrets/session-key",
            "Bearer ${DASHBOARD_SESSION_KEY}",
            "please-CHANGE_ME-to-a-long-random-string-1234567890",
        ] {
            assert!(is_placeholder(text), "{text}");
            assert_eq!(
                Strength::KEY.judge(text),
                Err(WeakSecret::Placeholder),
                "{text}"
            );
        }
        for text in [
            "",
            "plain",
            "pa$$word{1}%",
            "$2b$12$abc",
            "$argon2id$v=19$m=8",
            "a{{b",
            "x${",
            "100%",
        ] {
            assert!(!is_placeholder(text), "{text}");
        }
    }

    #[test]
    fn only_a_name_in_capitals_is_repeated() {
        assert_eq!(variable_in("${SESSION_KEY}"), Some("SESSION_KEY"));
        assert_eq!(variable_in("$SESSION_KEY"), Some("SESSION_KEY"));
        for text in [
            "$hunter2",
            "${a}",
            "SESSION_KEY",
            "${A:-b}",
            "$",
            "${}",
            "$1A",
        ] {
            assert_eq!(variable_in(text), None, "{text}");
        }
    }
}
