//! The forms that strings in the configuration must have: names, addresses, origins, digests.

use super::{ComponentRef, PublicUrl};
use crate::drain::DRAIN_PROVIDER;
use crate::web::{SERVED_PATHS, is_plain_prefix};
use http::header::{
    CONNECTION, CONTENT_LENGTH, HOST, HeaderName, TE, TRAILER, TRANSFER_ENCODING, UPGRADE,
};
use ipnet::IpNet;
use portcullis_auth::ProviderName;
use portcullis_sandbox::Origin;
use std::net::{IpAddr, Ipv6Addr};
use std::path::Path;

pub(super) fn provider_name(text: &str) -> Result<ProviderName, String> {
    match text {
        DRAIN_PROVIDER => Err(format!(
            "`{DRAIN_PROVIDER}` is the name of the built-in drain provider"
        )),
        text => ProviderName::new(text).map_err(|error| error.to_string()),
    }
}

pub(super) fn component_ref(text: &str, base: &Path) -> Result<ComponentRef, String> {
    match text.strip_prefix("builtin:") {
        Some(name) if portcullis_bundled::component(name).is_some() => {
            Ok(ComponentRef::Builtin(name.to_owned()))
        }
        Some(name) => Err(unknown_builtin(name)),
        None if text.is_empty() => Err("must be a path or builtin:NAME".to_owned()),
        None if text.contains("://") => Err(format!(
            "components from a registry or a URL are not supported by this version: {text:?} is no path \
             and no builtin:NAME"
        )),
        None if is_misspelt_builtin(text) => {
            let name = text.split_once(':').map_or(text, |(_, name)| name);
            Err(format!(
                "{text:?} names no file; did you mean `builtin:{name}`?"
            ))
        }
        None => Ok(ComponentRef::Path(base.join(text))),
    }
}

/// Says that no builtin has this name, and names the nearest one.
pub fn unknown_builtin(name: &str) -> String {
    let known: Vec<_> = portcullis_bundled::names().collect();
    let hint = nearest(name, known.iter().copied()).map_or_else(String::new, |near| {
        format!("; did you mean `builtin:{near}`?")
    });
    let known = known.join(", ");
    format!("no builtin is named `{name}`; there is: {known}{hint}")
}

/// Returns whether the text is `builtin:NAME` with at most two letters wrong before the colon.
fn is_misspelt_builtin(text: &str) -> bool {
    text.split_once(':')
        .is_some_and(|(word, _)| strsim::osa_distance(&word.to_ascii_lowercase(), "builtin") <= 2)
}

/// The one of the names that this one was probably meant to be, in capitals or not. `None`: all
/// differ in too many letters.
fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let name = name.to_ascii_lowercase();
    let likeness = |known: &str| strsim::jaro_winkler(known, &name);
    known
        .filter(|known| likeness(known) > 0.8)
        .max_by(|a, b| likeness(a).total_cmp(&likeness(b)))
}

/// What follows the complaint about an unknown name: the nearest one, else all that are known.
pub(super) fn names_instead(name: &str, known: &[&str]) -> String {
    match nearest(name, known.iter().copied()) {
        Some(near) => format!("; did you mean `{near}`?"),
        None => format!("; there is: {}", known.join(", ")),
    }
}

pub(super) fn hex_digest(text: &str) -> Result<String, &'static str> {
    let is_digest = text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    if is_digest {
        Ok(text.to_ascii_lowercase())
    } else {
        Err("must be 64 hex digits, as sha256sum prints them")
    }
}

pub(super) fn display_name(text: &str) -> Result<String, &'static str> {
    match text.chars().count() {
        1..=100 if !text.contains(char::is_control) => Ok(text.to_owned()),
        _ => Err("must be 1 to 100 characters without control characters"),
    }
}

/// The name of a person or a group, as providers write it.
pub(super) fn access_name(text: &str) -> Result<String, &'static str> {
    match text.trim() == text && !text.is_empty() && !text.contains(char::is_control) {
        true => Ok(text.to_owned()),
        false => Err("must be a name without space around it and without control characters"),
    }
}

pub(super) fn served_path(text: &str) -> Result<String, String> {
    if SERVED_PATHS.contains(&text) {
        return Ok(text.to_owned());
    }
    Err(format!(
        "{text} is no path that can be a token route; there is: {}",
        SERVED_PATHS.join(", ")
    ))
}

pub(super) fn network(text: &str) -> Result<IpNet, String> {
    let single = || text.parse::<IpAddr>().map(IpNet::from);
    text.parse()
        .or_else(|_| single())
        .map_err(|_| format!("{text:?} is no address or network like 10.0.0.0/8"))
}

/// A name or address to bind, brackets or not.
///
/// # Errors
/// It is neither.
pub fn parse_bind_host(text: &str) -> Result<String, String> {
    let in_brackets = text
        .strip_prefix('[')
        .and_then(|text| text.strip_suffix(']'));
    if let Some(address) = in_brackets {
        let is_address = address.parse::<Ipv6Addr>().is_ok();
        return is_address
            .then(|| address.to_owned())
            .ok_or_else(|| format!("{text:?} is no IPv6 address"));
    }
    // The spelling stays: the gate is off for three spellings alone.
    host_name(text).map(|_| text.to_owned())
}

pub(super) fn host_name(text: &str) -> Result<String, String> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    let is_name = !text.is_empty() && text.len() <= 253 && text.bytes().all(allowed);
    if is_name || text.parse::<IpAddr>().is_ok() {
        return Ok(text.to_ascii_lowercase());
    }
    Err(format!("{text:?} is no host name (without scheme or port)"))
}

