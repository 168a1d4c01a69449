use percent_encoding::percent_decode_str;

/// Longest target, in bytes.
const MAX_TARGET_BYTES: usize = 8 * 1024;

/// The page to come back to after sign-in, if `target` is a path on this origin that may be one;
/// else `/`.
///
/// The path alone is judged: it is decoded until it no longer changes, and judged at every step, so
/// that no encoding hides another origin (`//evil`, `/\evil`, `/%5cevil`, `/%252f%252fevil`, tabs
/// and newlines) or a loop back to the sign-in pages. The query and the fragment lead nowhere else,
/// so they stay as they are; as a part of a header they must be visible ASCII and spaces.
pub fn safe_target(target: &str) -> &str {
    if is_safe(target) { target } else { "/" }
}

/// More rounds of encoding than this is an attack, not an address.
const MAX_ROUNDS: usize = 8;

fn is_safe(target: &str) -> bool {
    let (path, rest) = target.split_at(target.find(['?', '#']).unwrap_or(target.len()));
    let is_plain_rest = rest.bytes().all(|byte| matches!(byte, b' '..=b'~'));
    target.len() <= MAX_TARGET_BYTES && is_plain_rest && is_safe_path(path)
}

fn is_safe_path(path: &str) -> bool {
    let mut current = path.to_owned();
    for _ in 0..MAX_ROUNDS {
        if !is_plain_path(&current) {
            return false;
        }
        let Ok(decoded) = percent_decode_str(&current).decode_utf8() else {
            return false;
        };
        if decoded == current {
            return true;
        }
        current = decoded.into_owned();
    }

    false
}

/// `?` and `#` are in a decoded path only. What decodes it may take them for the end of the path,
/// so both readings count.
fn is_plain_path(path: &str) -> bool {
    let start = path
        .split(['?', '#'])
        .next()
        .unwrap_or_default()
        .to_ascii_lowercase();
    let leads_to = |root: &str| {
        start
            .strip_prefix(root)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };

    path.starts_with('/')
        && !path.starts_with("//")
        && !path.contains('\\')
        && !path.contains(char::is_control)
        && !path
            .split(['/', '?', '#'])
            .any(|segment| matches!(segment, "." | ".."))
        && !["/login", "/auth", "/api"].into_iter().any(leads_to)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_of_this_origin_are_kept() {
        for target in [
            "/",
            "/sessions",
            "/sessions?tab=2&q=a%20b",
            "/a/b#c",
            "/apiary",
            "/loginx",
        ] {
            assert_eq!(safe_target(target), target);
        }
    }

    #[test]
    fn query_is_left_as_it_is() {
        for query in [
            "?q=10%5C%5C.0",
            "?q=10\\.0",
            "?q=%0A%09%0D%00",
            "?q=%E9",
            "?q=%255C",
            "?next=//evil.example/..",
            "?u=https://e&v=/login",
            "?a/../b",
            "#%0a",
            "?",
            "?a#b?c",
        ] {
            let target = format!("/app{query}");
            assert_eq!(safe_target(&target), target);
        }
        let long = format!("/app?q={}", "x".repeat(MAX_TARGET_BYTES - 7));
        assert_eq!(safe_target(&long), long);
        for target in [
            format!("{long}x"),
            "/a?\n".into(),
            "/a?\u{e9}".into(),
            "/a#\u{7f}".into(),
            "?x".into(),
        ] {
            assert_eq!(safe_target(&target), "/", "{target:?}");
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
            "/a/..%3Fx",
            "/a%3F/../x",
            "/a/%2e%2e%23x",
            "/login%3Fx",
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
