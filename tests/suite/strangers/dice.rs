//! Random things that are the same in every run.

use serde_json::{Value, json};

/// Characters that parsers trip over, among ordinary ones.
const LETTERS: &[char] = &[
    'a', 'Z', '0', '-', '_', '.', ' ', '\t', '\n', '\0', '"', '\'', '\\', '/', '<', '&', '%', '=',
    ',', 'é', '\u{202e}', '😀',
];

/// Random numbers (xorshift64*).
pub(crate) struct Dice(u64);

impl Dice {
    /// Other numbers for every seed.
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    fn number(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    /// From 0 to below the end, which is not 0.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.number() >> 33).unwrap_or_default() % end
    }

    /// One of these, of which there is at least one.
    pub(crate) fn pick<T: Clone>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())].clone()
    }

    pub(crate) fn bytes(&mut self, length: usize) -> Vec<u8> {
        (0..length)
            .map(|_| self.number().to_le_bytes()[3])
            .collect()
    }

    /// Up to 24 characters.
    pub(crate) fn text(&mut self) -> String {
        let length = self.below(25);
        (0..length).map(|_| self.pick(LETTERS)).collect()
    }

    /// Any JSON, at most so deep.
    pub(crate) fn value(&mut self, depth: usize) -> Value {
        let kinds = if depth == 0 { 8 } else { 10 };
        match self.below(kinds) {
            0 => Value::Null,
            1 => json!(true),
            2 => json!(false),
            3 => json!(self.number()),
            4 => json!(-1),
            5 => json!(1e300),
            6 => json!("x".repeat(300)),
            7 => json!(self.text()),
            8 => (0..self.below(4)).map(|_| self.value(depth - 1)).collect(),
            _ => (0..self.below(4))
                .map(|_| (self.text(), self.value(depth - 1)))
                .collect(),
        }
    }

    /// A document that is damaged as a whole.
    pub(crate) fn damaged(&mut self, document: &Value) -> String {
        let text = document.to_string();
        match self.below(6) {
            0 => text.chars().take(self.below(text.len())).collect(),
            1 => self.text(),
            2 => self.value(2).to_string(),
            3 => "[".repeat(3_000),
            4 => format!("{text}{}", self.text()),
            _ => "{\"a\":".repeat(3_000),
        }
    }
}
