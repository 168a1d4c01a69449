/// Longest scope that the host takes, in bytes.
const MAX_SCOPE_BYTES: usize = 128;

/// Whether a text is a scope as the host takes it (RFC 6749, section 3.3).
pub fn is_scope(text: &str) -> bool {
    let is_part = |byte: u8| byte.is_ascii_graphic() && byte != b'"' && byte != b'\\';
    (1..=MAX_SCOPE_BYTES).contains(&text.len()) && text.bytes().all(is_part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes_are_what_the_host_takes() {
        assert!(is_scope("metrics.read") && is_scope(&"x".repeat(128)));
        for bad in ["", "two words", "a\"b", "a\\b", "é", &*"x".repeat(129)] {
            assert!(!is_scope(bad), "{bad:?}");
        }
    }
}
