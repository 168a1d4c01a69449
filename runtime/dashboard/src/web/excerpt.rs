/// Longest text of a stranger's choice in a log line, in characters. (The writers of both logs
/// escape it.)
const MAX_CHARS: usize = 200;

/// The start of a text that a stranger chose, short enough for a log line.
pub(super) fn excerpt(text: &str) -> &str {
    match text.char_indices().nth(MAX_CHARS) {
        Some((end, _)) => &text[..end],
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_start_of_a_long_text_is_logged() {
        assert_eq!(excerpt("/metrics"), "/metrics");
        assert_eq!(excerpt(&"é".repeat(60_000)), "é".repeat(MAX_CHARS));
    }
}
