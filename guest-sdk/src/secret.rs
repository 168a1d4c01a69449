use subtle::ConstantTimeEq;

/// Are these the same secret? The time it takes says nothing of where they differ; only their lengths show.
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
