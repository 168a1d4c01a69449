use percent_encoding::percent_decode_str;

/// The page to come back to after sign-in, if `target` is a path on this origin that may be one; else `/`.
///
/// It is decoded until it no longer changes, and judged both ways, so that no encoding hides another origin
/// (`//evil`, `/\evil`, `/%5cevil`, `/%252f%252fevil`, tabs and newlines) or a loop back to the sign-in pages.
pub fn safe_target(target: &str) -> &str {
    if is_safe(target) { target } else { "/" }
}

/// More rounds of encoding than this is an attack, not an address.
const MAX_ROUNDS: usize = 8;

fn is_safe(target: &str) -> bool {
    let mut current = target.to_owned();
    for _ in 0..MAX_ROUNDS {
        if !is_plain_path(&current) {
            return false;
        }
        let Ok(decoded) = percent_decode_str(&current).decode_utf8() else { return false };
        if decoded == current {
            return true;
        }
        current = decoded.into_owned();
    }
    false
}

fn is_plain_path(target: &str) -> bool {
    let path = target.split(['?', '#']).next().unwrap_or_default();
    let leads_to = |root: &str| {
        let path = path.to_ascii_lowercase();
        path == root || path.strip_prefix(root).is_some_and(|rest| rest.starts_with('/'))
    };
    target.starts_with('/')
        && !target.starts_with("//")
        && !target.contains('\\')
        && !target.contains(char::is_control)
        && !path.split('/').any(|segment| matches!(segment, "." | ".."))
        && !["/login", "/auth", "/api"].into_iter().any(leads_to)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_of_this_origin_are_kept() {
        for target in ["/", "/sessions", "/sessions?tab=2&q=a%20b", "/a/b#c", "/apiary", "/loginx"] {
            assert_eq!(safe_target(target), target);
        }
    }

    #[test]
    fn everything_else_becomes_the_root() {
        for target in [
            "",
            "sessions",
            "//e",
            "/\\e",
            "/%5ce",
            "/%2f%2fe",
            "/%2fe",
            "/%252f%252fe",
            "https://e",
            "/\te",
            "/%09/e",
            "/\n/e",
            "/%0a/e",
            "/a/../b",
            "/./login",
            "/%2e/api/x",
            "/a/%2e%2e/b",
            "/login",
            "/login?next=/",
            "/auth/x",
            "/api",
            "/api/x",
            "/%61pi/x",
            "/API/x",
            "/\u{0}",
            "/%ff",
            "javascript:alert(1)",
        ] {
            assert_eq!(safe_target(target), "/", "{target:?}");
        }
    }

    #[test]
    fn endless_encoding_is_refused() {
        let mut target = "/x".to_owned();
        for _ in 0..20 {
            target = target.replace('%', "%25").replacen("/x", "/%78", 1);
        }
        assert_eq!(safe_target(&target), "/");
    }
}
