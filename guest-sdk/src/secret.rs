use subtle::ConstantTimeEq;

/// Returns whether two secrets are equal. The time does not depend on where they differ, only on
/// their lengths.
pub fn same_secret(one: &str, other: &str) -> bool {
    one.as_bytes().ct_eq(other.as_bytes()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_same_text_is_the_same() {
        assert!(same_secret("abc", "abc"));
        for other in ["", "ab", "abd", "abcd", "ABC"] {
            assert!(!same_secret("abc", other), "{other}");
        }
    }
}
