use std::fmt;
use zeroize::Zeroizing;

/// Text that must not be printed. The memory is wiped when it is dropped.
#[derive(Clone)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Takes text that was just read or made.
    pub fn new(text: String) -> Self {
        Self(Zeroizing::new(text))
    }

    /// The same without white space around it.
    #[must_use]
    pub fn trimmed(&self) -> Self {
        Self::new(self.0.trim().to_owned())
    }

    /// Returns the secret as text.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Secret(redacted)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secret_is_not_printed() {
        let secret = Secret::new(" canary-8642 ".to_owned());
        for shown in [format!("{secret:?}"), format!("{:?}", secret.trimmed())] {
            assert!(!shown.contains("canary"), "{shown}");
        }
        assert_eq!(secret.trimmed().expose(), "canary-8642");
    }
}
