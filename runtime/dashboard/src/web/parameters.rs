//! The query of a request, by name, and the parameter of a path.

use axum::extract::{FromRequestParts, Path};
use axum::http::Uri;
use axum::http::request::Parts;
use std::convert::Infallible;

/// Every pair of the query. One that is not encoded as it should be is an empty query.
#[derive(Debug, Default)]
pub(super) struct Parameters(Vec<(String, String)>);

impl Parameters {
    pub(super) fn of(uri: &Uri) -> Self {
        Self(serde_urlencoded::from_str(uri.query().unwrap_or_default()).unwrap_or_default())
    }

    /// The value, if it is there exactly once (RFC 6749 section 3.1: a repeated parameter is none).
    pub(super) fn only(&self, name: &str) -> Option<&str> {
        let mut values = self
            .0
            .iter()
            .filter(|(known, _)| known == name)
            .map(|(_, value)| value.as_str());
        values.next().filter(|_| values.next().is_none())
    }
}

impl Parameters {
    /// The names, one for each pair.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(name, _)| name.as_str())
    }

    /// Returns whether the parameter is there more than once.
    pub(super) fn is_repeated(&self, name: &str) -> bool {
        self.0.iter().filter(|(known, _)| known == name).count() > 1
    }
}

impl<S: Sync> FromRequestParts<S> for Parameters {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Self::of(&parts.uri))
    }
}

/// The one parameter of a route's path, such as `{id}`. A parameter that is not UTF-8 is empty, and
/// so names nothing.
pub(super) struct Named(pub(super) String);

impl<S: Send + Sync> FromRequestParts<S> for Named {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Infallible> {
        let named = Path::<String>::from_request_parts(parts, state).await;
        Ok(Self(named.map(|Path(name)| name).unwrap_or_default()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repeated_parameter_is_none() {
        let parameters = Parameters(serde_urlencoded::from_str("a=1&b=2&a=3&c=").unwrap());
        assert_eq!(parameters.only("a"), None);
        assert_eq!(
            (
                parameters.only("b"),
                parameters.only("c"),
                parameters.only("d")
            ),
            (Some("2"), Some(""), None)
        );
    }
}
