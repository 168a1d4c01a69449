use std::net::IpAddr;

/// The scheme and authority of an http(s) URL, in lower case and without the port that its scheme
/// has anyway; `None` for anything else, and for an authority with a user name.
pub fn origin(url: &str) -> Option<String> {
    let (scheme, rest) = url.split_once("://")?;
    let scheme = scheme.to_ascii_lowercase();
    let usual_port = match scheme.as_str() {
        "https" => ":443",
        "http" => ":80",
        _ => return None,
    };
    let authority = rest.split(['/', '?', '#']).next()?.to_ascii_lowercase();
    let authority = authority.strip_suffix(usual_port).unwrap_or(&authority);
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._:[]".contains(&byte);
    let is_authority = !authority.is_empty() && authority.bytes().all(is_plain);
    is_authority.then(|| format!("{scheme}://{authority}"))
}

/// Whether an http(s) URL leads to this very machine: `localhost`, a name below it, or a loopback
/// address.
pub fn is_loopback(url: &str) -> bool {
    let Some(origin) = origin(url) else {
        return false;
    };
    let authority = origin
        .split_once("://")
        .map_or("", |(_, authority)| authority);
    let host = match authority.strip_prefix('[') {
        Some(bracketed) => bracketed.split(']').next(),
        None => authority.split(':').next(),
    };
    let host = host.unwrap_or_default();
    let is_name = host == "localhost" || host.ends_with(".localhost");

    is_name
        || host
            .parse::<IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}

/// Whether a text is an http(s) URL that a request or a browser can be sent to: visible ASCII, no
/// fragment, no backslash.
pub fn is_address(url: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_graphic() && byte != b'#' && byte != b'\\';
    let has_scheme = url.starts_with("https://") || url.starts_with("http://");
    has_scheme && url.bytes().all(is_plain) && origin(url).is_some()
}

/// Where a `Location` leads from this address (RFC 3986, section 5.2, without dot segments).
pub(crate) fn resolve(base: &str, location: &str) -> Option<String> {
    let location = location.split('#').next()?.trim();
    let (scheme, rest) = base.split_once("://")?;
    let path_at = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(path_at);
    let path = path.split(['?', '#']).next()?;
    let is_whole = location
        .split(['/', '?'])
        .next()
        .is_some_and(|start| start.contains(':'));

    let resolved = if is_whole {
        location.to_owned()
    } else if location.starts_with("//") {
        format!("{scheme}:{location}")
    } else if location.starts_with('/') {
        format!("{scheme}://{authority}{location}")
    } else if location.starts_with('?') {
        format!("{scheme}://{authority}{path}{location}")
    } else {
        let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
        format!("{scheme}://{authority}{folder}/{location}")
    };
    is_address(&resolved).then_some(resolved)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_are_compared_in_one_form() {
        for (url, expected) in [
            ("https://IdP.example:443/a?b#c", Some("https://idp.example")),
            ("http://127.0.0.1:80", Some("http://127.0.0.1")),
            ("https://idp.example:8443", Some("https://idp.example:8443")),
            ("https://[::1]:443/", Some("https://[::1]")),
            ("https://user@idp.example/", None),
            ("https:///path", None),
            ("https://idp.example\\@evil.example/", None),
            ("ftp://idp.example/", None),
            ("idp.example", None),
        ] {
            assert_eq!(origin(url).as_deref(), expected, "{url}");
        }
    }

    #[test]
    fn only_this_machine_is_loopback() {
        for url in [
            "http://localhost:8080/realm",
            "http://a.localhost",
            "http://127.9.9.9",
            "http://[::1]:1/",
        ] {
            assert!(is_loopback(url), "{url}");
        }
        for url in [
            "http://localhost.evil.example",
            "http://10.0.0.1",
            "http://127.0.0.1.nip.io",
            "localhost",
        ] {
            assert!(!is_loopback(url), "{url}");
        }
    }

    #[test]
    fn locations_are_resolved_against_the_address() {
        let base = "https://idp.example/realms/a?x=1";
        for (location, expected) in [
            ("https://other.example/b", Some("https://other.example/b")),
            ("//other.example/b", Some("https://other.example/b")),
            ("/b?c", Some("https://idp.example/b?c")),
            ("b", Some("https://idp.example/realms/b")),
            ("?c=d", Some("https://idp.example/realms/a?c=d")),
            ("/b#fragment", Some("https://idp.example/b")),
            ("javascript:alert(1)", None),
            ("/b\u{e9}", None),
            ("/b c", None),
        ] {
            assert_eq!(resolve(base, location).as_deref(), expected, "{location}");
        }
        assert_eq!(
            resolve("https://idp.example", "b").as_deref(),
            Some("https://idp.example/b")
        );
    }
}