/// A prefix of cookie names: a token (RFC 6265, section 4.1.1) without a prefix that means
/// something to browsers.
pub(super) fn cookie_name(text: &str) -> Result<String, String> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    let is_promise = ["__host-", "__secure-"]
        .iter()
        .any(|start| text.to_ascii_lowercase().starts_with(start));
    if (1..=64).contains(&text.len()) && text.bytes().all(allowed) && !is_promise {
        return Ok(text.to_owned());
    }
    Err(format!(
        "{text:?} is no prefix of cookie names: 1 to 64 letters, digits and characters like - and _, not beginning with \
         __Host- or __Secure-"
    ))
}

/// Scheme, host and perhaps port: what a provider may call.
pub(super) fn origin(text: &str) -> Result<Origin, String> {
    let mistake = || {
        format!(
            "{text:?} is no origin like https://idp.example.com (scheme and host, without a path)"
        )
    };
    Origin::parse(text).ok_or_else(mistake)
}

/// A header that the host may add to what a provider sends.
pub(super) fn header_name(text: &str) -> Result<HeaderName, String> {
    let name = HeaderName::from_bytes(text.as_bytes())
        .map_err(|_| format!("{text:?} is no header name"))?;
    let of_the_connection = [
        CONNECTION,
        CONTENT_LENGTH,
        HOST,
        TE,
        TRAILER,
        TRANSFER_ENCODING,
        UPGRADE,
    ];

    match of_the_connection.contains(&name) {
        true => Err(format!(
            "`{name}` is a header that the connection sets itself"
        )),
        false => Ok(name),
    }
}

pub(super) fn public_url(text: &str) -> Result<PublicUrl, String> {
    let mistake = || format!("{text:?} is no URL like https://agent.example.com");
    let url: http::Uri = text.parse().map_err(|_| mistake())?;
    let https = match url.scheme_str() {
        Some("https") => true,
        Some("http") => false,
        _ => return Err(mistake()),
    };

    let authority = url.authority().ok_or_else(mistake)?;
    if text.contains(['@', '?', '#']) {
        return Err(format!("{text:?} must have no user, query or fragment"));
    }

    let (name, port) = host_and_port(authority.as_str()).ok_or_else(mistake)?;
    let host = parse_bind_host(name)
        .map_err(|_| mistake())?
        .to_ascii_lowercase();
    let path = url.path();
    let path = path.strip_suffix('/').unwrap_or(path).to_owned();

    // It stands in `Location` and in a cookie's `Path`, so nothing in it may mean anything there.
    if !is_plain_prefix(&path) {
        return Err(format!(
            "{text:?} must have a path of plain segments like /agent: letters, digits and - _ . ~ between single slashes"
        ));
    }

    let host = host.strip_suffix('.').unwrap_or(&host).to_owned();
    let port = port.filter(|port| *port != if https { 443 } else { 80 });
    Ok(PublicUrl {
        https,
        host,
        port,
        path,
    })
}

/// A colon after the host must be followed by a port from 1 to 65535.
fn host_and_port(authority: &str) -> Option<(&str, Option<u16>)> {
    match authority.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => {
            let is_number = port.bytes().all(|byte| byte.is_ascii_digit());
            let port = port.parse().ok().filter(|port| is_number && *port > 0)?;
            Some((host, Some(port)))
        }
        _ => Some((authority, None)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn public_url_is_a_scheme_a_host_and_a_plain_path() {
        for (text, host, port, path) in [
            ("https://agent.example.com", "agent.example.com", None, ""),
            ("https://agent.example.com/", "agent.example.com", None, ""),
            (
                "https://Agent.Example.com.:8443/a/b-c_d.e~f/",
                "agent.example.com",
                Some(8443),
                "/a/b-c_d.e~f",
            ),
            ("http://[::1]:9119", "::1", Some(9119), ""),
            (
                "https://agent.example.com:443",
                "agent.example.com",
                None,
                "",
            ),
            (
                "http://agent.example.com:443",
                "agent.example.com",
                Some(443),
                "",
            ),
            (
                "http://LOCALHOST:9119/agent",
                "localhost",
                Some(9119),
                "/agent",
            ),
        ] {
            let url = public_url(text).unwrap_or_else(|mistake| panic!("{mistake}"));
            assert_eq!(
                (url.host.as_str(), url.port, url.path.as_str()),
                (host, port, path),
                "{text}"
            );
        }
        for text in [
            "",
            "agent.example.com",
            "ftp://x",
            "https://",
            "https:///a",
            "https://x//y",
            "https://x//",
            "https://x/a//b",
            "https://x/a;Domain=evil.example",
            "https://x/a'b",
            "https://x/\"a\"",
            "https://x/a b",
            "https://x/../b",
            "https://x/./b",
            "https://x/%2e",
            "https://x/a,b",
            "https://x/caf\u{e9}",
            "https://u@x",
            "https://u:p@x",
            "https://x/?q",
            "https://x?",
            "https://x/#f",
            "https://x#",
            "https://x:",
            "https://x:0",
            "https://x:99999",
            "https://x:y",
            "https://[localhost]",
            "https://[::1].evil.test",
            "https://a_b c",
        ] {
            assert!(public_url(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn bind_hosts_keep_their_spelling() {
        for (text, host) in [
            ("LOCALHOST", "LOCALHOST"),
            ("[::1]", "::1"),
            ("::1", "::1"),
            ("a.b", "a.b"),
        ] {
            assert_eq!(parse_bind_host(text).as_deref(), Ok(host));
        }
        for text in [
            "",
            "[localhost]",
            "[::1",
            "::1]",
            "[127.0.0.1]",
            "a b",
            "a:1",
        ] {
            assert!(parse_bind_host(text).is_err(), "{text}");
        }
    }
}
