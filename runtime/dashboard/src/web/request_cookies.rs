//! The cookies that a request carries.

use axum::http::HeaderMap;
use axum::http::header::COOKIE;

/// The names and values of one request's cookies, in the order in which they were sent.
pub(super) struct RequestCookies<'a> {
    /// In bytes, since other applications on the host may write anything.
    pairs: Vec<(&'a [u8], &'a [u8])>,
}

impl<'a> RequestCookies<'a> {
    pub(super) fn of(headers: &'a HeaderMap) -> Self {
        let lines = headers
            .get_all(COOKIE)
            .iter()
            .flat_map(|value| value.as_bytes().split(|byte| *byte == b';'));
        let pair = |text: &'a [u8]| {
            let at = text.iter().position(|byte| *byte == b'=')?;
            Some((text[..at].trim_ascii(), text[at + 1..].trim_ascii()))
        };
        Self {
            pairs: lines.filter_map(pair).collect(),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.pairs.is_empty()
    }

    /// Every value under this name: cookies of several paths or domains may share one. A value that
    /// is no text is empty.
    pub(super) fn values(&self, name: &str) -> impl Iterator<Item = &'a str> {
        let named = self
            .pairs
            .iter()
            .filter(move |(known, _)| *known == name.as_bytes());
        named.map(|&(_, value)| std::str::from_utf8(value).unwrap_or_default())
    }

    /// Every cookie whose name begins so, with the rest of its name.
    pub(super) fn beginning_with(&self, start: &str) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.pairs.iter().filter_map(move |&(name, value)| {
            let rest = std::str::from_utf8(name).ok()?.strip_prefix(start)?;
            Some((rest, std::str::from_utf8(value).unwrap_or_default()))
        })
    }
}
